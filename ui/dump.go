//go:build uitest

package ui

import (
	"encoding/json"
	"os"
	"runtime"
	"sync"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/widget"

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

	Goroutines int     `json:"goroutines"`
	Heap       uint64  `json:"heap"`  // bytes in use; a file named like the dump's with .collect at its end asks for a collection before
	Stall      float64 `json:"stall"` // longest time in ms that the UI thread let a caller wait, since Stalls was last 0
	Stalls     int     `json:"stalls"`
}

// stalls measures how long the UI thread is busy at a time: it asks for it every few milliseconds and notes the longest
// wait. A file named like the dump's with .reset at its end begins anew.
type stalls struct {
	mu    sync.Mutex // held while the dump itself keeps the UI thread busy
	worst time.Duration
	n     int // waits of more than 50 ms
}

func (s *stalls) watch(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-time.After(5 * time.Millisecond):
		}
		s.mu.Lock()
		began := time.Now()
		fyne.DoAndWait(func() {})
		d := time.Since(began)
		s.worst = max(s.worst, d)
		if d > 50*time.Millisecond {
			s.n++
		}
		s.mu.Unlock()
	}
}

// startDump writes what is on show to the file that UNNOISE_UI_DUMP names, four times a second, so that a test can find
// things in a real window. It is only built with the tag uitest.
func (r *runner) startDump() {
	path := os.Getenv("UNNOISE_UI_DUMP")
	if path == "" {
		return
	}
	var st stalls
	go st.watch(r.s.Context().Done())
	go func() {
		for range time.Tick(250 * time.Millisecond) {
			if r.s.Context().Err() != nil {
				return
			}
			var d dump
			st.mu.Lock()
			fyne.DoAndWait(func() {
				if r.s.Context().Err() == nil {
					d = r.dump()
				}
			})
			if os.Remove(path+".reset") == nil {
				st.worst, st.n = 0, 0
			}
			d.Stall, d.Stalls = float64(st.worst.Microseconds())/1000, st.n
			st.mu.Unlock()
			if os.Remove(path+".collect") == nil {
				runtime.GC()
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			d.Goroutines, d.Heap = runtime.NumGoroutine(), m.HeapInuse
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
	walk(c.Content(), clip, scale, false, &d.Nodes)
	for _, o := range c.Overlays().List() {
		walk(o, clip, scale, true, &d.Nodes)
	}
	return d
}

type area struct{ x0, y0, x1, y1 float32 }

func (a area) and(b area) area {
	return area{max(a.x0, b.x0), max(a.y0, b.y0), min(a.x1, b.x1), min(a.y1, b.y1)}
}

func walk(o fyne.CanvasObject, clip area, scale float32, overlay bool, out *[]node) {
	if o == nil || !o.Visible() {
		return
	}
	pos := fyne.CurrentApp().Driver().AbsolutePositionForObject(o)
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
			walk(c, clip, scale, overlay, out)
		}
	case fyne.Widget:
		if _, ok := o.(*container.Scroll); ok {
			clip = seen
		}
		for _, c := range test.WidgetRenderer(o).Objects() {
			walk(c, clip, scale, overlay, out)
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
	case *widget.Check:
		n.Kind, n.Text = "check", o.Text
	case *widget.Select:
		n.Kind, n.Text = "select", o.Selected
	case *widget.Entry:
		n.Kind, n.Text, n.Value = "entry", o.PlaceHolder, o.Text
	case *page.Entry:
		n.Kind, n.Text, n.Value = "entry", o.PlaceHolder, o.Text
	case *widget.Slider:
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
