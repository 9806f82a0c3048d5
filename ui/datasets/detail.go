package datasets

import (
	"context"
	"fmt"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/icons"
	"unnoise/ui/kit"
	"unnoise/ui/page"
)

// detail is one dataset on show.
type detail struct {
	p  *Page
	s  *page.Services
	id string
	ds studio.Dataset

	name, facts *widget.Label
	train       *kit.Action
	tabs        *container.AppTabs

	images  *imagesTab
	about   *aboutTab
	bad     *badTab
	twins   *duplicatesTab
	network *networkTab
}

func newDetail(p *Page, id string) *detail {
	d := &detail{p: p, s: p.s, id: id}
	d.images = newImagesTab(d)
	d.about = newAboutTab(d)
	d.bad = newBadTab(d)
	d.twins = newDuplicatesTab(d)
	d.network = newNetworkTab(d)
	return d
}

func (d *detail) content() fyne.CanvasObject {
	d.name = kit.Title("")
	d.facts = kit.Caption("")
	d.train = kit.NewAction(lang.L("Train on it"), icons.Train, d.p.Start)
	d.train.Button.Importance = widget.HighImportance
	var more *widget.Button
	more = kit.Button("", theme.MoreVerticalIcon(), widget.MediumImportance, func() {
		menu := widget.NewPopUpMenu(fyne.NewMenu("",
			fyne.NewMenuItem(lang.L("Rename…"), d.rename),
			fyne.NewMenuItem(lang.L("Scan again"), d.rescan),
			fyne.NewMenuItem(lang.L("Show in file manager"), func() { d.reveal(-1) }),
			fyne.NewMenuItemSeparator(),
			fyne.NewMenuItem(lang.L("Move to the trash"), d.remove)), d.s.Window.Canvas())
		menu.ShowAtRelativePosition(fyne.NewPos(more.Size().Width-menu.MinSize().Width, more.Size().Height), more)
	})
	back := kit.Button(lang.L("Datasets"), theme.NavigateBackIcon(), widget.LowImportance, d.p.back)
	title := container.NewBorder(nil, nil, container.NewCenter(back), nil, kit.Pad(-2, -2, 0, 0, container.NewBorder(nil, nil, nil, nil, d.name)))
	d.tabs = container.NewAppTabs(
		container.NewTabItem(lang.L("Images"), d.images.content()),
		container.NewTabItem(lang.L("About"), d.about.content()),
		container.NewTabItem(lang.L("What the network sees"), d.network.content()),
		container.NewTabItem(lang.L("Near-duplicates"), d.twins.content()),
		container.NewTabItem(lang.L("Bad files"), d.bad.content()),
	)
	d.tabs.OnSelected = func(*container.TabItem) { d.showTab() }
	return kit.Page(title, kit.Buttons(d.train, more), container.NewBorder(kit.Pad(-6, 0, 0, 0, d.facts), nil, nil, nil, d.tabs))
}

func (d *detail) showTab() {
	switch d.tabs.SelectedIndex() {
	case 2:
		d.network.show()
	case 3:
		d.twins.show()
	case 4:
		d.bad.show()
	}
	d.s.InspectorChanged()
}

// reload reads the dataset again after it has changed.
func (d *detail) reload() {
	page.Load(d.s, func(ctx context.Context) (studio.Dataset, error) { return d.s.Studio.Datasets.Get(ctx, d.id) },
		func(ds studio.Dataset, err error) {
			if d.p.one != d {
				return
			}
			if err != nil {
				d.s.Fail(err)
				d.p.back()
				return
			}
			d.set(ds)
		})
}

func (d *detail) set(ds studio.Dataset) {
	d.ds = ds
	d.name.SetText(ds.Name)
	line := countLine(ds)
	if ds.Excluded > 0 {
		line += " · " + lang.N("{{.N}} excluded", ds.Excluded, map[string]any{"N": page.Int(ds.Excluded)})
	}
	if s := stateLine(ds); s != "" && ds.Bad == 0 {
		line += " · " + s
	}
	d.facts.SetText(line + " · " + ds.Source.String())
	switch {
	case ds.Missing:
		d.train.SetReason(lang.L("The source is not there now."))
	case ds.Items-ds.Excluded <= 0:
		d.train.SetReason(lang.L("There is no image to train on."))
	default:
		d.train.SetReason("")
	}
	d.tabs.Items[3].Text = withCount(lang.L("Near-duplicates"), ds.Duplicates)
	d.tabs.Items[4].Text = withCount(lang.L("Bad files"), ds.Bad)
	d.tabs.Refresh()
	d.images.set(ds)
	d.about.set(ds)
	d.twins.stale, d.bad.stale, d.network.stale = true, true, true
	d.showTab()
}

func withCount(name string, n int) string {
	if n == 0 {
		return name
	}
	return fmt.Sprintf("%s (%s)", name, page.Int(n))
}

func (d *detail) tick() {}

func (d *detail) resume() { d.images.grid.Resume() }

func (d *detail) pause() {
	d.images.grid.Stop()
	d.twins.stop()
}

func (d *detail) inspector() fyne.CanvasObject {
	if d.tabs == nil || d.tabs.SelectedIndex() != 0 {
		return nil
	}
	return d.images.inspector()
}

func (d *detail) typedKey(ev *fyne.KeyEvent) bool {
	return d.tabs.SelectedIndex() == 0 && d.images.grid.Key(ev.Name, false)
}

func (d *detail) typedRune(r rune) bool { return d.tabs.SelectedIndex() == 0 && d.images.grid.Rune(r) }

func (d *detail) selectAll() {
	if d.tabs.SelectedIndex() == 0 {
		d.images.grid.SelectAll()
	}
}

// change does something to the dataset that can be undone, and says so. The page hears of the change by its event.
func (d *detail) change(text string, work func(ctx context.Context) error) {
	d.s.Do(work, func(err error) {
		if err != nil {
			d.s.Fail(err)
			return
		}
		d.s.Undoable(text)
	})
}

func (d *detail) rename() {
	d.s.AskName(lang.L("Rename the dataset"), d.ds.Name, func(ctx context.Context, name string) error {
		return d.s.Studio.Datasets.Rename(ctx, d.id, name)
	})
}

func (d *detail) rescan() {
	d.s.Run(lang.L("Scanning {{.Name}} again", map[string]any{"Name": d.ds.Name}), func(ctx context.Context, report func(page.Progress)) error {
		_, err := d.s.Studio.Datasets.Rescan(ctx, d.id, report)
		return err
	}, nil)
}

func (d *detail) reveal(item int) {
	page.Load(d.s, func(ctx context.Context) (string, error) { return d.s.Studio.Datasets.RevealPath(ctx, d.id, item) },
		func(path string, err error) {
			if err != nil {
				d.s.Fail(err)
				return
			}
			d.s.Reveal(path)
		})
}

func (d *detail) remove() {
	name := d.ds.Name
	d.s.Do(func(ctx context.Context) error { return d.s.Studio.Datasets.Delete(ctx, d.id) }, func(err error) {
		if err != nil {
			d.s.Fail(err)
			return
		}
		d.p.back()
		d.s.Undoable(lang.L("“{{.Name}}” is in the trash. Its pictures were not touched.", map[string]any{"Name": name}))
	})
}
