package studio

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"unnoise/app/events"
)

// undoDepth is how many changes can be taken back.
const undoDepth = 100

// change that can be taken back.
type undoable struct {
	what Text
	back func(context.Context) error
}

type undoStack struct {
	mu    sync.Mutex
	items []undoable
}

// did remembers how to take back what was just done. It is called before the change is told to anyone: whoever hears
// of a change can undo that one.
func (c *core) did(what Text, back func(context.Context) error) {
	c.undo.mu.Lock()
	c.undo.items = append(c.undo.items, undoable{what, back})
	if n := len(c.undo.items); n > undoDepth {
		c.undo.items = slices.Delete(c.undo.items, 0, n-undoDepth)
	}
	c.undo.mu.Unlock()
	c.bus.Publish(events.UndoChanged{})
}

// discard moves paths to the trash, as one change that can be undone. after is called when
// they are gone and again when they are back.
func (c *core) discard(e *env, kind, name string, what Text, after func(context.Context, *env) error, paths ...string) error {
	entry, err := e.bin.Put(kind, name, paths...)
	if err != nil {
		return err
	}
	c.did(what, func(ctx context.Context) error {
		e, done, err := c.change()
		if err != nil {
			return err
		}
		defer done()
		if err := e.bin.Restore(entry.ID); err != nil {
			return err
		}
		return after(ctx, e)
	})
	return nil
}

type trashService struct{ *core }

func (s trashService) CanUndo() (Text, bool) {
	s.undo.mu.Lock()
	defer s.undo.mu.Unlock()
	if n := len(s.undo.items); n > 0 {
		return s.undo.items[n-1].what, true
	}
	return Text{}, false
}

func (s trashService) Undo(ctx context.Context) (Text, error) {
	s.undo.mu.Lock()
	n := len(s.undo.items)
	if n == 0 {
		s.undo.mu.Unlock()
		return Text{}, events.T("There is nothing to undo.")
	}
	u := s.undo.items[n-1]
	s.undo.items = s.undo.items[:n-1]
	s.undo.mu.Unlock()
	defer s.bus.Publish(events.UndoChanged{})
	if err := u.back(ctx); err != nil {
		return u.what, err
	}
	return u.what, nil
}

func (s trashService) List(ctx context.Context) ([]TrashItem, error) {
	e, err := s.use()
	if err != nil {
		return nil, err
	}
	entries, err := e.bin.List()
	if err != nil {
		return nil, err
	}
	out := make([]TrashItem, len(entries))
	for i, t := range entries {
		size, err := e.bin.Size(ctx, t.ID)
		if err != nil {
			return nil, err
		}
		out[i] = TrashItem{ID: t.ID, Kind: t.Kind, Name: t.Name, Deleted: t.Deleted, Bytes: size}
	}
	return out, nil
}

func (s trashService) Restore(ctx context.Context, ids ...string) error {
	e, done, err := s.change()
	if err != nil {
		return err
	}
	defer done()
	var errs []error
	for _, id := range ids {
		errs = append(errs, e.bin.Restore(id))
	}
	return errors.Join(append(errs, s.sync(ctx, e))...)
}

func (s trashService) Purge(ctx context.Context, olderThan time.Duration, progress ProgressFunc) (int64, error) {
	e, done, err := s.begin()
	if err != nil {
		return 0, err
	}
	defer done()
	m := newMeter(progress, events.T("Emptying the trash"))
	return e.bin.Purge(ctx, time.Now().Add(-olderThan), func(n, total int, name string) { m.at(int64(n), int64(total), name) })
}
