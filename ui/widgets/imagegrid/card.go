package imagegrid

import (
	"image"
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/theme"

	"unnoise/ui/icons"
	uitheme "unnoise/ui/theme"
)

// card is one cell. It is reused for other items as the grid scrolls.
type card struct {
	frame  *canvas.Rectangle // selection and cursor
	well   *canvas.Rectangle // while there is no picture
	img    *canvas.Image
	broken *canvas.Image
	star   *canvas.Image
	starBg *canvas.Circle
	label  *canvas.Text
	mark   *canvas.Text
	markBg *canvas.Rectangle

	pos      fyne.Position // of the picture's square
	side     float32
	selected bool
	current  bool
	failed   bool
	covered  bool // the picture is opaque and as large as the well
	ticket   int
	cancel   func()
	item     Item
	labelled bool
}

func newCard() *card {
	c := &card{
		frame: canvas.NewRectangle(color.Transparent), well: canvas.NewRectangle(color.Transparent),
		img: &canvas.Image{FillMode: canvas.ImageFillStretch, ScaleMode: canvas.ImageScaleFastest},
	}
	c.well.CornerRadius = 3
	return c
}

// drop forgets the item: its picture, and the request for it.
func (c *card) drop() {
	if c.cancel != nil {
		c.cancel()
		c.cancel = nil
	}
	c.ticket++
	c.failed, c.covered, c.well.Hidden = false, false, false
	c.img.Image = nil
	c.img.Hidden = true
}

func (c *card) place(cell fyne.Position, side float32, size fyne.Size, pad float32) {
	c.pos, c.side = cell.AddXY((size.Width-side)/2, pad/2), side
	m := pad/2 - 0.5
	c.frame.Move(c.pos.AddXY(-m, -m))
	c.frame.Resize(fyne.NewSize(side+2*m, size.Height-pad+2*m))
	c.frame.CornerRadius = min(6, m+2)
	c.well.Move(c.pos)
	c.well.Resize(fyne.NewSquareSize(side))
}

func (c *card) dress(it Item, labelled bool) {
	c.item, c.labelled = it, labelled
	c.well.FillColor = uitheme.Color(uitheme.ColorNameWell)
	c.img.Translucency = 0
	if it.Dim {
		c.img.Translucency = 0.65
	}
	c.hideWell()
	if it.Star {
		if c.star == nil {
			c.star = canvas.NewImageFromResource(theme.NewColoredResource(icons.Star, theme.ColorNameWarning))
			c.starBg = canvas.NewCircle(color.Transparent)
		}
		bg := color.NRGBAModel.Convert(theme.Color(theme.ColorNameBackground)).(color.NRGBA)
		bg.A = 200
		c.starBg.FillColor = bg
		s := min(max(c.side/5, 10), 22)
		at := c.pos.AddXY(c.side-s-2, 2)
		c.starBg.Move(at)
		c.starBg.Resize(fyne.NewSquareSize(s))
		c.star.Move(at.AddXY(s*0.12, s*0.1))
		c.star.Resize(fyne.NewSquareSize(s * 0.76))
	}
	if labelled {
		if c.label == nil {
			c.label = canvas.NewText("", color.Transparent)
			c.label.Alignment = fyne.TextAlignCenter
		}
		c.label.Color = uitheme.Color(uitheme.ColorNameMuted)
		c.label.TextSize = theme.CaptionTextSize()
		c.label.Text = shorten(it.Label, c.side, c.label.TextSize)
		c.label.Move(c.pos.AddXY(0, c.side+1))
		c.label.Resize(fyne.NewSize(c.side, c.label.TextSize*1.4))
	}
	if it.Mark != "" && c.side >= 64 {
		if c.mark == nil {
			c.mark, c.markBg = canvas.NewText("", color.Transparent), canvas.NewRectangle(color.Transparent)
			c.markBg.CornerRadius = 3
		}
		c.mark.Text, c.mark.TextSize = it.Mark, theme.CaptionTextSize()-1
		c.mark.Color = theme.Color(theme.ColorNameForegroundOnPrimary)
		c.markBg.FillColor = theme.Color(theme.ColorNamePrimary)
		m := c.mark.MinSize()
		c.markBg.Move(c.pos.AddXY(2, 2))
		c.markBg.Resize(m.AddWidthHeight(8, 0))
		c.mark.Move(c.pos.AddXY(6, 2))
		c.mark.Resize(m)
	}
}

// shorten cuts the middle out of a text that is too wide.
func shorten(s string, width, size float32) string {
	if fyne.MeasureText(s, size, fyne.TextStyle{}).Width <= width {
		return s
	}
	r := []rune(s)
	lo, hi := 0, len(r) // the most runes that fit
	for lo < hi {
		n := (lo + hi + 1) / 2
		if fyne.MeasureText(cut(r, n), size, fyne.TextStyle{}).Width <= width {
			lo = n
		} else {
			hi = n - 1
		}
	}
	return cut(r, lo)
}

func cut(r []rune, n int) string {
	head := (n + 1) / 2
	return string(r[:head]) + "…" + string(r[len(r)-(n-head):])
}

func (c *card) setSelected(selected, current bool) {
	c.selected, c.current = selected, current
	c.frame.FillColor, c.frame.StrokeWidth = color.Transparent, 0
	if selected {
		c.frame.FillColor = theme.Color(theme.ColorNamePrimary)
	}
	if current {
		c.frame.StrokeColor, c.frame.StrokeWidth = theme.Color(theme.ColorNameForeground), 1.5
	}
}

// show puts the picture up: pixel for pixel when it is no larger than the cell, whole multiples when it is much smaller.
func (c *card) show(img *image.RGBA, scale float32) {
	b := img.Bounds()
	w, h := float32(b.Dx()), float32(b.Dy())
	room := c.side * scale
	f := room / max(w, h)
	c.img.ScaleMode = canvas.ImageScaleFastest
	if f >= 1 {
		f = float32(int(f + 1e-3))
		c.img.ScaleMode = canvas.ImageScalePixels
	}
	w, h = w*f/scale, h*f/scale
	snap := func(v float32) float32 { return float32(int(v*scale+0.5)) / scale }
	c.img.Image = img
	c.img.Hidden = false
	c.img.Move(fyne.NewPos(snap(c.pos.X+(c.side-w)/2), snap(c.pos.Y+(c.side-h)/2)))
	c.img.Resize(fyne.NewSize(w, h))
	c.img.Refresh()
	c.covered = w > c.side-1 && h > c.side-1 && img.Opaque()
	c.hideWell()
}

// hideWell spares the well that cannot be seen: without a graphics card, rounded rectangles are what costs most to paint.
func (c *card) hideWell() { c.well.Hidden = c.covered && !c.item.Dim }

// fail marks a picture that could not be made.
func (c *card) fail() {
	c.failed = true
	if c.broken == nil {
		c.broken = canvas.NewImageFromResource(theme.NewDisabledResource(theme.BrokenImageIcon()))
	}
	s := min(c.side/2, 32)
	c.img.Image, c.img.Hidden = nil, true
	c.broken.Move(c.pos.AddXY((c.side-s)/2, (c.side-s)/2))
	c.broken.Resize(fyne.NewSquareSize(s))
	canvas.Refresh(c.well)
}

// objects appends what there is to draw.
func (c *card) objects(out []fyne.CanvasObject) []fyne.CanvasObject {
	if c.selected || c.current {
		out = append(out, c.frame)
	}
	out = append(out, c.well)
	if c.failed {
		return append(out, c.broken)
	}
	out = append(out, c.img)
	if c.item.Star {
		out = append(out, c.starBg, c.star)
	}
	if c.item.Mark != "" && c.side >= 64 {
		out = append(out, c.markBg, c.mark)
	}
	if c.labelled {
		out = append(out, c.label)
	}
	return out
}
