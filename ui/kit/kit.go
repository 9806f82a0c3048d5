// Package kit holds the small parts every page is made of: headings, cards, rows of a form, buttons with reasons, empty
// states. They follow the theme when it changes.
package kit

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	uitheme "unnoise/ui/theme"
)

// Surface is a rectangle of a theme colour behind other things.
type Surface struct {
	widget.BaseWidget
	fill, border fyne.ThemeColorName
	radius       float32
	width        float32 // of the border
	content      fyne.CanvasObject
}

// NewSurface puts a surface behind content, which may be nil. An empty border name draws none.
func NewSurface(fill, border fyne.ThemeColorName, radius float32, content fyne.CanvasObject) *Surface {
	s := &Surface{fill: fill, border: border, radius: radius, width: 1, content: content}
	s.ExtendBaseWidget(s)
	return s
}

// SetFill changes the colour.
func (s *Surface) SetFill(fill, border fyne.ThemeColorName) {
	if s.fill == fill && s.border == border {
		return
	}
	s.fill, s.border = fill, border
	s.Refresh()
}

// Inside implements Holder.
func (s *Surface) Inside() fyne.CanvasObject { return s.content }

// CreateRenderer implements fyne.Widget.
func (s *Surface) CreateRenderer() fyne.WidgetRenderer {
	r := &surfaceRenderer{s: s, rect: canvas.NewRectangle(nil)}
	r.objs = []fyne.CanvasObject{r.rect}
	if s.content != nil {
		r.objs = append(r.objs, s.content)
	}
	r.style()
	return r
}

type surfaceRenderer struct {
	s    *Surface
	rect *canvas.Rectangle
	objs []fyne.CanvasObject
}

func (r *surfaceRenderer) style() {
	r.rect.FillColor = uitheme.Color(r.s.fill)
	r.rect.CornerRadius = r.s.radius
	if r.s.border != "" {
		r.rect.StrokeColor = uitheme.Color(r.s.border)
		r.rect.StrokeWidth = r.s.width
	} else {
		r.rect.StrokeWidth = 0
	}
}

func (r *surfaceRenderer) Destroy()                     {}
func (r *surfaceRenderer) Objects() []fyne.CanvasObject { return r.objs }

func (r *surfaceRenderer) Layout(size fyne.Size) {
	for _, o := range r.objs {
		o.Resize(size)
	}
}

func (r *surfaceRenderer) MinSize() fyne.Size {
	if r.s.content == nil {
		return fyne.Size{}
	}
	return r.s.content.MinSize()
}

func (r *surfaceRenderer) Refresh() {
	r.style()
	r.rect.Refresh()
	if r.s.content != nil {
		r.s.content.Refresh()
	}
}

// Pad puts space around an object.
func Pad(top, bottom, left, right float32, o fyne.CanvasObject) *fyne.Container {
	return container.New(layout.NewCustomPaddedLayout(top, bottom, left, right), o)
}

// Gap is an empty space of a size.
func Gap(w, h float32) fyne.CanvasObject {
	r := canvas.NewRectangle(nil)
	r.SetMinSize(fyne.NewSize(w, h))
	return r
}

// Title is the heading of a page.
func Title(text string) *widget.Label {
	l := widget.NewLabelWithStyle(text, fyne.TextAlignLeading, fyne.TextStyle{Bold: true})
	l.SizeName = theme.SizeNameHeadingText
	l.Truncation = fyne.TextTruncateEllipsis
	return l
}

// Heading is the heading of a part of a page.
func Heading(text string) *widget.Label {
	l := widget.NewLabelWithStyle(text, fyne.TextAlignLeading, fyne.TextStyle{Bold: true})
	l.SizeName = theme.SizeNameSubHeadingText
	return l
}

// Text is a wrapped paragraph.
func Text(text string) *widget.Label {
	l := widget.NewLabel(text)
	l.Wrapping = fyne.TextWrapWord
	return l
}

// Muted is a wrapped explanation in a quieter colour.
func Muted(text string) *widget.Label {
	l := Text(text)
	l.Importance = widget.LowImportance
	return l
}

// Caption is a short line in a quieter colour; it ends in an ellipsis when there is no room.
func Caption(text string) *widget.Label {
	l := widget.NewLabel(text)
	l.Importance = widget.LowImportance
	l.SizeName = theme.SizeNameCaptionText
	l.Truncation = fyne.TextTruncateEllipsis
	return l
}

// Ellipsis is a line that ends in an ellipsis when there is no room.
func Ellipsis(text string, bold bool) *widget.Label {
	l := widget.NewLabelWithStyle(text, fyne.TextAlignLeading, fyne.TextStyle{Bold: bold})
	l.Truncation = fyne.TextTruncateEllipsis
	return l
}

// Card is a panel on a page.
func Card(content fyne.CanvasObject) *Surface {
	return NewSurface(uitheme.ColorNameCard, uitheme.ColorNameCardBorder, 10, Pad(10, 10, 12, 12, content))
}

// Section is a card with a heading and, unless it is empty, an explanation.
func Section(heading, explain string, content ...fyne.CanvasObject) *Surface {
	objs := []fyne.CanvasObject{Heading(heading)}
	if explain != "" {
		objs = append(objs, Muted(explain))
	}
	return Card(container.NewVBox(append(objs, content...)...)) // Add would lay out all again, at no width
}

// Row is one setting: its name and control on a line, its explanation below.
func Row(name, explain string, control fyne.CanvasObject) fyne.CanvasObject {
	label := widget.NewLabelWithStyle(name, fyne.TextAlignLeading, fyne.TextStyle{Bold: true})
	box := container.New(&rowLayout{}, label, control)
	if explain == "" {
		return box
	}
	m := Muted(explain)
	return container.New(layout.NewCustomPaddedVBoxLayout(-4), box, m)
}

// rowLayout gives the name the left part of a line and the control the rest, up to a comfortable width; where there is no
// room the control goes under the name.
type rowLayout struct{ width float32 }

const (
	rowName    = 190
	rowControl = 320
)

func (l *rowLayout) narrow(objs []fyne.CanvasObject) bool {
	return l.width > 0 && l.width < rowName+max(160, objs[1].MinSize().Width)
}

func (l *rowLayout) MinSize(objs []fyne.CanvasObject) fyne.Size {
	a, b := objs[0].MinSize(), objs[1].MinSize()
	if l.narrow(objs) {
		return fyne.NewSize(max(a.Width, b.Width), a.Height+b.Height)
	}
	return fyne.NewSize(max(a.Width, b.Width), max(a.Height, b.Height))
}

func (l *rowLayout) Layout(objs []fyne.CanvasObject, size fyne.Size) {
	l.width = size.Width
	a, b := objs[0].MinSize(), objs[1].MinSize()
	if l.narrow(objs) {
		objs[0].Move(fyne.NewPos(0, 0))
		objs[0].Resize(fyne.NewSize(size.Width, a.Height))
		objs[1].Move(fyne.NewPos(0, a.Height))
		objs[1].Resize(fyne.NewSize(size.Width, b.Height))
		return
	}
	h := max(a.Height, b.Height)
	nameW := max(rowName, a.Width)
	objs[0].Move(fyne.NewPos(0, (h-a.Height)/2))
	objs[0].Resize(fyne.NewSize(nameW, a.Height))
	w := min(size.Width-nameW, max(rowControl, b.Width))
	objs[1].Move(fyne.NewPos(nameW, (h-b.Height)/2))
	objs[1].Resize(fyne.NewSize(w, b.Height))
}

// Page is the frame of a page: its title with actions at the right, and its body below. The body fills the rest.
func Page(title fyne.CanvasObject, actions, body fyne.CanvasObject) fyne.CanvasObject {
	var head fyne.CanvasObject = title
	if actions != nil {
		head = container.NewBorder(nil, nil, nil, container.NewCenter(actions), title)
	}
	return Pad(12, 0, 20, 20, container.NewBorder(Pad(0, 6, -6, 0, head), nil, nil, nil, body))
}

// Scroll is a vertically scrolled column, no wider than reads well, with room at its end.
func Scroll(objs ...fyne.CanvasObject) *container.Scroll { return scroll(900, objs) }

// WideScroll is Scroll for pictures, which may take all the width there is.
func WideScroll(objs ...fyne.CanvasObject) *container.Scroll { return scroll(4000, objs) }

func scroll(width float32, objs []fyne.CanvasObject) *container.Scroll {
	col := container.New(layout.NewCustomPaddedVBoxLayout(12), objs...)
	return container.NewVScroll(container.New(&columnLayout{max: width}, Pad(0, 24, 0, 12, col)))
}

// columnLayout keeps its one object at the left, at most so wide.
type columnLayout struct{ max float32 }

func (l *columnLayout) MinSize(objs []fyne.CanvasObject) fyne.Size { return objs[0].MinSize() }

func (l *columnLayout) Layout(objs []fyne.CanvasObject, size fyne.Size) {
	objs[0].Move(fyne.NewPos(0, 0))
	objs[0].Resize(fyne.NewSize(min(size.Width, l.max), size.Height))
}

// Buttons lays buttons in a line, at their own widths.
func Buttons(objs ...fyne.CanvasObject) *fyne.Container {
	return container.New(layout.NewCustomPaddedHBoxLayout(8), objs...)
}

// Empty is what a page shows when it has nothing yet: what this place is for and what to do.
func Empty(icon fyne.Resource, title, text string, actions ...fyne.CanvasObject) fyne.CanvasObject {
	img := NewIcon(icon)
	t := Heading(title)
	t.Alignment = fyne.TextAlignCenter
	m := Muted(text)
	m.Alignment = fyne.TextAlignCenter
	objs := []fyne.CanvasObject{
		container.NewCenter(container.NewGridWrap(fyne.NewSize(56, 56), img)), t,
		container.NewCenter(container.NewGridWrap(fyne.NewSize(440, 64), m)),
	}
	if len(actions) > 0 {
		objs = append(objs, container.NewCenter(container.NewHBox(actions...)))
	}
	return container.NewCenter(container.NewVBox(objs...))
}

// Figure is a number with its name above it.
type Figure struct {
	widget.BaseWidget
	value *widget.Label
	box   *fyne.Container
	least fyne.Size
}

// NewFigure makes a figure.
func NewFigure(name, value string) *Figure {
	f := &Figure{value: widget.NewLabelWithStyle(value, fyne.TextAlignLeading, fyne.TextStyle{Bold: true})}
	f.value.SizeName = theme.SizeNameSubHeadingText
	n := widget.NewLabel(name)
	n.Importance = widget.LowImportance
	n.SizeName = theme.SizeNameCaptionText
	f.box = container.New(layout.NewCustomPaddedVBoxLayout(-10), n, f.value)
	f.ExtendBaseWidget(f)
	return f
}

// Set changes the number.
func (f *Figure) Set(value string) {
	if f.value.Text != value {
		f.value.SetText(value)
	}
}

// MinSize only grows, so that a number that changes does not move those beside it, nor have the page laid out anew.
func (f *Figure) MinSize() fyne.Size {
	f.ExtendBaseWidget(f)
	f.least = f.least.Max(f.box.MinSize())
	return f.least
}

// Inside implements Holder.
func (f *Figure) Inside() fyne.CanvasObject { return f.box }

// CreateRenderer implements fyne.Widget.
func (f *Figure) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(f.box) }

// Action is a button with the reason at it when it cannot be used.
type Action struct {
	widget.BaseWidget
	Button *widget.Button
	reason *widget.Label
	box    *fyne.Container
}

// NewAction makes an action that can be used.
func NewAction(text string, icon fyne.Resource, do func()) *Action {
	a := newAction(text, icon, do)
	a.box = container.NewHBox(a.Button, a.reason)
	return a
}

// NewTallAction is NewAction for a narrow column: the reason stands below the button.
func NewTallAction(text string, icon fyne.Resource, do func()) *Action {
	a := newAction(text, icon, do)
	a.reason.Wrapping = fyne.TextWrapWord
	a.box = container.New(layout.NewCustomPaddedVBoxLayout(-6), container.NewHBox(a.Button), a.reason)
	return a
}

func newAction(text string, icon fyne.Resource, do func()) *Action {
	a := &Action{Button: widget.NewButtonWithIcon(text, icon, do), reason: widget.NewLabel("")}
	a.reason.Importance = widget.LowImportance
	Show(false, a.reason)
	a.ExtendBaseWidget(a)
	return a
}

// SetReason disables the button and says why; an empty reason enables it.
func (a *Action) SetReason(reason string) {
	if reason == "" {
		a.Button.Enable()
		Show(false, a.reason)
		return
	}
	a.Button.Disable()
	a.reason.SetText(reason)
	Show(true, a.reason)
}

// Reason is why the button cannot be used, or empty.
func (a *Action) Reason() string {
	if a.Button.Disabled() {
		return a.reason.Text
	}
	return ""
}

// Inside implements Holder.
func (a *Action) Inside() fyne.CanvasObject { return a.box }

// CreateRenderer implements fyne.Widget.
func (a *Action) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(a.box) }

// Button is a plain button of an importance.
func Button(text string, icon fyne.Resource, imp widget.Importance, do func()) *widget.Button {
	b := widget.NewButtonWithIcon(text, icon, do)
	b.Importance = imp
	return b
}

// Facts is a list of names and values that can be copied.
func Facts() *fyne.Container { return container.New(layout.NewFormLayout()) }

// AddFact adds a line to facts, which shows when they are refreshed; one without a value is left out.
func AddFact(facts *fyne.Container, name, value string) {
	if value == "" {
		return
	}
	k := widget.NewLabel(name)
	k.Importance = widget.LowImportance
	k.SizeName = theme.SizeNameCaptionText
	v := widget.NewLabel(value)
	v.Wrapping = fyne.TextWrapBreak
	v.Selectable = true
	facts.Objects = append(facts.Objects, k, v)
}
