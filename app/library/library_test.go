package library

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

func openTest(t *testing.T, path string) (*DB, bool) {
	t.Helper()
	d, err := Open(context.Background(), path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d, d.Fresh()
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
	require.NoError(t, d.Close())
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Greater(t, len(b), 8192)
	for _, cut := range []struct {
		name string
		do   func([]byte) []byte
	}{
		{"nothing but its head", func(b []byte) []byte { return b[:100] }},
		{"head overwritten", func(b []byte) []byte {
			c := append([]byte(nil), b...)
			copy(c, "not SQLite format")
			return c
		}},
		{"last page overwritten", func(b []byte) []byte {
			return append(append([]byte(nil), b[:len(b)-4096]...), bytes.Repeat([]byte{0xa5}, 4096)...)
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
			require.False(t, d.InMemory(), "the new one is on the disk")
			require.Contains(t, d.Notice().String(), "is made anew")
		})
	}
}

// TestForeignFilesAreLeftAlone holds that what may be another program's is never replaced, opened or waited for.
func TestForeignFilesAreLeftAlone(t *testing.T) {
	ctx := t.Context()
	sqliteFile := func(t *testing.T, path, statements string) {
		db, err := sql.Open("sqlite", path)
		require.NoError(t, err)
		_, err = db.Exec(statements)
		require.NoError(t, errors.Join(err, db.Close()))
	}
	for name, make := range map[string]func(t *testing.T, path string){
		"text":              func(t *testing.T, p string) { require.NoError(t, os.WriteFile(p, []byte("my books"), 0o600)) },
		"another's":         func(t *testing.T, p string) { sqliteFile(t, p, "PRAGMA application_id=7; CREATE TABLE runs (x)") },
		"another's, unsaid": func(t *testing.T, p string) { sqliteFile(t, p, "CREATE TABLE books (x); INSERT INTO books VALUES (1)") },
		"another's, in its journal": func(t *testing.T, p string) {
			sqliteFile(t, p, "PRAGMA journal_mode=WAL")
			db, err := sql.Open("sqlite", p)
			require.NoError(t, err)
			t.Cleanup(func() { _ = db.Close() })
			_, err = db.Exec("CREATE TABLE books (x)") // it lies in the -wal file alone
			require.NoError(t, err)
		},
		"a folder": func(t *testing.T, p string) { require.NoError(t, os.MkdirAll(filepath.Join(p, "x"), 0o700)) },
		"a link": func(t *testing.T, p string) {
			sqliteFile(t, p+".elsewhere", "CREATE TABLE books (x)")
			require.NoError(t, os.Symlink(p+".elsewhere", p))
		},
		"a pipe":                func(t *testing.T, p string) { mkfifo(t, p) },
		"a pipe as its journal": func(t *testing.T, p string) { mkfifo(t, p+"-wal") },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "library.db")
			make(t, path)
			before := describeDir(t, filepath.Dir(path))
			d, fresh := openTest(t, path)
			require.True(t, fresh)
			require.True(t, d.InMemory())
			require.Contains(t, d.Notice().String(), "is not an index of this program and is left as it is")
			require.NoError(t, d.PutRuns(ctx, Run{ID: "1"}))
			n, err := d.CountRuns(ctx, RunQuery{})
			require.NoError(t, err)
			require.Equal(t, 1, n)
			_, err = d.Changed(ctx)
			require.NoError(t, err)
			require.NoError(t, d.PutRuns(ctx, Run{ID: "2"}))
			changed, err := d.Changed(ctx)
			require.NoError(t, err)
			require.True(t, changed)
			if name != "a pipe as its journal" {
				require.Error(t, Remove(path))
			}
			require.NoError(t, d.Close())
			after := describeDir(t, filepath.Dir(path))
			delete(before, "library.db-shm") // which processes share
			delete(after, "library.db-shm")
			require.Equal(t, before, after)
		})
	}
}

func describeDir(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		out[e.Name()] = e.Type().String()
		if e.Type().IsRegular() {
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			require.NoError(t, err)
			out[e.Name()] = string(b)
		}
	}
	return out
}

// TestHostileIndex holds that an index with more in it than this program makes is not looked into.
func TestHostileIndex(t *testing.T) {
	ctx := t.Context()
	for name, statements := range map[string]string{
		"an endless view": `ALTER TABLE runs RENAME TO x; CREATE VIEW runs AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n)
			SELECT i AS id, '' AS stamp FROM n`,
		"a trigger":         "CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM galleries; END",
		"another table":     "CREATE TABLE more (x)",
		"an index too many": "CREATE INDEX more ON runs (abs(number))",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "library.db")
			d, _ := openTest(t, path)
			require.NoError(t, d.Filled(ctx))
			_, err := d.db.Load().Exec(statements)
			require.NoError(t, errors.Join(err, d.Close()))
			began := time.Now()
			d, fresh := openTest(t, path)
			require.True(t, fresh)
			require.False(t, d.InMemory())
			require.Less(t, time.Since(began), 15*time.Second)
			stamps, err := d.RunStamps(ctx)
			require.NoError(t, err)
			require.Empty(t, stamps)
		})
	}
}

// TestFormerIndexIsKept holds that an index that a version before the mark made is marked, not made anew.
func TestFormerIndexIsKept(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "library.db")
	d, _ := openTest(t, path)
	require.NoError(t, d.PutRuns(ctx, Run{ID: "1"}))
	require.NoError(t, d.Filled(ctx))
	_, err := d.db.Load().Exec("PRAGMA application_id=0; INSERT INTO meta VALUES ('clean', 'yes')")
	require.NoError(t, errors.Join(err, d.Close()))
	for range 2 {
		d, fresh := openTest(t, path)
		require.False(t, fresh)
		n, err := d.CountRuns(ctx, RunQuery{})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Empty(t, d.Notice().String())
		require.NoError(t, d.Close())
		certain, err := inspect(path)
		require.NoError(t, err)
		require.True(t, certain)
	}
}

// TestManyOpenANewIndex opens an index that is not there from many places at once, as subcommands do.
func TestManyOpenANewIndex(t *testing.T) {
	path := filepath.Join(t.TempDir(), "library.db")
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			d, err := Open(t.Context(), path)
			if err != nil {
				return err
			}
			if n := d.Notice(); n.Template != "" {
				return n
			}
			return d.Close()
		})
	}
	require.NoError(t, g.Wait())
}

// TestDamageIsSeenLater holds that damage that a statement meets calls for a new index.
func TestDamageIsSeenLater(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "library.db")
	d, _ := openTest(t, path)
	for i := range 300 {
		require.NoError(t, d.PutRuns(ctx, Run{ID: fmt.Sprint(i), Notes: strings.Repeat("notes ", 100)}))
	}
	_, err := d.db.Load().Exec("PRAGMA wal_checkpoint(TRUNCATE)")
	require.NoError(t, err)
	require.NoError(t, d.Trouble())
	d.db.Load().SetMaxIdleConns(0) // nothing of it is remembered
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	st, err := f.Stat()
	require.NoError(t, err)
	_, err = f.WriteAt(make([]byte, st.Size()-4096), 4096)
	require.NoError(t, errors.Join(err, f.Close()))
	_, err = d.Runs(ctx, RunQuery{})
	require.Error(t, err)
	require.ErrorIs(t, d.Trouble(), err)
	require.NoError(t, d.Renew(ctx, d.Trouble()))
	require.NoError(t, d.Trouble())
	require.False(t, d.InMemory())
	runs, err := d.Runs(ctx, RunQuery{})
	require.NoError(t, err)
	require.Empty(t, runs)
}

func TestNewerIndexIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "library.db")
	d, _ := openTest(t, path)
	require.NoError(t, d.Filled(context.Background()))
	_, err := d.db.Load().Exec("PRAGMA user_version=99")
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
	d, err := Open(ctx, filepath.Join(b.TempDir(), "library.db"))
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
