package form

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"
)

// Toolbars puts rows of controls over a body that takes the rest. Each row is a list whose first object takes the room that is
// left; where a row has no room, its objects go on to further lines.
func Toolbars(body fyne.CanvasObject, rows ...[]fyne.CanvasObject) *fyne.Container {
	l := &toolbars{}
	var objs []fyne.CanvasObject
	for _, r := range rows {
		l.rows = append(l.rows, len(r))
		objs = append(objs, r...)
	}
	return container.New(l, append(objs, body)...)
}

type toolbars struct{ rows []int }

// leastFirst is how narrow the first object of a row may become before the others move to the next line.
const leastFirst = 150

func (l *toolbars) MinSize(objs []fyne.CanvasObject) fyne.Size {
	body := objs[len(objs)-1].MinSize()
	w, h := max(body.Width, leastFirst), body.Height
	for _, o := range objs[:len(objs)-1] {
		if o.Visible() {
			w = max(w, min(o.MinSize().Width, 260))
		}
	}
	i := 0
	for _, n := range l.rows {
		row := float32(0)
		for _, o := range objs[i : i+n] {
			row = max(row, o.MinSize().Height)
		}
		h += row
		i += n
	}
	return fyne.NewSize(w, h)
}

func (l *toolbars) Layout(objs []fyne.CanvasObject, size fyne.Size) {
	pad := theme.Padding()
	y := float32(0)
	i := 0
	for _, n := range l.rows {
		y += place(objs[i:i+n], y, size.Width, pad) + pad
		i += n
	}
	body := objs[len(objs)-1]
	body.Move(fyne.NewPos(0, y))
	body.Resize(fyne.NewSize(size.Width, max(size.Height-y, 0)))
}

// place lays one row out at height y and returns how high it became.
func place(row []fyne.CanvasObject, y, width, pad float32) float32 {
	h, rest := float32(0), float32(0)
	for i, o := range row {
		if !o.Visible() {
			continue
		}
		h = max(h, o.MinSize().Height)
		if i > 0 {
			rest += o.MinSize().Width + pad
		}
	}
	put := func(o fyne.CanvasObject, x, w float32, line int) {
		oh := o.MinSize().Height
		o.Move(fyne.NewPos(x, y+float32(line)*(h+pad)+(h-oh)/2))
		o.Resize(fyne.NewSize(w, oh))
	}
	if width >= rest+leastFirst { // all on one line, the first as wide as can be
		put(row[0], 0, width-rest, 0)
		x := width - rest + pad
		for _, o := range row[1:] {
			if o.Visible() {
				put(o, x, o.MinSize().Width, 0)
				x += o.MinSize().Width + pad
			}
		}
		return h
	}
	put(row[0], 0, width, 0)
	x, line := float32(0), 1
	for _, o := range row[1:] {
		if !o.Visible() {
			continue
		}
		w := min(o.MinSize().Width, width)
		if x > 0 && x+w > width {
			x, line = 0, line+1
		}
		put(o, x, w, line)
		x += w + pad
	}
	return float32(line+1)*(h+pad) - pad
}
