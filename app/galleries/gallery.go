package galleries

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"unnoise/app/disk"
	"unnoise/pipeline/model"
	"unnoise/pipeline/picture"
	"unnoise/pipeline/sampler"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// Request asks for a folder of pictures.
type Request struct {
	Model    Model
	Settings Settings
	N        int    // pictures
	First    int    // index of the first
	Out      string // folder, made if it is not there; pictures that are in it already are kept
	Grid     string // PNG with all of them, if not empty
	Compute  model.Compute
	Version  string // of the program
	Events   func(Event)
	Previews bool // send a Preview after every step
	// Free is disk.Free unless a test replaces it.
	Free func(path string) (uint64, error)
}

// Event is one of the types below.
type Event interface{ event() }

// Progress says how far a request has come.
type Progress struct {
	Done, Total     int // pictures
	Step, Steps     int // of the batch at hand
	ImagesPerSecond float64
	ETA             time.Duration
}

// Image says that a picture is on disk.
type Image struct {
	Index int
	Path  string
}

// Occupied says that something else is where a picture belongs, perhaps the picture after its owner edited it: it is left as
// it is, and the picture is not drawn.
type Occupied struct{ Path string }

// Preview shows the x̂0 of a batch at a step.
type Preview struct {
	First  int // index of the first picture of the batch
	Images []image.Image
}

func (Progress) event() {}
func (Image) event()    {}
func (Occupied) event() {}
func (Preview) event()  {}

// Result says what was made.
type Result struct {
	Files []string // in the order of their indices, those that were there already included
	Kept  int      // how many of them were there already
	Grid  string
}

// Sample makes the pictures of a request. Whatever ends it early, finished pictures stay and are in the result; the same
// request again makes only the missing ones.
func Sample(ctx context.Context, r Request) (res Result, err error) {
	spec := r.Model.Spec
	if r.N < 1 || r.N > 1_000_000 || r.First < 0 || r.First > math.MaxInt32 {
		return res, fmt.Errorf("%w: %w", model.ErrOption, sentence.Errorf("%d pictures: choose between 1 and 1,000,000", r.N))
	}
	set, err := r.Settings.Complete(spec)
	if err != nil {
		return res, err
	}
	if r.Events == nil {
		r.Events = func(Event) {}
	}
	if r.Free == nil {
		r.Free = disk.Free
	}
	if err := r.ready(set); err != nil {
		return res, err
	}
	tag := r.tag(set)
	res.Files = make([]string, 0, r.N)
	var missing []int
	occupied := map[string]bool{}
	for i := range r.N {
		index := r.First + i
		path := filepath.Join(r.Out, fileName(set.Seed, index, tag))
		switch m, err := picture.ReadMeta(path); {
		case err == nil && m.Seed == set.Seed && m.Index == index:
			res.Kept++
		case durable.Vacant(path) == nil || errors.Is(err, picture.ErrCut):
			missing = append(missing, index)
		default:
			occupied[path] = true
			r.Events(Occupied{path})
		}
	}
	err = r.fill(ctx, set, tag, missing, res.Kept, occupied)
	for i := range r.N {
		path := filepath.Join(r.Out, fileName(set.Seed, r.First+i, tag))
		if _, serr := os.Stat(path); serr == nil && !occupied[path] {
			res.Files = append(res.Files, path)
		}
	}
	if err != nil {
		return res, err
	}
	if r.Grid != "" {
		if err := r.grid(ctx, set, res.Files); err != nil {
			return res, err
		}
		res.Grid = r.Grid
	}
	return res, nil
}

// sheet is how the grid is drawn.
var sheet = picture.GridOptions{Spacing: 2}

// ready makes the folder and checks all that can be known, before minutes are spent on pictures: the grid's size and
// place, the room, and leave to write.
func (r Request) ready(set Settings) error {
	if r.Grid != "" {
		_, h, w := r.Model.Spec.Shape()
		if err := sheet.Check(r.N, w, h); err != nil {
			return fmt.Errorf("%w: %w", model.ErrOption, err)
		}
		if _, err := r.checkGrid(set); err != nil {
			return err
		}
	}
	dirs := []string{r.Out}
	if r.Grid != "" {
		dirs = []string{filepath.Dir(r.Grid), r.Out}
	}
	for _, dir := range dirs {
		if err := disk.Writable(dir); err != nil {
			return err
		}
	}
	need := int64(r.N) * (int64(r.Model.Spec.Dim()) + 2048)
	if r.Grid != "" {
		need += int64(r.N) * int64(r.Model.Spec.Dim())
	}
	if err := disk.Require(r.Free, r.Out, need, sentence.T("these pictures")); err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := durable.MkdirAll(dir); err != nil {
			return sentence.Errorf("the folder %s cannot be made: %w", dir, err)
		}
		// What a killed process left, also one of an earlier version.
		if err := durable.SweepFor(dir, func(name string) bool {
			return ownName.MatchString(name) || (r.Grid != "" && durable.Becomes(filepath.Base(r.Grid))(name))
		}); err != nil {
			return err
		}
	}
	return nil
}

// checkGrid refuses to draw the grid where something else is. Only the same request's own grid may be there: it is kept, if
// nobody changed it since.
func (r Request) checkGrid(set Settings) (there bool, err error) {
	if st, err := os.Lstat(r.Grid); err == nil && st.IsDir() {
		return false, sentence.Errorf("%s is a folder: name a file for the grid, such as %s", r.Grid, filepath.Join(r.Grid, "grid.png"))
	}
	taken := durable.Vacant(r.Grid)
	if taken == nil {
		return false, nil
	}
	if m, err := picture.Verify(r.Grid); err == nil && m.SameOrigin(*r.gridMeta(set)) {
		return true, nil
	}
	return false, taken
}

// gridMeta is the provenance of the grid.
func (r Request) gridMeta(set Settings) *picture.Meta {
	m := r.Model.Meta(set, r.First, r.Version)
	m.Count, m.Class = r.N, set.Class
	return m
}

// tag names model and settings briefly, so that the pictures of different ones never take each other's file names.
func (r Request) tag(s Settings) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%d\x00%g\x00%s\x00%t\x00%s\x00%s\x00", s.Sampler, s.Steps, s.Eta, s.Class, s.NoClip, r.Model.Spec.Objective, r.Model.Spec.ScheduleName())
	if s.Spacing != "" { // what came later leaves the names of older pictures alone
		fmt.Fprintf(h, "%s\x00", s.Spacing)
	}
	if start := startFor(r.Model.Spec, s); start > 0 {
		fmt.Fprintf(h, "from %g\x00", start)
	}
	for _, b := range r.Model.Spec.Betas {
		fmt.Fprintf(h, "%g\x00", b)
	}
	buf := make([]byte, 0, 4*1024)
	for _, w := range r.Model.Weights {
		buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(w))
		if len(buf) == cap(buf) {
			h.Write(buf)
			buf = buf[:0]
		}
	}
	h.Write(buf)
	return hex.EncodeToString(h.Sum(nil)[:4])
}

// ownName is what fileName makes.
var ownName = regexp.MustCompile(`^seed[0-9]+-[0-9]{5,}-[0-9a-f]+\.png$`)

func fileName(seed uint64, index int, tag string) string {
	return fmt.Sprintf("seed%d-%05d-%s.png", seed, index, tag)
}

// fill samples the missing pictures.
func (r Request) fill(ctx context.Context, set Settings, tag string, missing []int, kept int, occupied map[string]bool) error {
	if len(missing) == 0 {
		return nil
	}
	s, err := NewSampler(ctx, r.Model, len(missing), r.Compute)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	c, h, w := r.Model.Spec.Shape()
	dim := c * h * w
	began, done := time.Now(), 0
	return s.Images(ctx, set, missing,
		func(first, n int, st sampler.Step) error {
			// Pictures sampled so far, the part of the batch at hand included.
			part := float64(first) + float64(n)*float64(st.Index+1)/float64(st.Total)
			spent := time.Since(began)
			p := Progress{Done: kept + done, Total: r.N, Step: st.Index + 1, Steps: st.Total, ImagesPerSecond: part / spent.Seconds()}
			p.ETA = time.Duration(float64(spent) * (float64(len(missing)) - part) / part)
			r.Events(p)
			if !r.Previews {
				return nil
			}
			pre := Preview{First: missing[first], Images: make([]image.Image, n)}
			for b := range n {
				img, err := picture.FromCHW(st.X0[b*dim:(b+1)*dim], c, h, w)
				if err != nil {
					return err
				}
				pre.Images[b] = img
			}
			r.Events(pre)
			return nil
		},
		func(index int, x []float32) error {
			img, err := picture.FromCHW(x, c, h, w)
			if err != nil {
				return err
			}
			path := filepath.Join(r.Out, fileName(set.Seed, index, tag))
			if err := picture.MendPNG(path, img, r.Model.Meta(set, index, r.Version)); err != nil {
				if errors.Is(err, fs.ErrExist) { // it came meanwhile
					occupied[path] = true
					r.Events(Occupied{path})
					return nil
				}
				if durable.IsFull(err) {
					return sentence.Errorf("the disk of %s is full after %d of %d pictures; make room and run the same again: %w", r.Out, kept+done, r.N, err)
				}
				return sentence.Errorf("the picture %s could not be written: %w", path, err)
			}
			done++
			r.Events(Image{Index: index, Path: path})
			return nil
		})
}

// grid writes all pictures as one PNG, unless it is there already.
func (r Request) grid(ctx context.Context, set Settings, files []string) error {
	img, err := picture.Grid(ctx, picture.Frames{N: len(files), At: func(i int) (image.Image, error) {
		return picture.Read(files[i])
	}}, sheet)
	if err != nil {
		return sentence.Errorf("the grid could not be drawn: %w", err)
	}
	if there, err := r.checkGrid(set); there || err != nil {
		return err
	}
	if err := picture.WritePNG(r.Grid, img, r.gridMeta(set)); err != nil {
		return sentence.Errorf("the grid %s could not be written: %w", r.Grid, err)
	}
	return nil
}
