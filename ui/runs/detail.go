package runs

import (
	"context"
	"fmt"
	"image"
	"math"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/icons"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/train"
	"unnoise/ui/widgets/form"
	"unnoise/ui/widgets/runview"
)

// detail is the page of one run: how it stands, its samples through time, its noise levels, its curves and its settings.
type detail struct {
	p    *Page
	root fyne.CanvasObject
	view *runview.View
	run  studio.Run
	open bool

	name, state *widget.Label
	goOn        *widget.Button
	further     *widget.Button
	gallery     *widget.Button
	pic         *kit.Picture
	figures     map[string]*kit.Figure
	checkpoints *fyne.Container
	settings    *fyne.Container

	bound    *fyne.Container // what was measured
	measure  *kit.Action
	progress *form.Progress
	task     *page.Task
	measured map[string]studio.Evaluation // by run
}

func newDetail(p *Page) *detail {
	d := &detail{p: p, figures: map[string]*kit.Figure{}, measured: map[string]studio.Evaluation{}, pic: kit.NewPicture(200, 200)}
	var parts runview.Parts
	d.view, parts = runview.NewParts(p.s)
	d.name = kit.Heading("")
	d.name.Truncation = fyne.TextTruncateEllipsis
	d.state = kit.Ellipsis("", false)
	d.state.Importance = widget.LowImportance
	back := kit.Button(lang.L("All runs"), theme.NavigateBackIcon(), widget.LowImportance, d.close)
	d.goOn = kit.Button(lang.L("Continue"), theme.MediaPlayIcon(), widget.HighImportance, func() { p.goOn(d.run.ID) })
	d.further = kit.Button(lang.L("Train further…"), theme.MediaPlayIcon(), widget.MediumImportance, func() { p.s.TrainFurther(d.run.ID) })
	d.gallery = kit.Button(lang.L("Make a gallery"), icons.Gallery, widget.MediumImportance, func() {
		p.s.Navigate(page.Gallery, page.NewGallery{Model: d.run.ID, Checkpoint: studio.NewestCheckpoint})
	})
	head := container.NewBorder(nil, nil, back, container.NewHBox(d.goOn, d.further, d.gallery), container.NewGridWithColumns(2, d.name, d.state))

	var row []fyne.CanvasObject
	for _, k := range []struct{ key, name string }{
		{"step", lang.L("Step")},
		{"loss", lang.L("Loss")},
		{"held", lang.L("Held-out loss")},
		{"best", lang.L("Best checkpoint")},
		{"elapsed", lang.L("Trained for")},
		{"params", lang.L("Parameters")},
	} {
		d.figures[k.key] = kit.NewFigure(k.name, "–")
		row = append(row, d.figures[k.key])
	}
	d.checkpoints = container.NewGridWithColumns(3)
	d.bound = container.NewVBox()
	d.measure = kit.NewAction(lang.L("Measure"), theme.HistoryIcon(), d.evaluate)
	d.progress = form.NewProgress(func() {
		if d.task != nil {
			d.task.Cancel()
		}
	})
	kit.Show(false, d.progress)
	overview := container.NewVScroll(kit.Pad(8, 8, 0, 12, container.NewVBox(
		kit.Card(container.NewBorder(nil, nil, container.NewCenter(d.pic), nil, kit.Pad(0, 0, 8, 0, kit.Tiles(150, 58, 6, true, row...)))),
		kit.Section(lang.L("Likelihood of the held-out pictures"),
			lang.L("The variational bound (the negative ELBO) says in bits per dimension how well the model accounts for pictures that it has never seen: less is better, and 8 is what pure chance needs."),
			d.bound, container.NewHBox(d.measure), d.progress),
		kit.Section(lang.L("Checkpoints"), lang.L("The best one has the lowest held-out loss. It is never removed."), d.checkpoints))))
	d.settings = container.NewStack()
	tabs := container.NewAppTabs(
		container.NewTabItem(lang.L("Overview"), overview),
		container.NewTabItem(lang.L("Samples"), kit.Pad(8, 8, 0, 0, parts.Samples)),
		container.NewTabItem(lang.L("Noise levels"), kit.Pad(8, 8, 0, 0, parts.Noise)),
		container.NewTabItem(lang.L("Loss"), kit.Pad(8, 8, 0, 0, parts.Curves)),
		container.NewTabItem(lang.L("Settings"), container.NewVScroll(kit.Pad(8, 8, 0, 12, kit.Card(d.settings)))),
	)
	tabs.OnSelected = func(*container.TabItem) { d.view.Stop() }
	d.root = container.NewBorder(head, nil, nil, nil, tabs)
	return d
}

// show opens the page of a run, or brings it up to date.
func (d *detail) show(r studio.Run) {
	other := r.ID != d.run.ID
	was := d.run
	d.run, d.open = r, true
	d.view.Open(r.ID)
	name := r.Name
	if r.Number > 0 {
		name = page.Int(r.Number) + " · " + name
	}
	d.name.SetText(name)
	d.state.SetText(train.StateText(r))
	busy := r.State == studio.RunRunning || r.State == studio.RunPaused
	kit.Show(!busy && r.State != studio.RunDone, d.goOn)
	kit.Show(!busy && r.Step > 0, d.further)
	kit.Show(r.Step > 0, d.gallery)
	step := page.Int(r.Step)
	if r.Steps > 0 {
		step += " / " + page.Int(r.Steps)
	}
	d.figures["step"].Set(step)
	d.figures["loss"].Set(page.Number(r.Loss))
	d.figures["held"].Set(page.Number(r.HeldOut))
	d.figures["elapsed"].Set(page.Duration(r.Elapsed))
	d.figures["params"].Set(page.Int(r.Params))
	if other {
		d.pic.Set(nil)
		d.settings.Objects = nil
		d.readSettings()
	}
	if r.Cover.Kind != studio.NoPicture && (other || r.Cover != was.Cover) {
		id := r.ID
		d.p.s.Thumb(r.Cover, 200, func(img *image.RGBA) {
			if d.run.ID == id {
				d.pic.Set(img)
			}
		})
	}
	d.readCheckpoints()
	d.showBound()
}

// close goes back to the list.
func (d *detail) close() {
	d.open = false
	d.view.Stop()
	d.p.showBody()
}

func (d *detail) readSettings() {
	id := d.run.ID
	page.Load(d.p.s, func(ctx context.Context) (studio.TrainRequest, error) { return d.p.s.Studio.Runs.Settings(ctx, id) },
		func(r studio.TrainRequest, err error) {
			if d.run.ID != id {
				return
			}
			if err != nil {
				d.p.s.Fail(err)
				return
			}
			tr := d.p.s.Studio.Training
			d.settings.Objects = []fyne.CanvasObject{settingsTable(nil, settingsOf(tr.Fields(), tr.Presets(), []studio.TrainRequest{r}))}
			d.settings.Refresh()
		})
}

func (d *detail) readCheckpoints() {
	id := d.run.ID
	page.Load(d.p.s, func(ctx context.Context) ([]studio.Checkpoint, error) { return d.p.s.Studio.Runs.Checkpoints(ctx, id) },
		func(cs []studio.Checkpoint, err error) {
			if d.run.ID != id {
				return
			}
			if err != nil {
				d.p.s.Fail(err)
				return
			}
			d.checkpoints.Objects = nil
			best := "–"
			for _, c := range cs {
				step, mark := lang.L("step {{.Step}}", map[string]any{"Step": page.Int(c.Step)}), ""
				if c.Best {
					best, mark = step, "★ "+lang.L("the best")
				}
				loss := lang.L("held-out loss not measured")
				if !math.IsNaN(c.HeldOut) {
					loss = lang.L("held-out loss {{.Loss}}", map[string]any{"Loss": page.Number(c.HeldOut)})
				}
				d.checkpoints.Add(kit.Ellipsis(step, c.Best))
				d.checkpoints.Add(kit.Ellipsis(loss, c.Best))
				d.checkpoints.Add(kit.Ellipsis(mark, c.Best))
			}
			if len(cs) == 0 {
				d.checkpoints.Add(kit.Muted(lang.L("No checkpoint yet.")))
			}
			d.figures["best"].Set(best)
			d.checkpoints.Refresh()
			d.measure.SetReason("")
			if len(cs) == 0 {
				d.measure.SetReason(lang.L("No checkpoint yet."))
			}
			kit.Relayout(d.checkpoints)
		})
}

// evaluate measures the bound of the newest checkpoint.
func (d *detail) evaluate() {
	if d.task != nil {
		return
	}
	id := d.run.ID
	d.p.s.WithRuntime(func() {
		var ev studio.Evaluation
		kit.Show(false, d.measure)
		d.progress.Reset()
		kit.Show(true, d.progress)
		d.task = d.p.s.Run(lang.L("Measuring"), func(ctx context.Context, report func(page.Progress)) error {
			var err error
			ev, err = d.p.s.Studio.Runs.Evaluate(ctx, id, studio.NewestCheckpoint, report)
			return err
		}, func(err error) {
			d.task = nil
			kit.Show(false, d.progress)
			kit.Show(true, d.measure)
			if err != nil {
				d.p.s.Fail(err)
				return
			}
			d.measured[id] = ev
			d.showBound()
		})
	})
}

func (d *detail) tick() {
	if d.open && d.task != nil && !d.task.Ended() {
		p := d.task.Progress()
		d.progress.Set(p.Fraction(), page.Text(p.Phase))
	}
}

// showBound shows the terms of the bound, if they were measured.
func (d *detail) showBound() {
	d.bound.Objects = nil
	ev, ok := d.measured[d.run.ID]
	if !ok {
		d.bound.Add(kit.Muted(lang.L("Not measured yet: it takes some minutes for a large network.")))
		kit.Relayout(d.bound)
		return
	}
	on := lang.L("Step {{.Step}}, on {{.N}} held-out pictures: loss {{.Loss}}.", map[string]any{"Step": page.Int(ev.Step), "N": page.Int(ev.Images), "Loss": page.Number(ev.Loss)})
	if !ev.HeldOut {
		on = lang.L("Step {{.Step}}, on {{.N}} pictures, since those it was trained on are not there now: loss {{.Loss}}.", map[string]any{"Step": page.Int(ev.Step), "N": page.Int(ev.Images), "Loss": page.Number(ev.Loss)})
	}
	d.bound.Add(kit.Text(on))
	b := ev.Bound
	if b == nil {
		d.bound.Add(kit.Muted(lang.L("An EDM model has no chain of steps, and so no such bound.")))
		kit.Relayout(d.bound)
		return
	}
	f := func(v float64) string { return fmt.Sprintf("%.3f", v) }
	total := kit.NewFigure(lang.L("Bits per dimension"), f(b.Bits))
	between := kit.NewFigure(lang.L("With 95 % certainty"), f(b.Low)+" – "+f(b.High))
	d.bound.Add(container.NewGridWithColumns(2, total, between))
	d.bound.Add(container.NewGridWithColumns(3,
		kit.NewFigure(lang.L("Prior, L_T"), f(b.Prior)), kit.NewFigure(lang.L("Steps, ΣL_t"), f(b.Steps)), kit.NewFigure(lang.L("Decoder, L_0"), f(b.Decoder))))
	if b.Useless {
		d.bound.Add(kit.Muted(lang.L("A bound of over 8 says nothing about the model: its loss does.")))
	}
	kit.Relayout(d.bound)
}
