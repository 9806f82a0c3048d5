package page

import (
	"context"
	"net/url"
	"os"
	"path/filepath"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/dialog"
	"fyne.io/fyne/v2/storage"

	"unnoise/runtime/sentence"
)

// Reveal shows a folder, or the folder a file lies in, in the system's file manager.
func (s *Services) Reveal(path string) {
	s.Do(func(context.Context) error {
		dir := path
		info, err := os.Stat(path)
		if err != nil {
			return sentence.Errorf("%s is not there any more", path)
		}
		if !info.IsDir() {
			dir = filepath.Dir(path)
		}
		abs, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		return s.App.OpenURL(&url.URL{Scheme: "file", Path: filepath.ToSlash(abs)})
	}, nil)
}

// PickFolder lets the user choose a folder.
func (s *Services) PickFolder(chosen func(path string)) {
	d := dialog.NewFolderOpen(func(u fyne.ListableURI, err error) {
		if err != nil {
			s.Fail(err)
		} else if u != nil {
			chosen(u.Path())
		}
	}, s.Window)
	d.Resize(s.dialogSize())
	s.ShowDialog(d)
}

// PickFile lets the user choose a file, one of the extensions (with their dots) if there are any.
func (s *Services) PickFile(extensions []string, chosen func(path string)) {
	d := dialog.NewFileOpen(func(f fyne.URIReadCloser, err error) {
		if err != nil {
			s.Fail(err)
		} else if f != nil {
			path := f.URI().Path()
			s.Do(func(context.Context) error { return f.Close() }, nil)
			chosen(path)
		}
	}, s.Window)
	if len(extensions) > 0 {
		d.SetFilter(storage.NewExtensionFileFilter(extensions))
	}
	d.Resize(s.dialogSize())
	s.ShowDialog(d)
}

func (s *Services) dialogSize() fyne.Size {
	c := s.Window.Canvas().Size()
	return fyne.NewSize(min(900, c.Width-40), min(620, c.Height-40))
}
