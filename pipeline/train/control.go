package train

import (
	"context"
	"sync"
)

// Control lets another goroutine steer a run between two steps, without reloading anything. The zero value is ready.
type Control struct {
	mu     sync.Mutex
	paused bool
	sample bool
	wake   chan struct{}
}

// Pause stops the run before its next step; it first saves a checkpoint, so that galleries can be made from it.
func (c *Control) Pause() { c.set(func() { c.paused = true }) }

// Resume lets a paused run go on.
func (c *Control) Resume() { c.set(func() { c.paused = false }) }

// SampleNow asks for a fixed-seed grid of the current weights before the next step, also while paused.
func (c *Control) SampleNow() { c.set(func() { c.sample = true }) }

// Paused reports whether a pause is asked for.
func (c *Control) Paused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paused
}

func (c *Control) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	if c.wake != nil {
		close(c.wake)
		c.wake = nil
	}
}

type action int

const (
	doStep action = iota
	doSample
	doPause
)

// next says what the run is to do now. SampleNow is answered once.
func (c *Control) next() action {
	if c == nil {
		return doStep
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.sample:
		c.sample = false
		return doSample
	case c.paused:
		return doPause
	}
	return doStep
}

// wait returns when something was asked for that a paused run must answer, or with the context's error.
func (c *Control) wait(ctx context.Context) error {
	c.mu.Lock()
	if !c.paused || c.sample {
		c.mu.Unlock()
		return nil
	}
	if c.wake == nil {
		c.wake = make(chan struct{})
	}
	wake := c.wake
	c.mu.Unlock()
	select {
	case <-wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
