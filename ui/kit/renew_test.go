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

// painted is a resource that counts how often it was drawn.
type painted struct {
	fyne.Resource
	n int
}

func (p *painted) Content() []byte { p.n++; return p.Resource.Content() }

// An icon is drawn anew under another theme, and only then: its resource is the same, and has another colour.
func TestIconsFollowTheTheme(t *testing.T) {
	a := test.NewTempApp(t)
	a.Settings().SetTheme(uitheme.New(uitheme.Dark))
	res := &painted{Resource: theme.SearchIcon()}
	i := NewIcon(res)
	i.Resize(fyne.NewSize(40, 40))
	i.Refresh()
	once := res.n
	i.Refresh()
	require.Equal(t, once, res.n, "nothing has changed")
	a.Settings().SetTheme(uitheme.New(uitheme.Light))
	i.Refresh()
	require.Greater(t, res.n, once)
}
