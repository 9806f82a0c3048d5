// Package train is the page on which a training is set up, watched and steered.
package train

import (
	"context"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/events"
	"unnoise/app/studio"
	"unnoise/ui/icons"
	"unnoise/ui/kit"
	"unnoise/ui/page"
)

// Page is the Train page. It has two sides: setting up a training, and watching the one that runs.
type Page struct {
	s     *page.Services
	shown bool

	setup *setup
	watch *watch
	side  bool // true: watching

	toSetup, toWatch *widget.Button
	main             *widget.Button // Start, Stop or Stopping…
	why              *widget.Label  // beside it, while it cannot be used
	body             *fyne.Container
	state            studio.JobState
}

// New returns the page.
func New(s *page.Services) page.Page { return &Page{s: s} }

// ID implements page.Page.
func (p *Page) ID() page.ID { return page.Train }

// Title implements page.Page.
func (p *Page) Title() string { return lang.L("Train") }

// Icon implements page.Page.
func (p *Page) Icon() fyne.Resource { return icons.Train }

// Content implements page.Page.
func (p *Page) Content() fyne.CanvasObject {
	p.toSetup = widget.NewButton(lang.L("Set up"), func() { p.turn(false) })
	p.toWatch = widget.NewButton(lang.L("Watch"), func() { p.turn(true) })
	p.main = widget.NewButton("", p.Start)
	p.setup = newSetup(p)
	p.watch = newWatch(p)
	p.body = container.NewStack()
	p.why = widget.NewLabel("")
	p.why.Importance = widget.LowImportance
	name := kit.Title(p.Title())
	name.Truncation = fyne.TextTruncateOff
	title := container.NewHBox(name, container.NewCenter(container.NewHBox(p.toSetup, p.toWatch)))
	p.turn(p.s.Studio.Training.Snapshot().Busy())
	return kit.Page(title, container.NewHBox(p.why, p.main), container.NewBorder(p.s.Notices(), nil, nil, nil, p.body))
}

// turn shows the one side or the other.
func (p *Page) turn(watch bool) {
	if watch != p.side {
		p.s.Window.Canvas().Unfocus() // an entry out of sight must not blink: every blink paints the window
	}
	p.side = watch
	p.toSetup.Importance, p.toWatch.Importance = widget.MediumImportance, widget.MediumImportance
	if watch {
		p.toWatch.Importance = widget.HighImportance
		p.body.Objects = []fyne.CanvasObject{p.watch.root}
	} else {
		p.toSetup.Importance = widget.HighImportance
		p.body.Objects = []fyne.CanvasObject{p.setup.root}
		p.watch.view.Stop()
	}
	if p.body.Size().IsZero() {
		p.update()
		return // it is laid out when it has a size
	}
	p.toSetup.Refresh()
	p.toWatch.Refresh()
	p.body.Refresh()
	if watch {
		p.watch.update(true)
	}
	p.update()
}

// Shown implements page.Page.
func (p *Page) Shown() {
	p.shown = true
	p.s.ShowNotices(true)
	p.setup.load()
	if p.side {
		p.watch.update(true)
	}
	p.update()
}

// Hidden implements page.Page.
func (p *Page) Hidden() {
	p.shown = false
	p.s.ShowNotices(false)
	p.watch.view.Stop()
}

// Open implements page.Opener.
func (p *Page) Open(target any) {
	switch t := target.(type) {
	case page.TrainOn:
		p.turn(false)
		p.setup.fillWith(t.Dataset, "", t.Preprocess)
	case page.TrainLike:
		p.turn(false)
		p.setup.clone(t.Run)
	case page.WatchRun:
		p.turn(true)
	}
}

// Start implements page.Starter: it does what the one button says.
func (p *Page) Start() {
	if p.main.Disabled() {
		return
	}
	snap := p.s.Studio.Training.Snapshot()
	switch {
	case p.side && snap.Busy():
		if err := p.s.Studio.Training.Stop(); err != nil {
			p.s.Fail(err)
		}
	case p.side:
		p.turn(false)
	case snap.Busy():
		p.setup.enqueue()
	default:
		p.setup.start()
	}
	p.update()
}

// Tick implements page.Ticker.
func (p *Page) Tick() {
	if st := p.s.Studio.Training.Snapshot().State; st != p.state {
		p.update()
	}
	if p.side {
		p.watch.update(false)
	}
	p.setup.tick()
}

// Event implements page.EventHandler.
func (p *Page) Event(e any) {
	if !p.shown {
		return
	}
	switch e := e.(type) {
	case events.DatasetsChanged, events.LibraryRebuilt:
		p.setup.load()
	case events.QueueChanged:
		p.setup.showQueue()
	case events.JobChanged:
		p.update()
		p.setup.showQueue()
		p.setup.check()
		if p.side {
			p.watch.update(true)
		}
	case events.RuntimeChanged, events.SettingsChanged:
		p.setup.check()
	case events.LogGrew:
		if e.Run == p.watch.view.Run() {
			p.watch.view.UpdateLog()
		}
	case events.SamplesAdded:
		if e.Run == p.watch.view.Run() {
			p.watch.view.UpdateSamples()
		}
	}
}

// Fit implements page.Fitter.
func (p *Page) Fit() { p.watch.view.Fit() }

// Keys implements page.KeyHelp.
func (p *Page) Keys() []page.Key {
	return []page.Key{
		{Keys: lang.L("Wheel"), What: lang.L("Zoom the curve; over its left axis, the height")},
		{Keys: lang.L("Drag"), What: lang.L("Move the curve")},
		{Keys: lang.L("Double click"), What: lang.L("Show the whole curve again")},
	}
}

// update makes the button say what it will do.
func (p *Page) update() {
	snap := p.s.Studio.Training.Snapshot()
	was := p.state
	p.state = snap.State
	text, icon, imp, on := "", fyne.Resource(nil), widget.HighImportance, true
	switch {
	case p.side && snap.State == studio.JobStopping:
		text, imp, on = lang.L("Stopping…"), widget.MediumImportance, false
	case p.side && snap.Busy():
		text, icon, imp = lang.L("Stop"), theme.MediaStopIcon(), widget.DangerImportance
	case p.side:
		text, imp = lang.L("Set up a training"), widget.MediumImportance
	case snap.Busy():
		text, icon, on = lang.L("Add to the queue"), theme.ContentAddIcon(), p.setup.ready()
	default:
		text, icon, on = lang.L("Start"), theme.MediaPlayIcon(), p.setup.ready()
	}
	p.main.Importance = imp
	p.main.SetIcon(icon)
	p.main.SetText(text)
	if on {
		p.main.Enable()
	} else {
		p.main.Disable()
	}
	p.main.Refresh()
	why := ""
	if !on && !p.side {
		why = p.setup.why()
	}
	p.why.SetText(why)
	idle := was == studio.JobIdle || was == ""
	if p.shown && idle && snap.Busy() && !p.side {
		p.turn(true) // something began: show it
	}
}

// act runs a quick command off the UI thread.
func (p *Page) act(do func(ctx context.Context) error, then func()) {
	p.s.Do(do, func(err error) {
		if err != nil {
			p.s.Fail(err)
		} else if then != nil {
			then()
		}
	})
}
