package page

import (
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

type toastKind int

const (
	toastInfo toastKind = iota
	toastUndo
	toastError
)

const (
	maxToasts = 3
	infoTime  = 5 * time.Second
	undoTime  = 12 * time.Second
)

// toaster shows messages at the bottom of the window, the newest lowest.
type toaster struct {
	s     *Services
	box   *fyne.Container
	area  *fyne.Container
	shown []*toast
}

type toast struct {
	kind  toastKind
	obj   fyne.CanvasObject
	until time.Time // zero: until dismissed
}

func newToaster(s *Services) *toaster {
	t := &toaster{s: s, box: container.NewVBox()}
	t.area = container.New(toastLayout{}, t.box)
	return t
}

// toastLayout puts the messages at the bottom centre, no wider than a comfortable line.
type toastLayout struct{}

func (toastLayout) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.Size{} }

func (toastLayout) Layout(objs []fyne.CanvasObject, size fyne.Size) {
	w := min(640, size.Width-48)
	for _, o := range objs {
		o.Resize(fyne.NewSize(w, o.MinSize().Height)) // the width first: the height of wrapped text depends on it
		h := o.MinSize().Height
		o.Resize(fyne.NewSize(w, h))
		o.Move(fyne.NewPos((size.Width-w)/2, size.Height-h-46)) // above the status bar
	}
}

// action is a button of a message.
type action struct {
	label string
	do    func()
}

func (t *toaster) add(kind toastKind, text string, actions ...action) *toast {
	th := theme.Current()
	v := t.s.App.Settings().ThemeVariant()
	bg := canvas.NewRectangle(th.Color(theme.ColorNameOverlayBackground, v))
	bg.CornerRadius = th.Size(theme.SizeNameInputRadius) + 4
	bg.StrokeWidth = 1
	bg.StrokeColor = th.Color(theme.ColorNameInputBorder, v)
	label := widget.NewLabel(text)
	label.Wrapping = fyne.TextWrapWord
	label.Selectable = kind == toastError
	icon := widget.NewIcon(theme.InfoIcon())
	switch kind {
	case toastError:
		icon.SetResource(theme.NewErrorThemedResource(theme.ErrorIcon()))
		bg.StrokeColor = th.Color(theme.ColorNameError, v)
	case toastUndo:
		icon.SetResource(theme.ContentUndoIcon())
	}
	item := &toast{kind: kind}
	buttons := container.NewHBox()
	for i, a := range actions {
		b := widget.NewButton(a.label, func() {
			t.remove(item)
			a.do()
		})
		if i == 0 {
			b.Importance = widget.HighImportance
		}
		buttons.Add(b)
	}
	dismiss := widget.NewButtonWithIcon("", theme.CancelIcon(), func() { t.remove(item) })
	dismiss.Importance = widget.LowImportance
	buttons.Add(dismiss)
	row := container.NewBorder(nil, nil, container.NewCenter(icon), container.NewCenter(buttons), label)
	item.obj = container.NewStack(bg, container.New(layout.NewCustomPaddedLayout(4, 4, 12, 8), row))
	switch kind {
	case toastInfo:
		if len(actions) == 0 {
			item.until = time.Now().Add(infoTime)
		} else {
			item.until = time.Now().Add(undoTime)
		}
	case toastUndo:
		item.until = time.Now().Add(undoTime)
	case toastError:
	}
	for len(t.shown) >= maxToasts {
		t.remove(t.shown[0])
	}
	t.shown = append(t.shown, item)
	t.box.Add(item.obj)
	t.area.Refresh()
	return item
}

func (t *toaster) remove(item *toast) {
	for i, o := range t.shown {
		if o == item {
			t.shown = append(t.shown[:i:i], t.shown[i+1:]...)
			t.box.Remove(item.obj)
			t.area.Refresh()
			return
		}
	}
}

// dropUndo removes the newest offer to undo, after it was used by key.
func (t *toaster) dropUndo() {
	for i := len(t.shown) - 1; i >= 0; i-- {
		if t.shown[i].kind == toastUndo {
			t.remove(t.shown[i])
			return
		}
	}
}

// Toasts is the layer of messages; the shell stacks it over the pages.
func (s *Services) Toasts() fyne.CanvasObject { return s.toasts.area }

// Tick lets messages expire; the shell calls it ten times a second.
func (s *Services) Tick(now time.Time) {
	s.stopTyping()
	s.saveRemembered()
	for _, o := range append([]*toast(nil), s.toasts.shown...) {
		if !o.until.IsZero() && now.After(o.until) {
			s.toasts.remove(o)
		}
	}
}

// Messages are the texts on show, oldest first; tests and the accessibility dump read them.
func (s *Services) Messages() []string {
	var out []string
	for _, t := range s.toasts.shown {
		row := t.obj.(*fyne.Container).Objects[1].(*fyne.Container).Objects[0].(*fyne.Container)
		for _, o := range row.Objects {
			if l, ok := o.(*widget.Label); ok {
				out = append(out, l.Text)
			}
		}
	}
	return out
}
