package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"unnoise/pipeline/checkpoint"
	"unnoise/pipeline/data"
	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/eval"
	"unnoise/pipeline/memory"
	"unnoise/pipeline/model"
	"unnoise/pipeline/rng"
	"unnoise/runtime/durable"
	"unnoise/runtime/program"
	"unnoise/runtime/sentence"
)

// Folders within a run's folder.
const (
	CheckpointDir = "checkpoints"
	SampleDir     = "samples"
)

// levelBins is the number of equal parts of u ∈ [0,1) the loss is logged in.
const levelBins = eval.DefaultLevels

// maxRollbacks is how often a diverging run is mended before it is given up.
const maxRollbacks = 3

// Job is a run to be trained.
type Job struct {
	Spec    model.Spec
	Config  Config
	Dir     string // the run's folder, which must exist
	Cache   *data.Cache
	Compute model.Compute // threads and device
	Name    string        // of the run, for the metadata of its pictures
	Version string        // of the program, likewise
	Control *Control      // may be nil
	Events  func(Event)   // may be nil
	// Saved is the step that a checkpoint is known to have been saved at, 0 for none. Without a checkpoint that can be
	// used such a run is not begun anew.
	Saved int64
	// Describe gives what describes the run, as JSON, to be kept with each checkpoint; may be nil.
	Describe func() json.RawMessage
}

// Outcome says how a run ended when Run returned no error.
type Outcome struct {
	Step int64 // steps done, all of them in a checkpoint
	Done bool  // all steps of the configuration are done; otherwise it was stopped
}

// ErrLost is returned for a run that was trained and has no checkpoint that can be used.
var ErrLost = sentence.Errorf("the run has no checkpoint that can be used")

// ErrDiverged is returned when a run diverged more often than it is mended.
var ErrDiverged = sentence.Errorf("the training diverged")

// Run trains a job from its newest checkpoint that can be used, or from the beginning where none was ever saved, until its
// last step is done or ctx ends; then it saves, and returns no error. An error means that the run could not go on; what
// was saved before is still there. Nothing within the run's folder leads out of it: links that do are errors.
func Run(ctx context.Context, j Job) (Outcome, error) {
	l, err := open(ctx, j)
	if err != nil {
		if l != nil {
			l.close()
		}
		return Outcome{}, stopped(ctx, err)
	}
	defer l.close()
	err = l.train(ctx)
	err = stopped(ctx, err)
	if errors.Is(err, ErrDiverged) { // the network of this step is lost: the newest checkpoint is a better one
		return Outcome{Step: max(l.saved, 0)}, err
	}
	if err == nil {
		l.measureHeld(ctx)
	}
	// The state is that of the last finished step, whatever happened in the one after.
	if serr := l.save(context.WithoutCancel(ctx)); serr != nil {
		if l.saved < 0 {
			serr = sentence.Errorf("no checkpoint could be saved, so the run stands at its beginning: %w", serr)
		} else {
			serr = sentence.Errorf("the last checkpoint could not be saved, so the run stands at step %d: %w", l.saved, serr)
		}
		return Outcome{Step: max(l.saved, 0)}, errors.Join(err, serr)
	}
	return Outcome{Step: l.step, Done: l.step >= j.Config.Steps}, err
}

// stopped takes away the error of a run whose context ended: being stopped is not a failure.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// counters is what the loop keeps besides the optimiser's state. It is stored in each checkpoint, so that the log of a
// resumed run has the same numbers as that of an unbroken one.
type counters struct {
	Version   int     `json:"version"`
	LRScale   float64 `json:"lr_scale"`
	Rollbacks int     `json:"rollbacks"`
	Seconds   float64 `json:"seconds"`
	Best      float64 `json:"best"` // lowest mean loss of a log interval so far; 0 before the first
	// Due says that what the step's number asks for (log, samples) is still to be done: the run was stopped in it.
	Due    bool   `json:"due"`
	Window window `json:"window"` // since the loss was judged last
	// Line is the window since the last line of the log. Older versions wrote a line where they judged, and kept none.
	Line *window `json:"line,omitempty"`
}

func newCounters() counters { return counters{Version: 1, LRScale: 1, Line: &window{}} }

// window sums up steps.
type window struct {
	Steps    int                `json:"steps"`
	Seconds  float64            `json:"seconds"`
	Loss     float64            `json:"loss"`
	Weighted float64            `json:"weighted"`
	Power    float64            `json:"power"`
	GradNorm float64            `json:"grad_norm"`
	Levels   [levelBins]float64 `json:"levels"`
	Counts   [levelBins]int     `json:"counts"`
}

type loop struct {
	j       Job
	dir     durable.Disk // the run's folder
	trainer *program.Trainer
	net     *program.Net // fed with the weights of the moment; made when first needed
	feed    *feeder
	log     *logFile
	silent  bool // the log could not be written the last time, and that was told
	ema     PowerEMA
	proc    diffusion.Process
	trainIx []int
	heldIx  []int

	step   int64 // optimiser steps done
	saved  int64 // step of the newest checkpoint on disk, -1 for none
	lost   int64 // step of the newest one that cannot be used, if none can
	held   float64
	heldAt int64 // step at which the held-out loss was held, 0 for none
	c      counters
	clock  clock

	before int64 // memory in use before anything was loaded
}

func (l *loop) emit(e Event) {
	if l.j.Events != nil {
		l.j.Events(e)
	}
}

// prepare checks the job and makes its program.
func prepare(ctx context.Context, j Job) (*loop, error) {
	if err := j.Spec.Validate(); err != nil {
		return nil, err
	}
	if err := j.Config.Validate(); err != nil {
		return nil, err
	}
	if j.Cache.Dim() != j.Spec.Dim() {
		return nil, sentence.Errorf("the decoded pictures have %d values and the network takes %d: decode them again", j.Cache.Dim(), j.Spec.Dim())
	}
	trainIx, heldIx := j.Cache.Split(j.Config.Holdout())
	if len(trainIx) < j.Config.Batch {
		return nil, model.Unusable("batch", "there are %d pictures to train on, fewer than the batch of %d: add pictures or choose a batch of at most %d",
			len(trainIx), j.Config.Batch, max(1, len(trainIx)))
	}
	l, err := load(ctx, j, data.NewLoader(j.Cache, trainIx, j.Config.Batch, j.Spec.Preprocess, j.Config.Seed).Fill)
	if err != nil {
		return nil, err
	}
	l.trainIx, l.heldIx = trainIx, heldIx
	return l, nil
}

// load makes the training program of a job, fed with the given pictures.
func load(ctx context.Context, j Job, pictures func(step int64, x []float32, class []int64) error) (*loop, error) {
	l := &loop{j: j, saved: -1, before: memory.Resident(), ema: NewPowerEMA(j.Config.EMAWidth), c: newCounters()}
	err := Fits(j.Spec, j.Config)
	if err != nil {
		return nil, err
	}
	if l.proc, err = j.Spec.Process(); err != nil {
		return nil, err
	}
	src, err := newSource(pictures, j.Spec, j.Config.Batch, j.Config.Seed)
	if err != nil {
		return nil, err
	}
	l.feed = newFeeder(src)
	c := j.Config
	l.trainer, err = program.NewTrainer(ctx, program.TrainSpec{
		UNet: j.Spec.UNet, Batch: c.Batch, EMAs: 1,
		ClipNorm: c.ClipNorm, Beta1: c.Beta1, Beta2: c.Beta2, Eps: c.Eps, WeightDecay: c.WeightDecay,
	}, j.Compute)
	if err != nil {
		return nil, sentence.Errorf("the training program could not be made: %w", err)
	}
	return l, nil
}

// open prepares a run and restores its state. It returns the loop to be closed even with an error, if there is one.
func open(ctx context.Context, j Job) (*loop, error) {
	l, err := prepare(ctx, j)
	if err != nil {
		return nil, err
	}
	if l.dir, err = durable.Below(j.Dir); err != nil {
		return l, err
	}
	for _, d := range []string{CheckpointDir, SampleDir} {
		if err := l.dir.MkdirAll(d); err != nil {
			return l, sentence.Errorf("the run's folder cannot be written: %w", err)
		}
		if err := l.dir.Sweep(d); err != nil {
			return l, err
		}
	}
	if err := l.restore(); err != nil {
		return l, err
	}
	recs, bad, err := readLog(l.dir, LogName)
	if err != nil && l.saved < 0 { // whether there was a checkpoint cannot be told
		return l, err
	}
	if bad > 0 {
		l.emit(Warned{Message: sentence.T("damaged lines of the log {{.Path}} are passed over: {{.N}}", "N", bad, "Path", l.dir.Path(LogName))})
	}
	if err := l.begun(recs); err != nil {
		return l, err
	}
	l.log, err = openLog(l.dir, LogName, l.step)
	if errors.Is(err, durable.ErrNotRegular) || errors.Is(err, durable.ErrOutside) {
		return l, sentence.Errorf("the run's log cannot be written: %w", err)
	}
	l.logged(err)            // a disk that fails costs lines of the log, and not the run
	for _, r := range recs { // a roll-back since the checkpoint lowered the rate, and the checkpoint cannot know
		if r.Event == eventRollback && r.Step == l.step && r.LRScale > 0 {
			l.c.LRScale, l.c.Rollbacks = r.LRScale, r.Rollbacks
		}
	}
	l.emit(Started{Step: l.step, Steps: j.Config.Steps, Params: j.Spec.UNet.NumParams(), Train: len(l.trainIx), Held: len(l.heldIx)})
	return l, nil
}

func (l *loop) close() {
	l.feed.wait()
	if l.net != nil {
		_ = l.net.Close()
	}
	_ = l.trainer.Close()
	if l.log != nil {
		_ = l.log.close()
	}
	if l.dir.Root != nil {
		_ = l.dir.Root.Close()
	}
}

// restore sets the state of the newest checkpoint that can be used, or the initial one. One that cannot be read is passed
// over as a damaged one is: older ones may be whole. But a newer version's is not: what it holds would be trained again.
func (l *loop) restore() error {
	dir := l.dir.Path(CheckpointDir)
	valid, ignored, err := checkpoint.List(dir)
	if err != nil {
		return err
	}
	for _, ig := range ignored {
		l.emit(Warned{Message: sentence.T("{{.Path}} is passed over: {{.Reason}}", "Path", ig.Path, "Reason", ig.Reason)})
	}
	for i := len(valid) - 1; i >= -1; i-- {
		step := int64(-1)
		if i >= 0 {
			step = valid[i].Step
		}
		for _, ig := range ignored {
			if ig.Newer && ig.Step > step {
				return sentence.T("{{.Path}} was saved by a newer Unnoise: go on with that version, or move this checkpoint out of the run to go on without it",
					"Path", ig.Path).Because(checkpoint.ErrNewer)
			}
		}
		if i < 0 {
			break
		}
		c, err := checkpoint.Load(dir, step)
		if errors.Is(err, checkpoint.ErrNewer) {
			return err
		}
		if err != nil {
			l.lost = max(l.lost, step)
			l.emit(Warned{Message: sentence.T("the checkpoint of step {{.Step}} is passed over: {{.Problem}}", "Step", step, "Problem", err), Cause: err})
			continue
		}
		return l.setCheckpoint(*c)
	}
	for _, ig := range ignored {
		l.lost = max(l.lost, ig.Step)
	}
	return l.setInitial()
}

// begun refuses a run without a usable checkpoint that had one: by what is known of it, by what is left of its checkpoints, or
// by its log, which goes on past the step of the first. Begun anew it would lose its log and, perhaps, what the owner
// can still bring back.
func (l *loop) begun(log []Record) error {
	if l.saved >= 0 {
		return nil
	}
	reached := max(l.j.Saved, l.lost)
	for _, r := range log {
		if r.Step > l.j.Config.SaveEvery { // at that step itself the process may have died in its first save
			reached = max(reached, r.Step)
		}
	}
	if reached == 0 {
		return nil
	}
	return sentence.T("the run was trained to step {{.Step}} and none of its checkpoints can be used: put one back into {{.Path}} from a copy, or train a new run; nothing was changed",
		"Step", reached, "Path", l.dir.Path(CheckpointDir)).Because(ErrLost)
}

func (l *loop) setCheckpoint(c checkpoint.Checkpoint) error {
	if c.UNet.NumParams() != l.j.Spec.UNet.NumParams() || len(c.State.EMA) != 1 {
		return sentence.Errorf("the checkpoint of step %d belongs to another network: %d weights, not %d", c.Step, c.UNet.NumParams(), l.j.Spec.UNet.NumParams())
	}
	var k counters
	if err := json.Unmarshal(c.Extra, &k); err != nil || k.Version != 1 || !(k.LRScale > 0) {
		return sentence.Errorf("the checkpoint of step %d has counters this program cannot read: %w", c.Step, err)
	}
	if err := l.trainer.SetState(c.State); err != nil {
		return err
	}
	if k.Line == nil {
		k.Line = &window{}
		*k.Line = k.Window
	}
	l.step, l.saved, l.c, l.heldAt = c.Step, c.Step, k, 0
	return nil
}

func (l *loop) setInitial() error {
	w, err := l.j.Spec.UNet.Init(rng.New(l.j.Config.Seed, "weights", 0).Uint64())
	if err != nil {
		return err
	}
	z := make([]float32, len(w))
	l.step, l.c, l.heldAt = 0, newCounters(), 0
	return l.trainer.SetState(program.State{Params: w, M: z, V: z, EMA: [][]float32{w}})
}

// train runs steps until the last one or an error.
func (l *loop) train(ctx context.Context) error {
	c := l.j.Config
	if l.c.Due {
		if err := l.intervals(ctx, c.lr(l.step-1)*l.c.LRScale); err != nil {
			return err
		}
	}
	first := l.step
	for l.step < c.Steps {
		if err := l.obey(ctx); err != nil {
			return err
		}
		began := time.Now()
		b, err := l.feed.next(l.step)
		if err != nil {
			return err
		}
		lr := c.lr(l.step) * l.c.LRScale
		res, err := l.trainer.Step(ctx, b.in, program.Hyper{LR: lr, EMARates: []float64{l.ema.Rate(l.step + 1)}})
		if errors.Is(err, program.ErrNonFinite) {
			if err := l.rollBack(ctx, sentence.T("the loss or its gradient was not a number any more")); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return sentence.Errorf("training step %d: %w", l.step+1, err)
		}
		l.step++
		took := time.Since(began)
		loss := l.count(b, res, took)
		l.clock.step(took)
		l.emit(Progress{
			Step: l.step, Steps: c.Steps, Loss: loss, LR: lr,
			ImagesPerSecond: float64(c.Batch) / l.clock.stepSeconds(), ETA: l.eta(),
		})
		if l.step == first+2 || (l.step == c.Steps && l.step < first+2) {
			l.emit(Measured{l.estimate()})
		}
		if err := l.intervals(ctx, lr); err != nil {
			return err
		}
	}
	return nil
}

// intervals does what is due after a step: log, check, sample, save. Saving comes last, so that a run killed in
// between does the others again when it is resumed.
func (l *loop) intervals(ctx context.Context, lr float64) error {
	c := l.j.Config
	last := l.step == c.Steps
	sampleDue := l.step%c.SampleEvery == 0 || last
	judgeDue := l.step%c.LogEvery == 0 || sampleDue
	l.c.Due = judgeDue || l.step%c.logEvery(l.step) == 0
	if judgeDue && l.c.Window.Steps > 0 {
		if reason, bad := l.diverged(); bad {
			return l.rollBack(ctx, reason)
		}
		if loss := l.c.Window.Loss / float64(l.c.Window.Steps); l.c.Best == 0 || loss < l.c.Best {
			l.c.Best = loss
		}
	}
	if l.c.Due && l.c.Line.Steps > 0 {
		rec := l.record(lr)
		if sampleDue {
			if err := l.measure(ctx, &rec); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				return err
			}
		}
		l.logged(l.log.add(rec))
		*l.c.Line = window{}
		l.emit(Logged{rec})
	}
	if judgeDue {
		l.c.Window = window{}
	}
	if sampleDue {
		if err := l.grids(ctx); err != nil {
			return err
		}
	}
	l.c.Due = false
	if l.step%c.SaveEvery == 0 && !last { // the last one is saved by Run
		if len(l.heldIx) > 0 && l.heldAt != l.step { // so that the best of the checkpoints can be told
			if _, err := l.loss(ctx, l.heldIx); err != nil {
				return err
			}
		}
		if err := l.save(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			l.emit(Warned{Message: sentence.T("the checkpoint of step {{.Step}} could not be saved; training goes on and tries again at step {{.Next}}: {{.Problem}}",
				"Step", l.step, "Next", l.step+c.SaveEvery, "Problem", err), Cause: err})
		}
	}
	return nil
}

// obey answers the control between two steps.
func (l *loop) obey(ctx context.Context) error {
	paused := false
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch l.j.Control.next() {
		case doStep:
			if paused {
				l.emit(Continued{l.step})
			}
			return nil
		case doSample:
			if err := l.grids(ctx); err != nil {
				return err
			}
		case doPause:
			if !paused {
				paused = true
				l.measureHeld(ctx)
				if err := l.save(ctx); err != nil {
					l.emit(Warned{Message: sentence.T("the checkpoint of step {{.Step}} could not be saved: {{.Problem}}", "Step", l.step, "Problem", err), Cause: err})
				}
				l.emit(Paused{l.step})
			}
			if err := l.j.Control.wait(ctx); err != nil {
				return err
			}
		}
	}
}

// count adds a step's result to the windows and returns its mean loss.
func (l *loop) count(b *batch, res program.Result, took time.Duration) float64 {
	var sum float64
	for _, v := range res.Loss {
		sum += float64(v)
	}
	loss := sum / float64(len(res.Loss))
	for _, w := range []*window{&l.c.Window, l.c.Line} {
		for i, v := range res.Loss {
			w.Levels[b.bin[i]] += float64(v)
			w.Counts[b.bin[i]]++
		}
		w.Steps++
		w.Seconds += took.Seconds()
		w.Loss += loss
		w.Weighted += res.Total
		w.Power += b.power
		w.GradNorm += res.GradNorm
	}
	l.c.Seconds += took.Seconds()
	return loss
}

// record is the log's line for the steps since the last one.
func (l *loop) record(lr float64) Record {
	w := *l.c.Line
	n := float64(max(w.Steps, 1))
	r := Record{
		Step: l.step, Time: now(), Seconds: l.c.Seconds,
		Loss: w.Loss / n, Weighted: w.Weighted / n, GradNorm: w.GradNorm / n, LR: lr,
		Levels: make([]float64, levelBins), Counts: w.Counts[:],
	}
	if w.Seconds > 0 {
		r.ImagesPerSecond = n * float64(l.j.Config.Batch) / w.Seconds
	}
	for i, c := range w.Counts {
		if c > 0 {
			r.Levels[i] = w.Levels[i] / float64(c)
		}
	}
	return r
}

// diverged judges the window: a network is lost when it has become far worse than it was and answers hardly better
// than a constant zero would, whose loss is the targets' mean square. The first window is never judged.
func (l *loop) diverged() (reason sentence.Text, bad bool) {
	w := l.c.Window
	if l.c.Best == 0 {
		return sentence.Text{}, false
	}
	n := float64(w.Steps)
	loss, power := w.Loss/n, w.Power/n
	if math.IsNaN(loss) || (loss > 4*l.c.Best && loss > power/2) || loss > 2*power && loss > 2*l.c.Best {
		return sentence.T("the loss rose to {{.Loss}}, where it had been {{.Best}}", "Loss", fmt.Sprintf("%.3g", loss), "Best", fmt.Sprintf("%.3g", l.c.Best)), true
	}
	return sentence.Text{}, false
}

// rollBack returns to the last good state with half the learning rate.
func (l *loop) rollBack(ctx context.Context, reason sentence.Text) error {
	from, k := l.step, l.c
	if k.Rollbacks >= maxRollbacks {
		return sentence.T("the training diverged: {{.Reason}} at step {{.Step}}, after {{.N}} attempts with lower learning rates; start a new run with a learning rate below {{.LR}}",
			"Reason", reason, "Step", from+1, "N", k.Rollbacks, "LR", fmt.Sprintf("%.2g", l.j.Config.LR*k.LRScale)).Because(ErrDiverged)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.restore(); err != nil {
		return err
	}
	// The counters of the old state, but not its learning rate: it would only diverge again.
	l.c.LRScale, l.c.Rollbacks = k.LRScale/2, k.Rollbacks+1
	lr := l.j.Config.LR * l.c.LRScale
	_ = l.log.close()
	pending := slices.DeleteFunc(l.log.pending, func(r Record) bool { return r.Step > l.step })
	var err error
	l.log, err = openLog(l.dir, LogName, l.step)
	l.logged(err) // perhaps the disk is full: the lines of steps that are done again stay
	l.log.pending = pending
	rec := Record{
		Step: l.step, Time: now(), Seconds: l.c.Seconds, LR: lr,
		Event: eventRollback, LRScale: l.c.LRScale, Rollbacks: l.c.Rollbacks,
		Reason: fmt.Sprintf("after step %d %s; back to step %d with a learning rate of %.3g", from, reason, l.step, lr),
	}
	l.logged(l.log.add(rec))
	l.emit(RolledBack{From: from, To: l.step, LR: lr, Reason: reason})
	return nil
}

// logged tells, once, that the log cannot be written: training goes on, and the lines are written when that is possible.
func (l *loop) logged(err error) {
	if err != nil && !l.silent {
		l.emit(Warned{Message: sentence.T("the log {{.Path}} could not be written; training goes on and tries again: {{.Problem}}",
			"Path", l.dir.Path(LogName), "Problem", err), Cause: err})
	}
	l.silent = err != nil
}

// save writes a checkpoint of the state, unless it is already there.
func (l *loop) save(ctx context.Context) error {
	if l.saved == l.step {
		return nil
	}
	began := time.Now()
	l.emit(Working{What: "checkpoint", Total: 1})
	l.logged(l.log.sync())
	extra, err := json.Marshal(l.c)
	if err != nil {
		return err
	}
	c := checkpoint.Checkpoint{UNet: l.j.Spec.UNet, State: l.trainer.State(), EMANames: []string{EMAName}, Extra: extra}
	if l.heldAt == l.step && l.step > 0 && l.held <= math.MaxFloat64 {
		c.Held = &l.held
	}
	if l.j.Describe != nil {
		c.Run = l.j.Describe()
	}
	if err := l.dir.MkdirAll(CheckpointDir); err != nil {
		return err
	}
	dir, err := l.dir.Sub(CheckpointDir)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Root.Close() }()
	if err := checkpoint.Save(dir, l.step, c); err != nil {
		return err
	}
	l.saved = l.step
	if _, err := checkpoint.Prune(ctx, dir, l.j.Config.KeepLast, l.j.Config.KeepEvery); err != nil {
		l.emit(Warned{Message: sentence.T("old checkpoints could not be removed: {{.Problem}}", "Problem", err), Cause: err})
	}
	l.clock.saving = time.Since(began)
	l.emit(Saved{Step: l.step})
	return nil
}
