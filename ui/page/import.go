package page

import (
	"context"
	"os"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/dialog"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/ui/icons"
	"unnoise/ui/kit"
)

// Import describes a dialog that asks what to import and under which name.
type Import struct {
	Title, About     string
	Path, Name       string // what the empty fields say
	OldPath, OldName string // what was typed before, when it could not be imported
	Files            bool   // a file may be chosen, not only a folder
	Extensions       []string
	Other            *widget.Button
	Do               func(path, name string)
}

// AskImport shows the dialog. Other, which may be nil, is another way, at the left; it closes the dialog.
func (s *Services) AskImport(im Import) {
	path, name := s.NewEntry(), s.NewEntry()
	path.SetPlaceHolder(im.Path)
	name.SetPlaceHolder(im.Name)
	var d *dialog.CustomDialog
	problem := kit.Text("")
	problem.Importance = widget.DangerImportance
	kit.Show(false, problem)
	var start *kit.Action
	begin := func() {
		if start.Reason() != "" {
			return
		}
		at := Path(path.Text)
		s.Do(func(context.Context) error {
			if _, err := os.Stat(at); err != nil {
				return notThere(at, err)
			}
			return nil
		}, func(err error) {
			if err != nil { // the dialog stays, with what was typed
				problem.SetText(Sentence(err))
				kit.Show(true, problem)
				return
			}
			d.Hide()
			im.Do(at, strings.TrimSpace(name.Text))
		})
	}
	start = kit.NewAction(lang.L("Import"), icons.Import, begin)
	start.Button.Importance = widget.HighImportance
	path.OnChanged = func(p string) {
		kit.Show(false, problem)
		if strings.TrimSpace(p) == "" {
			start.SetReason(lang.L("Choose what to import."))
		} else {
			start.SetReason("")
		}
	}
	path.OnChanged("")
	path.SetText(im.OldPath)
	name.SetText(im.OldName)
	path.OnSubmitted = func(string) { begin() }
	name.OnSubmitted = func(string) { begin() }
	pick := kit.Button(lang.L("Browse…"), theme.FolderOpenIcon(), widget.MediumImportance, func() {
		s.Pick(Picking{Title: im.Title, Folders: true, Files: im.Files, Extensions: im.Extensions, Start: path.Text}, path.SetText)
	})
	var other fyne.CanvasObject
	if o := im.Other; o != nil {
		do := o.OnTapped
		o.OnTapped = func() { d.Hide(); do() }
		other = o
	}
	cancel := kit.Button(lang.L("Cancel"), nil, widget.MediumImportance, func() { d.Hide() })
	d = dialog.NewCustomWithoutButtons(im.Title, container.NewVBox(kit.Muted(im.About),
		container.NewBorder(nil, nil, nil, pick, path), problem, name,
		container.NewBorder(nil, nil, other, kit.Buttons(cancel, start))), s.Window)
	d.Resize(fyne.NewSize(min(620, s.Window.Canvas().Size().Width-40), 0))
	s.ShowDialog(d)
	s.Window.Canvas().Focus(path)
}
