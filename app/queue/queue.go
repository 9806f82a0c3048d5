// Package queue keeps the trainings that wait, in one JSON file of the workspace. Each
// change reads the file, changes it and writes it anew while holding a lock beside it, so
// the window and the command line can both add to it at any time.
package queue

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"unnoise/app/disk"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

const (
	version  = 1
	maxFile  = 16 << 20
	maxItems = 10_000
)

// Entry is one training that waits.
type Entry struct {
	ID      string          `json:"id"`
	Request json.RawMessage `json:"request,omitempty"` // what to train; its form is the caller's
	Run     string          `json:"run,omitempty"`     // continue this run instead
	Steps   int64           `json:"steps,omitempty"`   // new last step of a continued run; 0 keeps it
	Added   time.Time       `json:"added"`
	Error   string          `json:"error,omitempty"` // why its last start failed
	Why     sentence.Text   `json:"why,omitzero"`    // the same, to be told in any language; older versions did not keep it
}

// List is the queue at a moment.
type List struct {
	Version int     `json:"version"`
	Held    bool    `json:"held"` // nothing starts by itself
	Entries []Entry `json:"entries"`
}

// Queue is the file.
type Queue struct{ path string }

// New is the queue in the file at path.
func New(path string) *Queue { return &Queue{path: path} }

// NewID makes an ID for an entry.
func NewID() string {
	var r [6]byte
	_, _ = rand.Read(r[:])
	return hex.EncodeToString(r[:])
}

// Load reads the queue; no file is an empty one.
func (q *Queue) Load() (List, error) {
	l := List{Version: version}
	err := disk.ReadJSON(q.path, maxFile, &l)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return List{Version: version}, nil
	case err != nil:
		return List{}, sentence.Errorf("%w; move the file away to begin with an empty queue", err)
	case l.Version > version:
		return List{}, sentence.Errorf("the queue %s was saved by a newer Unnoise (format %d): use that one", q.path, l.Version)
	case len(l.Entries) > maxItems:
		return List{}, sentence.Errorf("the queue %s holds %d entries: %d are the most", q.path, len(l.Entries), maxItems)
	}
	return l, nil
}

// Stamp changes whenever the file does; a missing file has the zero stamp.
func (q *Queue) Stamp() (stamp [2]int64) {
	if st, err := os.Stat(q.path); err == nil {
		stamp = [2]int64{st.ModTime().UnixNano(), st.Size()}
	}
	return stamp
}

// Change reads the queue, lets change alter it and writes it, with the file locked
// meanwhile. When change returns an error nothing is written.
func (q *Queue) Change(ctx context.Context, change func(*List) error) (List, error) {
	lock := durable.Lock(filepath.Join(filepath.Dir(q.path), "queue.lock"))
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ok, err := lock.TryLockContext(ctx, 20*time.Millisecond)
	if err != nil || !ok {
		switch {
		case errors.Is(err, context.Canceled):
			return List{}, err
		case errors.Is(err, context.DeadlineExceeded):
			return List{}, sentence.T("the queue cannot be saved: another process holds it; try again").Because(err)
		}
		return List{}, cannotSave(err)
	}
	defer func() { _ = lock.Unlock() }()
	l, err := q.Load()
	if err != nil {
		return List{}, err
	}
	if err := change(&l); err != nil {
		return List{}, err
	}
	if len(l.Entries) > maxItems {
		return List{}, sentence.Errorf("the queue is full: %d entries are the most", maxItems)
	}
	if err := disk.WriteJSON(q.path, l); err != nil {
		return List{}, cannotSave(err)
	}
	return l, nil
}

func cannotSave(err error) error {
	return sentence.T("the queue cannot be saved: {{.Problem}}", "Problem", disk.Reason(err)).Because(err)
}

// ErrNoEntry says that an entry is not in the queue, or no more.
var ErrNoEntry = sentence.Errorf("the queue has no such entry: it was started or removed")

// Index is the place of an entry.
func (l *List) Index(id string) (int, error) {
	i := slices.IndexFunc(l.Entries, func(e Entry) bool { return e.ID == id })
	if i < 0 {
		return 0, ErrNoEntry
	}
	return i, nil
}

// Move puts an entry at a place, 0 being next; places out of range mean the ends.
func (l *List) Move(id string, place int) error {
	i, err := l.Index(id)
	if err != nil {
		return err
	}
	e := l.Entries[i]
	l.Entries = slices.Delete(l.Entries, i, i+1)
	l.Entries = slices.Insert(l.Entries, min(max(place, 0), len(l.Entries)), e)
	return nil
}

// Remove takes an entry out and returns it with its place.
func (l *List) Remove(id string) (Entry, int, error) {
	i, err := l.Index(id)
	if err != nil {
		return Entry{}, 0, err
	}
	e := l.Entries[i]
	l.Entries = slices.Delete(l.Entries, i, i+1)
	return e, i, nil
}
