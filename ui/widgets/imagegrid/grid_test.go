package imagegrid

import (
	"errors"
	"fmt"
	"image"
	"sync"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/test"
	"github.com/stretchr/testify/require"

	uitheme "unnoise/ui/theme"
)

type list struct {
	keys  []string
	stars map[string]bool
}

func (l *list) Len() int         { return len(l.keys) }
func (l *list) Key(i int) string { return l.keys[i] }
func (l *list) Item(i int) Item  { return Item{Star: l.stars[l.keys[i]], Label: l.keys[i]} }

func numbered(n int) *list {
	l := &list{stars: map[string]bool{}}
	for i := range n {
		l.keys = append(l.keys, fmt.Sprintf("img%06d", i))
	}
	return l
}

// shelf answers requests when the test says so.
type shelf struct {
	mu        sync.Mutex
	waiting   map[string]func(*image.RGBA, error)
	requested int
	cancelled int
	cached    map[string]*image.RGBA
}

func newShelf() *shelf {
	return &shelf{waiting: map[string]func(*image.RGBA, error){}, cached: map[string]*image.RGBA{}}
}

func (s *shelf) Cached(k string, _ int) *image.RGBA { return s.cached[k] }

func (s *shelf) Request(k string, _ int, done func(*image.RGBA, error)) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requested++
	s.waiting[k] = done
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cancelled++
	}
}

func open(t testing.TB, src Source[string], th Thumbs[string], w, h float32) *Grid[string] {
	test.NewTempApp(t).Settings().SetTheme(uitheme.New(uitheme.Light))
	g := New(src, th)
	win := test.NewWindow(g)
	win.SetPadded(false)
	win.Resize(fyne.NewSize(w, h))
	t.Cleanup(win.Close)
	return g
}

func TestOnlyWhatIsInViewIsAlive(t *testing.T) {
	th := newShelf()
	g := open(t, numbered(100_000), th, 800, 600)
	require.Greater(t, g.cols, 3)
	require.Less(t, len(g.cards), 60)
	require.Len(t, th.waiting, len(g.cards))
	g.Select(99_999)
	require.NotNil(t, g.cards[99_999])
	require.Less(t, len(g.cards), 60)
	require.Less(t, len(g.pool), 60)
	require.Positive(t, th.cancelled)
	g.Key(fyne.KeyHome, false)
	require.NotNil(t, g.cards[0])
	require.Zero(t, g.scroll.Offset.Y)
}

func TestLatePicturesAreDropped(t *testing.T) {
	th := newShelf()
	g := open(t, numbered(10_000), th, 800, 600)
	late := th.waiting["img000000"]
	g.Select(9_999)
	last := g.cards[9_999]
	pic := image.NewRGBA(image.Rect(0, 0, 8, 8))
	late(pic, nil) // the card that asked now shows another item
	for i, c := range g.cards {
		require.Nil(t, c.img.Image, "item %d", i)
	}
	th.waiting["img009999"](pic, nil)
	require.Same(t, pic, last.img.Image)
	th.waiting["img009998"](nil, errors.New("gone"))
	require.True(t, g.cards[9_998].failed)
}

func TestSmallPicturesAreShownInWholeMultiples(t *testing.T) {
	th := newShelf()
	th.cached["img000000"] = image.NewRGBA(image.Rect(0, 0, 28, 28))
	g := open(t, numbered(3), th, 600, 300)
	c := g.cards[0]
	require.InDelta(t, 112, c.img.Size().Width, 0.01) // 4 × 28 in a cell of 128
	require.InDelta(t, 112, c.img.Size().Height, 0.01)
}

func click(g *Grid[string], i int, mod fyne.KeyModifier) {
	p := fyne.NewPos(float32(i%g.cols)*g.cell.Width+10, float32(i/g.cols)*g.cell.Height+10)
	g.content.MouseDown(&desktop.MouseEvent{PointEvent: fyne.PointEvent{Position: p}, Button: desktop.MouseButtonPrimary, Modifier: mod})
}

func TestSelection(t *testing.T) {
	g := open(t, numbered(40), newShelf(), 800, 600)
	told := 0
	g.OnSelect = func() { told++ }
	click(g, 2, 0)
	require.Equal(t, []int{2}, g.Selected())
	click(g, 5, fyne.KeyModifierShift)
	require.Equal(t, []int{2, 3, 4, 5}, g.Selected())
	click(g, 3, fyne.KeyModifierControl)
	require.Equal(t, []int{2, 4, 5}, g.Selected())
	require.Equal(t, 3, told)
	click(g, 7, 0)
	require.Equal(t, []string{"img000007"}, g.SelectedKeys())
	g.content.TypedShortcut(&fyne.ShortcutSelectAll{})
	require.Equal(t, 40, g.Count())
	g.content.TypedKey(&fyne.KeyEvent{Name: fyne.KeyEscape})
	require.Zero(t, g.Count())
}

func TestDoubleClickOpensOnlyOneItem(t *testing.T) {
	g := open(t, numbered(40), newShelf(), 800, 600)
	opened := -1
	g.OnOpen = func(i int) { opened = i }
	at := func(i int) *fyne.PointEvent {
		return &fyne.PointEvent{Position: fyne.NewPos(float32(i)*g.cell.Width+20, 20)}
	}
	click(g, 0, 0)
	click(g, 1, fyne.KeyModifierShift)
	g.content.DoubleTapped(at(1))
	require.Equal(t, -1, opened)
	require.Equal(t, []int{0, 1}, g.Selected())
	click(g, 1, 0)
	click(g, 1, 0)
	g.content.DoubleTapped(at(1))
	require.Equal(t, 1, opened)
}

func TestKeys(t *testing.T) {
	g := open(t, numbered(40), newShelf(), 800, 600)
	var did string
	g.OnDelete, g.OnStar, g.OnInfo = func() { did = "delete" }, func() { did = "star" }, func() { did = "info" }
	g.OnOpen = func(i int) { did = fmt.Sprint("open ", i) }
	g.Key(fyne.KeyRight, false)
	require.Equal(t, []int{0}, g.Selected())
	g.Key(fyne.KeyDown, false)
	require.Equal(t, []int{g.cols}, g.Selected())
	g.content.KeyDown(&fyne.KeyEvent{Name: desktop.KeyShiftLeft})
	g.content.TypedKey(&fyne.KeyEvent{Name: fyne.KeyRight})
	g.content.KeyUp(&fyne.KeyEvent{Name: desktop.KeyShiftLeft})
	require.Equal(t, []int{g.cols, g.cols + 1}, g.Selected())
	g.content.TypedKey(&fyne.KeyEvent{Name: fyne.KeyReturn})
	require.Equal(t, fmt.Sprint("open ", g.cols+1), did)
	g.content.TypedKey(&fyne.KeyEvent{Name: fyne.KeyDelete})
	require.Equal(t, "delete", did)
	g.content.TypedRune('.')
	require.Equal(t, "star", did)
	g.content.TypedRune('I')
	require.Equal(t, "info", did)
	g.Key(fyne.KeyEnd, false)
	require.Equal(t, []int{39}, g.Selected())

	// What the grid has no use for is the window's.
	var passed rune
	fyne.CurrentApp().Driver().CanvasForObject(g).SetOnTypedRune(func(r rune) { passed = r })
	g.content.TypedRune('?')
	require.Equal(t, '?', passed)
}

func TestReloadKeepsWhatIsStillThere(t *testing.T) {
	l := numbered(10)
	g := open(t, l, newShelf(), 800, 600)
	click(g, 3, 0)
	click(g, 5, fyne.KeyModifierControl)
	l.keys = append(l.keys[:3:3], l.keys[4:]...)
	g.Reload()
	require.Equal(t, []string{"img000005"}, g.SelectedKeys())
	require.Equal(t, []int{4}, g.Selected())
	l.keys = nil
	g.Reload()
	require.Zero(t, g.Count())
	require.Empty(t, g.cards)
	require.Equal(t, -1, g.Current())
}

func TestStarShowsWithoutReload(t *testing.T) {
	l := numbered(10)
	g := open(t, l, newShelf(), 800, 600)
	require.Nil(t, g.cards[4].star)
	l.stars["img000004"] = true
	g.UpdateItem("img000004")
	require.Contains(t, g.content.objects, fyne.CanvasObject(g.cards[4].star))
}

func TestZoomKeepsThePlace(t *testing.T) {
	g := open(t, numbered(10_000), newShelf(), 800, 600)
	g.Select(5_000)
	g.scrollTo(float32(5_000/g.cols) * g.cell.Height)
	g.SetZoom(0)
	require.NotNil(t, g.cards[5_000])
	require.Greater(t, g.cols, 15)
	g.SetZoom(len(Sizes) - 1)
	require.Equal(t, len(Sizes)-1, g.Zoom())
	require.Equal(t, 1, g.cols)
}

func TestContextMenuSelectsWhatItIsFor(t *testing.T) {
	g := open(t, numbered(10), newShelf(), 800, 600)
	shown := 0
	g.Menu = func() *fyne.Menu {
		shown++
		return fyne.NewMenu("", fyne.NewMenuItem("Star", func() {}))
	}
	p := fyne.NewPos(g.cell.Width+5, 5)
	g.content.MouseDown(&desktop.MouseEvent{PointEvent: fyne.PointEvent{Position: p}, Button: desktop.MouseButtonSecondary})
	require.Equal(t, 1, shown)
	require.Equal(t, []int{1}, g.Selected())
	require.NotNil(t, fyne.CurrentApp().Driver().CanvasForObject(g).Overlays().Top())
}

func TestShorten(t *testing.T) {
	test.NewTempApp(t)
	s := shorten("a very long file name with 中文 in it.png", 100, 11)
	require.LessOrEqual(t, fyne.MeasureText(s, 11, fyne.TextStyle{}).Width, float32(100))
	require.Contains(t, s, "…")
	require.Equal(t, "ok", shorten("ok", 100, 11))
}

func BenchmarkOpen100k(b *testing.B) {
	l := numbered(100_000)
	th := newShelf()
	test.NewTempApp(b).Settings().SetTheme(uitheme.New(uitheme.Light))
	b.ReportAllocs()
	for b.Loop() {
		g := New[string](l, th)
		g.Resize(fyne.NewSize(1200, 800))
		w := test.NewWindow(g)
		w.Resize(fyne.NewSize(1200, 800))
		b.StopTimer()
		w.Close()
		b.StartTimer()
	}
}

// One frame of fast scrolling: every card changes its item.
func BenchmarkScroll100k(b *testing.B) {
	th := newShelf()
	g := open(b, numbered(100_000), th, 1200, 800)
	pic := image.NewRGBA(image.Rect(0, 0, 128, 128))
	for i := range 100_000 {
		th.cached[fmt.Sprintf("img%06d", i)] = pic
	}
	y, end := float32(0), g.content.MinSize().Height-800
	b.ReportAllocs()
	for b.Loop() {
		if y += 800; y > end {
			y = 0
		}
		g.scroll.ScrollToOffset(fyne.NewPos(0, y))
		g.update()
	}
}

// The cells have the colours of the theme in force.
func TestCellsFollowTheTheme(t *testing.T) {
	g := open(t, numbered(9), newShelf(), 500, 400) // light
	light := uitheme.Color(uitheme.ColorNameWell)
	require.NotEmpty(t, g.cards)
	require.Equal(t, light, g.cards[0].well.FillColor)
	fyne.CurrentApp().Settings().SetTheme(uitheme.New(uitheme.Dark))
	g.Refresh()
	require.NotEqual(t, light, g.cards[0].well.FillColor)
	require.Equal(t, uitheme.Color(uitheme.ColorNameWell), g.cards[0].well.FillColor)
}
