package studio

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"image"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"unnoise/app/events"
	"unnoise/app/workspace"
)

// requireSentence requires that an error is one clear sentence: on one line, of a readable length, and without the
// names of system calls.
func requireSentence(t *testing.T, err error, contains string) {
	t.Helper()
	require.ErrorContains(t, err, contains)
	text := err.Error()
	require.NotContains(t, text, "\n")
	require.Less(t, len(text), 700)
	require.NotRegexp(t, regexp.MustCompile(`\b(open|stat|lstat|mkdir|write|rename|unlinkat) /|0x[0-9a-f]{6}|%!`), text)
}

var oddNames = []string{
	"two words", `it's "quoted" and “so”`, "🎨🐉", "龙与地牢", strings.Repeat("n", 200), strings.Repeat("龙", 200), strings.Repeat("👩‍🎨", 50),
	"..", "../../escape", `a/b\c:d*?`, "CON", "trailing dot.", "-rf", "%s %d {{.Name}} $HOME `x`", "e\u0301\u0302", "\u202eright to left", "<b>&amp;",
}

func TestOddNames(t *testing.T) {
	ctx := t.Context()
	s := openStudio(t, filepath.Join(t.TempDir(), "ws"))
	m := importUntrained(t, s)
	home := s.Workspace.Path()
	require.NoError(t, s.Training.Hold(ctx, true))
	for _, name := range oddNames {
		// The source has such names, too, as far as the file system takes them.
		file := strings.ReplaceAll(name, "/", "_")
		for len(file) > 200 {
			_, n := utf8.DecodeLastRuneInString(file)
			file = file[:len(file)-n]
		}
		if file == ".." {
			file = "..."
		}
		src := filepath.Join(t.TempDir(), file)
		for _, class := range []string{"x " + file, "y"} {
			require.NoError(t, os.MkdirAll(filepath.Join(src, class), 0o777))
			for i := range 6 {
				writeImage(t, filepath.Join(src, class, string(rune('0'+i))+file+".png"), 2*i+len(class)%2)
			}
		}
		d, err := s.Datasets.Import(ctx, src, name, nil)
		require.NoError(t, err, name)
		require.Equal(t, name, d.Name)
		require.Equal(t, 12, d.Items)
		require.Len(t, d.Classes, 2)
		require.Equal(t, "x "+file, d.Classes[0].Name)
		_, err = s.Thumbs.Image(ctx, Ref{Kind: DatasetItem, Owner: d.ID})
		require.NoError(t, err, name)
		found, err := s.Datasets.Items(ctx, d.ID, ItemFilter{Search: "0" + file})
		require.NoError(t, err)
		require.Len(t, found, 2)
		undo, ok := s.Trash.CanUndo()
		require.True(t, ok)
		require.Equal(t, "Import of “"+name+"”", undo.String())

		_, err = s.Training.Enqueue(ctx, small(t, s, d.ID, name, 10))
		require.NoError(t, err, name)
		run, err := nextRun(filepath.Join(home, "runs"), name)
		require.NoError(t, err)

		req, err := s.Galleries.Defaults(ctx, m.ID)
		require.NoError(t, err)
		req.Name, req.Count, req.Steps = name, 1, 1
		g, err := s.Galleries.Create(ctx, req, nil)
		require.NoError(t, err, name)
		require.Equal(t, name, g.Name)
		for dir, id := range map[string]string{"datasets": d.ID, "runs": run, "galleries": g.ID} {
			path, err := workspace.Child(filepath.Join(home, dir), id)
			require.NoError(t, err, "%s: %s", name, id)
			require.Equal(t, filepath.Join(home, dir), filepath.Dir(path))
		}
		keys, err := s.Galleries.Images(ctx, ImageFilter{Gallery: g.ID})
		require.NoError(t, err)
		refs := []Ref{keys[0].Ref, {Kind: DatasetItem, Owner: d.ID}}
		out := t.TempDir()
		require.NoError(t, s.Export.Zip(ctx, refs, filepath.Join(out, file+".zip"), PNGOptions{Metadata: true}, nil))
		_, err = s.Export.Images(ctx, refs, filepath.Join(out, file), PNGOptions{Metadata: true}, nil)
		require.NoError(t, err, name)
		for _, kind := range []string{"zip", "diffusers", "images"} {
			require.NotContains(t, filepath.Base(s.Export.Suggest(kind, name)), string(filepath.Separator))
		}
		require.NoError(t, s.Galleries.Rename(ctx, g.ID, name+"!"[:min(1, max(0, 200-utf8.RuneCountInString(name)))]))
		require.NoError(t, s.Datasets.Delete(ctx, d.ID))
		_, err = s.Trash.Undo(ctx)
		require.NoError(t, err, name)
	}
	list, err := s.Datasets.List(ctx)
	require.NoError(t, err)
	require.Len(t, list, len(oddNames))
	parent, err := os.ReadDir(filepath.Dir(home))
	require.NoError(t, err)
	require.Len(t, parent, 1, "nothing was made outside the workspace")

	src := t.TempDir()
	makePictures(t, src, 4)
	for name, want := range map[string]string{
		" \t": "a name is needed", "a\x00b": "control character U+0000", "\xff": "not valid text", strings.Repeat("龙", 201): "has 201 characters: 200 are the most",
	} {
		_, err := s.Datasets.Import(ctx, src, name, nil)
		requireSentence(t, err, want)
		requireSentence(t, s.Galleries.Rename(ctx, "two-words", name), want)
		requireSentence(t, s.Datasets.Rename(ctx, "two-words", name), want)
	}
}

func TestHostileZips(t *testing.T) {
	ctx := t.Context()
	base := t.TempDir()
	s := openStudio(t, filepath.Join(base, "in", "ws"))
	src := t.TempDir()
	makePictures(t, src, 2)
	img, err := os.ReadFile(filepath.Join(src, "cats", "0000.png"))
	require.NoError(t, err)
	climbing := []string{"../../escape.png", "/etc/absolute.png", "a/../../up.png", `..\..\windows.png`}
	path := filepath.Join(src, "climbing.zip")
	f, err := os.Create(path)
	require.NoError(t, err)
	z := zip.NewWriter(f)
	for _, name := range append([]string{"cats/good.png"}, climbing...) {
		w, err := z.Create(name)
		require.NoError(t, err)
		_, err = w.Write(img)
		require.NoError(t, err)
	}
	require.NoError(t, errors.Join(z.Close(), f.Close()))
	d, err := s.Datasets.Import(ctx, path, "", nil)
	require.NoError(t, err)
	require.Equal(t, 1, d.Items)
	bad, err := s.Datasets.Bad(ctx, d.ID)
	require.NoError(t, err)
	require.Len(t, bad, len(climbing))
	for _, b := range bad {
		require.Equal(t, "its path leads out of the archive", b.Reason.String())
	}
	_, err = s.Thumbs.Image(ctx, Ref{Kind: DatasetItem, Owner: d.ID})
	require.NoError(t, err)

	var b bytes.Buffer
	z = zip.NewWriter(&b)
	for _, name := range []string{"a.png", "b.png", "c.png", "d.png", "e.png", "f.png"} {
		w, err := z.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Deflate, CompressedSize64: 4, UncompressedSize64: 100 << 20})
		require.NoError(t, err)
		_, err = w.Write([]byte{1, 2, 3, 4})
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	bomb, broken := filepath.Join(src, "bomb.zip"), filepath.Join(src, "broken.zip")
	require.NoError(t, os.WriteFile(bomb, b.Bytes(), 0o666))
	require.NoError(t, os.WriteFile(broken, []byte("PK\x03\x04 and no more"), 0o666))
	_, err = s.Datasets.Import(ctx, bomb, "", nil)
	requireSentence(t, err, "it is refused as a zip bomb")
	_, err = s.Datasets.Import(ctx, broken, "", nil)
	requireSentence(t, err, "cannot be read as a .zip archive")
	left, err := os.ReadDir(filepath.Join(s.Workspace.Path(), "datasets"))
	require.NoError(t, err)
	require.Len(t, left, 1)
	for dir, n := range map[string]int{base: 1, filepath.Join(base, "in"): 1} {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, n, "nothing was written outside the workspace")
	}
}

// A drive is removed while the workspace on it is open: nothing is made anew in its place, each change is refused with
// the reason, and when the drive is back everything goes on.
func TestRemovedDrive(t *testing.T) {
	ctx := t.Context()
	drive := filepath.Join(t.TempDir(), "drive")
	home := filepath.Join(drive, "ws")
	s, err := Open(ctx, home)
	require.NoError(t, err)
	r := record(t, s)
	told := func(want string) func() bool {
		return func() bool {
			return r.has(func(e Event) bool {
				n, ok := e.(events.Notice)
				return ok && strings.Contains(n.Text.String(), want)
			})
		}
	}
	src := t.TempDir()
	makePictures(t, src, 20)
	d, err := s.Datasets.Import(ctx, src, "x", nil)
	require.NoError(t, err)
	req := small(t, s, d.ID, "r", 10)
	require.NoError(t, os.Rename(drive, drive+" away"))
	gone := "The workspace " + home + " is not there now: connect its drive again"
	for what, err := range map[string]error{
		"import":  second(s.Datasets.Import(ctx, src, "y", nil)),
		"demo":    second(s.Datasets.ImportDemo(ctx, nil)),
		"rename":  s.Datasets.Rename(ctx, d.ID, "z"),
		"delete":  s.Datasets.Delete(ctx, d.ID),
		"hold":    s.Training.Hold(ctx, true),
		"export":  second(s.Export.Images(ctx, []Ref{{Kind: DatasetItem, Owner: d.ID}}, t.TempDir(), PNGOptions{Metadata: true}, nil)),
		"trial":   second(s.Training.Estimate(ctx, req, false)),
		"rebuild": s.Workspace.Rebuild(ctx, nil),
		"purge":   second(s.Trash.Purge(ctx, 0, nil)),
	} {
		require.Error(t, err, what)
		requireSentence(t, err, gone)
	}
	require.Error(t, s.Training.Start(ctx, req))
	_, err = s.Thumbs.Image(ctx, Ref{Kind: DatasetItem, Owner: d.ID})
	requireSentence(t, err, gone)
	_, err = s.Thumbs.Image(ctx, Ref{Kind: SampleGrid, Owner: "0001-r", Name: "000010.png"})
	requireSentence(t, err, gone)
	waitFor(t, "the person to be told", told(gone))
	require.NoDirExists(t, drive)
	list, err := s.Datasets.List(ctx) // what is known may still be looked at
	require.NoError(t, err)
	require.Len(t, list, 1)

	require.NoError(t, os.Rename(drive+" away", drive))
	waitFor(t, "the person to be told", told("The workspace is back."))
	require.NoError(t, s.Datasets.Rename(ctx, d.ID, "z"))

	require.NoError(t, os.Rename(drive, drive+" away"))
	closed := s.Close(context.Background())
	if closed != nil {
		require.NotContains(t, closed.Error(), "\n")
	}
	require.NoDirExists(t, drive)
	s, err = Open(ctx, filepath.Join(drive+" away", "ws"))
	require.NoError(t, err)
	got, err := s.Datasets.Get(ctx, d.ID)
	require.NoError(t, err)
	require.Equal(t, "z", got.Name)
	require.NoError(t, s.Close(context.Background()))
}

func second[T any](_ T, err error) error { return err }

// asOrdinaryUser runs the test again as a user who may not write everywhere, if this one may; it reports whether it did.
func asOrdinaryUser(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 || os.Getenv("UNNOISE_TEST_ORDINARY") != "" {
		return false
	}
	exe, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir() // the test's own lies where others may not look
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		require.NoError(t, os.Chmod(d, 0o777))
	}
	in, err := os.Open(exe)
	require.NoError(t, err)
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(filepath.Join(dir, "test"), os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, errors.Join(err, out.Close()))
	cmd := exec.Command(out.Name(), "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "UNNOISE_TEST_ORDINARY=1", "TMPDIR="+dir, "HOME="+dir, "UNNOISE_CONFIG="+filepath.Join(dir, "settings.json"))
	ordinary(cmd)
	b, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", b)
	require.Contains(t, string(b), "--- PASS: "+t.Name())
	return true
}

func TestReadOnlyFolders(t *testing.T) {
	if asOrdinaryUser(t) {
		return
	}
	ctx := t.Context()
	locked := func(dir string) string {
		t.Helper()
		require.NoError(t, os.MkdirAll(dir, 0o777))
		require.NoError(t, os.Chmod(dir, 0o555))
		t.Cleanup(func() { _ = os.Chmod(dir, 0o777) })
		return dir
	}
	place := locked(filepath.Join(t.TempDir(), "place"))
	_, err := Open(ctx, filepath.Join(place, "ws"))
	requireSentence(t, err, "cannot be made: permission denied; choose another folder")

	// Pictures that may only be read are enough.
	home, src := filepath.Join(t.TempDir(), "ws"), t.TempDir()
	makePictures(t, src, 20)
	locked(src)
	s := openStudio(t, home)
	d, err := s.Datasets.Import(ctx, src, "x", nil)
	require.NoError(t, err)
	ref := Ref{Kind: DatasetItem, Owner: d.ID}

	const advice = "cannot be written: choose a folder you may write to"
	for _, out := range []string{place, filepath.Join(place, "new")} {
		_, err = s.Export.Images(ctx, []Ref{ref}, out, PNGOptions{Metadata: true}, nil)
		requireSentence(t, err, advice)
		requireSentence(t, s.Export.Zip(ctx, []Ref{ref}, filepath.Join(out, "a.zip"), PNGOptions{Metadata: true}, nil), advice)
		requireSentence(t, s.Export.Sheet(ctx, []Ref{ref}, filepath.Join(out, "a.png"), SheetOptions{}, nil), advice)
		img, err := s.Thumbs.Image(ctx, ref)
		require.NoError(t, err)
		requireSentence(t, s.Export.Frames(ctx, []*image.RGBA{img}, filepath.Join(out, "a.gif"), AnimationOptions{Format: "gif", FPS: 10}, nil), advice)
	}
	err = s.Workspace.Move(ctx, filepath.Join(place, "ws"), nil)
	requireSentence(t, err, "cannot be written: permission denied")

	// The workspace itself is made read-only while it is open.
	for _, dir := range []string{"datasets", "galleries", "runs", filepath.Join("datasets", d.ID), ".trash", "."} {
		locked(filepath.Join(home, dir))
	}
	_, err = s.Datasets.Import(ctx, t.TempDir(), "none", nil)
	requireSentence(t, err, "no usable pictures")
	_, err = s.Datasets.Import(ctx, src, "y", nil)
	requireSentence(t, err, "the dataset cannot be saved: permission denied")
	requireSentence(t, s.Datasets.Rename(ctx, d.ID, "z"), "the dataset cannot be saved: permission denied")
	requireSentence(t, s.Datasets.Delete(ctx, d.ID), "permission denied")
	requireSentence(t, s.Training.Hold(ctx, true), "permission denied")
	got, err := s.Datasets.Get(ctx, d.ID)
	require.NoError(t, err)
	require.Equal(t, "x", got.Name)
	_, err = os.Stat(filepath.Join(home, "datasets", "y"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}
