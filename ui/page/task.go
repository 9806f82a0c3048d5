package page

import (
	"context"
	"sync/atomic"
	"time"

	"unnoise/app/studio"
)

// Progress is how far a task has come; it is the studio's own, so that a service's progress can be passed on as it is.
type Progress = studio.Progress

// Task is a piece of work off the UI thread with progress and a way to cancel it. The status bar shows it on every page.
// Its methods may be called on any goroutine.
type Task struct {
	Title   string
	Started time.Time

	cancel   context.CancelFunc
	progress atomic.Pointer[Progress]
	ended    atomic.Bool
	stopping atomic.Bool
}

// Progress is the latest report.
func (t *Task) Progress() Progress {
	if p := t.progress.Load(); p != nil {
		return *p
	}
	return Progress{}
}

// Fraction is how far the task has come within [0,1], or −1 while that is not known: also when all that was counted is done,
// and something else goes on.
func (t *Task) Fraction() float64 {
	if f := t.Progress().Fraction(); f < 1 {
		return f
	}
	return -1
}

// Remaining estimates the time left, and says false when that cannot be told yet, or not any more.
func (t *Task) Remaining() (time.Duration, bool) {
	p := t.Progress()
	if p.ETA > 0 && t.Fraction() >= 0 {
		return p.ETA, true
	}
	f := t.Fraction()
	spent := time.Since(t.Started)
	if f <= 0 || spent < time.Second {
		return 0, false
	}
	return time.Duration(float64(spent) * (1 - f) / f), true
}

// Cancel asks the task to stop.
func (t *Task) Cancel() {
	t.stopping.Store(true)
	t.cancel()
}

// Stopping says whether Cancel has been called and the task has not ended.
func (t *Task) Stopping() bool { return t.stopping.Load() && !t.ended.Load() }

// Ended says whether the work is over.
func (t *Task) Ended() bool { return t.ended.Load() }

// Run starts a task. The work runs on its own goroutine and reports as often as it likes (a report is one atomic store);
// done is called once on the UI thread, unless the window has closed meanwhile. A nil done shows the error, if any.
func (s *Services) Run(title string, work func(ctx context.Context, report func(Progress)) error, done func(error)) *Task {
	ctx, cancel := context.WithCancel(s.ctx)
	by := caller(0)
	t := &Task{Title: title, Started: time.Now(), cancel: cancel}
	s.tasksMu.Lock()
	s.tasks = append(s.tasks, t)
	s.tasksMu.Unlock()
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		defer cancel()
		err := work(ctx, func(p Progress) { t.progress.Store(&p) })
		t.ended.Store(true)
		s.tasksMu.Lock()
		for i, o := range s.tasks {
			if o == t {
				s.tasks = append(s.tasks[:i:i], s.tasks[i+1:]...)
				break
			}
		}
		s.tasksMu.Unlock()
		if s.ctx.Err() != nil {
			return
		}
		s.Post(func() {
			s.ended(by, err, func() {
				if done == nil {
					s.Fail(err)
					return
				}
				done(err)
			})
		})
	}()
	return t
}

// Tasks lists the tasks that have not ended, oldest first. It may be called on any goroutine.
func (s *Services) Tasks() []*Task {
	s.tasksMu.Lock()
	defer s.tasksMu.Unlock()
	return append([]*Task(nil), s.tasks...)
}
