package page

import (
	"context"
	"errors"
	"image"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/events"
	"unnoise/app/studio"
	"unnoise/ui/icons"
	"unnoise/ui/kit"
	uitheme "unnoise/ui/theme"
)

// maxStanding bounds the notices that wait; the oldest go first.
const maxStanding = 6

// standing is a notice that waits until it is mended or dismissed.
type standing struct {
	studio.Notice
	working bool   // a mend is being applied
	toast   *toast // the message that told of it, or nil
}

// Hear takes an event of the studio: notices are shown, and those that no longer hold are taken away. The shell calls it
// before the pages hear of the event.
func (s *Services) Hear(e studio.Event) {
	switch e := e.(type) {
	case studio.Notice:
		s.notice(e)
	case events.JobChanged:
		snap := s.Studio.Training.Snapshot()
		if snap.State != studio.JobTraining {
			return
		}
		s.dropNotices(func(n *standing) bool { // it trains again
			return n.Severity == events.Failure && !n.working && (n.Run == snap.Run || n.Run == "") || n.Severity == events.Info && n.Run == snap.Run
		})
	case events.RunsChanged:
		s.dropDeleted(e.Run)
	}
}

// dropDeleted takes away what is told of a run, or of any if run is "", that has been deleted meanwhile.
func (s *Services) dropDeleted(run string) {
	var told []string
	for _, n := range s.notices {
		if n.Run != "" && (run == "" || n.Run == run) {
			told = append(told, n.Run)
		}
	}
	if len(told) == 0 {
		return
	}
	Load(s, func(ctx context.Context) (gone []string, err error) {
		for _, id := range told {
			if _, err := s.Studio.Runs.Get(ctx, id); errors.Is(err, fs.ErrNotExist) {
				gone = append(gone, id)
			}
		}
		return gone, nil
	}, func(gone []string, err error) {
		s.dropNotices(func(n *standing) bool { return err == nil && !n.working && slices.Contains(gone, n.Run) })
	})
}

// notice shows something the studio has to say: good news for a while, and the rest until it is dismissed; what is about a
// run or can be mended stands on the Train page besides.
func (s *Services) notice(n studio.Notice) {
	switch {
	case n.Severity == events.Info && n.Run != "": // the end of a run
		s.Notify(lang.L("The training is done"), Text(n.Text))
	case n.Severity == events.Info:
		s.toasts.add(toastInfo, Text(n.Text))
		return
	case n.Run == "" && len(n.Mends) == 0:
		s.toasts.add(toastError, Text(n.Text))
		return
	}
	text, failed := n.Text.String(), n.Severity == events.Failure
	s.dropNotices(func(o *standing) bool { // what is said again, or overtaken
		again := o.Text.String() == text || o.Text.Template == n.Text.Template && n.Text.Template != "{{.Problem}}" // which may be anything
		return o.Run == n.Run && !o.working && (again || failed && (o.Severity == events.Failure || len(o.Mends) == 0))
	})
	if len(s.notices) >= maxStanding {
		oldest := s.notices[0]
		s.dropNotices(func(o *standing) bool { return o == oldest })
	}
	it := &standing{Notice: n}
	s.notices = append(s.notices, it)
	s.noticesChanged()
	if n.Severity == events.Failure {
		s.Notify(lang.L("The training has stopped"), Text(n.Text))
	}
	if s.noticesOn {
		return
	}
	if n.Severity == events.Info {
		it.toast = s.toasts.add(toastInfo, Text(n.Text), action{lang.L("Show it"), func() { s.Navigate(Runs, OpenRun{Run: n.Run}) }})
		return
	}
	var actions []action
	switch len(n.Mends) {
	case 0:
	case 1:
		actions = []action{{Text(n.Mends[0].Label), func() { s.mend(it, n.Mends[0]) }}}
	default:
		actions = []action{{lang.L("See what helps"), func() { s.Navigate(Train, WatchRun{}) }}}
	}
	it.toast = s.toasts.add(toastError, Text(n.Text), actions...)
}

func (s *Services) dropNotices(which func(*standing) bool) {
	was := len(s.notices)
	s.notices = slices.DeleteFunc(s.notices, func(n *standing) bool {
		drop := which(n)
		if drop {
			s.toasts.remove(n.toast)
		}
		return drop
	})
	if len(s.notices) != was {
		s.noticesChanged()
	}
}

// mend asks, if it has to, and applies a mend as a task. The notice goes when it is done.
func (s *Services) mend(n *standing, m studio.Mend) {
	s.ApplyMend(m, func() {
		n.working = true
		s.noticesChanged()
	}, func(err error) {
		n.working = false
		if err == nil {
			s.dropNotices(func(o *standing) bool { return o == n })
		} else {
			s.noticesChanged()
		}
	})
}

// ApplyMend asks, if it has to, and applies a mend as a task. begun and done, which may be nil, are called when it begins
// and ends; an error is shown.
func (s *Services) ApplyMend(m studio.Mend, begun func(), done func(error)) {
	apply := func() {
		if begun != nil {
			begun()
		}
		s.Run(Text(m.Label), func(ctx context.Context, _ func(Progress)) error { return m.Apply(ctx) }, func(err error) {
			s.Fail(err)
			if done != nil {
				done(err)
			}
		})
	}
	if m.Ask.Template == "" {
		apply()
		return
	}
	s.Confirm(Text(m.Label)+"?", Text(m.Ask), Text(m.Label), lang.L("Cancel"), true, apply)
}

// Notices is the place on a page where notices stand until they are mended or dismissed. While it is shown, which the page
// tells with ShowNotices, no message repeats them.
func (s *Services) Notices() fyne.CanvasObject {
	return s.place(Train, func(*standing) bool { return true })
}

// Finishes is the place on another page where the ends of runs stand until they are dismissed.
func (s *Services) Finishes(on ID) fyne.CanvasObject {
	return s.place(on, func(n *standing) bool { return n.Severity == events.Info })
}

func (s *Services) place(on ID, which func(*standing) bool) fyne.CanvasObject {
	box := container.NewVBox()
	s.noticePlaces[on] = func() {
		box.Objects = nil
		for _, n := range slices.Backward(s.notices) { // the newest first
			if which(n) {
				box.Add(s.noticeRow(n))
			}
		}
		kit.Show(len(box.Objects) > 0, box)
		box.Refresh()
	}
	s.noticePlaces[on]()
	return box
}

func (s *Services) noticesChanged() {
	for _, show := range s.noticePlaces {
		show()
	}
}

// ShowNotices says whether the place for notices is on show.
func (s *Services) ShowNotices(on bool) {
	s.noticesOn = on
	if on {
		for _, n := range s.notices {
			s.toasts.remove(n.toast)
		}
	}
}

func (s *Services) noticeRow(n *standing) fyne.CanvasObject {
	icon := kit.NewIcon(theme.NewWarningThemedResource(theme.WarningIcon()))
	if n.Severity == events.Failure {
		icon.SetResource(theme.NewErrorThemedResource(theme.ErrorIcon()))
	}
	text := kit.Text(Text(n.Text))
	text.Selectable = true
	if n.Severity == events.Info {
		return s.finishRow(n, text)
	}
	body := container.New(layout.NewCustomPaddedVBoxLayout(0), text)
	if n.working {
		body.Add(kit.Muted(lang.L("Working on it…")))
	} else if len(n.Mends) > 0 || n.Folder != "" {
		buttons := container.New(layout.NewRowWrapLayout())
		for i, m := range n.Mends {
			imp := widget.MediumImportance
			if i == 0 {
				imp = widget.HighImportance
			}
			buttons.Add(kit.Button(Text(m.Label), nil, imp, func() { s.mend(n, m) }))
		}
		if n.Folder != "" {
			buttons.Add(kit.Button(lang.L("Open the folder"), theme.FolderOpenIcon(), widget.MediumImportance, func() { s.Reveal(n.Folder) }))
		}
		body.Add(buttons)
	}
	dismiss := kit.Button("", theme.CancelIcon(), widget.LowImportance, func() {
		s.dropNotices(func(o *standing) bool { return o == n })
	})
	if n.working {
		kit.Show(false, dismiss)
	}
	row := container.NewBorder(nil, nil, container.NewVBox(container.NewPadded(icon)), container.NewVBox(dismiss), body)
	return kit.NewSurface(uitheme.ColorNameActive, "", 8, kit.Pad(4, 6, 10, 6, row))
}

// finishRow tells of the end of a run, with its samples and what may come next.
func (s *Services) finishRow(n *standing, text *widget.Label) fyne.CanvasObject {
	text.TextStyle.Bold = true
	pic := kit.NewPicture(72, 72)
	s.Thumb(studio.Ref{Kind: studio.RunCover, Owner: n.Run}, 72, func(img *image.RGBA) { pic.Set(img) })
	gone := func() { s.dropNotices(func(o *standing) bool { return o == n }) }
	buttons := container.New(layout.NewRowWrapLayout(),
		kit.Button(lang.L("Make a gallery"), icons.Gallery, widget.HighImportance, func() {
			s.Navigate(Gallery, NewGallery{Model: n.Run, Checkpoint: studio.NewestCheckpoint})
		}),
		kit.Button(lang.L("Train further…"), theme.MediaPlayIcon(), widget.MediumImportance, func() { s.TrainFurther(n.Run) }),
		kit.Button(lang.L("Open the run"), icons.Runs, widget.MediumImportance, func() { s.Navigate(Runs, OpenRun{Run: n.Run}) }))
	dismiss := kit.Button("", theme.CancelIcon(), widget.LowImportance, gone)
	row := container.NewBorder(nil, nil, container.NewCenter(pic), container.NewVBox(dismiss),
		container.New(layout.NewCustomPaddedVBoxLayout(0), text, buttons))
	return kit.NewSurface(uitheme.ColorNameActive, "", 8, kit.Pad(6, 6, 10, 6, row))
}

// TrainFurther asks how many steps more an ended run is to be trained, and trains it, or puts it into the queue.
func (s *Services) TrainFurther(run string) {
	Load(s, func(ctx context.Context) (studio.Run, error) { return s.Studio.Runs.Get(ctx, run) }, func(r studio.Run, err error) {
		if err != nil {
			s.Fail(err)
			return
		}
		e := s.NewEntry()
		e.SetText(strconv.FormatInt(max(1, r.Steps/2), 10))
		about := kit.Text(lang.L("“{{.Name}}” has done {{.N}} steps and goes on from its newest checkpoint.", map[string]any{"Name": r.Name, "N": Int(r.Step)}))
		s.Ask(lang.L("Train further"), lang.L("Train"), container.NewVBox(about, kit.Row(lang.L("More steps"), "", e)), func() {
			more, err := strconv.ParseInt(strings.NewReplacer(",", "", " ", "").Replace(e.Text), 10, 64)
			if err != nil || more < 1 || more > maxMore {
				s.Fail(events.T("Type a whole number from {{.Lo}} to {{.Hi}}.", "Lo", "1", "Hi", strconv.Itoa(maxMore)))
				return
			}
			s.WithRuntime(func() {
				queued := s.Studio.Training.Snapshot().Busy()
				s.Do(func(ctx context.Context) error { return s.Studio.Training.ContinueRun(ctx, run, r.Step+more) }, func(err error) {
					switch {
					case err != nil:
						s.Fail(err)
					case queued:
						s.Toast(lang.L("Added to the queue."))
					default:
						s.Navigate(Train, WatchRun{})
					}
				})
			})
		})
		s.Window.Canvas().Focus(e)
	})
}

// maxMore bounds the steps that are added at once.
const maxMore = 100_000_000
