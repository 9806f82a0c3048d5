package page

import (
	"context"

	"fyne.io/fyne/v2/lang"
)

const maxUndo = 50

type undoable struct {
	text string
	back func(ctx context.Context) error
	then func()
}

// Undoable tells the user what was just done and offers to take it back, by the message's button or by Ctrl+Z. back runs
// off the UI thread; then, which may be nil, runs on the UI thread after it succeeded.
func (s *Services) Undoable(text string, back func(ctx context.Context) error, then func()) {
	s.undo = append(s.undo, undoable{text, back, then})
	if len(s.undo) > maxUndo {
		s.undo = s.undo[1:]
	}
	n := len(s.undo)
	s.toasts.add(toastUndo, text, lang.L("Undo"), func() {
		if len(s.undo) == n { // an earlier thing is taken back only after the later ones
			s.Undo()
		}
	})
}

// Undo takes back the latest thing that Undoable announced. It says false when there is none.
func (s *Services) Undo() bool {
	if len(s.undo) == 0 {
		return false
	}
	u := s.undo[len(s.undo)-1]
	s.undo = s.undo[:len(s.undo)-1]
	s.toasts.dropUndo()
	s.Do(u.back, func(err error) {
		if err != nil {
			s.Fail(err)
			return
		}
		s.Toast(lang.L("Undone: {{.What}}", map[string]any{"What": u.text}))
		if u.then != nil {
			u.then()
		}
	})
	return true
}
