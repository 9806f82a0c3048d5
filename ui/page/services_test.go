package page

import (
	"context"
	"testing"
	"time"

	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/dialog"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/widget"
	"github.com/stretchr/testify/require"
)

func services(t *testing.T) *Services {
	t.Helper()
	a := test.NewTempApp(t)
	w := test.NewWindow(widget.NewLabel(""))
	t.Cleanup(w.Close)
	return New(context.Background(), a, w, nil)
}

func TestPostKeepsTheOrderAndDropsWhatComesAfterStop(t *testing.T) {
	s := services(t)
	var did []int
	s.Post(func() {
		did = append(did, 1)
		for i := range 50 {
			s.Post(func() {
				time.Sleep(time.Millisecond) // more than one slice of time takes
				did = append(did, 2+i)
			})
		}
	})
	require.Len(t, did, 51)
	require.IsIncreasing(t, did)
	s.Stop()
	s.Post(func() { did = nil })
	require.Len(t, did, 51)
}

// An entry whose dialog has closed has lost the keyboard, though Fyne does not tell it; the one in the window keeps it.
func TestNoCursorBlinksInAClosedDialog(t *testing.T) {
	s := services(t)
	outer, inner := s.NewEntry(), s.NewEntry()
	s.Window.SetContent(container.NewVBox(outer))
	c := s.Window.Canvas()
	c.Focus(outer)
	s.Tick(time.Now())
	require.Same(t, outer, s.typing)
	d := dialog.NewCustomWithoutButtons("", inner, s.Window)
	s.ShowDialog(d)
	c.Focus(inner)
	s.Tick(time.Now())
	require.Same(t, inner, s.typing)
	d.Hide()
	s.Tick(time.Now())
	require.Nil(t, s.typing)
}

// A task whose count is full goes on with something that is not counted: no time is left to tell.
func TestATaskThatHasCountedAll(t *testing.T) {
	s := services(t)
	at, end := make(chan Progress), make(chan struct{})
	task := s.Run("Measuring", func(_ context.Context, report func(Progress)) error {
		for p := range at {
			report(p)
			end <- struct{}{}
		}
		return nil
	}, func(error) {})
	tell := func(p Progress) { at <- p; <-end }
	tell(Progress{Done: 1, Total: 4, ETA: 3 * time.Second})
	left, ok := task.Remaining()
	require.True(t, ok)
	require.Equal(t, 3*time.Second, left)
	require.InDelta(t, 0.25, task.Fraction(), 0)
	tell(Progress{Done: 463, Total: 463, ETA: time.Second})
	_, ok = task.Remaining()
	require.False(t, ok)
	require.InDelta(t, -1, task.Fraction(), 0)
	close(at)
}
