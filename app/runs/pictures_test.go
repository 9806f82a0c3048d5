package runs

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/app/datasets"
	"unnoise/pipeline/data"
	"unnoise/pipeline/train"
	"unnoise/runtime/durable"
)

// zipped packs a folder, under another one.
func zipped(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pictures.zip")
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	require.NoError(t, z.AddFS(os.DirFS(dir)))
	require.NoError(t, z.Close())
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	return path
}

func heldNames(t *testing.T, r *Run) map[string]bool {
	t.Helper()
	c, err := data.OpenCache(r.CacheDir())
	require.NoError(t, err)
	defer c.Close()
	out := map[string]bool{}
	_, held := c.Split(r.Info().Train.Holdout())
	for _, i := range held {
		out[c.Name(i)] = true
	}
	return out
}

// parts says which pictures at a path can be measured on.
func partsOf(t *testing.T, r *Run, path string) (names map[string]bool, p parted) {
	t.Helper()
	rep, err := data.Scan(t.Context(), path, nil)
	require.NoError(t, err)
	c, err := datasets.Decode(t.Context(), rep, r.Info().Model.Preprocess, nil, t.TempDir(), Options{}.free(), nil)
	require.NoError(t, err)
	defer c.Close()
	p, err = r.part(c)
	require.NoError(t, err)
	names = map[string]bool{}
	for _, i := range p.use {
		names[c.Name(i)] = true
	}
	return names, p
}

// No picture that was trained on is measured on, wherever it lies: not after its date changed, nor copied, in an archive or in another
// format; not with the decoded pictures gone, nor in a run of an older version.
func TestWhatWasTrainedOnIsNotMeasuredOn(t *testing.T) {
	for _, older := range []bool{false, true} {
		t.Run(fmt.Sprint("older=", older), func(t *testing.T) {
			r := newRun(t)
			require.NoError(t, r.Update(func(i *Info) {
				i.Train.HeldOut, i.Train.Steps = 0.25, 1
				if older {
					i.Train.Split, i.Train.Seed = "", 5
				}
			}))
			_, err := r.Train(t.Context(), Options{})
			require.NoError(t, err)
			src := string(r.Info().Data.Path)
			held := heldNames(t, r)
			require.NotEmpty(t, held)
			if older {
				require.NoError(t, os.Remove(filepath.Join(r.Dir, PicturesName))) // they did not note them
			}
			trained := r.Info().Data.Images - len(held)

			now := time.Now().Add(time.Hour)
			require.NoError(t, filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
				require.NoError(t, err)
				return os.Chtimes(path, now, now)
			}))
			moved := filepath.Join(t.TempDir(), "moved")
			require.NoError(t, os.CopyFS(moved, os.DirFS(src)))
			for _, path := range []string{src, moved, zipped(t, src)} {
				got, p := partsOf(t, r, path)
				require.Equal(t, held, got)
				require.Equal(t, trained, p.trained)
				require.Zero(t, p.fresh)
				require.True(t, p.known)
			}
			// Saved anew, with another name, as another file with the same pixels.
			anew := t.TempDir()
			n := 0
			require.NoError(t, filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
				require.NoError(t, err)
				if d.IsDir() {
					return nil
				}
				f, err := os.Open(path)
				require.NoError(t, err)
				defer f.Close()
				img, err := png.Decode(f)
				require.NoError(t, err)
				n++
				out, err := os.Create(filepath.Join(anew, fmt.Sprintf("other%03d.png", n)))
				require.NoError(t, err)
				defer out.Close()
				return (&png.Encoder{CompressionLevel: png.NoCompression}).Encode(out, img)
			}))
			// and one that the run never had
			extra := image.NewNRGBA(image.Rect(0, 0, 8, 8))
			for i := range extra.Pix {
				extra.Pix[i] = uint8(37 * i)
			}
			extra.Set(3, 3, color.NRGBA{R: 1, A: 255})
			out, err := os.Create(filepath.Join(anew, "extra.png"))
			require.NoError(t, err)
			require.NoError(t, png.Encode(out, extra))
			require.NoError(t, out.Close())
			got, p := partsOf(t, r, anew)
			require.Equal(t, trained, p.trained)
			require.Equal(t, 1, p.fresh)
			require.Len(t, got, len(held)+1)
			require.True(t, got["extra.png"])

			if older {
				return
			}
			dropped, err := datasets.Drop(r.CacheDir())
			require.NoError(t, err)
			require.True(t, dropped)
			got, _ = partsOf(t, r, moved)
			require.Equal(t, held, got, "without the decoded pictures, too")
		})
	}
}

// A run whose pictures changed in between was trained on those of before, too.
func TestPicturesOfBeforeStayKnown(t *testing.T) {
	r := newRun(t)
	require.NoError(t, r.Update(func(i *Info) { i.Train.HeldOut, i.Train.Steps = 0.25, 1 }))
	_, err := r.Train(t.Context(), Options{})
	require.NoError(t, err)
	before, err := r.past()
	require.NoError(t, err)
	src := string(r.Info().Data.Path)
	kept := filepath.Join(t.TempDir(), "kept")
	require.NoError(t, os.CopyFS(kept, os.DirFS(src)))
	require.NoError(t, os.RemoveAll(filepath.Join(r.Dir, CacheName)))
	entries, err := os.ReadDir(src)
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(filepath.Join(src, entries[0].Name())))
	require.NoError(t, os.Mkdir(filepath.Join(src, entries[0].Name()), 0o755))
	other := image.NewGray(image.Rect(0, 0, 8, 8))
	out, err := os.Create(filepath.Join(src, entries[0].Name(), "other.png"))
	require.NoError(t, err)
	require.NoError(t, png.Encode(out, other))
	require.NoError(t, out.Close())
	require.NoError(t, r.Update(func(i *Info) { i.Train.Steps = 2 }))
	_, err = r.Train(t.Context(), Options{})
	require.NoError(t, err)
	after, err := r.past()
	require.NoError(t, err)
	for _, p := range before.Trained {
		require.Contains(t, after.Trained, p)
	}
	_, p := partsOf(t, r, kept)
	require.GreaterOrEqual(t, p.trained, len(before.Trained))
}

func TestRunsFolderWithinItsPictures(t *testing.T) {
	root := t.TempDir()
	pics := filepath.Join(root, "pics")
	require.NoError(t, os.Mkdir(pics, 0o755))
	link := filepath.Join(root, "link")
	require.NoError(t, os.Symlink(pics, link))
	r := newRun(t)
	info := r.Info()
	for _, c := range []struct {
		dir, pictures string
		apart         bool
	}{
		{pics, pics, false},
		{filepath.Join(pics, "run"), pics, false},
		{filepath.Join(pics, "a", "b", "run"), pics + "/", false},
		{filepath.Join(link, "run"), pics, false},
		{filepath.Join(pics, "run"), link, false},
		{filepath.Join(root, "pics2"), pics, true},
		{filepath.Join(root, "run"), pics, true},
		{filepath.Join(pics, "..", "run"), pics, true},
		{root, pics, true},
		{filepath.Join(pics, "..run"), pics, false},
	} {
		err := Apart(c.dir, c.pictures)
		require.Equal(t, c.apart, err == nil, "%+v", c)
		if !c.apart {
			require.ErrorContains(t, err, "choose a place beside them")
			info.Data.Path = durable.Path(c.pictures)
			_, err = Create(c.dir, info)
			require.Error(t, err)
			require.NoFileExists(t, filepath.Join(c.dir, InfoName))
		}
	}
}

func TestUnreadPicturesBeginNoRun(t *testing.T) {
	rep := &data.Report{Path: "/p", Items: make([]data.Item, 9), Bad: []data.BadFile{{Name: "a", Reason: "damaged"}}}
	require.NoError(t, AllRead(rep))
	rep.Bad = append(rep.Bad, data.BadFile{Name: "b.png", Reason: "reading it failed", Unread: true})
	require.ErrorContains(t, AllRead(rep), "1 pictures in /p could not be read, the first (b.png)")
	r := newRun(t)
	_, err := r.Train(t.Context(), Options{Report: rep})
	require.ErrorContains(t, err, "could not be read")
}

// The path of a run's pictures outlives run.json, whatever its bytes are.
func TestPathOfAnyBytes(t *testing.T) {
	r := newRun(t)
	require.NoError(t, r.Update(func(i *Info) { i.Data.Path = "/caf\xe9/\xca\xfd" }))
	again, err := Open(r.Dir)
	require.NoError(t, err)
	require.Equal(t, durable.Path("/caf\xe9/\xca\xfd"), again.Info().Data.Path)
}

// A run of an older version says nothing about its split, and keeps the one by names; a rule that is not known is refused.
func TestRuleOfOlderRuns(t *testing.T) {
	r := newRun(t)
	require.Equal(t, train.SplitByContent, r.Info().Train.Split)
	path := filepath.Join(r.Dir, InfoName)
	rewrite := func(version int, split string) {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		var m map[string]any
		require.NoError(t, json.Unmarshal(b, &m))
		m["version"] = version
		m["train"].(map[string]any)["split"] = split
		if split == "" {
			delete(m["train"].(map[string]any), "split")
		}
		b, err = json.Marshal(m)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, b, 0o644))
	}
	rewrite(1, "")
	old, err := Open(r.Dir)
	require.NoError(t, err)
	require.Equal(t, data.Holdout{Fraction: 0.05, ByName: true}, old.Info().Train.Holdout())
	require.NoError(t, old.Update(func(i *Info) { i.Notes = "x" }))
	require.Equal(t, 1, old.Info().Version)
	require.True(t, old.Info().Train.Holdout().ByName)
	rewrite(2, "moon")
	_, err = Open(r.Dir)
	require.ErrorContains(t, err, "use a newer Unnoise")
}

// Every turned bit is found; a damaged list is not believed, and is written anew from the decoded pictures.
func TestDamagedListOfPictures(t *testing.T) {
	r := newRun(t)
	require.NoError(t, r.Update(func(i *Info) { i.Train.Steps = 1 }))
	require.NoError(t, CheckPictures(r.Dir), "there is none yet")
	_, err := r.Train(t.Context(), Options{})
	require.NoError(t, err)
	path := filepath.Join(r.Dir, PicturesName)
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, CheckPictures(r.Dir))
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		require.NoError(t, os.WriteFile(path, bad, 0o644))
		require.Error(t, CheckPictures(r.Dir), "byte %d", i)
	}
	p, err := r.past()
	require.NoError(t, err)
	require.NotEmpty(t, p.Trained, "the decoded pictures tell the same")
	require.NoError(t, WritePictures(r.Dir))
	anew, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, good, anew)
}
