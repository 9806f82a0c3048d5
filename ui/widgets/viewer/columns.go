package viewer

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

// Columns is a viewer of a sheet whose columns have names, which stand over them wherever the sheet is moved.
type Columns struct {
	widget.BaseWidget
	viewer *Viewer
	names  []string
	gap    int
	texts  []fyne.CanvasObject
}

// NewColumns puts the names over a viewer, whose OnView it takes.
func NewColumns(v *Viewer) *Columns {
	c := &Columns{viewer: v}
	v.OnView = func(View) { c.place() }
	c.ExtendBaseWidget(c)
	return c
}

// SetNames names the columns of the picture shown, which are of one width, with a gap of so many of its pixels between and
// around them; none takes the names away.
func (c *Columns) SetNames(names []string, gap int) {
	c.names, c.gap = names, gap
	c.Refresh()
}

// Names are the names on show, from left to right.
func (c *Columns) Names() (names []string) {
	for _, t := range c.texts {
		if t.Visible() {
			names = append(names, t.(*canvas.Text).Text) // there is nothing else
		}
	}
	return names
}

func (c *Columns) height() float32 {
	if len(c.names) == 0 {
		return 0
	}
	return fyne.MeasureText("X", theme.CaptionTextSize(), fyne.TextStyle{}).Height
}

// place puts each name over its column; one that finds no room there is shortened, or left out.
func (c *Columns) place() {
	w, h, scale := c.viewer.pixels()
	if c.viewer.img == nil || w <= 0 || h <= 0 {
		for _, t := range c.texts {
			t.Hide()
		}
		return
	}
	at := c.viewer.place(w, h)
	gap := float32(c.gap) * float32(c.viewer.zoom(w, h)/scale)
	width := (float32(at.Dx())/float32(scale) - gap) / float32(len(c.texts))
	top := max(0, float32(at.Min.Y)/float32(scale)) // right over the picture, or at the edge
	for i, t := range c.texts {
		text := t.(*canvas.Text) // there is nothing else
		left := float32(at.Min.X)/float32(scale) + gap/2 + float32(i)*width
		text.Text, text.TextSize, text.Color = shorten(c.names[i], width-2), theme.CaptionTextSize(), theme.Color(theme.ColorNameForeground)
		seen := text.Text != "" && left > -1 && left+width < float32(w)/float32(scale)+1
		text.Move(fyne.NewPos(left, top))
		text.Resize(fyne.NewSize(width, c.height()))
		text.Hidden = !seen
		text.Refresh()
	}
}

// shorten cuts a name until it has that width at most; "" is one of which not even a letter fits.
func shorten(name string, width float32) string {
	fits := func(s string) bool {
		return fyne.MeasureText(s, theme.CaptionTextSize(), fyne.TextStyle{}).Width <= width
	}
	if fits(name) {
		return name
	}
	r := []rune(name)
	for n := min(len(r)-1, int(width)); n > 0; n-- { // no letter is narrower than a unit
		if s := string(r[:n]) + "…"; fits(s) {
			return s
		}
	}
	return ""
}

// CreateRenderer builds the canvas objects.
func (c *Columns) CreateRenderer() fyne.WidgetRenderer { return &columnsRenderer{c} }

type columnsRenderer struct{ c *Columns }

// Layout leaves a line for the names above the picture.
func (r *columnsRenderer) Layout(size fyne.Size) {
	head := r.c.height()
	r.c.viewer.Move(fyne.NewPos(0, head))
	r.c.viewer.Resize(fyne.NewSize(size.Width, max(0, size.Height-head)))
	r.c.place()
}

// MinSize is that of the viewer with the names.
func (r *columnsRenderer) MinSize() fyne.Size {
	return r.c.viewer.MinSize().AddWidthHeight(0, r.c.height())
}

// Refresh makes as many texts as there are names.
func (r *columnsRenderer) Refresh() {
	c := r.c
	if len(c.texts) != len(c.names) {
		c.texts = nil
		for range c.names {
			c.texts = append(c.texts, &canvas.Text{Alignment: fyne.TextAlignCenter})
		}
	}
	r.Layout(c.Size())
	canvas.Refresh(c)
}

// Objects are the viewer and the names.
func (r *columnsRenderer) Objects() []fyne.CanvasObject {
	return append([]fyne.CanvasObject{r.c.viewer}, r.c.texts...)
}

// Destroy has nothing to free.
func (r *columnsRenderer) Destroy() {}
