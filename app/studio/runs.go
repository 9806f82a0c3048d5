package studio

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"unnoise/app/disk"
	"unnoise/app/events"
	"unnoise/app/exports"
	"unnoise/app/library"
	"unnoise/app/runs"
	"unnoise/app/workspace"
	"unnoise/pipeline/checkpoint"
	"unnoise/pipeline/eval"
	"unnoise/pipeline/train"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// runStamp changes when a run's files do. An active run's also changes when its process ends.
func runStamp(dir string, active bool) (string, error) {
	st, err := os.Stat(filepath.Join(dir, runs.InfoName))
	if err != nil {
		return "", err
	}
	b := fmt.Appendf(nil, "%d/%d", st.ModTime().UnixNano(), st.Size())
	for _, name := range []string{runs.StatusName, train.LogName, train.SampleDir, train.CheckpointDir} {
		if st, err := os.Stat(filepath.Join(dir, name)); err == nil {
			b = fmt.Appendf(b, " %d/%d", st.ModTime().UnixNano(), st.Size())
		} else {
			b = append(b, " -"...)
		}
	}
	if active && !trains(dir) {
		b = append(b, " ended"...)
	}
	return string(b), nil
}

// trains reports whether some process trains the run in dir.
func trains(dir string) bool {
	path := filepath.Join(dir, runs.LockName)
	if _, err := os.Stat(path); err != nil {
		return false
	}
	l := durable.Lock(path)
	ok, err := l.TryRLock()
	if err != nil {
		return false
	}
	if ok {
		_ = l.Unlock()
	}
	return !ok
}

var runNumber = regexp.MustCompile(`^(\d{1,9})(?:-|$)`)

// nextRun is the folder name of a new run: a number one above the highest, and the name.
func nextRun(dir, name string) (string, error) {
	ids, err := workspace.Subfolders(dir)
	if err != nil {
		return "", err
	}
	highest := 0
	for _, id := range ids {
		highest = max(highest, numberOf(id))
	}
	return fmt.Sprintf("%04d-%s", highest+1, workspace.FolderName(name)), nil
}

func numberOf(id string) int {
	m := runNumber.FindStringSubmatch(id)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 0
	}
	return n
}

// indexRun brings a run's row up to date.
func (c *core) indexRun(ctx context.Context, e *env, id, stamp string) error {
	row, err := readRun(filepath.Join(e.ws.Runs(), id), id)
	if err != nil {
		return err
	}
	row.Stamp = stamp
	if old, ok, err := e.lib.Run(ctx, id); err == nil && ok && old.GridName != row.GridName {
		c.thumbs.Forget(func(r Ref) bool { return r.Kind == RunCover && r.Owner == id })
	}
	return e.lib.PutRuns(ctx, row)
}

// readRun reads what the index holds of a run from its folder.
func readRun(dir, id string) (library.Run, error) {
	run, err := runs.Open(dir)
	if err != nil {
		return library.Run{}, err
	}
	st, err := run.Status()
	if err != nil {
		return library.Run{}, err
	}
	info := run.Info()
	row := library.Run{
		ID: id, Number: numberOf(id), Name: info.Name, State: string(st.State), Error: st.Why.Or(st.Error),
		Dataset: info.Data.Dataset, Preset: info.Model.Preset, Step: st.Step, Steps: info.Train.Steps,
		Loss: math.NaN(), HeldOut: math.NaN(), Params: int64(info.Model.UNet.NumParams()),
		Width: info.Model.Preprocess.Width, Height: info.Model.Preprocess.Height, Channels: info.Model.Preprocess.Channels,
		Created: info.Created, Updated: st.Updated, Notes: info.Notes, Tags: info.Tags, Starred: info.Starred,
		Grid: -1, Checkpoint: -1,
	}
	if row.Dataset == "" {
		row.Dataset = info.Data.Path.String()
	}
	if row.Updated.IsZero() {
		row.Updated = info.Created
	}
	var smooth train.Smoother
	for _, r := range logTail(filepath.Join(dir, train.LogName)) {
		if r.Event != "" {
			continue
		}
		row.Elapsed = time.Duration(r.Seconds * float64(time.Second))
		row.Step = max(row.Step, r.Step)
		row.Loss = smooth.Add(r.Loss, train.Smoothing)
		if r.Held != nil {
			row.HeldOut = r.Held.Loss
		}
		if r.Time.After(row.Updated) {
			row.Updated = r.Time
		}
	}
	if cps, _, err := checkpoint.List(run.Checkpoints()); err == nil {
		for _, cp := range cps {
			row.Bytes += cp.Size
		}
		if n := len(cps); n > 0 {
			row.Checkpoint = cps[n-1].Step
		}
	}
	if grids, err := exports.Grids(run, ""); err == nil && len(grids) > 0 {
		last := grids[len(grids)-1]
		for _, g := range grids { // averaged weights look better
			if g.Step == last.Step && g.Weights == train.EMAName {
				last = g
			}
		}
		row.Grid, row.GridName = last.Step, filepath.Base(last.Path)
	}
	return row, nil
}

// tailBytes is how much of a log's end is read for the summary of a run: dozens of lines.
const tailBytes = 64 << 10

// logTail reads the last records of a log; what cannot be read is left out.
func logTail(path string) []train.Record {
	f, err := durable.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil
	}
	from := max(0, st.Size()-tailBytes)
	b := make([]byte, st.Size()-from)
	n, err := f.ReadAt(b, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	lines := bytes.Split(b[:n], []byte("\n"))
	if from > 0 {
		lines = lines[1:]
	}
	var out []train.Record
	for _, l := range lines {
		var r train.Record
		if len(l) > 0 && json.Unmarshal(l, &r) == nil {
			out = append(out, r)
		}
	}
	return out
}

type runService struct{ *core }

// dir is the folder of a run that exists.
func (e *env) run(id string) (string, error) {
	dir, err := workspace.Child(e.ws.Runs(), id)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, runs.InfoName)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", e.missing(events.T("run"), id)
		}
		return "", err
	}
	return dir, nil
}

func (e *env) openRun(id string) (*runs.Run, error) {
	dir, err := e.run(id)
	if err != nil {
		return nil, err
	}
	return runs.Open(dir)
}

func (c *core) openRun(id string) (*runs.Run, error) {
	e, err := c.use()
	if err != nil {
		return nil, err
	}
	return e.openRun(id)
}

func (f RunFilter) query() library.RunQuery {
	return library.RunQuery{
		Search: f.Search, Tag: f.Tag, Starred: f.Starred, State: string(f.State), Order: string(f.Order),
		Reverse: f.Reverse, Limit: f.Limit, Offset: f.Offset,
	}
}

// summary makes the façade's run of a row. A run that this window holds paused is shown so.
func (c *core) summary(r library.Run) Run {
	out := Run{
		ID: r.ID, Number: r.Number, Name: r.Name, State: RunState(r.State), Error: r.Error, Dataset: r.Dataset, Preset: r.Preset,
		Step: r.Step, Steps: r.Steps, Loss: r.Loss, HeldOut: r.HeldOut, Params: r.Params, Width: r.Width, Height: r.Height,
		Channels: r.Channels, Created: r.Created, Updated: r.Updated, Elapsed: r.Elapsed, Bytes: r.Bytes, Notes: r.Notes,
		Tags: r.Tags, Starred: r.Starred,
	}
	if r.Grid >= 0 {
		out.Cover = Ref{Kind: SampleGrid, Owner: r.ID, Index: int(r.Grid), Name: r.GridName}
	}
	if s := c.sup.snapshot(); s.Busy() && s.Run == r.ID {
		out.State, out.Step = RunRunning, max(out.Step, s.Step)
		if s.State == JobPaused {
			out.State = RunPaused
		}
	}
	return out
}

func (s runService) List(ctx context.Context, f RunFilter) ([]Run, error) {
	e, err := s.use()
	if err != nil {
		return nil, err
	}
	rows, err := e.lib.Runs(ctx, f.query())
	if err != nil {
		return nil, err
	}
	out := make([]Run, len(rows))
	for i, r := range rows {
		out[i] = s.summary(r)
	}
	return out, nil
}

func (s runService) Count(ctx context.Context, f RunFilter) (int, error) {
	e, err := s.use()
	if err != nil {
		return 0, err
	}
	return e.lib.CountRuns(ctx, f.query())
}

func (s runService) Get(_ context.Context, id string) (Run, error) {
	e, err := s.use()
	if err != nil {
		return Run{}, err
	}
	dir, err := e.run(id)
	if err != nil {
		return Run{}, err
	}
	row, err := readRun(dir, id)
	if err != nil {
		return Run{}, err
	}
	return s.summary(row), nil
}

func (s runService) Tags(ctx context.Context) ([]string, error) {
	e, err := s.use()
	if err != nil {
		return nil, err
	}
	return e.lib.Tags(ctx)
}

// smoother is the state of the smoothed loss at a cursor of a run's log.
type smoother struct {
	train.Smoother
	cursor int64
}

// smooths keeps the smoothers of the logs that are being followed.
type smooths struct {
	mu sync.Mutex
	m  map[string]smoother
}

// A cursor is the offset in the log, with a checksum of the bytes before it in its low bits: a log that
// was rolled back and has grown again does not have the same.
const (
	cursorBits  = 16
	cursorBytes = 256
)

func cursorSum(f io.ReaderAt, offset int64) (int64, error) {
	b := make([]byte, min(offset, cursorBytes))
	if _, err := f.ReadAt(b, offset-int64(len(b))); err != nil {
		return 0, err
	}
	return int64(crc32.ChecksumIEEE(b) & (1<<cursorBits - 1)), nil
}

func (s runService) Log(ctx context.Context, id string, cursor int64) (points []LogPoint, next int64, reset bool, err error) {
	e, err := s.use()
	if err != nil {
		return nil, 0, false, err
	}
	dir, err := e.run(id)
	if err != nil {
		return nil, 0, false, err
	}
	f, err := durable.OpenUpTo(filepath.Join(dir, train.LogName), train.MaxLog)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, cursor != 0, nil
	}
	if err != nil {
		return nil, 0, false, sentence.Errorf("the log of the run cannot be read: %w", err)
	}
	defer func() { _ = f.Close() }()
	s.smooth.mu.Lock()
	state := s.smooth.m[id]
	s.smooth.mu.Unlock()
	offset := cursor >> cursorBits
	if offset > 0 {
		sum, err := cursorSum(f, offset)
		if err != nil || sum != cursor&(1<<cursorBits-1) {
			offset, reset = 0, true
		}
	}
	skip := offset // of the points read, those before it are known to the caller
	if state.cursor != cursor || reset {
		offset, state = 0, smoother{}
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, 0, false, sentence.Errorf("the log of the run cannot be read: %w", err)
	}
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return nil, 0, false, err
		}
		line, err := r.ReadSlice('\n')
		n, damaged := int64(len(line)), false
		for errors.Is(err, bufio.ErrBufferFull) { // longer than any record: damaged lines are passed over
			line, err = r.ReadSlice('\n')
			n, damaged = n+int64(len(line)), true
		}
		if errors.Is(err, io.EOF) {
			break // nothing more, or a line that is still being written
		}
		if err != nil {
			return nil, 0, false, sentence.Errorf("the log of the run cannot be read: %w", err)
		}
		offset += n
		var rec train.Record
		if damaged || json.Unmarshal(line, &rec) != nil {
			continue
		}
		if rec.Event != "" {
			continue
		}
		p := logPoint(rec)
		p.Smooth = state.Add(rec.Loss, train.Smoothing)
		if offset > skip {
			points = append(points, p)
		}
	}
	if offset > 0 {
		sum, err := cursorSum(f, offset)
		if err != nil {
			return nil, 0, false, sentence.Errorf("the log of the run cannot be read: %w", err)
		}
		next = offset<<cursorBits | sum
	}
	state.cursor = next
	s.smooth.mu.Lock()
	if s.smooth.m == nil || len(s.smooth.m) > 64 {
		s.smooth.m = make(map[string]smoother)
	}
	s.smooth.m[id] = state
	s.smooth.mu.Unlock()
	return points, next, reset, nil
}

func logPoint(r train.Record) LogPoint {
	p := LogPoint{
		Step: r.Step, Time: r.Time, Loss: r.Loss, HeldOut: math.NaN(), LR: r.LR, GradNorm: r.GradNorm, ImagesPerSec: r.ImagesPerSecond,
	}
	if r.Held != nil {
		p.HeldOut = r.Held.Loss
	}
	level := func(e *eval.Result, i int) float64 {
		if e == nil || i >= len(e.Levels) {
			return math.NaN()
		}
		return e.Levels[i].Loss
	}
	n := 0
	for _, e := range []*eval.Result{r.Train, r.Held} {
		if e != nil {
			n = max(n, len(e.Levels))
		}
	}
	for i := range n {
		p.Bins = append(p.Bins, LossBin{
			Lo: float64(i) / float64(n), Hi: float64(i+1) / float64(n), Train: level(r.Train, i), HeldOut: level(r.Held, i),
		})
	}
	return p
}

func (s runService) Grids(_ context.Context, id string) ([]Grid, error) {
	run, err := s.openRun(id)
	if err != nil {
		return nil, err
	}
	files, err := exports.Grids(run, "")
	if err != nil {
		return nil, err
	}
	info := run.Info()
	n := info.Train.SampleCount
	cols := sheetColumns(n, len(info.Model.Classes))
	classes := columnClasses(n, info.Model.Classes)
	out := make([]Grid, len(files))
	for i, f := range files {
		out[i] = Grid{
			Ref:  Ref{Kind: SampleGrid, Owner: id, Index: int(f.Step), Name: filepath.Base(f.Path)},
			Step: f.Step, Weights: f.Weights, Cols: cols, Rows: (n + cols - 1) / cols,
			Width: info.Model.Preprocess.Width, Height: info.Model.Preprocess.Height,
			Gap: train.GridSpacing, Classes: classes,
		}
	}
	return out, nil
}

func (s runService) Checkpoints(ctx context.Context, id string) ([]Checkpoint, error) {
	e, err := s.use()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(id, importedPrefix) {
		return modelService{core: s.core}.checkpoints(ctx, id)
	}
	run, err := e.openRun(id)
	if err != nil {
		return nil, err
	}
	cps, _, err := checkpoint.List(run.Checkpoints())
	if err != nil {
		return nil, err
	}
	out := make([]Checkpoint, 0, len(cps))
	best, ok := checkpoint.Best(cps)
	for _, cp := range slices.Backward(cps) {
		c := Checkpoint{
			Step: cp.Step, Time: cp.Created, Bytes: cp.Size, Weights: append(slices.Clone(cp.EMAs), train.RawName),
			HeldOut: math.NaN(), Best: ok && cp.Step == best.Step,
		}
		if cp.Held != nil {
			c.HeldOut = *cp.Held
		}
		out = append(out, c)
	}
	return out, nil
}

func (s runService) Evaluate(ctx context.Context, id string, step int64, progress ProgressFunc) (out Evaluation, err error) {
	run, err := s.openRun(id)
	if err != nil {
		return out, err
	}
	ctx, cancel := s.joined(ctx)
	defer cancel()
	info := run.Info()
	o := s.options("", 0)
	o.Decoding = decoding(progress)
	if sc, err := s.scan(ctx, info.Data.Dataset); info.Data.Dataset != "" && err == nil {
		defer sc.release()
		o.Report = sc.rep // spares a scan
	}
	m := newMeter(progress, events.T("Measuring"))
	ev, err := run.Evaluate(ctx, runs.Measure{Data: string(info.Data.Path), Checkpoint: step}, o, func(done, total int) { m.at(int64(done), int64(total), "") })
	if err != nil {
		return out, forPeople(err)
	}
	out = Evaluation{Step: ev.Checkpoint, Images: ev.Images, HeldOut: ev.HeldOut, Loss: ev.Loss}
	if b := ev.Bound; b != nil {
		out.Bound = &Bound{Bits: b.BitsPerDim, Low: b.Low, High: b.High, Prior: b.Prior, Steps: b.Steps, Decoder: b.Decoder, Useless: b.Useless()}
	}
	return out, nil
}

func (s runService) Settings(ctx context.Context, id string) (TrainRequest, error) {
	run, err := s.openRun(id)
	if err != nil {
		return TrainRequest{}, err
	}
	req := requestOf(run.Info())
	req.FromRun = id
	if req.Dataset == "" { // started elsewhere: perhaps its pictures are a dataset here all the same
		rows, err := datasetService{s.core}.List(ctx)
		if err != nil {
			return TrainRequest{}, err
		}
		for _, d := range rows {
			if d.Source == run.Info().Data.Path {
				req.Dataset = d.ID
			}
		}
	}
	return req, nil
}

// annotate changes what the person wrote about a run.
func (s runService) annotate(ctx context.Context, id string, change func(*runs.Info)) error {
	e, done, err := s.change()
	if err != nil {
		return err
	}
	defer done()
	run, err := e.openRun(id)
	if err != nil {
		return err
	}
	if err := run.Update(change); err != nil {
		return err
	}
	return s.runChanged(ctx, e, id)
}

// runChanged brings the index up to date and tells of it.
func (c *core) runChanged(ctx context.Context, e *env, id string) error {
	defer c.bus.Publish(events.RunsChanged{Run: id})
	stamp, err := runStamp(filepath.Join(e.ws.Runs(), id), false)
	if errors.Is(err, fs.ErrNotExist) {
		return e.lib.DeleteRuns(ctx, id)
	}
	if err != nil {
		return err
	}
	return c.indexRun(ctx, e, id, stamp)
}

const maxNotes = 100_000

func (s runService) SetNotes(ctx context.Context, id, notes string) error {
	if len(notes) > maxNotes {
		return sentence.Errorf("the notes have %d bytes: %d are the most", len(notes), maxNotes)
	}
	return s.annotate(ctx, id, func(i *runs.Info) { i.Notes = strings.ToValidUTF8(notes, "�") })
}

func (s runService) SetTags(ctx context.Context, id string, tags []string) error {
	var clean []string
	for _, t := range tags {
		if strings.TrimSpace(t) == "" {
			continue
		}
		t, err := workspace.CleanName(t)
		if err != nil {
			return sentence.Errorf("the tag %q cannot be used: %w", t, err)
		}
		if !slices.Contains(clean, t) {
			clean = append(clean, t)
		}
	}
	return s.annotate(ctx, id, func(i *runs.Info) { i.Tags = clean })
}

func (s runService) SetName(ctx context.Context, id, name string) error {
	name, err := workspace.CleanName(name)
	if err != nil {
		return err
	}
	return s.annotate(ctx, id, func(i *runs.Info) { i.Name = name })
}

func (s runService) Star(ctx context.Context, starred bool, ids ...string) error {
	var errs []error
	for _, id := range ids {
		errs = append(errs, s.annotate(ctx, id, func(i *runs.Info) { i.Starred = starred }))
	}
	return errors.Join(errs...)
}

func (s runService) Delete(ctx context.Context, ids ...string) error {
	e, done, err := s.change()
	if err != nil {
		return err
	}
	defer done()
	var errs []error
	for _, id := range ids {
		errs = append(errs, s.delete(ctx, e, id))
	}
	return errors.Join(errs...)
}

func (s runService) delete(ctx context.Context, e *env, id string) error {
	dir, err := workspace.Child(e.ws.Runs(), id)
	if err != nil {
		return err
	}
	if trains(dir) || s.sup.holds(id) {
		return events.T("The run {{.Run}} is being trained: stop it first.", "Run", id)
	}
	name := id
	if run, err := runs.Open(dir); err == nil {
		name = run.Info().Name
	}
	after := func(ctx context.Context, e *env) error { return s.runChanged(ctx, e, id) }
	if err := s.discard(e, "run", name, events.T("Deletion of the run “{{.Name}}”", "Name", name), after, dir); err != nil {
		return err
	}
	return after(ctx, e)
}

func (s runService) Path(_ context.Context, id string) (string, error) {
	e, err := s.use()
	if err != nil {
		return "", err
	}
	return e.run(id)
}

func (s runService) Interrupted(ctx context.Context) ([]Interrupted, error) {
	rows, err := s.List(ctx, RunFilter{State: RunInterrupted})
	if err != nil {
		return nil, err
	}
	e, err := s.use()
	if err != nil {
		return nil, err
	}
	var out []Interrupted
	for _, r := range rows {
		row, ok, err := e.lib.Run(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		if !ok || s.sup.holds(r.ID) {
			continue
		}
		safe := max(row.Checkpoint, 0)
		i := Interrupted{Run: r.ID, Step: safe, Lost: max(0, r.Step-safe)}
		i.Text = events.T("“{{.Name}}” stopped at step {{.Step}}. Continue?", "Name", r.Name, "Step", safe)
		if r.Number > 0 {
			i.Text = events.T("Run {{.Number}} stopped at step {{.Step}}. Continue?", "Number", r.Number, "Step", safe)
		}
		out = append(out, i)
	}
	return out, nil
}

func (s runService) Dismiss(ctx context.Context, id string) error {
	e, done, err := s.change()
	if err != nil {
		return err
	}
	defer done()
	run, err := e.openRun(id)
	if err != nil {
		return err
	}
	st, err := run.Status()
	if err != nil {
		return err
	}
	if st.State != runs.Interrupted {
		return nil
	}
	st.State = runs.Stopped
	if err := disk.WriteJSON(filepath.Join(run.Dir, runs.StatusName), st); err != nil {
		return sentence.Errorf("the run's status cannot be saved: %w", err)
	}
	return s.runChanged(ctx, e, id)
}

// noneTraining makes sure that no process trains a run of the workspace.
func (c *core) noneTraining(e *env) error {
	ids, err := workspace.Subfolders(e.ws.Runs())
	if err != nil {
		return err
	}
	for _, id := range ids {
		if trains(filepath.Join(e.ws.Runs(), id)) {
			return events.T("The run {{.Run}} is being trained by another process: stop it first.", "Run", id)
		}
	}
	return nil
}
