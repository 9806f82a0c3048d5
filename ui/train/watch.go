package train

import (
	"context"
	"fmt"
	"math"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/icons"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/widgets/runview"
)

// watch is the side that shows the running job, or the one that ran last.
type watch struct {
	p    *Page
	root *fyne.Container
	have fyne.CanvasObject
	none fyne.CanvasObject
	view *runview.View

	name    *widget.Label
	phase   *widget.Label
	bar     *kit.Meter
	figures map[string]*kit.Figure
	pause   *widget.Button
	sample  *widget.Button
	goOn    *widget.Button
	further *widget.Button
	gallery *widget.Button
	last    studio.Snapshot
	run     studio.Run // of an ended job

	spentOn string        // the run that was followed last
	spent   time.Duration // on it
}

func newWatch(p *Page) *watch {
	w := &watch{p: p, view: runview.New(p.s), figures: map[string]*kit.Figure{}}
	w.view.SetLive(true)
	w.name = kit.Ellipsis("", true)
	w.phase = kit.Ellipsis("", false)
	w.phase.Importance = widget.LowImportance
	w.bar = kit.NewMeter(80)
	tr := p.s.Studio.Training
	w.pause = kit.Button(lang.L("Pause"), theme.MediaPauseIcon(), widget.MediumImportance, func() {
		do := tr.Pause
		if tr.Snapshot().State == studio.JobPaused {
			do = tr.Resume
		}
		if err := do(); err != nil {
			p.s.Fail(err)
		}
	})
	w.sample = kit.Button(lang.L("Sample now"), icons.Gallery, widget.MediumImportance, func() {
		if err := tr.SampleNow(); err != nil {
			p.s.Fail(err)
		}
	})
	w.goOn = kit.Button(lang.L("Continue"), theme.MediaPlayIcon(), widget.HighImportance, func() {
		id := w.view.Run()
		p.act(func(ctx context.Context) error { return tr.ContinueRun(ctx, id, 0) }, nil)
	})
	w.further = kit.Button(lang.L("Train further…"), theme.MediaPlayIcon(), widget.MediumImportance, func() { p.s.TrainFurther(w.view.Run()) })
	w.gallery = kit.Button(lang.L("Make a gallery"), icons.Gallery, widget.MediumImportance, func() {
		p.s.Navigate(page.Gallery, page.NewGallery{Model: w.view.Run(), Checkpoint: -1})
	})
	var row []fyne.CanvasObject
	for _, k := range []struct{ key, name string }{
		{"step", lang.L("Step")},
		{"eta", lang.L("Time left")},
		{"elapsed", lang.L("Training for")},
		{"loss", lang.L("Loss")},
		{"held", lang.L("Held-out loss")},
		{"speed", lang.L("Images per second")},
		{"lr", lang.L("Learning rate")},
	} {
		w.figures[k.key] = kit.NewFigure(k.name, "–")
		row = append(row, w.figures[k.key])
	}
	buttons := container.NewHBox(w.goOn, w.further, w.gallery, w.sample, w.pause)
	head := container.NewBorder(nil, nil, nil, buttons, container.NewGridWithColumns(2, w.name, w.phase))
	w.have = container.NewVScroll(container.NewBorder(kit.Pad(0, 8, 0, 0, kit.Card(container.NewVBox(head, kit.Pad(0, 2, 6, 6, w.bar), container.New(&columns{least: 112, most: 7}, row...)))), kit.Gap(1, 12), nil, nil, w.view))
	w.none = kit.Empty(icons.Train, lang.L("Nothing has been trained yet"), lang.L("Set up a training and start it; its curves and samples appear here while it learns."),
		kit.Button(lang.L("Set up a training"), nil, widget.HighImportance, func() { p.turn(false) }))
	w.root = container.NewStack(w.have, w.none)
	kit.Show(false, w.have)
	kit.Show(false, w.none)
	return w
}

// update shows the snapshot; whole also looks for the run to show when no job runs.
func (w *watch) update(whole bool) {
	snap := w.p.s.Job()
	changed := snap.State != w.last.State || snap.Run != w.last.Run
	if snap.State != studio.JobTraining || snap.Elapsed != w.last.Elapsed {
		w.view.Tick()
	}
	w.last = snap
	if snap.Run != "" {
		w.showRun(snap.Run)
	} else if whole && !snap.Busy() && w.view.Run() == "" {
		w.showLatest()
	} else if snap.Busy() {
		kit.Show(true, w.have)
		kit.Show(false, w.none)
	}
	if changed || whole {
		w.showState(snap)
	}
	if snap.Busy() || snap.Run != "" {
		w.showFigures(snap)
	}
}

func (w *watch) showRun(run string) {
	kit.Show(true, w.have)
	kit.Show(false, w.none)
	if w.view.Run() != run {
		w.view.Open(run)
		w.last = studio.Snapshot{}
	}
}

// showLatest shows the newest run when nothing was trained since the program started.
func (w *watch) showLatest() {
	page.Load(w.p.s, func(ctx context.Context) ([]studio.Run, error) {
		return w.p.s.Studio.Runs.List(ctx, studio.RunFilter{Order: studio.ByUpdated, Limit: 1})
	}, func(runs []studio.Run, err error) {
		if err != nil {
			w.p.s.Fail(err)
			return
		}
		if w.view.Run() != "" || w.last.Busy() {
			return
		}
		if len(runs) == 0 {
			kit.Show(false, w.have)
			kit.Show(true, w.none)
			return
		}
		w.showRun(runs[0].ID)
		w.ended(runs[0])
	})
}

// showState sets the buttons and the line that says what goes on.
func (w *watch) showState(snap studio.Snapshot) {
	busy := snap.Busy()
	for _, b := range []*widget.Button{w.pause, w.sample} {
		kit.Show(busy, b)
	}
	kit.Show(false, w.goOn, w.further, w.gallery)
	if busy && snap.Name != "" {
		w.name.SetText(snap.Name)
	}
	able := func(b *widget.Button, on bool) {
		if on {
			b.Enable()
		} else {
			b.Disable()
		}
	}
	able(w.pause, snap.State == studio.JobTraining || snap.State == studio.JobPaused)
	able(w.sample, snap.State == studio.JobTraining || snap.State == studio.JobPaused)
	text, icon := lang.L("Pause"), theme.MediaPauseIcon()
	if snap.State == studio.JobPaused {
		text, icon = lang.L("Go on"), theme.MediaPlayIcon()
	}
	w.pause.SetText(text)
	w.pause.SetIcon(icon)
	w.pause.Refresh()
	w.sample.Refresh()
	w.have.Refresh()
	if !busy && w.view.Run() != "" {
		id := w.view.Run()
		page.Load(w.p.s, func(ctx context.Context) (studio.Run, error) { return w.p.s.Studio.Runs.Get(ctx, id) }, func(r studio.Run, err error) {
			if err == nil && id == w.view.Run() && !w.last.Busy() {
				w.ended(r)
			}
		})
	}
}

// ended says how a run that does not train now stands.
func (w *watch) ended(r studio.Run) {
	w.run = r
	w.name.SetText(r.Name)
	w.phase.SetText(StateText(r))
	kit.Show(r.State != studio.RunDone && r.State != studio.RunRunning, w.goOn)
	kit.Show(r.Step > 0 && r.State != studio.RunRunning, w.further)
	kit.Show(r.Step > 0, w.gallery)
	kit.Show(false, w.pause, w.sample)
	if r.Steps > 0 {
		w.bar.Set(float64(r.Step) / float64(r.Steps))
	}
	w.figures["step"].Set(stepText(r.Step, r.Steps))
	w.figures["eta"].Set("–")
	spent := r.Elapsed
	if r.ID == w.spentOn { // the log tells of it only up to its last line
		spent = max(spent, w.spent)
	}
	w.figures["elapsed"].Set(page.Duration(spent))
	w.figures["loss"].Set(page.Number(r.Loss))
	w.figures["held"].Set(page.Number(r.HeldOut))
	w.have.Refresh()
}

// StateText says in a few words how a run stands.
func StateText(r studio.Run) string {
	at := map[string]any{"Step": page.Int(r.Step)}
	switch r.State {
	case studio.RunNew:
		return lang.L("Not started")
	case studio.RunRunning:
		return lang.L("Training")
	case studio.RunPaused:
		return lang.L("Paused at step {{.Step}}", at)
	case studio.RunStopped:
		return lang.L("Stopped at step {{.Step}}", at)
	case studio.RunInterrupted:
		return lang.L("Interrupted at step {{.Step}}", at)
	case studio.RunDone:
		return lang.L("Done")
	case studio.RunFailed:
		return lang.L("Failed: {{.Why}}", map[string]any{"Why": page.Text(r.Error)})
	}
	return string(r.State)
}

func stepText(step, steps int64) string {
	if steps <= 0 {
		return page.Int(step)
	}
	return fmt.Sprintf("%s / %s", page.Int(step), page.Int(steps))
}

func (w *watch) showFigures(s studio.Snapshot) {
	if !s.Busy() {
		return
	}
	if s.Steps > 0 {
		w.bar.Set(float64(s.Step) / float64(s.Steps))
	}
	text := page.Text(s.Phase)
	switch s.State {
	case studio.JobTraining:
		text = lang.L("Training")
	case studio.JobPausing:
		text = lang.L("Pausing after this step…")
	case studio.JobPaused:
		text = lang.L("Paused; the network stays in memory")
	case studio.JobSampling:
		text = lang.L("Sampling")
		if s.SampleTotal > 0 {
			text += fmt.Sprintf(" %d / %d", s.SampleDone, s.SampleTotal)
		}
	case studio.JobStopping:
		if text == "" {
			text = lang.L("Saving before it stops…")
		}
	case studio.JobStarting, studio.JobIdle:
	}
	if w.phase.Text != text {
		w.phase.SetText(text)
	}
	w.figures["step"].Set(stepText(s.Step, s.Steps))
	eta := "–"
	if s.ETA > 0 {
		eta = page.Duration(s.ETA)
	}
	w.figures["eta"].Set(eta)
	w.spentOn, w.spent = s.Run, s.Elapsed
	w.figures["elapsed"].Set(page.Duration(s.Elapsed))
	loss := s.Smooth
	if math.IsNaN(loss) { // before the first line of the log
		loss = s.Loss
	}
	if s.Step == 0 {
		w.figures["loss"].Set("–")
	} else {
		w.figures["loss"].Set(page.Number(loss))
	}
	w.figures["held"].Set(page.Number(s.HeldOut))
	w.figures["speed"].Set(page.Number(s.ImagesPerSec))
	w.figures["lr"].Set(page.Number(s.LR))
}
