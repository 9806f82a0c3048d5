package form

import (
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/widget"
	"github.com/stretchr/testify/require"

	"unnoise/ui/kit"
	"unnoise/ui/page"
)

func TestEntrySaysWhatIsWrong(t *testing.T) {
	test.NewTempApp(t)
	var got []string
	e := NewEntry(&page.Services{}, "5", Whole(1, 100), func(s string) { got = append(got, s) })
	w := test.NewWindow(e)
	defer w.Close()
	e.Entry.SetText("12")
	e.Entry.SetText("101")
	require.Equal(t, "Enter a whole number from 1 to 100.", e.Problem())
	e.Entry.SetText("1.5")
	require.NotEmpty(t, e.Problem())
	e.Entry.SetText("7")
	require.Empty(t, e.Problem())
	e.SetText("8") // by program: no call
	require.Equal(t, []string{"12", "7"}, got)
	require.NoError(t, Real(0, 1)("0.5"))
	require.Error(t, Real(0, 1)("NaN"))
	require.Error(t, Real(0, 1)("x"))
}

func TestProgressCancelsOnce(t *testing.T) {
	test.NewTempApp(t)
	n := 0
	p := NewProgress(func() { n++ })
	w := test.NewWindow(p)
	defer w.Close()
	p.Set(0.5, "3 of 6")
	require.Equal(t, "3 of 6", p.text.Text)
	test.Tap(p.cancel)
	test.Tap(p.cancel)
	p.Set(0.6, "4 of 6")
	require.Equal(t, 1, n)
	require.Equal(t, "Stopping…", p.text.Text)
	p.Set(-1, "")
	require.InDelta(t, -1, p.bar.Fraction(), 0)
	p.Set(1, "")
	require.InDelta(t, 1, p.bar.Fraction(), 0)
	p.Reset()
	require.False(t, p.cancel.Disabled())
}

func TestToolbarsFlow(t *testing.T) {
	test.NewTempApp(t)
	first, a, b, body := widget.NewLabel("first"), widget.NewButton("one button", nil), widget.NewButton("another button", nil), widget.NewLabel("body")
	c := Toolbars(body, []fyne.CanvasObject{first, a, b})
	c.Resize(fyne.NewSize(900, 400))
	require.Equal(t, a.Position().Y, b.Position().Y)
	require.Less(t, first.Position().Y, body.Position().Y)
	wide := body.Size().Height
	c.Resize(fyne.NewSize(230, 400))
	require.Greater(t, a.Position().Y, first.Position().Y)
	require.Equal(t, float32(230), first.Size().Width)
	require.Less(t, body.Size().Height, wide)
	require.InDelta(t, 400, body.Position().Y+body.Size().Height, 0.01)
	for _, o := range []fyne.CanvasObject{a, b} {
		require.LessOrEqual(t, o.Position().X+o.Size().Width, float32(230))
		require.LessOrEqual(t, o.Position().Y+o.Size().Height, body.Position().Y)
	}
}

func TestMoreKeepsARowOnOneLine(t *testing.T) {
	test.NewTempApp(t)
	tapped, more := "", NewMore()
	button := func(name string) *widget.Button { return widget.NewButton(name, func() { tapped = name }) }
	first, a, gone, b, check, zoom := widget.NewLabel("first"), button("one button"), button("hidden by its page"), button("another button"), kit.NewCheck("check", nil), kit.NewSlider(0, 9)
	gone.Hide()
	b.Disable()
	more.Items[zoom] = func() []*fyne.MenuItem { return []*fyne.MenuItem{fyne.NewMenuItem("larger", nil)} }
	c := Toolbars(widget.NewLabel("body"), []fyne.CanvasObject{first, a, gone, b, check, zoom, more})
	w := test.NewWindow(c)
	defer w.Close()
	seen := func() (out []bool) {
		for _, o := range []fyne.CanvasObject{a, gone, b, check, zoom, more} {
			out = append(out, o.Visible())
			if o.Visible() {
				require.Equal(t, first.Position().Y+first.Size().Height/2, o.Position().Y+o.Size().Height/2, "on one line")
				require.GreaterOrEqual(t, o.Position().X, first.Size().Width)
				require.LessOrEqual(t, o.Position().X+o.Size().Width, c.Size().Width)
			}
		}
		return out
	}
	items := func() (out []string) {
		for _, i := range more.menu().Items {
			out = append(out, i.Label)
		}
		return out
	}
	c.Resize(fyne.NewSize(900, 300))
	require.Equal(t, []bool{true, false, true, true, true, false}, seen())
	require.Empty(t, items())
	c.Resize(fyne.NewSize(330, 300))
	require.Equal(t, []bool{true, false, false, false, false, true}, seen())
	require.Equal(t, []string{"another button", "check", "larger"}, items())
	require.True(t, more.menu().Items[0].Disabled)
	more.menu().Items[1].Action()
	require.True(t, check.Checked)
	require.True(t, more.menu().Items[1].Checked)
	c.Resize(fyne.NewSize(leastFirst, 300))
	require.Equal(t, []bool{false, false, false, false, false, true}, seen()[:6])
	more.menu().Items[0].Action()
	require.Equal(t, "one button", tapped)
	test.Tap(&more.Button)
	require.NotNil(t, w.Canvas().Overlays().Top(), "the menu opens")
	c.Resize(fyne.NewSize(900, 300))
	require.Equal(t, []bool{true, false, true, true, true, false}, seen())
}
