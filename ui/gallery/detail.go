package gallery

import (
	"context"
	"fmt"
	"image"
	"strconv"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/export"
	"unnoise/ui/icons"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/widgets/form"
	"unnoise/ui/widgets/viewer"
)

// detail looks into one picture: large, how it came about, and what in the dataset is nearest to it. It also holds the views
// of two pictures.
type detail struct {
	p     *Page
	root  fyne.CanvasObject
	title *widget.Label
	tabs  *container.AppTabs
	at    int
	ref   studio.Ref
	seq   int // counts pictures shown, so that late results of another are dropped

	picture  *viewer.Viewer
	task     *page.Task
	progress *form.Progress

	steps     []studio.TrajectoryStep
	panes     [3]*viewer.Viewer // x_t, x̂0, ε̂
	scrub     *viewer.Scrubber
	which     *kit.Select
	save      *widget.Button
	stepLine  *widget.Label
	traceFor  studio.Ref
	nearFor   studio.Ref
	sample    *viewer.Viewer
	near      *fyne.Container
	walkScrub *viewer.Scrubber // of the walk on show, if any
	fitView   func()
}

func newDetail(p *Page) *detail {
	d := &detail{p: p, at: -1}
	d.title = kit.Ellipsis("", true)
	d.picture = viewer.New()
	pic := container.NewBorder(nil, container.NewHBox(
		kit.Button(lang.L("Fit"), theme.ZoomFitIcon(), widget.LowImportance, d.picture.Fit),
		kit.Button("1:1", nil, widget.LowImportance, d.picture.Actual)), nil, nil, d.picture)

	names := []string{"x_t", "x̂0", "ε̂"}
	helps := []string{lang.L("the noisy picture at this step"), lang.L("what the network expects to end with"), lang.L("the noise it sees in it")}
	grid := container.NewGridWithColumns(3)
	for i := range d.panes {
		d.panes[i] = viewer.New()
		d.panes[i].OnView = func(v viewer.View) {
			for _, o := range d.panes {
				o.SetView(v)
			}
		}
		head := kit.Ellipsis(names[i]+" – "+helps[i], false)
		grid.Add(container.NewBorder(head, nil, nil, nil, d.panes[i]))
	}
	d.scrub = viewer.NewScrubber(d.showStep)
	d.scrub.Post = p.s.Post
	d.stepLine = widget.NewLabel("")
	d.stepLine.Importance = widget.LowImportance
	d.which = kit.NewSelect(names, nil)
	d.which.SetSelectedIndex(1)
	d.save = kit.Button(lang.L("Export…"), theme.DocumentSaveIcon(), widget.MediumImportance, d.exportTrace)
	trace := container.NewBorder(nil, container.NewVBox(d.scrub,
		container.NewBorder(nil, nil, nil, container.NewHBox(d.which, d.save), d.stepLine)), nil, nil, grid)

	d.sample = viewer.New()
	d.near = container.New(layout.NewGridWrapLayout(fyne.NewSize(150, 190)))
	nearest := container.NewHSplit(container.NewBorder(kit.Ellipsis(lang.L("The sample"), false), nil, nil, nil, d.sample),
		container.NewBorder(kit.Muted(lang.L("The training pictures with the smallest difference, nearest first. A distance close to zero means that the network has learnt this picture by heart.")),
			nil, nil, nil, container.NewVScroll(d.near)))
	nearest.Offset = 0.35

	d.tabs = container.NewAppTabs(container.NewTabItem(lang.L("Picture"), pic),
		container.NewTabItem(lang.L("How it came about"), trace), container.NewTabItem(lang.L("Nearest training pictures"), nearest))
	d.tabs.OnSelected = func(*container.TabItem) { d.loadTab() }
	d.progress = form.NewProgress(func() {
		if d.task != nil {
			d.task.Cancel()
		}
	})
	kit.Show(false, d.progress)
	back := kit.Button(lang.L("Back"), theme.NavigateBackIcon(), widget.MediumImportance, d.back)
	prev := kit.Button("", theme.MoveUpIcon(), widget.LowImportance, func() { d.step(-1) })
	prev.SetIcon(theme.MediaSkipPreviousIcon())
	next := kit.Button("", theme.MediaSkipNextIcon(), widget.LowImportance, func() { d.step(1) })
	star := kit.Button("", icons.StarOutline, widget.LowImportance, p.starSelected)
	bin := kit.Button("", icons.Trash, widget.LowImportance, p.deleteSelected)
	head := container.NewBorder(nil, nil, container.NewHBox(back, prev, next), container.NewHBox(star, bin), d.title)
	d.root = container.NewBorder(container.NewVBox(head, d.progress), nil, nil, nil, d.tabs)
	return d
}

// show opens picture i.
func (d *detail) show(i int) { d.showTab(i, d.tabs.SelectedIndex()) }

func (d *detail) showTab(i, tab int) {
	if i < 0 || i >= d.p.images.Len() {
		return
	}
	d.stop()
	d.at, d.ref = i, d.p.images.Key(i)
	d.seq++
	seq := d.seq
	d.fitView = func() {
		d.picture.Fit()
		for _, v := range d.panes {
			v.Fit()
		}
	}
	d.title.SetText(fmt.Sprintf("%s   %s", d.ref.Name, stepOf(i+1, d.p.images.Len())))
	if d.p.grid.Current() != i || d.p.grid.Count() != 1 {
		d.p.grid.Select(i)
	}
	ref := d.ref
	page.Load(d.p.s, func(ctx context.Context) (*image.RGBA, error) { return d.p.s.Studio.Thumbs.Image(ctx, ref) },
		func(img *image.RGBA, err error) {
			if seq != d.seq {
				return
			}
			if err != nil {
				d.p.s.Fail(err)
				return
			}
			d.picture.SetImage(img)
			d.sample.SetImage(img)
		})
	d.p.put(d.root)
	if d.tabs.SelectedIndex() != tab {
		d.tabs.SelectIndex(tab) // loads it
	} else {
		d.loadTab()
	}
}

// loadTab computes what the tab on show needs, once for each picture.
func (d *detail) loadTab() {
	if d.at < 0 {
		return
	}
	switch d.tabs.SelectedIndex() {
	case 1:
		if d.traceFor != d.ref {
			d.trace()
		}
	case 2:
		if d.nearFor != d.ref {
			d.nearest()
		}
	}
}

// run does long work with the bar at the top, dropping the result when another picture is on show by then.
func run[T any](d *detail, title string, work func(ctx context.Context, report studio.ProgressFunc) (T, error), then func(T)) {
	if d.task != nil {
		d.task.Cancel()
	}
	d.progress.Reset()
	kit.Show(true, d.progress)
	seq := d.seq
	var out T
	var task *page.Task
	task = d.p.s.Run(title, func(ctx context.Context, report func(page.Progress)) error {
		var err error
		out, err = work(ctx, report)
		return err
	}, func(err error) {
		if d.task == task {
			d.task = nil
			kit.Show(false, d.progress)
		}
		if seq != d.seq {
			return
		}
		if err != nil {
			d.p.s.Fail(err)
			return
		}
		then(out)
	})
	d.task = task
}

// tick shows how far the work has come.
func (d *detail) tick() {
	if d.task == nil || d.task.Ended() {
		return
	}
	p := d.task.Progress()
	text := d.task.Title
	if left, ok := d.task.Remaining(); ok {
		text += " · " + lang.L("about {{.Time}} left", map[string]any{"Time": page.Duration(left)})
	}
	d.progress.Set(p.Fraction(), text)
}

func (d *detail) trace() {
	ref := d.ref
	d.steps = nil
	d.scrub.SetCount(0)
	kit.Show(false, d.save)
	for _, v := range d.panes {
		v.SetImage(nil)
	}
	d.stepLine.SetText("")
	run(d, lang.L("Sampling the picture again, step by step"), func(ctx context.Context, report studio.ProgressFunc) ([]studio.TrajectoryStep, error) {
		return d.p.s.Studio.Galleries.Trajectory(ctx, ref, report)
	}, func(steps []studio.TrajectoryStep) {
		d.traceFor, d.steps = ref, steps
		kit.Show(true, d.save)
		d.scrub.SetCount(len(steps))
		d.scrub.Set(len(steps) - 1)
	})
}

func (d *detail) showStep(i int) {
	if i < 0 || i >= len(d.steps) {
		return
	}
	s := d.steps[i]
	d.panes[0].SetImage(s.Xt)
	d.panes[1].SetImage(s.X0)
	d.panes[2].SetImage(s.Eps)
	d.stepLine.SetText(lang.L("step {{.Step}}", map[string]any{"Step": stepOf(i+1, len(d.steps))}) +
		fmt.Sprintf("    x_t = %.3f·x0 + %.3f·ε", s.Alpha, s.Sigma))
}

func (d *detail) exportTrace() {
	frames := make([]*image.RGBA, len(d.steps))
	for i, s := range d.steps {
		frames[i] = []*image.RGBA{s.Xt, s.X0, s.Eps}[d.which.SelectedIndex()]
	}
	export.Frames(d.p.s, lang.L("trajectory"), frames)
}

func (d *detail) nearest() {
	ref := d.ref
	d.near.Objects = nil
	d.near.Refresh()
	run(d, lang.L("Comparing with the training pictures"), func(ctx context.Context, report studio.ProgressFunc) ([]studio.Neighbour, error) {
		return d.p.s.Studio.Galleries.Nearest(ctx, ref, 12, report)
	}, func(ns []studio.Neighbour) {
		d.nearFor = ref
		for _, n := range ns {
			pic := kit.NewPicture(136, 136)
			if n.Image != nil {
				pic.Set(n.Image) // as the network saw it; the dataset may be gone
			}
			text := lang.L("distance {{.D}}", map[string]any{"D": fmt.Sprintf("%.3f", n.Distance)})
			d.near.Add(container.NewBorder(nil, container.New(layout.NewCustomPaddedVBoxLayout(-14), kit.Caption(text), kit.Caption(n.Name)), nil, nil, pic))
			if n.Ref.Kind == studio.NoPicture {
				continue
			}
			seq := d.seq
			d.p.s.Studio.Thumbs.Request(n.Ref, 256, func(img *image.RGBA, err error) {
				if err == nil {
					d.p.s.Post(func() {
						if seq == d.seq {
							pic.Set(img)
						}
					})
				}
			})
		}
		d.near.Refresh()
	})
}

func (d *detail) step(by int) {
	if d.at >= 0 {
		d.show(min(max(d.at+by, 0), d.p.images.Len()-1))
	}
}

// back returns to the grid.
func (d *detail) back() {
	d.stop()
	d.at = -1
	d.p.put(d.p.browser)
	d.p.grid.Focus()
}

// stop ends what moves and what is computed.
func (d *detail) stop() {
	d.seq++
	d.scrub.Stop()
	if d.walkScrub != nil {
		d.walkScrub.Stop()
	}
	if d.task != nil {
		d.task.Cancel()
		d.task = nil
		kit.Show(false, d.progress)
	}
}

// reloaded follows a change of the list: the picture may have gone.
func (d *detail) reloaded() {
	if d.at < 0 || d.p.browsing() {
		return
	}
	i, ok := d.p.images.index[d.ref]
	switch {
	case ok:
		d.at = i
	case d.p.images.Len() > 0:
		d.show(min(d.at, d.p.images.Len()-1))
	default:
		d.back()
	}
}

func (d *detail) fit() {
	if d.fitView != nil {
		d.fitView()
	}
}

// key answers the keys while a view is over the grid.
func (d *detail) key(name fyne.KeyName) bool {
	switch name {
	case fyne.KeyEscape, fyne.KeyBackspace:
		d.back()
	case fyne.KeyLeft, fyne.KeyUp:
		d.step(-1)
	case fyne.KeyRight, fyne.KeyDown:
		d.step(1)
	case fyne.KeyDelete:
		d.p.deleteSelected()
	default:
		return false
	}
	return true
}

// over puts a view with a title and a way back over the grid.
func (d *detail) over(title string, body fyne.CanvasObject, actions ...fyne.CanvasObject) {
	d.stop()
	d.at = -1
	back := kit.Button(lang.L("Back"), theme.NavigateBackIcon(), widget.MediumImportance, d.back)
	head := container.NewBorder(nil, nil, back, container.NewHBox(actions...), kit.Ellipsis(title, true))
	d.p.put(container.NewBorder(head, nil, nil, nil, body))
}

// compareSelected shows two pictures under one zoom.
func (p *Page) compareSelected() {
	refs := p.grid.SelectedKeys()
	if len(refs) != 2 {
		return
	}
	c := viewer.NewCompare()
	p.detail.over(lang.L("Compare two"), c)
	p.detail.fitView = c.Fit
	type result struct{ a, b, diff *image.RGBA }
	var mean float64
	page.Load(p.s, func(ctx context.Context) (result, error) {
		var r result
		var err error
		if r.a, err = p.s.Studio.Thumbs.Image(ctx, refs[0]); err != nil {
			return r, err
		}
		if r.b, err = p.s.Studio.Thumbs.Image(ctx, refs[1]); err != nil {
			return r, err
		}
		if r.a.Rect.Size() == r.b.Rect.Size() {
			r.diff, mean, err = p.s.Studio.Galleries.Difference(ctx, refs[0], refs[1])
		}
		return r, err
	}, func(r result, err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		c.Set(r.a, r.b, refs[0].Name, refs[1].Name)
		if r.diff != nil {
			c.SetDifference(r.diff, mean)
		}
	})
}

// interpolateSelected walks from the noise of one picture to that of another.
func (p *Page) interpolateSelected() {
	refs := p.grid.SelectedKeys()
	if len(refs) != 2 {
		return
	}
	frames := form.NewEntry(p.s, "16", form.Whole(2, 240), nil)
	p.s.Ask(lang.L("Walk between two"), lang.L("Sample"), container.NewVBox(
		kit.Muted(lang.L("Samples the pictures between two seeds, along the great circle from one noise to the other, with the settings of the first.")),
		kit.Row(lang.L("Frames"), "", frames)), func() {
		n, err := strconv.Atoi(frames.Entry.Text)
		if err != nil || n < 2 || n > 240 {
			p.s.Toast(lang.L("Enter a whole number from {{.Low}} to {{.High}}.", map[string]any{"Low": 2, "High": 240}))
			return
		}
		p.walk(refs, n)
	})
}

func (p *Page) walk(refs []studio.Ref, n int) {
	v := viewer.New()
	var frames []*image.RGBA
	save := kit.Button(lang.L("Export…"), theme.DocumentSaveIcon(), widget.MediumImportance, func() { export.Frames(p.s, lang.L("walk"), frames) })
	kit.Show(false, save)
	scrub := viewer.NewScrubber(func(i int) {
		if i < len(frames) {
			v.SetImage(frames[i])
		}
	})
	scrub.Post = p.s.Post
	scrub.Caption = func(i int) string { return stepOf(i+1, len(frames)) }
	d := p.detail
	d.over(lang.L("From {{.A}} to {{.B}}", map[string]any{"A": refs[0].Name, "B": refs[1].Name}), container.NewBorder(d.progress, scrub, nil, nil, v), save)
	d.walkScrub, d.fitView = scrub, v.Fit
	run(d, lang.L("Sampling the walk"), func(ctx context.Context, report studio.ProgressFunc) ([]*image.RGBA, error) {
		g := p.s.Studio.Galleries
		a, err := g.Info(ctx, refs[0])
		if err != nil {
			return nil, err
		}
		b, err := g.Info(ctx, refs[1])
		if err != nil {
			return nil, err
		}
		req, err := g.UseSettings(ctx, refs[0])
		if err != nil {
			return nil, err
		}
		return g.Interpolate(ctx, studio.InterpolateRequest{Sample: req, SeedA: a.Seed, IndexA: a.Index, SeedB: b.Seed, IndexB: b.Index, Frames: n}, report)
	}, func(out []*image.RGBA) {
		frames = out
		scrub.SetCount(len(out))
		scrub.Set(0)
		kit.Show(true, save)
		scrub.Toggle()
	})
}
