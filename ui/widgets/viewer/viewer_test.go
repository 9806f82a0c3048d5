package viewer

import (
	"image"
	"image/color"
	"slices"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"
	"github.com/stretchr/testify/require"

	uitheme "unnoise/ui/theme"
)

func board(w, h int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.SetRGBA(x, y, color.RGBA{uint8(x * 8), uint8(y * 8), uint8((x + y) % 2 * 255), 255})
		}
	}
	return img
}

func shown(t testing.TB, o fyne.CanvasObject, w, h float32) {
	test.NewTempApp(t).Settings().SetTheme(uitheme.New(uitheme.Light))
	win := test.NewWindow(o)
	win.SetPadded(false)
	win.Resize(fyne.NewSize(w, h))
	t.Cleanup(win.Close)
}

// A fitted 32×32 picture in 330 pixels is enlarged tenfold, every pixel a square of one colour.
func TestFitIsCrisp(t *testing.T) {
	v := New()
	shown(t, v, 330, 330)
	src := board(32, 32)
	v.SetImage(src)
	out := v.draw(330, 330).(*image.RGBA)
	for y := range 320 {
		for x := range 320 {
			require.Equal(t, src.RGBAAt(x/10, y/10), out.RGBAAt(x+5, y+5))
		}
	}
	require.NotEqual(t, src.RGBAAt(0, 0), out.RGBAAt(2, 2))
}

func TestTransparentPicturesAreBlended(t *testing.T) {
	v := New()
	shown(t, v, 64, 64)
	img := image.NewRGBA(image.Rect(0, 0, 1, 1))
	img.SetRGBA(0, 0, color.RGBA{100, 0, 0, 128})
	v.SetImage(img)
	out := v.draw(64, 64).(*image.RGBA)
	well := color.RGBAModel.Convert(uitheme.Color(uitheme.ColorNameWell)).(color.RGBA)
	require.InDelta(t, 100+float64(well.R)*127/255, float64(out.RGBAAt(32, 32).R), 1)
	require.Equal(t, uint8(255), out.RGBAAt(32, 32).A)
}

func TestZoomKeepsThePointUnderThePointer(t *testing.T) {
	v := New()
	shown(t, v, 320, 320)
	src := board(32, 32)
	v.SetImage(src)
	before := v.draw(320, 320).(*image.RGBA).RGBAAt(75, 215)
	v.Scrolled(&fyne.ScrollEvent{PointEvent: fyne.PointEvent{Position: fyne.NewPos(75, 215)}, Scrolled: fyne.NewDelta(0, 60)})
	require.Greater(t, v.View().Zoom, 15.0)
	require.Equal(t, before, v.draw(320, 320).(*image.RGBA).RGBAAt(75, 215))
	at := v.View()
	v.Dragged(&fyne.DragEvent{Dragged: fyne.NewDelta(-40, 0)})
	require.Greater(t, v.View().X, at.X)
	v.DoubleTapped(nil)
	require.Zero(t, v.View().Zoom)
	v.DoubleTapped(nil)
	require.Equal(t, 1.0, v.View().Zoom)
}

func TestLargePictureIsReduced(t *testing.T) {
	v := New()
	shown(t, v, 100, 100)
	big := image.NewRGBA(image.Rect(0, 0, 1000, 500))
	for i := range big.Pix {
		big.Pix[i] = 255
	}
	v.SetImage(big)
	out := v.draw(100, 100).(*image.RGBA)
	require.Equal(t, color.RGBA{255, 255, 255, 255}, out.RGBAAt(50, 50))
	require.NotEqual(t, color.RGBA{255, 255, 255, 255}, out.RGBAAt(50, 10))
}

func TestCompare(t *testing.T) {
	c := NewCompare()
	shown(t, c, 800, 500)
	a, b := board(8, 8), board(8, 8)
	b.SetRGBA(0, 0, color.RGBA{9, 9, 9, 255})
	c.Set(a, b, "first", "second")
	require.Same(t, a, c.a.Image())
	c.Swap()
	require.Same(t, b, c.a.Image())
	c.a.Scrolled(&fyne.ScrollEvent{PointEvent: fyne.PointEvent{Position: fyne.NewPos(10, 10)}, Scrolled: fyne.NewDelta(0, 30)})
	require.Equal(t, c.a.View(), c.b.View())
	c.SetMode(Swap)
	first := c.single.Image()
	c.single.Tapped(nil)
	require.NotSame(t, first, c.single.Image())
	c.SetMode(Difference)
	require.Contains(t, c.text.Text, "cannot")
	d := image.NewRGBA(image.Rect(0, 0, 8, 8))
	d.SetRGBA(0, 0, color.RGBA{9, 100, 0, 255})
	c.SetDifference(d, 0.0125)
	require.Contains(t, c.text.Text, "1.25")
	c.gainer.SetValue(4)
	require.Equal(t, color.RGBA{36, 255, 0, 255}, c.single.Image().RGBAAt(0, 0))
}

func TestScrubber(t *testing.T) {
	at := -1
	s := NewScrubber(func(i int) { at = i })
	frames := make(chan func(), 100)
	s.Post = func(f func()) { frames <- f }
	shown(t, s, 400, 60)
	require.True(t, s.play.Hidden, "there is nothing to play")
	s.SetCount(3)
	require.Equal(t, 2, at)
	s.SetCount(5) // it was at the end, so it follows
	require.Equal(t, 4, at)
	s.Set(1)
	s.SetCount(6)
	require.Equal(t, 1, s.Index())
	s.Set(3)
	s.Toggle()
	for s.Playing() {
		select {
		case f := <-frames:
			f()
		case <-time.After(10 * time.Second):
			t.Fatal("the frames have stopped")
		}
	}
	require.Equal(t, 5, s.Index())
	s.Toggle()
	require.True(t, s.Playing())
	s.Stop()
	require.False(t, s.Playing())
}

func BenchmarkDraw(b *testing.B) {
	v := New()
	shown(b, v, 1200, 800)
	v.SetImage(board(32, 32))
	for b.Loop() {
		v.draw(1200, 800)
	}
}

// What a comparison shows late has its room: the slider of the difference, the button that plays.
func TestControlsThatComeLateHaveRoom(t *testing.T) {
	test.NewTempApp(t)
	c := NewCompare()
	w := test.NewTempWindow(t, c)
	w.Resize(fyne.NewSize(900, 600))
	require.False(t, c.gainRow.Visible())
	c.modes.SetSelected(c.modes.Options[Difference])
	require.True(t, c.gainRow.Visible())
	require.GreaterOrEqual(t, c.gainer.Size().Width, float32(100))
	require.False(t, c.swap.Visible())
	c.modes.SetSelected(c.modes.Options[Swap])
	require.GreaterOrEqual(t, c.swap.Size().Width, c.swap.MinSize().Width)

	s := NewScrubber(nil)
	w.SetContent(s)
	w.Resize(fyne.NewSize(500, 60))
	require.False(t, s.play.Visible())
	s.SetCount(5)
	require.True(t, s.play.Visible())
	require.GreaterOrEqual(t, s.play.Size().Width, s.play.MinSize().Width)
	require.GreaterOrEqual(t, s.slider.Size().Width, float32(300))
	require.GreaterOrEqual(t, s.slider.Position().X, s.play.Size().Width)
}

// Under transparency lie squares of two shades, and nowhere else; a picture under a wipe is the first up to the line and
// the second from there on.
func TestCheckerAndWipe(t *testing.T) {
	test.NewTempApp(t).Settings().SetTheme(uitheme.New(uitheme.Light))
	clear, red, blue := image.NewRGBA(image.Rect(0, 0, 4, 4)), image.NewRGBA(image.Rect(0, 0, 4, 4)), image.NewRGBA(image.Rect(0, 0, 4, 4))
	for i := range 16 {
		red.SetRGBA(i%4, i/4, color.RGBA{R: 255, A: 255})
		blue.SetRGBA(i%4, i/4, color.RGBA{B: 255, A: 255})
	}
	v := New()
	shades := func() map[color.Color]int {
		out := map[color.Color]int{}
		img := v.draw(80, 80)
		for y := range 80 {
			for x := range 80 {
				out[img.At(x, y)]++
			}
		}
		return out
	}
	v.SetImage(clear)
	require.Len(t, shades(), 2)
	for _, n := range shades() {
		require.Equal(t, 80*80/2, n)
	}
	v.Bare = true
	well := color.RGBAModel.Convert(uitheme.Color(uitheme.ColorNameWell))
	require.Equal(t, map[color.Color]int{well: 80 * 80}, shades(), "the theme's colour")
	v.Bare = false
	v.SetImage(red)
	require.Equal(t, map[color.Color]int{color.RGBA{R: 255, A: 255}: 80 * 80}, shades())

	c := NewCompare()
	c.Set(red, blue, "a", "b")
	c.SetMode(Wipe)
	at := func(x int) color.RGBA { return c.single.Image().RGBAAt(x, 2) }
	require.Equal(t, []color.RGBA{red.RGBAAt(0, 0), blue.RGBAAt(0, 0)}, []color.RGBA{at(1), at(2)}, "halves")
	c.wiper.SetValue(1)
	require.Equal(t, red.RGBAAt(0, 0), at(3))
	c.Swap()
	require.Equal(t, blue.RGBAAt(0, 0), at(3))
	c.Set(red, image.NewRGBA(image.Rect(0, 0, 5, 5)), "a", "b")
	require.Nil(t, c.single.Image(), "of two sizes nothing can be said")
}

// The names of columns stand over them, at any zoom.
func TestColumns(t *testing.T) {
	test.NewTempApp(t).Settings().SetTheme(uitheme.New(uitheme.Light))
	w := test.NewTempWindow(t, nil)
	w.SetPadded(false)
	v := New()
	c := NewColumns(v)
	w.SetContent(c)
	w.Resize(fyne.NewSize(600, 300))
	v.SetImage(image.NewRGBA(image.Rect(0, 0, 42, 20))) // two columns of 18, gaps of 2
	c.SetNames(nil, 2)
	require.Empty(t, c.Names())
	require.Equal(t, c.Size().Height, v.Size().Height, "no room is taken without names")

	c.SetNames([]string{"butterfly", "dragonfly"}, 2)
	require.Equal(t, []string{"butterfly", "dragonfly"}, c.Names())
	head := v.Position().Y
	require.Positive(t, head)
	over := func() {
		pw, ph, scale := v.pixels()
		at := v.place(pw, ph)
		for i, text := range c.texts {
			want := (float64(at.Min.X) + (2+9+float64(i)*20)*v.zoom(pw, ph)) / scale
			require.InDelta(t, want, text.Position().X+text.Size().Width/2, 1)
			require.InDelta(t, float64(at.Min.Y)/scale, float64(text.Position().Y+c.height()-head), 1, "right over the picture")
		}
	}
	over()
	v.Actual()
	over()
	for _, name := range c.Names() { // in 20 units
		require.Contains(t, name, "…")
	}
	v.change(View{Zoom: 40, X: 0.5, Y: 0.5})
	require.Empty(t, c.Names(), "both columns reach beyond the edge")
	v.Fit()
	over()
	require.Equal(t, []string{"butterfly", "dragonfly"}, c.Names())
}

// The controls over two pictures stand beside each other, whichever of them a way of comparing has.
func TestCompareControlsDoNotOverlap(t *testing.T) {
	test.NewTempApp(t)
	c := NewCompare()
	w := test.NewTempWindow(t, c)
	w.Resize(fyne.NewSize(560, 400))
	for mode := range c.modes.Options {
		c.modes.SetSelectedIndex(mode)
		var taken []fyne.Position // from … to
		for _, o := range []fyne.CanvasObject{c.modes, c.swap, c.gainRow, c.wipeRow} {
			if o.Visible() {
				x := fyne.CurrentApp().Driver().AbsolutePositionForObject(o).X
				taken = append(taken, fyne.NewPos(x, x+o.Size().Width))
			}
		}
		slices.SortFunc(taken, func(a, b fyne.Position) int { return int(a.X - b.X) })
		for i := 1; i < len(taken); i++ {
			require.LessOrEqual(t, taken[i-1].Y, taken[i].X, "mode %d", mode)
		}
	}
}
