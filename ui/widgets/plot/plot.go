// Package plot draws live training curves and small heat and bar charts, crisp at any scale and fast with a million points.
package plot

import (
	"image"
	"image/color"
	"math"
	"slices"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
)

// Plot is a line plot. The wheel zooms the horizontal axis around the pointer (over the vertical axis, or with Ctrl, the vertical one),
// a drag pans, a double click shows everything again. Until somebody zooms, the view follows the data. All methods
// belong to the UI thread.
type Plot struct {
	widget.BaseWidget

	// XFormat and YFormat print axis values; [Number] by default.
	XFormat, YFormat func(v, step float64) string
	// XTitle names the horizontal axis, beneath its right end.
	XTitle string
	// YTitle names the vertical axis and its unit, above its upper end.
	YTitle string
	// Empty is shown while there is nothing to draw.
	Empty string
	// Bare leaves the legend out, for a small plot of one series under a heading of its own.
	Bare bool
	// OnToggle is called when the legend hides or shows a series.
	OnToggle func(name string, hidden bool)

	lines  []*line
	logY   bool
	beta   float64
	manX   bool // the horizontal range was chosen by hand
	manY   bool
	x0, x1 float64 // data units; meaningful when manX
	y0, y1 float64 // axis units (log10 on a log axis); meaningful when manY
	hover  *fyne.Position
	view   view
	rend   *plotRenderer
}

// view maps data to the plot area.
type view struct {
	x0, x1, y0, y1 float64 // y in axis units
	log            bool
	ok             bool
}

// New returns an empty plot with the smoothing that figures have, too.
func New() *Plot {
	p := &Plot{beta: studio.Smoothing, XFormat: Number, YFormat: Number}
	p.ExtendBaseWidget(p)
	return p
}

// Set replaces all series. The view, and what the legend hid, stay.
func (p *Plot) Set(series ...Series) {
	hidden := map[string]bool{}
	for _, l := range p.lines {
		hidden[l.Name] = l.Hidden
	}
	p.lines = p.lines[:0]
	for _, s := range series {
		if h, ok := hidden[s.Name]; ok {
			s.Hidden = h
		}
		l := &line{Series: s}
		l.resmooth(p.beta)
		p.lines = append(p.lines, l)
	}
	p.Refresh()
}

// Append adds one value to the named series, which must exist; it shows at the next Refresh. A value that goes back in x
// drops what was at or after it: a resumed run overwrites the steps it repeats.
func (p *Plot) Append(name string, x, y float64) {
	for _, l := range p.lines {
		if l.Name != name {
			continue
		}
		if n := len(l.X); n > 0 && l.X[n-1] >= x {
			k := n
			for k > 0 && l.X[k-1] >= x {
				k--
			}
			l.cut(k)
			l.X, l.Y = append(l.X, x), append(l.Y, y)
			l.resmooth(p.beta)
			return
		}
		l.X, l.Y = append(l.X, x), append(l.Y, y)
		l.extend(p.beta)
		return
	}
}

// Series returns the names in legend order.
func (p *Plot) Series() []string {
	var names []string
	for _, l := range p.lines {
		names = append(names, l.Name)
	}
	return names
}

// Last returns the newest value of the named series and its smoothed value.
func (p *Plot) Last(name string) (x, y, smooth float64, ok bool) {
	for _, l := range p.lines {
		if n := len(l.X); l.Name == name && n > 0 {
			return l.X[n-1], l.Y[n-1], l.smooth[n-1], true
		}
	}
	return 0, 0, 0, false
}

// SetSmoothing sets the weight β ∈ [0, 1) of the past in the drawn moving average; 0 draws the raw values only.
func (p *Plot) SetSmoothing(beta float64) {
	p.beta = math.Min(math.Max(beta, 0), 0.9999)
	for _, l := range p.lines {
		l.resmooth(p.beta)
	}
	p.Refresh()
}

// SetLog switches the vertical axis between linear and logarithmic. Values that are not positive are left out of a log axis.
func (p *Plot) SetLog(on bool) {
	if p.logY != on {
		p.logY, p.manY = on, false
		p.Refresh()
	}
}

// SetHidden hides or shows a series.
func (p *Plot) SetHidden(name string, hidden bool) {
	for _, l := range p.lines {
		if l.Name == name && l.Hidden != hidden {
			l.Hidden = hidden
			if p.OnToggle != nil {
				p.OnToggle(name, hidden)
			}
		}
	}
	p.Refresh()
}

// Reset shows all the data and follows it again.
func (p *Plot) Reset() {
	p.manX, p.manY = false, false
	p.Refresh()
}

// Zoomed tells whether the view was chosen by hand.
func (p *Plot) Zoomed() bool { return p.manX || p.manY }

// Range returns the shown horizontal range and the vertical one, in data units.
func (p *Plot) Range() (x0, x1, y0, y1 float64) {
	v := p.computeView()
	if v.log {
		return v.x0, v.x1, math.Pow(10, v.y0), math.Pow(10, v.y1)
	}
	return v.x0, v.x1, v.y0, v.y1
}

func (p *Plot) shown(l *line) ([]float64, *extremes) {
	if l.Exact || p.beta == 0 {
		return l.Y, &l.rawEnds
	}
	return l.smooth, &l.smoothEnds
}

// computeView settles the ranges: by hand where chosen, else all of x and, in y, the whole of the smoothed lines with the middle
// 98 % of the raw values, so that one outlier does not flatten the picture.
func (p *Plot) computeView() view {
	v := view{log: p.logY}
	if p.manX {
		v.x0, v.x1 = p.x0, p.x1
	} else {
		v.x0, v.x1 = math.Inf(1), math.Inf(-1)
		for _, l := range p.lines {
			if n := len(l.X); n > 0 && !l.Hidden {
				v.x0, v.x1 = math.Min(v.x0, l.X[0]), math.Max(v.x1, l.X[n-1])
			}
		}
	}
	if !finite(v.x0) || !finite(v.x1) {
		return v
	}
	if v.x1 <= v.x0 {
		pad := math.Max(math.Abs(v.x0)*0.05, 0.5)
		v.x0, v.x1 = v.x0-pad, v.x0+pad
	}
	if p.manY {
		v.y0, v.y1, v.ok = p.y0, p.y1, true
		return v
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, l := range p.lines {
		if l.Hidden {
			continue
		}
		a, b := l.window(v.x0, v.x1)
		ys, ends := p.shown(l)
		least, most := ends.span(ys, a, b, v.log)
		lo, hi = math.Min(lo, least), math.Max(hi, most)
		if l.Exact || p.beta == 0 {
			continue
		}
		raw := make([]float64, 0, 2048)
		stride := max(1, (b-a)/2048)
		for i := a; i < b; i += stride {
			if y := l.Y[i]; finite(y) && (!v.log || y > 0) {
				raw = append(raw, y)
			}
		}
		if len(raw) > 0 {
			slices.Sort(raw)
			lo, hi = math.Min(lo, raw[len(raw)/100]), math.Max(hi, raw[len(raw)-1-len(raw)/100])
		}
	}
	if !finite(lo) || !finite(hi) {
		return v
	}
	if v.log {
		lo, hi = math.Log10(lo), math.Log10(hi)
	}
	pad := (hi - lo) * 0.05
	if pad <= 1e-9*math.Max(math.Abs(lo), math.Abs(hi)) { // one value, but for rounding
		pad = math.Max(math.Abs(hi)*0.1, 1e-6)
	}
	v.y0, v.y1, v.ok = lo-pad, hi+pad, true
	return v
}

// axisY maps a data value to axis units.
func (v view) axisY(y float64) float64 {
	if !v.log {
		return y
	}
	if y <= 0 {
		return math.Inf(-1)
	}
	return math.Log10(y)
}

// Scrolled zooms.
func (p *Plot) Scrolled(e *fyne.ScrollEvent) {
	v := p.view
	if !v.ok || p.rend == nil {
		return
	}
	area := p.rend.area()
	f := math.Pow(1.0015, -float64(e.Scrolled.DY)*4)
	vertical := e.Position.X < area.pos.X
	if d, ok := fyne.CurrentApp().Driver().(desktop.Driver); ok && d.CurrentKeyModifiers()&fyne.KeyModifierControl != 0 {
		vertical = true
	}
	if vertical {
		c := v.y1 - (v.y1-v.y0)*float64((e.Position.Y-area.pos.Y)/area.size.Height)
		p.setY(c+(v.y0-c)*f, c+(v.y1-c)*f)
	} else {
		c := v.x0 + (v.x1-v.x0)*float64((e.Position.X-area.pos.X)/area.size.Width)
		p.setX(c+(v.x0-c)*f, c+(v.x1-c)*f)
	}
	p.Refresh()
}

func (p *Plot) setX(a, b float64) {
	if span := b - a; span > 1e-9*math.Max(1, math.Abs(a)) && finite(span) {
		p.x0, p.x1, p.manX = a, b, true
	}
}

func (p *Plot) setY(a, b float64) {
	if span := b - a; span > 1e-12 && finite(span) {
		p.y0, p.y1, p.manY = a, b, true
	}
}

// Dragged pans.
func (p *Plot) Dragged(e *fyne.DragEvent) {
	v := p.view
	if !v.ok || p.rend == nil {
		return
	}
	area := p.rend.area()
	dx := float64(e.Dragged.DX/area.size.Width) * (v.x1 - v.x0)
	p.setX(v.x0-dx, v.x1-dx)
	if dy := float64(e.Dragged.DY/area.size.Height) * (v.y1 - v.y0); p.manY {
		p.setY(v.y0+dy, v.y1+dy)
	}
	p.hover = nil
	p.Refresh()
}

// DragEnd ends a pan.
func (p *Plot) DragEnd() {}

// DoubleTapped shows everything again.
func (p *Plot) DoubleTapped(*fyne.PointEvent) { p.Reset() }

// MouseIn drives, with MouseMoved and MouseOut, the read-out beside the pointer.
func (p *Plot) MouseIn(e *desktop.MouseEvent) { p.MouseMoved(e) }

// MouseMoved moves the read-out.
func (p *Plot) MouseMoved(e *desktop.MouseEvent) {
	pos := e.Position
	p.hover = &pos
	if p.rend != nil {
		p.rend.hovered()
	}
}

// MouseOut hides the read-out.
func (p *Plot) MouseOut() {
	p.hover = nil
	if p.rend != nil {
		p.rend.hovered()
	}
}

// Cursor shows that the plot can be read at the pointer.
func (p *Plot) Cursor() desktop.Cursor { return desktop.CrosshairCursor }

// MinSize leaves room for the axes.
func (p *Plot) MinSize() fyne.Size {
	p.ExtendBaseWidget(p)
	return fyne.NewSize(80, 70)
}

// CreateRenderer builds the canvas objects.
func (p *Plot) CreateRenderer() fyne.WidgetRenderer {
	r := &plotRenderer{p: p, legend: newLegend(p)}
	r.raster = crisp(func(w, h int) image.Image { return r.paint.draw(p, w, h) })
	r.cross = canvas.NewLine(color.Transparent)
	r.box = canvas.NewRectangle(color.Transparent)
	r.empty = canvas.NewText("", color.Transparent)
	r.empty.Alignment = fyne.TextAlignCenter
	r.xTitle = canvas.NewText("", color.Transparent)
	r.yTitle = canvas.NewText("", color.Transparent)
	p.rend = r
	r.Refresh()
	return r
}

// crisp is a raster drawn pixel by pixel: where its size is a whole number of device pixels, Fyne asks for just these, and to
// blend them with their neighbours would only cost time.
func crisp(draw func(w, h int) image.Image) *canvas.Raster {
	r := canvas.NewRaster(draw)
	r.ScaleMode = canvas.ImageScalePixels
	return r
}

type rect struct {
	pos  fyne.Position
	size fyne.Size
}

type plotRenderer struct {
	p         *Plot
	raster    *canvas.Raster
	legend    *legend
	xs, ys    []*canvas.Text
	xt, yt    []tick
	xTitle    *canvas.Text
	yTitle    *canvas.Text
	cross     *canvas.Line
	box       *canvas.Rectangle
	info      []*canvas.Text
	swatch    []*canvas.Rectangle
	empty     *canvas.Text
	size      fyne.Size
	left, top float32
	paint     painter
	objects   []fyne.CanvasObject
}

func textSize() float32 { return theme.CaptionTextSize() }

// area is the rectangle the lines are drawn in.
func (r *plotRenderer) area() rect {
	bottom := textSize() + 10
	scale := float32(1)
	if c := fyne.CurrentApp().Driver().CanvasForObject(r.p); c != nil {
		scale = c.Scale()
	}
	whole := func(v float32) float32 { return max(float32(math.Floor(float64(v*scale)))/scale, 1) } // device pixels: see crisp
	return rect{fyne.NewPos(r.left, r.top), fyne.NewSize(whole(r.size.Width-r.left-8), whole(r.size.Height-r.top-bottom))}
}

func (r *plotRenderer) Layout(s fyne.Size) {
	if s == r.size {
		return
	}
	r.size = s
	r.rebuild()
}

func (r *plotRenderer) MinSize() fyne.Size           { return r.p.MinSize() }
func (r *plotRenderer) Objects() []fyne.CanvasObject { return r.objects }
func (r *plotRenderer) Destroy()                     { r.p.rend = nil }

func (r *plotRenderer) Refresh() {
	r.rebuild()
	canvas.Refresh(r.p)
}

// rebuild settles the view, the ticks and the place of everything.
func (r *plotRenderer) rebuild() {
	p := r.p
	p.view = p.computeView()
	v, ts, muted := p.view, textSize(), themed(theme.ColorNamePlaceHolder)
	r.legend.update()
	lh := r.legend.arrange(max(r.size.Width-16, 40))
	r.legend.Hidden = p.Bare
	if p.Bare {
		lh = 2
	}
	r.legend.Move(fyne.NewPos(8, 0))
	r.legend.Resize(fyne.NewSize(max(r.size.Width-16, 40), lh))
	r.top = lh + 4
	r.yTitle.Text, r.yTitle.TextSize, r.yTitle.Color = p.YTitle, ts, muted
	r.yTitle.Hidden = p.YTitle == "" || !v.ok
	if !r.yTitle.Hidden {
		r.yTitle.Move(fyne.NewPos(4, r.top-2))
		r.yTitle.Resize(r.yTitle.MinSize())
		r.top += ts * 1.5
	}
	r.left = 44
	height := r.size.Height - r.top - ts - 10
	r.yt = r.yt[:0]
	if v.ok {
		n := max(int(height/(ts*3)), 2)
		if v.log {
			r.yt = logTicks(v.y0, v.y1, n, p.YFormat)
		} else {
			r.yt = linearTicks(v.y0, v.y1, n, p.YFormat)
		}
		widest := float32(0)
		for _, t := range r.yt {
			widest = max(widest, fyne.MeasureText(t.label, ts, fyne.TextStyle{}).Width)
		}
		r.left = max(widest+12, 32)
	}
	area := r.area()
	r.xt = r.xt[:0]
	if v.ok {
		r.xt = linearTicks(v.x0, v.x1, max(int(area.size.Width/90), 3), p.XFormat)
	}
	r.ys = fit(r.ys, len(r.yt))
	lastY := float32(math.Inf(1))
	for i, t := range r.yt {
		o := r.ys[i]
		o.Text, o.TextSize, o.Color, o.Alignment = t.label, ts, muted, fyne.TextAlignTrailing
		y := area.pos.Y + area.size.Height*float32((v.y1-v.axisY(t.value))/(v.y1-v.y0))
		if y+ts*1.4 > lastY { // labels on a log axis may crowd
			o.Text = ""
		} else {
			lastY = y
		}
		o.Resize(fyne.NewSize(r.left-6, ts*1.4))
		o.Move(fyne.NewPos(0, y-ts*0.7))
	}
	r.xs = fit(r.xs, len(r.xt))
	r.xTitle.Text, r.xTitle.TextSize, r.xTitle.Color = p.XTitle, ts, muted
	tw := r.xTitle.MinSize()
	titleX := area.pos.X + area.size.Width - tw.Width
	for i, t := range r.xt {
		o := r.xs[i]
		o.Text, o.TextSize, o.Color, o.Alignment = t.label, ts, muted, fyne.TextAlignCenter
		x := area.pos.X + area.size.Width*float32((t.value-v.x0)/(v.x1-v.x0))
		w := o.MinSize().Width
		at := min(max(x-w/2, area.pos.X-w/2), r.size.Width-w)
		if p.XTitle != "" && at+w > titleX-8 {
			o.Text = ""
		}
		o.Resize(fyne.NewSize(w, ts*1.4))
		o.Move(fyne.NewPos(at, area.pos.Y+area.size.Height+4))
	}
	r.xTitle.Resize(tw)
	r.xTitle.Move(fyne.NewPos(titleX, area.pos.Y+area.size.Height+4))
	r.xTitle.Hidden = !v.ok
	r.raster.Move(area.pos)
	r.raster.Resize(area.size)
	r.empty.Text, r.empty.Color, r.empty.TextSize = p.Empty, muted, theme.TextSize()
	r.empty.Hidden = v.ok
	r.empty.Resize(fyne.NewSize(r.size.Width, theme.TextSize()*1.5))
	r.empty.Move(fyne.NewPos(0, r.size.Height/2-theme.TextSize()))
	r.layoutHover()
}

// hovered redraws only what the pointer moves: not the lines.
func (r *plotRenderer) hovered() {
	r.layoutHover()
	canvas.Refresh(r.cross)
	canvas.Refresh(r.box)
}

// fit returns texts with exactly n elements, reusing the old ones.
func fit(texts []*canvas.Text, n int) []*canvas.Text {
	for len(texts) < n {
		texts = append(texts, canvas.NewText("", color.Transparent))
	}
	return texts[:n]
}

// layoutHover places the cross-hair and the read-out, and lists the objects to draw.
func (r *plotRenderer) layoutHover() {
	p, v, area, ts := r.p, r.p.view, r.area(), textSize()
	r.objects = append(r.objects[:0], r.raster, r.legend, r.xTitle, r.yTitle, r.empty)
	for _, t := range r.ys {
		r.objects = append(r.objects, t)
	}
	for _, t := range r.xs {
		r.objects = append(r.objects, t)
	}
	on := p.hover != nil && v.ok && p.hover.X >= area.pos.X && p.hover.X <= area.pos.X+area.size.Width &&
		p.hover.Y >= area.pos.Y && p.hover.Y <= area.pos.Y+area.size.Height
	if on {
		x := v.x0 + (v.x1-v.x0)*float64((p.hover.X-area.pos.X)/area.size.Width)
		best, found := 0.0, false
		for _, l := range p.lines {
			if i := l.nearest(x); i >= 0 && !l.Hidden && (!found || math.Abs(l.X[i]-x) < math.Abs(best-x)) {
				best, found = l.X[i], true
			}
		}
		on = found && best >= v.x0 && best <= v.x1
		if on {
			r.readOut(best, area, ts)
		}
	}
}

func (r *plotRenderer) readOut(x float64, area rect, ts float32) {
	p, v := r.p, r.p.view
	fg := themed(theme.ColorNameForeground)
	px := area.pos.X + area.size.Width*float32((x-v.x0)/(v.x1-v.x0))
	r.cross.StrokeColor, r.cross.StrokeWidth = withAlpha(fg, 0.45), 1
	r.cross.Position1, r.cross.Position2 = fyne.NewPos(px, area.pos.Y), fyne.NewPos(px, area.pos.Y+area.size.Height)
	head := p.XFormat(x, 1)
	if p.XTitle != "" {
		head = p.XTitle + " " + head
	}
	texts, colours := []string{head}, []color.Color{fg}
	for i, l := range p.lines {
		k := l.nearest(x)
		if l.Hidden || k < 0 {
			continue
		}
		ys, _ := p.shown(l)
		s := l.Name + "  " + p.value(ys[k])
		if !l.Exact && p.beta > 0 {
			s += "  (" + p.value(l.Y[k]) + ")"
		}
		texts, colours = append(texts, s), append(colours, p.color(i))
	}
	r.info = fit(r.info, len(texts))
	for len(r.swatch) < len(texts) {
		r.swatch = append(r.swatch, canvas.NewRectangle(color.Transparent))
	}
	w := float32(0)
	for i, s := range texts {
		r.info[i].Text, r.info[i].TextSize, r.info[i].Color = s, ts, fg
		w = max(w, r.info[i].MinSize().Width)
	}
	lh := ts * 1.5
	bw, bh := w+30, lh*float32(len(texts))+8
	bx, by := px+10, area.pos.Y+6
	if bx+bw > area.pos.X+area.size.Width {
		bx = max(px-10-bw, 0)
	}
	r.box.FillColor, r.box.StrokeColor, r.box.StrokeWidth, r.box.CornerRadius = themed(theme.ColorNameOverlayBackground), themed(theme.ColorNameSeparator), 1, 4
	r.box.Move(fyne.NewPos(bx, by))
	r.box.Resize(fyne.NewSize(bw, bh))
	r.objects = append(r.objects, r.cross, r.box)
	for i := range texts {
		y := by + 4 + lh*float32(i)
		indent := float32(8)
		if i > 0 {
			r.swatch[i].FillColor = colours[i]
			r.swatch[i].CornerRadius = 2
			r.swatch[i].Move(fyne.NewPos(bx+8, y+lh*0.5-4))
			r.swatch[i].Resize(fyne.NewSize(8, 8))
			r.objects = append(r.objects, r.swatch[i])
			indent = 22
		}
		r.info[i].Move(fyne.NewPos(bx+indent, y))
		r.info[i].Resize(fyne.NewSize(w, lh))
		r.objects = append(r.objects, r.info[i])
	}
}

// value prints a read-out with four significant digits.
func (p *Plot) value(y float64) string {
	if !finite(y) {
		return "–"
	}
	step := math.Pow(10, math.Floor(math.Log10(math.Max(math.Abs(y), 1e-300)))-3)
	return p.YFormat(y, step)
}

func (p *Plot) color(i int) color.NRGBA {
	if c := p.lines[i].Color; c > 0 {
		return Color(c - 1)
	}
	return Color(i)
}
