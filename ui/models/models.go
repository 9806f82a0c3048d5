// Package models is the page of everything that can be sampled: the runs with a checkpoint, and imported models.
package models

import (
	"context"
	"fmt"
	"image"
	"path/filepath"
	"strings"
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
)

const cover = 140

// Page is the Models page.
type Page struct {
	s *page.Services

	own, imported         *fyne.Container
	ownBox, importedBox   *fyne.Container
	empty                 *fyne.Container
	cards                 map[string]*kit.TapCard
	models                []studio.Model
	chosen                string
	pane                  fyne.CanvasObject
	title                 *widget.Label
	facts                 *fyne.Container
	sample, export, again *widget.Button
	rename, remove        *widget.Button
	pictures              page.Pending
	dirty                 bool
	loaded                time.Time
}

// New returns the page.
func New(s *page.Services) page.Page { return &Page{s: s, cards: map[string]*kit.TapCard{}} }

// ID implements page.Page.
func (p *Page) ID() page.ID { return page.Models }

// Title implements page.Page.
func (p *Page) Title() string { return lang.L("Models") }

// Icon implements page.Page.
func (p *Page) Icon() fyne.Resource { return icons.Models }

// Content implements page.Page.
func (p *Page) Content() fyne.CanvasObject {
	p.own = kit.Tiles(cover+20, cover+112, 12, false)
	p.imported = kit.Tiles(cover+20, cover+112, 12, false)
	p.ownBox = container.NewVBox(kit.Heading(lang.L("From your runs")), p.own)
	p.importedBox = container.NewVBox(kit.Heading(lang.L("Imported")), p.imported)
	kit.Show(false, p.ownBox)
	kit.Show(false, p.importedBox)
	p.empty = container.NewStack()

	p.title = kit.Text("")
	p.title.TextStyle.Bold = true
	p.facts = container.New(layout.NewCustomPaddedVBoxLayout(-4))
	button := func(text string, icon fyne.Resource, imp widget.Importance, do func(studio.Model)) *widget.Button {
		return kit.Button(text, icon, imp, func() {
			if m, ok := p.model(); ok {
				do(m)
			}
		})
	}
	p.sample = button(lang.L("Sample it…"), icons.Gallery, widget.HighImportance, func(m studio.Model) {
		p.s.Navigate(page.Gallery, page.NewGallery{Model: m.ID, Checkpoint: -1})
	})
	p.export = button(lang.L("Export…"), theme.UploadIcon(), widget.MediumImportance, func(m studio.Model) {
		export.Model(p.s, m.ID, -1)
	})
	show := button(lang.L("Show in file manager"), theme.FolderOpenIcon(), widget.MediumImportance, func(m studio.Model) {
		page.Load(p.s, func(ctx context.Context) (string, error) { return p.s.Studio.Models.Path(ctx, m.ID) }, func(path string, err error) {
			if err != nil {
				p.s.Fail(err)
				return
			}
			p.s.Reveal(path)
		})
	})
	p.again = button(lang.L("Show the run"), icons.Runs, widget.MediumImportance, func(m studio.Model) {
		p.s.Navigate(page.Runs, page.ShowRun{Run: m.ID})
	})
	p.rename = button(lang.L("Rename…"), nil, widget.MediumImportance, p.renameModel)
	p.remove = button(lang.L("Move to the trash"), icons.Trash, widget.MediumImportance, p.removeModel)
	p.pane = container.NewVScroll(container.NewVBox(p.title, p.facts, kit.Gap(1, 6), p.sample, p.export, p.again, show, p.rename, p.remove))

	actions := kit.Buttons(kit.Button(lang.L("Import a model…"), icons.Import, widget.HighImportance, p.importDialog))
	return kit.Page(kit.Title(p.Title()), actions, container.NewStack(kit.WideScroll(p.ownBox, p.importedBox), p.empty))
}

// Shown implements page.Page.
func (p *Page) Shown() {
	p.load()
}

// Hidden implements page.Page.
func (p *Page) Hidden() {
	p.pictures.Stop()
}

// Event implements page.EventHandler.
func (p *Page) Event(ev any) {
	switch ev.(type) {
	case events.ModelsChanged, events.RunsChanged, events.CheckpointSaved, events.LibraryRebuilt:
		p.dirty = true
	}
}

// Tick implements page.Ticker: a training run changes often, the list of models once a second at most.
func (p *Page) Tick() {
	if p.dirty && time.Since(p.loaded) > time.Second {
		p.load()
	}
}

// Dropped implements page.Dropper: a folder with a model in it is imported as one.
func (p *Page) Dropped(paths []string) bool {
	for _, path := range paths {
		p.importPath(path, "")
	}
	return true
}

// Inspector implements page.Inspected.
func (p *Page) Inspector() fyne.CanvasObject {
	if p.chosen == "" {
		return nil
	}
	return p.pane
}

// Start implements page.Starter.
func (p *Page) Start() {
	if m, ok := p.model(); ok {
		p.s.Navigate(page.Gallery, page.NewGallery{Model: m.ID, Checkpoint: -1})
	}
}

// TypedKey implements page.KeyHandler.
func (p *Page) TypedKey(ev *fyne.KeyEvent) bool {
	m, ok := p.model()
	switch {
	case ok && m.Imported && (ev.Name == fyne.KeyDelete || ev.Name == fyne.KeyBackspace):
		p.removeModel(m)
	case ev.Name == fyne.KeyRight || ev.Name == fyne.KeyDown:
		p.step(1)
	case ev.Name == fyne.KeyLeft || ev.Name == fyne.KeyUp:
		p.step(-1)
	default:
		return false
	}
	return true
}

func (p *Page) step(by int) {
	for i, m := range p.models {
		if m.ID == p.chosen {
			if j := i + by; j >= 0 && j < len(p.models) {
				p.choose(p.models[j].ID)
			}
			return
		}
	}
	if len(p.models) > 0 {
		p.choose(p.models[0].ID)
	}
}

func (p *Page) model() (studio.Model, bool) {
	for _, m := range p.models {
		if m.ID == p.chosen {
			return m, true
		}
	}
	return studio.Model{}, false
}

func (p *Page) load() {
	p.dirty, p.loaded = false, time.Now()
	page.Load(p.s, p.s.Studio.Models.List, func(list []studio.Model, err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		p.fill(list)
	})
}

func (p *Page) fill(list []studio.Model) {
	p.pictures.Stop()
	p.models = p.models[:0]
	p.own.RemoveAll()
	p.imported.RemoveAll()
	p.cards = map[string]*kit.TapCard{}
	for _, imported := range []bool{false, true} {
		box := p.own
		if imported {
			box = p.imported
		}
		for _, m := range list {
			if m.Imported != imported {
				continue
			}
			p.models = append(p.models, m)
			pic := kit.NewPicture(cover, cover)
			p.pictures.Add(p.s.Thumb(m.Cover, cover-8, func(img *image.RGBA) {
				if img != nil {
					pic.Set(img)
				}
			}))
			size := fmt.Sprintf("%d × %d × %d", m.Width, m.Height, m.Channels)
			text := container.New(layout.NewCustomPaddedVBoxLayout(-10), kit.Ellipsis(m.Name, true),
				kit.Caption(params(m.Params)), kit.Caption(size), kit.Caption(origin(m)))
			card := kit.NewTapCard(container.NewBorder(pic, nil, nil, nil, text), func() { p.choose(m.ID) })
			card.SetSelected(m.ID == p.chosen)
			p.cards[m.ID] = card
			box.Add(card)
		}
	}
	kit.Show(len(p.own.Objects) > 0, p.ownBox)
	kit.Show(len(p.imported.Objects) > 0, p.importedBox)
	p.empty.Objects = nil
	if len(p.models) == 0 {
		p.empty.Objects = []fyne.CanvasObject{kit.Empty(icons.Models, lang.L("No models yet"),
			lang.L("A run becomes a model with its first checkpoint. You can also import an unconditional model in the diffusers format."),
			kit.Button(lang.L("Import a model…"), icons.Import, widget.HighImportance, p.importDialog),
			kit.Button(lang.L("Train one"), icons.Train, widget.MediumImportance, func() { p.s.Navigate(page.Train, nil) }))}
	}
	p.empty.Refresh()
	if _, ok := p.model(); !ok {
		p.chosen = ""
		p.s.InspectorChanged()
	} else {
		p.choose(p.chosen)
	}
}

func params(n int64) string {
	return lang.L("{{.N}} parameters", map[string]any{"N": page.Count(n)})
}

func origin(m studio.Model) string {
	if m.Imported {
		return m.Source
	}
	return lang.L("step {{.Step}}", map[string]any{"Step": page.Int(m.Newest)})
}

// choose shows a model's facts.
func (p *Page) choose(id string) {
	fresh := p.chosen == "" || p.chosen != id
	p.chosen = id
	for o, c := range p.cards {
		c.SetSelected(o == id)
	}
	m, ok := p.model()
	if !ok {
		return
	}
	p.title.SetText(m.Name)
	p.facts.RemoveAll()
	fact := func(name, value string) {
		if value == "" {
			return
		}
		v := kit.Text(value)
		v.Wrapping = fyne.TextWrapBreak
		v.Selectable = true
		p.facts.Add(container.New(layout.NewCustomPaddedVBoxLayout(-12), kit.Caption(name), v))
	}
	fact(lang.L("Parameters"), page.Int(m.Params))
	fact(lang.L("Pictures"), fmt.Sprintf("%d × %d × %d", m.Width, m.Height, m.Channels))
	fact(lang.L("Preset"), m.Preset)
	fact(lang.L("Objective"), m.Objective)
	fact(lang.L("Schedule"), m.Schedule)
	fact(lang.L("Classes"), strings.Join(m.Classes, ", "))
	fact(lang.L("Weights"), strings.Join(m.Weights, ", "))
	fact(lang.L("From"), m.Source)
	for _, f := range m.Provenance {
		fact(page.Text(f.Label), f.Value)
	}
	for _, n := range m.Notes {
		fact(lang.L("Note"), page.Text(n))
	}
	if !m.Created.IsZero() {
		fact(lang.L("Made"), page.When(m.Created))
	}
	fact(lang.L("On disk"), page.Bytes(m.Bytes))
	kit.Show(!m.Imported, p.again)
	kit.Show(m.Imported, p.rename)
	kit.Show(m.Imported, p.remove)
	p.facts.Refresh()
	if fresh {
		p.s.InspectorChanged()
	}
}

// importDialog asks for a diffusers folder.
func (p *Page) importDialog() { p.askImport("", "") }

// askImport is importDialog with what was typed before.
func (p *Page) askImport(path, name string) {
	p.s.AskImport(page.Import{
		Title: lang.L("Import a model"),
		About: lang.L("A UNet2DModel saved by diffusers: a folder with config.json and its safetensors, or a pipeline folder with unet inside. A checked copy is kept in the workspace."),
		Path:  lang.L("Folder of the model"), Name: lang.L("Name (the folder's, if left empty)"),
		OldPath: path, OldName: name,
		Do: p.importPath,
	})
}

func (p *Page) importPath(path, name string) {
	var got studio.Model
	p.s.Run(lang.L("Importing {{.Name}}", map[string]any{"Name": filepath.Base(path)}), func(ctx context.Context, report func(page.Progress)) error {
		var err error
		got, err = p.s.Studio.Models.Import(ctx, path, name, report)
		return err
	}, func(err error) {
		if err != nil {
			p.s.FailWith(err, lang.L("Change it…"), func() { p.askImport(path, name) })
			return
		}
		p.chosen = got.ID
		p.load()
		p.s.Toast(lang.L("“{{.Name}}” is imported.", map[string]any{"Name": got.Name}))
	})
}

func (p *Page) renameModel(m studio.Model) {
	p.s.AskName(lang.L("Rename the model"), m.Name, func(ctx context.Context, name string) error {
		return p.s.Studio.Models.Rename(ctx, m.ID, name)
	})
}

func (p *Page) removeModel(m studio.Model) {
	p.s.Do(func(ctx context.Context) error { return p.s.Studio.Models.Delete(ctx, m.ID) }, func(err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		p.s.Undoable(lang.L("“{{.Name}}” is in the trash.", map[string]any{"Name": m.Name}))
	})
}
