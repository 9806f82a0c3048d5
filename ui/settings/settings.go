// Package settings is the page of the program's settings: its look, its processor, its workspace, the runtime library and
// the trash.
package settings

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/events"
	"unnoise/app/studio"
	"unnoise/ui/i18n"
	"unnoise/ui/icons"
	"unnoise/ui/kit"
	"unnoise/ui/page"
)

// Page is the Settings page.
type Page struct {
	s *page.Services

	device, language, theme, scale *kit.Select
	deviceNote, fontNote           *widget.Label
	threads                        *kit.Select
	path, used, free               *widget.Label
	move                           *kit.Action
	runtimeText                    *widget.Label
	install                        *kit.Action
	trash                          *fyne.Container

	devices []studio.Device
	filling bool // while the controls are set from the settings, not by the user
}

// New returns the page.
func New(s *page.Services) page.Page { return &Page{s: s} }

// ID implements page.Page.
func (p *Page) ID() page.ID { return page.Settings }

// Title implements page.Page.
func (p *Page) Title() string { return lang.L("Settings") }

// Icon implements page.Page.
func (p *Page) Icon() fyne.Resource { return icons.Settings }

var scales = []float64{0, 0.75, 1, 1.25, 1.5, 1.75, 2}

func scaleName(v float64) string {
	if v == 0 {
		return lang.L("System")
	}
	return fmt.Sprintf("%.0f %%", v*100)
}

func themes() ([]string, []string) {
	return []string{"", "light", "dark"}, []string{lang.L("System"), lang.L("Light"), lang.L("Dark")}
}

func languages() (codes, names []string) {
	codes, names = []string{""}, []string{lang.L("System")}
	for _, l := range i18n.Languages {
		codes, names = append(codes, l.Code), append(names, l.Name)
	}
	return codes, names
}

// Content implements page.Page.
func (p *Page) Content() fyne.CanvasObject {
	codes, names := languages()
	p.language = p.choice(names, func(i int, s *studio.Settings) { s.Language = codes[i] })
	modes, modeNames := themes()
	p.theme = p.choice(modeNames, func(i int, s *studio.Settings) { s.Theme = modes[i] })
	var scaleNames []string
	for _, v := range scales {
		scaleNames = append(scaleNames, scaleName(v))
	}
	p.scale = p.choice(scaleNames, func(i int, s *studio.Settings) { s.Scale = scales[i] })
	p.fontNote = kit.Muted("")
	kit.Show(false, p.fontNote)

	p.device = p.choice(nil, func(i int, s *studio.Settings) { s.Device = p.devices[i].Name })
	p.deviceNote = kit.Muted("")
	kit.Show(false, p.deviceNote)
	threadNames := []string{lang.L("All {{.N}}", map[string]any{"N": runtime.NumCPU()})}
	for i := 1; i <= runtime.NumCPU(); i++ {
		threadNames = append(threadNames, strconv.Itoa(i))
	}
	p.threads = p.choice(threadNames, func(i int, s *studio.Settings) { s.Threads = i })

	p.path = kit.Ellipsis("", false)
	p.path.Selectable = true
	p.used, p.free = widget.NewLabel("–"), widget.NewLabel("–")
	p.move = kit.NewAction(lang.L("Move…"), nil, p.moveWorkspace)
	show := kit.Button(lang.L("Show in file manager"), theme.FolderOpenIcon(), widget.MediumImportance, func() {
		p.s.Reveal(p.s.Studio.Workspace.Path())
	})
	rebuild := kit.Button(lang.L("Rebuild the index"), nil, widget.MediumImportance, p.rebuild)
	check := kit.Button(lang.L("Check all files"), nil, widget.MediumImportance, func() { p.check(false) })

	p.runtimeText = kit.Text(lang.L("Looking for the runtime library…"))
	p.install = kit.NewAction(lang.L("Install…"), theme.DownloadIcon(), func() {
		p.s.WithRuntime(p.loadRuntime)
	})
	kit.Show(false, p.install)
	p.trash = container.NewVBox()

	body := kit.Sections(
		kit.Section(lang.L("Appearance"), "",
			kit.Row(lang.L("Language"), "", p.language), p.fontNote,
			kit.Row(lang.L("Theme"), "", p.theme),
			kit.Row(lang.L("Scale"), lang.L("The size of everything in the window."), p.scale)),
		kit.Section(lang.L("Computing"), lang.L("What is changed here holds for runs and galleries started from now on."),
			kit.Row(lang.L("Processor"), "", p.device), p.deviceNote,
			kit.Row(lang.L("Threads"), lang.L("How many processor cores training may use. Fewer leave the computer free for other work."), p.threads)),
		kit.Section(lang.L("Runtime library"), "", p.runtimeText, p.install),
		kit.Section(lang.L("Workspace"), lang.L("The folder in which datasets, runs and galleries are kept. Its index can be made anew from the folders at any time."),
			kit.Row(lang.L("Folder"), "", p.path),
			kit.Row(lang.L("Used"), "", p.used),
			kit.Row(lang.L("Free on this disk"), "", p.free),
			container.NewHBox(show, check, rebuild, p.move)),
		kit.Section(lang.L("Trash"), "", p.trash),
		kit.Section(lang.L("About"), "",
			kit.Text(lang.L("Unnoise {{.Version}}. It works offline: nothing leaves this computer, and the only download is the runtime library, when you ask for it.",
				map[string]any{"Version": p.s.Studio.Settings.Version()}))),
	)
	return kit.Page(kit.Title(p.Title()), nil, body)
}

// choice makes a list of names; choosing one changes the settings.
func (p *Page) choice(names []string, set func(int, *studio.Settings)) *kit.Select {
	var sel *kit.Select
	sel = kit.NewSelect(names, func(string) {
		if p.filling || sel.SelectedIndex() < 0 {
			return
		}
		st := p.s.Studio.Settings.Get()
		set(sel.SelectedIndex(), &st)
		p.s.Do(func(ctx context.Context) error { return p.s.Studio.Settings.Set(ctx, st) }, func(err error) {
			if err != nil {
				p.s.Fail(err)
				p.fill()
			}
		})
	})
	return sel
}

// fill shows the settings in the controls.
func (p *Page) fill() {
	p.filling = true
	defer func() { p.filling = false }()
	st := p.s.Studio.Settings.Get()
	codes, _ := languages()
	selectValue(p.language, codes, st.Language)
	modes, _ := themes()
	selectValue(p.theme, modes, st.Theme)
	selectValue(p.scale, scales, st.Scale)
	p.threads.SetSelectedIndex(min(max(st.Threads, 0), len(p.threads.Options)-1))
	p.fillDevices()
	p.path.SetText(p.s.Studio.Workspace.Path())
}

func selectValue[T comparable](s *kit.Select, values []T, v T) {
	for i, o := range values {
		if o == v {
			s.SetSelectedIndex(i)
			return
		}
	}
	s.ClearSelected()
}

func (p *Page) fillDevices() {
	if p.devices == nil {
		return
	}
	filling := p.filling
	p.filling = true
	defer func() { p.filling = filling }()
	var names []string
	var reasons string
	now := p.s.Studio.Settings.Get().Device
	at := 0
	for i, d := range p.devices {
		name := page.Text(d.Label)
		if !d.Available {
			name = lang.L("{{.Name}} (not available)", map[string]any{"Name": name})
			if reasons != "" {
				reasons += "\n"
			}
			reasons += page.Text(d.Label) + ": " + page.Text(d.Reason)
		}
		names = append(names, name)
		if d.Name == now {
			at = i
		}
	}
	p.device.SetOptions(names)
	p.device.SetSelectedIndex(at)
	p.deviceNote.SetText(reasons)
	kit.Show(reasons != "", p.deviceNote)
}

// Shown implements page.Page.
func (p *Page) Shown() {
	p.fill()
	page.Load(p.s, p.s.Studio.Settings.Devices, func(d []studio.Device, err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		p.devices = d
		p.fillDevices()
	})
	page.Load(p.s, func(context.Context) (bool, error) { return i18n.HasChineseFont() }, func(ok bool, err error) {
		if err == nil && !ok {
			p.fontNote.SetText(lang.L("No font with Chinese characters was found. On Debian and Ubuntu, install the package fonts-noto-cjk."))
			kit.Show(true, p.fontNote)
		}
	})
	p.loadRuntime()
	p.loadWorkspace()
	p.loadTrash()
}

// Hidden implements page.Page.
func (p *Page) Hidden() {}

// Event implements page.EventHandler.
func (p *Page) Event(ev any) {
	switch ev.(type) {
	case events.SettingsChanged:
		p.fill()
	case events.RuntimeChanged:
		p.loadRuntime()
	case events.UndoChanged:
		p.loadTrash()
	case events.LibraryRebuilt:
		p.loadWorkspace()
		p.loadTrash()
	}
}

// Tick implements page.Ticker.
func (p *Page) Tick() {
	reason := ""
	if p.s.Studio.Training.Snapshot().Busy() {
		reason = lang.L("The workspace cannot be moved while a run is training.")
	}
	if reason != p.move.Reason() {
		p.move.SetReason(reason)
	}
}

func (p *Page) loadRuntime() {
	page.Load(p.s, p.s.Studio.Settings.Runtime, func(st studio.RuntimeStatus, err error) {
		switch {
		case err != nil:
			p.runtimeText.SetText(page.Sentence(err))
		case st.Installed:
			p.runtimeText.SetText(lang.L("ONNX Runtime {{.Version}} is installed.", map[string]any{"Version": st.Version}) + "\n" + st.Path)
			kit.Show(false, p.install)
		default:
			p.runtimeText.SetText(page.Text(st.Problem))
			kit.Show(true, p.install)
		}
	})
}

func (p *Page) loadWorkspace() {
	page.Load(p.s, p.s.Studio.Workspace.Info, func(info studio.WorkspaceInfo, err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		p.path.SetText(info.Path)
		p.free.SetText(page.Bytes(info.Free))
	})
	page.Load(p.s, p.s.Studio.Workspace.Measure, func(n int64, err error) {
		if err == nil {
			p.used.SetText(page.Bytes(n))
		}
	})
}

func (p *Page) moveWorkspace() {
	p.s.Pick(page.Picking{Title: lang.L("An empty or new folder for the workspace"), Folders: true, New: true}, func(dir string) {
		p.s.Confirm(lang.L("Move the workspace?"),
			lang.L("Everything is copied to {{.Dir}} and compared with the originals; only then are the originals removed. The folder must be empty.", map[string]any{"Dir": dir}),
			lang.L("Move"), lang.L("Cancel"), false, func() {
				p.s.Run(lang.L("Moving the workspace"), func(ctx context.Context, report func(page.Progress)) error {
					return p.s.Studio.Workspace.Move(ctx, dir, report)
				}, func(err error) {
					if err != nil {
						p.s.Fail(err)
						return
					}
					p.s.Toast(lang.L("The workspace has moved."))
					p.loadWorkspace()
				})
			})
	})
}

func (p *Page) rebuild() {
	p.s.Run(lang.L("Rebuilding the index"), func(ctx context.Context, report func(page.Progress)) error {
		return p.s.Studio.Workspace.Rebuild(ctx, report)
	}, func(err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		p.s.Toast(lang.L("The index was made anew from the folders."))
	})
}

const trashShown = 50

func (p *Page) loadTrash() {
	page.Load(p.s, p.s.Studio.Trash.List, func(items []studio.TrashItem, err error) {
		if err != nil {
			p.s.Fail(err)
			return
		}
		p.trash.RemoveAll()
		defer p.trash.Refresh()
		if len(items) == 0 {
			p.trash.Add(kit.Muted(lang.L("The trash is empty.")))
			return
		}
		var bytes int64
		for i, it := range items {
			bytes += it.Bytes
			if i >= trashShown {
				continue
			}
			back := kit.Button(lang.L("Bring back"), theme.ContentUndoIcon(), widget.LowImportance, func() { p.restore(it.ID) })
			p.trash.Add(container.NewBorder(nil, nil, nil,
				container.NewHBox(widget.NewLabel(page.When(it.Deleted)), widget.NewLabel(page.Bytes(it.Bytes)), back),
				kit.Ellipsis(kindName(it.Kind)+" · "+it.Name, false)))
		}
		if len(items) > trashShown {
			p.trash.Add(kit.Muted(lang.L("…and {{.N}} more", map[string]any{"N": len(items) - trashShown})))
		}
		empty := kit.Button(lang.L("Empty the trash…"), icons.Trash, widget.DangerImportance, func() { p.empty(len(items), bytes) })
		p.trash.Add(container.NewHBox(empty, widget.NewLabel(page.Bytes(bytes))))
	})
}

func kindName(kind string) string {
	switch kind {
	case "dataset":
		return lang.L("Dataset")
	case "run":
		return lang.L("Run")
	case "gallery":
		return lang.L("Gallery")
	case "images":
		return lang.L("Images")
	case "model":
		return lang.L("Model")
	default:
		return kind
	}
}

func (p *Page) restore(id string) {
	p.s.Do(func(ctx context.Context) error { return p.s.Studio.Trash.Restore(ctx, id) }, func(err error) {
		if err != nil {
			p.s.Fail(err)
		}
		p.loadTrash()
	})
}

func (p *Page) empty(n int, bytes int64) {
	p.s.Confirm(lang.L("Empty the trash?"),
		lang.L("{{.N}} things ({{.Size}}) are removed for good. This cannot be undone.", map[string]any{"N": n, "Size": page.Bytes(bytes)}),
		lang.L("Remove for good"), lang.L("Cancel"), true, func() {
			p.s.Run(lang.L("Emptying the trash"), func(ctx context.Context, report func(page.Progress)) error {
				_, err := p.s.Studio.Trash.Purge(ctx, 0*time.Second, report)
				return err
			}, func(err error) {
				p.s.Fail(err)
				p.loadTrash()
				p.loadWorkspace()
			})
		})
}
