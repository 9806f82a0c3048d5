package page

import (
	"slices"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/dialog"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/widget"

	"unnoise/ui/kit"
)

// shownDialog is a dialog and the layer of the window it is on.
type shownDialog struct {
	d     dialog.Dialog
	layer fyne.CanvasObject
}

// ShowDialog shows a dialog that Escape closes.
func (s *Services) ShowDialog(d dialog.Dialog) {
	d.Show()
	over := s.Window.Canvas().Overlays()
	s.dialogs = append(s.dialogs, shownDialog{d, over.Top()})
}

// Escape closes the dialog on top, and says false when there is none.
func (s *Services) Escape() bool {
	over := s.Window.Canvas().Overlays()
	s.dialogs = slices.DeleteFunc(s.dialogs, func(d shownDialog) bool { return !slices.Contains(over.List(), d.layer) })
	if n := len(s.dialogs); n > 0 && s.dialogs[n-1].layer == over.Top() {
		s.dialogs[n-1].d.Dismiss()
		return true
	}
	return false
}

// Help is a small button that says what a chart shows.
func (s *Services) Help(title, text string) fyne.CanvasObject {
	b := kit.Button("?", nil, widget.LowImportance, func() {
		d := dialog.NewCustom(title, lang.L("Close"), kit.Text(text), s.Window)
		d.Resize(fyne.NewSize(460, 0))
		s.ShowDialog(d)
	})
	return container.NewCenter(container.NewGridWrap(fyne.NewSize(28, 28), b))
}
