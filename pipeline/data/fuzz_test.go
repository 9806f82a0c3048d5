package data

import (
	"encoding/json"
	"image"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// tight limits keep each fuzzed input cheap; the code is the same.
var tight = limits{file: 1 << 20, pixels: 1 << 16}

// fuzzDoor feeds a decoder, whatever the bytes begin with, from the test pictures that are its own.
func fuzzDoor(f *testing.F, name string) {
	door := formats[slices.IndexFunc(formats, func(d format) bool { return d.name == name })]
	require.NoError(f, filepath.WalkDir("testdata", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && door.is(b) && len(b) < 4096 {
			f.Add(b)
			f.Add(b[:len(b)*2/3])
		}
		return err
	}))
	pp := Preprocess{Width: 5, Height: 4, Channels: 4, Fit: Fit}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !door.is(b) {
			return
		}
		in, err := readInfo(b, tight)
		if err != nil {
			require.NotEmpty(t, why(err))
			return
		}
		require.LessOrEqual(t, in.width*in.height, tight.pixels)
		got, err := decodePixels(t.Context(), b, in)
		if err != nil {
			require.NotEmpty(t, why(err))
			return
		}
		size := got.Bounds().Size()
		require.True(t, size == image.Pt(in.width, in.height) || size == image.Pt(in.height, in.width))
		require.Contains(t, []int{1, 3, 4}, in.shown(got))
		newFingerprint(got)
		pp.planes(make([]byte, pp.Dim()), pp.render(got))
	})
}

func FuzzPNG(f *testing.F)  { fuzzDoor(f, "png") }
func FuzzJPEG(f *testing.F) { fuzzDoor(f, "jpeg") }
func FuzzGIF(f *testing.F)  { fuzzDoor(f, "gif") }
func FuzzBMP(f *testing.F)  { fuzzDoor(f, "bmp") }
func FuzzTIFF(f *testing.F) { fuzzDoor(f, "tiff") }
func FuzzWebP(f *testing.F) { fuzzDoor(f, "webp") }

func FuzzOrientation(f *testing.F) {
	for _, ext := range []string{"jpg", "png", "tiff", "webp"} {
		b, err := os.ReadFile("testdata/pictures/orientation/6." + ext)
		require.NoError(f, err)
		f.Add(b)
		f.Add(b[:len(b)*2/3])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, format := range []string{"jpeg", "png", "tiff", "webp", "gif"} { // whatever the file really is
			way := orientation(b, format)
			require.GreaterOrEqual(t, way, 1)
			require.LessOrEqual(t, way, 8)
		}
	})
}

func FuzzZip(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seed.zip")
	writeZip(f, path, map[string][]byte{"a/x.png": encode(f, ".png", picture(4, 4)), "b/../y.png": nil, "c/z.txt": []byte("hi")})
	b, err := os.ReadFile(path)
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "fuzz.zip")
		write(t, path, b)
		rep, err := scan(t.Context(), path, tight, nil)
		if err == nil {
			require.NotEmpty(t, rep.Items)
		}
	})
}

func FuzzIDX(f *testing.F) {
	b := idxBytes(2, 3, 3, func(i, y, x int) byte { return byte(i + y + x) })
	f.Add(b, labelBytes(0, 1))
	f.Add(gz(f, b), gz(f, labelBytes(0, 1)))
	f.Fuzz(func(t *testing.T, images, labels []byte) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "train-images-idx3-ubyte"), images)
		write(t, filepath.Join(dir, "train-labels-idx1-ubyte"), labels)
		x, err := openIDX(filepath.Join(dir, "train-images-idx3-ubyte"))
		if err != nil {
			return
		}
		defer x.Close()
		require.Len(t, x.labels, x.n)
		if x.load(t.Context()) != nil {
			require.Nil(t, x.pixels)
			return
		}
		for _, i := range []int{0, x.n - 1} {
			_, err := x.image(t.Context(), i)
			require.NoError(t, err, "what the header promises is there")
		}
	})
}

func FuzzCacheJSON(f *testing.F) {
	_, rep := folder(f, 3)
	dir := f.TempDir()
	c := build(f, rep, small, dir)
	good, err := json.Marshal(c.m)
	require.NoError(f, err)
	bin, err := os.ReadFile(filepath.Join(dir, cacheBin))
	require.NoError(f, err)
	f.Add(good, bin)
	f.Add(good[:len(good)/2], bin)
	f.Add([]byte(`{"format":"unnoise-cache","version":1}`), []byte{})
	f.Fuzz(func(t *testing.T, js, bin []byte) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, cacheJSON), js)
		write(t, filepath.Join(dir, cacheBin), bin)
		c, err := OpenCache(dir)
		if err != nil {
			return
		}
		x := make([]float32, c.Dim())
		for i := range c.Len() {
			require.NoError(t, c.Read(i, x))
			require.Less(t, c.Class(i), len(c.Classes()))
		}
		require.NoError(t, c.Close())
	})
}
