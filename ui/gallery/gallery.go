// Package gallery is the page of sampled pictures: making them, sorting them, and looking into how they came about.
package gallery

import (
	"context"
	"fmt"
	"image"
	"slices"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/events"
	"unnoise/app/studio"
	"unnoise/ui/export"
	"unnoise/ui/icons"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/widgets/form"
	"unnoise/ui/widgets/imagegrid"
)

// Page is the Gallery page.
type Page struct {
	s     *page.Services
	shown bool
	dirty bool // something changed while the page was not shown

	list      *kit.List
	galleries []studio.Gallery
	rows      map[fyne.CanvasObject]string // which gallery each recycled row shows
	selecting bool
	current   string // gallery; "" is all of them

	body     *fyne.Container // the browser, or a view over it
	browser  fyne.CanvasObject
	empty    fyne.CanvasObject
	grid     *imagegrid.Grid[studio.Ref]
	images   *images
	search   *page.Entry
	starred  *kit.Check
	newest   *kit.Check
	zoom     *kit.Slider
	count    *widget.Label
	noMatch  *widget.Label
	star     *widget.Button
	save     *widget.Button
	compare  *widget.Button
	blend    *widget.Button
	remove   *widget.Button
	due      time.Time
	loads    int
	open     string // gallery to select once the list is there
	inspect  *inspector
	detail   *detail
	creating *creation
	own      *fyne.Container // what can be done with the chosen gallery
}

// New returns the page.
func New(s *page.Services) page.Page {
	return &Page{s: s, rows: map[fyne.CanvasObject]string{}, images: &images{}}
}

// ID implements page.Page.
func (p *Page) ID() page.ID { return page.Gallery }

// Title implements page.Page.
func (p *Page) Title() string { return lang.L("Gallery") }

// Icon implements page.Page.
func (p *Page) Icon() fyne.Resource { return icons.Gallery }

// images is the list behind the grid.
type images struct {
	keys  []studio.ImageKey
	index map[studio.Ref]int
}

func listed(keys []studio.ImageKey) images {
	l := images{keys: keys, index: make(map[studio.Ref]int, len(keys))}
	for i, k := range keys {
		l.index[k.Ref] = i
	}
	return l
}

// Len implements imagegrid.Source.
func (l *images) Len() int { return len(l.keys) }

// Key implements imagegrid.Source.
func (l *images) Key(i int) studio.Ref { return l.keys[i].Ref }

// Item implements imagegrid.Source.
func (l *images) Item(i int) imagegrid.Item {
	return imagegrid.Item{Star: l.keys[i].Starred, Label: l.keys[i].Ref.Name}
}

// Content implements page.Page.
func (p *Page) Content() fyne.CanvasObject {
	p.grid = imagegrid.New[studio.Ref](p.images, p.s.Studio.Thumbs)
	p.grid.Post = p.s.Post
	p.grid.OnSelect = p.selected
	p.grid.OnOpen = func(i int) { p.detail.show(i) }
	p.grid.OnDelete, p.grid.OnStar = p.deleteSelected, p.starSelected
	p.grid.Menu = p.menu
	p.inspect = newInspector(p)
	p.detail = newDetail(p)

	p.search = p.s.NewEntry()
	p.search.SetPlaceHolder(lang.L("Search (seed:42)"))
	p.search.ActionItem = kit.NewIcon(theme.SearchIcon())
	p.search.OnChanged = func(string) { p.due = time.Now().Add(200 * time.Millisecond) }
	filter := func(bool) {
		p.s.LetGo()
		p.loadImages()
	}
	p.starred = kit.NewCheck(lang.L("Starred"), filter)
	p.newest = kit.NewCheck(lang.L("Newest first"), filter)
	p.zoom = kit.NewSlider(0, float64(len(imagegrid.Sizes)-1))
	p.zoom.Step = 1
	var was left
	if p.s.Recall(rememberedPage, &was) {
		p.current, p.newest.Checked = was.Gallery, was.Newest
		p.grid.SetZoom(was.Zoom)
	}
	p.zoom.Value = float64(p.grid.Zoom())
	p.zoom.OnChanged = func(v float64) { p.grid.SetZoom(int(v)) }
	p.zoom.OnChangeEnded = func(float64) { p.s.LetGo() }
	p.grid.OnZoom = func(step int) { p.zoom.SetValue(float64(step)) }
	small, large := kit.NewIcon(theme.ZoomOutIcon()), kit.NewIcon(theme.ZoomInIcon())
	zoom := container.NewHBox(small, container.NewGridWrap(fyne.NewSize(120, 32), p.zoom), large)

	p.count = widget.NewLabel("")
	p.count.Importance = widget.LowImportance
	p.count.Truncation = fyne.TextTruncateEllipsis
	p.star = kit.Button(lang.L("Star"), icons.StarOutline, widget.LowImportance, p.starSelected)
	p.save = kit.Button(lang.L("Export…"), theme.DocumentSaveIcon(), widget.LowImportance, p.exportSelected)
	p.compare = kit.Button(lang.L("Compare two"), icons.Compare, widget.LowImportance, p.compareSelected)
	p.blend = kit.Button(lang.L("Walk between two"), theme.MediaFastForwardIcon(), widget.LowImportance, p.interpolateSelected)
	p.remove = kit.Button(lang.L("Delete"), icons.Trash, widget.LowImportance, p.deleteSelected)
	p.noMatch = kit.Muted("")
	p.noMatch.Alignment = fyne.TextAlignCenter
	shown, done := form.NewMore(), form.NewMore()
	shown.Items[zoom] = func() []*fyne.MenuItem {
		step := func(name string, icon fyne.Resource, by int) *fyne.MenuItem {
			to := p.zoom.Value + float64(by)
			m := fyne.NewMenuItemWithIcon(name, icon, func() { p.zoom.SetValue(to) })
			m.Disabled = to < p.zoom.Min || to > p.zoom.Max
			return m
		}
		return []*fyne.MenuItem{
			step(lang.L("Larger pictures"), theme.ZoomInIcon(), 1), step(lang.L("Smaller pictures"), theme.ZoomOutIcon(), -1),
		}
	}
	sheet := form.Toolbars(container.NewStack(p.grid, container.NewCenter(container.NewGridWrap(fyne.NewSize(260, 60), p.noMatch))),
		[]fyne.CanvasObject{p.search, p.starred, p.newest, zoom, shown},
		[]fyne.CanvasObject{p.count, p.star, p.save, p.compare, p.blend, p.remove, done})

	p.list = kit.NewList(func() int { return len(p.galleries) + 1 }, p.newRow, p.fillRow)
	p.list.Arrows = true
	p.list.OnSelected = func(i widget.ListItemID) {
		id := ""
		if i > 0 && i <= len(p.galleries) {
			id = p.galleries[i-1].ID
		}
		if !p.selecting && id != p.current {
			p.current = id
			p.search.SetText("")
			p.grid.Select(-1)
			p.loadImages()
			p.selected()
		}
	}
	p.own = container.New(layout.NewCustomPaddedVBoxLayout(0))
	for _, b := range []*widget.Button{
		kit.Button(lang.L("Rename…"), theme.DocumentCreateIcon(), widget.LowImportance, p.rename),
		kit.Button(lang.L("Open the folder"), theme.FolderOpenIcon(), widget.LowImportance, p.reveal),
		kit.Button(lang.L("Delete the gallery"), icons.Trash, widget.LowImportance, p.deleteGallery),
	} {
		b.Alignment = widget.ButtonAlignLeading
		p.own.Add(b)
	}
	left := container.NewBorder(kit.Gap(184, 0), p.own, nil, nil, p.list)
	split := container.NewHSplit(left, sheet)
	split.Offset = 0.2
	p.browser = split
	p.empty = kit.Empty(icons.Gallery, lang.L("No pictures yet"),
		lang.L("A gallery is a set of pictures sampled from a trained network. Train one first, or sample from any checkpoint of a run that is under way."),
		kit.Button(lang.L("New gallery"), theme.ContentAddIcon(), widget.HighImportance, func() { p.newGallery("", -1) }),
		kit.Button(lang.L("Go to Train"), icons.Train, widget.MediumImportance, func() { p.s.Navigate(page.Train, nil) }))
	p.body = container.NewStack()
	add := kit.Button(lang.L("New gallery"), theme.ContentAddIcon(), widget.HighImportance, func() { p.newGallery("", -1) })
	p.selected()
	return kit.Page(kit.Title(p.Title()), add, container.NewBorder(nil, kit.Gap(1, 8), nil, nil, p.body))
}

func (p *Page) newRow() fyne.CanvasObject {
	name, about := kit.Ellipsis("", false), kit.Caption("")
	return container.NewBorder(nil, nil, kit.NewPicture(46, 46), nil, container.New(layout.NewCustomPaddedVBoxLayout(-12), name, about))
}

func (p *Page) fillRow(i widget.ListItemID, o fyne.CanvasObject) {
	row := o.(*fyne.Container)
	text, pic := row.Objects[0].(*fyne.Container), row.Objects[1].(*kit.Picture)
	name, about := text.Objects[0].(*widget.Label), text.Objects[1].(*widget.Label)
	if i == 0 {
		p.rows[o] = ""
		total := 0
		for _, g := range p.galleries {
			total += g.Images
		}
		name.SetText(lang.L("All pictures"))
		about.SetText(page.Int(total))
		pic.Set(nil)
		return
	}
	g := p.galleries[i-1]
	name.SetText(g.Name)
	line := page.Int(g.Images)
	if g.Starred > 0 {
		line += "  ★ " + page.Int(g.Starred)
	}
	about.SetText(line + " · " + page.When(g.Updated))
	if p.rows[o] == g.ID && pic.Image() != nil {
		return
	}
	p.rows[o] = g.ID
	pic.Set(nil)
	p.s.Studio.Thumbs.Request(g.Cover, 92, func(img *image.RGBA, err error) {
		if err == nil {
			p.s.Post(func() {
				if p.rows[o] == g.ID {
					pic.Set(img)
				}
			})
		}
	})
}

// Shown implements page.Page.
func (p *Page) Shown() {
	p.shown = true
	p.grid.Resume()
	if p.dirty || len(p.body.Objects) == 0 {
		p.dirty = false
		p.load()
	}
}

// Hidden implements page.Page.
func (p *Page) Hidden() {
	p.shown = false
	p.grid.Stop()
	p.detail.stop()
}

// Open implements page.Opener.
func (p *Page) Open(target any) {
	switch t := target.(type) {
	case page.ShowGallery:
		p.open = t.Gallery
		p.load()
	case page.NewGallery:
		p.newGallery(t.Model, t.Checkpoint)
	}
}

// Start implements page.Starter.
func (p *Page) Start() { p.newGallery("", -1) }

// Fit implements page.Fitter.
func (p *Page) Fit() { p.detail.fit() }

// SelectAll implements page.Selector.
func (p *Page) SelectAll() {
	if p.browsing() {
		p.grid.SelectAll()
	}
}

// TypedKey implements page.KeyHandler.
func (p *Page) TypedKey(ev *fyne.KeyEvent) bool {
	if !p.browsing() {
		return p.detail.key(ev.Name)
	}
	return p.grid.Key(ev.Name, false)
}

// TypedRune implements page.RuneHandler.
func (p *Page) TypedRune(r rune) bool { return p.grid.Rune(r) }

// Keys implements page.KeyHelp.
func (p *Page) Keys() []page.Key {
	return []page.Key{
		{Keys: lang.L("Enter, double click"), What: lang.L("Open the picture")},
		{Keys: lang.L("Shift+arrows, Shift+click"), What: lang.L("Select several")},
		{Keys: lang.L("Ctrl+wheel"), What: lang.L("Larger or smaller thumbnails")},
		{Keys: "Esc", What: lang.L("Back to the gallery")},
	}
}

// Inspector implements page.Inspected.
func (p *Page) Inspector() fyne.CanvasObject {
	if len(p.galleries) == 0 {
		return nil
	}
	return p.inspect.root
}

// Event implements page.EventHandler.
func (p *Page) Event(e any) {
	switch e.(type) {
	case events.GalleriesChanged, events.LibraryRebuilt:
		if p.shown {
			p.load()
		} else {
			p.dirty = true
		}
	}
}

// Tick implements page.Ticker.
func (p *Page) Tick() {
	if !p.due.IsZero() && time.Now().After(p.due) {
		p.due = time.Time{}
		p.loadImages()
	}
	if p.creating != nil {
		p.creating.tick()
	}
	p.detail.tick()
}

func (p *Page) browsing() bool {
	return len(p.body.Objects) == 1 && p.body.Objects[0] == p.browser
}

// put shows the browser, the empty state or a view.
func (p *Page) put(o fyne.CanvasObject) {
	if len(p.body.Objects) == 1 && p.body.Objects[0] == o {
		return
	}
	p.body.Objects = []fyne.CanvasObject{o}
	p.body.Refresh()
}

// load reads the galleries, then the pictures.
func (p *Page) load() {
	page.Load(p.s, p.s.Studio.Galleries.List, func(gs []studio.Gallery, err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		was := slices.IndexFunc(p.galleries, func(g studio.Gallery) bool { return g.ID == p.current })
		changed := (len(gs) == 0) != (len(p.galleries) == 0)
		p.galleries = gs
		if changed {
			p.s.InspectorChanged()
		}
		if len(gs) == 0 {
			p.detail.stop()
			p.put(p.empty)
			return
		}
		if len(p.body.Objects) == 0 || p.body.Objects[0] == p.empty {
			p.put(p.browser)
		}
		if p.open != "" {
			p.current, p.open = p.open, ""
			p.put(p.browser)
		}
		at := 0
		for i, g := range gs {
			if g.ID == p.current {
				at = i + 1
			}
		}
		if at == 0 && was >= 0 { // it is gone: the one in its place
			at = min(was+1, len(gs))
		}
		p.current = ""
		if at > 0 {
			p.current = gs[at-1].ID
		}
		p.s.Remember(rememberedPage, left{p.current, p.newest.Checked, p.grid.Zoom()})
		p.list.Refresh()
		p.selecting = true
		p.list.Select(at)
		p.selecting = false
		p.loadImages()
	})
}

// loadImages reads the pictures that match.
func (p *Page) loadImages() {
	f := studio.ImageFilter{Gallery: p.current, Search: p.search.Text, Starred: p.starred.Checked, Newest: p.newest.Checked}
	p.loads++
	n := p.loads
	page.Load(p.s,
		func(ctx context.Context) (images, error) {
			keys, err := p.s.Studio.Galleries.Images(ctx, f)
			return listed(keys), err // not on the UI thread: it takes 50 ms with 175,000
		},
		func(l images, err error) {
			if n != p.loads {
				return
			}
			if err != nil {
				p.noMatch.SetText(page.Sentence(err))
			} else {
				p.noMatch.SetText("")
				if len(l.keys) == 0 {
					p.noMatch.SetText(lang.L("Nothing matches."))
					if f.Search != "" {
						p.noMatch.SetText(lang.L("Nothing matches. Search for words, or for such as sampler:ddim steps:>20 class:cat."))
					} else if !f.Starred {
						p.noMatch.SetText(lang.L("No pictures are left here. Undo brings back what was deleted last."))
					}
				}
			}
			*p.images = l
			p.grid.Reload()
			p.selected()
			p.detail.reloaded()
		})
}

// selected makes the buttons and the inspector follow the selection.
func (p *Page) selected() {
	n := p.grid.Count()
	total := p.images.Len()
	line := lang.L("{{.N}} pictures", map[string]any{"N": page.Int(total)})
	switch {
	case n > 0:
		line = lang.L("{{.N}} of {{.Total}} selected", map[string]any{"N": page.Int(n), "Total": page.Int(total)})
	case total > 0:
		line += " · " + lang.L("none selected")
	}
	p.count.SetText(line) // which is why some of the buttons beside it cannot be used
	kit.Show(p.current != "", p.own)
	able(p.star, n > 0)
	able(p.remove, n > 0)
	able(p.save, total > 0)
	able(p.compare, n == 2)
	able(p.blend, n == 2)
	if n == 1 {
		p.inspect.show(p.grid.SelectedKeys()[0])
	} else {
		p.inspect.clear(n)
	}
}

func able(b *widget.Button, on bool) {
	switch {
	case on && b.Disabled():
		b.Enable()
	case !on && !b.Disabled():
		b.Disable()
	}
}

func (p *Page) menu() *fyne.Menu {
	n := p.grid.Count()
	item := func(text string, do func(), on bool) *fyne.MenuItem {
		m := fyne.NewMenuItem(text, do)
		m.Disabled = !on
		return m
	}
	return fyne.NewMenu("",
		item(lang.L("Open"), func() { p.detail.show(p.grid.Current()) }, n == 1),
		item(lang.L("Star"), p.starSelected, n > 0),
		item(lang.L("Export…"), p.exportSelected, n > 0),
		fyne.NewMenuItemSeparator(),
		item(lang.L("Use these settings"), p.inspect.reuse, n == 1),
		item(lang.L("Compare two"), p.compareSelected, n == 2),
		item(lang.L("Walk between two"), p.interpolateSelected, n == 2),
		item(lang.L("Show in file manager"), p.inspect.reveal, n == 1),
		fyne.NewMenuItemSeparator(),
		item(lang.L("Delete"), p.deleteSelected, n > 0))
}

// starSelected stars the selection, or takes the stars when all have one.
func (p *Page) starSelected() {
	refs := p.grid.SelectedKeys()
	if len(refs) == 0 {
		return
	}
	on := false
	for _, r := range refs {
		if !p.images.keys[p.images.index[r]].Starred {
			on = true
		}
	}
	p.s.Do(func(ctx context.Context) error { return p.s.Studio.Galleries.Star(ctx, on, refs...) }, func(err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		for _, r := range refs {
			if i, ok := p.images.index[r]; ok {
				p.images.keys[i].Starred = on
			}
		}
		p.grid.UpdateItems()
	})
}

func (p *Page) deleteSelected() {
	if refs := p.grid.SelectedKeys(); len(refs) > 0 {
		p.deleteImages(refs)
	}
}

func (p *Page) deleteImages(refs []studio.Ref) {
	p.s.Do(func(ctx context.Context) error { return p.s.Studio.Galleries.DeleteImages(ctx, refs...) }, func(err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		p.s.Undoable(lang.L("Deleted pictures: {{.N}}", map[string]any{"N": page.Int(len(refs))}))
		p.load()
	})
}

// exportSelected exports the selection, or everything shown when nothing is selected.
func (p *Page) exportSelected() {
	refs := p.grid.SelectedKeys()
	if len(refs) == 0 {
		for _, k := range p.images.keys {
			refs = append(refs, k.Ref)
		}
	}
	export.Images(p.s, p.galleryName(), refs)
}

func (p *Page) galleryName() string {
	for _, g := range p.galleries {
		if g.ID == p.current {
			return g.Name
		}
	}
	return lang.L("pictures")
}

func (p *Page) chosen() (studio.Gallery, bool) {
	for _, g := range p.galleries {
		if g.ID == p.current {
			return g, true
		}
	}
	return studio.Gallery{}, false
}

func (p *Page) rename() {
	g, ok := p.chosen()
	if !ok {
		return
	}
	p.s.AskName(lang.L("Rename the gallery"), g.Name, func(ctx context.Context, name string) error {
		return p.s.Studio.Galleries.Rename(ctx, g.ID, name)
	})
}

func (p *Page) deleteGallery() {
	g, ok := p.chosen()
	if !ok {
		return
	}
	p.s.Do(func(ctx context.Context) error { return p.s.Studio.Galleries.Delete(ctx, g.ID) }, func(err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		p.s.Undoable(lang.L("Deleted the gallery {{.Name}}", map[string]any{"Name": g.Name}))
		p.load()
	})
}

func (p *Page) reveal() {
	g, ok := p.chosen()
	if ok {
		p.revealRef(studio.Ref{Kind: studio.GalleryCover, Owner: g.ID})
	}
}

func (p *Page) revealRef(ref studio.Ref) {
	page.Load(p.s, func(ctx context.Context) (string, error) { return p.s.Studio.Galleries.Path(ctx, ref) }, func(path string, err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		p.s.Reveal(path)
	})
}

func (p *Page) newGallery(model string, checkpoint int64) {
	var was studio.SampleRequest
	known := p.s.Recall(remembered, &was)
	page.Load(p.s, func(ctx context.Context) (studio.SampleRequest, error) {
		if model == "" && was.Model != "" {
			if r, err := p.s.Studio.Galleries.Defaults(ctx, was.Model); err == nil {
				return r, nil
			}
		}
		return p.s.Studio.Galleries.Defaults(ctx, model)
	},
		func(r studio.SampleRequest, err error) {
			if err != nil {
				p.s.FailWith(err, lang.L("Go to Train"), func() { p.s.Navigate(page.Train, nil) })
				return
			}
			if known { // how, and not of what
				r.Sampler, r.Steps, r.Eta, r.Clip, r.Count = was.Sampler, was.Steps, was.Eta, was.Clip, was.Count
			}
			if checkpoint >= 0 {
				r.Checkpoint = checkpoint
			}
			p.create(r)
		})
}

// The names of the form of a new gallery and of the page among what is remembered, and what the page was left with.
const (
	remembered     = "new gallery"
	rememberedPage = "gallery"
)

type left struct {
	Gallery string
	Newest  bool
	Zoom    int
}

func stepOf(i, n int) string { return fmt.Sprintf("%d / %d", i, n) }
