// Package ui is the window of Unnoise.
//
// Run opens a workspace and shows it. The window is a shell (left rail, page, inspector, status bar, messages) around one
// package per page; the pages reach everything below through package app/studio alone.
package ui

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/app"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/widget"
	"github.com/go-gl/glfw/v3.3/glfw"

	"unnoise/app/studio"
	"unnoise/app/workspace"
	"unnoise/resources/appicon"
	"unnoise/ui/i18n"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	uitheme "unnoise/ui/theme"
)

// ID names the program to the desktop.
const ID = "unnoise.studio"

// Options says what Run opens.
type Options struct {
	Workspace string // the folder; empty is the one in the settings
}

// openPatience is how long the window waits for the workspace before it shows itself without.
const openPatience = 400 * time.Millisecond

// answerPatience is how long another window on the same workspace is given to come forward; it listens every second.
const answerPatience = 5 * time.Second

// Run opens the workspace in a window and returns when the window has closed and everything is saved; where another window of
// this computer has it open, it brings that one forward. It must be called on the main goroutine. It returns an error when no
// window can be opened, or when the workspace could not be closed cleanly; what else goes wrong is told in the window.
func Run(ctx context.Context, opts Options) error {
	if err := i18n.Apply(""); err != nil {
		return err
	}
	r := &runner{opts: opts, env: os.Getenv("FYNE_SCALE")}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.ctx = ctx
	opened := make(chan result, 1)
	go func() {
		st, err := r.open()
		opened <- result{st, err}
	}()
	var early *result
	select {
	case res := <-opened:
		early = &res
	case <-time.After(openPatience):
	}
	if early != nil && r.elsewhere(early.err) {
		return nil
	}
	if early != nil && early.err == nil {
		setScale(early.st.Settings.Get(), r.env)
		if err := i18n.Apply(early.st.Settings.Get().Language); err != nil {
			return errors.Join(err, early.st.Close(ctx))
		}
	}
	r.app = app.NewWithID(ID)
	r.app.SetIcon(fyne.NewStaticResource("unnoise.png", appicon.PNG))
	r.app.Settings().SetTheme(uitheme.New(uitheme.System))
	win, err := newWindow(r.app)
	if err != nil {
		if early == nil {
			res := <-opened
			early = &res
		}
		r.st = early.st
		return errors.Join(err, r.end())
	}
	r.win = win
	r.win.SetPadded(false)
	r.startSize(early)
	r.win.SetCloseIntercept(r.closing)
	if early != nil {
		r.use(*early)
	} else {
		r.win.SetContent(container.NewCenter(container.NewVBox(
			widget.NewLabelWithStyle(lang.L("Opening the workspace…"), fyne.TextAlignCenter, fyne.TextStyle{}),
			widget.NewProgressBarInfinite())))
		go func() {
			res := <-opened
			if r.elsewhere(res.err) {
				fyne.Do(r.quit)
				return
			}
			fyne.Do(func() {
				r.use(res)
				r.startSize(&res)
			})
		}()
	}
	closed := make(chan struct{})
	go func() { // a signal ends the program as the close button does, but asks nothing
		select {
		case <-ctx.Done():
			fyne.Do(r.quit)
		case <-closed:
		}
	}()
	r.win.ShowAndRun()
	close(closed)
	cancel()
	return r.end()
}

// newWindow makes the window. Fyne panics where the system has no screen for it.
func newWindow(a fyne.App) (win fyne.Window, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the window cannot be opened on the screen %q (%v); name a screen that can be reached in DISPLAY, or use the command line: "+
				"“unnoise help” lists what it can do", os.Getenv("DISPLAY"), p)
		}
	}()
	return a.NewWindow("Unnoise"), nil
}

type result struct {
	st  *studio.Studio
	err error
}

// runner is one life of the window.
type runner struct {
	ctx  context.Context //nolint:containedctx // the life of the window is the life of this value
	opts Options
	env  string // FYNE_SCALE at the start
	app  fyne.App
	win  fyne.Window
	st   *studio.Studio
	s    *page.Services
	sh   *shell
	rest *rest

	unsubscribe func()
	leaving     bool
	hidden      bool
	pixels      fyne.Size // of the window, at the last tick
}

func (r *runner) open() (*studio.Studio, error) {
	dir := r.opts.Workspace
	if dir == "" {
		dir, _ = studio.DefaultDir() // Open tells of settings that cannot be used
	}
	return studio.Open(r.ctx, dir)
}

// elsewhere says whether another window has the workspace open and has come forward: then that is the one that was asked for.
func (r *runner) elsewhere(err error) bool {
	locked, ok := errors.AsType[*workspace.LockedError](err)
	return ok && locked.Call(r.ctx, answerPatience)
}

// use builds the window over what open returned.
func (r *runner) use(res result) {
	if res.err != nil {
		r.showOpenError(res.err)
		return
	}
	r.st = res.st
	set := r.st.Settings.Get()
	if err := i18n.Apply(set.Language); err != nil {
		fyne.LogError("language", err)
	}
	r.s = page.New(r.ctx, r.app, r.win, r.st)
	r.rest = newRest(r.win, func() bool { return r.hidden }, func() {
		r.fit()
		r.sh.tick()
	})
	r.s.Wake = r.rest.wake
	applyLook(r.app, r.win, set)
	r.sh = newShell(r.s, screenSize(), makePages)
	r.sh.bindKeys(r.closing)
	r.win.SetOnDropped(func(_ fyne.Position, uris []fyne.URI) {
		var paths []string
		for _, u := range uris {
			if u.Scheme() == "file" {
				paths = append(paths, u.Path())
			}
		}
		r.sh.dropped(paths)
	})
	r.unsubscribe = r.st.Subscribe(r.sh.receive)
	r.sh.navigate(page.Home, nil)
	r.rest.start(r.s.Context())
	go r.answer()
	r.startDump()
}

// showOpenError says why the workspace could not be opened and offers to try again.
func (r *runner) showOpenError(err error) {
	title := lang.L("The workspace cannot be opened")
	if _, ok := errors.AsType[*workspace.LockedError](err); ok {
		title = lang.L("The workspace is open elsewhere")
	}
	again := kit.Button(lang.L("Try again"), nil, widget.HighImportance, nil)
	quit := kit.Button(lang.L("Quit"), nil, widget.MediumImportance, r.quit)
	again.OnTapped = func() {
		again.Disable()
		go func() {
			st, err := r.open()
			fyne.Do(func() { r.use(result{st, err}) })
		}()
	}
	text := kit.Text(page.Sentence(err))
	text.Alignment = fyne.TextAlignCenter
	head := kit.Heading(title)
	head.Alignment = fyne.TextAlignCenter
	r.win.SetContent(container.NewCenter(container.NewVBox(head,
		container.NewCenter(container.NewGridWrap(fyne.NewSize(520, 100), text)),
		container.NewCenter(container.NewHBox(again, quit)))))
}

// end saves and closes what is open.
func (r *runner) end() error {
	if r.unsubscribe != nil {
		r.unsubscribe()
	}
	if r.s != nil {
		if !r.pixels.IsZero() {
			r.s.Remember(windowPart, r.pixels)
		}
		r.s.Close(10 * time.Second)
	}
	if r.st == nil {
		return nil
	}
	if err := r.st.Close(context.WithoutCancel(r.ctx)); err != nil {
		return fmt.Errorf("the workspace could not be closed cleanly: %w", err)
	}
	return nil
}

// setScale puts the scale of the settings where Fyne looks for it; 0 leaves it to the environment and the system.
func setScale(s studio.Settings, env string) {
	switch {
	case s.Scale > 0:
		_ = os.Setenv("FYNE_SCALE", strconv.FormatFloat(s.Scale, 'f', 2, 64))
	case env != "":
		_ = os.Setenv("FYNE_SCALE", env)
	default:
		_ = os.Unsetenv("FYNE_SCALE")
	}
}

// windowPart is the window's name among what is remembered.
const windowPart = "window"

// The size of a window that was never opened before, in pixels at a scale of 1.
const firstWidth, firstHeight = 1200, 780

// startSize gives the window the pixels it had when it was closed last, as far as the scale is known before it is shown.
func (r *runner) startSize(early *result) {
	pixels, scale := fyne.NewSize(firstWidth, firstHeight), float32(1)
	if early != nil && early.err == nil {
		early.st.Settings.Recall(windowPart, &pixels)
		if s := early.st.Settings.Get().Scale; s > 0 {
			scale = float32(s)
		}
	}
	if r.sh != nil { // it is shown already
		scale = r.win.Canvas().Scale()
	}
	pixels = within(pixels, screenSize())
	r.win.Resize(fyne.NewSize(pixels.Width/scale, pixels.Height/scale))
}

// fit notes the window's size in pixels, and keeps the window within the screen.
func (r *runner) fit() {
	c := r.win.Canvas()
	pixels := fyne.NewSize(c.Size().Width*c.Scale(), c.Size().Height*c.Scale())
	if pixels == r.pixels || r.hidden {
		return
	}
	r.pixels = pixels
	if fits := within(pixels, screenSize()); fits != pixels {
		r.win.Resize(fyne.NewSize(fits.Width/c.Scale(), fits.Height/c.Scale()))
	}
}

// within makes a size no larger than the screen, where that is known, and no smaller than can be used.
func within(size, screen fyne.Size) fyne.Size {
	size = size.Max(fyne.NewSize(320, 240))
	if screen.IsZero() {
		return size
	}
	return size.Min(screen)
}

// screenSize is the pixels of the screen that windows may cover, or zero where they cannot be told. It is called on the UI
// thread.
func screenSize() fyne.Size {
	if runtime.GOOS == "darwin" { // its windows are measured in points, which Fyne sees to
		return fyne.Size{}
	}
	m := glfw.GetPrimaryMonitor()
	if m == nil {
		return fyne.Size{}
	}
	_, _, w, h := m.GetWorkarea()
	return fyne.NewSize(float32(w), float32(h))
}

var startScale = os.Getenv("FYNE_SCALE")

// applyLook puts theme and scale in force; Fyne reads the scale again when the theme is set. It then gives the window as many
// units as before, at the new scale: that would leave the screen, so the window gets the pixels it had.
func applyLook(a fyne.App, w fyne.Window, s studio.Settings) {
	c := w.Canvas()
	was, size := c.Scale(), c.Size()
	defer func() {
		if now := c.Scale(); now != was && now > 0 {
			w.Resize(fyne.NewSize(size.Width*was/now, size.Height*was/now))
		}
	}()
	setScale(s, startScale)
	mode := uitheme.System
	switch s.Theme {
	case "light":
		mode = uitheme.Light
	case "dark":
		mode = uitheme.Dark
	}
	a.Settings().SetTheme(uitheme.New(mode))
}
