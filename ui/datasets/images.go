package datasets

import (
	"context"
	"image"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/widgets/imagegrid"
)

// imagesTab is every image of the dataset.
type imagesTab struct {
	d *detail

	grid   *imagegrid.Grid[studio.Ref]
	list   *itemList
	chosen *fyne.Container // what can be done with the one that is chosen
	search *page.Entry
	class  *kit.Select
	which  *kit.Select
	zoom   *kit.Slider
	count  *widget.Label
	act    *widget.Button

	pane    fyne.CanvasObject // the inspector
	picture *kit.Picture
	facts   *widget.Label
	title   *widget.Label
	cancel  func()

	generation int
	filling    bool
}

// itemList is the grid's source.
type itemList struct {
	t   *imagesTab
	ids []int32
}

func (l *itemList) Len() int { return len(l.ids) }

func (l *itemList) Key(i int) studio.Ref {
	return studio.Ref{Kind: studio.DatasetItem, Owner: l.t.d.id, Index: int(l.ids[i])}
}

func (l *itemList) Item(i int) imagegrid.Item {
	it, err := l.t.d.s.Studio.Datasets.Item(l.t.d.s.Context(), l.t.d.id, int(l.ids[i]))
	if err != nil {
		return imagegrid.Item{}
	}
	out := imagegrid.Item{Label: it.Name, Dim: it.Excluded}
	if it.HeldOut {
		out.Mark = lang.L("held out")
	}
	return out
}

const (
	inTraining = iota
	heldOut
	excluded
)

func newImagesTab(d *detail) *imagesTab {
	t := &imagesTab{d: d, cancel: func() {}}
	t.list = &itemList{t: t}
	t.grid = imagegrid.New[studio.Ref](t.list, d.s.Studio.Thumbs)
	t.grid.Post = d.s.Post
	t.grid.OnSelect = t.selected
	t.grid.OnDelete = t.exclude
	t.grid.OnInfo = func() { d.s.InspectorChanged() }
	t.grid.Menu = t.menu
	return t
}

func (t *imagesTab) content() fyne.CanvasObject {
	t.search = t.d.s.NewEntry()
	t.search.SetPlaceHolder(lang.L("Search names"))
	t.search.OnChanged = func(string) { t.load() }
	filter := func(string) {
		if !t.filling {
			t.d.s.LetGo()
		}
		t.load()
	}
	t.class = kit.NewSelect(nil, filter)
	t.which = kit.NewSelect([]string{lang.L("All in use"), lang.L("Held out"), lang.L("Excluded")}, filter)
	t.filling = true
	t.which.SetSelectedIndex(inTraining)
	t.filling = false
	t.zoom = kit.NewSlider(0, float64(len(imagegrid.Sizes)-1))
	t.zoom.Step = 1
	t.zoom.SetValue(float64(t.grid.Zoom()))
	t.zoom.OnChanged = func(v float64) { t.grid.SetZoom(int(v)) }
	t.zoom.OnChangeEnded = func(float64) { t.d.s.LetGo() }
	t.grid.OnZoom = func(step int) { t.zoom.SetValue(float64(step)) }
	t.count = kit.Ellipsis("", false)
	t.act = kit.Button(lang.L("Exclude"), theme.VisibilityOffIcon(), widget.MediumImportance, t.exclude)
	t.act.Disable()
	controls := kit.Tiles(150, 32, 6, false, t.which, t.class, t.search, kit.Pad(0, 0, 0, 0, t.zoom))
	bottom := container.NewBorder(nil, nil, nil, t.act, t.count)

	t.picture = kit.NewPicture(160, 200)
	t.title = kit.Text("")
	t.title.TextStyle.Bold = true
	t.title.Wrapping = fyne.TextWrapBreak
	t.facts = kit.Text("")
	show := kit.Button(lang.L("Show in file manager"), theme.FolderOpenIcon(), widget.MediumImportance, func() {
		if i := t.current(); i >= 0 {
			t.d.reveal(i)
		}
	})
	sees := kit.Button(lang.L("What the network sees"), theme.VisibilityIcon(), widget.MediumImportance, func() {
		if i := t.current(); i >= 0 {
			t.d.network.first = i
			t.d.network.stale = true
			t.d.tabs.SelectIndex(2)
		}
	})
	t.chosen = container.NewVBox(sees, show)
	t.pane = container.NewVScroll(container.NewVBox(t.picture, t.title, t.facts, t.chosen))
	return container.NewBorder(kit.Pad(6, 4, 0, 0, controls), kit.Pad(4, 6, 0, 0, bottom), nil, nil, t.grid)
}

func (t *imagesTab) inspector() fyne.CanvasObject { return t.pane }

// set takes the dataset after it was read again.
func (t *imagesTab) set(ds studio.Dataset) {
	t.filling = true
	options := []string{lang.L("Every class")}
	for _, c := range ds.Classes {
		options = append(options, c.Name)
	}
	if strings.Join(options, "\x00") != strings.Join(t.class.Options, "\x00") {
		t.class.SetOptions(options)
		t.class.SetSelectedIndex(0)
	}
	kit.Show(len(ds.Classes) > 1, t.class)
	t.filling = false
	t.load()
}

// load reads which items to show.
func (t *imagesTab) load() {
	if t.filling {
		return
	}
	t.generation++
	gen := t.generation
	f := studio.ItemFilter{Search: t.search.Text, HeldOut: t.which.SelectedIndex() == heldOut, Excluded: t.which.SelectedIndex() == excluded}
	if i := t.class.SelectedIndex(); i > 0 {
		f.Class = t.class.Options[i]
	}
	page.Load(t.d.s, func(ctx context.Context) ([]int32, error) { return t.d.s.Studio.Datasets.Items(ctx, t.d.id, f) },
		func(ids []int32, err error) {
			if gen != t.generation {
				return
			}
			if err != nil {
				t.d.s.Fail(err)
				return
			}
			t.list.ids = ids
			t.grid.Reload()
			t.selected()
		})
}

// current is the item the details are about, or -1.
func (t *imagesTab) current() int {
	if i := t.grid.Current(); i >= 0 && i < len(t.list.ids) {
		return int(t.list.ids[i])
	}
	return -1
}

func (t *imagesTab) selected() {
	n := t.grid.Count()
	text := lang.N("{{.N}} image", t.list.Len(), map[string]any{"N": page.Int(t.list.Len())})
	if n > 0 {
		text += " · " + lang.N("{{.N}} selected", n, map[string]any{"N": page.Int(n)})
		t.act.Enable()
	} else {
		t.act.Disable()
		if t.list.Len() > 0 {
			text += " · " + lang.L("Select some to exclude them or to take them back in.")
		}
	}
	t.count.SetText(text)
	if t.which.SelectedIndex() == excluded {
		t.act.SetText(lang.L("Take back in"))
		t.act.SetIcon(theme.VisibilityIcon())
	} else {
		t.act.SetText(lang.L("Exclude"))
		t.act.SetIcon(theme.VisibilityOffIcon())
	}
	t.fillPane()
}

func (t *imagesTab) fillPane() {
	t.cancel()
	i := t.current()
	kit.Show(i >= 0, t.chosen)
	if i < 0 {
		t.picture.Set(nil)
		t.title.SetText(lang.L("Nothing is selected"))
		t.facts.SetText(lang.L("Click an image to see what is known of it."))
		return
	}
	it, err := t.d.s.Studio.Datasets.Item(t.d.s.Context(), t.d.id, i)
	if err != nil {
		return
	}
	t.title.SetText(it.Name)
	lines := []string{sizeName(it.Width, it.Height) + " · " + it.Format, channelName(it.Channels) + " · " + lang.L("{{.N}} bits", map[string]any{"N": it.Bits})}
	if it.Class != "" {
		lines = append(lines, lang.L("Class: {{.Name}}", map[string]any{"Name": it.Class}))
	}
	if it.HeldOut {
		lines = append(lines, lang.L("Held out: it measures the loss and is not trained on."))
	}
	if it.Excluded {
		lines = append(lines, lang.L("Excluded: it is not used."))
	}
	t.facts.SetText(strings.Join(lines, "\n"))
	t.cancel = t.d.s.Thumb(studio.Ref{Kind: studio.DatasetItem, Owner: t.d.id, Index: i}, 256, func(img *image.RGBA) {
		if img != nil {
			t.picture.Set(img)
		}
	})
}

func channelName(n int) string {
	switch n {
	case 1:
		return lang.L("gray")
	case 3:
		return lang.L("colour")
	case 4:
		return lang.L("colour and transparency")
	}
	return ""
}

// exclude keeps the selected images out of training, or takes them back in where the excluded ones are shown.
func (t *imagesTab) exclude() {
	var items []int
	for _, k := range t.grid.SelectedKeys() {
		items = append(items, k.Index)
	}
	if len(items) == 0 {
		return
	}
	n := map[string]any{"N": page.Int(len(items))}
	if t.which.SelectedIndex() == excluded {
		t.d.change(lang.N("{{.N}} image is used again", len(items), n), func(ctx context.Context) error {
			return t.d.s.Studio.Datasets.Include(ctx, t.d.id, items)
		})
		return
	}
	t.d.change(lang.N("{{.N}} image is excluded", len(items), n), func(ctx context.Context) error {
		return t.d.s.Studio.Datasets.Exclude(ctx, t.d.id, items)
	})
}

func (t *imagesTab) menu() *fyne.Menu {
	name := lang.L("Exclude")
	if t.which.SelectedIndex() == excluded {
		name = lang.L("Take back in")
	}
	return fyne.NewMenu("",
		fyne.NewMenuItem(name, t.exclude),
		fyne.NewMenuItem(lang.L("Show in file manager"), func() {
			if i := t.current(); i >= 0 {
				t.d.reveal(i)
			}
		}))
}
