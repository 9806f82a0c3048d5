package ui

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/ui/kit"
	"unnoise/ui/page"
	uitheme "unnoise/ui/theme"
)

const (
	railWide   = 148
	railNarrow = 72
	itemWide   = 38
	itemNarrow = 50
)

// railItem is one page's place in the rail.
type railItem struct {
	widget.BaseWidget
	page     page.Page
	icon     *kit.Icon
	text     *canvas.Text
	surface  *kit.Surface
	tapped   func()
	selected bool
	hovered  bool
	narrow   bool
}

func newRailItem(p page.Page, tapped func()) *railItem {
	it := &railItem{page: p, tapped: tapped}
	it.icon = kit.NewIcon(p.Icon())
	it.text = canvas.NewText(p.Title(), nil)
	it.surface = kit.NewSurface(uitheme.ColorNameRail, "", 8, nil)
	it.ExtendBaseWidget(it)
	return it
}

// Tapped implements fyne.Tappable.
func (it *railItem) Tapped(*fyne.PointEvent) { it.tapped() }

// MouseIn implements desktop.Hoverable.
func (it *railItem) MouseIn(*desktop.MouseEvent) { it.hovered = true; it.Refresh() }

// MouseMoved implements desktop.Hoverable.
func (it *railItem) MouseMoved(*desktop.MouseEvent) {}

// MouseOut implements desktop.Hoverable.
func (it *railItem) MouseOut() { it.hovered = false; it.Refresh() }

// CreateRenderer implements fyne.Widget.
func (it *railItem) CreateRenderer() fyne.WidgetRenderer {
	r := &railItemRenderer{it: it}
	r.style()
	return r
}

type railItemRenderer struct{ it *railItem }

func (r *railItemRenderer) Destroy() {}

func (r *railItemRenderer) Objects() []fyne.CanvasObject {
	return []fyne.CanvasObject{r.it.surface, r.it.icon, r.it.text}
}

func (r *railItemRenderer) MinSize() fyne.Size {
	if r.it.narrow {
		return fyne.NewSize(railNarrow-12, itemNarrow)
	}
	return fyne.NewSize(railWide-12, itemWide)
}

func (r *railItemRenderer) Layout(size fyne.Size) {
	it := r.it
	it.surface.Resize(size)
	ts := it.text.MinSize()
	if it.narrow {
		const icon = 20
		it.icon.Resize(fyne.NewSize(icon, icon))
		it.icon.Move(fyne.NewPos((size.Width-icon)/2, 7))
		it.text.Resize(ts)
		it.text.Move(fyne.NewPos((size.Width-ts.Width)/2, size.Height-ts.Height-4))
		return
	}
	const icon = 20
	it.icon.Resize(fyne.NewSize(icon, icon))
	it.icon.Move(fyne.NewPos(11, (size.Height-icon)/2))
	it.text.Resize(ts)
	it.text.Move(fyne.NewPos(42, (size.Height-ts.Height)/2))
}

func (r *railItemRenderer) style() {
	it := r.it
	fill := uitheme.ColorNameRail
	name := uitheme.ColorNameMuted
	icon := theme.ColorNameForeground
	switch {
	case it.selected:
		fill, name, icon = uitheme.ColorNameActive, theme.ColorNameForeground, theme.ColorNamePrimary
	case it.hovered:
		fill, name = theme.ColorNameHover, theme.ColorNameForeground
	}
	it.surface.SetFill(fill, "")
	it.text.Color = uitheme.Color(name)
	it.text.TextStyle.Bold = it.selected
	it.text.TextSize = theme.TextSize()
	if it.narrow {
		it.text.TextSize = 10
		it.text.TextStyle.Bold = false
	}
	if tr, ok := it.page.Icon().(*theme.ThemedResource); ok {
		t := *tr
		t.ColorName = icon
		it.icon.SetResource(&t)
	}
}

func (r *railItemRenderer) Refresh() {
	r.style()
	r.Layout(r.it.Size())
	r.it.surface.Refresh()
	r.it.text.Refresh()
}

// rail is the column of pages at the left. It is narrow where the window is.
type rail struct {
	items   []*railItem
	object  fyne.CanvasObject
	column  *fyne.Container
	surface *kit.Surface
	narrow  bool
}

func newRail(pages []page.Page, open func(page.ID)) *rail {
	r := &rail{column: container.NewVBox()}
	for _, p := range pages {
		id := p.ID()
		it := newRailItem(p, func() { open(id) })
		r.items = append(r.items, it)
		r.column.Add(it)
	}
	scroll := container.NewVScroll(kit.Pad(10, 8, 6, 6, r.column))
	r.surface = kit.NewSurface(uitheme.ColorNameRail, "", 0, scroll)
	r.object = r.surface
	return r
}

// setNarrow changes the rail's form and says whether it did.
func (r *rail) setNarrow(narrow bool) bool {
	if r.narrow == narrow {
		return false
	}
	r.narrow = narrow
	for _, it := range r.items {
		it.narrow = narrow
		it.Refresh()
	}
	r.column.Refresh()
	return true
}

func (r *rail) width() float32 {
	if r.narrow {
		return railNarrow
	}
	return railWide
}

func (r *rail) selectPage(id page.ID) {
	for _, it := range r.items {
		if on := it.page.ID() == id; on != it.selected {
			it.selected = on
			it.Refresh()
		}
	}
}
