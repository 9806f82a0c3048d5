package data

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"unnoise/runtime/durable"
)

var small = Preprocess{Width: 8, Height: 8, Channels: 3}

// folder writes n different pictures in two classes and scans them.
func folder(t testing.TB, n int) (string, *Report) {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		writeImage(t, filepath.Join(dir, []string{"even", "odd"}[i%2], fmt.Sprintf("%04d.png", i)), noise(8, 8, uint64(i)))
	}
	rep, err := Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Len(t, rep.Items, n)
	return dir, rep
}

func build(t testing.TB, rep *Report, pp Preprocess, dir string, exclude ...string) *Cache {
	t.Helper()
	c, err := BuildCacheExcluding(t.Context(), "", rep, pp, exclude, dir, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func TestCacheHoldsThePictures(t *testing.T) {
	_, rep := folder(t, 10)
	dir := t.TempDir()
	c := build(t, rep, small, dir)
	require.Equal(t, 10, c.Len())
	require.Equal(t, 192, c.Dim())
	require.Equal(t, []string{"even", "odd"}, c.Classes())
	require.Equal(t, []int{0, 1}, []int{c.Class(0), c.Class(9)})
	for i, it := range rep.Items {
		require.Equal(t, it.Name, c.Name(i))
		img, err := Decode(t.Context(), rep, i)
		require.NoError(t, err)
		require.Zero(t, meanDifference(t, img, shown(t, c, i)), "nothing is resampled at the picture's own size")
		x := make([]float32, c.Dim())
		require.NoError(t, c.Read(i, x))
		r, g, _, _ := img.At(3, 2).RGBA()
		require.InDelta(t, float32(r>>8)/127.5-1, x[2*8+3], 1e-6)
		require.InDelta(t, float32(g>>8)/127.5-1, x[64+2*8+3], 1e-6)
		require.GreaterOrEqual(t, slices.Min(x), float32(-1))
		require.LessOrEqual(t, slices.Max(x), float32(1))
	}
	st, err := os.Stat(filepath.Join(dir, cacheBin))
	require.NoError(t, err)
	js, err := os.Stat(filepath.Join(dir, cacheJSON))
	require.NoError(t, err)
	require.LessOrEqual(t, st.Size()+js.Size(), CacheBytes(rep, small))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 3, "the lock, and no temporary files")
}

// built tells whether the pictures were decoded (again).
func built(t *testing.T, src string, rep *Report, pp Preprocess, exclude []string, dir string) bool {
	t.Helper()
	decoded := false
	c, err := BuildCacheExcluding(t.Context(), src, rep, pp, exclude, dir, func(p Progress) {
		decoded = decoded || strings.HasPrefix(p.What, "Decoding")
	})
	require.NoError(t, err)
	require.NoError(t, c.Close())
	return decoded
}

func TestCacheIsReusedAndRebuilt(t *testing.T) {
	src, rep := folder(t, 6)
	dir := t.TempDir()
	js, bin := filepath.Join(dir, cacheJSON), filepath.Join(dir, cacheBin)
	require.True(t, built(t, src, rep, small, nil, dir))
	require.False(t, built(t, src, rep, small, nil, dir), "reused")
	turned := small
	turned.Flip, turned.Augment = true, true
	require.False(t, built(t, src, rep, turned, nil, dir), "augmentation happens later")
	gray := small
	gray.Channels = 1
	damage := func(path string, change func([]byte) []byte) func() {
		return func() {
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			write(t, path, change(b))
		}
	}
	tests := []struct {
		name   string
		before func()
		pp     Preprocess
		out    []string
	}{
		{"other preprocessing", func() {}, gray, nil},
		{"an image is set aside", func() {}, small, []string{rep.Items[2].Name}},
		{"a picture changed", func() {
			file := filepath.Join(src, rep.Items[1].Name)
			require.NoError(t, os.Chtimes(file, time.Time{}, time.Now().Add(time.Hour)))
		}, small, nil},
		{"pixels are cut off", damage(bin, func(b []byte) []byte { return b[:len(b)-1] }), small, nil},
		{"an image's worth of pixels is cut off", damage(bin, func(b []byte) []byte { return b[:len(b)-192] }), small, nil},
		{"a pixel is flipped", damage(bin, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), small, nil},
		{"pixels of another cache", damage(bin, func(b []byte) []byte { b[20] ^= 1; return b }), small, nil},
		{"empty pixels", damage(bin, func([]byte) []byte { return nil }), small, nil},
		{"no pixels", func() { require.NoError(t, os.Remove(bin)) }, small, nil},
		{"half an index", damage(js, func(b []byte) []byte { return b[:len(b)/2] }), small, nil},
		{"no index", func() { require.NoError(t, os.Remove(js)) }, small, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			built(t, src, rep, small, nil, dir)
			tt.before()
			require.True(t, built(t, src, rep, tt.pp, tt.out, dir), "rebuilt")
			require.False(t, built(t, src, rep, tt.pp, tt.out, dir), "and then valid")
		})
	}
}

func TestNewerCacheIsRefusedAndKept(t *testing.T) {
	src, rep := folder(t, 4)
	dir := t.TempDir()
	built(t, src, rep, small, nil, dir)
	js := filepath.Join(dir, cacheJSON)
	newer := []byte(`{"format":"unnoise-cache","version":99,"images":"in some other way"}`)
	write(t, js, newer)
	_, err := BuildCache(t.Context(), src, rep, small, dir, nil)
	require.ErrorIs(t, err, ErrNewer)
	require.ErrorContains(t, err, "update Unnoise")
	b, err := os.ReadFile(js)
	require.NoError(t, err)
	require.Equal(t, newer, b)
}

func TestCacheOpensWithoutItsPictures(t *testing.T) {
	src, rep := folder(t, 4)
	dir := t.TempDir()
	built(t, src, rep, small, nil, dir)
	require.NoError(t, os.RemoveAll(src))
	c, err := OpenCache(dir)
	require.NoError(t, err)
	require.Equal(t, 4, c.Len())
	require.NoError(t, c.Close())
}

func TestPicturesThatBecameUnusableAreSkipped(t *testing.T) {
	src, rep := folder(t, 6)
	write(t, filepath.Join(src, rep.Items[1].Name), []byte("gone bad"))
	require.NoError(t, os.Remove(filepath.Join(src, rep.Items[4].Name)))
	rep.Items = append(rep.Items, Item{Name: "../outside.png"}) // a hostile dataset.json
	c := build(t, rep, small, t.TempDir())
	require.Equal(t, 4, c.Len())
	require.Len(t, c.Skipped(), 3)
	require.Equal(t, rep.Items[1].Name, c.Skipped()[0].Name)
	require.Contains(t, c.Skipped()[1].Reason, "does not exist")
	require.Contains(t, c.Skipped()[2].Reason, "leads out")
	for i, want := range []int{0, 2, 3, 5} {
		require.Equal(t, rep.Items[want].Name, c.Name(i))
		img, err := Decode(t.Context(), rep, want)
		require.NoError(t, err)
		require.Zero(t, meanDifference(t, img, shown(t, c, i)))
	}
	_, err := BuildCacheExcluding(t.Context(), src, rep, small, names(rep), t.TempDir(), nil)
	require.ErrorIs(t, err, ErrNoImages)
}

func TestUnwritableFolderLeavesNothing(t *testing.T) {
	_, rep := folder(t, 4)
	blocked := filepath.Join(t.TempDir(), "file")
	write(t, blocked, []byte("I am not a folder"))
	_, err := BuildCache(t.Context(), "", rep, small, blocked, nil)
	require.Error(t, err)
	b, err := os.ReadFile(blocked)
	require.NoError(t, err)
	require.Equal(t, "I am not a folder", string(b))
}

func TestFitModes(t *testing.T) {
	// 32 × 16: left quarter red, the middle half green, right quarter blue.
	img := image.NewNRGBA(image.Rect(0, 0, 32, 16))
	for y := range 16 {
		for x := range 32 {
			c := color.NRGBA{G: 255, A: 255}
			if x < 8 {
				c = color.NRGBA{R: 255, A: 255}
			} else if x >= 24 {
				c = color.NRGBA{B: 255, A: 255}
			}
			img.SetNRGBA(x, y, c)
		}
	}
	red, green, blue := color.NRGBA{R: 255, A: 255}, color.NRGBA{G: 255, A: 255}, color.NRGBA{B: 255, A: 255}
	crop := Preprocess{Width: 8, Height: 8, Channels: 3, Fit: Crop}.render(img)
	require.Equal(t, green, crop.NRGBAAt(1, 4))
	require.Equal(t, green, crop.NRGBAAt(6, 4))
	stretch := Preprocess{Width: 8, Height: 8, Channels: 3, Fit: Stretch}.render(img)
	require.Equal(t, red, stretch.NRGBAAt(0, 4))
	require.Equal(t, blue, stretch.NRGBAAt(7, 4))
	fit := Preprocess{Width: 32, Height: 32, Channels: 3, Fit: Fit}.render(img)
	require.Equal(t, red, fit.NRGBAAt(0, 0), "the edge is repeated")
	require.Equal(t, blue, fit.NRGBAAt(31, 31))
	require.Equal(t, img.NRGBAAt(9, 3), fit.NRGBAAt(9, 11), "and the picture is centred")
	img.SetNRGBA(0, 0, color.NRGBA{})
	fit = Preprocess{Width: 32, Height: 32, Channels: 4, Fit: Fit}.render(img)
	require.Equal(t, color.NRGBA{}, fit.NRGBAAt(31, 31), "nothing around a transparent picture")
	for _, size := range []image.Point{{1, 3000}, {3000, 1}, {1, 1}, {7, 5}} {
		for _, mode := range []string{Crop, Fit, Stretch} {
			got := Preprocess{Width: 12, Height: 20, Channels: 3, Fit: mode}.render(picture(size.X, size.Y))
			require.Equal(t, image.Rect(0, 0, 12, 20), got.Rect, "%v %s", size, mode)
		}
	}
}

func TestPhotographsShrinkAsWithLanczosAlone(t *testing.T) {
	photo := imaging.Resize(noise(64, 48, 2), 1600, 1200, imaging.CatmullRom)
	got := Preprocess{Width: 40, Height: 30, Channels: 3}.render(photo)
	want := imaging.Resize(photo, 40, 30, imaging.Lanczos)
	require.Less(t, meanDifference(t, want, got), 0.7)
}

func TestPixelArtStaysCrispWhenItGrowsByAWholeFactor(t *testing.T) {
	art := noise(8, 8, 1)
	got := Preprocess{Width: 32, Height: 32, Channels: 3}.render(art)
	for y := range 32 {
		for x := range 32 {
			require.Equal(t, art.NRGBAAt(x/4, y/4), got.NRGBAAt(x, y))
		}
	}
}

func TestTransparency(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 3, 1))
	img.SetNRGBA(0, 0, color.NRGBA{R: 200, G: 100, B: 50, A: 255})
	img.SetNRGBA(1, 0, color.NRGBA{R: 200, G: 100, B: 50, A: 128})
	img.SetNRGBA(2, 0, color.NRGBA{R: 200, G: 100, B: 50, A: 0})
	tests := []struct {
		channels   int
		background string
		want       []byte
	}{
		{3, black, []byte{200, 100, 0, 100, 50, 0, 50, 25, 0}},
		{3, white, []byte{200, 227, 255, 100, 177, 255, 50, 152, 255}},
		{1, black, []byte{124, 62, 0}},
		{4, black, []byte{200, 200, 0, 100, 100, 0, 50, 50, 0, 255, 128, 0}},
	}
	for _, tt := range tests {
		pp := Preprocess{Width: 3, Height: 1, Channels: tt.channels, Background: tt.background}
		got := make([]byte, pp.Dim())
		pp.planes(got, pp.render(img))
		require.Equal(t, tt.want, got)
	}
}

func TestInkOnNothingGetsAWhiteBackground(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		glyph := image.NewNRGBA(image.Rect(0, 0, 16, 16))
		for k := range 8 {
			glyph.SetNRGBA(4+i, 4+k, color.NRGBA{A: 255})
		}
		writeImage(t, filepath.Join(dir, fmt.Sprint(i)+".png"), glyph)
	}
	rep, err := Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Equal(t, white, rep.Background)
	require.Empty(t, rep.Duplicates, "different glyphs")
	c := build(t, rep, Preprocess{Width: 16, Height: 16, Channels: 1}, t.TempDir())
	require.Equal(t, uint8(255), bytesOf(t, c, 0)[0])
	require.Equal(t, uint8(0), bytesOf(t, c, 0)[5*16+4])
}

func TestPreprocessIsChecked(t *testing.T) {
	for want, pp := range map[string]Preprocess{
		"out of bounds": {Width: 0, Height: 8, Channels: 3},
		"channels":      {Width: 8, Height: 8, Channels: 2},
		"fit":           {Width: 8, Height: 8, Channels: 3, Fit: "zoom"},
		"background":    {Width: 8, Height: 8, Channels: 3, Background: "pink"},
	} {
		require.ErrorContains(t, pp.Validate(), want)
		_, err := BuildCache(t.Context(), "", &Report{}, pp, t.TempDir(), nil)
		require.ErrorContains(t, err, want)
		_, err = Preview(picture(4, 4), pp, 1, 1)
		require.ErrorContains(t, err, want)
	}
}

func TestNearDuplicatesAreGrouped(t *testing.T) {
	dir := t.TempDir()
	photo := imaging.Blur(noise(64, 64, 5), 4)
	photo = imaging.AdjustContrast(photo, 80)
	put := func(name string, b []byte) { write(t, filepath.Join(dir, name), b) }
	put("a.png", encode(t, ".png", photo))
	put("b.png", encode(t, ".png", photo))
	put("c.jpg", encode(t, ".jpg", photo))
	put("d.png", encode(t, ".png", imaging.Resize(photo, 48, 48, imaging.Lanczos)))
	put("e.png", encode(t, ".png", imaging.FlipH(photo)))
	put("f.png", encode(t, ".png", imaging.Blur(noise(64, 64, 6), 4)))
	spot := imaging.Clone(photo)
	for y := range 12 {
		for x := range 12 {
			spot.SetNRGBA(x+20, y+20, color.NRGBA{R: 255, A: 255})
		}
	}
	put("g.png", encode(t, ".png", spot)) // a retouched detail makes another sprite
	put("h.png", encode(t, ".png", imaging.Resize(photo, 64, 20, imaging.Lanczos)))
	put("i.png", encode(t, ".png", image.NewGray(image.Rect(0, 0, 8, 8))))
	put("j.png", encode(t, ".png", image.NewGray(image.Rect(0, 0, 16, 16))))
	rep, err := Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Equal(t, [][]string{{"a.png", "b.png", "c.jpg", "d.png"}, {"i.png", "j.png"}}, rep.Duplicates)
}

func TestDuplicatesCostStaysBounded(t *testing.T) {
	// The worst cases for bucketing: all pictures the same, and all in the same buckets yet different.
	const n = 8_000
	same, differ := make([]*fingerprint, n), make([]*fingerprint, n)
	for i := range n {
		same[i], differ[i] = &fingerprint{}, &fingerprint{}
	}
	groups, err := duplicates(t.Context(), same)
	require.NoError(t, err)
	require.Len(t, groups, 1)
	require.Len(t, groups[0], n)
	for i := range differ {
		for k := range 16 {
			differ[i].rgb[k*40] = uint8(i>>k&1) * 200
		}
	}
	groups, err = duplicates(t.Context(), differ)
	require.NoError(t, err)
	require.Empty(t, groups)
	// Copies are found among many similar pictures, however far apart they are.
	many := make([]*fingerprint, 4000)
	for i := range many {
		many[i] = newFingerprint(noise(8, 8, uint64(i%2000)))
		many[i].hash[3] = 0
	}
	groups, err = duplicates(t.Context(), many)
	require.NoError(t, err)
	require.Len(t, groups, 2000)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = duplicates(ctx, many)
	require.ErrorIs(t, err, context.Canceled)
}

func TestSplit(t *testing.T) {
	_, rep := folder(t, 200)
	c := build(t, rep, small, t.TempDir())
	h := Holdout{Fraction: 0.2, Seed: 7}
	train, held := c.Split(h)
	require.Equal(t, 200, len(train)+len(held))
	require.InDelta(t, 40, len(held), 5*5.7, "five standard deviations of a binomial")
	all := append(slices.Clone(train), held...)
	slices.Sort(all)
	for i, k := range all {
		require.Equal(t, i, k)
	}
	again, heldAgain := c.Split(h)
	require.Equal(t, train, again)
	require.Equal(t, held, heldAgain)
	_, other := c.Split(Holdout{Fraction: 0.2, Seed: 8})
	require.Equal(t, held, other, "the seed is no part of it")

	heldNames := map[string]bool{}
	for _, i := range held {
		heldNames[c.Name(i)] = true
	}
	fewer := build(t, rep, small, t.TempDir(), rep.Items[0].Name, rep.Items[77].Name)
	_, heldFewer := fewer.Split(h)
	for i := range fewer.Len() {
		require.Equal(t, heldNames[fewer.Name(i)], slices.Contains(heldFewer, i), "removing images moves no other")
	}
	_, none := c.Split(Holdout{})
	require.Empty(t, none)
	_, one := c.Split(Holdout{Fraction: 1e-9})
	require.Len(t, one, 1)
	most, _ := c.Split(Holdout{Fraction: 1 - 1e-9})
	require.Len(t, most, 1)
}

func TestSplitKeepsNearDuplicatesTogether(t *testing.T) {
	dir := t.TempDir()
	for i := range 40 {
		img := noise(8, 8, uint64(i))
		writeImage(t, filepath.Join(dir, fmt.Sprintf("%02d.png", i)), img)
		writeImage(t, filepath.Join(dir, fmt.Sprintf("%02d-copy.png", i)), img)
	}
	rep, err := Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Len(t, rep.Duplicates, 40)
	c := build(t, rep, small, t.TempDir())
	_, held := c.Split(Holdout{Fraction: 0.3})
	require.NotEmpty(t, held)
	side := map[string]int{}
	for _, i := range held {
		side[c.Name(i)[:2]]++
	}
	for name, n := range side {
		require.Equal(t, 2, n, name)
	}
}

func TestReportSurvivesJSON(t *testing.T) {
	_, rep := folder(t, 4)
	b, err := json.Marshal(rep)
	require.NoError(t, err)
	var back Report
	require.NoError(t, json.Unmarshal(b, &back))
	require.Equal(t, *rep, back)
	require.False(t, bytes.Contains(b, []byte("Name")), "keys are in lower case")
}

func TestCancelledBuildLeavesTheOldCache(t *testing.T) {
	src, rep := folder(t, 40)
	dir := t.TempDir()
	built(t, src, rep, small, nil, dir)
	gray := small
	gray.Channels = 1
	ctx, cancel := context.WithCancel(t.Context())
	_, err := BuildCache(ctx, src, rep, gray, dir, func(Progress) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, built(t, src, rep, small, nil, dir), "the former cache is still valid")
}

func TestWhatAKilledBuildLeftIsRemoved(t *testing.T) {
	src, rep := folder(t, 4)
	dir := t.TempDir()
	left := filepath.Join(dir, durable.TempPrefix+"cache.bin-0123abcd")
	write(t, left, []byte("half a cache"))
	require.True(t, built(t, src, rep, small, nil, dir))
	require.NoFileExists(t, left)
}

func TestTwoBuildsAtOnceShareTheWork(t *testing.T) {
	src, rep := folder(t, 60)
	dir := t.TempDir()
	var decoded atomic.Int32
	var g errgroup.Group
	for range 4 {
		g.Go(func() error {
			var once sync.Once
			c, err := BuildCache(t.Context(), src, rep, small, dir, func(Progress) { once.Do(func() { decoded.Add(1) }) })
			if err != nil {
				return err
			}
			defer c.Close()
			if c.Len() != 60 {
				return fmt.Errorf("%d images", c.Len())
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	require.Equal(t, int32(1), decoded.Load(), "one decodes, the others wait for it")
}

// bytesOf and shown are image i of a cache.
func bytesOf(t *testing.T, c *Cache, i int) []byte {
	t.Helper()
	b := make([]byte, c.Dim())
	require.NoError(t, c.Bytes(i, b))
	return b
}

func shown(t *testing.T, c *Cache, i int) image.Image {
	t.Helper()
	img, err := c.Image(i)
	require.NoError(t, err)
	return img
}

// TestLostCacheIsAnError holds that a file that is cut while it is in use is told in a sentence: a mapped one would end the
// program.
func TestLostCacheIsAnError(t *testing.T) {
	dir := t.TempDir()
	_, rep := folder(t, 11)
	c := build(t, rep, small, dir)
	l := NewLoader(c, seq(11), 4, small, 1)
	x := make([]float32, 4*c.Dim())
	require.NoError(t, l.Fill(0, x, nil))
	require.NoError(t, os.Truncate(filepath.Join(dir, cacheBin), 0))
	for what, err := range map[string]error{
		"batch": l.Fill(1, x, nil), "image": c.Read(3, x), "bytes": c.Bytes(3, make([]byte, c.Dim())),
	} {
		require.ErrorContains(t, err, "the file was cut short", what)
		require.ErrorContains(t, err, dir, what)
	}
	_, err := c.Image(0)
	require.ErrorContains(t, err, "decoded anew")
	build(t, rep, small, dir) // they are
}
