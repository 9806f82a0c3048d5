package studio

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"unnoise/app/disk"
	"unnoise/app/events"
	"unnoise/app/galleries"
	"unnoise/app/library"
	"unnoise/app/thumbs"
	"unnoise/app/workspace"
	"unnoise/pipeline/data"
	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/picture"
	"unnoise/pipeline/sampler"
	"unnoise/pipeline/train"
	"unnoise/runtime/durable"
	"unnoise/runtime/ortlib"
	"unnoise/runtime/sentence"
)

const (
	galleryVersion = 1
	galleryName    = "gallery.json"
)

// galleryFile is gallery.json: what the person decided. Everything else is in the pictures. A folder of
// pictures without one is a gallery too.
type galleryFile struct {
	Version int       `json:"version"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	// Stars names the starred images; those deleted stay named, so that they come back with their star.
	Stars []string `json:"stars,omitempty"`
}

func readGallery(dir string) (galleryFile, error) {
	var g galleryFile
	path := filepath.Join(dir, galleryName)
	err := disk.ReadJSON(path, maxDatasetFile, &g)
	if errors.Is(err, fs.ErrNotExist) {
		g = galleryFile{Version: galleryVersion, Name: filepath.Base(dir)}
		if st, err := os.Stat(dir); err == nil {
			g.Created = st.ModTime()
		}
		return g, nil
	}
	if err == nil && g.Version > galleryVersion {
		err = newer(path, g.Version, galleryVersion)
	}
	return g, err
}

// galleryStamp changes when images come or go, or gallery.json changes.
func galleryStamp(dir string, _ bool) (string, error) {
	st, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	s := fmt.Sprint(st.ModTime().UnixNano())
	if st, err := os.Stat(filepath.Join(dir, galleryName)); err == nil {
		s += fmt.Sprintf(" %d/%d", st.ModTime().UnixNano(), st.Size())
	}
	return s, nil
}

func isImage(name string) bool {
	return !strings.HasPrefix(name, ".") && strings.EqualFold(filepath.Ext(name), ".png")
}

// indexChunk is how many images are added to the index at once.
const indexChunk = 2000

// indexGallery brings the rows of a gallery and its images up to date. Only files that are new or changed are opened.
func (c *core) indexGallery(ctx context.Context, e *env, id, stamp string) error {
	dir := filepath.Join(e.ws.Galleries(), id)
	g, err := readGallery(dir)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	known, err := e.lib.GalleryFiles(ctx, id)
	if err != nil {
		return err
	}
	stars := make(map[string]bool, len(g.Stars))
	for _, s := range g.Stars {
		stars[s] = true
	}
	var fresh []string
	updated := g.Created
	for _, d := range entries {
		if d.IsDir() || !isImage(d.Name()) {
			continue
		}
		was, ok := known[d.Name()]
		delete(known, d.Name())
		info, err := d.Info()
		if err != nil {
			continue // just gone
		}
		if info.ModTime().After(updated) {
			updated = info.ModTime()
		}
		if !ok || was != info.ModTime().UnixNano() {
			fresh = append(fresh, d.Name())
		}
	}
	row := library.Gallery{ID: id, Name: g.Name, Created: g.Created, Updated: updated}
	gone := slices.Collect(maps.Keys(known))
	for lo := 0; ; lo += indexChunk {
		part := fresh[min(lo, len(fresh)):min(lo+indexChunk, len(fresh))]
		images, err := readImages(ctx, dir, id, part, stars)
		if err != nil {
			return err
		}
		if len(images) > 0 && row.Run == "" {
			row.Run = images[0].Model
		}
		last := lo+indexChunk >= len(fresh)
		if last {
			row.Stamp = stamp // only now is all of it there
		}
		var set map[string]bool
		if last {
			set = stars
		}
		if err := e.lib.PutGallery(ctx, row, images, gone, set); err != nil {
			return err
		}
		gone = nil
		if last {
			return nil
		}
	}
}

// readImages reads what the index holds of images, several at once. Files that are not pictures are left out.
func readImages(ctx context.Context, dir, gallery string, names []string, stars map[string]bool) ([]library.Image, error) {
	out := make([]library.Image, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, runtime.NumCPU()))
	const chunk = 64
	for lo := 0; lo < len(names); lo += chunk {
		g.Go(func() error {
			for i := lo; i < min(lo+chunk, len(names)); i++ {
				if err := ctx.Err(); err != nil {
					return err
				}
				m, err := readImage(dir, gallery, names[i])
				if err == nil {
					m.Starred = stars[names[i]]
					out[i] = m
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(out, func(m library.Image) bool { return m.Name == "" }), nil
}

func readImage(dir, gallery, name string) (library.Image, error) {
	path := filepath.Join(dir, name)
	f, err := durable.Open(path)
	if err != nil {
		return library.Image{}, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return library.Image{}, err
	}
	cfg, err := png.DecodeConfig(f)
	if err != nil {
		return library.Image{}, err
	}
	m := library.Image{Gallery: gallery, Name: name, ModTime: st.ModTime().UnixNano(), Bytes: st.Size(), Width: cfg.Width, Height: cfg.Height}
	if _, err := f.Seek(0, 0); err != nil {
		return library.Image{}, err
	}
	meta, err := picture.DecodeMeta(f)
	if errors.Is(err, picture.ErrNoMeta) {
		return m, nil
	}
	if err != nil {
		return library.Image{}, err
	}
	m.Seed, m.Index, m.Model, m.Checkpoint, m.Weights = meta.Seed, meta.Index, meta.Run, meta.Checkpoint, meta.EMA
	m.Sampler, m.Steps, m.Eta, m.Schedule, m.Class = meta.Sampler, meta.Steps, meta.Eta, meta.Schedule, meta.Class
	return m, nil
}

type galleryService struct{ *core }

// samplerTexts explains the samplers.
var samplerTexts = map[string][2]string{
	"ddpm":      {"DDPM", "Walks back step by step and adds fresh noise each time, as the method was first written: needs many steps."},
	"ddpm-mean": {"DDPM, mean only", "DDPM without the added noise: shows what that noise is good for, and looks blurred."},
	"ddim":      {"DDIM", "The same noise always gives the same picture; η mixes DDPM's noise back in. Good from 50 steps on."},
	"heun":      {"Heun (EDM)", "Looks ahead at each step and corrects itself: two network calls a step, good from 15 steps on."},
	"dpmpp2m":   {"DPM-Solver++ (2M)", "Uses the step before to take larger ones: the best picture for the fewest network calls."},
}

func (galleryService) Samplers() []SamplerInfo {
	var out []SamplerInfo
	for _, name := range sampler.Names() {
		t := samplerTexts[name]
		if t[0] == "" {
			t[0] = name
		}
		info := SamplerInfo{
			Name: name, Label: events.T(t[0]), Help: events.T(t[1]), Steps: galleries.DefaultSteps(name), Min: 1, Max: 1000,
			UsesEta: name == "ddim", Stochastic: name == "ddpm",
		}
		if name == galleries.DefaultSampler {
			out = slices.Insert(out, 0, info)
		} else {
			out = append(out, info)
		}
	}
	return out
}

// usualCount is how many images a new gallery has.
const usualCount = 64

func (s galleryService) Defaults(ctx context.Context, id string) (SampleRequest, error) {
	e, err := s.use()
	if err != nil {
		return SampleRequest{}, err
	}
	if id == "" {
		rows, err := e.lib.Runs(ctx, library.RunQuery{HasCheckpoint: true, Limit: 1, Order: "updated"})
		if err != nil {
			return SampleRequest{}, err
		}
		if len(rows) == 0 {
			return SampleRequest{}, events.T("There is no trained model yet: train one, or import one under Models.")
		}
		id = rows[0].ID
	}
	return SampleRequest{
		Model: id, Checkpoint: -1, Sampler: galleries.DefaultSampler, Steps: galleries.DefaultSteps(galleries.DefaultSampler), Clip: true, Count: usualCount,
	}, nil
}

func (r SampleRequest) settings() galleries.Settings {
	return galleries.Settings{Sampler: r.Sampler, Steps: r.Steps, Spacing: diffusion.Spacing(r.Spacing), Eta: r.Eta, Seed: r.Seed, Class: r.Class, NoClip: !r.Clip}
}

func (s galleryService) Check(ctx context.Context, req SampleRequest) ([]Problem, error) {
	if req.Model == "" {
		return []Problem{{Field: "model", Text: events.T("Choose a model.")}}, nil
	}
	var out []Problem
	if req.Count < 1 || req.Count > 1_000_000 {
		out = append(out, Problem{Field: "count", Text: events.T("Choose between 1 and 1,000,000 images.")})
	}
	spec, err := s.spec(ctx, req.Model)
	if err != nil {
		return append(out, problem("model", err)), nil
	}
	if _, err := req.settings().Complete(spec); err != nil {
		out = append(out, problem("sampler", err))
	}
	if e, err := s.use(); err == nil {
		if err := disk.Require(disk.Free, e.ws.Galleries(), int64(max(0, req.Count))*(int64(spec.Dim())+2048), events.T("these pictures")); err != nil {
			out = append(out, problem("count", err))
		}
	}
	if _, err := ortlib.Find(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		out = append(out, Problem{Text: events.T("The runtime library is not installed yet: install it in Settings.")})
	}
	cps, err := runService{core: s.core}.Checkpoints(ctx, req.Model)
	switch {
	case err != nil:
		out = append(out, problem("model", err))
	case len(cps) == 0:
		out = append(out, Problem{Field: "checkpoint", Text: events.T("This run has no checkpoint yet: wait for the first one.")})
	case req.Checkpoint >= 0 && !slices.ContainsFunc(cps, func(c Checkpoint) bool { return c.Step == req.Checkpoint }):
		out = append(out, Problem{Field: "checkpoint", Text: events.T("There is no checkpoint of step {{.Step}} any more: choose another.", "Step", req.Checkpoint)})
	case req.Checkpoint == BestCheckpoint && !slices.ContainsFunc(cps, func(c Checkpoint) bool { return c.Best }):
		out = append(out, Problem{Field: "checkpoint", Text: events.T("No checkpoint of this run has a held-out loss, so none is the best: choose another.")})
	}
	return out, nil
}

func (s galleryService) Time(_ context.Context, req SampleRequest) (time.Duration, error) {
	calls := float64(req.Count) * float64(req.Steps)
	if v, ok := s.pace.Load(req.Model); ok {
		return time.Duration(calls * v.(float64) * float64(time.Second)), nil
	}
	if strings.HasPrefix(req.Model, importedPrefix) {
		return 0, nil
	}
	e, err := s.use()
	if err != nil {
		return 0, err
	}
	dir, err := e.run(req.Model)
	if err != nil {
		return 0, err
	}
	for _, r := range slices.Backward(logTail(filepath.Join(dir, train.LogName))) {
		if r.ImagesPerSecond > 0 { // a training step takes about three times as long as a forward pass
			return time.Duration(calls / (3 * r.ImagesPerSecond) * float64(time.Second)), nil
		}
	}
	return 0, nil
}

func (c *core) gallery(g library.Gallery) Gallery {
	out := Gallery{ID: g.ID, Name: g.Name, Images: g.Images, Starred: g.Starred, Run: g.Run, Created: g.Created, Updated: g.Updated}
	if g.Images > 0 {
		out.Cover = Ref{Kind: GalleryCover, Owner: g.ID}
	}
	return out
}

func (s galleryService) List(ctx context.Context) ([]Gallery, error) {
	e, err := s.use()
	if err != nil {
		return nil, err
	}
	rows, err := e.lib.Galleries(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Gallery, len(rows))
	for i, g := range rows {
		out[i] = s.gallery(g)
	}
	return out, nil
}

func (s galleryService) Get(ctx context.Context, id string) (Gallery, error) {
	e, err := s.use()
	if err != nil {
		return Gallery{}, err
	}
	g, ok, err := e.lib.Gallery(ctx, id)
	if err != nil {
		return Gallery{}, err
	}
	if !ok {
		return Gallery{}, e.missing(events.T("gallery"), id)
	}
	return s.gallery(g), nil
}

func (s galleryService) Create(ctx context.Context, req SampleRequest, progress func(SampleProgress)) (Gallery, error) {
	ctx, e, done, err := s.work(ctx)
	if err != nil {
		return Gallery{}, err
	}
	defer done()
	m, err := s.load(ctx, req.Model, req.Checkpoint, req.Weights)
	if err != nil {
		return Gallery{}, forPeople(err)
	}
	if _, err := req.settings().Complete(m.Spec); err != nil {
		return Gallery{}, forPeople(err)
	}
	s.sample.Lock() // one after another: two at once would be slower than both in turn
	defer s.sample.Unlock()
	if err := ctx.Err(); err != nil {
		return Gallery{}, err
	}
	id, made, err := s.makeGallery(e, req, m)
	if err != nil {
		return Gallery{}, err
	}
	dir, name := filepath.Join(e.ws.Galleries(), id), id
	if g, err := readGallery(dir); err == nil {
		name = g.Name
	}
	defer s.note(e, events.T("Sampling of the gallery “{{.Name}}”", "Name", name), dir+string(filepath.Separator))()
	var told, indexed time.Time
	now, begun := SampleProgress{Gallery: id, Total: req.Count}, time.Now()
	defer func() {
		if calls := now.Done * max(req.Steps, now.Steps); calls > 0 {
			s.pace.Store(req.Model, time.Since(begun).Seconds()/float64(calls))
		}
	}()
	_, err = galleries.Sample(ctx, galleries.Request{
		Model: m, Settings: req.settings(), N: req.Count, First: req.First, Out: dir, Compute: s.compute(), Version: version, Previews: progress != nil,
		Events: func(ev galleries.Event) {
			switch ev := ev.(type) {
			case galleries.Progress:
				now.Done, now.Total, now.Step, now.Steps = ev.Done, ev.Total, ev.Step, ev.Steps
				now.PerSecond, now.ETA = ev.ImagesPerSecond, ev.ETA
			case galleries.Preview:
				now.First, now.Previews = ev.First-req.First, make([]*image.RGBA, len(ev.Images))
				for i, img := range ev.Images {
					now.Previews[i] = thumbs.ToRGBA(img)
				}
			case galleries.Occupied:
				s.bus.Publish(Notice{Severity: events.Warning, Text: events.T("{{.Path}} is not the picture that belongs there, so it is left as it is.", "Path", ev.Path)})
			case galleries.Image:
				now.Done++
				if time.Since(indexed) > time.Second {
					indexed = time.Now()
					_ = s.galleryChanged(ctx, e, id)
				}
			}
			if progress != nil && (time.Since(told) > 50*time.Millisecond || now.Step == now.Steps || now.Done == now.Total) {
				told = time.Now()
				progress(now)
				now.Previews = nil
			}
		},
	})
	background := context.WithoutCancel(ctx)
	if made && err != nil {
		if g, gerr := os.ReadDir(dir); gerr == nil && !slices.ContainsFunc(g, func(d fs.DirEntry) bool { return isImage(d.Name()) }) {
			err = errors.Join(err, os.RemoveAll(dir)) // nothing was finished: leave no empty gallery
		}
	}
	if cerr := s.galleryChanged(background, e, id); cerr != nil && err == nil {
		err = cerr
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return Gallery{ID: id}, forPeople(err)
	}
	return s.Get(background, id)
}

// makeGallery finds or makes the folder of a request.
func (s galleryService) makeGallery(e *env, req SampleRequest, m galleries.Model) (id string, made bool, err error) {
	if req.Gallery != "" {
		dir, err := workspace.Child(e.ws.Galleries(), req.Gallery)
		if err != nil {
			return "", false, err
		}
		if _, err := os.Stat(dir); err != nil {
			return "", false, e.missing(events.T("gallery"), req.Gallery)
		}
		return req.Gallery, false, nil
	}
	name := req.Name
	if strings.TrimSpace(name) == "" {
		name = galleryTitle(e.modelName(req.Model), req.Class, m.Checkpoint)
	}
	if name, err = workspace.CleanName(name); err != nil {
		return "", false, err
	}
	g := galleryFile{Version: galleryVersion, Name: name, Created: time.Now().UTC().Truncate(time.Second)}
	id, err = workspace.MakeUnique(e.ws.Galleries(), workspace.FolderName(name), func(dir string) error {
		return durable.Disk{}.WriteFolder(dir, map[string]func(io.Writer) error{galleryName: disk.JSON(g)})
	})
	if err != nil {
		return "", false, unsaved(events.T("the gallery"), err)
	}
	return id, true, nil
}

// galleryTitle names a gallery by its model, its class, where it has one, and its checkpoint, which an imported model has
// not. Whatever these are called, it is a name that workspace.CleanName takes.
func galleryTitle(model, class string, checkpoint int64) string {
	cut := func(s string, most int) string {
		s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "�"), func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }), " ")
		if r := []rune(s); len(r) > most {
			return string(r[:most-1]) + "…"
		}
		return s
	}
	after := ""
	if class != "" {
		after = " · " + cut(class, workspace.MaxName/2)
	}
	if checkpoint > 0 {
		after += fmt.Sprintf(" · step %d", checkpoint)
	}
	return cut(model, workspace.MaxName-utf8.RuneCountInString(after)) + after
}

// galleryChanged brings the index up to date and tells of it.
func (c *core) galleryChanged(ctx context.Context, e *env, id string) error {
	defer c.bus.Publish(events.GalleriesChanged{Gallery: id})
	c.thumbs.Forget(func(r Ref) bool { return r.Kind == GalleryCover && r.Owner == id })
	stamp, err := galleryStamp(filepath.Join(e.ws.Galleries(), id), false)
	if errors.Is(err, fs.ErrNotExist) {
		return e.lib.DeleteGalleries(ctx, id)
	}
	if err != nil {
		return err
	}
	c.index.mu.Lock()
	defer c.index.mu.Unlock()
	return c.indexGallery(ctx, e, id, stamp)
}

func (s galleryService) Images(ctx context.Context, f ImageFilter) ([]ImageKey, error) {
	e, err := s.use()
	if err != nil {
		return nil, err
	}
	rows, err := e.lib.ImageKeys(ctx, library.ImageQuery{Gallery: f.Gallery, Search: f.Search, Starred: f.Starred, Newest: f.Newest})
	if err != nil {
		return nil, err
	}
	out := make([]ImageKey, len(rows))
	for i, k := range rows {
		out[i] = ImageKey{Ref: Ref{Kind: GalleryImage, Owner: k.Gallery, Name: k.Name}, Starred: k.Starred}
	}
	return out, nil
}

// meta reads an image's own account of itself.
func (s galleryService) meta(ctx context.Context, ref Ref) (path string, m picture.Meta, err error) {
	if ref.Kind != GalleryImage && ref.Kind != SampleGrid && ref.Kind != RunCover {
		return "", m, sentence.Errorf("only images of galleries and sample grids say how they were made")
	}
	if path, err = s.file(ctx, ref); err != nil {
		return "", m, err
	}
	m, err = picture.ReadMeta(path)
	return path, m, err
}

func (s galleryService) Info(ctx context.Context, ref Ref) (GalleryImageInfo, error) {
	path, m, err := s.meta(ctx, ref)
	if err != nil && !errors.Is(err, picture.ErrNoMeta) {
		return GalleryImageInfo{}, err
	}
	f, err := durable.Open(path)
	if err != nil {
		return GalleryImageInfo{}, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return GalleryImageInfo{}, err
	}
	cfg, err := png.DecodeConfig(f)
	if err != nil {
		return GalleryImageInfo{}, sentence.Errorf("%s is not a PNG that can be read: %w", path, err)
	}
	info := GalleryImageInfo{
		Ref: ref, Width: cfg.Width, Height: cfg.Height, Seed: m.Seed, Index: m.Index, Model: m.Run, Checkpoint: m.Checkpoint,
		Weights: m.EMA, Sampler: m.Sampler, Steps: m.Steps, Spacing: m.Spacing, Eta: m.Eta, Clip: !m.NoClip, Schedule: m.Schedule, Class: m.Class,
		Created: st.ModTime(), Version: m.Version, Parameters: m.Parameters, Path: path,
	}
	if _, err := f.Seek(0, 0); err == nil {
		if text, err := picture.ReadText(f); err == nil {
			delete(text, "parameters")
			delete(text, "unnoise")
			info.Extra = text
		}
	}
	if ref.Kind == GalleryImage {
		g, err := readGallery(filepath.Dir(path))
		if err != nil {
			return GalleryImageInfo{}, err
		}
		info.Starred = slices.Contains(g.Stars, ref.Name)
	}
	return info, nil
}

// updateGallery changes gallery.json. written, if not nil, is called when the change is on disk and not yet told.
func (s galleryService) updateGallery(ctx context.Context, id string, change func(*galleryFile), written func()) error {
	e, done, err := s.change()
	if err != nil {
		return err
	}
	defer done()
	dir, err := workspace.Child(e.ws.Galleries(), id)
	if err != nil {
		return err
	}
	s.datasetMu.Lock()
	defer s.datasetMu.Unlock()
	if _, err := os.Stat(dir); err != nil {
		return e.missing(events.T("gallery"), id)
	}
	g, err := readGallery(dir)
	if err != nil {
		return err
	}
	change(&g)
	if err := disk.WriteJSON(filepath.Join(dir, galleryName), g); err != nil {
		return unsaved(events.T("the gallery"), err)
	}
	if written != nil {
		written()
	}
	return s.galleryChanged(ctx, e, id)
}

// byGallery sorts images by the gallery they are in.
func byGallery(refs []Ref) (map[string][]string, error) {
	out := make(map[string][]string)
	for _, r := range refs {
		if r.Kind != GalleryImage {
			return nil, sentence.Errorf("this can be done with images of galleries only")
		}
		out[r.Owner] = append(out[r.Owner], r.Name)
	}
	return out, nil
}

func (s galleryService) Star(ctx context.Context, starred bool, refs ...Ref) error {
	groups, err := byGallery(refs)
	if err != nil {
		return err
	}
	var errs []error
	for id, names := range groups {
		errs = append(errs, s.updateGallery(ctx, id, func(g *galleryFile) {
			set := make(map[string]bool, len(g.Stars)+len(names))
			for _, n := range g.Stars {
				set[n] = true
			}
			for _, n := range names {
				if starred {
					set[n] = true
				} else {
					delete(set, n)
				}
			}
			g.Stars = slices.Sorted(maps.Keys(set))
		}, nil))
	}
	return errors.Join(errs...)
}

func (s galleryService) Rename(ctx context.Context, id, name string) error {
	name, err := workspace.CleanName(name)
	if err != nil {
		return err
	}
	var former string
	return s.updateGallery(ctx, id, func(g *galleryFile) { former, g.Name = g.Name, name }, func() {
		s.did(events.T("Renaming to “{{.Name}}”", "Name", name), func(ctx context.Context) error {
			return s.updateGallery(ctx, id, func(g *galleryFile) { g.Name = former }, nil)
		})
	})
}

func (s galleryService) Delete(ctx context.Context, ids ...string) error {
	e, done, err := s.change()
	if err != nil {
		return err
	}
	defer done()
	var errs []error
	for _, id := range ids {
		dir, err := workspace.Child(e.ws.Galleries(), id)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		name := id
		if g, err := readGallery(dir); err == nil {
			name = g.Name
		}
		after := func(ctx context.Context, e *env) error { return s.galleryChanged(ctx, e, id) }
		if err := s.discard(e, "gallery", name, events.T("Deletion of the gallery “{{.Name}}”", "Name", name), after, dir); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, after(ctx, e))
	}
	return errors.Join(errs...)
}

func (s galleryService) DeleteImages(ctx context.Context, refs ...Ref) error {
	if len(refs) == 0 {
		return nil
	}
	groups, err := byGallery(refs)
	if err != nil {
		return err
	}
	e, done, err := s.change()
	if err != nil {
		return err
	}
	defer done()
	paths := make([]string, len(refs))
	for i, r := range refs {
		if paths[i], err = s.file(ctx, r); err != nil {
			return err
		}
	}
	after := func(ctx context.Context, e *env) error {
		var errs []error
		for id := range groups {
			errs = append(errs, s.galleryChanged(ctx, e, id))
		}
		return errors.Join(errs...)
	}
	name := refs[0].Name
	if len(refs) > 1 {
		name = fmt.Sprintf("%d images", len(refs))
	}
	if err := s.discard(e, "images", name, events.T("Deletion of images: {{.Count}}", "Count", len(refs)), after, paths...); err != nil {
		return err
	}
	return after(ctx, e)
}

func (s galleryService) UseSettings(ctx context.Context, ref Ref) (SampleRequest, error) {
	_, m, err := s.meta(ctx, ref)
	if err != nil {
		return SampleRequest{}, err
	}
	id, err := s.findModel(ctx, m.Run)
	if err != nil {
		return SampleRequest{}, err
	}
	return SampleRequest{
		Model: id, Checkpoint: m.Checkpoint, Weights: m.EMA, Sampler: m.Sampler, Steps: m.Steps, Spacing: m.Spacing, Eta: m.Eta, Clip: !m.NoClip, Class: m.Class,
		Seed: m.Seed, First: m.Index / usualCount * usualCount, Count: usualCount,
	}, nil
}

// again makes ready to sample an image once more.
func (s galleryService) again(ctx context.Context, ref Ref) (m galleries.Model, set galleries.Settings, index int, err error) {
	_, meta, err := s.meta(ctx, ref)
	if err != nil {
		return m, set, 0, err
	}
	req, err := s.UseSettings(ctx, ref)
	if err != nil {
		return m, set, 0, err
	}
	if m, err = s.load(ctx, req.Model, req.Checkpoint, req.Weights); err != nil {
		return m, set, 0, err
	}
	return m, req.settings(), meta.Index, nil
}

func (s galleryService) Trajectory(ctx context.Context, ref Ref, progress ProgressFunc) ([]TrajectoryStep, error) {
	ctx, _, done, err := s.work(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	m, set, index, err := s.again(ctx, ref)
	if err != nil {
		return nil, forPeople(err)
	}
	sm, err := galleries.NewSampler(ctx, m, 1, s.compute())
	if err != nil {
		return nil, forPeople(err)
	}
	defer func() { _ = sm.Close() }()
	c, h, w := m.Spec.Shape()
	buf := make([]float32, c*h*w)
	show := func(x []float32, scale float64) (*image.RGBA, error) {
		for i, v := range x {
			buf[i] = float32(float64(v) * scale)
		}
		img, err := picture.FromCHW(buf, c, h, w)
		if err != nil {
			return nil, err
		}
		return thumbs.ToRGBA(img), nil
	}
	meter := newMeter(progress, Text{})
	var out []TrajectoryStep
	final, err := sm.Trajectory(ctx, set, index, func(st sampler.Step) error {
		t := TrajectoryStep{Index: st.Index, Alpha: st.Level.Alpha, Sigma: st.Level.Sigma}
		var errs [3]error
		// x_t is brought to the range of a picture, whatever the process's scale; of ε̂, two standard deviations are shown.
		t.Xt, errs[0] = show(st.Xt, 1/math.Hypot(st.Level.Alpha, st.Level.Sigma))
		t.X0, errs[1] = show(st.X0, 1)
		t.Eps, errs[2] = show(st.Eps, 0.5)
		out = append(out, t)
		meter.at(int64(st.Index+1), int64(st.Total), "")
		return errors.Join(errs[:]...)
	})
	if err != nil {
		return nil, forPeople(err)
	}
	// Where it ends: the image itself.
	result, err := show(final, 1)
	if err != nil {
		return nil, err
	}
	last := TrajectoryStep{Index: len(out), Alpha: 1, Xt: result, X0: result, Eps: result}
	if len(out) > 0 {
		last.Eps = out[len(out)-1].Eps
	}
	return append(out, last), nil
}

func (s galleryService) Interpolate(ctx context.Context, req InterpolateRequest, progress ProgressFunc) ([]*image.RGBA, error) {
	ctx, _, done, err := s.work(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if req.Frames < 2 || req.Frames > 2000 {
		return nil, events.T("Choose between 2 and 2,000 frames.")
	}
	m, err := s.load(ctx, req.Sample.Model, req.Sample.Checkpoint, req.Sample.Weights)
	if err != nil {
		return nil, forPeople(err)
	}
	sm, err := galleries.NewSampler(ctx, m, req.Frames, s.compute())
	if err != nil {
		return nil, forPeople(err)
	}
	defer func() { _ = sm.Close() }()
	c, h, w := m.Spec.Shape()
	out := make([]*image.RGBA, req.Frames)
	meter := newMeter(progress, Text{})
	set := req.Sample.settings()
	set.Seed = req.SeedA
	err = sm.Interpolate(ctx, set, req.SeedA, req.IndexA, req.SeedB, req.IndexB, req.Frames, func(i int, x []float32) error {
		img, err := picture.FromCHW(x, c, h, w)
		if err != nil {
			return err
		}
		out[i] = thumbs.ToRGBA(img)
		meter.at(int64(i+1), int64(req.Frames), "")
		return nil
	})
	if err != nil {
		return nil, forPeople(err)
	}
	return out, nil
}

func (s galleryService) Nearest(ctx context.Context, ref Ref, k int, progress ProgressFunc) ([]Neighbour, error) {
	ctx, e, done, err := s.work(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	path, meta, err := s.meta(ctx, ref)
	if err != nil {
		return nil, err
	}
	id, err := s.findModel(ctx, meta.Run)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(id, importedPrefix) {
		return nil, events.T("What an imported model was trained on is not known.")
	}
	run, err := e.openRun(id)
	if err != nil {
		return nil, err
	}
	info := run.Info()
	o := s.options("", 0)
	o.Decoding = decoding(progress)
	var index map[string]int
	if sc, err := s.scan(ctx, info.Data.Dataset); info.Data.Dataset != "" && err == nil {
		defer sc.release()
		index, o.Report = sc.index, sc.rep
	}
	cache, err := run.Pictures(ctx, o)
	if err != nil {
		return nil, sentence.Errorf("the pictures of the run cannot be compared with: %w", err)
	}
	defer func() { _ = cache.Close() }()
	img, err := picture.Read(path)
	if err != nil {
		return nil, err
	}
	c, h, w := cache.Shape()
	if b := img.Bounds(); b.Dx() != w || b.Dy() != h {
		return nil, sentence.Errorf("the image has %d × %d pixels and the training images %d × %d: they cannot be compared", b.Dx(), b.Dy(), w, h)
	}
	x := make([]float32, cache.Dim())
	if err := picture.ToCHW(x, img, c); err != nil {
		return nil, err
	}
	near, err := nearest(ctx, cache.Cache, x, k, newMeter(progress, events.T("Comparing with the training images")))
	if err != nil {
		return nil, err
	}
	out := make([]Neighbour, len(near))
	for i, n := range near {
		img, err := cache.Image(n.i)
		if err != nil {
			return nil, err
		}
		out[i] = Neighbour{Name: cache.Name(n.i), Distance: n.d, Image: thumbs.ToRGBA(img)}
		if k := cache.Class(n.i); k >= 0 {
			out[i].Class = cache.Classes()[k]
		}
		if at, ok := index[cache.Name(n.i)]; ok {
			out[i].Ref = Ref{Kind: DatasetItem, Owner: info.Data.Dataset, Index: at}
		}
	}
	return out, nil
}

type near struct {
	i int
	d float64
}

// nearest finds the k images of the cache with the least root mean squared difference from x, given in [-1,1]; a
// difference of 1 is that between black and white. It looks at every image once, several at a time.
func nearest(ctx context.Context, cache *data.Cache, x []float32, k int, m *meter) ([]near, error) {
	if k < 1 || k > 1000 {
		return nil, sentence.Errorf("%d neighbours cannot be looked for: ask for 1 to 1000", k)
	}
	target := make([]int32, len(x))
	for i, v := range x {
		target[i] = int32(math.Round(float64(v+1) * 127.5))
	}
	var mu sync.Mutex
	var best []near
	var seen int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	const chunk = 512
	for lo := 0; lo < cache.Len(); lo += chunk {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			hi := min(lo+chunk, cache.Len())
			part := make([]near, 0, hi-lo)
			pixels := make([]byte, cache.Dim())
			for i := lo; i < hi; i++ {
				if err := cache.Bytes(i, pixels); err != nil {
					return err
				}
				var sum int64
				for j, b := range pixels {
					d := int64(target[j] - int32(b))
					sum += d * d
				}
				part = append(part, near{i, math.Sqrt(float64(sum)/float64(len(target))) / 255})
			}
			mu.Lock()
			defer mu.Unlock()
			best = append(best, part...)
			slices.SortFunc(best, func(a, b near) int {
				if a.d != b.d {
					if a.d < b.d {
						return -1
					}
					return 1
				}
				return a.i - b.i
			})
			best = best[:min(k, len(best))]
			seen += int64(hi - lo)
			m.at(seen, int64(cache.Len()), "")
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return best, nil
}

func (s galleryService) Difference(ctx context.Context, a, b Ref) (*image.RGBA, float64, error) {
	t := thumbService{s.core}
	x, err := t.Image(ctx, a)
	if err != nil {
		return nil, 0, err
	}
	y, err := t.Image(ctx, b)
	if err != nil {
		return nil, 0, err
	}
	if x.Rect.Size() != y.Rect.Size() {
		return nil, 0, events.T("The pictures have different sizes, so there is no difference to show.")
	}
	out := image.NewRGBA(image.Rectangle{Max: x.Rect.Size()})
	var sum float64
	for row := range out.Rect.Dy() {
		p, q, o := x.Pix[row*x.Stride:], y.Pix[row*y.Stride:], out.Pix[row*out.Stride:]
		for i := range out.Rect.Dx() * 4 {
			d := int(p[i]) - int(q[i])
			if d < 0 {
				d = -d
			}
			if i%4 == 3 {
				o[i] = 255
				continue
			}
			o[i] = uint8(d)
			sum += float64(d)
		}
	}
	n := float64(3 * out.Rect.Dx() * out.Rect.Dy() * 255)
	return out, sum / n, nil
}

func (s galleryService) Path(ctx context.Context, ref Ref) (string, error) {
	if ref.Kind != GalleryCover {
		return s.file(ctx, ref)
	}
	e, err := s.use()
	if err != nil {
		return "", err
	}
	return workspace.Child(e.ws.Galleries(), ref.Owner)
}
