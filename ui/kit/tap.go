package kit

import (
	"image"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/ui/icons"
	uitheme "unnoise/ui/theme"
)

// TapCard is a card that can be clicked.
type TapCard struct {
	widget.BaseWidget
	surface *Surface
	tapped  func()

	selected, hovered, focused bool
}

// NewTapCard puts content on a card that calls tapped.
func NewTapCard(content fyne.CanvasObject, tapped func()) *TapCard {
	c := &TapCard{tapped: tapped}
	c.surface = NewSurface(uitheme.ColorNameCard, uitheme.ColorNameCardBorder, 10, Pad(10, 8, 10, 10, content))
	c.ExtendBaseWidget(c)
	return c
}

// CreateRenderer implements fyne.Widget.
func (c *TapCard) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(c.surface) }

// Inside implements Holder.
func (c *TapCard) Inside() fyne.CanvasObject { return c.surface }

// Tapped implements fyne.Tappable.
func (c *TapCard) Tapped(*fyne.PointEvent) {
	if cv := fyne.CurrentApp().Driver().CanvasForObject(c); cv != nil {
		cv.Unfocus() // what was typed in is left, as by a click beside it
	}
	c.tap()
}

func (c *TapCard) tap() {
	if c.tapped != nil {
		c.tapped()
	}
}

// FocusGained implements fyne.Focusable.
func (c *TapCard) FocusGained() {
	c.focused = true
	c.style()
}

// FocusLost implements fyne.Focusable.
func (c *TapCard) FocusLost() {
	c.focused = false
	c.style()
}

// TypedKey implements fyne.Focusable: Space and Enter are a click.
func (c *TapCard) TypedKey(ev *fyne.KeyEvent) {
	switch ev.Name {
	case fyne.KeySpace, fyne.KeyReturn, fyne.KeyEnter:
		c.tap()
	default:
		handOnKey(c, ev)
	}
}

// TypedRune implements fyne.Focusable.
func (c *TapCard) TypedRune(r rune) {
	if r != ' ' {
		handOnRune(c, r)
	}
}

func (c *TapCard) style() {
	fill, border := uitheme.ColorNameCard, uitheme.ColorNameCardBorder
	if c.selected {
		fill = uitheme.ColorNameActive
	}
	if c.selected || c.hovered || c.focused {
		border = theme.ColorNamePrimary
	}
	c.surface.width = 1
	if c.focused {
		c.surface.width = 3
	}
	c.surface.SetFill(fill, border)
	c.surface.Refresh()
}

// SetSelected marks the card as chosen.
func (c *TapCard) SetSelected(on bool) {
	if c.selected != on {
		c.selected = on
		c.style()
	}
}

// MouseIn implements desktop.Hoverable.
func (c *TapCard) MouseIn(*desktop.MouseEvent) {
	c.hovered = true
	c.style()
}

// MouseMoved implements desktop.Hoverable.
func (c *TapCard) MouseMoved(*desktop.MouseEvent) {}

// MouseOut implements desktop.Hoverable.
func (c *TapCard) MouseOut() {
	c.hovered = false
	c.style()
}

// Cursor implements desktop.Cursorable.
func (c *TapCard) Cursor() desktop.Cursor { return desktop.PointerCursor }

// Picture shows an image that was decoded elsewhere, on a well of the theme, keeping its aspect. Pictures that are shown
// larger than they are keep crisp pixels.
type Picture struct {
	widget.BaseWidget
	img   *canvas.Image
	blank *fyne.Container // a sign for no picture
	box   *fyne.Container
	min   fyne.Size
}

// NewPicture makes an empty picture with a smallest size.
func NewPicture(w, h float32) *Picture {
	p := &Picture{img: &canvas.Image{FillMode: canvas.ImageFillContain, ScaleMode: canvas.ImageScaleFastest}, min: fyne.NewSize(w, h)}
	p.blank = container.NewCenter(container.NewGridWrap(fyne.NewSize(28, 28), NewIcon(theme.NewDisabledResource(icons.Datasets))))
	p.box = container.NewStack(NewSurface(uitheme.ColorNameWell, "", 6, nil), p.blank, Pad(4, 4, 4, 4, p.img))
	p.ExtendBaseWidget(p)
	return p
}

// NewCell is a picture that is merely empty while there is none: a place that will be filled.
func NewCell(w, h float32) *Picture {
	p := NewPicture(w, h)
	p.blank.Objects = nil
	return p
}

// Set shows an image; nil empties the picture.
func (p *Picture) Set(img image.Image) {
	if rgba, ok := img.(*image.RGBA); ok && rgba == nil { // a picture that could not be made
		img = nil
	}
	p.img.Image = img
	if img == nil {
		Show(true, p.blank)
	} else {
		Show(false, p.blank)
		p.img.ScaleMode = canvas.ImageScaleFastest
		if b := img.Bounds(); float32(b.Dx()) < p.min.Width && float32(b.Dy()) < p.min.Height {
			p.img.ScaleMode = canvas.ImageScalePixels
		}
	}
	p.img.Refresh()
}

// Image is what the picture shows, or nil.
func (p *Picture) Image() image.Image { return p.img.Image }

// MinSize implements fyne.Widget.
func (p *Picture) MinSize() fyne.Size {
	p.ExtendBaseWidget(p)
	return p.min
}

// Inside implements Holder.
func (p *Picture) Inside() fyne.CanvasObject { return p.box }

// CreateRenderer implements fyne.Widget.
func (p *Picture) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(p.box) }
