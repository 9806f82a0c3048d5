package runs

import (
	"context"
	"math"
	"slices"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/widgets/form"
	"unnoise/ui/widgets/plot"
	"unnoise/ui/widgets/runview"
)

// overlay draws the curves of the marked runs and the selected one on the same axes.
type overlay struct {
	p      *Page
	root   fyne.CanvasObject
	plot   *plot.Plot
	metric int // 0 training loss, 1 held-out loss, 2 gradient norm
	byTime bool
	logs   map[string]*runLog
	order  []string // runs drawn, so that each keeps its colour
	hint   *widget.Label
}

// runLog is what was read of one run's log.
type runLog struct {
	points  []studio.LogPoint
	cursor  int64
	loading bool
	again   bool
}

func newOverlay(p *Page) *overlay {
	o := &overlay{p: p, plot: plot.New(), logs: map[string]*runLog{}}
	o.plot.XTitle = lang.L("step")
	o.plot.Empty = lang.L("Tick runs to compare their curves.")
	metric := kit.NewSelect([]string{lang.L("training loss"), lang.L("held-out loss"), lang.L("gradient norm")}, nil)
	metric.SetSelectedIndex(0)
	metric.OnChanged = func(string) {
		o.metric = metric.SelectedIndex()
		o.draw()
	}
	controls := runview.Controls(o.plot, func(byTime bool) {
		o.byTime = byTime
		o.draw()
	})
	o.hint = kit.Heading(lang.L("Curves"))
	o.hint.Truncation = fyne.TextTruncateEllipsis
	o.root = kit.Card(form.Toolbars(o.plot, append([]fyne.CanvasObject{o.hint, metric}, controls...)))
	return o
}

// maxRuns is how many curves can be told apart at once.
const maxRuns = 8

// update draws the runs that are to be drawn, reading the logs that are missing.
func (o *overlay) update() {
	want := make([]string, 0, maxRuns)
	for _, id := range o.order { // those already there keep their colour
		if o.p.marked[id] || id == o.p.current {
			want = append(want, id)
		}
	}
	add := func(id string) {
		if id != "" && !slices.Contains(want, id) {
			want = append(want, id)
		}
	}
	for _, r := range o.p.runs {
		if o.p.marked[r.ID] {
			add(r.ID)
		}
	}
	add(o.p.current)
	text := lang.L("Curves")
	if len(want) > maxRuns {
		text = lang.L("Only {{.N}} curves are drawn at once.", map[string]any{"N": maxRuns})
		want = want[:maxRuns]
	}
	o.hint.SetText(text)
	o.order = want
	for id := range o.logs {
		if !slices.Contains(want, id) {
			delete(o.logs, id)
		}
	}
	for _, id := range want {
		if o.logs[id] == nil {
			o.logs[id] = &runLog{}
			o.read(id)
		}
	}
	o.draw()
}

// grew reads on after a run's log has grown.
func (o *overlay) grew(run string) {
	if o.logs[run] != nil {
		o.read(run)
	}
}

func (o *overlay) read(id string) {
	l := o.logs[id]
	if l.loading {
		l.again = true
		return
	}
	l.loading = true
	cursor := l.cursor
	type result struct {
		points []studio.LogPoint
		next   int64
		reset  bool
	}
	page.Load(o.p.s, func(ctx context.Context) (result, error) {
		pts, next, reset, err := o.p.s.Studio.Runs.Log(ctx, id, cursor)
		return result{pts, next, reset}, err
	}, func(r result, err error) {
		if o.logs[id] != l {
			return
		}
		l.loading = false
		if err != nil {
			o.p.s.Fail(err)
			return
		}
		if r.reset {
			l.points = nil
		}
		l.points, l.cursor = append(l.points, r.points...), r.next
		if len(r.points) > 0 || r.reset {
			o.draw()
		}
		if l.again {
			l.again = false
			o.read(id)
		}
	})
}

func (o *overlay) value(p studio.LogPoint) float64 {
	switch o.metric {
	case 1:
		return p.HeldOut
	case 2:
		return p.GradNorm
	}
	return p.Loss
}

// draw gives the plot every curve, each starting at its own zero on the time axis.
func (o *overlay) draw() {
	o.plot.XFormat, o.plot.XTitle = plot.Number, lang.L("step")
	if o.byTime {
		o.plot.XFormat, o.plot.XTitle = plot.Duration, ""
	}
	o.plot.YTitle = []string{lang.L("mean squared error per value"), lang.L("mean squared error per value"), lang.L("norm of the gradient")}[o.metric]
	var series []plot.Series
	for i, id := range o.order {
		r, ok := o.p.run(id)
		if !ok {
			continue
		}
		s := plot.Series{Name: r.Name, Exact: o.metric == 1, Color: i + 1}
		if r.Number > 0 {
			s.Name = page.Int(r.Number) + " " + r.Name
		}
		if n := []rune(s.Name); len(n) > 32 {
			s.Name = string(n[:31]) + "…"
		}
		pts := o.logs[id].points
		for _, p := range pts {
			y := o.value(p)
			if o.metric == 1 && math.IsNaN(y) {
				continue
			}
			x := float64(p.Step)
			if o.byTime {
				x = p.Time.Sub(pts[0].Time).Seconds()
			}
			s.X, s.Y = append(s.X, x), append(s.Y, y)
		}
		series = append(series, s)
	}
	o.plot.Set(series...)
}
