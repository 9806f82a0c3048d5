package kit

import (
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"
	"github.com/stretchr/testify/require"
)

// Where there is room, the cards stand in columns, in their order, none over another, and as wide as the window.
func TestSectionsUseTheWidth(t *testing.T) {
	test.NewTempApp(t)
	var cards []fyne.CanvasObject
	for i := range 6 {
		cards = append(cards, Section("heading", "explained in a sentence that is long enough to be wrapped where a column is narrow", Gap(200, float32(40+30*i))))
	}
	s := Sections(cards...)
	w := test.NewTempWindow(t, s)
	for width, columns := range map[float32]int{700: 1, 1000: 1, 1700: 2, 2400: 4} {
		w.Resize(fyne.NewSize(width, 700))
		Relayout(cards[0])
		xs := map[float32]bool{}
		right := float32(0)
		for i, c := range cards {
			xs[c.Position().X] = true
			right = max(right, c.Position().X+c.Size().Width)
			require.GreaterOrEqual(t, c.Size().Height, c.MinSize().Height)
			if i > 0 {
				b := cards[i-1]
				require.True(t, c.Position().X > b.Position().X || c.Position().X == b.Position().X && c.Position().Y >= b.Position().Y+b.Size().Height, "%g: card %d", width, i)
			}
		}
		require.Len(t, xs, columns, "%g", width)
		if columns > 1 {
			require.Greater(t, right, width*0.95)
		}
	}
}
