// Package exports turns a run into files for use elsewhere: its model as a diffusers folder or an ONNX file, freshly
// sampled pictures as a sheet or a zip, and its fixed-seed grids as a time-lapse. Each appears whole or not at all, and
// never in the place of something that is there.
package exports

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"unnoise/app/disk"
	"unnoise/app/galleries"
	"unnoise/app/runs"
	"unnoise/pipeline/export"
	"unnoise/pipeline/model"
	"unnoise/pipeline/picture"
	"unnoise/pipeline/sampler"
	"unnoise/pipeline/train"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// Format is what a run is turned into.
type Format string

// The formats.
const (
	Diffusers Format = "diffusers" // folder that diffusers' DDPMPipeline opens
	ONNX      Format = "onnx"      // the network as one ONNX file
	Grid      Format = "grid"      // PNG with freshly sampled pictures
	Zip       Format = "zip"       // the same pictures one by one
	GIF       Format = "gif"       // time-lapse of the fixed-seed grids made in training
)

// Formats lists every format.
func Formats() []string {
	return []string{string(Diffusers), string(ONNX), string(Grid), string(Zip), string(GIF)}
}

// Pictures is how many pictures a sheet or a zip has.
const Pictures = 64

// MaxScale bounds how many times a picture is enlarged.
const MaxScale = 64

// Request asks for an export.
type Request struct {
	Run        *runs.Run
	Format     Format
	Out        string
	Checkpoint int64 // step, runs.Newest or runs.Best
	Seed       uint64
	Scale      int // whole-number enlargement of the pictures; 0 is 1, and 2 for a GIF
	Compute    model.Compute
	Version    string // of the program
	Progress   func(done, total int, what string)
	// Free is disk.Free unless a test replaces it.
	Free func(path string) (uint64, error)
}

func (r Request) free() func(string) (uint64, error) {
	if r.Free != nil {
		return r.Free
	}
	return disk.Free
}

// Export does what is asked. Errors about choices wrap model.ErrOption.
func Export(ctx context.Context, r Request) error {
	if r.Progress == nil {
		r.Progress = func(int, int, string) {}
	}
	if !slices.Contains(Formats(), string(r.Format)) {
		return fmt.Errorf("%w: %w", model.ErrOption, sentence.Errorf("there is no format %q: use one of %s", r.Format, strings.Join(Formats(), ", ")))
	}
	if r.Scale < 0 || r.Scale > MaxScale {
		return fmt.Errorf("%w: %w", model.ErrOption, sentence.Errorf("pictures cannot be enlarged %d times: choose between 1 and %d", r.Scale, MaxScale))
	}
	if r.Scale > 0 && (r.Format == Diffusers || r.Format == ONNX) {
		return fmt.Errorf("%w: %w", model.ErrOption, sentence.Errorf("the format %s has no pictures to enlarge: use one of %s", r.Format, strings.Join([]string{string(Grid), string(Zip), string(GIF)}, ", ")))
	}
	if err := durable.Vacant(r.Out); err != nil {
		return err
	}
	if err := disk.Writable(filepath.Dir(r.Out)); err != nil {
		return err
	}
	// What a killed process left of the same file; whatever is wrong is told when it is written.
	_ = durable.SweepFor(filepath.Dir(r.Out), durable.Becomes(filepath.Base(r.Out)))
	if r.Format == GIF {
		return r.made(r.timeLapse(ctx))
	}
	m, err := galleries.FromRun(r.Run, r.Checkpoint, train.EMAName)
	if err != nil {
		return err
	}
	// The model's weights as they are, or as many pictures, uncompressed at worst.
	need := int64(len(m.Weights)) * 4
	if r.Format == Grid || r.Format == Zip {
		// Enlarged, each row is there once, and a repeat costs next to nothing.
		need = Pictures * (int64(m.Spec.Dim())*int64(max(r.Scale, 1)) + 2048)
	}
	if err := disk.Require(r.free(), r.Out, need, sentence.T("this export")); err != nil {
		return err
	}
	if err := durable.MkdirAll(filepath.Dir(r.Out)); err != nil {
		return r.made(err)
	}
	switch r.Format {
	case Diffusers:
		r.Progress(0, 1, "writing the model")
		err = export.Diffusers(r.Out, m.Spec, m.Weights)
		r.Progress(1, 1, "writing the model")
	case ONNX:
		r.Progress(0, 1, "writing the model")
		err = r.onnx(m)
		r.Progress(1, 1, "writing the model")
	default:
		err = r.pictures(ctx, m)
	}
	return r.made(err)
}

// made says in the person's words why a file could not be made.
func (r Request) made(err error) error {
	switch {
	case err == nil || errors.Is(err, context.Canceled) || errors.Is(err, fs.ErrExist):
		return err
	case durable.IsFull(err):
		return sentence.Errorf("the disk is too full for %s: make room or choose another disk: %w", r.Out, err)
	case errors.Is(err, fs.ErrPermission):
		return sentence.Errorf("%s cannot be written: choose a folder you may write to: %w", r.Out, err)
	}
	return sentence.Errorf("%s could not be made: %w", r.Out, err)
}

func (r Request) onnx(m galleries.Model) error {
	return export.ONNX(r.Out, m.Spec, m.Weights)
}

// pictures samples pictures into a sheet or a zip, a batch at a time.
func (r Request) pictures(ctx context.Context, m galleries.Model) error {
	set, err := galleries.Settings{Seed: r.Seed}.Complete(m.Spec)
	if err != nil {
		return err
	}
	c, h, w := m.Spec.Shape()
	grid := picture.GridOptions{Spacing: train.GridSpacing, Scale: r.Scale}
	if r.Format == Grid {
		if err := grid.Check(Pictures, w, h); err != nil {
			return err
		}
	}
	s, err := galleries.NewSampler(ctx, m, Pictures, r.Compute)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	ready := map[int]image.Image{} // of the batch at hand
	at := func(i int) (image.Image, error) {
		if img, ok := ready[i]; ok {
			return img, nil
		}
		clear(ready)
		var batch []int
		for k := i; k < min(i+s.Batch(), Pictures); k++ {
			batch = append(batch, k)
		}
		err := s.Images(ctx, set, batch,
			func(_, n int, st sampler.Step) error {
				r.Progress(i*st.Total+n*(st.Index+1), Pictures*st.Total, "sampling pictures")
				return nil
			},
			func(k int, x []float32) (err error) {
				ready[k], err = picture.FromCHW(x, c, h, w)
				return err
			})
		return ready[i], err
	}
	if r.Format == Zip {
		return picture.WriteZip(ctx, r.Out, Pictures, func(i int) (picture.Entry, error) {
			img, err := at(i)
			if err == nil {
				img, err = picture.Scale(img, r.Scale)
			}
			return picture.Entry{Name: fmt.Sprintf("%s-%03d.png", baseName(m.Name), i), Image: img, Meta: m.Meta(set, i, r.Version)}, err
		})
	}
	sheet, err := picture.Grid(ctx, picture.Frames{N: Pictures, At: at}, grid)
	if err != nil {
		return err
	}
	meta := m.Meta(set, 0, r.Version)
	meta.Count, meta.Class = Pictures, ""
	return picture.WritePNG(r.Out, sheet, meta)
}

var unusual = regexp.MustCompile(`[^\p{L}\p{N}._-]+`)

// baseName is a name that any file system and archive takes.
func baseName(name string) string {
	if s := strings.Trim(unusual.ReplaceAllString(name, "-"), ".-"); s != "" {
		return s
	}
	return "picture"
}

// timeLapse animates the run's fixed-seed grids.
func (r Request) timeLapse(ctx context.Context) error {
	files, err := Grids(r.Run, train.EMAName)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return sentence.Errorf("the run %s has no sample grids yet; the first one comes after %d steps", r.Run.Dir, r.Run.Info().Train.SampleEvery)
	}
	if err := durable.MkdirAll(filepath.Dir(r.Out)); err != nil {
		return err
	}
	frames := picture.Frames{N: len(files), At: func(i int) (image.Image, error) {
		r.Progress(i, len(files), "drawing the time-lapse")
		return picture.Read(files[i].Path)
	}}
	return picture.WriteGIF(ctx, r.Out, frames, picture.Animation{Delay: 200 * time.Millisecond, Hold: 2 * time.Second, Scale: cmp.Or(r.Scale, 2)})
}

// GridFile is a fixed-seed grid of a run.
type GridFile struct {
	Step    int64
	Weights string // train.EMAName or train.RawName
	Path    string
}

var gridName = regexp.MustCompile(`^(\d{6,18})-(\w+)\.png$`)

// Grids lists a run's fixed-seed grids of these weights ("" for all), by step.
func Grids(run *runs.Run, weights string) ([]GridFile, error) {
	dir := filepath.Join(run.Dir, train.SampleDir)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, sentence.Errorf("the run's samples cannot be listed: %w", err)
	}
	var out []GridFile
	for _, e := range entries {
		m := gridName.FindStringSubmatch(e.Name())
		if m == nil || (weights != "" && m[2] != weights) {
			continue
		}
		step, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			continue
		}
		out = append(out, GridFile{Step: step, Weights: m[2], Path: filepath.Join(dir, e.Name())})
	}
	slices.SortFunc(out, func(a, b GridFile) int {
		if a.Step != b.Step {
			return int(a.Step - b.Step)
		}
		return strings.Compare(a.Weights, b.Weights)
	})
	return out, nil
}
