package kit

import (
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/widget"
	"github.com/stretchr/testify/require"
)

// After a click in a control, the window still gets the keys that the control has no use for.
func TestControlsHandOnKeys(t *testing.T) {
	test.NewTempApp(t)
	list := NewList(func() int { return 3 }, func() fyne.CanvasObject { return widget.NewLabel("row") }, func(widget.ListItemID, fyne.CanvasObject) {})
	slider := NewSlider(0, 9)
	for name, o := range map[string]fyne.CanvasObject{
		"list": list, "check": NewCheck("check", nil), "select": NewSelect([]string{"a", "b"}, nil), "slider": slider, "card": NewTapCard(widget.NewLabel(""), nil),
	} {
		t.Run(name, func(t *testing.T) {
			w := test.NewTempWindow(t, o)
			w.Resize(fyne.NewSize(300, 200))
			var keys []fyne.KeyName
			var runes []rune
			w.Canvas().SetOnTypedKey(func(ev *fyne.KeyEvent) { keys = append(keys, ev.Name) })
			w.Canvas().SetOnTypedRune(func(r rune) { runes = append(runes, r) })
			if name == "list" {
				test.TapCanvas(w.Canvas(), fyne.NewPos(20, 20))
			} else {
				w.Canvas().Focus(o.(fyne.Focusable))
			}
			f := w.Canvas().Focused()
			require.Same(t, o, f)
			for _, k := range []fyne.KeyName{fyne.KeyDelete, fyne.KeyEscape, fyne.KeyF1} {
				f.TypedKey(&fyne.KeyEvent{Name: k})
			}
			f.TypedRune('.')
			f.TypedRune('?')
			require.Equal(t, []fyne.KeyName{fyne.KeyDelete, fyne.KeyEscape, fyne.KeyF1}, keys)
			require.Equal(t, []rune{'.', '?'}, runes)
		})
	}
	slider.TypedKey(&fyne.KeyEvent{Name: fyne.KeyRight})
	require.InDelta(t, 1, slider.Value, 0)
}

func TestListMovesItsSelection(t *testing.T) {
	test.NewTempApp(t)
	at := -1
	list := NewList(func() int { return 3 }, func() fyne.CanvasObject { return widget.NewLabel("row") }, func(widget.ListItemID, fyne.CanvasObject) {})
	list.Arrows = true
	list.OnSelected = func(i int) { at = i }
	w := test.NewTempWindow(t, list)
	w.Resize(fyne.NewSize(300, 200))
	test.TapCanvas(w.Canvas(), fyne.NewPos(20, 20))
	require.Equal(t, 0, at)
	list.TypedKey(&fyne.KeyEvent{Name: fyne.KeyDown})
	require.Equal(t, 1, at)
	list.TypedKey(&fyne.KeyEvent{Name: fyne.KeyUp})
	require.Equal(t, 0, at)
}

// Cards can be reached and used without a pointer, and show where the keyboard is.
func TestCardsTakeTheKeyboard(t *testing.T) {
	test.NewTempApp(t)
	taps := ""
	a, b := NewTapCard(widget.NewLabel("a"), func() { taps += "a" }), NewTapCard(widget.NewLabel("b"), func() { taps += "b" })
	w := test.NewTempWindow(t, container.NewVBox(a, b))
	w.Canvas().FocusNext()
	require.Same(t, a, w.Canvas().Focused())
	require.InDelta(t, 3, a.surface.width, 0)
	a.TypedKey(&fyne.KeyEvent{Name: fyne.KeySpace})
	w.Canvas().FocusNext()
	require.Same(t, b, w.Canvas().Focused())
	require.InDelta(t, 1, a.surface.width, 0)
	b.TypedKey(&fyne.KeyEvent{Name: fyne.KeyReturn})
	require.Equal(t, "ab", taps)
	b.SetSelected(true)
	b.MouseIn(nil)
	b.MouseOut()
	test.Tap(b)
	require.Equal(t, "abb", taps)
	require.Nil(t, w.Canvas().Focused(), "a click leaves what was typed in")
}

func TestRevealScrollsEveryScrollAround(t *testing.T) {
	test.NewTempApp(t)
	col := container.NewVBox()
	var objs []*widget.Entry
	for range 40 {
		e := widget.NewEntry()
		objs = append(objs, e)
		col.Add(e)
	}
	scroll := container.NewVScroll(col)
	w := test.NewTempWindow(t, container.NewStack(scroll))
	w.Resize(fyne.NewSize(400, 300))
	seen := func(o fyne.CanvasObject) bool {
		y := o.Position().Y - scroll.Offset.Y
		return y >= 0 && y+o.Size().Height <= scroll.Size().Height
	}
	for _, i := range []int{39, 0, 20, 21, 5} {
		Reveal(objs[i])
		require.True(t, seen(objs[i]), "%d at %v, scrolled to %v", i, objs[i].Position(), scroll.Offset)
	}
	at := scroll.Offset
	Reveal(objs[6])
	require.Equal(t, at, scroll.Offset, "what is in view stays where it is")
}
