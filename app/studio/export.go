package studio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/adrg/xdg"
	"golang.org/x/image/font/opentype"

	"unnoise/app/disk"
	"unnoise/app/events"
	"unnoise/app/exports"
	"unnoise/app/fonts"
	"unnoise/app/workspace"
	"unnoise/pipeline/export"
	"unnoise/pipeline/picture"
	"unnoise/pipeline/train"
	"unnoise/runtime/durable"
)

type exportService struct{ *core }

// under makes ready to write at out: the work is counted, ends with the studio, the folder is made and what is
// there already is refused.
func (s exportService) under(ctx context.Context, out string) (context.Context, func(), error) {
	out, err := filepath.Abs(out)
	if err != nil {
		return nil, nil, err
	}
	ctx, e, done, err := s.work(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := durable.Vacant(out); err != nil {
		done()
		return nil, nil, err
	}
	err = disk.Writable(filepath.Dir(out)) // an animation may be long in the making
	if err == nil {
		err = durable.MkdirAll(filepath.Dir(out))
	}
	if err != nil {
		done()
		return nil, nil, cannotWrite(filepath.Dir(out), err)
	}
	written := s.note(e, exportTo(out), out)
	return ctx, func() { written(); done() }, nil
}

func exportTo(path string) Text { return events.T("Export to {{.Path}}", "Path", path) }

func cannotWrite(path string, err error) error {
	return events.T("{{.Path}} cannot be written: choose a folder you may write to", "Path", path).Because(err)
}

// wrote says in the person's words why a file could not be made, and remembers the folder for next time.
func (s exportService) wrote(out string, err error) error {
	switch {
	case err == nil:
		set := s.settings.Get()
		if dir := filepath.Dir(out); set.ExportDir != dir {
			set.ExportDir = dir
			_, _ = s.settings.Set(set)
		}
		return nil
	case errors.Is(err, context.Canceled) || errors.Is(err, fs.ErrExist):
		return err
	case durable.IsFull(err):
		return events.T("the disk is too full for {{.Path}}: make room or choose another disk", "Path", out).Because(err)
	case errors.Is(err, fs.ErrPermission):
		return cannotWrite(out, err)
	}
	return events.T("{{.Path}} could not be made: {{.Problem}}", "Path", out, "Problem", err).Because(err)
}

// encoded is a picture as the bytes of a PNG, with its metadata or without any.
func (s exportService) encoded(ctx context.Context, ref Ref, opt PNGOptions) ([]byte, error) {
	var b bytes.Buffer
	if opt.Scale > 1 {
		img, meta, err := s.enlarged(ctx, ref, opt)
		if err != nil {
			return nil, err
		}
		err = picture.EncodePNG(&b, img, meta)
		return b.Bytes(), err
	}
	switch ref.Kind {
	case GalleryImage, SampleGrid, RunCover:
		path, err := s.file(ctx, ref)
		if err != nil {
			return nil, err
		}
		raw, err := durable.ReadFile(path, maxPNG)
		if err != nil {
			return nil, err
		}
		if opt.Metadata {
			return raw, nil
		}
		if err := picture.StripPNG(&b, bytes.NewReader(raw)); err != nil {
			return nil, err
		}
	default:
		img, err := loader{s.core}.Load(ctx, ref)
		if err != nil {
			return nil, err
		}
		if err := picture.EncodePNG(&b, img, nil); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// enlarged is a picture at the size it is written in, with how it was made if that is asked for.
func (s exportService) enlarged(ctx context.Context, ref Ref, opt PNGOptions) (image.Image, *picture.Meta, error) {
	if opt.Scale < 0 || opt.Scale > exports.MaxScale {
		return nil, nil, events.T("Choose a scale of up to {{.N}}.", "N", exports.MaxScale)
	}
	img, err := loader{s.core}.Load(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	if img, err = picture.Scale(img, opt.Scale); err != nil || !opt.Metadata {
		return img, nil, err
	}
	if _, meta, err := (galleryService{core: s.core}).meta(ctx, ref); err == nil {
		return img, &meta, nil
	}
	return img, nil, nil
}

// fileName is what a picture is called when it is written elsewhere.
func (s exportService) fileName(ref Ref) string {
	name := ref.Name
	switch ref.Kind {
	case SampleGrid, RunCover:
		name = ref.Owner + "-" + ref.Name
	case DatasetItem:
		name = fmt.Sprintf("%s-%06d", ref.Owner, ref.Index)
	}
	return strings.TrimSuffix(filepath.Base(name), ".png") + ".png"
}

// maxPNG bounds the bytes of a picture of a gallery: of MaxPixels, it has less.
const maxPNG = 8 * picture.MaxPixels

var errNoneChosen = events.T("Select at least one image.")

func (s exportService) Images(ctx context.Context, refs []Ref, dir string, opt PNGOptions, progress ProgressFunc) ([]string, error) {
	if len(refs) == 0 {
		return nil, errNoneChosen
	}
	ctx, e, done, err := s.work(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(dir); err != nil {
		return nil, cannotWrite(dir, err)
	}
	defer s.note(e, exportTo(dir), dir+string(filepath.Separator))()
	m := newMeter(progress, events.T("Writing the images"))
	var out []string
	for i, ref := range refs {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		b, err := s.encoded(ctx, ref, opt)
		if err != nil {
			return out, err
		}
		path, err := "", fs.ErrExist
		for errors.Is(err, fs.ErrExist) { // until the name is free at the moment of writing, too
			path = free(filepath.Join(dir, s.fileName(ref)))
			err = durable.WriteNew(path, func(w io.Writer) error { _, err := w.Write(b); return err })
		}
		if err := s.wrote(path, err); err != nil {
			return out, err
		}
		out = append(out, path)
		m.at(int64(i+1), int64(len(refs)), filepath.Base(path))
	}
	return out, nil
}

// free is path, with a number before its extension if it is taken.
func free(path string) string {
	ext := filepath.Ext(path)
	base := strings.TrimSuffix(path, ext)
	for i := 2; ; i++ {
		if _, err := os.Lstat(path); err != nil {
			return path
		}
		path = fmt.Sprintf("%s-%d%s", base, i, ext)
	}
}

// frames reads pictures one by one. progress counts those read out of passes times as many, as some formats read twice.
func (s exportService) frames(ctx context.Context, refs []Ref, m *meter) picture.Frames {
	return picture.Frames{N: len(refs), At: func(i int) (image.Image, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m.at(int64(i+1), int64(len(refs)), "")
		return loader{s.core}.Load(ctx, refs[i])
	}}
}

func (s exportService) Sheet(ctx context.Context, refs []Ref, out string, opt SheetOptions, progress ProgressFunc) error {
	if len(refs) == 0 {
		return errNoneChosen
	}
	ctx, done, err := s.under(ctx, out)
	if err != nil {
		return err
	}
	defer done()
	g := picture.GridOptions{Columns: opt.Columns, Spacing: opt.Spacing, Scale: max(1, opt.Scale)}
	// The pictures of a sheet are of one size, nearly always: the first tells whether they fit.
	if first, err := (loader{s.core}).Load(ctx, refs[0]); err == nil {
		if err := g.Check(len(refs), first.Bounds().Dx(), first.Bounds().Dy()); err != nil {
			return err
		}
	}
	if opt.Labels {
		for _, r := range refs {
			g.Labels = append(g.Labels, s.label(ctx, r))
		}
		if g.Font, err = labelFont(g.Labels); err != nil {
			return err
		}
	}
	var meta *picture.Meta
	if opt.Metadata {
		if _, m, err := (galleryService{core: s.core}).meta(ctx, refs[0]); err == nil {
			m.Count = len(refs)
			meta = &m
		}
	}
	sheet, err := picture.Grid(ctx, s.frames(ctx, refs, newMeter(progress, events.T("Drawing the sheet"))), g)
	if err != nil {
		return s.wrote(out, err)
	}
	return s.wrote(out, picture.WritePNG(out, sheet, meta))
}

// labelFont is a font of the system for the letters of labels that the built-in one lacks, or nil.
func labelFont(labels []string) (*opentype.Font, error) {
	letters := map[rune]bool{}
	for _, l := range labels {
		for _, r := range l {
			letters[r] = true
		}
	}
	maps.DeleteFunc(letters, func(r rune, _ bool) bool { return picture.CanLabel(string(r)) })
	if len(letters) == 0 {
		return nil, nil //nolint:nilnil // none is needed
	}
	return fonts.Covering(string(slices.Collect(maps.Keys(letters))))
}

// label is the line under a picture of a sheet: its class, if it has one, its seed and its place in it.
func (s exportService) label(ctx context.Context, ref Ref) string {
	if _, m, err := (galleryService{core: s.core}).meta(ctx, ref); err == nil {
		return strings.TrimSpace(fmt.Sprintf("%s %d #%d", m.Class, m.Seed, m.Index))
	}
	return strings.TrimSuffix(s.fileName(ref), ".png")
}

func (s exportService) Zip(ctx context.Context, refs []Ref, out string, opt PNGOptions, progress ProgressFunc) error {
	if len(refs) == 0 {
		return errNoneChosen
	}
	ctx, done, err := s.under(ctx, out)
	if err != nil {
		return err
	}
	defer done()
	m := newMeter(progress, events.T("Writing the archive"))
	taken := make(map[string]int)
	err = picture.WriteZip(ctx, out, len(refs), func(i int) (picture.Entry, error) {
		img, meta, err := s.enlarged(ctx, refs[i], opt)
		if err != nil {
			return picture.Entry{}, err
		}
		e := picture.Entry{Name: s.fileName(refs[i]), Image: img, Meta: meta}
		if taken[e.Name]++; taken[e.Name] > 1 {
			e.Name = fmt.Sprintf("%s-%d.png", strings.TrimSuffix(e.Name, ".png"), taken[e.Name])
		}
		m.at(int64(i+1), int64(len(refs)), e.Name)
		return e, nil
	})
	return s.wrote(out, err)
}

// write writes an animation in one of the formats.
func write(ctx context.Context, out string, fr picture.Frames, opt AnimationOptions, meta *picture.Meta) error {
	if !(opt.FPS >= 0.1 && opt.FPS <= 100) || !(opt.Hold >= 0 && opt.Hold <= 30) || opt.Scale < 0 || opt.Scale > exports.MaxScale {
		return events.T("Choose 0.1 to 100 frames per second, up to 30 seconds for the last one, and a scale up to 64.")
	}
	a := picture.Animation{
		Delay: time.Duration(float64(time.Second) / opt.FPS), Hold: time.Duration(opt.Hold * float64(time.Second)), Scale: max(1, opt.Scale),
	}
	switch opt.Format {
	case "gif":
		return picture.WriteGIF(ctx, out, fr, a)
	case "apng":
		return picture.WriteAPNG(ctx, out, fr, a, meta)
	case "webp":
		return picture.WriteWebP(ctx, out, fr, a)
	}
	return events.T("There is no animation format “{{.Format}}”: choose gif, apng or webp.", "Format", opt.Format)
}

func (s exportService) Frames(ctx context.Context, frames []*image.RGBA, out string, opt AnimationOptions, progress ProgressFunc) error {
	if len(frames) == 0 {
		return errNoneChosen
	}
	ctx, done, err := s.under(ctx, out)
	if err != nil {
		return err
	}
	defer done()
	m := newMeter(progress, events.T("Writing the animation"))
	fr := picture.Frames{N: len(frames), At: func(i int) (image.Image, error) {
		m.at(int64(i+1), int64(len(frames)), "")
		return frames[i], ctx.Err()
	}}
	return s.wrote(out, write(ctx, out, fr, opt, nil))
}

func (s exportService) TimeLapse(ctx context.Context, id, weights, out string, opt AnimationOptions, progress ProgressFunc) error {
	run, err := s.openRun(id)
	if err != nil {
		return err
	}
	if weights == "" {
		weights = train.EMAName
	}
	grids, err := exports.Grids(run, weights)
	if err != nil {
		return err
	}
	if len(grids) == 0 {
		return events.T("This run has no sample grids yet; the first one comes after {{.Steps}} steps.", "Steps", run.Info().Train.SampleEvery)
	}
	ctx, done, err := s.under(ctx, out)
	if err != nil {
		return err
	}
	defer done()
	refs := make([]Ref, len(grids))
	for i, g := range grids {
		refs[i] = Ref{Kind: SampleGrid, Owner: id, Index: int(g.Step), Name: filepath.Base(g.Path)}
	}
	return s.wrote(out, write(ctx, out, s.frames(ctx, refs, newMeter(progress, events.T("Writing the animation"))), opt, nil))
}

func (s exportService) Model(ctx context.Context, id string, checkpoint int64, weights, format, out string, progress ProgressFunc) error {
	if !slices.Contains([]string{"diffusers", "onnx"}, format) {
		return events.T("There is no model format “{{.Format}}”: choose diffusers or onnx.", "Format", format)
	}
	ctx, done, err := s.under(ctx, out)
	if err != nil {
		return err
	}
	defer done()
	m := newMeter(progress, events.T("Writing the model"))
	m.at(0, 2, "")
	loaded, err := s.load(ctx, id, checkpoint, weights)
	if err != nil {
		return forPeople(err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.at(1, 2, "")
	if format == "onnx" {
		err = export.ONNX(out, loaded.Spec, loaded.Weights)
	} else {
		err = export.Diffusers(out, loaded.Spec, loaded.Weights)
	}
	if err == nil {
		m.at(2, 2, "")
	}
	return s.wrote(out, err)
}

func (s exportService) Suggest(kind, name string) string {
	dir := s.settings.Get().ExportDir
	if st, err := os.Stat(dir); dir == "" || err != nil || !st.IsDir() {
		dir = xdg.UserDirs.Pictures
		if st, err := os.Stat(dir); dir == "" || err != nil || !st.IsDir() {
			dir = xdg.Home
		}
	}
	base := workspace.FolderName(name)
	switch kind {
	case "sheet":
		base += "-sheet.png"
	case "apng":
		base += ".png"
	case "zip", "gif", "webp", "onnx":
		base += "." + kind
	case "diffusers":
		base += "-diffusers"
	}
	return free(filepath.Join(dir, base))
}
