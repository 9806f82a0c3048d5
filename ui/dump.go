//go:build uitest && linux

package ui

import (
	"encoding/json"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/widget"
	"golang.org/x/sys/unix"

	"unnoise/ui/kit"
	"unnoise/ui/page"
)

// node is one visible thing in the dump: what it is, what it says and where it is, in pixels of the window.
type node struct {
	Kind     string  `json:"kind"`
	Text     string  `json:"text,omitempty"`
	Value    string  `json:"value,omitempty"` // what an entry holds
	Disabled bool    `json:"disabled,omitempty"`
	X        float32 `json:"x"`
	Y        float32 `json:"y"`
	W        float32 `json:"w"`
	H        float32 `json:"h"`
	Overlay  bool    `json:"overlay,omitempty"` // within a dialog or menu
}

type dump struct {
	Page     page.ID  `json:"page"`
	Messages []string `json:"messages"`
	Focused  bool     `json:"focused"` // whether some widget has the keyboard
	Nodes    []node   `json:"nodes"`

	Goroutines int    `json:"goroutines"`
	Heap       uint64 `json:"heap"`   // bytes in use; a file named like the dump's with .collect at its end asks for a collection before
	Frames     frames `json:"frames"` // since a file named like the dump's with .reset at its end
}

// frames tells about the turns of the driver's loop in which something was painted. Work is the processor time of the UI
// thread: events, functions handed to it, layout and painting, with what the graphics driver does on this thread. Time is
// what the turn took by the clock, with the waits for the driver's own threads, the screen and other programs; a turn of
// nothing takes 17 ms.
type frames struct {
	N          int
	Work, Time times
}

// times are of single frames, in ms.
type times struct {
	Median, P95, Worst float64
	Over               int // how many of more than 50 ms
}

// meter notes every turn: an animation is called once in each, before painting.
type meter struct {
	mu    sync.Mutex
	work  time.Duration // of the UI thread, at the last call
	at    time.Time
	turns []turn
}

type turn struct{ work, time time.Duration }

// worked is the processor time of the calling thread.
func worked() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		fyne.LogError("no clock", err)
	}
	return time.Duration(t.Nano())
}

// except leaves what piece does, on the UI thread, out of the turn.
func (m *meter) except(piece func()) {
	work, at := worked(), time.Now()
	piece()
	m.work += worked() - work
	m.at = m.at.Add(time.Since(at))
}

func (m *meter) turn(float32) {
	work, at := worked(), time.Now()
	if !m.at.IsZero() {
		m.mu.Lock()
		m.turns = append(m.turns, turn{work - m.work, at.Sub(m.at)})
		m.mu.Unlock()
	}
	m.work, m.at = work, at
}

// follow notes the turns of a window, and leaves out of them what it sleeps.
func (m *meter) follow(r *rest) {
	fyne.NewAnimation(time.Hour, m.turn).Start()
	wait := r.wait
	r.wait = func(s float64) {
		work, at := worked(), time.Now()
		wait(s)
		m.at = m.at.Add(time.Since(at) - (worked() - work))
	}
}

func (m *meter) reset() {
	m.mu.Lock()
	m.turns = nil
	m.mu.Unlock()
}

func (m *meter) frames() frames {
	var work, wall []time.Duration
	m.mu.Lock()
	for _, t := range m.turns {
		if t.work > time.Millisecond { // something was painted
			work, wall = append(work, t.work), append(wall, t.time)
		}
	}
	m.mu.Unlock()
	return frames{len(work), summary(work), summary(wall)}
}

func summary(all []time.Duration) (t times) {
	if len(all) == 0 {
		return t
	}
	slices.Sort(all)
	at := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))].Microseconds()) / 1000 }
	t = times{Median: at(0.5), P95: at(0.95), Worst: at(1)}
	for _, d := range all {
		if d > 50*time.Millisecond {
			t.Over++
		}
	}
	return t
}

// profile writes a CPU profile beside the dump for as long as a file named like it with .profile at its end exists.
type profile struct{ f *os.File }

func (p *profile) look(path string) {
	_, err := os.Stat(path + ".profile")
	switch {
	case err == nil && p.f == nil:
		if p.f, err = os.Create(path + ".pprof"); err != nil || pprof.StartCPUProfile(p.f) != nil {
			fyne.LogError("no profile", err)
		}
	case err != nil && p.f != nil:
		pprof.StopCPUProfile()
		_ = p.f.Close()
		p.f = nil
		_ = os.Rename(path+".pprof", path+".cpu")
	}
}

// startDump writes what is on show to the file that UNNOISE_UI_DUMP names, four times a second, so that a test can find
// things in a real window. It is only built with the tag uitest.
func (r *runner) startDump() {
	path := os.Getenv("UNNOISE_UI_DUMP")
	if path == "" {
		return
	}
	var m meter
	var pr profile
	m.follow(r.rest)
	go func() {
		asked := func(what string) bool {
			_, err := os.Stat(path + "." + what)
			return err == nil
		}
		n := 0
		for range time.Tick(25 * time.Millisecond) {
			if r.s.Context().Err() != nil {
				return
			}
			// While a test measures how soon something shows, it asks for haste; while it measures what the window costs, for quiet.
			for asked("quiet") && r.s.Context().Err() == nil {
				time.Sleep(time.Second)
			}
			if n++; n%10 != 0 && !asked("haste") {
				continue
			}
			taken := make(chan dump, 1)
			r.s.Post(func() { m.except(func() { taken <- r.dump() }) })
			var d dump
			select {
			case d = <-taken:
			case <-r.s.Context().Done():
				return
			}
			d.Frames = m.frames()
			if os.Remove(path+".reset") == nil {
				m.reset()
			}
			pr.look(path)
			if os.Remove(path+".collect") == nil {
				runtime.GC()
			}
			var mem runtime.MemStats
			runtime.ReadMemStats(&mem)
			d.Goroutines, d.Heap = runtime.NumGoroutine(), mem.HeapInuse
			b, err := json.Marshal(d)
			if err != nil {
				continue
			}
			tmp := path + ".tmp"
			if os.WriteFile(tmp, b, 0o600) == nil {
				_ = os.Rename(tmp, path)
			}
		}
	}()
}

func (r *runner) dump() dump {
	c := r.win.Canvas()
	d := dump{Messages: r.s.Messages(), Focused: c.Focused() != nil}
	if r.sh.at != nil {
		d.Page = r.sh.at.ID()
	}
	scale := c.Scale()
	clip := area{0, 0, c.Size().Width, c.Size().Height}
	walk(c.Content(), fyne.Position{}, clip, scale, false, &d.Nodes)
	for _, o := range c.Overlays().List() {
		walk(o, fyne.Position{}, clip, scale, true, &d.Nodes)
	}
	return d
}

type area struct{ x0, y0, x1, y1 float32 }

func (a area) and(b area) area {
	return area{max(a.x0, b.x0), max(a.y0, b.y0), min(a.x1, b.x1), min(a.y1, b.y1)}
}

func walk(o fyne.CanvasObject, parent fyne.Position, clip area, scale float32, overlay bool, out *[]node) {
	if o == nil || !o.Visible() {
		return
	}
	pos := parent.Add(o.Position())
	at := area{pos.X, pos.Y, pos.X + o.Size().Width, pos.Y + o.Size().Height}
	seen := at.and(clip)
	if n := describe(o); n != nil && seen.x1-seen.x0 > 2 && seen.y1-seen.y0 > 2 {
		n.X, n.Y = seen.x0*scale, seen.y0*scale
		n.W, n.H = (seen.x1-seen.x0)*scale, (seen.y1-seen.y0)*scale
		n.Overlay = overlay
		*out = append(*out, *n)
	}
	switch o := o.(type) {
	case *fyne.Container:
		for _, c := range o.Objects {
			walk(c, pos, clip, scale, overlay, out)
		}
	case fyne.Widget:
		if _, ok := o.(*container.Scroll); ok {
			clip = seen
		}
		for _, c := range test.WidgetRenderer(o).Objects() {
			walk(c, pos, clip, scale, overlay, out)
		}
	}
}

func describe(o fyne.CanvasObject) *node {
	n := &node{}
	if d, ok := o.(fyne.Disableable); ok {
		n.Disabled = d.Disabled()
	}
	switch o := o.(type) {
	case *railItem:
		n.Kind, n.Text = "rail", string(o.page.ID())
	case *widget.Button:
		n.Kind, n.Text = "button", o.Text
	case *kit.Check:
		n.Kind, n.Text = "check", o.Text
	case *kit.Select:
		n.Kind, n.Text = "select", o.Selected
	case *widget.Entry:
		n.Kind, n.Text, n.Value = "entry", o.PlaceHolder, o.Text
	case *page.Entry:
		n.Kind, n.Text, n.Value = "entry", o.PlaceHolder, o.Text
	case *kit.Slider:
		n.Kind = "slider"
	case *canvas.Text:
		n.Kind, n.Text = "text", o.Text
	case *canvas.Image:
		n.Kind = "image"
	default:
		if _, ok := o.(fyne.Tappable); !ok {
			return nil
		}
		n.Kind = "tappable"
	}
	return n
}
