package kit

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
)

// Sections scrolls the cards of a page: in one column, or in as many as there is room for where the window is wide. The cards go
// from top to bottom and then to the next column, so that they stay in their order.
func Sections(objs ...fyne.CanvasObject) *container.Scroll {
	body := container.New(&columnsLayout{}, objs...)
	return container.NewVScroll(Pad(0, 24, 0, 12, body))
}

const (
	sectionLeast = 560 // width of a column where there are several
	sectionMost  = 900
	sectionGap   = 12
)

// columnsLayout fills columns of equal width and about equal height.
type columnsLayout struct{ width float32 }

// MinSize implements fyne.Layout; its height is that at the width of the last layout.
func (l *columnsLayout) MinSize(objs []fyne.CanvasObject) fyne.Size {
	w := float32(0)
	for _, o := range objs {
		if o.Visible() {
			w = max(w, o.MinSize().Width)
		}
	}
	if l.width == 0 {
		return fyne.NewSize(w, l.arrange(objs, sectionMost, false))
	}
	return fyne.NewSize(w, l.arrange(objs, l.width, false))
}

// Layout implements fyne.Layout.
func (l *columnsLayout) Layout(objs []fyne.CanvasObject, size fyne.Size) {
	l.width = size.Width
	l.arrange(objs, size.Width, true)
}

// arrange places the objects, or only reckons, and returns the height that they take.
func (l *columnsLayout) arrange(objs []fyne.CanvasObject, width float32, place bool) float32 {
	cols := max(1, int((width+sectionGap)/(sectionLeast+sectionGap)))
	w := min((width+sectionGap)/float32(cols)-sectionGap, sectionMost)
	var shown []fyne.CanvasObject
	whole := float32(0)
	for _, o := range objs {
		if !o.Visible() {
			continue
		}
		if place {
			o.Resize(fyne.NewSize(w, o.MinSize().Height)) // the width decides the height of wrapped text
		}
		shown = append(shown, o)
		whole += o.MinSize().Height + sectionGap
	}
	x, y, tallest := float32(0), float32(0), float32(0)
	col := 1
	for _, o := range shown {
		h := o.MinSize().Height
		if y > 0 && col < cols && y+h/2 > whole/float32(cols) {
			x, y = x+w+sectionGap, 0
			col++
		}
		if place {
			o.Resize(fyne.NewSize(w, h))
			o.Move(fyne.NewPos(x, y))
		}
		y += h + sectionGap
		tallest = max(tallest, y-sectionGap)
	}
	return tallest
}
