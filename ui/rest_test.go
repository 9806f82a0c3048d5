package ui

import (
	"sync/atomic"
	"testing"
	"time"

	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/widget"
	"github.com/stretchr/testify/require"
)

// sleeper is a rest whose sleeps a test watches: each takes its whole time unless the test ends it.
type sleeper struct {
	*rest
	slept []float64
	end   func() // does what ends the sleep; nil: its time passes
	ticks int
	paint bool
}

func newSleeper() *sleeper {
	s := &sleeper{}
	s.rest = &rest{
		tick:  func() { s.ticks++ },
		dirty: func() bool { return s.paint },
		poke:  func() {},
		wait: func(sec float64) {
			s.slept = append(s.slept, sec)
			if s.end != nil {
				s.end()
				return
			}
			s.pass(time.Duration(sec * float64(time.Second)))
		},
	}
	return s
}

// pass lets time pass, as far as the rest can tell.
func (s *sleeper) pass(d time.Duration) {
	s.ticked, s.until = s.ticked.Add(-d), s.until.Add(-d)
}

func TestLoopSleepsWhileNothingHappens(t *testing.T) {
	s := newSleeper()
	for range 5 {
		s.turn()
	}
	require.Len(t, s.slept, 5)
	require.InDelta(t, restTick.Seconds(), s.slept[0], 0.1)
	require.Equal(t, 5, s.ticks)
}

func TestLoopTurnsWhilePainting(t *testing.T) {
	s := newSleeper()
	s.paint = true
	s.turn()
	s.paint = false
	s.turn() // what moves by itself has not painted again yet
	require.Empty(t, s.slept)
	s.pass(afterPaint)
	s.turn()
	require.Len(t, s.slept, 1)
}

func TestInputKeepsTheLoopAwake(t *testing.T) {
	s := newSleeper()
	s.end = func() {} // the mouse, at once
	s.turn()
	s.turn()
	require.Len(t, s.slept, 1)
	s.pass(afterInput - 300*time.Millisecond)
	s.turn()
	require.Len(t, s.slept, 1)
	require.Equal(t, 2, s.ticks) // ten times a second
	s.pass(300 * time.Millisecond)
	s.turn()
	require.Len(t, s.slept, 2)
}

func TestWorkHandedOverEndsTheSleep(t *testing.T) {
	s := newSleeper()
	woken := make(chan struct{})
	s.poke = func() { close(woken) }
	s.end = func() {
		go s.wake()
		<-woken
	}
	s.turn()
	require.Len(t, s.slept, 1)
	s.turn() // what was handed over is about to be run
	require.Len(t, s.slept, 1)
	s.pass(afterPaint)
	s.end = nil
	s.turn()
	require.Len(t, s.slept, 2)
}

// Fyne paints no hidden window, and so never takes the mark away that something waits to be painted.
func TestLoopSleepsWhileTheWindowIsHidden(t *testing.T) {
	hidden := false
	r := newRest(test.NewTempWindow(t, widget.NewLabel("")), func() bool { return hidden }, func() {})
	require.True(t, r.dirty(), "the test's canvas cannot tell: it never sleeps")
	hidden = true
	require.False(t, r.dirty())
	hidden = false
	require.True(t, r.dirty())
}

// Nothing handed over may wait for a sleep that begins at the same time: every wake ends a sleep, or is seen before the next.
func TestNoWakeIsLost(t *testing.T) {
	s := newSleeper()
	poked := make(chan struct{}, 1)
	s.poke = func() {
		select {
		case poked <- struct{}{}:
		default:
		}
	}
	s.wait = func(float64) {
		select {
		case <-poked:
		case <-time.After(10 * time.Second):
			t.Error("a wake was lost")
		}
	}
	var handed, done atomic.Int64
	const n = 2000
	go func() {
		for range n {
			handed.Add(1)
			s.wake()
			for done.Load() < handed.Load() {
				time.Sleep(time.Microsecond)
			}
		}
	}()
	for done.Load() < n {
		if handed.Load() > done.Load() {
			done.Add(1) // Fyne's loop runs functions between turns
		}
		s.until = time.Time{} // as eager to sleep as can be
		s.turn()
	}
}
