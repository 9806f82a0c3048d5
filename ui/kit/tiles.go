package kit

import "fyne.io/fyne/v2"

// Tiles lays objects in rows, each at least so wide and exactly so high, with a gap between them. stretch lets them share
// what is left of a row.
func Tiles(width, height, gap float32, stretch bool, objs ...fyne.CanvasObject) *fyne.Container {
	return &fyne.Container{Layout: &tilesLayout{width: width, height: height, gap: gap, stretch: stretch}, Objects: objs}
}

type tilesLayout struct {
	width, height, gap float32
	stretch            bool
	rows               int
}

func (l *tilesLayout) MinSize(objs []fyne.CanvasObject) fyne.Size {
	n := 0
	for _, o := range objs {
		if o.Visible() {
			n++
		}
	}
	if n == 0 {
		return fyne.Size{}
	}
	rows := float32(max(1, l.rows))
	return fyne.NewSize(l.width, rows*l.height+(rows-1)*l.gap)
}

func (l *tilesLayout) Layout(objs []fyne.CanvasObject, size fyne.Size) {
	cols := max(1, int((size.Width+l.gap)/(l.width+l.gap)))
	w := l.width
	if l.stretch {
		w = (size.Width+l.gap)/float32(cols) - l.gap
	}
	i := 0
	for _, o := range objs {
		if !o.Visible() {
			continue
		}
		o.Resize(fyne.NewSize(w, l.height))
		o.Move(fyne.NewPos(float32(i%cols)*(w+l.gap), float32(i/cols)*(l.height+l.gap)))
		i++
	}
	l.rows = (i + cols - 1) / cols
}
