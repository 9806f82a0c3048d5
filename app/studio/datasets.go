package studio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"unnoise/app/datasets"
	"unnoise/app/disk"
	"unnoise/app/events"
	"unnoise/app/library"
	"unnoise/app/runs"
	"unnoise/app/thumbs"
	"unnoise/app/workspace"
	"unnoise/pipeline/data"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

const (
	datasetVersion = 1
	datasetName    = datasets.FileName
	reportName     = "report.json"
	maxDatasetFile = 256 << 20
	maxReportFile  = 1 << 30
	usualHeldOut   = 0.05
)

// datasetFile is dataset.json: what the person decided. What the scan found is in report.json beside it,
// which may be large and changes only with a scan.
type datasetFile struct {
	Version  int          `json:"version"`
	Name     string       `json:"name"`
	Source   durable.Path `json:"source"`
	Demo     bool         `json:"demo,omitempty"`
	Added    time.Time    `json:"added"`
	Scanned  time.Time    `json:"scanned"`
	HeldOut  float64      `json:"held_out"`
	Excluded []string     `json:"excluded,omitempty"` // names within the source
}

func readDataset(dir string) (datasetFile, error) {
	var d datasetFile
	path := filepath.Join(dir, datasetName)
	if err := disk.ReadJSON(path, maxDatasetFile, &d); err != nil {
		return d, err
	}
	switch {
	case d.Version > datasetVersion:
		return d, newer(path, d.Version, datasetVersion)
	case d.Version < 1 || d.Source == "":
		return d, sentence.Errorf("%s does not describe a dataset: it is damaged", path)
	case !(d.HeldOut >= 0 && d.HeldOut <= 0.5):
		return d, sentence.Errorf("%s holds out %g of the images, which is not between 0 and 0.5: it is damaged", path, d.HeldOut)
	}
	return d, nil
}

// newer refuses a file of a version above the known one.
func newer(path string, version, known int) error {
	return events.T("{{.Path}} has version {{.Version}}, and this program reads up to {{.Known}}: use a newer Unnoise", "Path", path, "Version", version, "Known", known).Because(disk.ErrNewer)
}

// unsaved says that something could not be written.
func unsaved(what Text, err error) error {
	if durable.IsFull(err) {
		return events.T("{{.What}} cannot be saved: the disk is full; make room and try again", "What", what).Because(err)
	}
	return events.T("{{.What}} cannot be saved: {{.Problem}}", "What", what, "Problem", disk.Reason(err)).Because(err)
}

// missing says that something with this ID is not in the workspace.
func (e *env) missing(what Text, id string) error {
	if err := e.there(); err != nil {
		return err
	}
	return events.T("there is no {{.What}} “{{.Name}}” in the workspace", "What", what, "Name", id).Because(fs.ErrNotExist)
}

// place is the path of the dataset's source. That of the demo lies in the dataset's own folder dir and moves with it.
func (d datasetFile) place(dir string) string {
	if filepath.IsAbs(string(d.Source)) {
		return string(d.Source)
	}
	return filepath.Join(dir, string(d.Source))
}

// readScan reads what is known of the dataset in dir, with the source's path as it is now.
func readScan(dir string) (info datasetFile, rep *data.Report, err error) {
	if info, err = readDataset(dir); err != nil {
		return info, nil, err
	}
	rep = new(data.Report)
	if err := disk.ReadJSON(filepath.Join(dir, reportName), maxReportFile, rep); err != nil {
		return info, nil, err
	}
	info.Source = durable.Path(info.place(dir))
	rep.Path = info.Source
	return info, rep, nil
}

// datasetStamp changes when the dataset's files do.
func datasetStamp(dir string, _ bool) (string, error) {
	var b strings.Builder
	for _, name := range []string{datasetName, reportName} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%d/%d ", st.ModTime().UnixNano(), st.Size())
	}
	return b.String(), nil
}

// scan is a dataset in memory. It is not changed after it was made.
type scan struct {
	id, stamp string
	info      datasetFile
	rep       *data.Report
	index     map[string]int // of items, by name
	excluded  []bool
	held      []bool

	once  sync.Once
	src   *data.Source
	err   error
	users sync.WaitGroup
}

// source is the dataset's open source; it stays open as long as the scan is kept.
func (s *scan) source() (*data.Source, error) {
	s.once.Do(func() { s.src, s.err = data.OpenSource(string(s.info.Source)) })
	return s.src, s.err
}

func (s *scan) release() { s.users.Done() }

// close releases the source once nobody uses it.
func (s *scan) close() {
	s.users.Wait()
	s.once.Do(func() { s.err = errClosed })
	if s.src != nil {
		_ = s.src.Close()
	}
}

// scanCache keeps the datasets looked at last.
type scanCache struct {
	mu    sync.Mutex
	kept  []*scan // the last used first
	build sync.Mutex
}

const scansKept = 3

func (k *scanCache) get(id, stamp string) *scan {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, s := range k.kept {
		if s.id == id && s.stamp == stamp {
			k.kept = slices.Insert(slices.Delete(k.kept, i, i+1), 0, s)
			s.users.Add(1)
			return s
		}
	}
	return nil
}

func (k *scanCache) put(s *scan) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s.users.Add(1)
	drop := func(o *scan) bool {
		if o.id == s.id {
			go o.close()
			return true
		}
		return false
	}
	k.kept = slices.Insert(slices.DeleteFunc(k.kept, drop), 0, s)
	for len(k.kept) > scansKept {
		go k.kept[len(k.kept)-1].close()
		k.kept = k.kept[:len(k.kept)-1]
	}
}

func (k *scanCache) clear() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.kept {
		go s.close()
	}
	k.kept = nil
}

// scan reads a dataset, or takes it from memory if its files are the same. release it.
func (c *core) scan(ctx context.Context, id string) (*scan, error) {
	e, err := c.use()
	if err != nil {
		return nil, err
	}
	dir, err := workspace.Child(e.ws.Datasets(), id)
	if err != nil {
		return nil, err
	}
	stamp, err := datasetStamp(dir, false)
	if err != nil {
		return nil, e.noDataset(id, err)
	}
	if s := c.scans.get(id, stamp); s != nil {
		return s, nil
	}
	c.scans.build.Lock() // several workers ask for one dataset at once: read it once
	defer c.scans.build.Unlock()
	if s := c.scans.get(id, stamp); s != nil {
		return s, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	info, rep, err := readScan(dir)
	if err != nil {
		return nil, err
	}
	s := newScan(id, stamp, info, rep)
	c.scans.put(s)
	return s, nil
}

func (e *env) noDataset(id string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return e.missing(events.T("dataset"), id)
	}
	return err
}

func newScan(id, stamp string, info datasetFile, rep *data.Report) *scan {
	s := &scan{id: id, stamp: stamp, info: info, rep: rep, index: make(map[string]int, len(rep.Items)), excluded: make([]bool, len(rep.Items))}
	for i, it := range rep.Items {
		s.index[it.Name] = i
	}
	for _, name := range info.Excluded {
		if i, ok := s.index[name]; ok {
			s.excluded[i] = true
		}
	}
	s.held = rep.HeldOut(data.Holdout{Fraction: info.HeldOut}, info.Excluded)
	return s
}

func (s *scan) summary() Dataset {
	d := Dataset{
		ID: s.id, Name: s.info.Name, Source: s.info.Source, Kind: string(s.rep.Kind), Items: len(s.rep.Items),
		Bad: len(s.rep.Bad), HeldOut: s.info.HeldOut, Added: s.info.Added, Scanned: s.info.Scanned,
	}
	if s.info.Demo {
		d.Kind = "demo"
	}
	for _, x := range s.excluded {
		if x {
			d.Excluded++
		}
	}
	d.Duplicates = len(s.duplicates())
	for _, c := range s.rep.Classes {
		d.Classes = append(d.Classes, ClassCount(c))
	}
	for _, z := range s.rep.Sizes {
		d.Sizes = append(d.Sizes, SizeCount(z))
	}
	for _, x := range s.held {
		if x {
			d.Held++
		}
	}
	d.Divided = len(s.rep.Parts()) > 0
	for _, p := range s.rep.Passed {
		d.PassedOver = append(d.PassedOver, p.Text())
	}
	sug := datasets.Suggest(s.rep)
	d.Width, d.Height, d.Channels = sug.Width, sug.Height, sug.Channels
	return d
}

func (s *scan) duplicates() [][]int {
	var out [][]int
	for _, g := range s.rep.Duplicates {
		var group []int
		for _, name := range g {
			if i, ok := s.index[name]; ok && !s.excluded[i] {
				group = append(group, i)
			}
		}
		if len(group) > 1 {
			out = append(out, group)
		}
	}
	return out
}

// indexDataset brings a dataset's row up to date.
func (c *core) indexDataset(ctx context.Context, e *env, id, stamp string) error {
	dir := filepath.Join(e.ws.Datasets(), id)
	info, rep, err := readScan(dir)
	if err != nil {
		return err
	}
	s := newScan(id, stamp, info, rep)
	b, err := json.Marshal(s.summary())
	if err != nil {
		return err
	}
	return e.lib.PutDataset(ctx, library.Dataset{ID: id, Stamp: stamp, Added: info.Added, Summary: string(b)})
}

type datasetService struct{ *core }

func (s datasetService) List(ctx context.Context) ([]Dataset, error) {
	e, err := s.use()
	if err != nil {
		return nil, err
	}
	rows, err := e.lib.Datasets(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Dataset, 0, len(rows))
	for _, r := range rows {
		var d Dataset
		if err := json.Unmarshal([]byte(r.Summary), &d); err != nil {
			return nil, sentence.Errorf("the index is damaged: %w; rebuild it", err)
		}
		_, err := os.Stat(string(d.Source))
		d.Missing = err != nil
		out = append(out, d)
	}
	return out, nil
}

func (s datasetService) Get(ctx context.Context, id string) (Dataset, error) {
	sc, err := s.scan(ctx, id)
	if err != nil {
		return Dataset{}, err
	}
	defer sc.release()
	d := sc.summary()
	_, err = os.Stat(string(d.Source))
	d.Missing = err != nil
	return d, nil
}

func (s datasetService) Import(ctx context.Context, path, name string, progress ProgressFunc) (Dataset, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return Dataset{}, err
	}
	if name == "" {
		name = nameOf(abs)
	}
	return s.add(ctx, abs, name, false, progress)
}

// nameOf is what a file or folder is called without its extensions, and without what a name cannot have.
func nameOf(path string) string {
	base := filepath.Base(path)
	for _, ext := range []string{".gz", ".zip", ".idx3-ubyte", "-idx3-ubyte", "-images"} {
		if n := len(base) - len(ext); n > 0 && strings.EqualFold(base[n:], ext) {
			base = base[:n]
		}
	}
	base = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(base, "_"))
	if r := []rune(base); len(r) > workspace.MaxName {
		base = string(r[:workspace.MaxName])
	}
	return base
}

func (s datasetService) add(ctx context.Context, source, name string, demo bool, progress ProgressFunc) (Dataset, error) {
	name, err := workspace.CleanName(name)
	if err != nil {
		return Dataset{}, err
	}
	ctx, e, done, err := s.work(ctx)
	if err != nil {
		return Dataset{}, err
	}
	defer done()
	if err := outside(e.ws.Dir(), source); err != nil {
		return Dataset{}, err
	}
	what := events.T("Import of “{{.Name}}”", "Name", name)
	defer s.note(e, what, filepath.Join(e.ws.Datasets(), workspace.FolderName(name)))()
	rep, err := scanSource(ctx, source, progress)
	if err != nil {
		return Dataset{}, err
	}
	now := time.Now().UTC().Truncate(time.Second)
	info := datasetFile{Version: datasetVersion, Name: name, Source: durable.Path(source), Demo: demo, Added: now, Scanned: now, HeldOut: usualHeldOut}
	id, err := workspace.MakeUnique(e.ws.Datasets(), workspace.FolderName(name), func(dir string) error {
		files := make(map[string]func(io.Writer) error)
		for file, v := range map[string]any{reportName: rep, datasetName: info} {
			files[file] = func(w io.Writer) error { return json.NewEncoder(w).Encode(v) }
		}
		return durable.Disk{}.WriteFolder(dir, files)
	})
	if err != nil {
		return Dataset{}, unsaved(events.T("the dataset"), err)
	}
	s.did(what, func(ctx context.Context) error { return s.trashDataset(ctx, id, false) })
	if err := s.datasetChanged(ctx, e, id); err != nil {
		return Dataset{}, err
	}
	return s.Get(ctx, id)
}

// outside refuses a source within the workspace, which would come to contain itself, and one around it, of which its own samples would
// become a part.
func outside(ws, source string) error {
	if err := runs.Apart(ws, source); err != nil {
		return events.T("the workspace {{.Workspace}} lies in {{.Path}}, and what is drawn in it would become pictures to train on: choose a folder beside it, or move the workspace",
			"Workspace", ws, "Path", source).Because(err)
	}
	rel, err := filepath.Rel(ws, source)
	if err == nil && filepath.IsLocal(rel) && !strings.HasPrefix(filepath.ToSlash(rel), "galleries/") {
		return events.T("{{.Path}} lies in the workspace {{.Workspace}}: choose a folder of your own pictures", "Path", source, "Workspace", ws)
	}
	return nil
}

func scanSource(ctx context.Context, source string, progress ProgressFunc) (*data.Report, error) {
	m := newMeter(progress, Text{})
	return data.Scan(ctx, source, func(p data.Progress) {
		if m.phase.Template != p.What {
			m.phase, m.begun, m.last = events.T(p.What), time.Now(), time.Time{}
		}
		m.at(int64(p.Done), int64(p.Total), "")
	})
}

func (s datasetService) Rescan(ctx context.Context, id string, progress ProgressFunc) (Dataset, error) {
	ctx, e, done, err := s.work(ctx)
	if err != nil {
		return Dataset{}, err
	}
	defer done()
	dir, err := workspace.Child(e.ws.Datasets(), id)
	if err != nil {
		return Dataset{}, err
	}
	info, err := readDataset(dir)
	if err != nil {
		return Dataset{}, e.noDataset(id, err)
	}
	defer s.note(e, events.T("Reading “{{.Name}}” again", "Name", info.Name), dir+string(filepath.Separator))()
	rep, err := scanSource(ctx, info.place(dir), progress)
	if err != nil {
		return Dataset{}, err
	}
	if err := disk.WriteJSON(filepath.Join(dir, reportName), rep); err != nil {
		return Dataset{}, unsaved(events.T("the dataset"), err)
	}
	if err := s.update(ctx, id, func(d *datasetFile) error {
		d.Scanned = time.Now().UTC().Truncate(time.Second)
		return nil
	}, nil); err != nil {
		return Dataset{}, err
	}
	s.thumbs.Forget(func(r Ref) bool { return r.Owner == id && (r.Kind == DatasetItem || r.Kind == DatasetCover) })
	return s.Get(ctx, id)
}

// update changes dataset.json. written, if not nil, is called when the change is on disk and not yet told.
func (c *core) update(ctx context.Context, id string, change func(*datasetFile) error, written func()) error {
	e, done, err := c.change()
	if err != nil {
		return err
	}
	defer done()
	dir, err := workspace.Child(e.ws.Datasets(), id)
	if err != nil {
		return err
	}
	c.datasetMu.Lock()
	defer c.datasetMu.Unlock()
	info, err := readDataset(dir)
	if err != nil {
		return e.noDataset(id, err)
	}
	if err := change(&info); err != nil {
		return err
	}
	if err := disk.WriteJSON(filepath.Join(dir, datasetName), info); err != nil {
		return unsaved(events.T("the dataset"), err)
	}
	if written != nil {
		written()
	}
	return c.datasetChanged(ctx, e, id)
}

// datasetChanged brings the index up to date and tells of it.
func (c *core) datasetChanged(ctx context.Context, e *env, id string) error {
	defer c.bus.Publish(events.DatasetsChanged{Dataset: id})
	c.thumbs.Forget(func(r Ref) bool { return r.Kind == DatasetCover && r.Owner == id })
	stamp, err := datasetStamp(filepath.Join(e.ws.Datasets(), id), false)
	if errors.Is(err, fs.ErrNotExist) {
		return e.lib.DeleteDatasets(ctx, id)
	}
	if err != nil {
		return err
	}
	return c.indexDataset(ctx, e, id, stamp)
}

func (s datasetService) Items(ctx context.Context, id string, f ItemFilter) ([]int32, error) {
	sc, err := s.scan(ctx, id)
	if err != nil {
		return nil, err
	}
	defer sc.release()
	search := strings.ToLower(f.Search)
	out := make([]int32, 0, len(sc.rep.Items))
	for i := range sc.rep.Items {
		it := &sc.rep.Items[i]
		switch {
		case sc.excluded[i] != f.Excluded,
			f.HeldOut && !sc.held[i],
			f.Class != "" && it.Class != f.Class,
			search != "" && !strings.Contains(strings.ToLower(it.Name), search):
			continue
		}
		out = append(out, int32(i))
	}
	return out, nil
}

func (s datasetService) Item(ctx context.Context, id string, index int) (Item, error) {
	sc, err := s.scan(ctx, id)
	if err != nil {
		return Item{}, err
	}
	defer sc.release()
	if index < 0 || index >= len(sc.rep.Items) {
		return Item{}, sentence.Errorf("the dataset has %d images and none of number %d", len(sc.rep.Items), index)
	}
	it := sc.rep.Items[index]
	return Item{
		Index: index, Name: it.Name, Class: it.Class, Width: it.Width, Height: it.Height,
		Channels: it.Channels, Bits: it.Bits, Format: it.Format, Excluded: sc.excluded[index], HeldOut: sc.held[index],
	}, nil
}

func (s datasetService) Exclude(ctx context.Context, id string, items []int) error {
	return s.setExcluded(ctx, id, items, true)
}

func (s datasetService) Include(ctx context.Context, id string, items []int) error {
	return s.setExcluded(ctx, id, items, false)
}

func (s datasetService) setExcluded(ctx context.Context, id string, items []int, exclude bool) error {
	sc, err := s.scan(ctx, id)
	if err != nil {
		return err
	}
	var names []string // those that change
	for _, i := range items {
		if i >= 0 && i < len(sc.excluded) && sc.excluded[i] != exclude {
			names = append(names, sc.rep.Items[i].Name)
		}
	}
	sc.release()
	if len(names) == 0 {
		return nil
	}
	set := func(ctx context.Context, exclude bool, written func()) error {
		return s.update(ctx, id, func(d *datasetFile) error {
			if exclude {
				d.Excluded = append(d.Excluded, names...)
				slices.Sort(d.Excluded)
				d.Excluded = slices.Compact(d.Excluded)
				return nil
			}
			gone := make(map[string]bool, len(names))
			for _, n := range names {
				gone[n] = true
			}
			d.Excluded = slices.DeleteFunc(d.Excluded, func(n string) bool { return gone[n] })
			return nil
		}, written)
	}
	what := events.T("Exclusion of {{.Count}} images", "Count", len(names))
	if !exclude {
		what = events.T("Inclusion of {{.Count}} images", "Count", len(names))
	}
	return set(ctx, exclude, func() {
		s.did(what, func(ctx context.Context) error { return set(ctx, !exclude, nil) })
	})
}

func (s datasetService) Bad(ctx context.Context, id string) ([]BadFile, error) {
	sc, err := s.scan(ctx, id)
	if err != nil {
		return nil, err
	}
	defer sc.release()
	out := make([]BadFile, len(sc.rep.Bad))
	for i, b := range sc.rep.Bad {
		out[i] = BadFile{Name: b.Name, Reason: b.Why()}
	}
	return out, nil
}

func (s datasetService) Duplicates(ctx context.Context, id string) ([][]int, error) {
	sc, err := s.scan(ctx, id)
	if err != nil {
		return nil, err
	}
	defer sc.release()
	return sc.duplicates(), nil
}

func (s datasetService) KeepOne(ctx context.Context, id string, group []int, keep int) error {
	if !slices.Contains(group, keep) {
		return sentence.Errorf("the image to keep is not one of the group")
	}
	return s.setExcluded(ctx, id, slices.DeleteFunc(slices.Clone(group), func(i int) bool { return i == keep }), true)
}

func (s datasetService) Preview(ctx context.Context, req PreviewRequest) ([]PreviewImage, error) {
	if req.Count < 1 || req.Count > 256 {
		return nil, sentence.Errorf("%d previews cannot be drawn: ask for 1 to 256", req.Count)
	}
	sc, err := s.scan(ctx, req.Dataset)
	if err != nil {
		return nil, err
	}
	defer sc.release()
	pp := toPreprocess(req.Preprocess, sc.rep)
	img, err := s.itemImage(ctx, req.Dataset, req.Item)
	if err != nil {
		return nil, err
	}
	out := make([]PreviewImage, req.Count)
	for k := range out {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		seen, err := data.Preview(img, pp, req.Seed, uint64(req.Item)<<8|uint64(k)) // others for each item
		if err != nil {
			return nil, err
		}
		out[k] = PreviewImage{Image: thumbs.ToRGBA(seen.Image), Flipped: seen.Flipped, Transform: seen.Transform}
	}
	return out, nil
}

// toPreprocess adds what the scan found out about the background.
func toPreprocess(p Preprocess, rep *data.Report) data.Preprocess {
	if p.Resize == data.Smooth {
		p.Resize = "" // as in runs of before there was a choice
	}
	return data.Preprocess{
		Width: p.Width, Height: p.Height, Channels: p.Channels, Fit: p.Fit, Resize: p.Resize, Flip: p.Flip, Augment: p.Augment, Background: rep.Background,
	}
}

func fromPreprocess(p data.Preprocess) Preprocess {
	fit := p.Fit
	if fit == "" {
		fit = data.Crop
	}
	resize := p.Resize
	if resize == "" {
		resize = data.Smooth
	}
	return Preprocess{Width: p.Width, Height: p.Height, Channels: p.Channels, Fit: fit, Resize: resize, Flip: p.Flip, Augment: p.Augment}
}

func (s datasetService) Rename(ctx context.Context, id, name string) error {
	name, err := workspace.CleanName(name)
	if err != nil {
		return err
	}
	var former string
	set := func(ctx context.Context, name string, written func()) error {
		return s.update(ctx, id, func(d *datasetFile) error {
			former, d.Name = d.Name, name
			return nil
		}, written)
	}
	return set(ctx, name, func() {
		old := former
		s.did(events.T("Renaming to “{{.Name}}”", "Name", name), func(ctx context.Context) error { return set(ctx, old, nil) })
	})
}

func (s datasetService) SetHeldOut(ctx context.Context, id string, fraction float64) error {
	if !(fraction >= 0 && fraction <= 0.5) {
		return events.T("{{.Share}} of the images cannot be held out: choose 0 to 0.5", "Share", fraction)
	}
	return s.update(ctx, id, func(d *datasetFile) error {
		d.HeldOut = fraction
		return nil
	}, nil)
}

func (s datasetService) Delete(ctx context.Context, ids ...string) error {
	var errs []error
	for _, id := range ids {
		errs = append(errs, s.trashDataset(ctx, id, true))
	}
	return errors.Join(errs...)
}

// trashDataset moves a dataset to the trash; undo says whether that can be undone by Undo.
func (s datasetService) trashDataset(ctx context.Context, id string, undo bool) error {
	e, done, err := s.change()
	if err != nil {
		return err
	}
	defer done()
	dir, err := workspace.Child(e.ws.Datasets(), id)
	if err != nil {
		return err
	}
	name := id
	if info, err := readDataset(dir); err == nil {
		name = info.Name
	}
	after := func(ctx context.Context, e *env) error { return s.datasetChanged(ctx, e, id) }
	if undo {
		err = s.discard(e, "dataset", name, events.T("Deletion of the dataset “{{.Name}}”", "Name", name), after, dir)
	} else {
		_, err = e.bin.Put("dataset", name, dir)
	}
	if err != nil {
		return err
	}
	return after(ctx, e)
}

func (s datasetService) RevealPath(ctx context.Context, id string, item int) (string, error) {
	sc, err := s.scan(ctx, id)
	if err != nil {
		return "", err
	}
	defer sc.release()
	path := string(sc.info.Source)
	if item >= 0 && item < len(sc.rep.Items) && sc.rep.Kind == data.Folder {
		path = filepath.Join(path, filepath.FromSlash(durable.Exact(sc.rep.Items[item].Name)))
	}
	if _, err := os.Stat(path); err != nil {
		return "", events.T("{{.Path}} is not there now: connect its drive or rescan the dataset", "Path", path)
	}
	return path, nil
}
