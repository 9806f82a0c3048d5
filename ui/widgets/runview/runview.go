// Package runview shows how a run learns: its curves, its loss by noise level, and its fixed-seed samples through time. The Train
// page shows the running job with it, the Runs page any run.
package runview

import (
	"context"
	"fmt"
	"image"
	"math"
	"slices"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/widgets/form"
	"unnoise/ui/widgets/plot"
	"unnoise/ui/widgets/viewer"
)

// View is the widget. All methods belong to the UI thread.
type View struct {
	widget.BaseWidget
	s       *page.Services
	root    fyne.CanvasObject
	run     string
	cursor  int64
	loading bool
	again   bool
	live    bool        // new points wait for Tick
	waiting []logResult // them
	epoch   int         // counts runs shown, so that late results of another are dropped

	points  []studio.LogPoint
	columns [][]float64
	moments []float64 // of the columns: steps
	first   []float64 // loss by noise level when first measured
	byTime  bool
	heldOut bool // some held-out loss was measured

	Loss      *plot.Plot
	lr, speed *plot.Plot
	bars      *plot.Bars
	heat      *plot.Heat

	grids    []studio.Grid // of the chosen weights
	all      []studio.Grid
	weights  string
	chooser  *kit.Select
	choices  []string
	picture  *viewer.Viewer
	classes  *viewer.Columns // over the picture
	scrubber *viewer.Scrubber
	empty    *widget.Label
	images   map[studio.Ref]*image.RGBA
	recent   []studio.Ref
}

// keptImages is how many grids stay in memory while scrubbing.
const keptImages = 48

// Parts are the view's parts, for a page that lays them out in a way of its own.
type Parts struct{ Curves, Noise, Samples fyne.CanvasObject }

// New returns a view of nothing.
func New(s *page.Services) *View {
	v := base(s)
	small := container.NewGridWithColumns(4, v.byLevel(), v.overTime(), v.rate(), v.pace())
	split := container.NewHSplit(v.curves(container.New(tall(150), small)), v.samples())
	split.Offset = 0.62
	v.root = split
	v.ExtendBaseWidget(v)
	return v
}

// NewParts returns a view of nothing in parts. The view itself is not to be shown.
func NewParts(s *page.Services) (*View, Parts) {
	v := base(s)
	rates := container.NewGridWithColumns(2, v.rate(), v.pace())
	return v, Parts{
		Curves:  v.curves(container.New(tall(150), rates)),
		Noise:   container.NewGridWithRows(2, kit.Card(v.byLevel()), kit.Card(v.overTime())),
		Samples: v.samples(),
	}
}

func base(s *page.Services) *View {
	v := &View{s: s, images: map[studio.Ref]*image.RGBA{}}
	v.Loss = plot.New()
	v.Loss.XTitle = lang.L("step")
	v.Loss.Empty = lang.L("The curves appear with the first log lines.")
	v.lr, v.speed = plot.New(), plot.New()
	v.lr.SetSmoothing(0)
	v.lr.Bare, v.speed.Bare = true, true
	v.bars = plot.NewBars(lang.L("little noise"), lang.L("much noise"))
	v.bars.Now, v.bars.Before = lang.L("now"), lang.L("when first measured")
	v.heat = plot.NewHeat(lang.L("little noise"), lang.L("much noise"))
	v.heat.Moment = func(x float64) string { return lang.L("step {{.Step}}", map[string]any{"Step": page.Int(int64(x))}) }
	v.heat.Worse, v.heat.Better = lang.L("high loss"), lang.L("low loss")
	v.Loss.YTitle = lang.L("mean squared error per value")

	v.picture = viewer.New()
	v.picture.Bare = true
	v.classes = viewer.NewColumns(v.picture)
	v.scrubber = viewer.NewScrubber(v.showGrid)
	v.scrubber.Post = s.Post
	v.scrubber.Caption = func(i int) string {
		if i >= len(v.grids) {
			return ""
		}
		return lang.L("step {{.Step}}", map[string]any{"Step": page.Int(v.grids[i].Step)})
	}
	v.chooser = kit.NewSelect(nil, nil)
	v.chooser.PlaceHolder = "–"
	v.chooser.OnChanged = func(string) {
		if i := v.chooser.SelectedIndex(); i >= 0 && i < len(v.choices) && v.choices[i] != v.weights {
			v.weights = v.choices[i]
			v.filterGrids()
		}
	}
	v.empty = kit.Muted(lang.L("The first samples appear at the first sampling interval. Choose “Sample now” to see some at once."))
	v.empty.Alignment = fyne.TextAlignCenter
	return v
}

// curves is the loss over the steps, with other charts beneath.
func (v *View) curves(beneath fyne.CanvasObject) fyne.CanvasObject {
	controls := Controls(v.Loss, func(byTime bool) {
		v.byTime = byTime
		v.redraw()
	})
	plots := container.NewBorder(nil, beneath, nil, nil, container.NewStack(kit.Gap(1, 170), v.Loss))
	title := lang.L("Curves")
	help := v.s.Help(title, lang.L("How far the network is from what it is to predict, as the mean of the squared difference. The thin line is what was logged, the thick one its moving average. The held-out loss is of pictures it is never trained on: when it rises while the training loss falls, the network learns its pictures by heart."))
	return kit.Card(form.Toolbars(plots, append([]fyne.CanvasObject{container.NewHBox(kit.Heading(title), help)}, controls...)))
}

func (v *View) byLevel() fyne.CanvasObject {
	return v.titled(lang.L("Loss by noise level"), lang.L("The loss of the averaged weights in eight ranges of noise, from nearly clean pictures at the left to nothing but noise at the right, on a logarithmic axis. Gray is what it was when it was first measured."), v.bars)
}

func (v *View) overTime() fyne.CanvasObject {
	return v.titled(lang.L("Noise levels over time"), lang.L("Each row is a range of noise, each column a moment. A row is coloured on its own scale, from its highest loss in this run to its lowest, so that progress shows at every level."), v.heat)
}

func (v *View) rate() fyne.CanvasObject {
	return v.titled(lang.L("Learning rate"), lang.L("How far each step moves the weights. It rises over the warm-up and is halved where the loss diverged."), v.lr)
}

func (v *View) pace() fyne.CanvasObject {
	return v.titled(lang.L("Images per second"), lang.L("How many training pictures went through the network per second, pauses for samples and checkpoints left out."), v.speed)
}

// samples is the fixed-seed grids through time.
func (v *View) samples() fyne.CanvasObject {
	head := container.NewBorder(nil, nil, kit.Heading(lang.L("Samples")), container.NewGridWrap(fyne.NewSize(120, 34), v.chooser))
	return kit.Card(container.NewBorder(head, v.scrubber, nil, nil,
		container.NewStack(v.classes, container.NewCenter(container.NewGridWrap(fyne.NewSize(240, 90), v.empty)))))
}

// Controls are the controls of a plot of curves: log axis, steps or time, smoothing, and all of it. byTime is called when the
// horizontal axis changes, after the plot was reset.
func Controls(p *plot.Plot, byTime func(bool)) []fyne.CanvasObject {
	log := kit.NewCheck(lang.L("Log axis"), p.SetLog)
	log.SetChecked(true)
	axis := kit.NewSelect([]string{lang.L("by step"), lang.L("by time")}, nil)
	axis.SetSelectedIndex(0)
	axis.OnChanged = func(string) {
		p.Reset()
		byTime(axis.SelectedIndex() == 1)
	}
	smooth := kit.NewSlider(0, 0.99)
	smooth.Step = 0.01
	smooth.Value = studio.Smoothing
	smooth.OnChanged = p.SetSmoothing
	return []fyne.CanvasObject{
		axis, log,
		container.NewHBox(widget.NewLabel(lang.L("Smoothing")), container.NewGridWrap(fyne.NewSize(110, 32), smooth)),
		kit.Button(lang.L("Fit"), theme.ZoomFitIcon(), widget.LowImportance, p.Reset),
	}
}

func (v *View) titled(text, explain string, o fyne.CanvasObject) fyne.CanvasObject {
	return container.NewBorder(container.NewBorder(nil, nil, nil, v.s.Help(text, explain), kit.Caption(text)), nil, nil, nil, o)
}

// tall gives its one object a fixed height.
type tall float32

func (t tall) MinSize(objs []fyne.CanvasObject) fyne.Size {
	return fyne.NewSize(min(objs[0].MinSize().Width, 220), float32(t))
}

func (t tall) Layout(objs []fyne.CanvasObject, s fyne.Size) { objs[0].Resize(s) }

// CreateRenderer builds the canvas objects.
func (v *View) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(v.root) }

// Inside implements kit.Holder.
func (v *View) Inside() fyne.CanvasObject { return v.root }

// Run is the run shown.
func (v *View) Run() string { return v.run }

// Open shows a run; "" shows nothing.
func (v *View) Open(run string) {
	if run == v.run {
		v.Update()
		return
	}
	v.run = run
	v.epoch++
	v.cursor, v.points, v.columns, v.moments, v.first, v.heldOut, v.loading, v.waiting = 0, nil, nil, nil, nil, false, false, nil
	v.all, v.grids, v.weights = nil, nil, ""
	v.images, v.recent = map[studio.Ref]*image.RGBA{}, nil
	v.picture.SetImage(nil)
	v.scrubber.Stop()
	v.scrubber.SetCount(0)
	v.Loss.Reset()
	v.redraw()
	v.Update()
}

// Update reads what is new.
func (v *View) Update() {
	v.UpdateLog()
	v.UpdateSamples()
}

// Stop ends what moves; call it when the view leaves the screen.
func (v *View) Stop() { v.scrubber.Stop() }

type logResult struct {
	points []studio.LogPoint
	next   int64
	reset  bool
}

// UpdateLog reads the new lines of the log.
func (v *View) UpdateLog() {
	if v.run == "" {
		return
	}
	if v.loading {
		v.again = true
		return
	}
	v.loading = true
	run, cursor, epoch := v.run, v.cursor, v.epoch
	page.Load(v.s, func(ctx context.Context) (logResult, error) {
		pts, next, reset, err := v.s.Studio.Runs.Log(ctx, run, cursor)
		return logResult{pts, next, reset}, err
	}, func(r logResult, err error) {
		if epoch != v.epoch {
			return
		}
		v.loading = false
		if err != nil {
			v.Loss.Empty = page.Sentence(err)
			v.Loss.Refresh()
			return
		}
		v.cursor = r.next
		v.waiting = append(v.waiting, r)
		if !v.live || len(v.points) == 0 {
			v.Tick()
		}
		if v.again {
			v.again = false
			v.UpdateLog()
		}
	})
}

// SetLive says that Tick is called regularly, so that the curves are drawn with what else changes at the time.
func (v *View) SetLive(on bool) { v.live = on }

// Tick shows what was read since the last call.
func (v *View) Tick() {
	waiting := v.waiting
	v.waiting = nil
	for _, r := range waiting {
		v.add(r)
	}
}

// add appends new points to the curves, or draws all anew after a reset.
func (v *View) add(r logResult) {
	if !r.reset && len(r.points) == 0 {
		return
	}
	fresh := r.reset || len(v.points) == 0
	if r.reset {
		v.points, v.columns, v.moments, v.first, v.heldOut = nil, nil, nil, nil, false
	}
	v.points = append(v.points, r.points...)
	var bins []studio.LossBin
	for _, p := range r.points {
		if p.Bins == nil {
			continue
		}
		bins = p.Bins
		col := make([]float64, len(bins))
		for i, b := range bins {
			col[i] = binLoss(b)
		}
		if v.first == nil {
			v.first = col
		}
		v.columns, v.moments = append(v.columns, col), append(v.moments, float64(p.Step))
	}
	held := v.heldOut
	for _, p := range r.points {
		held = held || !math.IsNaN(p.HeldOut)
	}
	if fresh || held != v.heldOut {
		v.heldOut = held
		v.redraw()
	} else {
		for _, p := range r.points {
			v.appendPoint(p)
		}
		v.Loss.Refresh()
		v.lr.Refresh()
		v.speed.Refresh()
	}
	if bins != nil {
		v.showBins(bins)
	}
}

// binLoss prefers the held-out loss: it is measured at the same noise each time.
func binLoss(b studio.LossBin) float64 {
	if !math.IsNaN(b.HeldOut) {
		return b.HeldOut
	}
	return b.Train
}

func (v *View) showBins(bins []studio.LossBin) {
	now, names := make([]float64, len(bins)), make([]string, len(bins))
	for i, b := range bins {
		now[i] = binLoss(b)
		names[i] = fmt.Sprintf("%.2f–%.2f", b.Lo, b.Hi)
	}
	before := v.first
	if len(v.columns) < 2 {
		before = nil
	}
	v.bars.Set(now, before, names)
	cols, at := v.columns, v.moments
	if stride := (len(cols) + 299) / 300; stride > 1 { // more columns than pixels tell nothing
		thin, when := make([][]float64, 0, 300), make([]float64, 0, 300)
		for i := (len(cols) - 1) % stride; i < len(cols); i += stride { // the newest among them
			thin, when = append(thin, cols[i]), append(when, at[i])
		}
		cols, at = thin, when
	}
	v.heat.Set(cols, at)
}

func (v *View) x(p studio.LogPoint) float64 {
	if v.byTime {
		return p.Time.Sub(v.points[0].Time).Seconds()
	}
	return float64(p.Step)
}

func (v *View) appendPoint(p studio.LogPoint) {
	x := v.x(p)
	v.Loss.Append(v.name(0), x, p.Loss)
	if !math.IsNaN(p.HeldOut) {
		v.Loss.Append(v.name(1), x, p.HeldOut)
	}
	v.lr.Append(v.name(2), x, p.LR)
	v.speed.Append(v.name(3), x, p.ImagesPerSec)
}

func (v *View) name(i int) string {
	return []string{lang.L("training loss"), lang.L("held-out loss"), lang.L("learning rate"), lang.L("images/s")}[i]
}

// redraw gives the plots all points.
func (v *View) redraw() {
	format, title := plot.Number, lang.L("step")
	if v.byTime {
		format, title = plot.Duration, ""
	}
	for _, p := range []*plot.Plot{v.Loss, v.lr, v.speed} {
		p.XFormat = format
	}
	v.Loss.XTitle = title
	series := []plot.Series{{Name: v.name(0)}}
	if v.heldOut {
		series = append(series, plot.Series{Name: v.name(1), Exact: true})
	}
	lr, speed := plot.Series{Name: v.name(2), Color: 3}, plot.Series{Name: v.name(3), Color: 4}
	for _, p := range v.points {
		x := v.x(p)
		series[0].X, series[0].Y = append(series[0].X, x), append(series[0].Y, p.Loss)
		if !math.IsNaN(p.HeldOut) {
			series[1].X, series[1].Y = append(series[1].X, x), append(series[1].Y, p.HeldOut)
		}
		lr.X, lr.Y = append(lr.X, x), append(lr.Y, p.LR)
		speed.X, speed.Y = append(speed.X, x), append(speed.Y, p.ImagesPerSec)
	}
	v.Loss.Set(series...)
	v.lr.Set(lr)
	v.speed.Set(speed)
	if len(v.points) == 0 {
		v.bars.Set(nil, nil, nil)
		v.heat.Set(nil, nil)
	}
}

// UpdateSamples reads the list of sample grids.
func (v *View) UpdateSamples() {
	if v.run == "" {
		return
	}
	run, epoch := v.run, v.epoch
	page.Load(v.s, func(ctx context.Context) ([]studio.Grid, error) { return v.s.Studio.Runs.Grids(ctx, run) },
		func(g []studio.Grid, err error) {
			if epoch != v.epoch {
				return
			}
			if err != nil {
				v.s.Fail(err)
				return
			}
			v.setGrids(g)
		})
}

func (v *View) setGrids(g []studio.Grid) {
	v.all = g
	var choices []string
	for _, x := range g {
		if !slices.Contains(choices, x.Weights) {
			choices = append(choices, x.Weights)
		}
	}
	slices.SortFunc(choices, func(a, b string) int { // the EMAs first
		if (a == raw) != (b == raw) {
			if a == raw {
				return 1
			}
			return -1
		}
		return strings.Compare(a, b)
	})
	if !slices.Equal(choices, v.choices) || v.weights == "" {
		v.choices = choices
		names := make([]string, len(choices))
		for i, c := range choices {
			names[i] = WeightsName(c)
		}
		if !slices.Contains(choices, v.weights) && len(choices) > 0 {
			v.weights = choices[0]
		}
		v.chooser.Options = names
		v.chooser.SetSelectedIndex(slices.Index(choices, v.weights))
		kit.Show(len(choices) >= 2, v.chooser)
	}
	v.filterGrids()
}

const raw = "raw"

// WeightsName is what the user calls a set of weights.
func WeightsName(w string) string {
	if w == raw {
		return lang.L("Raw weights")
	}
	if w == "ema" {
		return "EMA"
	}
	return lang.L("EMA {{.Name}}", map[string]any{"Name": strings.TrimPrefix(strings.TrimPrefix(w, "ema"), "-")})
}

func (v *View) filterGrids() {
	v.grids = v.grids[:0]
	for _, g := range v.all {
		if g.Weights == v.weights {
			v.grids = append(v.grids, g)
		}
	}
	kit.Show(len(v.grids) == 0, v.empty)
	at := v.scrubber.Index()
	v.scrubber.SetCount(len(v.grids))
	if len(v.grids) > 0 {
		v.showGrid(min(v.scrubber.Index(), len(v.grids)-1))
	} else if at >= 0 {
		v.picture.SetImage(nil)
		v.classes.SetNames(nil, 0)
	}
}

// showGrid shows the i-th grid, from memory or as soon as it is read.
func (v *View) showGrid(i int) {
	if i < 0 || i >= len(v.grids) {
		return
	}
	ref := v.grids[i].Ref
	v.classes.SetNames(v.grids[i].Classes, v.grids[i].Gap)
	if img := v.images[ref]; img != nil {
		v.picture.SetImage(img)
		v.classes.Refresh()
		return
	}
	epoch := v.epoch
	page.Load(v.s, func(ctx context.Context) (*image.RGBA, error) { return v.s.Studio.Thumbs.Image(ctx, ref) },
		func(img *image.RGBA, err error) {
			if epoch != v.epoch {
				return
			}
			if err != nil {
				v.s.Fail(err)
				return
			}
			v.keep(ref, img)
			if k := v.scrubber.Index(); k < len(v.grids) && v.grids[k].Ref == ref {
				v.picture.SetImage(img)
				v.classes.Refresh()
			}
		})
}

func (v *View) keep(ref studio.Ref, img *image.RGBA) {
	v.images[ref] = img
	v.recent = append(v.recent, ref)
	if len(v.recent) > keptImages {
		delete(v.images, v.recent[0])
		v.recent = v.recent[1:]
	}
}

// Fit shows the whole of the curves and of the picture.
func (v *View) Fit() {
	v.Loss.Reset()
	v.picture.Fit()
}
