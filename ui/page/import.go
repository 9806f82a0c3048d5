package page

import (
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
	Title, About string
	Path, Name   string // what the empty fields say
	Files        bool   // a file may be chosen, not only a folder
	Other        *widget.Button
	Do           func(path, name string)
}

// AskImport shows the dialog. Other, which may be nil, is another way, at the left; it closes the dialog.
func (s *Services) AskImport(im Import) {
	path, name := s.NewEntry(), s.NewEntry()
	path.SetPlaceHolder(im.Path)
	name.SetPlaceHolder(im.Name)
	var d *dialog.CustomDialog
	start := kit.NewAction(lang.L("Import"), icons.Import, func() {
		d.Hide()
		im.Do(strings.TrimSpace(path.Text), strings.TrimSpace(name.Text))
	})
	start.Button.Importance = widget.HighImportance
	path.OnChanged = func(p string) {
		if strings.TrimSpace(p) == "" {
			start.SetReason(lang.L("Choose what to import."))
		} else {
			start.SetReason("")
		}
	}
	path.OnChanged("")
	path.OnSubmitted = func(string) {
		if start.Reason() == "" {
			start.Button.OnTapped()
		}
	}
	pick := kit.Buttons(kit.Button(lang.L("Folder…"), theme.FolderOpenIcon(), widget.MediumImportance, func() { s.PickFolder(path.SetText) }))
	if im.Files {
		pick.Add(kit.Button(lang.L("File…"), theme.FileIcon(), widget.MediumImportance, func() { s.PickFile(nil, path.SetText) }))
	}
	var other fyne.CanvasObject
	if o := im.Other; o != nil {
		do := o.OnTapped
		o.OnTapped = func() { d.Hide(); do() }
		other = o
	}
	cancel := kit.Button(lang.L("Cancel"), nil, widget.MediumImportance, func() { d.Hide() })
	d = dialog.NewCustomWithoutButtons(im.Title, container.NewVBox(kit.Muted(im.About),
		container.NewBorder(nil, nil, nil, pick, path), name,
		container.NewBorder(nil, nil, other, kit.Buttons(cancel, start))), s.Window)
	d.Resize(fyne.NewSize(min(620, s.Window.Canvas().Size().Width-40), 0))
	s.ShowDialog(d)
	s.Window.Canvas().Focus(path)
}
