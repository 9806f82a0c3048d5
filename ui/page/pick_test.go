package page_test

import (
	"os"
	"path/filepath"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/widget"
	"github.com/stretchr/testify/require"

	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/page/pagetest"
)

// pathEntry is the entry for a path in the dialog on top.
func pathEntry(b *pagetest.Bench) *page.Entry {
	return pagetest.Find(b, func(e *page.Entry) bool { return true })
}

func TestPickByNameAndByGoingThere(t *testing.T) {
	b := pagetest.Open(t, nil)
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "cats", "inner"), 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cats.zip"), nil, 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".hidden"), nil, 0o666))
	var got []string
	pick := func(what page.Picking) { b.S.Pick(what, func(p string) { got = append(got, p) }) }
	pick(page.Picking{Title: "Pick", Folders: true, Files: true, Extensions: []string{".zip"}, Start: dir})
	list := func() *kit.List { return pagetest.Find(b, func(*kit.List) bool { return true }) }
	b.Wait("the folder", func() bool { return list() != nil && list().Length() == 3 })
	require.True(t, b.Shows("cats.zip"), "files are seen, too")
	require.True(t, b.Shows("notes.txt"))
	require.Equal(t, dir, pathEntry(b).Text)

	// Go into a folder and choose it.
	list().Select(0)
	b.Wait("the folder within", func() bool { return pathEntry(b).Text == filepath.Join(dir, "cats") && list().Length() == 1 })
	b.Tap("Choose")
	b.Wait("the choice", func() bool { return len(got) == 1 })
	require.Equal(t, filepath.Join(dir, "cats"), got[0])
	require.Empty(t, b.Window.Canvas().Overlays().List())

	// The next time begins there, and it is among the recent places.
	pick(page.Picking{Title: "Pick", Folders: true, Files: true})
	b.Wait("the last place", func() bool { return pathEntry(b).Text == filepath.Join(dir, "cats") })
	require.True(t, b.Shows("Recent places"))
	require.NotNil(t, b.Button("cats"))

	// A path by name: a wrong one stays to be mended, Enter takes a right one.
	e := pathEntry(b)
	e.SetText(filepath.Join(dir, "no such.zip"))
	e.OnSubmitted(e.Text)
	b.WaitText("There is no " + filepath.Join(dir, "no such.zip"))
	require.Equal(t, filepath.Join(dir, "no such.zip"), e.Text)
	e.SetText(filepath.Join(dir, "cats.zip"))
	e.OnSubmitted(e.Text)
	b.Wait("the file", func() bool { return len(got) == 2 })
	require.Equal(t, filepath.Join(dir, "cats.zip"), got[1])

	// A file where a folder is asked for.
	b.S.PickFolder(func(p string) { got = append(got, p) })
	b.Wait("the dialog", func() bool { e := pathEntry(b); return e != nil && e.Text != "" })
	pathEntry(b).SetText(filepath.Join(dir, "notes.txt"))
	b.Tap("Choose")
	b.WaitText("this is a file")
	b.Tap("Cancel")
	require.Len(t, got, 2)

	// A folder that is not there yet, where it may be made.
	pick(page.Picking{Title: "Pick", Folders: true, New: true, Start: dir})
	b.Wait("the dialog", func() bool { e := pathEntry(b); return e != nil && e.Text == dir })
	pathEntry(b).SetText(filepath.Join(dir, "new"))
	b.Tap("Choose")
	b.Wait("the new folder", func() bool { return len(got) == 3 })
}

func TestImportDialogKeepsWhatWasTyped(t *testing.T) {
	b := pagetest.Open(t, nil)
	dir := t.TempDir()
	var got []string
	b.S.AskImport(page.Import{Title: "Import", Path: "the path", Name: "the name", Files: true, Do: func(path, name string) { got = append(got, path, name) }})
	entry := func(placeholder string) *page.Entry {
		return pagetest.Find(b, func(e *page.Entry) bool { return e.PlaceHolder == placeholder })
	}
	require.Same(t, entry("the path"), b.Window.Canvas().Focused())
	entry("the path").SetText(filepath.Join(dir, "wrong"))
	entry("the name").SetText("cats")
	b.Tap("Import")
	b.WaitText("There is no " + filepath.Join(dir, "wrong"))
	require.Equal(t, filepath.Join(dir, "wrong"), entry("the path").Text)
	require.Equal(t, "cats", entry("the name").Text)
	label := pagetest.Find(b, func(l *widget.Label) bool { return l.Importance == widget.DangerImportance })
	require.NotNil(t, label)
	require.Positive(t, label.Size().Height)

	entry("the path").SetText(dir)
	require.Nil(t, pagetest.Find(b, func(l *widget.Label) bool { return l.Importance == widget.DangerImportance }), "it goes when the path changes")
	b.Window.Canvas().Focus(entry("the name"))
	entry("the name").TypedKey(&fyne.KeyEvent{Name: fyne.KeyReturn})
	b.Wait("the import", func() bool { return len(got) == 2 })
	require.Equal(t, []string{dir, "cats"}, got)

	home, err := os.UserHomeDir()
	require.NoError(t, err)
	b.S.AskImport(page.Import{Title: "Import", Path: "the path", Name: "the name", OldPath: "~/", Do: func(path, name string) { got = append(got, path, name) }})
	b.Tap("Import")
	b.Wait("the import of the home folder", func() bool { return len(got) == 4 })
	require.Equal(t, filepath.Clean(home), filepath.Clean(got[2]))
}
