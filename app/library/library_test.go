package library

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func openTest(t *testing.T, path string) (*DB, bool) {
	t.Helper()
	d, fresh, err := Open(context.Background(), path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.db.Close() })
	return d, fresh
}

func TestOpenPathsWithOddNames(t *testing.T) {
	for _, name := range []string{"plain", "with space", `quote"s and 'more'`, "per%cent?#&", "图片 🎨"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), name)
			require.NoError(t, os.Mkdir(dir, 0o777))
			path := filepath.Join(dir, "library.db")
			d, fresh := openTest(t, path)
			require.True(t, fresh)
			require.NoError(t, d.PutRuns(context.Background(), Run{ID: "0001-" + name, Loss: math.NaN(), HeldOut: 0.5}))
			require.FileExists(t, path)
			require.NoError(t, d.Filled(context.Background()))
			require.NoError(t, d.Close())
			d, fresh = openTest(t, path)
			require.False(t, fresh)
			r, ok, err := d.Run(context.Background(), "0001-"+name)
			require.NoError(t, err)
			require.True(t, ok)
			require.True(t, math.IsNaN(r.Loss))
			require.Equal(t, 0.5, r.HeldOut)
		})
	}
}

func TestDamagedIndexBeginsAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "library.db")
	d, _ := openTest(t, path)
	require.NoError(t, d.Filled(context.Background()))
	for i := range 300 {
		require.NoError(t, d.PutRuns(context.Background(), Run{ID: fmt.Sprint(i), Notes: "some notes to fill pages with"}))
	}
	require.NoError(t, d.db.Close()) // not marked clean
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Greater(t, len(b), 8192)
	for _, cut := range []struct {
		name string
		do   func([]byte) []byte
	}{
		{"not a database", func([]byte) []byte {
			return []byte("hello, this is not a database at all, only text that is long enough")
		}},
		{"cut in half", func(b []byte) []byte { return b[:len(b)/2] }},
		{"zeroed page", func(b []byte) []byte {
			c := append([]byte(nil), b...)
			clear(c[4096:12288])
			return c
		}},
	} {
		t.Run(cut.name, func(t *testing.T) {
			p := filepath.Join(t.TempDir(), "library.db")
			require.NoError(t, os.WriteFile(p, cut.do(b), 0o666))
			d, fresh := openTest(t, p)
			require.True(t, fresh, "a damaged index must be called fresh so that it is filled again")
			n, err := d.CountRuns(context.Background(), RunQuery{})
			require.NoError(t, err)
			require.Zero(t, n)
		})
	}
}

func TestNewerIndexIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "library.db")
	d, _ := openTest(t, path)
	require.NoError(t, d.Filled(context.Background()))
	_, err := d.db.Exec("PRAGMA user_version=99")
	require.NoError(t, err)
	require.NoError(t, d.Close())
	_, fresh := openTest(t, path)
	require.True(t, fresh)
}

func TestRunsSearchSortPage(t *testing.T) {
	ctx := context.Background()
	d, _ := openTest(t, filepath.Join(t.TempDir(), "library.db"))
	var runs []Run
	for i := range 10_000 {
		r := Run{
			ID: fmt.Sprintf("%05d-run", i), Number: i, Name: fmt.Sprintf("Run %d", i), State: "done", Loss: float64(10_000 - i), HeldOut: math.NaN(),
			Created: time.Unix(int64(i), 0), Grid: -1, Checkpoint: -1,
		}
		if i%1000 == 7 {
			r.Notes, r.Tags, r.Starred, r.Checkpoint = "Dragons 龙 AND knights", []string{"good one", "best"}, true, 100
		}
		runs = append(runs, r)
	}
	require.NoError(t, d.PutRuns(ctx, runs...))
	n, err := d.CountRuns(ctx, RunQuery{})
	require.NoError(t, err)
	require.Equal(t, 10_000, n)

	page, err := d.Runs(ctx, RunQuery{Limit: 50, Offset: 100})
	require.NoError(t, err)
	require.Len(t, page, 50)
	require.Equal(t, 9899, page[0].Number)

	best, err := d.Runs(ctx, RunQuery{Order: "loss", Limit: 1})
	require.NoError(t, err)
	require.Equal(t, 9999, best[0].Number)

	for _, q := range []RunQuery{{Search: "dragons KNIGHTS"}, {Search: "龙"}, {Tag: "good one"}, {Starred: true}, {HasCheckpoint: true}, {Search: "best", State: "done"}} {
		got, err := d.Runs(ctx, q)
		require.NoError(t, err)
		require.Len(t, got, 10, "%+v", q)
		require.Equal(t, []string{"good one", "best"}, got[0].Tags)
	}
	none, err := d.Runs(ctx, RunQuery{Tag: "good"})
	require.NoError(t, err)
	require.Empty(t, none, "part of a tag is not the tag")
	tags, err := d.Tags(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"best", "good one"}, tags)
	_, err = d.Runs(ctx, RunQuery{Order: "id; DROP TABLE runs"})
	require.Error(t, err)
	require.NoError(t, d.DeleteRuns(ctx, "00007-run"))
	n, err = d.CountRuns(ctx, RunQuery{Starred: true})
	require.NoError(t, err)
	require.Equal(t, 9, n)
}

func TestImagesSearch(t *testing.T) {
	ctx := context.Background()
	d, _ := openTest(t, filepath.Join(t.TempDir(), "library.db"))
	var images []Image
	for i := range 200 {
		images = append(images, Image{
			Gallery: "g", Name: fmt.Sprintf("%06d.png", i), Seed: math.MaxUint64 - uint64(i%2), Index: i, Model: "0007-sprites",
			Sampler: []string{"ddim", "heun"}[i%2], Steps: 10 + i%20, Class: []string{"cat", "Big Dog", "猫", ""}[i%4], Checkpoint: 500, ModTime: int64(i),
		})
	}
	require.NoError(t, d.PutGallery(ctx, Gallery{ID: "g", Name: "G"}, images, nil, map[string]bool{"000003.png": true}))
	for _, c := range []struct {
		search string
		want   int
	}{
		{"", 200},
		{"sampler:ddim", 100},
		{"steps:>20", 90},
		{"steps:<=10", 10},
		{"steps:12", 10},
		{"seed:18446744073709551615", 100},
		{"class:dog sampler:heun", 50},
		{"猫", 50},
		{"is:starred", 1},
		{"step:500", 200},
		{"model:0008", 0},
		{"000003", 1},
		{"100% _", 0},
	} {
		got, err := d.ImageKeys(ctx, ImageQuery{Gallery: "g", Search: c.search})
		require.NoError(t, err, c.search)
		require.Len(t, got, c.want, c.search)
	}
	for _, bad := range []string{"steps:many", "seed:-1", "eta:>"} {
		_, err := d.ImageKeys(ctx, ImageQuery{Search: bad})
		require.ErrorContains(t, err, bad)
	}
	g, ok, err := d.Gallery(ctx, "g")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, 200, g.Images)
	require.Equal(t, 1, g.Starred)
	require.Equal(t, "000000.png", g.First)
	require.NoError(t, d.PutGallery(ctx, Gallery{ID: "g", Name: "G"}, nil, []string{"000000.png"}, nil))
	g, _, err = d.Gallery(ctx, "g")
	require.NoError(t, err)
	require.Equal(t, 199, g.Images)
	require.Equal(t, 1, g.Starred)
	require.NoError(t, d.DeleteGalleries(ctx, "g"))
	keys, err := d.ImageKeys(ctx, ImageQuery{})
	require.NoError(t, err)
	require.Empty(t, keys)
}

// BenchmarkImageKeys reads the keys of a gallery of 100,000 images.
func BenchmarkImageKeys(b *testing.B) {
	ctx := context.Background()
	d, _, err := Open(ctx, filepath.Join(b.TempDir(), "library.db"))
	require.NoError(b, err)
	defer func() { _ = d.Close() }()
	images := make([]Image, 100_000)
	for i := range images {
		images[i] = Image{Gallery: "g", Name: fmt.Sprintf("%06d.png", i), Sampler: "ddim", Class: "cat"}
	}
	require.NoError(b, d.PutGallery(ctx, Gallery{ID: "g"}, images, nil, nil))
	for b.Loop() {
		keys, err := d.ImageKeys(ctx, ImageQuery{Gallery: "g"})
		require.NoError(b, err)
		require.Len(b, keys, len(images))
	}
}
