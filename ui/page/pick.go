package page

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/dialog"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/runtime/sentence"
	"unnoise/ui/kit"
)

// Picking says what may be picked.
type Picking struct {
	Title          string
	Folders, Files bool
	Extensions     []string // of files, with their dots and in lower case; none is all
	Start          string   // where to look first; empty is where something was picked last
	New            bool     // a folder that is not there yet may be named
}

// PickFolder lets the user choose a folder.
func (s *Services) PickFolder(chosen func(path string)) {
	s.Pick(Picking{Title: lang.L("Choose a folder"), Folders: true}, chosen)
}

// Pick lets the user choose a folder or a file, by its name or by going there.
func (s *Services) Pick(what Picking, chosen func(path string)) {
	p := &picker{s: s, what: what, chosen: chosen}
	p.build()
	p.enter(p.first())
}

const (
	recentPlaces = "recent places" // the name of those among what is remembered
	mostPlaces   = 8
	mostListed   = 20_000
)

// picker is the dialog: the places at the left, what lies in a folder at the right, and the path over both. Fyne's own shows
// no files where a folder is asked for, and takes no path.
type picker struct {
	s      *Services
	what   Picking
	chosen func(string)

	path    *Entry
	problem *widget.Label
	list    *kit.List
	places  *fyne.Container
	d       *dialog.CustomDialog

	dir   string
	found []found
	reads int
}

// found is one line of the list.
type found struct {
	name   string
	folder bool
}

func (p *picker) build() {
	p.path = p.s.NewEntry()
	p.path.SetPlaceHolder(lang.L("Path"))
	p.path.OnSubmitted = func(string) { p.choose() }
	up := kit.Button("", theme.MoveUpIcon(), widget.LowImportance, func() { p.enter(filepath.Dir(p.dir)) })
	p.problem = kit.Text("")
	p.problem.Importance = widget.DangerImportance
	kit.Show(false, p.problem)
	p.list = kit.NewList(func() int { return len(p.found) }, func() fyne.CanvasObject {
		return container.NewBorder(nil, nil, kit.NewIcon(nil), nil, kit.Ellipsis("", false))
	}, func(i widget.ListItemID, o fyne.CanvasObject) {
		row, f := o.(*fyne.Container), p.found[i]
		text, icon := row.Objects[0].(*widget.Label), row.Objects[1].(*kit.Icon)
		imp, res := widget.MediumImportance, theme.FileIcon()
		if f.folder {
			res = theme.FolderIcon()
		} else if !p.takes(f.name) {
			imp = widget.LowImportance
		}
		text.Importance = imp
		text.SetText(f.name)
		icon.SetResource(res)
	})
	p.list.Arrows = true
	p.list.OnSelected = func(i widget.ListItemID) {
		f := p.found[i]
		p.list.UnselectAll()
		path := filepath.Join(p.dir, f.name)
		if f.folder {
			p.enter(path)
			return
		}
		p.path.SetText(path)
		p.say("")
	}
	p.places = container.NewVBox()
	p.fillPlaces()
	yes := kit.Button(lang.L("Choose"), nil, widget.HighImportance, p.choose)
	no := kit.Button(lang.L("Cancel"), nil, widget.MediumImportance, func() { p.d.Hide() })
	left := container.NewBorder(kit.Gap(170, 0), nil, nil, nil, container.NewVScroll(p.places))
	body := container.NewBorder(
		container.NewVBox(container.NewBorder(nil, nil, up, nil, p.path), p.problem),
		container.NewBorder(nil, nil, nil, kit.Buttons(no, yes)), left, nil, p.list)
	p.d = dialog.NewCustomWithoutButtons(p.what.Title, body, p.s.Window)
	size := p.s.Window.Canvas().Size()
	p.d.Resize(fyne.NewSize(min(820, size.Width-40), min(600, size.Height-40)))
	p.s.ShowDialog(p.d)
	p.s.Window.Canvas().Focus(p.path)
}

func (p *picker) fillPlaces() {
	place := func(name, path string, icon fyne.Resource) {
		b := kit.Button(short(name, 18), icon, widget.LowImportance, func() { p.enter(path) })
		b.Alignment = widget.ButtonAlignLeading
		p.places.Add(b)
	}
	if home, err := os.UserHomeDir(); err == nil {
		place(lang.L("Home folder"), home, theme.HomeIcon())
	}
	place(lang.L("Workspace"), p.s.Studio.Workspace.Path(), theme.StorageIcon())
	if root := filepath.VolumeName(p.s.Studio.Workspace.Path()) + string(filepath.Separator); root != "" {
		place(root, root, theme.ComputerIcon())
	}
	recent := p.recent()
	if len(recent) > 0 {
		p.places.Add(kit.Caption(lang.L("Recent places")))
	}
	for _, r := range recent {
		place(filepath.Base(r), r, theme.FolderIcon())
	}
}

func short(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

func (p *picker) recent() (out []string) {
	p.s.Recall(recentPlaces, &out)
	return out[:min(len(out), mostPlaces)]
}

// first is the folder to begin with.
func (p *picker) first() string {
	if at := Path(p.what.Start); filepath.IsAbs(at) {
		return at
	}
	if r := p.recent(); len(r) > 0 {
		return r[0]
	}
	if home, err := os.UserHomeDir(); err == nil {
		return home
	}
	return p.s.Studio.Workspace.Path()
}

// takes says whether a file may be picked.
func (p *picker) takes(name string) bool {
	return p.what.Files && (len(p.what.Extensions) == 0 || slices.ContainsFunc(p.what.Extensions, func(x string) bool {
		return strings.HasSuffix(strings.ToLower(name), x)
	}))
}

func (p *picker) say(problem string) {
	p.problem.SetText(problem)
	kit.Show(problem != "", p.problem)
}

// enter shows what lies in a folder; one that is not there gives way to the nearest that is.
func (p *picker) enter(dir string) {
	p.reads++
	n := p.reads
	type listing struct {
		dir   string
		found []found
	}
	Load(p.s, func(context.Context) (listing, error) {
		for {
			l, err := list(dir)
			if err == nil || dir == filepath.Dir(dir) || !os.IsNotExist(err) {
				return listing{dir, l}, err
			}
			dir = filepath.Dir(dir)
		}
	}, func(l listing, err error) {
		if n != p.reads {
			return
		}
		if err != nil {
			p.say(Sentence(sentence.Errorf("the folder %s cannot be read: %w", l.dir, err)))
			return
		}
		p.say("")
		p.dir, p.found = l.dir, l.found
		p.path.SetText(l.dir)
		p.list.UnselectAll()
		p.list.Refresh()
		p.list.ScrollToTop()
	})
}

// list reads a folder: folders first, without what is hidden.
func list(dir string) ([]found, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	entries, err := f.ReadDir(mostListed)
	if err != nil && len(entries) == 0 {
		if info, serr := f.Stat(); serr != nil || !info.IsDir() {
			return nil, err
		}
	}
	var out []found
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		folder := e.IsDir()
		if e.Type()&os.ModeSymlink != 0 {
			if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil {
				folder = info.IsDir()
			}
		}
		out = append(out, found{e.Name(), folder})
	}
	slices.SortFunc(out, func(a, b found) int {
		if a.folder != b.folder {
			if a.folder {
				return -1
			}
			return 1
		}
		return strings.Compare(strings.ToLower(a.name), strings.ToLower(b.name))
	})
	return out, nil
}

// choose takes what the path names, if it may be picked.
func (p *picker) choose() {
	path := Path(p.path.Text)
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.dir, path)
	}
	Load(p.s, func(context.Context) (bool, error) {
		info, err := os.Stat(path)
		if os.IsNotExist(err) && p.what.New {
			if _, perr := os.Stat(filepath.Dir(path)); perr == nil {
				return true, nil
			}
		}
		if err != nil {
			return false, notThere(path, err)
		}
		return info.IsDir(), nil
	}, func(folder bool, err error) {
		switch {
		case err != nil:
			p.say(Sentence(err))
			return
		case folder && !p.what.Folders:
			p.enter(path)
			return
		case !folder && !p.what.Files:
			p.say(lang.L("Choose a folder: this is a file."))
			return
		}
		at := path
		if !folder {
			at = filepath.Dir(path)
		}
		recent := slices.DeleteFunc(p.recent(), func(r string) bool { return r == at })
		p.s.Remember(recentPlaces, append([]string{at}, recent...)[:min(len(recent)+1, mostPlaces)])
		p.d.Hide()
		p.chosen(path)
	})
}

// notThere says why a path that somebody typed cannot be used.
func notThere(path string, err error) error {
	if os.IsNotExist(err) {
		return sentence.Errorf("there is no %s: mend the path", path)
	}
	return sentence.Errorf("%s cannot be opened: %w", path, err)
}
