// Package runs is the page of all trainings: to find, compare, describe, continue and delete them.
package runs

import (
	"context"
	"image"
	"slices"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/events"
	"unnoise/app/studio"
	"unnoise/ui/icons"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	uitheme "unnoise/ui/theme"
	"unnoise/ui/widgets/form"
)

// Page is the Runs page.
type Page struct {
	s     *page.Services
	shown bool
	dirty bool

	filter  studio.RunFilter
	runs    []studio.Run
	total   int             // of all runs, whatever the filter
	current string          // selected run
	marked  map[string]bool // runs overlaid in the plot
	loads   int
	due     time.Time
	open    string

	body     *fyne.Container
	table    fyne.CanvasObject
	empty    fyne.CanvasObject
	list     *kit.List
	rows     map[fyne.CanvasObject]*row
	heads    []*widget.Button
	search   *page.Entry
	tag      *kit.Select
	starred  *kit.Check
	count    *widget.Label
	crashes  *fyne.Container
	overlay  *overlay
	inspect  *inspector
	detail   *detail
	compare  *widget.Button
	updating bool
}

// New returns the page.
func New(s *page.Services) page.Page {
	return &Page{s: s, marked: map[string]bool{}, rows: map[fyne.CanvasObject]*row{}}
}

// ID implements page.Page.
func (p *Page) ID() page.ID { return page.Runs }

// Title implements page.Page.
func (p *Page) Title() string { return lang.L("Runs") }

// Icon implements page.Page.
func (p *Page) Icon() fyne.Resource { return icons.Runs }

// column is one column of the table.
type column struct {
	name  string
	order studio.RunOrder // "" cannot be sorted by
	width float32         // 0 takes what is left, by share
	share float32
	room  float32 // the column is left out of a table narrower than this
}

func columns() []column {
	return []column{
		{width: 34},
		{width: 34},
		{width: 40, room: 620},
		{name: lang.L("No."), order: studio.ByNumber, width: 52},
		{name: lang.L("Name"), order: studio.ByName, share: 3},
		{name: lang.L("State"), order: studio.ByState, width: 92},
		{name: lang.L("Step"), order: studio.ByStep, width: 118},
		{name: lang.L("Loss"), order: studio.ByLoss, width: 72},
		{name: lang.L("Held-out"), order: studio.ByHeldOut, width: 80, room: 700},
		{name: lang.L("Changed"), order: studio.ByUpdated, width: 110, room: 780},
		{name: lang.L("Tags"), share: 1.4, room: 880},
	}
}

// tableLayout places the cells of a row, and those of the heading, in columns.
type tableLayout struct{ cols []column }

func (l tableLayout) MinSize(objs []fyne.CanvasObject) fyne.Size {
	h, w := float32(0), float32(0)
	for i, o := range objs {
		h = max(h, o.MinSize().Height)
		if l.cols[i].room == 0 {
			w += max(l.cols[i].width, 50)
		}
	}
	return fyne.NewSize(w, h)
}

func (l tableLayout) Layout(objs []fyne.CanvasObject, s fyne.Size) {
	fixed, shares := float32(0), float32(0)
	for i, c := range l.cols {
		if s.Width < c.room {
			objs[i].Hide() // not with kit.Show, which lays out
			continue
		}
		objs[i].Show()
		fixed += c.width
		shares += c.share
	}
	x := float32(0)
	for i, o := range objs {
		if s.Width < l.cols[i].room {
			continue
		}
		w := l.cols[i].width
		if w == 0 {
			w = max(s.Width-fixed, 80) * l.cols[i].share / shares
		}
		h := o.MinSize().Height
		o.Resize(fyne.NewSize(w, h))
		o.Move(fyne.NewPos(x, (s.Height-h)/2))
		x += w
	}
}

// row is the widgets of one recycled line of the table.
type row struct {
	id      string
	mark    *kit.Check
	star    *widget.Button
	cover   *kit.Picture
	labels  []*widget.Label
	filling bool
}

// Content implements page.Page.
func (p *Page) Content() fyne.CanvasObject {
	cols := columns()
	var was left
	if p.s.Recall(remembered, &was) {
		p.current, p.filter.Order, p.filter.Reverse = was.Run, was.Order, was.Reverse
	}
	p.search = p.s.NewEntry()
	p.search.SetPlaceHolder(lang.L("Search names, notes, tags and datasets"))
	p.search.ActionItem = kit.NewIcon(theme.SearchIcon())
	p.search.OnChanged = func(t string) {
		p.filter.Search = t
		p.due = time.Now().Add(200 * time.Millisecond)
	}
	p.starred = kit.NewCheck(lang.L("Starred"), func(on bool) {
		p.s.LetGo()
		p.filter.Starred = on
		p.load()
	})
	p.tag = kit.NewSelect([]string{lang.L("Any tag")}, nil)
	p.tag.SetSelectedIndex(0)
	p.tag.OnChanged = func(t string) {
		if p.updating {
			return
		}
		p.filter.Tag = ""
		if p.tag.SelectedIndex() > 0 {
			p.filter.Tag = t
		}
		p.load()
	}
	p.count = widget.NewLabel("")
	p.count.Importance = widget.LowImportance
	var heads []fyne.CanvasObject
	for _, c := range cols {
		if c.order == "" {
			l := widget.NewLabelWithStyle(c.name, fyne.TextAlignLeading, fyne.TextStyle{Bold: true})
			l.Importance = widget.LowImportance
			heads = append(heads, l)
			continue
		}
		b := kit.Button(c.name, nil, widget.LowImportance, func() { p.sortBy(c.order) })
		b.Alignment = widget.ButtonAlignLeading
		b.IconPlacement = widget.ButtonIconTrailingText
		p.heads = append(p.heads, b)
		heads = append(heads, b)
	}
	header := container.New(tableLayout{cols}, heads...)
	p.list = kit.NewList(func() int { return len(p.runs) }, func() fyne.CanvasObject { return p.newRow(cols) }, p.fillRow)
	p.list.OnSelected = func(i widget.ListItemID) {
		if i < len(p.runs) && !p.updating {
			p.choose(p.runs[i].ID)
		}
	}
	p.overlay = newOverlay(p)
	p.inspect = newInspector(p)
	p.detail = newDetail(p)
	p.compare = kit.Button(lang.L("Compare settings"), theme.ListIcon(), widget.MediumImportance, p.compareSettings)
	kit.Show(false, p.compare)
	split := container.NewVSplit(kit.Card(container.NewBorder(header, nil, nil, nil, p.list)), p.overlay.root)
	split.Offset = 0.55
	p.table = form.Toolbars(split, []fyne.CanvasObject{p.search, p.tag, p.starred, p.count, p.compare})
	p.empty = kit.Empty(icons.Runs, lang.L("No runs yet"), lang.L("Each training is kept here with its curves, samples and checkpoints."),
		kit.Button(lang.L("Set up a training"), icons.Train, widget.HighImportance, func() { p.s.Navigate(page.Train, nil) }))
	p.body = container.NewStack()
	p.crashes = container.NewVBox()
	p.markOrder()
	return kit.Page(kit.Title(p.Title()), nil, container.NewBorder(p.crashes, kit.Gap(1, 8), nil, nil, p.body))
}

func (p *Page) newRow(cols []column) fyne.CanvasObject {
	r := &row{mark: kit.NewCheck("", nil), cover: kit.NewPicture(32, 32)}
	r.star = kit.Button("", icons.StarOutline, widget.LowImportance, nil)
	objs := []fyne.CanvasObject{r.mark, r.star, r.cover}
	for range cols[3:] {
		l := kit.Ellipsis("", false)
		r.labels = append(r.labels, l)
		objs = append(objs, l)
	}
	o := container.New(tableLayout{cols}, objs...)
	r.mark.OnChanged = func(on bool) {
		if !r.filling {
			p.s.LetGo()
			p.mark(r.id, on)
		}
	}
	r.star.OnTapped = func() { p.star(r.id) }
	p.rows[o] = r
	return o
}

func (p *Page) fillRow(i widget.ListItemID, o fyne.CanvasObject) {
	r := p.rows[o]
	if r == nil || i >= len(p.runs) {
		return
	}
	run := p.runs[i]
	r.filling = true
	r.mark.SetChecked(p.marked[run.ID])
	r.filling = false
	icon := fyne.Resource(icons.StarOutline)
	if run.Starred {
		icon = theme.NewColoredResource(icons.Star, theme.ColorNameWarning)
	}
	r.star.SetIcon(icon)
	number := "–"
	if run.Number > 0 {
		number = page.Int(run.Number)
	}
	tags := ""
	for k, t := range run.Tags {
		if k > 0 {
			tags += ", "
		}
		tags += t
	}
	step := page.Int(run.Step)
	if run.Steps > 0 {
		step += " / " + page.Int(run.Steps)
	}
	for k, text := range []string{number, run.Name, page.RunState(run.State), step, page.Number(run.Loss), page.Number(run.HeldOut), page.When(run.Updated), tags} {
		l := r.labels[k]
		if k == 2 {
			imp := widget.MediumImportance
			switch run.State {
			case studio.RunRunning, studio.RunPaused:
				imp = widget.HighImportance
			case studio.RunFailed:
				imp = widget.DangerImportance
			case studio.RunInterrupted:
				imp = widget.WarningImportance
			case studio.RunDone:
				imp = widget.SuccessImportance
			case studio.RunNew, studio.RunStopped:
			}
			l.Importance = imp
		}
		l.SetText(text)
	}
	if r.id == run.ID && r.cover.Image() != nil {
		return
	}
	r.id = run.ID
	r.cover.Set(nil)
	if run.Cover.Kind == studio.NoPicture {
		return
	}
	id := run.ID
	p.s.Studio.Thumbs.Request(run.Cover, 64, func(img *image.RGBA, err error) {
		if err == nil {
			p.s.Post(func() {
				if r.id == id {
					r.cover.Set(img)
				}
			})
		}
	})
}

// remembered is the page's name among what is remembered, left what it was left with.
const remembered = "runs"

type left struct {
	Run     string
	Order   studio.RunOrder
	Reverse bool
}

// Shown implements page.Page.
func (p *Page) Shown() {
	p.shown = true
	if p.dirty || len(p.body.Objects) == 0 {
		p.dirty = false
		p.load()
	}
	p.loadCrashes()
}

// Hidden implements page.Page.
func (p *Page) Hidden() {
	p.shown = false
	p.inspect.saveNow()
	p.detail.view.Stop()
}

// Open implements page.Opener.
func (p *Page) Open(target any) {
	switch t := target.(type) {
	case page.ShowRun:
		p.open = t.Run
		p.detail.open = false
	case page.OpenRun:
		p.open = t.Run
		p.detail.open = true
	default:
		return
	}
	p.search.SetText("")
	p.load()
}

// Inspector implements page.Inspected.
func (p *Page) Inspector() fyne.CanvasObject {
	if p.total == 0 {
		return nil
	}
	return p.inspect.root
}

// Fit implements page.Fitter.
func (p *Page) Fit() {
	if p.detail.open {
		p.detail.view.Fit()
		return
	}
	p.overlay.plot.Reset()
}

// Event implements page.EventHandler.
func (p *Page) Event(e any) {
	switch e := e.(type) {
	case events.RunsChanged, events.LibraryRebuilt, events.JobChanged, events.CheckpointSaved:
		if !p.shown {
			p.dirty = true
			return
		}
		p.due = time.Now().Add(100 * time.Millisecond) // several may come at once
	case events.LogGrew:
		if p.shown {
			p.overlay.grew(e.Run)
			if p.detail.open && p.detail.run.ID == e.Run {
				p.detail.view.UpdateLog()
			}
		}
	}
}

// Tick implements page.Ticker.
func (p *Page) Tick() {
	if !p.due.IsZero() && time.Now().After(p.due) {
		p.due = time.Time{}
		p.load()
		p.loadCrashes()
	}
	p.inspect.tick()
	p.detail.tick()
}

// TypedKey implements page.KeyHandler.
func (p *Page) TypedKey(ev *fyne.KeyEvent) bool {
	at := slices.IndexFunc(p.runs, func(r studio.Run) bool { return r.ID == p.current })
	switch ev.Name {
	case fyne.KeyDown:
		at++
	case fyne.KeyUp:
		at--
	case fyne.KeySpace:
		if p.current != "" {
			p.mark(p.current, !p.marked[p.current])
			p.list.Refresh()
		}
		return true
	case fyne.KeyDelete:
		p.remove()
		return true
	case fyne.KeyReturn, fyne.KeyEnter:
		p.openPage()
		return true
	case fyne.KeyEscape:
		if !p.detail.open {
			return false
		}
		p.detail.close()
		return true
	default:
		return false
	}
	if at >= 0 && at < len(p.runs) {
		p.list.Select(at)
		p.list.ScrollTo(at)
	}
	return true
}

// TypedRune implements page.RuneHandler.
func (p *Page) TypedRune(r rune) bool {
	if r == '.' && p.current != "" {
		p.star(p.current)
		return true
	}
	return false
}

// Keys implements page.KeyHelp.
func (p *Page) Keys() []page.Key {
	return []page.Key{
		{Keys: lang.L("Space"), What: lang.L("Put the run into the plot, or take it out")},
		{Keys: lang.L("Enter"), What: lang.L("Open the run")},
	}
}

func (p *Page) sortBy(o studio.RunOrder) {
	if p.filter.Order == "" {
		p.filter.Order = studio.ByNumber
	}
	if p.filter.Order == o {
		p.filter.Reverse = !p.filter.Reverse
	} else {
		p.filter.Order, p.filter.Reverse = o, false
	}
	p.markOrder()
	p.load()
}

// markOrder shows by which column the table is sorted.
func (p *Page) markOrder() {
	k := 0
	for _, c := range columns() {
		if c.order == "" {
			continue
		}
		icon := fyne.Resource(nil)
		if c.order == p.filter.Order || (p.filter.Order == "" && c.order == studio.ByNumber) {
			icon = theme.MenuDropDownIcon()
			if p.filter.Reverse {
				icon = theme.MenuDropUpIcon()
			}
		}
		p.heads[k].SetIcon(icon)
		k++
	}
}

type listing struct {
	runs  []studio.Run
	tags  []string
	total int
}

// load reads the runs that match.
func (p *Page) load() {
	f := p.filter
	p.loads++
	n := p.loads
	page.Load(p.s, func(ctx context.Context) (listing, error) {
		var l listing
		var err error
		if l.runs, err = p.s.Studio.Runs.List(ctx, f); err != nil {
			return l, err
		}
		if l.tags, err = p.s.Studio.Runs.Tags(ctx); err != nil {
			return l, err
		}
		l.total, err = p.s.Studio.Runs.Count(ctx, studio.RunFilter{})
		return l, err
	}, func(l listing, err error) {
		if n != p.loads {
			return
		}
		if err != nil {
			p.s.Fail(err)
			return
		}
		p.use(l)
	})
}

func (p *Page) use(l listing) {
	was := slices.IndexFunc(p.runs, func(r studio.Run) bool { return r.ID == p.current })
	p.runs = l.runs
	changed := (p.total == 0) != (l.total == 0)
	p.total = l.total
	if changed {
		p.s.InspectorChanged()
	}
	p.showBody()
	p.updating = true
	p.tag.Options = append([]string{lang.L("Any tag")}, l.tags...)
	p.tag.SetSelectedIndex(max(slices.Index(l.tags, p.filter.Tag), -1) + 1)
	p.updating = false
	if len(l.runs) == l.total {
		p.count.SetText(page.Int(l.total))
	} else {
		p.count.SetText(lang.L("{{.N}} of {{.Total}}", map[string]any{"N": page.Int(len(l.runs)), "Total": page.Int(l.total)}))
	}
	if p.open != "" {
		p.current, p.open = p.open, ""
	}
	at := slices.IndexFunc(p.runs, func(r studio.Run) bool { return r.ID == p.current })
	if at < 0 && len(p.runs) > 0 { // it is gone: the one in its place
		at = min(max(was, 0), len(p.runs)-1)
	}
	p.list.Refresh()
	if at < 0 {
		p.updating = true
		p.list.UnselectAll()
		p.updating = false
		p.choose("")
		return
	}
	p.updating = true
	p.list.Select(at)
	p.updating = false
	p.choose(p.runs[at].ID)
}

// showBody shows the list, the page of a run, or that there is none.
func (p *Page) showBody() {
	want := p.table
	switch {
	case p.total == 0:
		want = p.empty
	case p.detail.open:
		want = p.detail.root
	}
	if len(p.body.Objects) == 0 || p.body.Objects[0] != want {
		p.body.Objects = []fyne.CanvasObject{want}
		p.body.Refresh()
	}
}

// openPage shows the page of the selected run.
func (p *Page) openPage() {
	if r, ok := p.run(p.current); ok {
		p.detail.show(r)
		p.showBody()
	}
}

// choose shows a run in the inspector and in the plot, and its page where one is open.
func (p *Page) choose(id string) {
	p.current = id
	p.s.Remember(remembered, left{Run: id, Order: p.filter.Order, Reverse: p.filter.Reverse})
	var r *studio.Run
	for i := range p.runs {
		if p.runs[i].ID == id {
			r = &p.runs[i]
		}
	}
	p.inspect.show(r)
	if p.detail.open {
		if r == nil {
			p.detail.close()
		} else {
			p.detail.show(*r)
		}
	}
	p.overlay.update()
}

func (p *Page) run(id string) (studio.Run, bool) {
	for _, r := range p.runs {
		if r.ID == id {
			return r, true
		}
	}
	return studio.Run{}, false
}

// mark puts a run into the plot or takes it out.
func (p *Page) mark(id string, on bool) {
	if on {
		p.marked[id] = true
	} else {
		delete(p.marked, id)
	}
	kit.Show(len(p.marked) > 1, p.compare)
	p.overlay.update()
}

func (p *Page) star(id string) {
	r, ok := p.run(id)
	if !ok {
		return
	}
	p.s.Do(func(ctx context.Context) error { return p.s.Studio.Runs.Star(ctx, !r.Starred, id) }, func(err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		p.load()
	})
}

// remove moves the selected run to the trash.
func (p *Page) remove() {
	r, ok := p.run(p.current)
	if !ok {
		return
	}
	p.s.Do(func(ctx context.Context) error { return p.s.Studio.Runs.Delete(ctx, r.ID) }, func(err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		delete(p.marked, r.ID)
		p.s.Undoable(lang.L("Deleted the run {{.Name}}", map[string]any{"Name": r.Name}))
		p.load()
	})
}

// goOn continues a run.
func (p *Page) goOn(id string) {
	p.s.Do(func(ctx context.Context) error { return p.s.Studio.Training.ContinueRun(ctx, id, 0) }, func(err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		p.s.Navigate(page.Train, page.WatchRun{})
	})
}

// loadCrashes lists the runs whose process vanished.
func (p *Page) loadCrashes() {
	page.Load(p.s, p.s.Studio.Runs.Interrupted, func(list []studio.Interrupted, err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		p.crashes.Objects = nil
		for _, c := range list {
			text := page.Text(c.Text)
			if c.Lost > 0 {
				text += " " + lang.L("{{.N}} steps after its last checkpoint are done again.", map[string]any{"N": page.Int(c.Lost)})
			}
			l := kit.Text(text)
			buttons := container.NewHBox(
				kit.Button(lang.L("Continue"), theme.MediaPlayIcon(), widget.HighImportance, func() { p.goOn(c.Run) }),
				kit.Button(lang.L("Leave it stopped"), nil, widget.MediumImportance, func() {
					p.s.Do(func(ctx context.Context) error { return p.s.Studio.Runs.Dismiss(ctx, c.Run) }, func(err error) {
						if err != nil {
							p.s.Fail(err)
							return
						}
						p.load()
						p.loadCrashes()
					})
				}))
			icon := container.NewCenter(kit.NewIcon(theme.NewWarningThemedResource(theme.WarningIcon())))
			p.crashes.Add(kit.NewSurface(uitheme.ColorNameActive, "", 8, kit.Pad(4, 4, 12, 8, container.NewBorder(nil, nil, icon, container.NewCenter(buttons), l))))
		}
		if len(list) > 0 {
			p.crashes.Add(kit.Gap(1, 4))
		}
		p.crashes.Refresh()
	})
}
