package kit

import (
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/widget"
	"github.com/stretchr/testify/require"
)

// What is shown late has its room at once, and what is hidden gives it back, however deep it lies.
func TestShowLaysOutWhatIsAround(t *testing.T) {
	test.NewTempApp(t)
	late, slider := Text("late"), widget.NewSlider(0, 1)
	inner := container.NewVBox(late, container.NewGridWrap(fyne.NewSize(160, 34), slider))
	card := Card(inner)
	last := widget.NewLabel("last")
	col := container.NewVBox(widget.NewLabel("first"), card, last)
	inner.Hide()
	card.Hide()
	scroll := Scroll(col)
	w := test.NewTempWindow(t, container.NewStack(scroll))
	w.Resize(fyne.NewSize(600, 500))
	below := last.Position().Y
	Show(true, inner, card)
	require.GreaterOrEqual(t, card.Size().Height, card.MinSize().Height)
	require.GreaterOrEqual(t, inner.Size().Height, inner.MinSize().Height)
	require.Equal(t, float32(160), slider.Size().Width)
	require.GreaterOrEqual(t, last.Position().Y, card.Position().Y+card.Size().Height)
	Show(false, card)
	require.Equal(t, below, last.Position().Y)
}

func TestShowFindsItsWayIntoWhatHolds(t *testing.T) {
	test.NewTempApp(t)
	for name, hold := range map[string]func(fyne.CanvasObject) fyne.CanvasObject{
		"split": func(o fyne.CanvasObject) fyne.CanvasObject { return container.NewHSplit(o, widget.NewLabel("")) },
		"tabs": func(o fyne.CanvasObject) fyne.CanvasObject {
			return container.NewAppTabs(container.NewTabItem("tab", o))
		},
		"tap card": func(o fyne.CanvasObject) fyne.CanvasObject { return NewTapCard(o, nil) },
		"accordion": func(o fyne.CanvasObject) fyne.CanvasObject {
			a := widget.NewAccordion(widget.NewAccordionItem("more", o))
			a.OpenAll()
			return a
		},
	} {
		t.Run(name, func(t *testing.T) {
			late, below := widget.NewLabel("late"), widget.NewLabel("below")
			late.Hide()
			w := test.NewTempWindow(t, hold(container.NewVBox(late, below)))
			w.Resize(fyne.NewSize(600, 500))
			require.Zero(t, below.Position().Y)
			Show(true, late)
			require.GreaterOrEqual(t, below.Position().Y, late.Size().Height)
			require.NotZero(t, late.Size().Height)
		})
	}
	t.Run("dialog", func(t *testing.T) {
		w := test.NewTempWindow(t, widget.NewLabel(""))
		late, below := widget.NewLabel("late"), widget.NewLabel("below")
		late.Hide()
		widget.ShowPopUp(container.NewVBox(late, below), w.Canvas())
		Show(true, late)
		require.GreaterOrEqual(t, below.Position().Y, late.Size().Height)
	})
}
