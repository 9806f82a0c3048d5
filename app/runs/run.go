package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"unnoise/app/datasets"
	"unnoise/app/disk"
	"unnoise/pipeline/checkpoint"
	"unnoise/pipeline/data"
	"unnoise/pipeline/model"
	"unnoise/pipeline/train"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// ErrExists is returned by Create when the folder holds something already.
var ErrExists = sentence.Errorf("it exists already")

// LockedError is returned when another process is training a run.
type LockedError struct {
	Dir string
	PID int // 0 if it cannot be told
}

func (e *LockedError) Error() string { return e.Unwrap().Error() }

// Unwrap is the sentence to tell.
func (e *LockedError) Unwrap() error {
	if e.PID > 0 {
		return sentence.T("the run {{.Dir}} is being trained by process {{.PID}}: stop that one first", "Dir", e.Dir, "PID", e.PID)
	}
	return sentence.T("the run {{.Dir}} is being trained by another process: stop that one first", "Dir", e.Dir)
}

// Run is a run's folder. Its methods may be called from several goroutines; other processes may read and annotate it
// meanwhile, but only one trains it.
type Run struct {
	Dir string

	mu   sync.Mutex
	info Info
}

// Create makes the folder of a new run, which must not exist or be empty. When it fails, it leaves nothing behind.
func Create(dir string, info Info) (*Run, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := Vacant(dir); err != nil {
		return nil, err
	}
	if info.Data.Path != "" {
		if err := Apart(dir, string(info.Data.Path)); err != nil {
			return nil, err
		}
	}
	info.Version = Version
	if info.Name == "" {
		info.Name = filepath.Base(dir)
	}
	if err := info.Model.Validate(); err != nil {
		return nil, err
	}
	if err := info.Train.Validate(); err != nil {
		return nil, err
	}
	made, err := mkdirAll(filepath.Dir(dir))
	if err != nil {
		return nil, sentence.Errorf("the run's folder %s cannot be made: %w", dir, err)
	}
	if _, err = os.Lstat(dir); err == nil {
		err = durable.WriteNew(filepath.Join(dir, InfoName), disk.JSON(info))
	} else {
		err = durable.Disk{}.WriteFolder(dir, map[string]func(io.Writer) error{InfoName: disk.JSON(info)})
	}
	if errors.Is(err, fs.ErrExist) { // another process was faster
		if verr := Vacant(dir); verr != nil {
			err = verr
		}
		return nil, err
	}
	if err != nil {
		for _, d := range made {
			_ = os.Remove(d)
		}
		return nil, sentence.Errorf("the run's folder %s cannot be written: %w", dir, err)
	}
	return &Run{Dir: dir, info: info}, nil
}

// Vacant returns an error that wraps ErrExists unless a run may be made at dir. What a killed process left of one that it
// was making does not count.
func Vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return durable.IsTemp(e.Name()) })
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		if st, serr := os.Stat(dir); serr == nil && !st.IsDir() {
			return sentence.T("{{.Path}} is a file: choose a folder for the run", "Path", dir).Because(ErrExists)
		}
		return sentence.T("the run's folder {{.Path}} cannot be made or read: {{.Problem}}", "Path", dir, "Problem", disk.Reason(err)).Because(err)
	case len(entries) == 0:
		return nil
	}
	if _, err := os.Stat(filepath.Join(dir, InfoName)); err == nil {
		return sentence.T("the run {{.Path}} was begun already: go on with --resume, or choose another folder", "Path", dir).Because(ErrExists)
	}
	return sentence.T("the folder {{.Path}} is not empty: choose another one for the run", "Path", dir).Because(ErrExists)
}

// mkdirAll makes a folder and its parents and returns those it made, the deepest first.
func mkdirAll(dir string) (made []string, err error) {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil {
			break
		}
		made = append(made, d)
		if filepath.Dir(d) == d {
			break
		}
	}
	return made, durable.MkdirAll(dir)
}

// Open opens a run's folder for reading or training.
func Open(dir string) (*Run, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, sentence.T("the run {{.Path}} does not exist", "Path", dir).Because(err)
	}
	info, err := readInfo(dir)
	if err != nil {
		return nil, err
	}
	return &Run{Dir: dir, info: info}, nil
}

// Info returns what is known of the run.
func (r *Run) Info() Info {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.info
}

// Update changes notes, tags and the like, atomically: run.json is read anew, changed and written. Changes of what
// training rests on are refused.
func (r *Run) Update(change func(*Info)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	lock := durable.Lock(filepath.Join(r.Dir, InfoName+".lock"))
	if err := lock.Lock(); err != nil {
		return sentence.Errorf("run.json cannot be locked: %w", err)
	}
	defer func() { _ = lock.Unlock() }()
	info, err := readInfo(r.Dir)
	if err != nil {
		return err
	}
	change(&info)
	if err := errors.Join(info.Train.Validate(), info.checkWords()); err != nil {
		return err
	}
	if err := disk.WriteJSON(filepath.Join(r.Dir, InfoName), info); err != nil {
		return sentence.Errorf("the run's description cannot be written: %w", err)
	}
	r.info = info
	return nil
}

// Log reads the run's log.
func (r *Run) Log() ([]train.Record, error) {
	return train.ReadLog(filepath.Join(r.Dir, train.LogName))
}

// Checkpoints is the folder of the run's checkpoints.
func (r *Run) Checkpoints() string { return filepath.Join(r.Dir, train.CheckpointDir) }

// datasetCache is how run.json names a folder of decoded pictures in a dataset of the workspace around the run.
var datasetCache = regexp.MustCompile(`^\.\./\.\./datasets/([^/]+)/` + datasets.CachePrefix + `[^/]+$`)

// CacheDir is where the run's decoded pictures are: in the dataset's folder or, if it has none or it was deleted, in the
// run's own. A run.json from elsewhere may name any folder, so no other is taken: files are written and removed there.
func (r *Run) CacheDir() string {
	own := filepath.Join(r.Dir, CacheName)
	c := filepath.ToSlash(filepath.Clean(r.Info().Data.Cache))
	m := datasetCache.FindStringSubmatch(c)
	if m == nil {
		return own
	}
	home := filepath.Join(r.Dir, "..", "..", "datasets", m[1])
	if st, err := os.Lstat(home); err != nil || !st.IsDir() {
		return own // making it there anew would stand in the way of the deleted one
	}
	if st, err := os.Lstat(filepath.Join(home, datasets.FileName)); err != nil || !st.Mode().IsRegular() {
		return own
	}
	dir := filepath.Join(r.Dir, filepath.FromSlash(c))
	if st, err := os.Lstat(dir); err == nil && !st.IsDir() || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return own
	}
	return dir
}

// State is how a run stands.
type State string

// The states of a run.
const (
	New         State = "new"         // not trained yet
	Running     State = "running"     // a process trains it now
	Stopped     State = "stopped"     // stopped by its owner before its last step
	Interrupted State = "interrupted" // its process vanished
	Done        State = "done"
	Failed      State = "failed"
)

// Status is how a run stands, and since when.
type Status struct {
	State   State         `json:"state"`
	Error   string        `json:"error,omitempty"` // why it failed
	Why     sentence.Text `json:"why,omitzero"`    // the same, to be told in any language; older versions did not keep it
	PID     int           `json:"pid,omitempty"`   // of the process that trained it last
	Host    string        `json:"host,omitempty"`
	Updated time.Time     `json:"updated"`
	Step    int64         `json:"step"` // of the newest complete checkpoint
	Steps   int64         `json:"steps"`
}

// Status reads how the run stands. A run that says it is running but is not locked was interrupted, and so, it is assumed, was
// one whose status cannot be read; Why says so then.
func (r *Run) Status() (Status, error) {
	st := Status{State: New}
	if err := disk.ReadJSON(filepath.Join(r.Dir, StatusName), maxInfo, &st); err != nil && !errors.Is(err, fs.ErrNotExist) {
		// What it said is lost, but not the run: its checkpoints speak for themselves.
		st = Status{State: Interrupted, Error: err.Error(), Why: sentence.Of(err)}
	}
	st.Steps, st.Step = r.Info().Train.Steps, 0
	valid, _, err := checkpoint.List(r.Checkpoints())
	if err != nil {
		return Status{}, err
	}
	if len(valid) > 0 {
		st.Step = valid[len(valid)-1].Step
	}
	if st.State == Interrupted && st.Step > 0 && st.Step >= st.Steps {
		st.State = Done
	}
	locked, err := r.locked()
	if err != nil {
		return Status{}, err
	}
	switch {
	case locked:
		st.State = Running
	case st.State == Running:
		st.State = Interrupted
	}
	if st.State == Done && st.Step < st.Steps { // its owner asked for more steps since
		st.State = Stopped
	}
	return st, nil
}

// locked reports whether some process trains the run.
func (r *Run) locked() (bool, error) {
	path := filepath.Join(r.Dir, LockName)
	if _, err := os.Stat(path); err != nil {
		return false, nil // never trained, or its folder cannot be read at all
	}
	l := durable.Lock(path)
	ok, err := l.TryRLock()
	if err != nil {
		if errors.Is(err, fs.ErrPermission) { // a read-only copy: nobody can train it
			return false, nil
		}
		return false, sentence.Errorf("the run's lock cannot be read: %w", err)
	}
	if !ok {
		return true, nil
	}
	return false, l.Unlock()
}

func (r *Run) setStatus(s State, step int64, cause error) error {
	host, _ := os.Hostname()
	st := Status{
		State: s, PID: os.Getpid(), Host: host, Updated: time.Now().UTC().Truncate(time.Second),
		Step: step, Steps: r.Info().Train.Steps,
	}
	if cause != nil {
		st.Why = model.Told(cause)
		st.Error = st.Why.String()
	}
	return disk.WriteJSON(filepath.Join(r.Dir, StatusName), st)
}

// Options says how a run is trained.
type Options struct {
	Compute model.Compute
	Version string         // of the program
	Control *train.Control // may be nil
	Events  func(train.Event)
	// Scanned is told how the scan and the decoding of the pictures go on.
	Decoding func(data.Progress)
	// Free is disk.Free unless a test replaces it.
	Free func(path string) (uint64, error)
	// Report spares a scan where there is one already.
	Report *data.Report
}

func (o Options) free() func(string) (uint64, error) {
	if o.Free != nil {
		return o.Free
	}
	return disk.Free
}

// Train trains the run from where it stands until its last step, or until ctx ends: then it saves and returns no
// error. Only one process at a time may do so; *LockedError otherwise.
func (r *Run) Train(ctx context.Context, o Options) (out train.Outcome, err error) {
	lock := durable.Lock(filepath.Join(r.Dir, LockName))
	// Whoever asks for a run's state holds its lock for a moment: that must not look like training.
	brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), 300*time.Millisecond)
	ok, err := lock.TryLockContext(brief, 20*time.Millisecond)
	cancel()
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return out, sentence.Errorf("the run's folder %s cannot be written: %w", r.Dir, err)
	}
	if !ok {
		var st Status
		_ = disk.ReadJSON(filepath.Join(r.Dir, StatusName), maxInfo, &st)
		return out, &LockedError{Dir: r.Dir, PID: st.PID}
	}
	defer func() { _ = lock.Unlock() }()
	if err := durable.Sweep(r.Dir); err != nil {
		return out, err
	}
	var was Status // the step of the newest checkpoint that is known of
	_ = disk.ReadJSON(filepath.Join(r.Dir, StatusName), maxInfo, &was)
	saved := max(was.Step, 0)
	if err := r.setStatus(Running, saved, nil); err != nil {
		return out, sentence.Errorf("the run's folder %s cannot be written: %w", r.Dir, err)
	}
	events := o.Events
	o.Events = func(e train.Event) {
		if s, ok := e.(train.Saved); ok {
			saved = s.Step
			_ = r.setStatus(Running, saved, nil) // what the run needs is in the checkpoint
		}
		if events != nil {
			events(e)
		}
	}
	out, err = r.train(ctx, o, saved)
	state := Stopped
	switch {
	case err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()):
		err = nil // stopped while its pictures were being decoded
	case err != nil:
		state = Failed
	case out.Done:
		state = Done
	}
	return out, errors.Join(err, r.setStatus(state, max(out.Step, saved), err))
}

func (r *Run) train(ctx context.Context, o Options, saved int64) (train.Outcome, error) {
	if err := r.room(o); err != nil {
		return train.Outcome{}, err
	}
	cache, err := r.decode(ctx, o)
	if err != nil {
		return train.Outcome{}, err
	}
	defer func() { _ = cache.Close() }()
	job := r.job(cache.Cache, o)
	job.Saved = saved
	return train.Run(ctx, job)
}

func (r *Run) job(cache *data.Cache, o Options) train.Job {
	info := r.Info()
	return train.Job{
		Spec: info.Model, Config: info.Train, Dir: r.Dir, Cache: cache,
		Compute: o.Compute,
		Name:    info.Name, Version: o.Version, Control: o.Control, Events: o.Events, Describe: r.describe,
	}
}

// describe is run.json as it is now, for the checkpoint that is about to be saved.
func (r *Run) describe() json.RawMessage {
	info, err := readInfo(r.Dir) // others may have changed notes and tags
	if err != nil {
		info = r.Info()
	}
	b, err := json.Marshal(info)
	if err != nil {
		return nil // a checkpoint without a copy is one, too
	}
	return b
}

// room checks that the disk holds what the run is still going to write.
func (r *Run) room(o Options) error {
	info := r.Info()
	need := train.DiskUse(info.Model, info.Train)
	var have int64
	_ = filepath.WalkDir(r.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(path, filepath.Join(r.Dir, CacheName)) {
			if st, err := d.Info(); err == nil {
				have += st.Size()
			}
		}
		return nil // what cannot be read is not counted
	})
	// Whatever is there already, two more checkpoints must fit: the new one and the one it replaces.
	return disk.Require(o.free(), r.Dir, max(need-have, 2*train.CheckpointBytes(info.Model)), sentence.T("this run"))
}

// Pictures is a run's decoded pictures, which no process drops until they are closed.
type Pictures struct {
	*data.Cache
	release func()
}

// Close lets go of the pictures.
func (p *Pictures) Close() error {
	defer p.release()
	return p.Cache.Close()
}

// ErrChanged says that the pictures a run was trained on are not there any more: their source holds others now.
var ErrChanged = sentence.Errorf("the pictures have changed since the run was trained")

// Pictures opens the decoded pictures that the run was trained on, or decodes them again. The error wraps ErrChanged
// when their source holds others now.
func (r *Run) Pictures(ctx context.Context, o Options) (*Pictures, error) {
	was := r.Info().Data
	return r.hold(ctx, func() (*data.Cache, error) {
		c, err := r.trainedOn(was)
		if c != nil || err != nil {
			return c, err
		}
		if c, err = r.build(ctx, o, was); err != nil {
			return nil, err
		}
		if !c.Is(was.Fingerprint) {
			return nil, errors.Join(sentence.T("the pictures in {{.Path}} have changed since the run was trained on them", "Path", was.Path).Because(ErrChanged), c.Close())
		}
		return c, nil
	})
}

// decode opens the run's decoded pictures, or decodes them where that was not done or is damaged.
func (r *Run) decode(ctx context.Context, o Options) (*Pictures, error) {
	was := r.Info().Data
	return r.hold(ctx, func() (*data.Cache, error) {
		c, err := r.trainedOn(was)
		if c != nil || err != nil {
			return c, err // a run goes on with the pictures it began with, whatever became of their folder
		}
		if c, err = r.build(ctx, o, was); err != nil {
			return nil, err
		}
		if err := r.adopt(c, o); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return c, nil
	})
}

// within gives use the run's folder as a disk that no link leads out of.
func (r *Run) within(use func(durable.Disk) error) error {
	d, err := durable.Below(r.Dir)
	if err != nil {
		return err
	}
	return errors.Join(use(d), d.Root.Close())
}

// hold keeps what open returns from being dropped.
func (r *Run) hold(ctx context.Context, open func() (*data.Cache, error)) (*Pictures, error) {
	dir := r.CacheDir()
	if dir == filepath.Join(r.Dir, CacheName) {
		if err := r.within(func(d durable.Disk) error { return d.MkdirAll(CacheName) }); err != nil {
			return nil, err
		}
	}
	release, err := datasets.Hold(ctx, dir)
	if err != nil {
		return nil, err
	}
	c, err := open()
	if err != nil {
		release()
		return nil, err
	}
	return &Pictures{c, release}, nil
}

// trainedOn opens the decoded pictures that the run was begun with; nil if they are not there.
func (r *Run) trainedOn(was Source) (*data.Cache, error) {
	if was.Fingerprint == "" {
		return nil, nil //nolint:nilnil // the run was not begun
	}
	c, err := data.OpenCache(r.CacheDir())
	switch {
	case errors.Is(err, data.ErrNewer):
		return nil, err
	case err != nil:
		return nil, nil //nolint:nilerr // missing or damaged: they are decoded anew
	case !c.Is(was.Fingerprint):
		return nil, c.Close()
	}
	return c, nil
}

// build decodes the run's pictures as they are now.
func (r *Run) build(ctx context.Context, o Options, src Source) (*data.Cache, error) {
	info := r.Info()
	rep := o.Report
	if rep == nil {
		var err error
		if rep, err = data.Scan(ctx, string(src.Path), o.Decoding); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(AllRead(rep), Enough(rep, len(src.Exclude), info.Train.Batch)); err != nil {
		return nil, err
	}
	return datasets.Decode(ctx, rep, info.Model.Preprocess, src.Exclude, r.CacheDir(), o.free(), o.Decoding)
}

// adopt checks that decoded pictures suit the run and notes which they are.
func (r *Run) adopt(c *data.Cache, o Options) error {
	info := r.Info()
	if n := len(info.Model.Classes); n > 0 && len(c.Classes()) != n {
		return sentence.T("the pictures in {{.Path}} now have {{.Now}} classes, and this run was made for {{.N}}: restore them, or start a new run",
			"Path", info.Data.Path, "Now", len(c.Classes()), "N", n)
	}
	if old := info.Data.Fingerprint; old != "" && !c.Is(old) && o.Events != nil {
		o.Events(train.Warned{Message: sentence.T("the pictures in {{.Path}} have changed since the run began; it goes on with those that are there now", "Path", info.Data.Path)})
	}
	if lost := c.Skipped(); len(lost) > 0 && o.Events != nil {
		o.Events(train.Warned{Message: sentence.T("{{.N}} pictures cannot be used any more and are left out, the first ({{.Name}}) because {{.Reason}}",
			"N", len(lost), "Name", lost[0].Name, "Reason", lost[0].Why())})
	}
	if err := r.remember(c); err != nil {
		return err
	}
	return r.Update(func(i *Info) {
		i.Data.Fingerprint, i.Data.Images = c.Fingerprint(), c.Len()
		i.Model.Preprocess.Background = c.Preprocess().Background
	})
}

// Prune removes every checkpoint but the keepLast newest; see checkpoint.Prune.
func (r *Run) Prune(ctx context.Context, keepLast int) error {
	return r.within(func(d durable.Disk) error {
		dir, err := d.Sub(train.CheckpointDir)
		if err != nil {
			return err
		}
		_, err = checkpoint.Prune(ctx, dir, keepLast, 0)
		return errors.Join(err, dir.Root.Close())
	})
}

// Names for checkpoints where a step is asked for.
const (
	Newest int64 = -1
	Best   int64 = -2 // the one with the lowest held-out loss
)

// Weights loads the weights of a checkpoint, and says which: its step may be Newest or Best; name is train.EMAName or
// train.RawName, and empty means the average.
func (r *Run) Weights(step int64, name string) (weights []float32, at int64, which string, err error) {
	ema := train.EMAName
	switch name {
	case "", train.EMAName:
		name = train.EMAName
	case train.RawName:
		ema = ""
	default:
		return nil, 0, "", fmt.Errorf("%w: %w", model.ErrOption, sentence.Errorf("there are no weights %q: use %s or %s", name, train.EMAName, train.RawName))
	}
	valid, ignored, err := checkpoint.List(r.Checkpoints())
	if err != nil {
		return nil, 0, "", err
	}
	switch {
	case step >= 0:
	case step == Best && len(valid) > 0:
		best, ok := checkpoint.Best(valid)
		if !ok {
			return nil, 0, "", sentence.T("no checkpoint of the run {{.Path}} has a held-out loss, so none is the best: choose one by its step", "Path", r.Dir)
		}
		step = best.Step
	case len(valid) > 0:
		step = valid[len(valid)-1].Step
		for _, i := range ignored { // silently, an older one would be taken for the newest
			if i.Step > step {
				return nil, 0, "", sentence.T("the newest checkpoint of the run {{.Path}}, of step {{.Step}}, cannot be used: {{.Reason}}; choose another by its step, such as {{.Older}}",
					"Path", r.Dir, "Step", i.Step, "Reason", i.Reason, "Older", step)
			}
		}
	case len(ignored) > 0:
		return nil, 0, "", sentence.Errorf("the run %s has no whole checkpoint to use: %s: %s", r.Dir, ignored[0].Path, ignored[0].Reason)
	default:
		return nil, 0, "", sentence.T("the run {{.Path}} has no checkpoint yet: train it first", "Path", r.Dir)
	}
	cfg, w, err := checkpoint.LoadWeights(r.Checkpoints(), step, ema)
	if err != nil {
		return nil, 0, "", err
	}
	if cfg.NumParams() != r.Info().Model.UNet.NumParams() {
		return nil, 0, "", sentence.Errorf("the checkpoint of step %d belongs to another network than the run %s", step, r.Dir)
	}
	return w, step, name, nil
}
