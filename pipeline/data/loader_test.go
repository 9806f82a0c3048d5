package data

import (
	"image"
	"image/color"
	"slices"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"
)

// number is an image's own number, drawn into its pixels.
func numbered(t *testing.T, n int, pp Preprocess) *Cache {
	t.Helper()
	_, rep := folder(t, n)
	c := build(t, rep, pp, t.TempDir())
	return c
}

func seq(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// which finds the image that a filled row holds, when nothing is flipped.
func which(t *testing.T, c *Cache, row []float32) int {
	t.Helper()
	x := make([]float32, c.Dim())
	for i := range c.Len() {
		require.NoError(t, c.Read(i, x))
		if slices.Equal(x, row) {
			return i
		}
	}
	t.Fatal("a row that is no image")
	return -1
}

func TestLoaderIsAPureFunctionOfSeedAndStep(t *testing.T) {
	c := numbered(t, 11, small)
	pp := small
	pp.Flip, pp.Augment = true, true
	fill := func(l *Loader, step int64) ([]float32, []int64) {
		x, class := make([]float32, 4*c.Dim()), make([]int64, 4)
		require.NoError(t, l.Fill(step, x, class))
		return x, class
	}
	a, b := NewLoader(c, seq(11), 4, pp, 1), NewLoader(c, seq(11), 4, pp, 1)
	var xs [][]float32
	var cs [][]int64
	for step := range int64(40) {
		x, class := fill(a, step)
		xs, cs = append(xs, x), append(cs, class)
	}
	for _, step := range []int64{39, 3, 17, 0, 25, 38} { // in any order, by another loader
		x, class := fill(b, step)
		require.Equal(t, xs[step], x)
		require.Equal(t, cs[step], class)
	}
	x, _ := fill(NewLoader(c, seq(11), 4, pp, 2), 0)
	require.NotEqual(t, xs[0], x)
	require.NoError(t, a.Fill(0, make([]float32, 4*c.Dim()), nil))
}

func TestLoaderShowsEveryImageOnceAnEpoch(t *testing.T) {
	c := numbered(t, 10, small)
	idx := []int{1, 2, 4, 5, 7, 8, 9}
	for _, batch := range []int{1, 3, 7, 30} { // also over the end of epochs, and more than an epoch
		l := NewLoader(c, idx, batch, small, 3)
		x, class := make([]float32, batch*c.Dim()), make([]int64, batch)
		var order []int
		for step := int64(0); len(order) < 7*6; step++ {
			require.NoError(t, l.Fill(step, x, class))
			for b := range batch {
				i := which(t, c, x[b*c.Dim():(b+1)*c.Dim()])
				require.Equal(t, int64(c.Class(i)), class[b])
				order = append(order, i)
			}
		}
		for e := range 6 {
			epoch := slices.Clone(order[7*e : 7*e+7])
			slices.Sort(epoch)
			require.Equal(t, idx, epoch)
		}
		require.NotEqual(t, order[:7], order[7:14], "another order each epoch")
	}
}

func TestFlipIsFair(t *testing.T) {
	c := numbered(t, 2, small)
	pp := small
	pp.Flip = true
	const batch = 2000
	l := NewLoader(c, []int{0}, batch, pp, 1)
	x, class := make([]float32, batch*c.Dim()), make([]int64, batch)
	require.NoError(t, l.Fill(0, x, class))
	plain, mirrored := make([]float32, c.Dim()), make([]float32, c.Dim())
	require.NoError(t, c.Read(0, plain))
	for i := range plain {
		mirrored[i] = plain[i-i%8+7-i%8]
	}
	flips := 0
	for b := range batch {
		row := x[b*c.Dim() : (b+1)*c.Dim()]
		if slices.Equal(row, mirrored) {
			flips++
		} else {
			require.Equal(t, plain, row)
		}
		require.Zero(t, class[b])
	}
	require.InDelta(t, batch/2, flips, 5*22.4, "five standard deviations of a binomial")
}

func TestTransformsAreTheSymmetriesAndAreTold(t *testing.T) {
	for _, size := range []image.Point{{6, 6}, {6, 4}} {
		pp := Preprocess{Width: size.X, Height: size.Y, Channels: 3, Augment: true}
		src := noise(size.X, size.Y, 9)
		// The same from the imaging library, by the bits of the transform.
		want := func(k int) *image.NRGBA {
			img := imaging.Clone(src)
			if k&4 != 0 {
				img = imaging.Transpose(img)
			}
			if k&2 != 0 {
				img = imaging.FlipV(img)
			}
			if k&1 != 0 {
				img = imaging.FlipH(img)
			}
			return img
		}
		count := map[int]int{}
		const draws = 4000
		seen := map[string]int{}
		for k := range pp.Transforms() {
			seen[string(want(k).Pix)] = k
		}
		require.Len(t, seen, pp.Transforms(), "all different")
		dir := t.TempDir()
		writeImage(t, dir+"/a.png", src)
		rep, err := Scan(t.Context(), dir, nil)
		require.NoError(t, err)
		c := build(t, rep, pp, t.TempDir())
		l := NewLoader(c, []int{0}, draws, pp, 4)
		x, class := make([]float32, draws*c.Dim()), make([]int64, draws)
		require.NoError(t, l.Fill(0, x, class))
		area := size.X * size.Y
		for b := range draws {
			row := x[b*c.Dim():]
			got := image.NewNRGBA(src.Rect)
			for i := range area {
				px := func(c int) uint8 { return uint8((row[c*area+i]+1)*127.5 + 0.5) }
				got.SetNRGBA(i%size.X, i/size.X, color.NRGBA{R: px(0), G: px(1), B: px(2), A: 255})
			}
			k, ok := seen[string(got.Pix)]
			require.True(t, ok)
			require.Equal(t, int64(k), class[b], "the class tells the transform")
			count[k]++
		}
		require.Len(t, count, pp.Transforms(), "every transform is drawn")
		require.InDelta(t, draws/2, count[0], 5*31.7, "half of the draws are the picture as it is")
	}
}

func TestAugmentedClassesDoNotMix(t *testing.T) {
	c := numbered(t, 8, small)
	pp := small
	pp.Augment = true
	const batch = 64
	l := NewLoader(c, seq(8), batch, pp, 1)
	x, class := make([]float32, batch*c.Dim()), make([]int64, batch)
	require.NoError(t, l.Fill(0, x, class))
	for b, k := range class {
		require.Less(t, k, int64(len(c.Classes())*pp.Transforms()))
		if k%8 == 0 { // untouched: the row tells which image it is
			i := which(t, c, x[b*c.Dim():(b+1)*c.Dim()])
			require.Equal(t, int64(c.Class(i)), k/8)
		}
	}
}

func TestPreviewShowsWhatTheNetworkSees(t *testing.T) {
	img := noise(8, 8, 3)
	pp := Preprocess{Width: 8, Height: 8, Channels: 3, Flip: true, Augment: true}
	dir := t.TempDir()
	writeImage(t, dir+"/a.png", img)
	rep, err := Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	c := build(t, rep, pp, t.TempDir())
	const draws = 20
	l := NewLoader(c, []int{0}, 1, pp, 5)
	x, class := make([]float32, c.Dim()), make([]int64, c.Len()) // one each
	flips := map[bool]int{}
	for k := range uint64(draws) {
		require.NoError(t, l.Fill(int64(k), x, class))
		got, err := Preview(img, pp, 5, k)
		require.NoError(t, err)
		require.EqualValues(t, class[0], got.Transform)
		flips[got.Flipped]++
		for i := range 64 {
			r, g, b, _ := got.Image.At(i%8, i/8).RGBA()
			require.Equal(t, []float32{x[i], x[64+i], x[128+i]}, []float32{unit[r>>8], unit[g>>8], unit[b>>8]})
		}
	}
	require.Len(t, flips, 2)
}

// BenchmarkLoader fills batches of 64 pictures of 32×32 from a cache that the system holds in memory.
func BenchmarkLoader(b *testing.B) {
	pp := Preprocess{Width: 32, Height: 32, Channels: 3}
	_, rep := folder(b, 512)
	l := NewLoader(build(b, rep, pp, b.TempDir()), seq(512), 64, pp, 1)
	x := make([]float32, 64*pp.Dim())
	for step := int64(0); b.Loop(); step++ {
		if err := l.Fill(step, x, nil); err != nil {
			b.Fatal(err)
		}
	}
}
