package studio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"unnoise/app/events"
	"unnoise/app/queue"
	"unnoise/app/runs"
	"unnoise/app/workspace"
	"unnoise/pipeline/model"
	"unnoise/pipeline/train"
	"unnoise/runtime/sentence"
)

// supervisor trains what the queue holds, one after another, on one goroutine.
type supervisor struct {
	c    *core
	wake chan struct{} // there may be something to do
	snap atomic.Pointer[Snapshot]

	reading sync.Mutex // one reading of the queue's file at a time

	mu     sync.Mutex
	list   queue.List // as it was read last
	stamp  [2]int64
	next   string // entry of the list to start even though the queue is held
	job    *job   // nil while nothing runs
	idle   chan struct{}
	closed bool
}

// job is a training under way.
type job struct {
	entry   string // of the queue
	run     string // ID; "" until its folder is there
	control train.Control
	cancel  context.CancelFunc
	spent   time.Duration // training, up to since, over all processes
	since   time.Time     // when it began to train last; zero while it does not
	stopped bool          // by the person
	paused  bool          // the training waits, its state saved
}

func newSupervisor(c *core) *supervisor {
	s := &supervisor{c: c, wake: make(chan struct{}, 1), idle: make(chan struct{})}
	close(s.idle)
	s.snap.Store(&Snapshot{State: JobIdle, Loss: math.NaN(), Smooth: math.NaN(), HeldOut: math.NaN(), GridStep: -1})
	return s
}

// run is the supervisor's goroutine.
func (s *supervisor) run() {
	// Nothing trains without a click: what waits from the last time is held.
	if e, err := s.c.use(); err == nil {
		if l, err := e.queue.Load(); err == nil && len(l.Entries) > 0 && !l.Held {
			_, _ = e.queue.Change(s.c.ctx, func(l *queue.List) error { l.Held = true; return nil })
		}
	}
	s.reload("")
	for {
		select {
		case <-s.c.ctx.Done():
			return
		case <-s.wake:
		}
		for s.step() {
			continue
		}
	}
}

// step trains the next entry, if there is one to train, to its end.
func (s *supervisor) step() bool {
	s.mu.Lock()
	if len(s.list.Entries) == 0 {
		s.next = "" // it was removed meanwhile
	}
	if s.closed || s.c.moving.Load() || len(s.list.Entries) == 0 {
		s.mu.Unlock()
		return false
	}
	i := 0
	if s.next != "" {
		if i = slices.IndexFunc(s.list.Entries, func(e queue.Entry) bool { return e.ID == s.next }); i < 0 {
			s.next = ""
			s.mu.Unlock()
			return true
		}
	} else if s.list.Held {
		s.mu.Unlock()
		return false
	}
	entry := s.list.Entries[i]
	s.next = ""
	ctx, cancel := context.WithCancel(s.c.ctx)
	j := &job{entry: entry.ID, cancel: cancel}
	s.job, s.idle = j, make(chan struct{})
	s.mu.Unlock()

	s.c.trials.stop() // it would slow the training down, and measure too little
	err := s.train(ctx, j, entry)
	cancel()

	s.set(func(n *Snapshot) {
		n.State, n.Phase, n.ETA = JobIdle, Text{}, 0
		n.SampleDone, n.SampleTotal = 0, 0
	})
	s.mu.Lock()
	s.job = nil
	stopped := j.stopped
	close(s.idle)
	s.mu.Unlock()
	if err != nil || stopped {
		s.hold(entry.ID, err)
	}
	s.reload("")
	s.c.bus.Publish(events.JobChanged{})
	s.c.tidied(s.c.ctx)
	return true
}

// hold keeps the queue from going on after a job was stopped or failed, and notes on the
// entry, if it is still there, why it could not start.
func (s *supervisor) hold(id string, cause error) {
	err := s.change(context.Background(), func(l *queue.List) error {
		l.Held = len(l.Entries) > 0
		if i, err := l.Index(id); err == nil && cause != nil {
			l.Entries[i].Why = model.Told(cause)
			l.Entries[i].Error = l.Entries[i].Why.String()
		}
		return nil
	}, "", nil)
	if err != nil { // a full disk, perhaps: hold it in memory at least
		s.mu.Lock()
		s.list.Held = true
		s.mu.Unlock()
		s.c.log.Warn("the queue could not be held", "error", err)
	}
}

// change alters the queue's file and reads it again; see reload for start. written, if not nil, is called when the
// change is on disk and not yet told.
func (s *supervisor) change(ctx context.Context, change func(*queue.List) error, start string, written func()) error {
	e, done, err := s.c.change()
	if err != nil {
		return err
	}
	defer done()
	if _, err := e.queue.Change(ctx, change); err != nil {
		return err
	}
	if written != nil {
		written()
	}
	s.reload(start)
	return nil
}

// reload reads the queue again if its file has changed, and wakes the goroutine. start, if not empty, is an entry that
// was just added, to be started even if the queue is held. It is named in one go with the list that holds it: the
// goroutine, which may be woken at any time, never looks for it in an older one.
func (s *supervisor) reload(start string) {
	e, err := s.c.use()
	if err != nil {
		return
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	stamp := e.queue.Stamp()
	s.mu.Lock()
	same := stamp == s.stamp
	s.mu.Unlock()
	if !same {
		l, err := e.queue.Load()
		s.mu.Lock()
		told := s.stamp == stamp
		s.stamp = stamp
		if err == nil {
			s.list = l
		} else {
			s.list = queue.List{Held: true}
		}
		s.mu.Unlock()
		if err != nil && !told {
			s.c.bus.Publish(Notice{Severity: events.Warning, Text: events.T("{{.Problem}}", "Problem", err)})
		}
		s.set(func(n *Snapshot) { n.Queued, n.Held = len(l.Entries), l.Held })
		s.c.bus.Publish(events.QueueChanged{})
	}
	s.mu.Lock()
	if start != "" && (s.job == nil || s.job.entry != start) {
		s.next = start
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// set changes the snapshot. Readers see the old one or the new one whole.
func (s *supervisor) set(change func(*Snapshot)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := *s.snap.Load()
	change(&n)
	s.snap.Store(&n)
}

func (s *supervisor) snapshot() Snapshot {
	n := *s.snap.Load()
	if n.Busy() {
		s.mu.Lock()
		if s.job != nil {
			n.Elapsed = s.job.elapsed(time.Now())
		}
		s.mu.Unlock()
	}
	return n
}

// elapsed is the time spent training until now, without pauses.
func (j *job) elapsed(now time.Time) time.Duration {
	if j.since.IsZero() {
		return j.spent
	}
	return j.spent + now.Sub(j.since)
}

// train notes that the job trains from now on, or that it does not; before is what earlier processes spent.
func (s *supervisor) trains(on bool, before time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.job
	if j == nil {
		return
	}
	now := time.Now()
	j.spent, j.since = max(before, j.elapsed(now)), time.Time{}
	if on {
		j.since = now
	}
}

// holds reports whether a run is the one that is being trained.
func (s *supervisor) holds(run string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.job != nil && s.job.run == run
}

// state goes to another state and says so.
func (s *supervisor) state(to JobState, phase Text) {
	s.set(func(n *Snapshot) {
		if n.State == JobStopping && to != JobIdle { // on its way out, whatever else is reported
			n.Phase = phase
			return
		}
		n.State, n.Phase = to, phase
	})
	s.c.bus.Publish(events.JobChanged{})
}

// train runs one entry from its start to its end.
func (s *supervisor) train(ctx context.Context, j *job, entry queue.Entry) error {
	e, err := s.c.use()
	if err != nil {
		return err
	}
	var req TrainRequest
	if len(entry.Request) > 0 {
		if err := json.Unmarshal(entry.Request, &req); err != nil {
			return s.failed("", sentence.Errorf("the entry of the queue is damaged: %w", err))
		}
	}
	s.set(func(n *Snapshot) {
		*n = Snapshot{
			State: JobStarting, Name: req.Name, Steps: req.Steps, Loss: math.NaN(), Smooth: math.NaN(), HeldOut: math.NaN(), GridStep: -1,
			Queued: n.Queued, Held: n.Held,
		}
	})
	s.c.bus.Publish(events.JobChanged{})
	run, err := s.prepare(ctx, e, entry, req)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return s.failed("", forPeople(err))
	}
	id := filepath.Base(run.Dir)
	s.mu.Lock()
	j.run = id
	s.mu.Unlock()
	info := run.Info()
	s.set(func(n *Snapshot) { n.Run, n.Name, n.Steps = id, info.Name, info.Train.Steps })
	if err := s.change(ctx, func(l *queue.List) error {
		if _, _, err := l.Remove(entry.ID); err != nil && !errors.Is(err, queue.ErrNoEntry) {
			return err
		}
		return nil
	}, "", nil); err != nil && ctx.Err() == nil {
		return s.failed(id, err)
	}
	s.reindex(id)
	o := s.c.options(req.Device, req.Threads)
	o.Control = &j.control
	o.Events = s.listener(id, filepath.Join(run.Dir, train.LogName))
	o.Decoding = decoding(func(p Progress) {
		s.set(func(n *Snapshot) { n.Phase, n.ETA = p.Phase, p.ETA })
	})
	if sc, err := s.c.scan(ctx, info.Data.Dataset); info.Data.Dataset != "" && err == nil {
		defer sc.release()
		o.Report = sc.rep // spares a scan
	}
	out, err := run.Train(ctx, o)
	s.reindex(id)
	s.c.bus.Publish(events.LogGrew{Run: id})
	s.set(func(n *Snapshot) { n.Step = max(n.Step, out.Step) })
	if err != nil {
		return s.failed(id, forPeople(err))
	}
	if out.Done {
		s.c.bus.Publish(Notice{Severity: events.Info, Run: id, Text: events.T("“{{.Name}}” is done: {{.Steps}} steps.", "Name", info.Name, "Steps", out.Step)})
	}
	return nil
}

// prepare opens the run to continue, or makes a new one. The folder's name is noted in the queue
// before it is made: after a crash in between, the entry continues that run and makes no second one.
func (s *supervisor) prepare(ctx context.Context, e *env, entry queue.Entry, req TrainRequest) (*runs.Run, error) {
	if entry.Run != "" {
		dir, err := workspace.Child(e.ws.Runs(), entry.Run)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(filepath.Join(dir, runs.InfoName)); err == nil {
			run, err := runs.Open(dir)
			if err != nil {
				return nil, err
			}
			if entry.Steps > 0 && entry.Steps != run.Info().Train.Steps {
				err = run.Update(func(i *runs.Info) { i.Train.Steps = entry.Steps })
			}
			return run, err
		}
		if len(entry.Request) == 0 {
			return nil, e.missing(events.T("run"), entry.Run)
		}
	}
	sc, err := s.c.scan(ctx, req.Dataset)
	if err != nil {
		return nil, err
	}
	defer sc.release()
	name, err := workspace.CleanName(req.Name)
	if err != nil {
		return nil, err
	}
	req.Name = name
	id := entry.Run
	if id == "" {
		if id, err = nextRun(e.ws.Runs(), name); err != nil {
			return nil, err
		}
		if _, err := e.queue.Change(ctx, func(l *queue.List) error {
			if i, err := l.Index(entry.ID); err == nil {
				l.Entries[i].Run = id
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	dir := filepath.Join(e.ws.Runs(), id)
	info, err := sc.runInfo(e.ws, req, dir)
	if err != nil {
		return nil, err
	}
	if req.Within > 0 {
		s.state(JobStarting, events.T("Measuring this computer"))
		m, err := s.c.measured(ctx, info, s.c.options(req.Device, req.Threads), false, func() error { return nil })
		if err != nil {
			return nil, err
		}
		info.Train.Steps = m.Steps(info.Train, 0, time.Duration(req.Within)*time.Second)
	}
	return runs.Create(dir, info)
}

// listener turns the training's events into the snapshot and signals.
func (s *supervisor) listener(id, log string) func(train.Event) {
	lines := logTail(log)
	smooth := train.Smoothed(lines)
	before := time.Duration(0)
	if n := len(lines); n > 0 {
		before = time.Duration(lines[n-1].Seconds * float64(time.Second))
	}
	return func(ev train.Event) {
		switch ev := ev.(type) {
		case train.Started:
			s.trains(true, before)
			s.set(func(n *Snapshot) { n.Step, n.Steps = ev.Step, ev.Steps })
			s.state(JobTraining, Text{})
			s.c.bus.Publish(events.RunsChanged{Run: id})
		case train.Measured:
			s.set(func(n *Snapshot) { n.ETA = ev.ETA })
		case train.Progress:
			s.set(func(n *Snapshot) {
				n.Step, n.Steps, n.Loss, n.LR, n.ImagesPerSec, n.ETA = ev.Step, ev.Steps, ev.Loss, ev.LR, ev.ImagesPerSecond, ev.ETA
				if n.State == JobSampling || n.State == JobStarting {
					n.State = JobTraining
				}
				if n.State == JobTraining {
					n.Phase = Text{}
				}
			})
		case train.Logged:
			sm := smooth.Add(ev.Loss, train.Smoothing)
			s.set(func(n *Snapshot) {
				n.Smooth = sm
				if ev.Held != nil {
					n.HeldOut = ev.Held.Loss
				}
			})
			s.c.bus.Publish(events.LogGrew{Run: id})
		case train.Working:
			s.working(ev)
		case train.Sampled:
			s.set(func(n *Snapshot) { n.GridStep = ev.Step })
			s.c.thumbs.Forget(func(r Ref) bool {
				return r.Owner == id && (r.Kind == RunCover || (r.Kind == SampleGrid && r.Index == int(ev.Step)))
			})
			s.reindex(id)
			s.c.bus.Publish(events.SamplesAdded{Run: id, Step: ev.Step})
			if ev.Weights == train.RawName { // the last of the two
				s.sampled()
			}
		case train.Saved:
			s.reindex(id)
			s.c.bus.Publish(events.CheckpointSaved{Run: id, Step: ev.Step})
		case train.Warned:
			s.warned(id, ev)
		case train.RolledBack:
			smooth = train.Smoothed(logTail(log))
			s.set(func(n *Snapshot) { n.Step, n.LR = ev.To, ev.LR })
			s.c.bus.Publish(Notice{Severity: events.Warning, Run: id, Text: events.T(
				"The loss diverged at step {{.From}}: the run went back to step {{.To}} and goes on with a learning rate of {{.LR}}.",
				"From", ev.From, "To", ev.To, "LR", fmt.Sprintf("%.3g", ev.LR))})
			s.c.bus.Publish(events.LogGrew{Run: id})
		case train.Paused:
			s.trains(false, 0)
			s.setPaused(true)
			s.state(JobPaused, Text{})
			s.c.bus.Publish(events.RunsChanged{Run: id})
		case train.Continued:
			s.trains(true, 0)
			s.setPaused(false)
			s.state(JobTraining, Text{})
			s.c.bus.Publish(events.RunsChanged{Run: id})
		}
	}
}

// reindex brings the running run's row up to date before its signal is given.
func (s *supervisor) reindex(id string) {
	e, err := s.c.use()
	if err == nil {
		err = s.c.runChanged(context.Background(), e, id)
	}
	if err != nil {
		s.c.log.Warn("the run could not be indexed", "run", id, "error", err)
	}
}

func (s *supervisor) setPaused(paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.job != nil {
		s.job.paused = paused
	}
}

// working shows what a pause between steps is for.
func (s *supervisor) working(ev train.Working) {
	was := s.snap.Load().State
	if ev.What != "samples" {
		s.set(func(n *Snapshot) { n.Phase = phase(ev.What) })
		return
	}
	s.set(func(n *Snapshot) { n.SampleDone, n.SampleTotal = ev.Done, ev.Total })
	if was == JobTraining || was == JobPaused {
		s.state(JobSampling, phase(ev.What))
	}
}

// sampled ends the showing of sampling that was asked for during a pause, which goes on.
func (s *supervisor) sampled() {
	s.mu.Lock()
	paused := s.job != nil && s.job.paused
	s.mu.Unlock()
	if paused {
		s.state(JobPaused, Text{})
	}
}

// close ends the job that runs and starts no other.
func (s *supervisor) close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	j, idle := s.job, s.idle
	s.mu.Unlock()
	if j != nil {
		s.stop(j)
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return sentence.Errorf("the run is still being saved: %w", ctx.Err())
	}
}

func (s *supervisor) stop(j *job) {
	s.state(JobStopping, Text{})
	s.mu.Lock()
	j.stopped = true
	s.mu.Unlock()
	j.cancel()
}

// current is the job that runs.
func (s *supervisor) current() (*job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.job == nil {
		return nil, events.T("Nothing is training.")
	}
	return s.job, nil
}

type trainingService struct{ *core }

func (s trainingService) Snapshot() Snapshot { return s.sup.snapshot() }

func (s trainingService) Pause() error {
	j, err := s.sup.current()
	if err != nil {
		return err
	}
	if s.sup.snapshot().State == JobTraining {
		s.sup.state(JobPausing, Text{})
	}
	j.control.Pause()
	return nil
}

func (s trainingService) Resume() error {
	j, err := s.sup.current()
	if err != nil {
		return err
	}
	j.control.Resume()
	if s.sup.snapshot().State == JobPausing { // it may not have got as far
		s.sup.state(JobTraining, Text{})
	}
	return nil
}

func (s trainingService) SampleNow() error {
	j, err := s.sup.current()
	if err != nil {
		return err
	}
	j.control.SampleNow()
	return nil
}

func (s trainingService) Stop() error {
	j, err := s.sup.current()
	if err != nil {
		return err
	}
	s.sup.stop(j)
	return nil
}

func (s trainingService) Wait(ctx context.Context) error {
	for {
		s.sup.mu.Lock()
		idle, running := s.sup.idle, s.sup.job != nil
		coming := s.sup.next != "" || len(s.sup.list.Entries) > 0 && !s.sup.list.Held
		if s.sup.closed || s.attached { // nothing starts here
			coming = false
		}
		s.sup.mu.Unlock()
		switch {
		case running:
			select {
			case <-idle:
			case <-ctx.Done():
				return ctx.Err()
			}
		case coming: // the goroutine is about to take it up
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		default:
			return nil
		}
	}
}

// add puts an entry into the queue; first at its head, to be started even if the queue is held.
func (s trainingService) add(ctx context.Context, entry queue.Entry, first bool) error {
	if !first {
		return s.sup.change(ctx, func(l *queue.List) error {
			l.Entries = append(l.Entries, entry)
			return nil
		}, "", nil)
	}
	if s.attached {
		return errAttached
	}
	if _, err := s.sup.current(); err == nil {
		return events.T("A run is training already: stop it first, or add this one to the queue.")
	}
	return s.sup.change(ctx, func(l *queue.List) error {
		l.Entries = slices.Insert(l.Entries, 0, entry)
		return nil
	}, entry.ID, nil)
}

// entry makes an entry of a request that can be trained.
func (s trainingService) entry(ctx context.Context, req TrainRequest) (queue.Entry, error) {
	problems, err := s.Check(ctx, req)
	if err != nil {
		return queue.Entry{}, err
	}
	if len(problems) > 0 {
		return queue.Entry{}, problems[0].Text
	}
	b, err := json.Marshal(req)
	if err != nil {
		return queue.Entry{}, sentence.Errorf("the request cannot be saved: %w", err)
	}
	return queue.Entry{ID: queue.NewID(), Request: b, Added: time.Now().UTC().Truncate(time.Second)}, nil
}

func (s trainingService) Start(ctx context.Context, req TrainRequest) error {
	e, err := s.entry(ctx, req)
	if err != nil {
		return err
	}
	return s.add(ctx, e, true)
}

func (s trainingService) Enqueue(ctx context.Context, req TrainRequest) (string, error) {
	e, err := s.entry(ctx, req)
	if err != nil {
		return "", err
	}
	return e.ID, s.add(ctx, e, false)
}

func (s trainingService) ContinueRun(ctx context.Context, id string, steps int64) error {
	run, err := s.openRun(id)
	if err != nil {
		return err
	}
	st, err := run.Status()
	if err != nil {
		return err
	}
	if steps <= 0 {
		steps = run.Info().Train.Steps
	}
	switch {
	case st.State == runs.Running || s.sup.holds(id):
		return events.T("This run is being trained already.")
	case st.Step >= steps:
		return events.T("This run has done its {{.Steps}} steps: choose a higher number to go on.", "Steps", st.Step)
	}
	entry := queue.Entry{ID: queue.NewID(), Run: id, Steps: steps, Added: time.Now().UTC().Truncate(time.Second)}
	_, busy := s.sup.current()
	return s.add(ctx, entry, busy != nil && !s.attached)
}

func (s trainingService) Queue() []QueueEntry {
	s.sup.mu.Lock()
	defer s.sup.mu.Unlock()
	out := make([]QueueEntry, 0, len(s.sup.list.Entries))
	for _, e := range s.sup.list.Entries {
		q := QueueEntry{ID: e.ID, Run: e.Run, Added: e.Added, Error: e.Why.Or(e.Error)}
		if len(e.Request) > 0 {
			if err := json.Unmarshal(e.Request, &q.Request); err != nil {
				q.Error = events.T("this entry is damaged: remove it")
			}
		}
		out = append(out, q)
	}
	return out
}

func (s trainingService) Reorder(ctx context.Context, id string, place int) error {
	return s.sup.change(ctx, func(l *queue.List) error { return l.Move(id, place) }, "", nil)
}

func (s trainingService) Remove(ctx context.Context, id string) error {
	var gone queue.Entry
	var place int
	return s.sup.change(ctx, func(l *queue.List) (err error) {
		gone, place, err = l.Remove(id)
		return err
	}, "", func() {
		s.did(events.T("Removal from the queue"), func(ctx context.Context) error {
			return s.sup.change(ctx, func(l *queue.List) error {
				l.Entries = slices.Insert(l.Entries, min(place, len(l.Entries)), gone)
				return nil
			}, "", nil)
		})
	})
}

func (s trainingService) Hold(ctx context.Context, held bool) error {
	return s.sup.change(ctx, func(l *queue.List) error {
		l.Held = held
		return nil
	}, "", nil)
}
