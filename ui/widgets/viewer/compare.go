package viewer

import (
	"fmt"
	"image"
	"image/draw"
	"math"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/ui/kit"
)

// Mode is how two pictures are compared.
type Mode int

// The modes.
const (
	SideBySide Mode = iota
	Swap
	Difference
	Wipe // the first picture left of a line, the second right of it
)

// Compare shows two pictures under one zoom: side by side, one in place of the other, their difference, or parted by
// a line that can be moved.
type Compare struct {
	widget.BaseWidget
	mode         Mode
	a, b, single *Viewer
	images       [3]*image.RGBA // first, second, difference
	names        [2]string
	mean         float64
	second       bool
	gain         float64
	head         [2]*widget.Label
	text         *widget.Label
	swap         *widget.Button
	gainer       *kit.Slider
	gainRow      *fyne.Container
	wiper        *kit.Slider
	wipeRow      *fyne.Container
	wiped        *image.RGBA
	body         *fyne.Container
	root         *fyne.Container
	modes        *kit.Select
	amplified    *image.RGBA
}

// NewCompare returns an empty comparison.
func NewCompare() *Compare {
	c := &Compare{a: New(), b: New(), single: New(), gain: 1}
	c.a.OnView = func(v View) { c.b.SetView(v) }
	c.b.OnView = func(v View) { c.a.SetView(v) }
	c.single.OnTapped = c.Swap
	for i := range c.head {
		c.head[i] = widget.NewLabel("")
		c.head[i].Truncation = fyne.TextTruncateEllipsis
		c.head[i].Alignment = fyne.TextAlignCenter
	}
	c.text = widget.NewLabel("")
	c.text.Truncation = fyne.TextTruncateEllipsis
	c.swap = widget.NewButtonWithIcon(lang.L("Swap"), theme.ViewRefreshIcon(), c.Swap)
	c.gainer = kit.NewSlider(1, 16)
	c.gainer.Step = 1
	c.gainer.OnChanged = func(v float64) {
		c.gain = v
		c.showDifference()
	}
	c.gainRow = container.NewBorder(nil, nil, widget.NewLabel(lang.L("Amplify")), nil, container.NewGridWrap(fyne.NewSize(160, 34), c.gainer))
	c.wiper = kit.NewSlider(0, 1)
	c.wiper.Step, c.wiper.Value = 0.005, 0.5
	c.wiper.OnChanged = func(float64) { c.showWipe() }
	c.wipeRow = container.NewBorder(nil, nil, widget.NewLabel(lang.L("Part at")), nil, container.NewGridWrap(fyne.NewSize(220, 34), c.wiper))
	labels := []string{lang.L("Side by side"), lang.L("One over the other"), lang.L("Difference"), lang.L("Wipe")}
	c.modes = kit.NewSelect(labels, nil)
	c.modes.OnChanged = func(string) { c.SetMode(Mode(c.modes.SelectedIndex())) }
	c.body = container.NewStack()
	c.root = container.NewBorder(container.NewBorder(nil, nil, container.NewHBox(c.modes, c.swap), container.NewHBox(c.gainRow, c.wipeRow), c.text), nil, nil, nil, c.body)
	c.ExtendBaseWidget(c)
	c.modes.SetSelected(labels[0])
	return c
}

// CreateRenderer builds the canvas objects.
func (c *Compare) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(c.root) }

// Inside implements kit.Holder.
func (c *Compare) Inside() fyne.CanvasObject { return c.root }

// Set shows two pictures with their names.
func (c *Compare) Set(a, b *image.RGBA, nameA, nameB string) {
	c.images[0], c.images[1], c.images[2] = a, b, nil
	c.names = [2]string{nameA, nameB}
	c.second = false
	c.update()
}

// SetDifference adds the difference of the two and its mean, 0 … 1.
func (c *Compare) SetDifference(img *image.RGBA, mean float64) {
	c.images[2], c.mean = img, mean
	c.update()
}

// SetMode changes the way of comparing.
func (c *Compare) SetMode(m Mode) {
	c.mode = m
	c.update()
}

// Swap shows the other picture, or exchanges the two sides.
func (c *Compare) Swap() {
	switch c.mode {
	case SideBySide, Wipe:
		c.images[0], c.images[1] = c.images[1], c.images[0]
		c.names[0], c.names[1] = c.names[1], c.names[0]
	case Swap:
		c.second = !c.second
	case Difference:
	}
	c.update()
}

// Fit fits the pictures to the window.
func (c *Compare) Fit() {
	c.a.Fit()
	c.b.Fit()
	c.single.Fit()
}

func (c *Compare) update() {
	c.text.SetText("")
	kit.Show(c.mode != Difference, c.swap)
	kit.Show(c.mode == Difference, c.gainRow)
	kit.Show(c.mode == Wipe, c.wipeRow)
	switch c.mode {
	case SideBySide:
		c.a.SetImage(c.images[0])
		c.b.SetImage(c.images[1])
		c.head[0].SetText(c.names[0])
		c.head[1].SetText(c.names[1])
		c.body.Objects = []fyne.CanvasObject{container.NewGridWithColumns(2,
			container.NewBorder(c.head[0], nil, nil, nil, c.a), container.NewBorder(c.head[1], nil, nil, nil, c.b))}
	case Swap:
		i := 0
		if c.second {
			i = 1
		}
		c.single.SetImage(c.images[i])
		c.head[0].SetText(c.names[i])
		c.body.Objects = []fyne.CanvasObject{container.NewBorder(c.head[0], nil, nil, nil, c.single)}
	case Wipe:
		c.showWipe()
		if !c.sameSize() {
			c.text.SetText(lang.L("Pictures of different sizes cannot be laid over each other."))
		}
		c.head[0].SetText(c.names[0] + " | " + c.names[1])
		c.body.Objects = []fyne.CanvasObject{container.NewBorder(c.head[0], nil, nil, nil, c.single)}
	case Difference:
		c.showDifference()
		if c.images[2] != nil {
			c.text.SetText(lang.L("Mean difference {{.Percent}} %", map[string]any{"Percent": fmt.Sprintf("%.2f", 100*c.mean)}))
		} else {
			c.text.SetText(lang.L("Pictures of different sizes cannot be subtracted."))
		}
		c.head[0].SetText("|" + c.names[0] + " − " + c.names[1] + "|")
		c.body.Objects = []fyne.CanvasObject{container.NewBorder(c.head[0], nil, nil, nil, c.single)}
	}
	c.body.Refresh()
}

func (c *Compare) sameSize() bool {
	a, b := c.images[0], c.images[1]
	return a != nil && b != nil && a.Rect.Size() == b.Rect.Size()
}

// showWipe shows the first picture up to the line and the second from there on.
func (c *Compare) showWipe() {
	if !c.sameSize() {
		c.single.SetImage(nil)
		return
	}
	a, b := c.images[0], c.images[1]
	w, h := a.Rect.Dx(), a.Rect.Dy()
	c.wiped = image.NewRGBA(image.Rect(0, 0, w, h))
	at := int(math.Round(c.wiper.Value * float64(w)))
	draw.Draw(c.wiped, image.Rect(0, 0, at, h), a, a.Rect.Min, draw.Src)
	draw.Draw(c.wiped, image.Rect(at, 0, w, h), b, b.Rect.Min.Add(image.Pt(at, 0)), draw.Src)
	c.single.SetImage(c.wiped)
}

// showDifference shows the difference times the gain. The picture is small (a sample), so this is quick.
func (c *Compare) showDifference() {
	d := c.images[2]
	if d == nil || c.gain == 1 {
		c.single.SetImage(d)
		return
	}
	if c.amplified == nil || c.amplified.Rect != d.Rect {
		c.amplified = image.NewRGBA(d.Rect)
	}
	for i, p := range d.Pix {
		if i%4 == 3 {
			c.amplified.Pix[i] = p
		} else {
			c.amplified.Pix[i] = uint8(min(float64(p)*c.gain, 255))
		}
	}
	c.single.SetImage(c.amplified)
}
