// Package pagetest opens a page over a real studio in a temporary workspace, on Fyne's test driver.
//
// What the page would do on the UI thread is queued and done by the test's own goroutine in Wait, so that a test sees the
// page as the window's thread does and the race detector has something to find.
package pagetest

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/widget"
	"github.com/stretchr/testify/require"

	"unnoise/app/studio"
	"unnoise/ui/i18n"
	"unnoise/ui/page"
	uitheme "unnoise/ui/theme"
)

// Bench is a page under test.
type Bench struct {
	T      testing.TB
	S      *page.Services
	Page   page.Page
	Window fyne.Window

	// Visits are the pages that were asked for, with their targets.
	Visits []Navigation

	mu     sync.Mutex
	posted []func()
	events []studio.Event
}

// Navigation is one call of Services.Navigate.
type Navigation struct {
	To     page.ID
	Target any
}

// Open makes a workspace and shows the page in a test window.
func Open(t testing.TB, makePage func(*page.Services) page.Page) *Bench {
	t.Helper()
	return OpenAt(t, filepath.Join(t.TempDir(), "work space"), makePage)
}

// OpenAt is Open for the workspace in a folder, which is made if need be. The settings lie beside it, so that a second OpenAt
// is a restart.
func OpenAt(t testing.TB, dir string, makePage func(*page.Services) page.Page) *Bench {
	t.Helper()
	t.Setenv("UNNOISE_CONFIG", filepath.Join(filepath.Dir(dir), "settings.json"))
	require.NoError(t, i18n.Apply("en"))
	a := test.NewTempApp(t)
	a.Settings().SetTheme(uitheme.New(uitheme.Light))
	st, err := studio.Open(context.Background(), dir)
	require.NoError(t, err)
	w := test.NewTempWindow(t, nil)
	w.Resize(fyne.NewSize(1200, 800))
	b := &Bench{T: t, Window: w, S: page.New(context.Background(), a, w, st)}
	b.S.Post = func(f func()) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.posted = append(b.posted, f)
	}
	b.S.Navigate = func(id page.ID, target any) { b.Visits = append(b.Visits, Navigation{id, target}) }
	unsubscribe := st.Subscribe(func(e studio.Event) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.events = append(b.events, e)
	})
	t.Cleanup(func() {
		unsubscribe()
		b.S.Close(20 * time.Second)
		require.NoError(t, st.Close(context.Background()))
	})
	if makePage == nil {
		return b
	}
	b.Page = makePage(b.S)
	w.SetContent(container.NewStack(b.Page.Content(), b.S.Toasts()))
	w.Resize(fyne.NewSize(1200, 800))
	b.Page.Shown()
	return b
}

// Turn does what is queued for the UI thread once, as the window's ticker would.
func (b *Bench) Turn() {
	b.mu.Lock()
	posted, evs := b.posted, b.events
	b.posted, b.events = nil, nil
	b.mu.Unlock()
	for _, f := range posted {
		f()
	}
	for _, e := range evs {
		b.S.Hear(e)
		if h, ok := b.Page.(page.EventHandler); ok {
			h.Event(e)
		}
	}
	if t, ok := b.Page.(page.Ticker); ok {
		t.Tick()
	}
}

// Wait turns until the condition holds.
func (b *Bench) Wait(what string, cond func() bool) {
	b.T.Helper()
	end := time.Now().Add(60 * time.Second)
	for !cond() {
		if time.Now().After(end) {
			b.T.Fatalf("waited in vain for %s; on show: %q; messages: %q", what, b.Texts(), b.S.Messages())
		}
		time.Sleep(5 * time.Millisecond)
		b.Turn()
	}
}

// WaitText waits until some text on show contains s.
func (b *Bench) WaitText(s string) {
	b.T.Helper()
	b.Wait("the text "+s, func() bool { return b.Shows(s) })
}

// Shows says whether some text on show contains s.
func (b *Bench) Shows(s string) bool {
	for _, t := range b.Texts() {
		if strings.Contains(t, s) {
			return true
		}
	}
	return false
}

// Texts are all texts on show, dialogs included.
func (b *Bench) Texts() []string {
	var out []string
	b.each(func(o fyne.CanvasObject) bool {
		switch o := o.(type) {
		case *canvas.Text:
			out = append(out, o.Text)
		case *widget.Label: // whole, where its lines are wrapped
			out = append(out, o.Text)
		}
		return false
	})
	return out
}

// each visits what is on show, topmost layer first, until visit returns true.
func (b *Bench) each(visit func(fyne.CanvasObject) bool) {
	over := b.Window.Canvas().Overlays().List()
	for i := len(over) - 1; i >= 0; i-- {
		if walk(over[i], visit) {
			return
		}
	}
	walk(b.Window.Canvas().Content(), visit)
}

func walk(o fyne.CanvasObject, visit func(fyne.CanvasObject) bool) bool {
	if o == nil || !o.Visible() {
		return false
	}
	if visit(o) {
		return true
	}
	switch o := o.(type) {
	case *fyne.Container:
		for _, c := range o.Objects {
			if walk(c, visit) {
				return true
			}
		}
	case fyne.Widget:
		for _, c := range test.WidgetRenderer(o).Objects() {
			if walk(c, visit) {
				return true
			}
		}
	}
	return false
}

// Cramped names what is on show in less height than it needs: what was shown without a new layout has none.
func (b *Bench) Cramped() (out []string) {
	b.each(func(o fyne.CanvasObject) bool {
		if c, ok := o.(*fyne.Container); ok {
			for _, part := range c.Objects {
				if part.Visible() && part.Size().Height < part.MinSize().Height-0.5 {
					out = append(out, fmt.Sprintf("%T has %v and needs %v", part, part.Size(), part.MinSize()))
				}
			}
		}
		return false
	})
	return out
}

// Find is the first thing on show of a type for which ok holds, or the zero value.
func Find[T fyne.CanvasObject](b *Bench, ok func(T) bool) (found T) {
	b.each(func(o fyne.CanvasObject) bool {
		if v, is := o.(T); is && ok(v) {
			found = v
			return true
		}
		return false
	})
	return found
}

// Button is the button with a label, or nil.
func (b *Bench) Button(label string) *widget.Button {
	return Find(b, func(o *widget.Button) bool { return o.Text == label })
}

// Tap waits for an enabled button with a label and taps it.
func (b *Bench) Tap(label string) {
	b.T.Helper()
	b.Wait("the button "+label, func() bool { o := b.Button(label); return o != nil && !o.Disabled() })
	test.Tap(b.Button(label))
	b.Turn()
}

// Visit visits an object and all within it, whether on show or not: an inspector, say, which only the shell shows.
func Visit(o fyne.CanvasObject, f func(fyne.CanvasObject)) {
	f(o)
	switch o := o.(type) {
	case *fyne.Container:
		for _, c := range o.Objects {
			Visit(c, f)
		}
	case fyne.Widget:
		for _, c := range test.WidgetRenderer(o).Objects() {
			Visit(c, f)
		}
	}
}

// In is the last thing of a type within an object for which ok holds, or the zero value.
func In[T fyne.CanvasObject](o fyne.CanvasObject, ok func(T) bool) (found T) {
	Visit(o, func(o fyne.CanvasObject) {
		if v, is := o.(T); is && ok(v) {
			found = v
		}
	})
	return found
}

// ButtonIn is the button with a label within an object, or nil.
func ButtonIn(o fyne.CanvasObject, label string) *widget.Button {
	return In(o, func(b *widget.Button) bool { return b.Text == label })
}

// Pictures writes n small distinct pictures into a folder per class and returns the folder.
func Pictures(t testing.TB, n int, classes ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pictures")
	if len(classes) == 0 {
		classes = []string{"."}
	}
	for i := range n {
		img := image.NewRGBA(image.Rect(0, 0, 16, 16))
		for y := range 16 {
			for x := range 16 {
				on := (x*(i%5+2)+y*(i/5%7+1))%(i%11+4) < 3
				c := color.RGBA{uint8(i * 53), uint8(i * 97), uint8(255 - i*31), 255}
				if on {
					c = color.RGBA{uint8(255 - i*17), uint8(x * 16), uint8(y * 16), 255}
				}
				img.SetRGBA(x, y, c)
			}
		}
		sub := filepath.Join(dir, classes[i%len(classes)])
		require.NoError(t, os.MkdirAll(sub, 0o755))
		f, err := os.Create(filepath.Join(sub, string(rune('a'+i/26))+string(rune('a'+i%26))+".png"))
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, img))
		require.NoError(t, f.Close())
	}
	return dir
}
