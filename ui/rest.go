package ui

import (
	"context"
	"sync"
	"time"

	"fyne.io/fyne/v2"
	"github.com/go-gl/glfw/v3.3/glfw"
)

// rest lets the driver's loop sleep while nothing happens. Of itself the loop turns sixty times a second, and every turn
// wakes several threads of the Go runtime too: doing nothing took as much from a training as painting did. It is called
// once in each turn, after events and before painting, and is where the window's own tick is called from.
type rest struct {
	tick  func()
	dirty func() bool     // something waits to be painted
	wait  func(s float64) // sleeps for so many seconds at most; an event ends it, and is handled

	ticked, until time.Time // of the last tick; when it may sleep

	mu     sync.Mutex
	asleep bool
	poked  bool
	poke   func() // ends wait, from another goroutine
}

const (
	tickEvery  = 100 * time.Millisecond
	restTick   = 500 * time.Millisecond // while asleep
	afterPaint = 100 * time.Millisecond // what moves by itself paints again by then
	afterInput = time.Second            // more is likely to follow
)

// newRest makes the rest of a window's loop. What waits to be painted while the window is hidden is painted when it is shown.
func newRest(win fyne.Window, hidden func() bool, tick func()) *rest {
	waits := dirty(win.Canvas())
	return &rest{tick: tick, dirty: func() bool { return !hidden() && waits() }, wait: glfw.WaitEventsTimeout, poke: glfw.PostEmptyEvent}
}

// dirty tells whether a canvas waits to be painted: Fyne's has such a mark, but shows it only to its driver.
func dirty(c fyne.Canvas) func() bool {
	marked, ok := c.(interface {
		CheckDirtyAndClear() bool
		SetDirty()
	})
	return func() bool {
		if !ok {
			return true // who knows: never sleep
		}
		if !marked.CheckDirtyAndClear() {
			return false
		}
		marked.SetDirty()
		return true
	}
}

// start has the loop call turn until ctx ends.
func (r *rest) start(ctx context.Context) {
	a := fyne.NewAnimation(time.Hour, func(float32) {
		if ctx.Err() == nil {
			r.turn()
		}
	})
	a.RepeatCount = fyne.AnimationRepeatForever
	a.Start()
}

// turn ticks when it is time, and sleeps when nothing goes on.
func (r *rest) turn() {
	now := time.Now()
	if now.Sub(r.ticked) >= tickEvery {
		r.ticked = now
		r.tick()
	}
	if r.dirty() {
		r.stay(now.Add(afterPaint)) // and paint at once
		return
	}
	r.mu.Lock()
	if r.poked {
		r.poked = false
		r.stay(now.Add(afterPaint))
	}
	sleep := restTick - now.Sub(r.ticked)
	r.asleep = now.After(r.until) && sleep > 0
	asleep := r.asleep
	r.mu.Unlock()
	if !asleep {
		return
	}
	r.wait(sleep.Seconds())
	r.mu.Lock()
	r.asleep = false
	poked := r.poked
	r.mu.Unlock()
	if now = time.Now(); !poked && now.Sub(r.ticked) < restTick-20*time.Millisecond { // clocks are coarse on some systems
		r.stay(now.Add(afterInput))
	}
}

func (r *rest) stay(until time.Time) {
	if until.After(r.until) {
		r.until = until
	}
}

// wake ends a sleep, so that what was handed to the UI thread before is done at once. It may be called on any goroutine.
func (r *rest) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.poked = true
	if r.asleep { // the loop runs, so its library is there to be called
		r.poke()
	}
}
