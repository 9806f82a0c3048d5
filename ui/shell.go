package ui

import (
	"context"
	"sync"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/events"
	"unnoise/app/studio"
	"unnoise/ui/i18n"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	uitheme "unnoise/ui/theme"
)

// shell is the window around the pages: rail, status bar, inspector, messages, keys.
type shell struct {
	s     *page.Services
	pages []page.Page
	built map[page.ID]fyne.CanvasObject
	at    page.Page

	rail      *rail
	status    *statusBar
	content   *fyne.Container // the page on show
	inspector *fyne.Container
	banner    *fyne.Container
	frame     *fyne.Container
	panel     bool // the inspector may be shown; meaningless until panelSet
	panelSet  bool // the user has said whether; until then a narrow window does without
	keysShown bool

	applied  studio.Settings // what the window looks like
	screen   fyne.Size       // in pixels; zero where it is not known
	ownFonts bool            // Chinese ones are in use
	focused  fyne.Focusable  // what had the keyboard at the last tick

	eventsMu sync.Mutex
	events   []studio.Event
}

// newShell builds the window's content over an open studio. make gives the pages; it is called again when the language
// changes.
func newShell(s *page.Services, screen fyne.Size, make func(*page.Services) []page.Page) *shell {
	sh := &shell{s: s, screen: screen, applied: s.Studio.Settings.Get()}
	s.Navigate = sh.navigate
	s.InspectorChanged = sh.updateInspector
	s.Restyle = func() { sh.restyle(make) }
	sh.build(make)
	sh.loadFonts()
	return sh
}

func (sh *shell) build(make func(*page.Services) []page.Page) {
	sh.pages = make(sh.s)
	sh.built = map[page.ID]fyne.CanvasObject{}
	sh.at = nil
	sh.rail = newRail(sh.pages, func(id page.ID) { sh.navigate(id, nil) })
	sh.status = newStatusBar(sh.s, sh.togglePanel, sh.showKeys)
	sh.content = container.NewStack()
	sh.inspector = container.NewStack()
	sh.inspector.Hide()
	sh.banner = container.NewVBox()
	sh.frame = container.New(&shellLayout{sh: sh}, sh.rail.object, sh.banner, sh.content, sh.inspector, sh.status.object)
	sh.s.Window.SetContent(container.NewStack(sh.frame, sh.s.Toasts()))
	sh.lookForRuntime()
}

// shellLayout places the rail, the page, the inspector and the status bar. In a small window the rail is narrow and the
// inspector takes less.
type shellLayout struct{ sh *shell }

const (
	narrowBelow = 900
	panelWidth  = 300
)

func (l *shellLayout) MinSize(objs []fyne.CanvasObject) fyne.Size {
	least := fyne.NewSize(640, 300+objs[4].MinSize().Height)
	if s := l.sh.screen; !s.IsZero() { // at a large scale, a small screen has less
		scale := l.sh.s.Window.Canvas().Scale()
		least = least.Min(fyne.NewSize(s.Width/scale, s.Height/scale))
	}
	return least
}

func (l *shellLayout) Layout(objs []fyne.CanvasObject, size fyne.Size) {
	railObj, banner, content, inspector, status := objs[0], objs[1], objs[2], objs[3], objs[4]
	l.sh.rail.setNarrow(size.Width < narrowBelow)
	rw := l.sh.rail.width()
	sh := status.MinSize().Height
	h := size.Height - sh
	status.Resize(fyne.NewSize(size.Width, sh))
	status.Move(fyne.NewPos(0, h))
	railObj.Resize(fyne.NewSize(rw, h))
	railObj.Move(fyne.NewPos(0, 0))
	w := size.Width - rw
	var bh float32
	if len(l.sh.banner.Objects) > 0 {
		banner.Resize(fyne.NewSize(w, banner.MinSize().Height)) // the width decides the height of wrapped text
		bh = banner.MinSize().Height
		banner.Resize(fyne.NewSize(w, bh))
		banner.Move(fyne.NewPos(rw, 0))
	}
	inspector.(*fyne.Container).Hidden = len(l.sh.inspector.Objects) == 0 || !l.sh.panelOn(size.Width)
	if inspector.Visible() {
		pw := float32(panelWidth)
		if w < 3*pw {
			pw = max(200, w/3)
		}
		w -= pw
		inspector.Resize(fyne.NewSize(pw, h-bh))
		inspector.Move(fyne.NewPos(rw+w, bh))
	}
	content.Resize(fyne.NewSize(w, h-bh))
	content.Move(fyne.NewPos(rw, bh))
}

func (sh *shell) page(id page.ID) page.Page {
	for _, p := range sh.pages {
		if p.ID() == id {
			return p
		}
	}
	return nil
}

// navigate shows a page.
func (sh *shell) navigate(id page.ID, target any) {
	p := sh.page(id)
	if p == nil {
		return
	}
	if p != sh.at {
		sh.s.Window.Canvas().Unfocus()
		if sh.at != nil {
			sh.at.Hidden()
		}
		obj, ok := sh.built[id]
		if !ok {
			obj = p.Content()
			sh.built[id] = obj
		}
		sh.at = p
		sh.content.Objects = []fyne.CanvasObject{obj}
		sh.rail.selectPage(id)
		sh.updateInspector()
		obj.Resize(sh.content.Size())
		if ok {
			obj.Refresh() // the theme may have changed meanwhile
		}
		canvas.Refresh(sh.content)
		p.Shown()
	}
	if o, ok := p.(page.Opener); ok && target != nil {
		o.Open(target)
	}
}

func (sh *shell) updateInspector() {
	var obj fyne.CanvasObject
	if i, ok := sh.at.(page.Inspected); ok {
		obj = i.Inspector()
	}
	kit.Show(obj != nil, sh.status.panel)
	sh.inspector.Objects = nil
	if obj != nil {
		line := kit.NewSurface(theme.ColorNameSeparator, "", 0, kit.Gap(1, 1))
		sh.inspector.Objects = []fyne.CanvasObject{
			kit.NewSurface(uitheme.ColorNameCard, "", 0, nil),
			container.NewBorder(nil, nil, line, nil, kit.Pad(10, 10, 8, 10, obj)),
		}
	}
	sh.frame.Layout.Layout(sh.frame.Objects, sh.frame.Size()) // and not Refresh: that looks anew at all there is in the window
	sh.inspector.Refresh()
}

// panelOn says whether the inspector is wanted in a window so wide.
func (sh *shell) panelOn(width float32) bool {
	if sh.panelSet {
		return sh.panel
	}
	return width >= narrowBelow
}

func (sh *shell) togglePanel() {
	sh.panel, sh.panelSet = !sh.panelOn(sh.frame.Size().Width), true
	sh.updateInspector()
}

// receive takes the studio's events on their own goroutine; tick hands them to the pages.
func (sh *shell) receive(e studio.Event) {
	sh.eventsMu.Lock()
	defer sh.eventsMu.Unlock()
	if _, notice := e.(studio.Notice); !notice {
		for _, o := range sh.events {
			if _, n := o.(studio.Notice); !n && o == e {
				return
			}
		}
	}
	sh.events = append(sh.events, e)
}

// tick runs on the UI thread, ten times a second, or twice while nothing else happens.
func (sh *shell) tick() {
	sh.eventsMu.Lock()
	evs := sh.events
	sh.events = nil
	sh.eventsMu.Unlock()
	for _, e := range evs {
		sh.s.Hear(e)
		switch e.(type) {
		case events.RuntimeChanged:
			sh.lookForRuntime()
		case events.SettingsChanged:
			sh.s.Restyle()
		}
		for _, p := range sh.pages {
			if h, ok := p.(page.EventHandler); ok && sh.built[p.ID()] != nil {
				h.Event(e)
			}
		}
	}
	sh.s.Tick(time.Now())
	sh.revealFocus()
	sh.status.tick()
	if t, ok := sh.at.(page.Ticker); ok {
		t.Tick()
	}
}

// revealFocus scrolls to what has got the keyboard: Tab goes on where nothing is to be seen.
func (sh *shell) revealFocus() {
	f := sh.s.Window.Canvas().Focused()
	if f == sh.focused {
		return
	}
	sh.focused = f
	if o, ok := f.(fyne.CanvasObject); ok {
		kit.Reveal(o)
	}
}

// restyle applies the language, theme and scale of the settings.
func (sh *shell) restyle(make func(*page.Services) []page.Page) {
	old, now := sh.applied, sh.s.Studio.Settings.Get()
	sh.applied = now
	if old.Theme != now.Theme || old.Scale != now.Scale {
		sh.relook(now)
	}
	if old.Language != now.Language {
		if err := i18n.Apply(now.Language); err != nil {
			sh.s.Fail(err)
		}
		at := sh.at
		if at != nil {
			at.Hidden()
		}
		sh.build(make)
		if at != nil {
			sh.navigate(at.ID(), nil)
		}
		sh.loadFonts()
	} else if old.Theme != now.Theme {
		sh.frame.Refresh()
	}
}

// chineseFonts are those of Chinese texts, once they were needed.
type chineseFonts struct{ regular, bold fyne.Resource }

// loadFonts has texts written with fonts that have their letters: Chinese ones with the system's, which are read the first time,
// others with Fyne's own.
func (sh *shell) loadFonts() {
	if !i18n.Chinese() {
		if sh.ownFonts {
			sh.setFonts(chineseFonts{})
		}
		return
	}
	page.Load(sh.s, func(context.Context) (chineseFonts, error) {
		r, b, err := i18n.ChineseFonts()
		return chineseFonts{r, b}, err
	}, func(f chineseFonts, err error) {
		if err == nil && f.regular != nil && i18n.Chinese() { // without one, Settings tells
			sh.setFonts(f)
		}
	})
}

func (sh *shell) setFonts(f chineseFonts) {
	sh.ownFonts = f.regular != nil
	uitheme.SetFonts(f.regular, f.bold)
	sh.relook(sh.applied)
}

// relook applies theme and scale to every page that was built, on show or not: Fyne renews what is in the window.
func (sh *shell) relook(now studio.Settings) {
	shown := sh.content.Objects
	var all []fyne.CanvasObject
	for _, p := range sh.pages {
		if o := sh.built[p.ID()]; o != nil {
			all = append(all, o)
		}
		if i, ok := p.(page.Inspected); ok && sh.built[p.ID()] != nil {
			if o := i.Inspector(); o != nil && p != sh.at {
				all = append(all, o)
			}
		}
	}
	sh.content.Objects = all
	applyLook(sh.s.App, sh.s.Window, now)
	sh.content.Objects = shown
	sh.content.Refresh()
}

// lookForRuntime shows an offer over the pages while the runtime library is missing.
func (sh *shell) lookForRuntime() {
	page.Load(sh.s, sh.s.Studio.Settings.Runtime, func(st studio.RuntimeStatus, err error) {
		sh.banner.Objects = nil
		switch {
		case err != nil:
			sh.s.Fail(err)
		case !st.Installed:
			text := kit.Text(lang.L("Training and sampling need the runtime library, which is not installed yet. Nothing is downloaded before you say so."))
			install := kit.Button(lang.L("Install…"), theme.DownloadIcon(), widget.HighImportance, func() { sh.s.InstallRuntime(st, nil) })
			row := container.NewBorder(nil, nil, container.NewCenter(kit.NewIcon(theme.InfoIcon())), container.NewCenter(install), text)
			sh.banner.Objects = []fyne.CanvasObject{kit.NewSurface(uitheme.ColorNameActive, "", 0, kit.Pad(2, 2, 20, 20, row))}
		}
		sh.banner.Refresh()
		sh.frame.Refresh()
	})
}

// dropped takes files dropped anywhere onto the window.
func (sh *shell) dropped(paths []string) {
	if len(paths) == 0 {
		return
	}
	if d, ok := sh.at.(page.Dropper); ok && d.Dropped(paths) {
		return
	}
	for _, p := range paths {
		sh.navigate(page.Datasets, page.ImportPath{Path: p})
	}
}
