package studio

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"unnoise/app/events"
	"unnoise/app/library"
	"unnoise/app/queue"
	"unnoise/app/settings"
	"unnoise/app/thumbs"
	"unnoise/app/trash"
	"unnoise/app/workspace"
	"unnoise/runtime/sentence"
)

// WorkspaceVar names the environment variable that says where the workspace is.
const WorkspaceVar = "UNNOISE_WORKSPACE"

// refreshEvery is how often the studio looks for what other processes changed.
const refreshEvery = 2 * time.Second

// core is what the services share.
type core struct {
	bus      events.Bus
	settings *settings.Store
	attached bool // without the workspace's lock
	log      *slog.Logger

	mu     sync.RWMutex // guards env and closed
	env    *env
	closed bool

	short  atomic.Int64 // changes under way
	long   atomic.Int64 // long pieces of work under way, which must not see the workspace move
	moving atomic.Bool

	thumbs *thumbs.Service[Ref]
	undo   undoStack
	scans  scanCache
	sup    *supervisor
	index  indexer
	smooth smooths
	trials trials
	pace   sync.Map   // of sampling: seconds for a picture's step, by model
	sample sync.Mutex // one gallery is made at a time

	datasetMu sync.Mutex // one change of a dataset.json at a time

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// env is what changes when the workspace moves.
type env struct {
	ws    *workspace.Workspace
	lib   *library.DB
	bin   *trash.Bin
	queue *queue.Queue
}

// errMoving is the answer to changes asked for during a move.
var errMoving = events.T("The workspace is being moved: wait until that is done.")

// errAttached is the answer of a studio without the lock to what needs it.
var errAttached = events.T("this needs the workspace's lock: do it in the window")

// errClosed is the answer of a studio that was closed.
var errClosed = events.T("the workspace is closed")

// DefaultDir is where the workspace is when nobody said otherwise: UNNOISE_WORKSPACE, else the
// folder in the settings, else a folder in the person's documents. The error says that the settings may name another and
// cannot be used.
func DefaultDir() (string, error) {
	if d := os.Getenv(WorkspaceVar); d != "" {
		return d, nil
	}
	s, err := settings.Open(settings.Path())
	if d := s.Get().Workspace; d != "" {
		return d, nil
	}
	return workspace.DefaultDir(), err
}

// Open opens the workspace in dir for a window, making it if there is none, and takes its lock.
// The error is a *workspace.LockedError when another process has it, a *workspace.NewerError
// when a newer program made it. It returns soon: what changed since the last time is found in the background.
func Open(ctx context.Context, dir string) (*Studio, error) { return open(ctx, dir, false) }

// Attach opens a workspace for a subcommand, beside the window that may hold it. It reads all
// that changed before it returns. Training and moving are refused; reading, annotating,
// queueing and deleting are not.
func Attach(ctx context.Context, dir string) (*Studio, error) { return open(ctx, dir, true) }

func open(ctx context.Context, dir string, attach bool) (_ *Studio, err error) {
	c := &core{attached: attach, log: slog.Default()}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	var warn error
	c.settings, warn = settings.Open(settings.Path())
	e, err := openEnv(ctx, dir, attach)
	if err != nil {
		c.cancel()
		return nil, err
	}
	c.env = e
	if warn != nil {
		c.bus.Publish(Notice{Severity: events.Warning, Text: events.T("{{.Problem}}", "Problem", warn)})
	}
	if text := e.ws.Mended(); text.Template != "" {
		c.bus.Publish(Notice{Severity: events.Warning, Text: text})
	}
	if e.ws.ReadOnly() {
		c.bus.Publish(Notice{Severity: events.Warning, Text: events.T("The workspace {{.Dir}} cannot be written: it is open for reading only.", "Dir", e.ws.Dir())})
	} else {
		err := sweep(e)
		if !attach {
			err = errors.Join(err, e.bin.Recover())
		}
		if err != nil {
			c.log.Warn("the workspace could not be tidied", "error", err)
		}
		c.recover(e)
	}
	c.tellIndex(e)
	c.thumbs = thumbs.New[Ref](thumbLoader{loader{c}}, thumbs.Options{Dir: filepath.Join(e.ws.Cache(), "thumbs")})
	c.sup = newSupervisor(c)
	s := &Studio{core: c}
	s.Workspace = workspaceService{c}
	s.Datasets = datasetService{c}
	s.Runs = runService{core: c}
	s.Training = trainingService{core: c}
	s.Galleries = galleryService{core: c}
	s.Export = exportService{core: c}
	s.Models = modelService{core: c}
	s.Settings = settingsService{c}
	s.Thumbs = thumbService{c}
	s.Trash = trashService{c}
	if attach {
		c.sup.reload("")
		if err := c.sync(ctx, nil); err != nil {
			return nil, errors.Join(err, s.Close(ctx))
		}
		return s, nil
	}
	c.wg.Go(c.watch)
	c.wg.Go(c.sup.run)
	return s, nil
}

func openEnv(ctx context.Context, dir string, attach bool) (_ *env, err error) {
	var ws *workspace.Workspace
	if attach {
		ws, err = workspace.Attach(dir)
	} else {
		ws, err = workspace.Open(dir, workspace.Window)
	}
	if err != nil {
		return nil, err
	}
	lib, err := library.Open(ctx, ws.Library())
	if err != nil {
		return nil, errors.Join(err, ws.Close())
	}
	return &env{ws: ws, lib: lib, bin: trash.New(ws.Dir(), ws.Trash()), queue: queue.New(ws.Queue())}, nil
}

func (e *env) close() error { return errors.Join(e.lib.Close(), e.ws.Close()) }

// Subscribe calls fn for each signal from now on, one at a time and in order, on a
// goroutine of the studio with no lock held. Call the function returned to end it.
func (s *Studio) Subscribe(fn func(Event)) (unsubscribe func()) { return s.core.bus.Subscribe(fn) }

// Unheard takes the notices that wait for the first subscriber, for a subcommand that does not subscribe.
func (s *Studio) Unheard() []Notice { return s.core.bus.Unheard() }

// Called says whether the program was started again on the same workspace since the last time, and answers it.
func (s *Studio) Called() bool {
	e, err := s.core.use()
	return err == nil && e.ws.Called()
}

// Close stops a job that runs, saving a checkpoint, ends everything else and gives the
// workspace back. When ctx ends first it returns its error and the job goes on to its end in the background.
func (s *Studio) Close(ctx context.Context) error {
	c := s.core
	if err := c.sup.close(ctx); err != nil {
		return err
	}
	c.cancel()
	done := make(chan struct{})
	go func() { c.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		return sentence.Errorf("the workspace is still in use: %w", ctx.Err())
	}
	c.thumbs.Close()
	c.bus.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	c.scans.clear()
	return c.env.close()
}

// use gives a service the workspace for reading.
func (c *core) use() (*env, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return nil, errClosed
	}
	return c.env, nil
}

// change is use for something that writes and is soon done; a move of the workspace waits for it.
func (c *core) change() (e *env, done func(), err error) { return c.enter(&c.short) }

// begin is change for work that takes long: a move of the workspace is refused until it is done.
func (c *core) begin() (e *env, done func(), err error) { return c.enter(&c.long) }

func (c *core) enter(count *atomic.Int64) (e *env, done func(), err error) {
	count.Add(1) // before looking: Move first says that it moves, then looks at the counts
	if c.moving.Load() {
		count.Add(-1)
		return nil, nil, errMoving
	}
	e, err = c.use()
	if err == nil {
		err = e.there()
	}
	if err != nil {
		count.Add(-1)
		return nil, nil, err
	}
	return e, sync.OnceFunc(func() { count.Add(-1) }), nil
}

// there makes sure that the workspace's folder is there: nothing must be made anew at the place of a drive that was
// removed.
func (e *env) there() error {
	if _, err := os.Stat(e.ws.Datasets()); errors.Is(err, fs.ErrNotExist) {
		return events.T("The workspace {{.Dir}} is not there now: connect its drive again, or choose another workspace in Settings.", "Dir", e.ws.Dir()).Because(err)
	}
	return nil
}

func (c *core) there() error {
	e, err := c.use()
	if err != nil {
		return err
	}
	return e.there()
}

// joined is a context that ends with ctx or when the studio closes.
func (c *core) joined(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// work is begin for work that also ends when the studio closes: go on with the context returned.
func (c *core) work(ctx context.Context) (_ context.Context, e *env, done func(), err error) {
	e, end, err := c.begin()
	if err != nil {
		return nil, nil, nil, err
	}
	ctx, cancel := c.joined(ctx)
	return ctx, e, func() { cancel(); end() }, nil
}

// meter passes progress on at most some twenty times a second, always the last, with an ETA from the pace so far.
type meter struct {
	fn    ProgressFunc
	phase Text
	begun time.Time
	last  time.Time
}

func newMeter(fn ProgressFunc, phase Text) *meter {
	return &meter{fn: fn, phase: phase, begun: time.Now()}
}

// at reports; it must be called by one goroutine at a time.
func (m *meter) at(done, total int64, item string) {
	if m.fn == nil {
		return
	}
	now := time.Now()
	if now.Sub(m.last) < 50*time.Millisecond && done != total {
		return
	}
	m.last = now
	p := Progress{Phase: m.phase, Done: done, Total: total, Item: item}
	if spent := now.Sub(m.begun); done > 0 && total > done && spent > 200*time.Millisecond {
		p.ETA = time.Duration(float64(spent) * float64(total-done) / float64(done)).Round(time.Second)
	}
	m.fn(p)
}
