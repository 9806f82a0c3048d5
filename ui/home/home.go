// Package home is the page the window opens with: what is running, what was made last, and how to begin.
package home

import (
	"context"
	"fmt"
	"image"
	"math"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/events"
	"unnoise/app/studio"
	"unnoise/resources/appicon"
	"unnoise/ui/icons"
	"unnoise/ui/kit"
	"unnoise/ui/page"
)

const (
	recent  = 12  // runs and galleries shown
	picture = 148 // side of their pictures
)

// Page is the Home page.
type Page struct {
	s *page.Services

	begin, crashed, running, runs, galleries *fyne.Container
	last                                     *fyne.Container // the run that was trained last, when it could go on
	runsGrid, galleriesGrid                  *fyne.Container

	job struct {
		name, state                *widget.Label
		cover                      *kit.Picture
		meter                      *kit.Meter
		step, loss, heldOut, speed *kit.Figure
		eta                        *kit.Figure
		grid                       int64
		run                        string
	}

	starting *page.Task // the demo, until it trains
	startBar *kit.Meter
	startRow *widget.Label
	start    fyne.CanvasObject

	shown    bool
	dirty    bool
	loaded   time.Time
	pictures page.Pending
}

// New returns the page.
func New(s *page.Services) page.Page { return &Page{s: s} }

// ID implements page.Page.
func (p *Page) ID() page.ID { return page.Home }

// Title implements page.Page.
func (p *Page) Title() string { return lang.L("Home") }

// Icon implements page.Page.
func (p *Page) Icon() fyne.Resource { return icons.Home }

// Content implements page.Page.
func (p *Page) Content() fyne.CanvasObject {
	p.begin = container.NewStack()
	p.crashed = container.New(layout.NewCustomPaddedVBoxLayout(8))
	kit.Show(false, p.begin)
	kit.Show(false, p.crashed)
	p.running = container.NewStack(p.jobCard())
	kit.Show(false, p.running)
	p.startBar, p.startRow = kit.NewMeter(200), kit.Caption("")
	cancel := kit.Button(lang.L("Cancel"), nil, widget.MediumImportance, func() {
		if p.starting != nil {
			p.starting.Cancel()
		}
	})
	p.start = kit.Card(container.NewBorder(nil, nil, nil, container.NewCenter(cancel),
		container.NewVBox(kit.Ellipsis(lang.L("Starting the demo"), true), kit.Pad(0, 0, 7, 7, p.startBar), p.startRow)))
	kit.Show(false, p.start)
	p.runsGrid = kit.Tiles(picture+20, picture+72, 10, false)
	p.galleriesGrid = kit.Tiles(picture+20, picture+72, 10, false)
	p.runs = section(lang.L("Recent runs"), lang.L("All runs"), func() { p.s.Navigate(page.Runs, nil) }, p.runsGrid)
	p.galleries = section(lang.L("Recent galleries"), lang.L("All galleries"), func() { p.s.Navigate(page.Gallery, nil) }, p.galleriesGrid)
	kit.Show(false, p.runs)
	kit.Show(false, p.galleries)

	p.last = container.NewStack()
	kit.Show(false, p.last)
	actions := kit.Buttons(
		kit.Button(lang.L("Try the demo"), icons.Demo, widget.MediumImportance, p.demo),
		kit.Button(lang.L("Open a folder…"), theme.FolderOpenIcon(), widget.HighImportance, p.open))
	return kit.Page(kit.Title(p.Title()), actions, kit.WideScroll(container.New(&middle{width: 1040}, p.begin), p.s.Finishes(page.Home), p.start, p.crashed, p.running, p.last, p.runs, p.galleries))
}

func section(title, more string, open func(), body fyne.CanvasObject) *fyne.Container {
	head := container.NewBorder(nil, nil, nil, kit.Button(more, nil, widget.LowImportance, open), kit.Heading(title))
	return container.NewVBox(head, body)
}

// welcome is shown until there is a first run.
func (p *Page) welcome() fyne.CanvasObject {
	choice := func(icon fyne.Resource, title, text string, tapped func()) fyne.CanvasObject {
		img := container.NewGridWrap(fyne.NewSize(34, 34), kit.NewIcon(icon))
		return kit.NewTapCard(kit.Pad(10, 10, 10, 10, container.NewBorder(nil, nil, kit.Pad(4, 0, 0, 4, container.NewVBox(img)), nil,
			container.NewVBox(kit.Heading(title), kit.Muted(text)))), tapped)
	}
	logo := canvas.NewImageFromResource(fyne.NewStaticResource("unnoise.png", appicon.PNG))
	logo.FillMode = canvas.ImageFillContain
	logo.SetMinSize(fyne.NewSize(112, 112))
	title := kit.Title("Unnoise")
	title.Alignment = fyne.TextAlignCenter
	text := kit.Text(lang.L("Unnoise learns from a folder of your pictures and makes new ones like them, on this computer alone."))
	text.Alignment = fyne.TextAlignCenter
	return container.NewVBox(kit.Gap(1, 20), logo, title, text, kit.Gap(1, 10),
		kit.Tiles(400, 136, 16, true,
			choice(icons.Demo, lang.L("Try the demo"), lang.L("Trains a small network on built-in pictures. The first samples appear within minutes."), p.demo),
			choice(theme.FolderOpenIcon(), lang.L("Open a folder"), lang.L("Choose a folder or zip of pictures, or drop it anywhere onto this window."), p.open)))
}

// jobCard shows the run that is training.
func (p *Page) jobCard() fyne.CanvasObject {
	j := &p.job
	j.grid = -1
	j.cover = kit.NewPicture(picture, picture)
	j.name = kit.Heading("")
	j.name.Truncation = fyne.TextTruncateEllipsis
	j.state = kit.Ellipsis("", false)
	j.meter = kit.NewMeter(80)
	j.step = kit.NewFigure(lang.L("Step"), "–")
	j.loss = kit.NewFigure(lang.L("Loss"), "–")
	j.heldOut = kit.NewFigure(lang.L("Held-out loss"), "–")
	j.speed = kit.NewFigure(lang.L("Images/s"), "–")
	j.eta = kit.NewFigure(lang.L("Time left"), "–")
	show := kit.Button(lang.L("Watch it learn"), theme.NavigateNextIcon(), widget.HighImportance, func() { p.s.Navigate(page.Train, page.WatchRun{}) })
	figures := kit.Tiles(96, 50, 4, true, j.step, j.loss, j.heldOut, j.speed, j.eta)
	side := container.NewVBox(container.NewBorder(nil, nil, nil, show, j.name), j.state, kit.Pad(2, 4, 7, 7, j.meter), figures)
	return kit.Card(container.NewBorder(nil, nil, container.NewVBox(j.cover), nil, kit.Pad(0, 0, 6, 0, side)))
}

// Shown implements page.Page.
func (p *Page) Shown() {
	p.shown = true
	p.load()
	p.Tick()
}

// Hidden implements page.Page.
func (p *Page) Hidden() {
	p.shown = false
	p.pictures.Stop()
}

// Event implements page.EventHandler.
func (p *Page) Event(ev any) {
	switch ev.(type) {
	case events.RunsChanged, events.GalleriesChanged, events.JobChanged, events.SamplesAdded, events.LibraryRebuilt:
		p.dirty = true
	}
}

// Tick implements page.Ticker.
func (p *Page) Tick() {
	if p.dirty && time.Since(p.loaded) > time.Second {
		p.load()
	}
	kit.Show(p.starting != nil, p.start)
	if p.starting != nil {
		pr := p.starting.Progress()
		p.startBar.Set(p.starting.Fraction())
		line := page.Text(pr.Phase)
		if pr.Total > pr.Done {
			line += " · " + page.Int(pr.Done) + " / " + page.Int(pr.Total)
		}
		set(p.startRow, line)
	}
	snap := p.s.Job()
	if !snap.Busy() {
		kit.Show(false, p.running)
		return
	}
	kit.Show(true, p.running)
	j := &p.job
	set(j.name, snap.Name)
	set(j.state, stateLine(snap))
	if snap.Steps > 0 {
		j.meter.Set(float64(snap.Step) / float64(snap.Steps))
	}
	j.step.Set(page.Int(snap.Step))
	j.loss.Set(page.Number(orNone(snap.Smooth)))
	j.heldOut.Set(page.Number(orNone(snap.HeldOut)))
	j.speed.Set(page.Number(orNone(snap.ImagesPerSec)))
	eta := "–"
	if snap.ETA > 0 {
		eta = page.Duration(snap.ETA)
	}
	j.eta.Set(eta)
	if snap.GridStep != j.grid || snap.Run != j.run {
		j.grid, j.run = snap.GridStep, snap.Run
		if snap.GridStep < 0 {
			j.cover.Set(nil)
		} else {
			p.s.Thumb(studio.Ref{Kind: studio.RunCover, Owner: snap.Run}, picture, func(img *image.RGBA) { p.setPicture(j.cover, img) })
		}
	}
}

func (p *Page) setPicture(pic *kit.Picture, img *image.RGBA) {
	if img == nil {
		pic.Set(nil)
		return
	}
	pic.Set(img)
}

func set(l *widget.Label, text string) {
	if l.Text != text {
		l.SetText(text)
	}
}

// orNone takes a figure of 0 for one that is not measured yet.
func orNone(v float64) float64 {
	if v == 0 {
		return math.NaN()
	}
	return v
}

func stateLine(s studio.Snapshot) string {
	line := page.JobState(s.State)
	if s.State == studio.JobTraining {
		line += " · " + lang.L("step {{.Step}} of {{.Steps}}", map[string]any{"Step": page.Int(s.Step), "Steps": page.Int(s.Steps)})
	}
	return line
}

type found struct {
	runs        []studio.Run
	galleries   []studio.Gallery
	interrupted []studio.Interrupted
}

func (p *Page) load() {
	p.dirty = false
	p.loaded = time.Now()
	page.Load(p.s, func(ctx context.Context) (found, error) {
		var f found
		var err error
		if f.runs, err = p.s.Studio.Runs.List(ctx, studio.RunFilter{Order: studio.ByUpdated, Limit: recent}); err != nil {
			return f, err
		}
		if f.interrupted, err = p.s.Studio.Runs.Interrupted(ctx); err != nil {
			return f, err
		}
		f.galleries, err = p.s.Studio.Galleries.List(ctx)
		if len(f.galleries) > recent {
			f.galleries = f.galleries[:recent]
		}
		return f, err
	}, func(f found, err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		p.show(f)
	})
}

func (p *Page) show(f found) {
	p.pictures.Stop()
	p.begin.Objects = nil
	if len(f.runs) == 0 && len(f.galleries) == 0 {
		p.begin.Objects = []fyne.CanvasObject{p.welcome()}
	}
	kit.Show(len(p.begin.Objects) > 0, p.begin)
	kit.Relayout(p.begin)

	p.crashed.RemoveAll()
	for _, it := range f.interrupted {
		p.crashed.Add(p.crashCard(it))
	}
	kit.Show(len(f.interrupted) > 0, p.crashed)
	kit.Relayout(p.crashed)

	p.showLast(f.runs)
	p.runsGrid.RemoveAll()
	for _, r := range f.runs {
		line := page.RunState(r.State)
		switch {
		case r.State == studio.RunDone:
			line += " · " + lang.L("{{.N}} steps", map[string]any{"N": page.Int(r.Step)})
		case r.Steps > 0:
			line += fmt.Sprintf(" · %d %%", 100*r.Step/r.Steps)
		}
		p.runsGrid.Add(p.tile(r.Cover, r.Name, line, func() { p.s.Navigate(page.Runs, page.ShowRun{Run: r.ID}) }))
	}
	kit.Show(len(f.runs) > 0, p.runs)
	kit.Relayout(p.runsGrid)

	p.galleriesGrid.RemoveAll()
	for _, g := range f.galleries {
		line := lang.N("{{.N}} picture", g.Images, map[string]any{"N": page.Int(g.Images)})
		p.galleriesGrid.Add(p.tile(g.Cover, g.Name, line, func() { p.s.Navigate(page.Gallery, page.ShowGallery{Gallery: g.ID}) }))
	}
	kit.Show(len(f.galleries) > 0, p.galleries)
	kit.Relayout(p.galleriesGrid)
}

// tile is a card with a picture, a name and a line about it.
func (p *Page) tile(ref studio.Ref, name, line string, tapped func()) fyne.CanvasObject {
	pic := kit.NewPicture(picture, picture)
	p.pictures.Add(p.s.Thumb(ref, picture-8, func(img *image.RGBA) { p.setPicture(pic, img) }))
	text := container.New(layout.NewCustomPaddedVBoxLayout(-10), kit.Ellipsis(name, true), kit.Caption(line))
	return kit.NewTapCard(container.NewBorder(pic, nil, nil, nil, text), tapped)
}

// showLast offers to go on with the run that was trained last, where it was stopped before its end.
func (p *Page) showLast(runs []studio.Run) {
	p.last.Objects = nil
	if len(runs) > 0 && (runs[0].State == studio.RunStopped || runs[0].State == studio.RunFailed) && !p.s.Studio.Training.Snapshot().Busy() {
		r := runs[0]
		pic := kit.NewPicture(72, 72)
		p.pictures.Add(p.s.Thumb(r.Cover, 72, func(img *image.RGBA) { pic.Set(img) }))
		line := lang.L("Stopped at step {{.Step}} of {{.Steps}}", map[string]any{"Step": page.Int(r.Step), "Steps": page.Int(r.Steps)})
		goOn := kit.Button(lang.L("Continue"), theme.MediaPlayIcon(), widget.HighImportance, func() { p.goOn(r.ID) })
		show := kit.Button(lang.L("Open the run"), icons.Runs, widget.MediumImportance, func() { p.s.Navigate(page.Runs, page.OpenRun{Run: r.ID}) })
		p.last.Add(kit.Card(container.NewBorder(nil, nil, container.NewCenter(pic), container.NewCenter(container.NewHBox(show, goOn)),
			kit.Pad(4, 4, 6, 6, container.New(layout.NewCustomPaddedVBoxLayout(-6), kit.Ellipsis(r.Name, true), kit.Ellipsis(line, false))))))
	}
	kit.Show(len(p.last.Objects) > 0, p.last)
}

// goOn continues a run.
func (p *Page) goOn(run string) {
	p.s.WithRuntime(func() {
		p.s.Do(func(ctx context.Context) error { return p.s.Studio.Training.ContinueRun(ctx, run, 0) }, func(err error) {
			if err != nil {
				p.s.Fail(err)
				return
			}
			p.s.Navigate(page.Train, page.WatchRun{})
		})
	})
}

// crashCard offers to go on with a run whose process vanished.
func (p *Page) crashCard(it studio.Interrupted) fyne.CanvasObject {
	text := page.Text(it.Text)
	if it.Lost > 0 {
		text += " " + lang.N("{{.N}} step after the last checkpoint will be done again.", int(it.Lost), map[string]any{"N": page.Int(it.Lost)})
	}
	goOn := kit.Button(lang.L("Continue"), theme.MediaPlayIcon(), widget.HighImportance, func() { p.goOn(it.Run) })
	leave := kit.Button(lang.L("Leave it stopped"), nil, widget.LowImportance, func() {
		p.s.Do(func(ctx context.Context) error { return p.s.Studio.Runs.Dismiss(ctx, it.Run) }, func(err error) {
			p.s.Fail(err)
			p.load()
		})
	})
	return kit.Card(container.NewBorder(nil, nil, container.NewCenter(kit.NewIcon(theme.NewWarningThemedResource(theme.WarningIcon()))),
		container.NewCenter(kit.Buttons(leave, goOn)), kit.Text(text)))
}

// demo trains the built-in demo, after the runtime library is there.
func (p *Page) demo() {
	if p.s.Studio.Training.Snapshot().Busy() {
		p.s.ToastWith(lang.L("A run is training. Stop it before the demo starts."), lang.L("Show it"), func() { p.s.Navigate(page.Train, page.WatchRun{}) })
		return
	}
	p.s.WithRuntime(func() {
		if p.starting != nil {
			return
		}
		p.starting = p.s.Run(lang.L("Starting the demo"), func(ctx context.Context, report func(page.Progress)) error {
			return p.s.Studio.Training.StartDemo(ctx, report)
		}, func(err error) {
			p.starting = nil
			if err != nil {
				p.s.Fail(err)
				return
			}
			p.s.Navigate(page.Train, page.WatchRun{})
		})
		p.Tick()
	})
}

func (p *Page) open() {
	what := page.Picking{Title: lang.L("A folder or zip of pictures"), Folders: true, Files: true, Extensions: []string{".zip"}}
	p.s.Pick(what, func(path string) { p.s.Navigate(page.Datasets, page.ImportPath{Path: path}) })
}

// middle keeps its one object in the middle, at most so wide.
type middle struct{ width float32 }

func (l *middle) MinSize(objs []fyne.CanvasObject) fyne.Size { return objs[0].MinSize() }

func (l *middle) Layout(objs []fyne.CanvasObject, size fyne.Size) {
	w := min(size.Width, l.width)
	objs[0].Resize(fyne.NewSize(w, size.Height))
	objs[0].Move(fyne.NewPos((size.Width-w)/2, 0))
}
