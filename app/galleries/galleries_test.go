package galleries

import (
	"context"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/data"
	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/model"
	"unnoise/pipeline/picture"
	"unnoise/pipeline/sampler"
)

// untrained is a model with the weights it would begin with: enough to draw with.
func untrained(t *testing.T, obj diffusion.Objective, classes ...string) Model {
	t.Helper()
	s, err := model.New("tiny", model.Options{
		Preprocess: data.Preprocess{Width: 8, Height: 8, Channels: 3}, Objective: obj, Classes: classes,
	})
	require.NoError(t, err)
	w, err := s.UNet.Init(1)
	require.NoError(t, err)
	return Model{Name: "model", Spec: s, Weights: w, Checkpoint: 12, WeightsName: "ema"}
}

func TestEverySamplerOnEveryObjective(t *testing.T) {
	for _, obj := range diffusion.Objectives() {
		m := untrained(t, obj)
		s, err := NewSampler(t.Context(), m, 2, model.Compute{})
		require.NoError(t, err)
		for _, name := range sampler.Names() {
			n := 0
			err := s.Images(t.Context(), Settings{Sampler: name, Steps: 3, Seed: 1}, []int{4, 9}, nil, func(i int, x []float32) error {
				n++
				for _, v := range x {
					require.False(t, math.IsNaN(float64(v)))
					require.LessOrEqual(t, math.Abs(float64(v)), 1.5)
				}
				return nil
			})
			require.NoError(t, err, "%s %s", obj, name)
			require.Equal(t, 2, n)
		}
		require.NoError(t, s.Close())
	}
}

func TestCancelKeepsWhatIsFinished(t *testing.T) {
	m := untrained(t, diffusion.ObjectiveV, "a", "b")
	out := filepath.Join(t.TempDir(), "gallery")
	ctx, cancel := context.WithCancel(t.Context())
	req := Request{Model: m, Settings: Settings{Steps: 3, Seed: 2}, N: 20, Out: out, Events: func(e Event) {
		if i, ok := e.(Image); ok && i.Index == 9 {
			cancel()
		}
	}}
	res, err := Sample(ctx, req)
	require.ErrorIs(t, err, context.Canceled)
	require.GreaterOrEqual(t, len(res.Files), 10)
	require.Less(t, len(res.Files), 20)
	first, err := os.ReadFile(res.Files[0])
	require.NoError(t, err)
	// A file cut short by other means is drawn again.
	require.NoError(t, os.Truncate(res.Files[3], 40))

	made := 0
	var last Progress
	req.Events = func(e Event) {
		switch e := e.(type) {
		case Image:
			made++
		case Progress:
			require.GreaterOrEqual(t, e.Done, last.Done)
			last = e
		}
	}
	all, err := Sample(t.Context(), req)
	require.NoError(t, err)
	require.Len(t, all.Files, 20)
	require.Equal(t, len(res.Files)-1, all.Kept)
	require.Equal(t, 20-all.Kept, made)
	again, err := os.ReadFile(all.Files[0])
	require.NoError(t, err)
	require.Equal(t, first, again)
	for i, f := range all.Files {
		meta, err := picture.ReadMeta(f)
		require.NoError(t, err)
		require.Equal(t, i, meta.Index)
		require.Equal(t, []string{"a", "b"}[i%2], meta.Class)
		require.True(t, strings.HasPrefix(filepath.Base(f), "seed2-"))
	}
	entries, err := os.ReadDir(out)
	require.NoError(t, err)
	require.Len(t, entries, 20, "no temporary file is left")
}

func TestPreviewsShowTheWay(t *testing.T) {
	m := untrained(t, diffusion.ObjectiveEps)
	var previews []Preview
	_, err := Sample(t.Context(), Request{Model: m, Settings: Settings{Sampler: "ddim", Steps: 4}, N: 3, First: 5, Out: t.TempDir(), Previews: true, Events: func(e Event) {
		if p, ok := e.(Preview); ok {
			previews = append(previews, p)
		}
	}})
	require.NoError(t, err)
	require.Len(t, previews, 4)
	require.Equal(t, 5, previews[0].First)
	require.Len(t, previews[0].Images, 3)
}

func TestTrajectoryAndInterpolation(t *testing.T) {
	m := untrained(t, diffusion.ObjectiveV)
	s, err := NewSampler(t.Context(), m, 8, model.Compute{})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	set := Settings{Sampler: "ddim", Steps: 5, Seed: 3}
	draw := func(index int) (out []float32) {
		require.NoError(t, s.Images(t.Context(), set, []int{index}, nil, func(_ int, x []float32) error {
			out = x
			return nil
		}))
		return out
	}
	steps := 0
	end, err := s.Trajectory(t.Context(), set, 2, func(st sampler.Step) error {
		if steps++; steps == 1 {
			start := make([]float32, m.Spec.Dim())
			Start(start, 3, 2)
			require.Equal(t, start, st.Xt)
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 5, steps)
	require.Equal(t, draw(2), end)

	var frames [][]float32
	require.NoError(t, s.Interpolate(t.Context(), set, 3, 2, 3, 7, 11, func(k int, x []float32) error {
		require.Len(t, frames, k)
		frames = append(frames, x)
		return nil
	}))
	require.Len(t, frames, 11)
	require.InDeltaSlice(t, draw(2), frames[0], 1e-3)
	require.InDeltaSlice(t, draw(7), frames[10], 1e-3)
	require.ErrorIs(t, s.Interpolate(t.Context(), Settings{Sampler: "ddpm"}, 1, 1, 2, 2, 3, nil), model.ErrOption)
}

func TestSlerpKeepsTheNorm(t *testing.T) {
	a, b, x := make([]float32, 500), make([]float32, 500), make([]float32, 500)
	Start(a, 1, 1)
	Start(b, 1, 2)
	norm := func(v []float32) (s float64) {
		for _, f := range v {
			s += float64(f) * float64(f)
		}
		return math.Sqrt(s)
	}
	for _, at := range []float64{0, 0.25, 0.5, 0.9, 1} {
		slerp(x, a, b, at)
		require.InDelta(t, math.Sqrt(500), norm(x), 1.5)
	}
	slerp(x, a, a, 0.3)
	require.InDeltaSlice(t, a, x, 1e-5)
}

func TestSettingsRefuse(t *testing.T) {
	m := untrained(t, diffusion.ObjectiveV, "a", "b")
	for want, s := range map[string]Settings{
		"there is no sampler":   {Sampler: "euler"},
		"1000 noise levels":     {Sampler: "ddim", Steps: 5000},
		"only ddim takes one":   {Sampler: "heun", Eta: 0.5},
		"an eta of 2":           {Sampler: "ddim", Eta: 2},
		"an eta of NaN":         {Sampler: "ddim", Eta: math.NaN()},
		`there is no class "c"`: {Class: "c"},
	} {
		_, err := s.Complete(m.Spec)
		require.ErrorIs(t, err, model.ErrOption)
		require.ErrorContains(t, err, want)
	}
	m.Weights = m.Weights[1:]
	_, err := NewSampler(t.Context(), m, 1, model.Compute{})
	require.ErrorContains(t, err, "do not belong together")
}

func TestTagTellsModelsAndSettingsApart(t *testing.T) {
	m := untrained(t, diffusion.ObjectiveV)
	set, err := Settings{}.Complete(m.Spec)
	require.NoError(t, err)
	a := Request{Model: m}.tag(set)
	require.Equal(t, a, Request{Model: m}.tag(set))
	other := set
	other.Steps++
	require.NotEqual(t, a, Request{Model: m}.tag(other))
	m.Weights[100] += 1e-6
	require.NotEqual(t, a, Request{Model: m}.tag(set))
}

// What would make the grid impossible is told before a single picture is drawn.
func TestGridIsCheckedFirst(t *testing.T) {
	m := untrained(t, diffusion.ObjectiveV)
	dir := t.TempDir()
	out, photo := filepath.Join(dir, "out"), filepath.Join(dir, "photo.png")
	require.NoError(t, picture.WritePNG(photo, image.NewGray(image.Rect(0, 0, 4, 4)), nil))
	before, err := os.ReadFile(photo)
	require.NoError(t, err)
	large := m
	large.Spec, err = model.New("tiny", model.Options{Preprocess: data.Preprocess{Width: 256, Height: 256, Channels: 3}})
	require.NoError(t, err)
	for _, c := range []struct {
		m          Model
		n          int
		grid, want string
	}{
		{large, 2051, filepath.Join(dir, "grid.png"), "use fewer pictures"},
		{m, 2, photo, "exists already"},
		{m, 2, dir, "is a folder"},
		{m, 2, filepath.Join(photo, "grid.png"), "cannot be"},
	} {
		_, err := Sample(t.Context(), Request{Model: c.m, Settings: Settings{Steps: 1}, N: c.n, Out: out, Grid: c.grid})
		require.ErrorContains(t, err, c.want)
		require.NoDirExists(t, out)
	}
	after, err := os.ReadFile(photo)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// The same request again keeps its grid; another one's, and one that somebody drew on, is never replaced.
func TestGridIsKept(t *testing.T) {
	dir := t.TempDir()
	req := Request{
		Model: untrained(t, diffusion.ObjectiveV), Settings: Settings{Steps: 1}, N: 2, Out: filepath.Join(dir, "out"), Grid: filepath.Join(dir, "grid.png"),
	}
	_, err := Sample(t.Context(), req)
	require.NoError(t, err)
	first, err := os.ReadFile(req.Grid)
	require.NoError(t, err)
	kept := func() {
		t.Helper()
		now, err := os.ReadFile(req.Grid)
		require.NoError(t, err)
		require.Equal(t, first, now)
	}
	req.Version = "a later one"
	_, err = Sample(t.Context(), req)
	require.NoError(t, err)
	kept()
	other := req
	other.Settings.Seed = 5
	_, err = Sample(t.Context(), other)
	require.ErrorContains(t, err, "exists already")
	kept()

	img, err := picture.Read(req.Grid)
	require.NoError(t, err)
	img.(*image.RGBA).SetRGBA(3, 3, color.RGBA{R: 1, G: 2, B: 3, A: 255})
	f, err := os.Create(req.Grid) // as another program saves it
	require.NoError(t, err)
	require.NoError(t, png.Encode(f, img))
	require.NoError(t, f.Close())
	first, err = os.ReadFile(req.Grid)
	require.NoError(t, err)
	_, err = Sample(t.Context(), req)
	require.ErrorContains(t, err, "exists already")
	kept()
}

// A picture that its owner edited in the gallery's folder stays as it is when the gallery goes on; so does what comes in a
// picture's or the grid's place while they are drawn.
func TestEditedPicturesAreKept(t *testing.T) {
	dir := t.TempDir()
	req := Request{Model: untrained(t, diffusion.ObjectiveV), Settings: Settings{Steps: 1}, N: 2, Out: filepath.Join(dir, "out")}
	res, err := Sample(t.Context(), req)
	require.NoError(t, err)
	edited := res.Files[1]
	require.NoError(t, os.WriteFile(edited, []byte("edited"), 0o600))
	cut := append([]byte("\x89PNG\r\n\x1a\n"), 1, 2, 3) // of another picture
	require.NoError(t, os.WriteFile(res.Files[0], cut, 0o600))
	req.N, req.Grid = 4, filepath.Join(dir, "grid.png")
	first := res.Files[0]
	late := strings.Replace(edited, "-00001-", "-00003-", 1)
	var told []string
	req.Events = func(e Event) {
		switch e := e.(type) {
		case Occupied:
			told = append(told, e.Path)
		case Progress:
			require.NoError(t, os.WriteFile(late, []byte("late"), 0o600))
			require.NoError(t, os.WriteFile(req.Grid, []byte("thesis"), 0o600))
		}
	}
	res, err = Sample(t.Context(), req)
	require.ErrorIs(t, err, fs.ErrExist)
	require.Equal(t, []string{edited, first, late}, told)
	require.Len(t, res.Files, 1)
	require.NotContains(t, res.Files, edited)
	for path, want := range map[string]string{edited: "edited", late: "late", first: string(cut), req.Grid: "thesis"} {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, want, string(b))
	}
}
