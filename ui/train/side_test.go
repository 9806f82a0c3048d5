package train

import (
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"github.com/stretchr/testify/require"
)

// Beside each other or, in a narrow window, below: neither part is cut, and they do not overlap.
func TestSideLayoutCutsNothing(t *testing.T) {
	form, side := canvas.NewRectangle(nil), canvas.NewRectangle(nil)
	form.SetMinSize(fyne.NewSize(300, 40))
	side.SetMinSize(fyne.NewSize(270, 40))
	objs := []fyne.CanvasObject{form, side}
	for _, width := range []float32{sideLayout{}.MinSize(objs).Width, 500, 591, 592, 900, 1700} {
		sideLayout{}.Layout(objs, fyne.NewSize(width, 300))
		for _, o := range objs {
			require.GreaterOrEqual(t, o.Size().Width, o.MinSize().Width, width)
			require.GreaterOrEqual(t, o.Size().Height, o.MinSize().Height, width)
			require.LessOrEqual(t, o.Position().X+o.Size().Width, width, width)
			require.LessOrEqual(t, o.Position().Y+o.Size().Height, float32(300), width)
		}
		beside := side.Position().X >= form.Size().Width
		below := side.Position().Y >= form.Size().Height
		require.True(t, beside != below, "%v", width)
	}
}
