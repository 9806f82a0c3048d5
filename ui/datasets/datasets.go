// Package datasets is the page on which pictures are imported, looked at and put in order before training.
package datasets

import (
	"context"
	"fmt"
	"image"
	"path/filepath"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/events"
	"unnoise/app/studio"
	"unnoise/ui/icons"
	"unnoise/ui/kit"
	"unnoise/ui/page"
)

const cover = 150 // side of a dataset's picture in the list

// Page is the Datasets page: the list of datasets, or one of them.
type Page struct {
	s    *page.Services
	root *fyne.Container

	list     fyne.CanvasObject
	grid     *fyne.Container
	imports  *fyne.Container
	empty    *fyne.Container
	tasks    []*importing
	pictures page.Pending

	one *detail // the dataset on show, or nil

	shown bool
	dirty bool
}

// importing is a scan that is running.
type importing struct {
	task  *page.Task
	card  fyne.CanvasObject
	meter *kit.Meter
	line  *widget.Label
}

// New returns the page.
func New(s *page.Services) page.Page { return &Page{s: s} }

// ID implements page.Page.
func (p *Page) ID() page.ID { return page.Datasets }

// Title implements page.Page.
func (p *Page) Title() string { return lang.L("Datasets") }

// Icon implements page.Page.
func (p *Page) Icon() fyne.Resource { return icons.Datasets }

// Content implements page.Page.
func (p *Page) Content() fyne.CanvasObject {
	p.grid = kit.Tiles(cover+20, cover+92, 12, false)
	p.imports = container.New(layout.NewCustomPaddedVBoxLayout(8))
	p.empty = container.NewStack()
	actions := kit.Buttons(kit.Button(lang.L("Import…"), icons.Import, widget.HighImportance, p.importDialog))
	p.list = kit.Page(kit.Title(p.Title()), actions, container.NewStack(kit.WideScroll(p.imports, p.grid), p.empty))
	p.root = container.NewStack(p.list)
	return p.root
}

// Shown implements page.Page.
func (p *Page) Shown() {
	p.shown = true
	if p.one != nil {
		p.one.resume()
		if p.dirty {
			p.one.reload()
		}
	} else {
		p.load()
	}
	p.dirty = false
}

// Hidden implements page.Page.
func (p *Page) Hidden() {
	p.shown = false
	p.pictures.Stop()
	if p.one != nil {
		p.one.pause()
	}
}

// Open implements page.Opener.
func (p *Page) Open(target any) {
	switch t := target.(type) {
	case page.ImportPath:
		p.importPath(t.Path, "")
	case page.ShowDataset:
		p.show(t.Dataset)
	}
}

// Event implements page.EventHandler.
func (p *Page) Event(ev any) {
	switch ev := ev.(type) {
	case events.DatasetsChanged:
		if p.one != nil && (ev.Dataset == "" || ev.Dataset == p.one.id) {
			p.dirty = true
		}
		if p.one == nil {
			p.dirty = true
		}
	case events.LibraryRebuilt:
		p.dirty = true
	default:
		return
	}
	if !p.shown {
		return
	}
	p.dirty = false
	if p.one != nil {
		p.one.reload()
	} else {
		p.load()
	}
}

// Tick implements page.Ticker.
func (p *Page) Tick() {
	for _, im := range p.tasks {
		im.tick()
	}
	if p.one != nil {
		p.one.tick()
	}
}

// Inspector implements page.Inspected.
func (p *Page) Inspector() fyne.CanvasObject {
	if p.one == nil {
		return nil
	}
	return p.one.inspector()
}

// TypedKey implements page.KeyHandler.
func (p *Page) TypedKey(ev *fyne.KeyEvent) bool {
	if p.one == nil {
		return false
	}
	if ev.Name == fyne.KeyEscape {
		p.back()
		return true
	}
	return p.one.typedKey(ev)
}

// TypedRune implements page.RuneHandler.
func (p *Page) TypedRune(r rune) bool { return p.one != nil && p.one.typedRune(r) }

// SelectAll implements page.Selector.
func (p *Page) SelectAll() {
	if p.one != nil {
		p.one.selectAll()
	}
}

// Start implements page.Starter: train on the dataset on show, or import one.
func (p *Page) Start() {
	if p.one != nil {
		p.s.Navigate(page.Train, page.TrainOn{Dataset: p.one.id})
	} else {
		p.importDialog()
	}
}

func (p *Page) load() {
	page.Load(p.s, p.s.Studio.Datasets.List, func(list []studio.Dataset, err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		p.fill(list)
	})
}

func (p *Page) fill(list []studio.Dataset) {
	p.pictures.Stop()
	p.grid.RemoveAll()
	for _, d := range list {
		pic := kit.NewPicture(cover, cover)
		p.pictures.Add(p.s.Thumb(studio.Ref{Kind: studio.DatasetCover, Owner: d.ID}, cover-8, func(img *image.RGBA) {
			if img != nil {
				pic.Set(img)
			}
		}))
		text := container.New(layout.NewCustomPaddedVBoxLayout(-10), kit.Ellipsis(d.Name, true), kit.Caption(countLine(d)), kit.Caption(stateLine(d)))
		p.grid.Add(kit.NewTapCard(container.NewBorder(pic, nil, nil, nil, text), func() { p.show(d.ID) }))
	}
	p.empty.Objects = nil
	if len(list) == 0 && len(p.tasks) == 0 {
		p.empty.Objects = []fyne.CanvasObject{kit.Empty(icons.Datasets, lang.L("No datasets yet"),
			lang.L("Import a folder of pictures, a zip or an IDX file, or drop one anywhere onto this window. The pictures stay where they are."),
			kit.Button(lang.L("Import…"), icons.Import, widget.HighImportance, p.importDialog),
			kit.Button(lang.L("Use the demo pictures"), icons.Demo, widget.MediumImportance, p.importDemo))}
	}
	p.empty.Refresh()
	p.grid.Refresh()
}

func countLine(d studio.Dataset) string {
	line := lang.N("{{.N}} image", d.Items, map[string]any{"N": page.Int(d.Items)})
	if n := len(d.Classes); n > 1 {
		line += " · " + lang.N("{{.N}} class", n, map[string]any{"N": page.Int(n)})
	}
	return line
}

func stateLine(d studio.Dataset) string {
	switch {
	case d.Missing:
		return lang.L("The source is not there now")
	case d.Bad > 0:
		return lang.N("{{.N}} file could not be read", d.Bad, map[string]any{"N": page.Int(d.Bad)})
	case len(d.Sizes) == 1:
		return sizeName(d.Sizes[0].Width, d.Sizes[0].Height)
	case len(d.Sizes) > 1:
		return lang.N("{{.N}} size", len(d.Sizes), map[string]any{"N": page.Int(len(d.Sizes))})
	}
	return ""
}

func sizeName(w, h int) string { return fmt.Sprintf("%d × %d", w, h) }

// show opens a dataset.
func (p *Page) show(id string) {
	if p.one != nil && p.one.id == id {
		p.one.reload()
		return
	}
	p.pictures.Stop()
	if p.one != nil {
		p.one.pause()
	}
	p.one = newDetail(p, id)
	p.root.Objects = []fyne.CanvasObject{p.one.content()}
	p.root.Refresh()
	p.one.reload()
	p.s.InspectorChanged()
}

// back returns to the list.
func (p *Page) back() {
	if p.one == nil {
		return
	}
	p.one.pause()
	p.one = nil
	p.root.Objects = []fyne.CanvasObject{p.list}
	p.root.Refresh()
	p.s.InspectorChanged()
	p.load()
}

// importDialog asks for a path and a name.
func (p *Page) importDialog() { p.askImport("", "") }

// askImport is importDialog with what was typed before.
func (p *Page) askImport(path, name string) {
	p.s.AskImport(page.Import{
		Title: lang.L("Import pictures"),
		About: lang.L("Pictures are read where they are and never changed. A folder within the folder makes a class. You can also drop a folder or zip anywhere onto this window."),
		Path:  lang.L("Folder, zip or IDX file"), Name: lang.L("Name (the file's, if left empty)"),
		Files: true, OldPath: path, OldName: name,
		Other: kit.Button(lang.L("Use the demo pictures"), icons.Demo, widget.LowImportance, p.importDemo),
		Do:    p.importPath,
	})
}

func (p *Page) importDemo() {
	p.run(lang.L("the demo pictures"), nil, func(ctx context.Context, report func(page.Progress)) (studio.Dataset, error) {
		return p.s.Studio.Datasets.ImportDemo(ctx, report)
	})
}

func (p *Page) importPath(path, name string) {
	p.run(filepath.Base(path), func() { p.askImport(path, name) }, func(ctx context.Context, report func(page.Progress)) (studio.Dataset, error) {
		return p.s.Studio.Datasets.Import(ctx, path, name, report)
	})
}

// run imports as a task that the list and the status bar show. again, which may be nil, asks once more for what could not be
// imported.
func (p *Page) run(what string, again func(), work func(context.Context, func(page.Progress)) (studio.Dataset, error)) {
	var got studio.Dataset
	im := &importing{meter: kit.NewMeter(200), line: kit.Caption("")}
	im.task = p.s.Run(lang.L("Importing {{.Name}}", map[string]any{"Name": what}), func(ctx context.Context, report func(page.Progress)) error {
		var err error
		got, err = work(ctx, report)
		return err
	}, func(err error) {
		for i, o := range p.tasks {
			if o == im {
				p.tasks = append(p.tasks[:i:i], p.tasks[i+1:]...)
				break
			}
		}
		p.imports.Remove(im.card)
		if err != nil {
			if again != nil {
				p.s.FailWith(err, lang.L("Change it…"), again)
			} else {
				p.s.Fail(err)
			}
			p.load()
			return
		}
		switch {
		case p.shown && len(p.tasks) == 0:
			p.show(got.ID)
		case p.shown:
			p.load()
		default:
			p.s.ToastWith(lang.L("“{{.Name}}” is imported.", map[string]any{"Name": got.Name}), lang.L("Show it"),
				func() { p.s.Navigate(page.Datasets, page.ShowDataset{Dataset: got.ID}) })
		}
	})
	stop := kit.Button(lang.L("Cancel"), nil, widget.MediumImportance, im.task.Cancel)
	im.card = kit.Card(container.NewBorder(nil, nil, nil, container.NewCenter(stop),
		container.NewVBox(kit.Ellipsis(im.task.Title, true), kit.Pad(0, 0, 7, 7, im.meter), im.line)))
	p.tasks = append(p.tasks, im)
	p.imports.Add(im.card)
	p.empty.Objects = nil
	p.empty.Refresh()
	if p.one != nil {
		p.back()
	}
}

func (im *importing) tick() {
	pr := im.task.Progress()
	im.meter.Set(pr.Fraction())
	line := page.Text(pr.Phase)
	add := func(s string) {
		if line != "" {
			line += " · "
		}
		line += s
	}
	if pr.Total > 0 {
		add(page.Int(pr.Done) + " / " + page.Int(pr.Total))
	} else if pr.Done > 0 {
		add(page.Int(pr.Done))
	}
	if left, ok := im.task.Remaining(); ok {
		add(lang.L("{{.Time}} left", map[string]any{"Time": page.Duration(left)}))
	} else if spent := time.Since(im.task.Started); spent > 2*time.Second {
		add(page.Duration(spent))
	}
	if pr.Item != "" {
		add(pr.Item)
	}
	if im.task.Stopping() {
		line = lang.L("Cancelling…")
	}
	if im.line.Text != line {
		im.line.SetText(line)
	}
}
