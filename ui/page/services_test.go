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
