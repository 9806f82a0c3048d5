package thumbs

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// painter makes pictures whose colour is their key; it counts and can be held.
type painter struct {
	w, h  int
	loads atomic.Int64
	gate  chan struct{} // nil is open
	mu    sync.Mutex
	order []int
}

func (p *painter) Load(ctx context.Context, key int) (image.Image, error) {
	if p.gate != nil {
		select {
		case <-p.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	p.loads.Add(1)
	p.mu.Lock()
	p.order = append(p.order, key)
	p.mu.Unlock()
	if key < 0 {
		return nil, errors.New("no such picture")
	}
	img := image.NewNRGBA(image.Rect(0, 0, p.w, p.h))
	for i := 0; i < len(img.Pix); i += 4 {
		img.Pix[i], img.Pix[i+1], img.Pix[i+3] = byte(key), byte(key>>8), 255
	}
	return img, nil
}

func (p *painter) Stamp(key int) string { return fmt.Sprint("picture ", key) }

func get(s *Service[int], key, px int) (*image.RGBA, error) {
	type answer struct {
		img *image.RGBA
		err error
	}
	c := make(chan answer, 1)
	s.Request(key, px, func(img *image.RGBA, err error) { c <- answer{img, err} })
	a := <-c
	return a.img, a.err
}

func TestScale(t *testing.T) {
	for _, c := range []struct{ w, h, px, wantW, wantH int }{
		{32, 32, 128, 128, 128},
		{32, 32, 100, 96, 96},
		{32, 16, 64, 64, 32},
		{33, 32, 40, 33, 32},
		{400, 100, 100, 100, 25},
		{1, 1, 7, 7, 7},
		{1000, 1, 10, 10, 1},
	} {
		got := Scale(image.NewGray(image.Rect(0, 0, c.w, c.h)), c.px)
		require.Equal(t, image.Rect(0, 0, c.wantW, c.wantH), got.Rect, "%+v", c)
	}
	// Enlarged pixels stay crisp squares.
	src := image.NewNRGBA(image.Rect(5, 5, 7, 7)) // not at the origin
	src.Set(5, 5, color.White)
	src.Set(6, 6, color.NRGBA{255, 0, 0, 128})
	got := Scale(src, 6)
	for y := range 6 {
		for x := range 6 {
			require.Equal(t, color.RGBAModel.Convert(src.At(5+x/3, 5+y/3)), got.At(x, y))
		}
	}
}

func TestMemoryStaysWithinBounds(t *testing.T) {
	p := &painter{w: 16, h: 16}
	s := New(p, Options{Memory: 100 * 16 * 16 * 4})
	defer s.Close()
	for i := range 1000 {
		img, err := get(s, i, 16)
		require.NoError(t, err)
		require.Equal(t, color.RGBA{byte(i), byte(i >> 8), 0, 255}, img.At(3, 3))
		require.LessOrEqual(t, s.Memory(), int64(100*16*16*4))
	}
	require.NotNil(t, s.Cached(999, 16))
	require.Nil(t, s.Cached(0, 16))
	require.Nil(t, s.Cached(999, 32))
	s.Forget(func(k int) bool { return k == 999 })
	require.Nil(t, s.Cached(999, 16))
}

func TestNewestFirstAndStaleDropped(t *testing.T) {
	p := &painter{w: 4, h: 4, gate: make(chan struct{})}
	s := New(p, Options{Workers: 1})
	defer s.Close()
	var wg sync.WaitGroup
	ask := func(key int) (cancel func()) {
		wg.Add(1)
		c := s.Request(key, 8, func(*image.RGBA, error) { wg.Done() })
		return func() { c(); wg.Done() }
	}
	ask(0) // taken by the worker, held at the gate
	for s.Waiting() > 0 {
		continue
	}
	for i := 1; i <= 5; i++ {
		ask(i)
	}
	ask(6)() // asked for and scrolled away
	ask(2)   // asked for again: goes to the front, is made once
	close(p.gate)
	wg.Wait()
	require.Equal(t, []int{0, 2, 5, 4, 3, 1}, p.order)
}

func TestDiskCacheOutlivesTheService(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "thumbs")
	p := &painter{w: 600, h: 300}
	s := New(p, Options{Dir: dir})
	want, err := get(s, 7, 64)
	require.NoError(t, err)
	require.Equal(t, image.Rect(0, 0, 64, 32), want.Rect)
	s.Close()

	s = New(p, Options{Dir: dir})
	got, err := get(s, 7, 64)
	require.NoError(t, err)
	require.Equal(t, want.Pix, got.Pix)
	require.EqualValues(t, 1, p.loads.Load(), "the second one came from the disk")
	s.Close()

	// A damaged file is made anew.
	var files []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	}))
	require.Len(t, files, 1)
	require.NoError(t, os.Truncate(files[0], 40))
	s = New(p, Options{Dir: dir, Disk: 1})
	got, err = get(s, 7, 64)
	require.NoError(t, err)
	require.Equal(t, want.Pix, got.Pix)
	require.EqualValues(t, 2, p.loads.Load())
	require.NoError(t, s.Prune(context.Background()))
	require.NoFileExists(t, files[0])
	s.Close()
}

// Where the drive of the cache was removed, nothing is made at its place, and thumbnails are made all the same.
func TestRemovedDriveIsNotMadeAnew(t *testing.T) {
	drive := filepath.Join(t.TempDir(), "drive")
	require.NoError(t, os.Mkdir(drive, 0o777))
	dir := filepath.Join(drive, "thumbs")
	s := New(&painter{w: 600, h: 300}, Options{Dir: dir})
	defer s.Close()
	_, err := get(s, 1, 64)
	require.NoError(t, err)
	require.DirExists(t, dir)
	require.NoError(t, os.RemoveAll(drive))
	_, err = get(s, 2, 64)
	require.NoError(t, err)
	require.NoDirExists(t, drive)
}

func TestErrorsAndClosing(t *testing.T) {
	p := &painter{w: 4, h: 4}
	s := New(p, Options{})
	_, err := get(s, -1, 8)
	require.EqualError(t, err, "no such picture")
	require.Zero(t, s.Memory())
	s.Close()
	_, err = get(s, 1, 8)
	require.ErrorIs(t, err, ErrClosed)
}
