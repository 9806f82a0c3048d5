package page_test

import (
	"context"
	"errors"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/widget"
	"github.com/stretchr/testify/require"

	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/page/pagetest"
)

// An error goes when the same work succeeds, and stays while other work does.
func TestAnErrorGoesWhenItsCauseIsMended(t *testing.T) {
	b := pagetest.Open(t, nil)
	broken := errors.New("the folder is gone")
	work := func(err error) {
		done := false
		b.S.Do(func(context.Context) error { return err }, func(err error) { b.S.Fail(err); done = true })
		b.Wait("the work", func() bool { return done })
	}
	other := func() {
		done := false
		page.Load(b.S, func(context.Context) (int, error) { return 1, nil }, func(int, error) { done = true })
		b.Wait("the other work", func() bool { return done })
	}
	task := func(err error) {
		done := false
		b.S.Run("Importing", func(context.Context, func(page.Progress)) error { return err }, func(err error) { b.S.Fail(err); done = true })
		b.Wait("the task", func() bool { return done })
	}
	work(broken)
	work(broken)
	require.Equal(t, []string{"The folder is gone."}, b.S.Messages(), "said twice, it stands once")
	other()
	require.Len(t, b.S.Messages(), 1)
	task(errors.New("no pictures"))
	require.Len(t, b.S.Messages(), 2)
	work(nil)
	require.Equal(t, []string{"No pictures."}, b.S.Messages())
	task(nil)
	require.Empty(t, b.S.Messages())
}

// Messages lie in a corner, and over no control as long as there is a place without.
func TestMessagesCoverNoControls(t *testing.T) {
	b := pagetest.Open(t, nil)
	low := widget.NewButton("low at the right", nil)
	rows := container.NewVBox(widget.NewButton("left", nil))
	b.Window.SetContent(container.NewStack(container.NewBorder(nil, container.NewHBox(kit.Gap(900, 60), low), nil, nil, rows), b.S.Toasts()))
	b.Window.Resize(fyne.NewSize(1200, 800))
	b.S.Toast("a short message")
	b.S.Fail(errors.New("an error that takes several lines, since it says what, where and what to do, as it should, in whole sentences"))
	over := func(o fyne.CanvasObject) bool {
		at := fyne.CurrentApp().Driver().AbsolutePositionForObject
		box := b.S.Toasts().(*fyne.Container).Objects[0]
		return kit.Place{Pos: at(o), Size: o.Size()}.Overlaps(at(box), box.Size())
	}
	box := b.S.Toasts().(*fyne.Container).Objects[0]
	require.Positive(t, box.Size().Height)
	require.False(t, over(low))
	require.Greater(t, box.Position().X, float32(600), "at the right")
	require.Greater(t, box.Position().Y, float32(400), "and low")
	require.LessOrEqual(t, box.Position().X+box.Size().Width, float32(1200))
}
