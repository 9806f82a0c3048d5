package form

import (
	"slices"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/ui/kit"
)

// Toolbars puts rows of controls over a body that takes the rest. Each row is a list whose first object takes the room that is
// left; where a row has no room, its objects go on to further lines, or, if the row ends with a More, into its menu.
func Toolbars(body fyne.CanvasObject, rows ...[]fyne.CanvasObject) *fyne.Container {
	l := &toolbars{}
	var objs []fyne.CanvasObject
	for _, r := range rows {
		l.rows = append(l.rows, len(r))
		objs = append(objs, r...)
	}
	return container.New(l, append(objs, body)...)
}

// More is a button at the end of a row of Toolbars, which stays on one line: what has no room is found in its menu. It
// shows only where it is needed.
type More struct {
	widget.Button
	// Items says what the menu holds for an object that is no button and no check.
	Items map[fyne.CanvasObject]func() []*fyne.MenuItem
	over  []fyne.CanvasObject // what has no room
}

// NewMore makes a More.
func NewMore() *More {
	m := &More{Items: map[fyne.CanvasObject]func() []*fyne.MenuItem{}}
	m.Icon, m.Importance = theme.MoreVerticalIcon(), widget.LowImportance
	m.OnTapped = func() {
		if c := fyne.CurrentApp().Driver().CanvasForObject(m); c != nil {
			menu := widget.NewPopUpMenu(m.menu(), c)
			menu.ShowAtRelativePosition(fyne.NewPos(m.Size().Width-menu.MinSize().Width, m.Size().Height), m)
		}
	}
	m.Hidden = true
	m.ExtendBaseWidget(m)
	return m
}

func (m *More) menu() *fyne.Menu {
	menu := fyne.NewMenu("")
	for _, o := range m.over {
		switch o := o.(type) {
		case *widget.Button:
			item := fyne.NewMenuItemWithIcon(o.Text, o.Icon, o.OnTapped)
			item.Disabled = o.Disabled()
			menu.Items = append(menu.Items, item)
		case *kit.Check:
			item := fyne.NewMenuItem(o.Text, func() { o.SetChecked(!o.Checked) })
			item.Checked, item.Disabled = o.Checked, o.Disabled()
			menu.Items = append(menu.Items, item)
		default:
			if items, ok := m.Items[o]; ok {
				menu.Items = append(menu.Items, items()...)
			}
		}
	}
	return menu
}

// fit hides those of the row that have no room beside its first, and shows the others. One that its page hides is left alone.
func (m *More) fit(row []fyne.CanvasObject, width, pad float32) {
	var tools []fyne.CanvasObject
	whole := float32(leastFirst)
	for _, o := range row[1 : len(row)-1] {
		if o.Visible() || slices.Contains(m.over, o) {
			tools = append(tools, o)
			whole += o.MinSize().Width + pad
		}
	}
	n := len(tools)
	if whole > width {
		left := width - leastFirst - m.MinSize().Width - pad
		for n = 0; n < len(tools); n++ {
			if left -= tools[n].MinSize().Width + pad; left < 0 {
				break
			}
		}
	}
	if slices.Equal(tools[n:], m.over) {
		return
	}
	m.over = slices.Clone(tools[n:])
	for i, o := range tools {
		show(o, i < n)
	}
	show(m, n < len(tools))
}

func show(o fyne.CanvasObject, on bool) {
	if on != o.Visible() {
		if on {
			o.Show()
		} else {
			o.Hide()
		}
	}
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
	m, one := row[len(row)-1].(*More)
	if one {
		m.fit(row, width, pad)
	}
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
	if one || width >= rest+leastFirst { // all on one line, the first as wide as can be
		put(row[0], 0, max(width-rest, 0), 0)
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
