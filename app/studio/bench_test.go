package studio

import (
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/app/library"
)

const large = 100_000

// idx writes an IDX file of n images of 8×8, all different.
func idx(t testing.TB, n int) string {
	t.Helper()
	b := binary.BigEndian.AppendUint32(nil, 0x803)
	for _, v := range []int{n, 8, 8} {
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	for i := range n {
		for k := range 64 {
			b = append(b, byte((i*2654435761)>>(k%24))^byte(k*i))
		}
	}
	path := filepath.Join(t.TempDir(), "train-images-idx3-ubyte")
	require.NoError(t, os.WriteFile(path, b, 0o666))
	return path
}

// BenchmarkOpenDataset opens a dataset of 100,000 images: its list of items and the first screen of thumbnails.
func BenchmarkOpenDataset(b *testing.B) {
	ctx := context.Background()
	s, err := Open(ctx, filepath.Join(b.TempDir(), "ws"))
	require.NoError(b, err)
	defer func() { require.NoError(b, s.Close(ctx)) }()
	d, err := s.Datasets.Import(ctx, idx(b, large), "large", nil)
	require.NoError(b, err)
	require.Equal(b, large, d.Items)
	for b.Loop() {
		s.core.scans.clear()
		s.Thumbs.Forget(d.ID)
		items, err := s.Datasets.Items(ctx, d.ID, ItemFilter{})
		require.NoError(b, err)
		require.Len(b, items, large)
		screen(b, s, 60, func(i int) Ref { return Ref{Kind: DatasetItem, Owner: d.ID, Index: i} })
	}
}

// screen asks for n thumbnails and waits for all of them.
func screen(b *testing.B, s *Studio, n int, ref func(int) Ref) {
	b.Helper()
	done := make(chan error, n)
	for i := range n {
		s.Thumbs.Request(ref(i), 128, func(_ *image.RGBA, err error) { done <- err })
	}
	for range n {
		require.NoError(b, <-done)
	}
}

// BenchmarkScrollDataset makes every thumbnail of 100,000 images once, and reports what the cache holds in the end.
func BenchmarkScrollDataset(b *testing.B) {
	ctx := context.Background()
	s, err := Open(ctx, filepath.Join(b.TempDir(), "ws"))
	require.NoError(b, err)
	defer func() { require.NoError(b, s.Close(ctx)) }()
	d, err := s.Datasets.Import(ctx, idx(b, large), "large", nil)
	require.NoError(b, err)
	for b.Loop() {
		for lo := 0; lo < large; lo += 100 {
			screen(b, s, 100, func(i int) Ref { return Ref{Kind: DatasetItem, Owner: d.ID, Index: lo + i} })
		}
	}
	b.ReportMetric(float64(s.Thumbs.Memory())/(1<<20), "MB-kept")
}

// BenchmarkOpenGallery opens a gallery of 100,000 images: its keys and its summary.
func BenchmarkOpenGallery(b *testing.B) {
	ctx := context.Background()
	s, err := Open(ctx, filepath.Join(b.TempDir(), "ws"))
	require.NoError(b, err)
	defer func() { require.NoError(b, s.Close(ctx)) }()
	require.NoError(b, s.Workspace.Refresh(ctx))
	images := make([]library.Image, large)
	for i := range images {
		images[i] = library.Image{Gallery: "g", Name: fmt.Sprintf("seed0-%05d-00000000.png", i), Sampler: "ddim", Steps: 50, Class: "cat", Model: "0001-x"}
	}
	dir := filepath.Join(s.Workspace.Path(), "galleries", "g")
	require.NoError(b, os.Mkdir(dir, 0o777))
	stamp, err := galleryStamp(dir, false) // the index agrees with the folder, so it is not read
	require.NoError(b, err)
	require.NoError(b, s.core.env.lib.PutGallery(ctx, library.Gallery{ID: "g", Stamp: stamp, Name: "Large"}, images, nil, nil))
	for b.Loop() {
		keys, err := s.Galleries.Images(ctx, ImageFilter{Gallery: "g"})
		require.NoError(b, err)
		require.Len(b, keys, large)
		g, err := s.Galleries.Get(ctx, "g")
		require.NoError(b, err)
		require.Equal(b, large, g.Images)
	}
}
