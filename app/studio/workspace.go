package studio

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"unnoise/app/disk"
	"unnoise/app/events"
	"unnoise/app/workspace"
	"unnoise/runtime/sentence"
)

type workspaceService struct{ *core }

func (s workspaceService) Path() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.env.ws.Dir()
}

func (s workspaceService) Info(context.Context) (WorkspaceInfo, error) {
	e, err := s.use()
	if err != nil {
		return WorkspaceInfo{}, err
	}
	free, err := disk.Free(e.ws.Dir())
	if err != nil {
		return WorkspaceInfo{}, sentence.Errorf("the disk of %s cannot be asked for its room: %w", e.ws.Dir(), err)
	}
	return WorkspaceInfo{
		Path: e.ws.Dir(), Version: workspace.Version, ReadOnly: !e.ws.Held(),
		Free: int64(min(free, 1<<62)), Library: e.lib.Path(),
	}, nil
}

func (s workspaceService) Measure(ctx context.Context) (int64, error) {
	e, err := s.use()
	if err != nil {
		return 0, err
	}
	return e.ws.Measure(ctx)
}

func (s workspaceService) Refresh(ctx context.Context) error { return s.sync(ctx, nil) }

func (s workspaceService) Rebuild(ctx context.Context, progress ProgressFunc) error {
	return s.rebuild(ctx, progress)
}

func (s workspaceService) Move(ctx context.Context, dir string, progress ProgressFunc) (err error) {
	if s.attached {
		return errAttached
	}
	if !s.moving.CompareAndSwap(false, true) {
		return errMoving
	}
	defer s.moving.Store(false)
	if s.sup.snapshot().Busy() {
		return events.T("The workspace cannot be moved while a run is training: stop it first.")
	}
	if s.long.Load() > 0 {
		return events.T("The workspace cannot be moved while something is being imported, sampled or exported: wait for it or cancel it.")
	}
	for s.short.Load() > 0 {
		time.Sleep(time.Millisecond)
	}
	old, err := s.use()
	if err != nil {
		return err
	}
	if err := s.noneTraining(old); err != nil {
		return err
	}
	release, err := old.ws.HoldPlace(ctx)
	if err != nil {
		return err
	}
	defer release()
	m := newMeter(progress, events.T("Copying and comparing"))
	if to, err := filepath.Abs(dir); err == nil {
		defer s.note(old, events.T("Moving the workspace to {{.Path}}", "Path", to), to)()
	}
	removeOld, err := old.ws.CopyTo(ctx, dir, func() error { return s.noneTraining(old) }, m.at)
	if err != nil {
		return err
	}
	next, err := openEnv(ctx, dir, false)
	if err != nil {
		return err
	}
	s.tellIndex(next)
	if err := s.syncEnv(ctx, next, newMeter(progress, events.T("Making the index"))); err != nil {
		return errors.Join(err, next.close())
	}
	n := s.settings.Get()
	n.Workspace = next.ws.Dir()
	if _, err := s.settings.Set(n); err != nil {
		return errors.Join(err, next.close())
	}
	s.mu.Lock() // nobody reads the old one any more
	s.env = next
	s.scans.clear()
	s.mu.Unlock()
	s.thumbs.SetDir(filepath.Join(next.ws.Cache(), "thumbs"))
	s.bus.Publish(events.SettingsChanged{})
	s.bus.Publish(events.LibraryRebuilt{})
	// Everything is in the new place now: a failure to tidy the old one is only told.
	if err := errors.Join(old.lib.Close(), removeOld(), old.ws.Close()); err != nil {
		s.bus.Publish(Notice{Severity: events.Warning, Text: events.T(
			"The workspace is now in {{.New}}. Not everything could be removed from {{.Old}}: {{.Problem}}",
			"New", next.ws.Dir(), "Old", old.ws.Dir(), "Problem", err)})
	}
	return nil
}
