package kit

import (
	"image/color"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
	"github.com/stretchr/testify/require"

	uitheme "unnoise/ui/theme"
)

// rects are the fills of all rectangles within an object.
func rects(o fyne.CanvasObject) (out []color.Color) {
	switch o := o.(type) {
	case *canvas.Rectangle:
		out = append(out, o.FillColor)
	case *fyne.Container:
		for _, c := range o.Objects {
			out = append(out, rects(c)...)
		}
	case fyne.Widget:
		for _, c := range test.WidgetRenderer(o).Objects() {
			out = append(out, rects(c)...)
		}
	}
	return out
}

// What is not in the window when the theme changes has the new colours after a Refresh, however deep it lies.
func TestRefreshReachesWhatIsInside(t *testing.T) {
	a := test.NewTempApp(t)
	a.Settings().SetTheme(uitheme.New(uitheme.Dark))
	tree := container.NewStack(NewTapCard(container.NewVBox(NewPicture(20, 20), widget.NewLabel("x")), nil))
	tree.Resize(fyne.NewSize(200, 200))
	dark := uitheme.Color(uitheme.ColorNameWell)
	require.Contains(t, rects(tree), dark)
	a.Settings().SetTheme(uitheme.New(uitheme.Light))
	tree.Refresh()
	require.NotContains(t, rects(tree), dark)
	require.Contains(t, rects(tree), uitheme.Color(uitheme.ColorNameWell))
	require.Contains(t, rects(tree), uitheme.Color(uitheme.ColorNameCard))
}

// An icon has the new theme's colour, too.
func TestIconsFollowTheTheme(t *testing.T) {
	a := test.NewTempApp(t)
	a.Settings().SetTheme(uitheme.New(uitheme.Dark))
	i := NewIcon(theme.SearchIcon())
	w := test.NewTempWindow(t, container.NewStack(i))
	w.Resize(fyne.NewSize(40, 40))
	seen := func() (light, dark int) {
		img := w.Canvas().Capture()
		for y := range img.Bounds().Dy() {
			for x := range img.Bounds().Dx() {
				if r, _, _, _ := img.At(x, y).RGBA(); r > 0xc000 {
					light++
				} else if r < 0x4000 {
					dark++
				}
			}
		}
		return light, dark
	}
	light, dark := seen()
	require.Positive(t, light, "a light sign")
	require.Greater(t, dark, light, "on a dark ground")
	a.Settings().SetTheme(uitheme.New(uitheme.Light))
	w.Content().Refresh()
	light, dark = seen()
	require.Positive(t, dark, "a dark sign")
	require.Greater(t, light, dark, "on a light ground")
}
