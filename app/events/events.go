// Package events carries typed signals from the services to whoever shows them.
//
// A signal says that something changed and which thing it was; it never carries the
// thing itself, so a listener that is slow or late reads the current state and can not
// show an old one.
package events

import (
	"context"
	"sync"

	"unnoise/runtime/sentence"
)

// Text is a sentence for people that can be translated; see sentence.Text.
type Text = sentence.Text

// T makes a Text. The arguments alternate between a name and its value.
func T(tmpl string, pairs ...any) Text { return sentence.T(tmpl, pairs...) }

// Event is one of the signals below.
type Event interface{ event() }

// DatasetsChanged says a dataset was added, changed, renamed, trashed or brought back.
// Dataset is its ID; empty means any of them.
type DatasetsChanged struct{ Dataset string }

// RunsChanged says the list of runs or one run's summary (notes, tags, star, last step,
// state, checkpoints) changed. Run is its ID; empty means any of them.
type RunsChanged struct{ Run string }

// LogGrew says a run's log has new points; read on from the last cursor.
type LogGrew struct{ Run string }

// SamplesAdded says a new fixed-seed grid was written during a run.
type SamplesAdded struct {
	Run  string
	Step int64
}

// CheckpointSaved says a checkpoint of a run is complete on disk.
type CheckpointSaved struct {
	Run  string
	Step int64
}

// QueueChanged says the queue's entries, their order or its holding changed.
type QueueChanged struct{}

// JobChanged says the running job went into another state (started, paused, stopping,
// ended). Figures that change many times a second are read from the snapshot instead.
type JobChanged struct{}

// GalleriesChanged says a gallery was added, changed, trashed or brought back, or that
// its images did. Gallery is its ID; empty means any of them.
type GalleriesChanged struct{ Gallery string }

// ModelsChanged says an imported model was added, renamed, trashed or brought back.
type ModelsChanged struct{}

// SettingsChanged says the settings were saved with different values.
type SettingsChanged struct{}

// RuntimeChanged says the runtime library was installed or has been found or lost.
type RuntimeChanged struct{}

// UndoChanged says there is another thing, or nothing, to take back.
type UndoChanged struct{}

// LibraryRebuilt says the index was made anew from the folders: read every list again.
type LibraryRebuilt struct{}

// Severity orders notices.
type Severity int

// How much a notice matters.
const (
	Info Severity = iota
	Warning
	Failure
)

// Mend is a way out that a notice offers as a button.
type Mend struct {
	Label Text
	Ask   Text // to be asked before, where it cannot be taken back; zero: nothing
	// Apply does it. It may take long: call it off the UI thread.
	Apply func(context.Context) error
}

// Notice tells the person something they did not ask for: a diverged loss that was
// mended, a full disk, an interrupted run that was found.
type Notice struct {
	Severity Severity
	Text     Text
	Run      string // the run it is about; may be empty
	Folder   string // a folder to look into; may be empty
	Mends    []Mend
}

func (DatasetsChanged) event()  {}
func (RunsChanged) event()      {}
func (LogGrew) event()          {}
func (SamplesAdded) event()     {}
func (CheckpointSaved) event()  {}
func (QueueChanged) event()     {}
func (JobChanged) event()       {}
func (GalleriesChanged) event() {}
func (ModelsChanged) event()    {}
func (SettingsChanged) event()  {}
func (RuntimeChanged) event()   {}
func (UndoChanged) event()      {}
func (LibraryRebuilt) event()   {}
func (Notice) event()           {}

// Bus delivers events to its subscribers in the order they were published. The zero
// value is ready for use.
//
// Publish never blocks and never calls a subscriber itself: one goroutine does, with no
// lock held, so a subscriber may call any service and may publish.
//
// Notices published before anybody has subscribed, such as what was recovered when the
// workspace was opened, wait for the first subscriber. Signals of change do not: whoever
// subscribes later reads the state as it is then.
type Bus struct {
	mu      sync.Mutex
	subs    map[int]*subscriber
	next    int
	pending []Event
	running bool
	closed  bool
}

type subscriber struct {
	fn   func(Event)
	gone bool // guarded by Bus.mu
}

// Subscribe calls fn for each event published from now on, one at a time, on a
// goroutine of the bus. The function returned ends that; it may be called from fn and
// more than once. After it returns, fn is not called again, save that a call already
// running in another goroutine may still be finishing.
func (b *Bus) Subscribe(fn func(Event)) (unsubscribe func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = make(map[int]*subscriber)
	}
	id := b.next
	b.next++
	b.subs[id] = &subscriber{fn: fn}
	b.wake()
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if s, ok := b.subs[id]; ok {
			s.gone = true
			delete(b.subs, id)
		}
	}
}

// Unheard takes the notices that wait for the first subscriber, for whoever will not subscribe.
func (b *Bus) Unheard() []Notice {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next > 0 {
		return nil
	}
	var out []Notice
	for _, e := range b.pending {
		if n, ok := e.(Notice); ok {
			out = append(out, n)
		}
	}
	b.pending = nil
	return out
}

// Publish hands e to every subscriber. A plain change signal equal to one still waiting
// is dropped: it would only repeat it.
func (b *Bus) Publish(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, notice := e.(Notice)
	unheard := b.next == 0 // nobody has subscribed yet
	if b.closed || unheard && (!notice || len(b.pending) == maxUnheard) {
		return
	}
	if !notice { // a Notice holds slices and cannot be compared
		for _, p := range b.pending {
			if _, n := p.(Notice); !n && p == e {
				return
			}
		}
	}
	b.pending = append(b.pending, e)
	if !unheard {
		b.wake()
	}
}

// maxUnheard is how many notices wait for the first subscriber: in a subcommand there may never be one.
const maxUnheard = 100

// wake starts the delivery of what waits, if it is not under way. b.mu is held.
func (b *Bus) wake() {
	if len(b.pending) > 0 && !b.running {
		b.running = true
		go b.deliver()
	}
}

func (b *Bus) deliver() {
	for {
		b.mu.Lock()
		if len(b.pending) == 0 || b.closed {
			b.running = false
			b.mu.Unlock()
			return
		}
		e := b.pending[0]
		b.pending = b.pending[1:]
		subs := make([]*subscriber, 0, len(b.subs))
		for id := 0; id < b.next; id++ { // in the order of subscription
			if s, ok := b.subs[id]; ok {
				subs = append(subs, s)
			}
		}
		b.mu.Unlock()
		for _, s := range subs {
			b.mu.Lock()
			gone := s.gone
			b.mu.Unlock()
			if !gone {
				s.fn(e)
			}
		}
	}
}

// Close drops what waits and delivers nothing more.
func (b *Bus) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.pending = nil
}
