// Package imagegrid shows any number of pictures as a scrolled grid that keeps only the visible ones alive.
package imagegrid

import (
	"image"
	"image/color"
	"math"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/ui/kit"
)

// Item is what a cell shows beside its picture.
type Item struct {
	Star  bool
	Label string // beneath the picture, when labels are on
	Dim   bool   // excluded, deleted …
	Mark  string // a short badge at the top left, such as "held out"
}

// Source is the list behind a grid. Its methods are called on the UI thread and must be quick.
type Source[K comparable] interface {
	Len() int
	Key(i int) K // names item i for as long as it exists, wherever it moves
	Item(i int) Item
}

// Thumbs makes the pictures. Cached and cancel are quick; done is called on another goroutine, once or never.
type Thumbs[K comparable] interface {
	Cached(key K, px int) *image.RGBA
	Request(key K, px int, done func(*image.RGBA, error)) (cancel func())
}

// Sizes are the zoom steps: the side of a picture's square in Fyne units.
var Sizes = []float32{32, 48, 64, 96, 128, 192, 256, 384, 512}

// Grid is the widget. All methods and callbacks belong to the UI thread.
type Grid[K comparable] struct {
	widget.BaseWidget

	// OnSelect is called after the selection changed, OnOpen for a double click or Enter on item i.
	OnSelect func()
	OnOpen   func(i int)
	// OnDelete, OnStar and OnInfo answer Del, '.' and 'I'.
	OnDelete, OnStar, OnInfo func()
	// Menu makes the context menu of the selection; nil shows none.
	Menu func() *fyne.Menu
	// OnZoom is called after Ctrl and the wheel changed the zoom.
	OnZoom func(step int)
	// Labels shows each item's label beneath it.
	Labels bool
	// Post hands a function to the UI thread: fyne.Do, save in tests.
	Post func(func())

	src      Source[K]
	thumbs   Thumbs[K]
	step     int
	selected map[K]struct{}
	cursor   int // the item the arrow keys start from; -1 for none
	anchor   int // where a Shift selection begins
	shift    bool
	focused  bool

	scroll  *container.Scroll
	content *content[K]
	cards   map[int]*card
	pool    []*card
	cols    int
	cell    fyne.Size
	pad     float32
	wide    float32 // the width the cards in view were placed for
	first   int     // the shown items are [first, last)
	last    int
	look    kit.Look
	epoch   int // counts reloads, so that late pictures of an older list are dropped
}

// New makes a grid of src whose pictures come from thumbs. src may be nil until SetSource.
func New[K comparable](src Source[K], thumbs Thumbs[K]) *Grid[K] {
	g := &Grid[K]{Post: fyne.Do, src: src, thumbs: thumbs, step: 4, selected: map[K]struct{}{}, cursor: -1, anchor: -1, cards: map[int]*card{}, cols: 1, look: kit.LookNow()}
	g.content = &content[K]{g: g, spark: canvas.NewRectangle(color.Transparent)}
	g.content.ExtendBaseWidget(g.content)
	g.scroll = container.NewVScroll(g.content)
	g.scroll.OnScrolled = func(fyne.Position) { g.update() }
	g.ExtendBaseWidget(g)
	return g
}

// CreateRenderer builds the canvas objects.
func (g *Grid[K]) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(g.scroll) }

// Refresh implements fyne.Widget: another theme has other colours.
func (g *Grid[K]) Refresh() {
	if g.look.Changed() {
		for i, c := range g.cards {
			g.dress(i, c)
		}
		g.content.rebuild()
	}
	g.BaseWidget.Refresh()
}

// MinSize leaves room for a few pictures.
func (g *Grid[K]) MinSize() fyne.Size {
	g.ExtendBaseWidget(g)
	return fyne.NewSize(120, 100)
}

// Resize lays the cells out anew.
func (g *Grid[K]) Resize(s fyne.Size) {
	g.BaseWidget.Resize(s)
	g.relayout()
}

// SetSource replaces the list. What is still in it stays selected; the view goes back to the top.
func (g *Grid[K]) SetSource(src Source[K]) {
	g.src = src
	g.cursor, g.anchor = -1, -1
	g.scroll.Offset = fyne.NewPos(0, 0)
	g.Reload()
}

// Reload reads the list again, keeping selection and place.
func (g *Grid[K]) Reload() {
	g.epoch++
	for i, c := range g.cards {
		g.release(i, c)
	}
	if len(g.selected) > 0 {
		kept := make(map[K]struct{}, len(g.selected))
		for i := range g.Len() {
			if k := g.src.Key(i); g.has(k) {
				kept[k] = struct{}{}
			}
		}
		changed := len(kept) != len(g.selected)
		g.selected = kept
		if changed && g.OnSelect != nil {
			g.OnSelect()
		}
	}
	if n := g.Len(); g.cursor >= n {
		g.cursor = n - 1
	}
	g.anchor = min(g.anchor, g.cursor)
	g.relayout()
}

// Len is the number of items.
func (g *Grid[K]) Len() int {
	if g.src == nil {
		return 0
	}
	return g.src.Len()
}

// UpdateItem shows the present Item of the given key, if it is in view: its star, label and so on.
func (g *Grid[K]) UpdateItem(key K) {
	for i, c := range g.cards {
		if g.src.Key(i) == key {
			g.dress(i, c)
		}
	}
	g.content.Refresh()
}

// UpdateItems does so for all that are in view.
func (g *Grid[K]) UpdateItems() {
	for i, c := range g.cards {
		g.dress(i, c)
	}
	g.content.Refresh()
}

// Renew asks for the picture of a key again.
func (g *Grid[K]) Renew(key K) {
	for i, c := range g.cards {
		if g.src.Key(i) == key {
			c.drop()
			g.request(i, c)
		}
	}
}

// Zoom is the index into Sizes.
func (g *Grid[K]) Zoom() int { return g.step }

// SetZoom sets it, keeping the top left picture in place.
func (g *Grid[K]) SetZoom(step int) {
	step = min(max(step, 0), len(Sizes)-1)
	if step == g.step {
		return
	}
	keep := g.first
	if g.cell.Height > 0 {
		keep = int(g.scroll.Offset.Y/g.cell.Height) * g.cols
	}
	g.step = step
	g.epoch++
	for i, c := range g.cards {
		g.release(i, c)
	}
	g.relayout()
	g.scrollTo(float32(keep/g.cols) * g.cell.Height)
}

func (g *Grid[K]) has(k K) bool {
	_, ok := g.selected[k]
	return ok
}

// Selected returns the indices of the selected items in order.
func (g *Grid[K]) Selected() []int {
	if len(g.selected) == 0 {
		return nil
	}
	out := make([]int, 0, len(g.selected))
	for i := range g.Len() {
		if g.has(g.src.Key(i)) {
			out = append(out, i)
			if len(out) == len(g.selected) {
				break
			}
		}
	}
	return out
}

// SelectedKeys returns the keys of the selected items in order.
func (g *Grid[K]) SelectedKeys() []K {
	idx := g.Selected()
	out := make([]K, len(idx))
	for i, k := range idx {
		out[i] = g.src.Key(k)
	}
	return out
}

// Count is the number of selected items; it costs nothing.
func (g *Grid[K]) Count() int { return len(g.selected) }

// Current is the item the keyboard is at, or -1.
func (g *Grid[K]) Current() int {
	if g.cursor >= g.Len() {
		return -1
	}
	return g.cursor
}

// Select makes item i the only selected one and brings it into view; -1 selects nothing.
func (g *Grid[K]) Select(i int) {
	clear(g.selected)
	g.cursor, g.anchor = -1, -1
	if i >= 0 && i < g.Len() {
		g.selected[g.src.Key(i)] = struct{}{}
		g.cursor, g.anchor = i, i
		g.reveal(i)
	}
	g.selectionChanged()
}

// SelectAll selects every item.
func (g *Grid[K]) SelectAll() {
	n := g.Len()
	g.selected = make(map[K]struct{}, n)
	for i := range n {
		g.selected[g.src.Key(i)] = struct{}{}
	}
	if g.cursor < 0 && n > 0 {
		g.cursor, g.anchor = 0, 0
	}
	g.selectionChanged()
}

func (g *Grid[K]) selectRange(a, b int) {
	for i := min(a, b); i <= max(a, b); i++ {
		g.selected[g.src.Key(i)] = struct{}{}
	}
}

func (g *Grid[K]) selectionChanged() {
	for i, c := range g.cards {
		c.setSelected(g.has(g.src.Key(i)), g.focused && i == g.cursor)
	}
	g.content.Refresh()
	if g.OnSelect != nil {
		g.OnSelect()
	}
}

// click selects as file managers do.
func (g *Grid[K]) click(i int, mod fyne.KeyModifier) {
	if i < 0 || i >= g.Len() {
		if mod == 0 {
			g.Select(-1)
		}
		return
	}
	key := g.src.Key(i)
	switch {
	case mod&fyne.KeyModifierShift != 0 && g.anchor >= 0:
		if mod&fyne.KeyModifierShortcutDefault == 0 {
			clear(g.selected)
		}
		g.selectRange(g.anchor, i)
		g.cursor = i
	case mod&fyne.KeyModifierShortcutDefault != 0:
		if g.has(key) {
			delete(g.selected, key)
		} else {
			g.selected[key] = struct{}{}
		}
		g.cursor, g.anchor = i, i
	default:
		clear(g.selected)
		g.selected[key] = struct{}{}
		g.cursor, g.anchor = i, i
	}
	g.selectionChanged()
}

// move takes the cursor to item i, as an arrow key does.
func (g *Grid[K]) move(i int, extend bool) {
	n := g.Len()
	if n == 0 {
		return
	}
	i = min(max(i, 0), n-1)
	if !extend || g.anchor < 0 {
		g.anchor = i
	}
	clear(g.selected)
	g.selectRange(g.anchor, i)
	g.cursor = i
	g.reveal(i)
	g.selectionChanged()
}

// Key answers a key, with or without Shift; the page may pass on keys that nobody had the focus for. It tells whether it used it.
func (g *Grid[K]) Key(name fyne.KeyName, shift bool) bool {
	rows := max(int(g.Size().Height/max(g.cell.Height, 1)), 1)
	at := g.cursor
	switch name {
	case fyne.KeyLeft:
		g.move(at-1, shift)
	case fyne.KeyRight:
		g.move(at+1, shift)
	case fyne.KeyUp:
		if at-g.cols >= 0 || at < 0 {
			g.move(at-g.cols, shift)
		}
	case fyne.KeyDown:
		if at < 0 {
			g.move(0, shift)
		} else if at+g.cols < g.Len() || at/g.cols < (g.Len()-1)/g.cols {
			g.move(at+g.cols, shift)
		}
	case fyne.KeyPageUp:
		g.move(at-rows*g.cols, shift)
	case fyne.KeyPageDown:
		g.move(at+rows*g.cols, shift)
	case fyne.KeyHome:
		g.move(0, shift)
	case fyne.KeyEnd:
		g.move(g.Len()-1, shift)
	case fyne.KeyReturn, fyne.KeyEnter:
		if at < 0 || g.OnOpen == nil {
			return false
		}
		g.OnOpen(at)
	case fyne.KeyDelete:
		if len(g.selected) == 0 || g.OnDelete == nil {
			return false
		}
		g.OnDelete()
	default:
		return false
	}
	return true
}

// Rune answers '.' and 'i'; it tells whether it used the character.
func (g *Grid[K]) Rune(r rune) bool {
	switch {
	case r == '.' && g.OnStar != nil && len(g.selected) > 0:
		g.OnStar()
	case (r == 'i' || r == 'I') && g.OnInfo != nil:
		g.OnInfo()
	default:
		return false
	}
	return true
}

// reveal scrolls the least that brings item i into view.
func (g *Grid[K]) reveal(i int) {
	if g.cell.Height == 0 {
		return
	}
	top := float32(i/g.cols) * g.cell.Height
	switch view := g.scroll.Size().Height; {
	case top < g.scroll.Offset.Y:
		g.scrollTo(top)
	case top+g.cell.Height > g.scroll.Offset.Y+view:
		g.scrollTo(top + g.cell.Height - view)
	}
}

func (g *Grid[K]) scrollTo(y float32) {
	y = min(max(y, 0), max(g.content.MinSize().Height-g.scroll.Size().Height, 0))
	g.scroll.ScrollToOffset(fyne.NewPos(0, y))
	g.update()
}

const gap = 8

// relayout settles the columns and the height, then what is shown.
func (g *Grid[K]) relayout() {
	side := Sizes[g.step]
	pad := float32(gap)
	if side < 64 {
		pad = 4
	}
	g.pad = pad
	g.cell = fyne.NewSize(side+pad, side+pad)
	if g.Labels && side >= 64 {
		g.cell.Height += theme.CaptionTextSize() * 1.5
	}
	width := g.Size().Width - theme.ScrollBarSize()
	cols := max(int(width/g.cell.Width), 1)
	// What is left over goes between the columns, in whole device pixels.
	scale := g.scale()
	wide := max(float32(int(width*scale/float32(cols)))/scale, g.cell.Width)
	wide = min(wide, g.cell.Width+3*gap)
	if cols != g.cols || wide != g.wide {
		for i, c := range g.cards {
			g.release(i, c)
		}
	}
	g.cols, g.wide, g.cell.Width = cols, wide, wide
	g.content.Refresh()
	g.scroll.Refresh()
	if limit := max(g.content.MinSize().Height-g.scroll.Size().Height, 0); g.scroll.Offset.Y > limit {
		g.scroll.ScrollToOffset(fyne.NewPos(0, limit))
	}
	g.first, g.last = 0, 0
	g.update()
}

// update gives every item in view a card and takes back those of the others.
func (g *Grid[K]) update() {
	n := g.Len()
	if g.cell.Height == 0 || g.scroll.Size().Height <= 0 {
		return
	}
	top := int(g.scroll.Offset.Y / g.cell.Height)
	bottom := int(math.Ceil(float64((g.scroll.Offset.Y + g.scroll.Size().Height) / g.cell.Height)))
	first, last := min(max(top, 0)*g.cols, n), min((bottom+1)*g.cols, n)
	if first == g.first && last == g.last && len(g.cards) == last-first {
		return
	}
	g.first, g.last = first, last
	for i, c := range g.cards {
		if i < first || i >= last {
			g.release(i, c)
		}
	}
	for i := first; i < last; i++ {
		if g.cards[i] != nil {
			continue
		}
		c := g.take()
		g.cards[i] = c
		c.place(fyne.NewPos(float32(i%g.cols)*g.cell.Width, float32(i/g.cols)*g.cell.Height), Sizes[g.step], g.cell, g.pad)
		g.dress(i, c)
		g.request(i, c)
	}
	g.content.rebuild()
}

func (g *Grid[K]) take() *card {
	if n := len(g.pool); n > 0 {
		c := g.pool[n-1]
		g.pool = g.pool[:n-1]
		return c
	}
	return newCard()
}

func (g *Grid[K]) release(i int, c *card) {
	delete(g.cards, i)
	c.drop()
	g.pool = append(g.pool, c)
}

func (g *Grid[K]) dress(i int, c *card) {
	it := g.src.Item(i)
	c.dress(it, g.Labels && Sizes[g.step] >= 64)
	c.setSelected(g.has(g.src.Key(i)), g.focused && i == g.cursor)
}

// request shows the picture at once when it is in memory, and otherwise asks for it; a result that comes after the card
// has gone to another item is dropped.
func (g *Grid[K]) request(i int, c *card) {
	if g.thumbs == nil {
		return
	}
	key := g.src.Key(i)
	px := max(int(Sizes[g.step]*g.scale()+0.5), 1)
	if img := g.thumbs.Cached(key, px); img != nil {
		c.show(img, g.scale())
		return
	}
	epoch := g.epoch
	c.ticket++
	ticket := c.ticket
	c.cancel = g.thumbs.Request(key, px, func(img *image.RGBA, err error) {
		g.Post(func() {
			if g.epoch != epoch || c.ticket != ticket || g.cards[i] != c {
				return
			}
			c.cancel = nil
			if err != nil || img == nil {
				c.fail()
				g.content.rebuild()
			} else {
				c.show(img, g.scale())
			}
		})
	})
}

func (g *Grid[K]) scale() float32 {
	if c := fyne.CurrentApp().Driver().CanvasForObject(g); c != nil {
		return c.Scale()
	}
	return 1
}

// Stop cancels the pictures under way; for a page that is being left. Resume asks for the missing ones again.
func (g *Grid[K]) Stop() {
	for _, c := range g.cards {
		if c.cancel != nil {
			c.cancel()
			c.cancel = nil
			c.ticket++
		}
	}
}

// Resume asks for the pictures that are missing.
func (g *Grid[K]) Resume() {
	for i, c := range g.cards {
		if c.img.Image == nil && c.cancel == nil {
			g.request(i, c)
		}
	}
}

// Focus gives the grid the keyboard.
func (g *Grid[K]) Focus() {
	if c := fyne.CurrentApp().Driver().CanvasForObject(g); c != nil {
		c.Focus(g.content)
	}
}

// content is the long sheet inside the scroller. It alone takes the mouse and the keyboard: cells are mere pictures.
type content[K comparable] struct {
	widget.BaseWidget
	g       *Grid[K]
	objects []fyne.CanvasObject
	spark   *canvas.Rectangle // empty; refreshing it repaints the window and nothing more

	before, last press // the two latest presses of a button
}

type press struct {
	item int
	mod  fyne.KeyModifier
}

func (c *content[K]) MinSize() fyne.Size {
	rows := (c.g.Len() + c.g.cols - 1) / c.g.cols
	return fyne.NewSize(c.g.cell.Width, float32(rows)*c.g.cell.Height)
}

// rebuild lists what is to be drawn, in order of place.
func (c *content[K]) rebuild() {
	c.objects = append(c.objects[:0], c.spark)
	for i := c.g.first; i < c.g.last; i++ {
		if card := c.g.cards[i]; card != nil {
			c.objects = card.objects(c.objects)
		}
	}
	canvas.Refresh(c.spark)
}

func (c *content[K]) CreateRenderer() fyne.WidgetRenderer { return &contentRenderer[K]{c} }

type contentRenderer[K comparable] struct{ c *content[K] }

func (r *contentRenderer[K]) Layout(fyne.Size)             {}
func (r *contentRenderer[K]) MinSize() fyne.Size           { return r.c.MinSize() }
func (r *contentRenderer[K]) Destroy()                     {}
func (r *contentRenderer[K]) Objects() []fyne.CanvasObject { return r.c.objects }
func (r *contentRenderer[K]) Refresh()                     { r.c.rebuild() }

func (c *content[K]) at(pos fyne.Position) int {
	g := c.g
	if g.cell.Width == 0 {
		return -1
	}
	col, row := int(pos.X/g.cell.Width), int(pos.Y/g.cell.Height)
	if col >= g.cols || pos.X < 0 || pos.Y < 0 {
		return -1
	}
	if i := row*g.cols + col; i < g.Len() {
		return i
	}
	return -1
}

// MouseDown selects, and opens the context menu.
func (c *content[K]) MouseDown(e *desktop.MouseEvent) {
	g := c.g
	i := c.at(e.Position)
	c.before, c.last = c.last, press{i, e.Modifier}
	g.Focus()
	if e.Button != desktop.MouseButtonSecondary {
		g.click(i, e.Modifier)
		return
	}
	if i >= 0 && !g.has(g.src.Key(i)) {
		g.click(i, 0)
	}
	if g.Menu == nil || i < 0 {
		return
	}
	if m := g.Menu(); m != nil && len(m.Items) > 0 {
		if cv := fyne.CurrentApp().Driver().CanvasForObject(g); cv != nil {
			widget.ShowPopUpMenuAtPosition(m, cv, e.AbsolutePosition)
		}
	}
}

// MouseUp ends a click.
func (c *content[K]) MouseUp(*desktop.MouseEvent) {}

// DoubleTapped opens an item.
func (c *content[K]) DoubleTapped(e *fyne.PointEvent) {
	// Two quick clicks on different items, or with a key held, select; they do not open.
	if i := c.at(e.Position); i >= 0 && c.g.OnOpen != nil && c.before == c.last && c.last == (press{i, 0}) {
		c.g.OnOpen(i)
	}
}

// Scrolled scrolls, or zooms with Ctrl.
func (c *content[K]) Scrolled(e *fyne.ScrollEvent) {
	if d, ok := fyne.CurrentApp().Driver().(desktop.Driver); ok && d.CurrentKeyModifiers()&fyne.KeyModifierShortcutDefault != 0 {
		switch {
		case e.Scrolled.DY > 0:
			c.g.SetZoom(c.g.step + 1)
		case e.Scrolled.DY < 0:
			c.g.SetZoom(c.g.step - 1)
		}
		if c.g.OnZoom != nil {
			c.g.OnZoom(c.g.step)
		}
		return
	}
	c.g.scroll.Scrolled(e)
}

// FocusGained and FocusLost show where the keyboard is.
func (c *content[K]) FocusGained() { c.focus(true) }

// FocusLost hides the cursor.
func (c *content[K]) FocusLost() { c.focus(false) }

func (c *content[K]) focus(on bool) {
	g := c.g
	g.focused, g.shift = on, false
	if card := g.cards[g.cursor]; card != nil {
		card.setSelected(g.has(g.src.Key(g.cursor)), on)
		c.rebuild()
	}
}

// KeyDown notes Shift.
func (c *content[K]) KeyDown(e *fyne.KeyEvent) {
	if e.Name == desktop.KeyShiftLeft || e.Name == desktop.KeyShiftRight {
		c.g.shift = true
	}
}

// KeyUp notes Shift.
func (c *content[K]) KeyUp(e *fyne.KeyEvent) {
	if e.Name == desktop.KeyShiftLeft || e.Name == desktop.KeyShiftRight {
		c.g.shift = false
	}
}

// TypedKey moves, opens and deletes.
func (c *content[K]) TypedKey(e *fyne.KeyEvent) {
	switch {
	case c.g.Key(e.Name, c.g.shift):
	case e.Name == fyne.KeyEscape && c.g.Count() > 0:
		c.g.Select(-1)
	default:
		if cv := fyne.CurrentApp().Driver().CanvasForObject(c); cv != nil && cv.OnTypedKey() != nil {
			cv.OnTypedKey()(e)
		}
	}
}

// TypedRune stars and shows metadata.
func (c *content[K]) TypedRune(r rune) {
	if c.g.Rune(r) {
		return
	}
	if cv := fyne.CurrentApp().Driver().CanvasForObject(c); cv != nil && cv.OnTypedRune() != nil {
		cv.OnTypedRune()(r) // what the grid has no use for is the window's
	}
}

// TypedShortcut selects all.
func (c *content[K]) TypedShortcut(s fyne.Shortcut) {
	if _, ok := s.(*fyne.ShortcutSelectAll); ok {
		c.g.SelectAll()
		return
	}
	// Shortcuts of the window must work while the grid has the focus.
	if cv := fyne.CurrentApp().Driver().CanvasForObject(c); cv != nil {
		if h, ok := cv.(fyne.Shortcutable); ok {
			h.TypedShortcut(s)
		}
	}
}
