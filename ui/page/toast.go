package page

import (
	"runtime"
	"slices"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/ui/kit"
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

// toaster shows messages in a corner of the window, the newest lowest.
type toaster struct {
	s     *Services
	box   *fyne.Container
	area  *fyne.Container
	shown []*toast
}

type toast struct {
	kind   toastKind
	text   string
	origin origin // of an error: what went wrong
	obj    fyne.CanvasObject
	until  time.Time // zero: until dismissed
}

// origin is the place in the program that asked for work; 0 is unknown. An error from it is mended when the same work succeeds.
type origin uintptr

func newToaster(s *Services) *toaster {
	t := &toaster{s: s, box: container.NewVBox()}
	t.area = container.New(&toastLayout{s}, t.box)
	return t
}

// toastLayout puts the messages in the lower right corner, or where else at the sides they lie over no control.
type toastLayout struct{ s *Services }

const (
	toastWidth  = 420
	toastMargin = 14
	toastFoot   = 46 // above the status bar
)

func (*toastLayout) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.Size{} }

func (l *toastLayout) Layout(objs []fyne.CanvasObject, size fyne.Size) {
	box := objs[0]
	w := min(toastWidth, size.Width-2*toastMargin)
	box.Resize(fyne.NewSize(w, box.MinSize().Height)) // the width first: the height of wrapped text depends on it
	h := box.MinSize().Height
	box.Resize(fyne.NewSize(w, h))
	box.Move(l.place(fyne.NewSize(w, h), size))
}

// place is the lowest free place at the right, or else at the left; where everything is full of controls, the corner.
func (l *toastLayout) place(box, size fyne.Size) fyne.Position {
	corner := fyne.NewPos(size.Width-box.Width-toastMargin, size.Height-box.Height-toastFoot)
	controls := kit.Controls(l.s.Window.Canvas().Content(), l.s.toasts.box)
	for _, x := range []float32{corner.X, toastMargin, (size.Width - box.Width) / 2} {
		for y := corner.Y; y > size.Height/4; y -= 8 {
			if at := fyne.NewPos(x, y); !slices.ContainsFunc(controls, func(c kit.Place) bool { return c.Overlaps(at, box) }) {
				return at
			}
		}
	}
	return corner
}

// action is a button of a message.
type action struct {
	label string
	do    func()
}

func (t *toaster) add(kind toastKind, text string, actions ...action) *toast {
	for _, o := range t.shown { // said again, it stands once
		if o.kind == kind && o.text == text {
			t.remove(o)
			break
		}
	}
	border := theme.ColorNameInputBorder
	icon := kit.NewIcon(theme.InfoIcon())
	switch kind {
	case toastError:
		icon.SetResource(theme.NewErrorThemedResource(theme.ErrorIcon()))
		border = theme.ColorNameError
	case toastUndo:
		icon.SetResource(theme.ContentUndoIcon())
	case toastInfo:
	}
	label := kit.Text(text)
	label.Selectable = kind == toastError
	item := &toast{kind: kind, text: text, origin: t.s.origin}
	dismiss := kit.Button("", theme.CancelIcon(), widget.LowImportance, func() { t.remove(item) })
	body := container.New(layout.NewCustomPaddedVBoxLayout(-4), label)
	if len(actions) > 0 {
		buttons := container.New(layout.NewRowWrapLayout())
		for i, a := range actions {
			imp := widget.MediumImportance
			if i == 0 {
				imp = widget.HighImportance
			}
			buttons.Add(kit.Button(a.label, nil, imp, func() {
				t.remove(item)
				a.do()
			}))
		}
		body.Add(kit.Pad(0, 6, 0, 0, buttons))
	}
	row := container.NewBorder(nil, nil, container.NewVBox(container.NewPadded(icon)), container.NewVBox(dismiss), body)
	item.obj = kit.NewSurface(theme.ColorNameOverlayBackground, border, 10, kit.Pad(4, 4, 10, 6, row))
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
	kit.Relayout(t.box)
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

// mended removes the errors of work that has now succeeded.
func (t *toaster) mended(by origin) {
	for _, o := range slices.Clone(t.shown) {
		if o.kind == toastError && by != 0 && o.origin == by {
			t.remove(o)
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

// caller is the place that called the function which called this one, so many calls further up.
func caller(up int) origin {
	pc, _, _, _ := runtime.Caller(2 + up)
	return origin(pc)
}

// ended hands the end of work to then, and takes back the errors that the same work told before.
func (s *Services) ended(by origin, err error, then func()) {
	if err == nil {
		s.toasts.mended(by)
	}
	was := s.origin
	s.origin = by
	then()
	s.origin = was
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
		out = append(out, t.text)
	}
	return out
}
