package page

import (
	"strings"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/widget"
	"github.com/stretchr/testify/require"
)

// The wheel over a field scrolls the form around it; a field of several lines scrolls first as long as it can.
func TestWheelOverFieldsScrollsTheForm(t *testing.T) {
	a := test.NewTempApp(t)
	w := test.NewTempWindow(t, nil)
	s := &Services{App: a, Window: w}
	one, many := s.NewEntry(), s.NewMultiLineEntry()
	many.SetText(strings.Repeat("line\n", 50))
	col := container.NewVBox(one, container.NewGridWrap(fyne.NewSize(300, 100), many))
	for range 30 {
		col.Add(widget.NewLabel("more"))
	}
	scroll := container.NewVScroll(col)
	w.SetContent(container.NewStack(scroll))
	w.Resize(fyne.NewSize(400, 300))
	over := func(o fyne.CanvasObject) fyne.Position {
		return fyne.CurrentApp().Driver().AbsolutePositionForObject(o).Add(fyne.NewPos(20, 15))
	}
	test.Scroll(w.Canvas(), over(one), 0, -20)
	require.InDelta(t, 20, scroll.Offset.Y, 0.1)
	test.Scroll(w.Canvas(), over(many), 0, -20)
	require.InDelta(t, 20, scroll.Offset.Y, 0.1, "the field has more to show")
	for range 200 {
		test.Scroll(w.Canvas(), over(many), 0, -20)
		if scroll.Offset.Y > 20 {
			return
		}
	}
	t.Fatal("at its end, the field goes on with the form")
}
