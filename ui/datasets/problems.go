package datasets

import (
	"context"
	"image"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/kit"
	"unnoise/ui/page"
)

// badTab is the files that could not be read, with reasons.
type badTab struct {
	d     *detail
	stale bool
	list  *kit.List
	none  *widget.Label
	files []studio.BadFile
}

func newBadTab(d *detail) *badTab { return &badTab{d: d, stale: true} }

func (t *badTab) content() fyne.CanvasObject {
	t.none = kit.Muted(lang.L("Every file could be read."))
	kit.Show(false, t.none)
	t.list = kit.NewList(func() int { return len(t.files) }, func() fyne.CanvasObject {
		return container.New(layout.NewCustomPaddedVBoxLayout(-12), kit.Ellipsis("", true), kit.Ellipsis("", false))
	}, func(i widget.ListItemID, o fyne.CanvasObject) {
		box := o.(*fyne.Container)
		box.Objects[0].(*widget.Label).SetText(t.files[i].Name)
		box.Objects[1].(*widget.Label).SetText(page.Text(t.files[i].Reason))
	})
	t.list.OnSelected = func(i widget.ListItemID) { t.list.Unselect(i) }
	return kit.Pad(6, 0, 0, 0, container.NewStack(container.NewVBox(t.none), t.list))
}

func (t *badTab) show() {
	if !t.stale {
		return
	}
	t.stale = false
	page.Load(t.d.s, func(ctx context.Context) ([]studio.BadFile, error) { return t.d.s.Studio.Datasets.Bad(ctx, t.d.id) },
		func(files []studio.BadFile, err error) {
			if err != nil {
				t.d.s.Fail(err)
				return
			}
			t.files = files
			kit.Show(len(files) == 0, t.none)
			t.list.Refresh()
		})
}

// duplicatesTab is the groups of near-duplicates, side by side.
type duplicatesTab struct {
	d      *detail
	stale  bool
	list   *kit.List
	note   *widget.Label
	all    *widget.Button
	groups [][]int
	rows   map[*groupRow]struct{}
}

func newDuplicatesTab(d *detail) *duplicatesTab {
	return &duplicatesTab{d: d, stale: true, rows: map[*groupRow]struct{}{}}
}

func (t *duplicatesTab) content() fyne.CanvasObject {
	t.note = kit.Muted("")
	t.all = kit.Button(lang.L("Keep the first of each group"), theme.ConfirmIcon(), widget.MediumImportance, t.keepFirst)
	kit.Show(false, t.all)
	t.list = kit.NewList(func() int { return len(t.groups) }, func() fyne.CanvasObject {
		r := newGroupRow(t)
		t.rows[r] = struct{}{}
		return r
	}, func(i widget.ListItemID, o fyne.CanvasObject) { o.(*groupRow).set(t.groups[i]) })
	t.list.OnSelected = func(i widget.ListItemID) { t.list.Unselect(i) }
	return container.NewBorder(kit.Pad(6, 4, 0, 0, container.NewBorder(nil, nil, nil, container.NewCenter(t.all), t.note)), nil, nil, nil, t.list)
}

func (t *duplicatesTab) stop() {
	for r := range t.rows {
		r.stop()
	}
}

func (t *duplicatesTab) show() {
	if !t.stale {
		return
	}
	t.stale = false
	page.Load(t.d.s, func(ctx context.Context) ([][]int, error) { return t.d.s.Studio.Datasets.Duplicates(ctx, t.d.id) },
		func(groups [][]int, err error) {
			if err != nil {
				t.d.s.Fail(err)
				return
			}
			t.groups = groups
			if len(groups) == 0 {
				t.note.SetText(lang.L("No images look alike."))
				kit.Show(false, t.all)
			} else {
				t.note.SetText(lang.L("These images look alike. Training on several copies makes the network remember them; keep one of each group."))
				kit.Show(true, t.all)
			}
			t.list.Refresh()
		})
}

func (t *duplicatesTab) keep(group []int, item int) {
	t.d.change(lang.N("{{.N}} near-duplicate is excluded", len(group)-1, map[string]any{"N": page.Int(len(group) - 1)}),
		func(ctx context.Context) error { return t.d.s.Studio.Datasets.KeepOne(ctx, t.d.id, group, item) })
}

func (t *duplicatesTab) keepFirst() {
	var items []int
	for _, g := range t.groups {
		items = append(items, g[1:]...)
	}
	t.d.change(lang.N("{{.N}} near-duplicate is excluded", len(items), map[string]any{"N": page.Int(len(items))}),
		func(ctx context.Context) error { return t.d.s.Studio.Datasets.Exclude(ctx, t.d.id, items) })
}

const (
	groupShown   = 6 // pictures of a group that are shown
	groupPicture = 120
)

// groupRow is one group in the list; the list uses it again for other groups.
type groupRow struct {
	widget.BaseWidget
	t     *duplicatesTab
	group []int
	cells [groupShown]groupCell
	more  *widget.Label
	box   *fyne.Container
}

type groupCell struct {
	box     *fyne.Container
	picture *kit.Picture
	name    *widget.Label
	size    *widget.Label
	cancel  func()
}

func newGroupRow(t *duplicatesTab) *groupRow {
	r := &groupRow{t: t, more: kit.Muted("")}
	tiles := kit.Tiles(groupPicture+24, groupPicture+92, 8, false)
	for i := range r.cells {
		c := &r.cells[i]
		c.cancel = func() {}
		c.picture = kit.NewPicture(groupPicture, groupPicture)
		c.name = kit.Caption("")
		c.size = kit.Caption("")
		keep := kit.Button(lang.L("Keep this one"), nil, widget.MediumImportance, func() {
			if i < len(r.group) {
				t.keep(r.group, r.group[i])
			}
		})
		c.box = container.NewBorder(c.picture, keep, nil, nil, container.New(layout.NewCustomPaddedVBoxLayout(-12), c.name, c.size))
		tiles.Add(c.box)
	}
	r.box = container.NewStack(container.NewHScroll(kit.Pad(6, 6, 0, 0, container.NewGridWrap(
		fyne.NewSize(groupShown*(groupPicture+32), groupPicture+92), tiles))))
	r.ExtendBaseWidget(r)
	return r
}

// MinSize implements fyne.Widget.
func (r *groupRow) MinSize() fyne.Size {
	r.ExtendBaseWidget(r)
	return fyne.NewSize(200, groupPicture+106)
}

// CreateRenderer implements fyne.Widget.
func (r *groupRow) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(r.box) }

func (r *groupRow) stop() {
	for i := range r.cells {
		r.cells[i].cancel()
	}
}

func (r *groupRow) set(group []int) {
	r.stop()
	r.group = group
	for i := range r.cells {
		c := &r.cells[i]
		if i >= len(group) {
			kit.Show(false, c.box)
			continue
		}
		kit.Show(true, c.box)
		c.picture.Set(nil)
		if it, err := r.t.d.s.Studio.Datasets.Item(r.t.d.s.Context(), r.t.d.id, group[i]); err == nil {
			c.name.SetText(it.Name)
			c.size.SetText(sizeName(it.Width, it.Height))
		}
		c.cancel = r.t.d.s.Thumb(studio.Ref{Kind: studio.DatasetItem, Owner: r.t.d.id, Index: group[i]}, groupPicture-8, func(img *image.RGBA) {
			if img != nil {
				c.picture.Set(img)
			}
		})
	}
	if n := len(group) - groupShown; n > 0 {
		last := &r.cells[groupShown-1]
		last.size.SetText(lang.L("…and {{.N}} more", map[string]any{"N": page.Int(n)}))
	}
}
