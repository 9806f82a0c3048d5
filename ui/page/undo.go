package page

import (
	"fyne.io/fyne/v2/lang"

	"unnoise/app/studio"
)

// Undoable tells the user what was just done and offers to take it back; Ctrl+Z does the same. The studio keeps the list
// of what can be undone, so call this after a studio method whose comment says that it can be.
func (s *Services) Undoable(text string) {
	s.toasts.add(toastUndo, text, action{lang.L("Undo"), s.Undo})
}

// Undo takes back the newest change that can be. The pages hear of it through the studio's events.
func (s *Services) Undo() {
	s.toasts.dropUndo()
	if _, ok := s.Studio.Trash.CanUndo(); !ok {
		s.Toast(lang.L("There is nothing to undo."))
		return
	}
	Load(s, s.Studio.Trash.Undo, func(t studio.Text, err error) {
		if err != nil {
			s.Fail(err)
			return
		}
		s.toasts.add(toastInfo, lang.L("Undone: {{.What}}", map[string]any{"What": Text(t)}))
	})
}
