package runs

import (
	"context"
	"fmt"
	"image"
	"slices"
	"strings"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/export"
	"unnoise/ui/icons"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/train"
)

// inspector shows one run at the right of the window and lets the user describe it.
type inspector struct {
	p    *Page
	root *fyne.Container
	none *widget.Label
	some *fyne.Container

	run                        studio.Run
	filling                    bool
	due                        time.Time // when what was typed is saved; zero: nothing to save
	pic                        *kit.Picture
	name                       *page.Entry
	state                      *widget.Label
	notes                      *page.Entry
	tags                       *page.Entry
	facts                      *fyne.Container
	goOn, sample, model, lapse *kit.Action
	further                    *widget.Button
	clone                      *widget.Button
}

func newInspector(p *Page) *inspector {
	n := &inspector{p: p, pic: kit.NewPicture(150, 200), facts: kit.Facts()}
	n.none = kit.Muted(lang.L("Select a run to see more of it."))
	n.state = kit.Text("")
	later := func(string) {
		if !n.filling {
			n.due = time.Now().Add(time.Second)
		}
	}
	n.name = p.s.NewEntry()
	n.name.OnChanged = later
	n.notes = p.s.NewMultiLineEntry()
	n.notes.SetPlaceHolder(lang.L("Notes"))
	n.notes.SetMinRowsVisible(4)
	n.notes.OnChanged = later
	n.tags = p.s.NewEntry()
	n.tags.SetPlaceHolder(lang.L("Tags, separated by commas"))
	n.tags.OnChanged = later
	n.goOn = kit.NewTallAction(lang.L("Continue"), theme.MediaPlayIcon(), func() { p.goOn(n.run.ID) })
	n.goOn.Button.Importance = widget.HighImportance
	n.further = kit.Button(lang.L("Train further…"), theme.MediaPlayIcon(), widget.MediumImportance, func() { p.s.TrainFurther(n.run.ID) })
	open := kit.Button(lang.L("Open the run"), icons.Runs, widget.MediumImportance, p.openPage)
	n.sample = kit.NewTallAction(lang.L("Make a gallery"), icons.Gallery, func() {
		p.s.Navigate(page.Gallery, page.NewGallery{Model: n.run.ID, Checkpoint: -1})
	})
	n.clone = kit.Button(lang.L("Use these settings"), theme.ContentCopyIcon(), widget.MediumImportance, func() {
		p.s.Navigate(page.Train, page.TrainLike{Run: n.run.ID})
	})
	n.model = kit.NewTallAction(lang.L("Export the model…"), theme.DocumentSaveIcon(), func() { export.Model(p.s, n.run.ID, -1) })
	n.lapse = kit.NewTallAction(lang.L("Export a time-lapse…"), theme.MediaVideoIcon(), func() { export.TimeLapse(p.s, n.run) })
	folder := kit.Button(lang.L("Open the folder"), theme.FolderOpenIcon(), widget.MediumImportance, func() {
		id := n.run.ID
		page.Load(p.s, func(ctx context.Context) (string, error) { return p.s.Studio.Runs.Path(ctx, id) }, func(path string, err error) {
			if err != nil {
				p.s.Fail(err)
				return
			}
			p.s.Reveal(path)
		})
	})
	bin := kit.Button(lang.L("Delete"), icons.Trash, widget.MediumImportance, p.remove)
	n.some = container.NewVBox(n.name, n.state, n.pic, natural(open), n.goOn, natural(n.further), n.sample, natural(n.clone), n.model, n.lapse, natural(folder), natural(bin), n.tags, n.notes, n.facts)
	kit.Show(false, n.some)
	n.root = container.NewStack(container.NewVScroll(kit.Pad(0, 0, 0, 8, container.NewVBox(n.none, n.some))))
	return n
}

// show shows a run; nil shows none. What is being typed is not disturbed.
func (n *inspector) show(r *studio.Run) {
	if r == nil {
		n.saveNow()
		n.run = studio.Run{}
		kit.Show(true, n.none)
		kit.Show(false, n.some)
		return
	}
	other := r.ID != n.run.ID
	if other {
		n.saveNow()
		n.pic.Set(nil)
	}
	cover := n.run.Cover
	n.run = *r
	if other || n.due.IsZero() {
		n.filling = true
		set := func(e *page.Entry, text string) {
			if e.Text != text {
				e.SetText(text)
			}
		}
		set(n.name, r.Name)
		set(n.notes, r.Notes)
		set(n.tags, strings.Join(r.Tags, ", "))
		n.filling = false
	}
	n.state.SetText(train.StateText(*r))
	kit.Show(false, n.none)
	kit.Show(true, n.some)
	busy := r.State == studio.RunRunning || r.State == studio.RunPaused
	switch {
	case busy:
		n.goOn.SetReason(lang.L("It is training."))
	case r.State == studio.RunDone:
		n.goOn.SetReason(lang.L("All its steps are done."))
	default:
		n.goOn.SetReason("")
	}
	kit.Show(!busy && r.Step > 0, n.further)
	none := ""
	if r.Step == 0 {
		none = lang.L("No checkpoint yet.")
	}
	n.sample.SetReason(none)
	n.model.SetReason(none)
	none = ""
	if r.Cover.Kind == studio.NoPicture {
		none = lang.L("No samples yet.")
	}
	n.lapse.SetReason(none)
	n.fill()
	if r.Cover.Kind != studio.NoPicture && (other || cover != r.Cover) {
		id := r.ID
		n.p.s.Studio.Thumbs.Request(r.Cover, 400, func(img *image.RGBA, err error) {
			if err == nil {
				n.p.s.Post(func() {
					if n.run.ID == id {
						n.pic.Set(img)
					}
				})
			}
		})
	}
	n.root.Refresh()
}

func (n *inspector) fill() {
	r := n.run
	n.facts.Objects = nil
	add := func(name, value string) { kit.AddFact(n.facts, name, value) }
	add(lang.L("Dataset"), r.Dataset)
	add(lang.L("Network"), fmt.Sprintf("%s, %d × %d × %d", r.Preset, r.Width, r.Height, r.Channels))
	add(lang.L("Parameters"), page.Int(r.Params))
	add(lang.L("Trained for"), page.Duration(r.Elapsed))
	add(lang.L("Begun"), page.When(r.Created))
	if r.Bytes > 0 {
		add(lang.L("On disk"), page.Bytes(r.Bytes))
	}
	n.facts.Refresh()
}

// tick saves what was typed when the typing has rested.
func (n *inspector) tick() {
	if !n.due.IsZero() && time.Now().After(n.due) {
		n.saveNow()
	}
}

// saveNow saves what was typed.
func (n *inspector) saveNow() {
	if n.due.IsZero() || n.run.ID == "" {
		return
	}
	n.due = time.Time{}
	r, name, notes := n.run, strings.TrimSpace(n.name.Text), n.notes.Text
	var tags []string
	for _, t := range strings.FieldsFunc(n.tags.Text, func(c rune) bool { return c == ',' || c == '，' }) {
		if t = strings.TrimSpace(t); t != "" && !slices.Contains(tags, t) {
			tags = append(tags, t)
		}
	}
	n.p.s.Do(func(ctx context.Context) error {
		rs := n.p.s.Studio.Runs
		if name != "" && name != r.Name {
			if err := rs.SetName(ctx, r.ID, name); err != nil {
				return err
			}
		}
		if notes != r.Notes {
			if err := rs.SetNotes(ctx, r.ID, notes); err != nil {
				return err
			}
		}
		if !slices.Equal(tags, r.Tags) {
			return rs.SetTags(ctx, r.ID, tags)
		}
		return nil
	}, nil)
}

// natural keeps a button at its own width.
func natural(o fyne.CanvasObject) fyne.CanvasObject { return container.NewHBox(o) }
