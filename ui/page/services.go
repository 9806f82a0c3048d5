package page

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/dialog"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
)

// Services is what the shell offers to its pages. Its fields are set before the first page is built and do not change.
type Services struct {
	App    fyne.App
	Window fyne.Window
	Studio *studio.Studio

	// Navigate opens a page; a target that is not nil is given to its Open. The shell sets it.
	Navigate func(to ID, target any)
	// InspectorChanged tells the shell to ask the page for its Inspector again. The shell sets it.
	InspectorChanged func()
	// Restyle tells the shell that language, theme or scale have changed. The shell sets it.
	Restyle func()
	// Wake has the UI thread take at once what was handed to it. The runner sets it; it may be called on any goroutine.
	Wake func()
	// Notify tells the desktop of something that ended while nobody may have looked.
	Notify func(title, text string)
	// Post hands a function to the UI thread, save in tests. What comes after Stop is dropped.
	Post func(func())

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	postMu  sync.Mutex
	posted  []func()
	posting bool // whether run has been handed to the UI thread

	typing   *Entry            // the one with the keyboard
	typingOn fyne.CanvasObject // the dialog it is in, or nil

	job   studio.Snapshot
	jobAt time.Time

	tasksMu sync.Mutex
	tasks   []*Task

	toasts  *toaster
	origin  origin // of the work whose end is being handled
	dialogs []shownDialog

	notices      []*standing
	noticePlaces map[ID]func()
	noticesOn    bool

	remembered map[string]json.RawMessage // and not saved yet
	saving     bool
}

// New returns services for a window over a studio. Close releases them.
func New(ctx context.Context, a fyne.App, w fyne.Window, st *studio.Studio) *Services {
	s := &Services{
		App:              a,
		Window:           w,
		Studio:           st,
		Navigate:         func(ID, any) {},
		InspectorChanged: func() {},
		Restyle:          func() {},
		Wake:             func() {},
		Notify:           func(title, text string) { a.SendNotification(fyne.NewNotification(title, text)) },
		noticePlaces:     map[ID]func(){},
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.Post = s.post
	s.toasts = newToaster(s)
	return s
}

// runSlice is how long functions from elsewhere may run before the window is painted.
const runSlice = 8 * time.Millisecond

// post hands f to the UI thread. Fyne's loop takes one function at a time and chooses between them and a frame by lot:
// when painting is slow, forty functions wait forty frames. Hence all that wait are handed over as one.
func (s *Services) post(f func()) {
	s.postMu.Lock()
	s.posted = append(s.posted, f)
	first := !s.posting
	s.posting = true
	s.postMu.Unlock()
	if first {
		fyne.Do(s.run)
		s.Wake()
	}
}

func (s *Services) run() {
	for began := time.Now(); time.Since(began) < runSlice; {
		s.postMu.Lock()
		if len(s.posted) == 0 {
			s.posting = false
			s.postMu.Unlock()
			return
		}
		f := s.posted[0]
		s.posted[0] = nil
		s.posted = s.posted[1:]
		s.postMu.Unlock()
		if s.ctx.Err() == nil {
			f()
		}
	}
	fyne.Do(s.run)
	s.Wake()
}

// Context ends when the window closes. It may be used on any goroutine.
func (s *Services) Context() context.Context { return s.ctx }

// Stop cancels every task and drops what is still handed to the UI thread. It is called on the UI thread before the
// window's loop is ended: after that, fyne.Do runs functions on whatever goroutine calls it.
func (s *Services) Stop() { s.cancel() }

// Close cancels every task and waits for their work to end, at most for the given time. It is called off the UI thread,
// or after the UI has ended.
func (s *Services) Close(patience time.Duration) {
	s.cancel()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patience):
	}
	if err := s.save(s.remembered); err != nil {
		fyne.LogError("what the window was left with", err)
	}
}

// Load does work off the UI thread and hands its result to then on the UI thread, unless the window has closed
// meanwhile. It is for work of under a second; longer work is a Task.
func Load[T any](s *Services, work func(ctx context.Context) (T, error), then func(T, error)) {
	load(s, caller(0), work, then)
}

func load[T any](s *Services, by origin, work func(ctx context.Context) (T, error), then func(T, error)) {
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		v, err := work(s.ctx)
		if s.ctx.Err() != nil {
			return
		}
		s.Post(func() { s.ended(by, err, func() { then(v, err) }) })
	}()
}

// Do is Load for work with no result but its error; a nil then shows the error, if there is one.
func (s *Services) Do(work func(ctx context.Context) error, then func(error)) {
	load(s, caller(0), func(ctx context.Context) (struct{}, error) { return struct{}{}, work(ctx) }, func(_ struct{}, err error) {
		if then == nil {
			s.Fail(err)
			return
		}
		then(err)
	})
}

// Confirm asks before something that cannot be undone. The dangerous kind shows its button in red.
func (s *Services) Confirm(title, text, yes, no string, danger bool, then func()) {
	msg := widget.NewLabel(text)
	msg.Wrapping = fyne.TextWrapWord
	d := dialog.NewCustomConfirm(title, yes, no, msg, func(ok bool) {
		if ok {
			then()
		}
	}, s.Window)
	if danger {
		d.SetConfirmImportance(widget.DangerImportance)
	}
	d.Resize(fyne.NewSize(440, 0))
	s.ShowDialog(d)
}

// LetGo takes the keyboard from a control that was just used, so that the keys of the page and Escape work again.
func (s *Services) LetGo() { s.Window.Canvas().Unfocus() }

// Ask shows a small dialog around one control, which gets the keyboard if it can have it.
func (s *Services) Ask(title, yes string, o fyne.CanvasObject, then func()) {
	d := dialog.NewCustomConfirm(title, yes, lang.L("Cancel"), o, func(ok bool) {
		if ok {
			then()
		}
	}, s.Window)
	d.Resize(fyne.NewSize(420, 0))
	s.ShowDialog(d)
	if f, ok := o.(fyne.Focusable); ok {
		s.Window.Canvas().Focus(f)
	}
}

// AskName asks for another name and gives it to rename, off the UI thread.
func (s *Services) AskName(title, old string, rename func(ctx context.Context, name string) error) {
	e := s.NewEntry()
	e.SetText(old)
	s.Ask(title, lang.L("Rename"), e, func() {
		name := e.Text
		s.Do(func(ctx context.Context) error { return rename(ctx, name) }, nil)
	})
}

// Fail shows an error to the user until it is dismissed. A nil error and a cancelled context show nothing.
func (s *Services) Fail(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	s.toasts.add(toastError, Sentence(err))
}

// FailWith is Fail with a button that mends the matter.
func (s *Services) FailWith(err error, label string, mend func()) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	s.toasts.add(toastError, Sentence(err), action{label, mend})
}

// Toast shows a short message for a few seconds.
func (s *Services) Toast(text string) { s.toasts.add(toastInfo, text) }

// ToastWith is Toast with a button.
func (s *Services) ToastWith(text, label string, do func()) {
	s.toasts.add(toastInfo, text, action{label, do})
}
