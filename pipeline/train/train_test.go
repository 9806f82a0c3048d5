package train

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/checkpoint"
	"unnoise/pipeline/data"
	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/model"
	"unnoise/pipeline/picture"
	"unnoise/runtime/program"
	"unnoise/runtime/unet"
)

// childEnv tells a re-executed test binary which folder to train in.
const childEnv = "UNNOISE_TEST_TRAIN_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child trains the job of testJob in dir, telling each finished step on standard output.
func child(dir string) error {
	cache, err := data.OpenCache(filepath.Join(dir, "cache"))
	if err != nil {
		return err
	}
	j := testJob(filepath.Join(dir, "run"), cache)
	j.Events = func(e Event) {
		if p, ok := e.(Progress); ok {
			fmt.Println(p.Step)
		}
	}
	_, err = Run(context.Background(), j)
	return err
}

// makeCache decodes 40 small pictures in two classes into dir.
func makeCache(t *testing.T, dir string) *data.Cache {
	t.Helper()
	src := t.TempDir()
	for i := range 40 {
		img := image.NewRGBA(image.Rect(0, 0, 8, 8))
		for k := range 64 {
			img.Set(k%8, k/8, color.RGBA{R: uint8(30 * (k % 8)), G: uint8(6 * i), B: uint8(k * (i%2 + 1)), A: 255})
		}
		sub := filepath.Join(src, []string{"left", "right"}[i%2])
		require.NoError(t, os.MkdirAll(sub, 0o755))
		f, err := os.Create(filepath.Join(sub, fmt.Sprintf("%02d.png", i)))
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, img))
		require.NoError(t, f.Close())
	}
	rep, err := data.Scan(t.Context(), src, nil)
	require.NoError(t, err)
	require.Empty(t, rep.Bad)
	c, err := data.BuildCache(t.Context(), src, rep, preprocess(), dir, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func preprocess() data.Preprocess {
	return data.Preprocess{Width: 8, Height: 8, Channels: 3, Fit: data.Crop}
}

// testJob is a run of a network so small that a step takes some milliseconds: with classes, dropout and augmentation,
// so that every source of chance takes part.
func testJob(dir string, cache *data.Cache) Job {
	labels := 2 * 8
	u := unet.Default()
	u.SampleSize = unet.Size{W: 8, H: 8}
	u.BlockOutChannels, u.LayersPerBlock, u.NormNumGroups, u.AttentionHeadDim = []int{8, 16}, 1, 4, nil
	u.DownBlockTypes, u.UpBlockTypes = []string{unet.Down, unet.AttnDown}, []string{unet.AttnUp, unet.Up}
	u.Dropout, u.NumClassEmbeds = 0.1, &labels
	pp := cache.Preprocess()
	pp.Flip, pp.Augment = true, true
	return Job{
		Spec: model.Spec{
			Version: model.Version, UNet: u, Objective: diffusion.ObjectiveV, Schedule: "cosine",
			Weighting: diffusion.WeightingMinSNR, Classes: cache.Classes(), Preprocess: pp,
		},
		Config: Config{
			Steps: 24, Batch: 8, Seed: 7, LR: 2e-3, Warmup: 5, ClipNorm: 1, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8,
			EMAWidth: 0.1, HeldOut: 0.2, LogEvery: 4, SampleEvery: 6, SaveEvery: 5, KeepLast: 2, KeepEvery: 10,
			Sampler: "ddpm", SampleSteps: 4, SampleCount: 5, EvalImages: 4,
		},
		Dir: dir, Cache: cache, Name: "test",
	}
}

// outcome is everything a finished run leaves, without what the clock wrote.
type outcome struct {
	state program.State
	extra counters
	log   []Record
	grids map[string]string // file name → pixels
	steps []int64           // checkpoints
}

func outcomeOf(t *testing.T, dir string) outcome {
	t.Helper()
	o := outcome{grids: map[string]string{}}
	infos, ignored, err := checkpoint.List(filepath.Join(dir, CheckpointDir))
	require.NoError(t, err)
	require.Empty(t, ignored)
	for _, i := range infos {
		o.steps = append(o.steps, i.Step)
	}
	c, err := checkpoint.Load(filepath.Join(dir, CheckpointDir), infos[len(infos)-1].Step)
	require.NoError(t, err)
	o.state = c.State
	require.NoError(t, json.Unmarshal(c.Extra, &o.extra))
	o.extra.Seconds, o.extra.Window.Seconds, o.extra.Line.Seconds = 0, 0, 0
	o.log, err = ReadLog(filepath.Join(dir, LogName))
	require.NoError(t, err)
	for i := range o.log {
		o.log[i].Time, o.log[i].Seconds, o.log[i].ImagesPerSecond = time.Time{}, 0, 0
	}
	files, err := filepath.Glob(filepath.Join(dir, SampleDir, "*"))
	require.NoError(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		o.grids[filepath.Base(f)] = string(b)
		_, err = picture.ReadMeta(f)
		require.NoError(t, err)
	}
	return o
}

// unbroken trains the test's job in one go.
func unbroken(t *testing.T, cache *data.Cache) outcome {
	t.Helper()
	j := testJob(t.TempDir(), cache)
	var saved []int64
	j.Events = func(e Event) {
		switch e := e.(type) {
		case Saved:
			saved = append(saved, e.Step)
		case Warned:
			t.Errorf("warned: %s", e.Message)
		}
	}
	out, err := Run(t.Context(), j)
	require.NoError(t, err)
	require.Equal(t, Outcome{Step: 24, Done: true}, out)
	require.Equal(t, []int64{5, 10, 15, 20, 24}, saved)
	o := outcomeOf(t, j.Dir)
	require.Equal(t, []int64{10, 20, 24}, o.steps, "the last two and every tenth are kept")
	require.Len(t, o.grids, 8) // steps 6, 12, 18, 24, averaged and raw
	var logged []int64
	for _, r := range o.log {
		logged = append(logged, r.Step)
		require.Equal(t, r.Step%6 == 0, r.Held != nil)
		require.Equal(t, r.Step%6 == 0, r.Train != nil)
	}
	require.Len(t, logged, 24, "at first every step has a line")
	require.EqualValues(t, 24, o.state.Step)
	return o
}

// A run stopped after any step, or in the middle of one, a measurement or a grid, and resumed, ends with the bits of
// one that was not.
func TestResumeIsBitExact(t *testing.T) {
	cache := makeCache(t, t.TempDir())
	want := unbroken(t, cache)
	r := rand.New(rand.NewPCG(1, 2))
	plans := [][]any{{int64(1)}, {int64(6)}, {int64(23)}, {int64(3), int64(4), int64(17)}, {"samples"}, {"loss by noise level"}, {"samples", int64(13), "samples"}}
	for range 3 {
		plans = append(plans, []any{1 + r.Int64N(11), 12 + r.Int64N(11)})
	}
	for _, plan := range plans {
		t.Run(fmt.Sprint(plan...), func(t *testing.T) {
			j := testJob(t.TempDir(), cache)
			for _, stop := range plan {
				ctx, cancel := context.WithCancel(t.Context())
				j.Events = func(e Event) {
					switch e := e.(type) {
					case Progress:
						if stop == any(e.Step) {
							cancel()
						}
					case Working:
						if stop == any(e.What) {
							cancel()
						}
					case Warned:
						t.Errorf("warned: %s", e.Message)
					}
				}
				out, err := Run(ctx, j)
				cancel()
				require.NoError(t, err)
				require.False(t, out.Done)
				latest, err := checkpoint.Latest(filepath.Join(j.Dir, CheckpointDir))
				require.NoError(t, err)
				require.Equal(t, out.Step, latest.Step, "a stopped run has saved")
			}
			j.Events = nil
			out, err := Run(t.Context(), j)
			require.NoError(t, err)
			require.True(t, out.Done)
			got := outcomeOf(t, j.Dir)
			require.Equal(t, want.state, got.state)
			require.Equal(t, want.extra, got.extra)
			require.Equal(t, want.log, got.log)
			require.Equal(t, want.grids, got.grids)
		})
	}
}

// The same holds when the process is killed, at whatever moment.
func TestResumeAfterKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts several processes")
	}
	dir := t.TempDir()
	cache := makeCache(t, filepath.Join(dir, "cache"))
	want := unbroken(t, cache)
	run := filepath.Join(dir, "run")
	require.NoError(t, os.Mkdir(run, 0o755))
	exe, err := os.Executable()
	require.NoError(t, err)
	start := func(after time.Duration, steps int) (finished bool) {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		cmd.Stderr = os.Stderr
		require.NoError(t, cmd.Start())
		b := make([]byte, 1)
		for n := 0; n < steps; { // so many steps, and then at no particular moment of the next ones
			if _, err := out.Read(b); err != nil {
				break
			}
			if b[0] == '\n' {
				n++
			}
		}
		time.Sleep(after)
		require.NoError(t, cmd.Process.Kill()) // SIGKILL on Unix
		return cmd.Wait() == nil
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 4 {
		start(time.Duration(r.Int64N(int64(60*time.Millisecond))), 2+r.IntN(5))
	}
	out, err := Run(t.Context(), testJob(run, cache))
	require.NoError(t, err)
	require.True(t, out.Done)
	got := outcomeOf(t, run)
	require.Equal(t, want.state, got.state)
	require.Equal(t, want.log, got.log)
	require.Equal(t, want.grids, got.grids)
}

// With a learning rate far too high the run goes back and halves it three times, and then says what to do.
func TestDivergence(t *testing.T) {
	j := testJob(t.TempDir(), makeCache(t, t.TempDir()))
	j.Config.LR, j.Config.Warmup, j.Config.Steps = 1e30, 0, 200
	var back []RolledBack
	j.Events = func(e Event) {
		if r, ok := e.(RolledBack); ok {
			back = append(back, r)
		}
	}
	_, err := Run(t.Context(), j)
	require.ErrorIs(t, err, ErrDiverged)
	require.ErrorContains(t, err, "start a new run with a learning rate below 1")
	require.Len(t, back, 3)
	for i, r := range back {
		require.EqualValues(t, 0, r.To)
		require.InEpsilon(t, 1e30/float64(int(2)<<i), r.LR, 1e-9)
	}
	recs, err := ReadLog(filepath.Join(j.Dir, LogName))
	require.NoError(t, err)
	recs = slices.DeleteFunc(recs, func(r Record) bool { return r.Event != eventRollback })
	require.NotEmpty(t, recs)
	require.Contains(t, recs[len(recs)-1].Reason, "back to step 0")
}

// A checkpoint made before the divergence is what the run goes back to, also in a later process.
func TestRollBackToCheckpoint(t *testing.T) {
	j := testJob(t.TempDir(), makeCache(t, t.TempDir()))
	j.Config.Steps = 10
	_, err := Run(t.Context(), j)
	require.NoError(t, err)
	before := outcomeOf(t, j.Dir)

	j.Config.Steps, j.Config.LR = 30, 1e30
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	j.Events = func(e Event) {
		if r, ok := e.(RolledBack); ok {
			require.EqualValues(t, 10, r.To)
			if n++; n == 2 {
				cancel()
			}
		}
	}
	out, err := Run(ctx, j)
	require.NoError(t, err)
	require.EqualValues(t, 10, out.Step)
	require.Equal(t, before.state, outcomeOf(t, j.Dir).state)

	var to []RolledBack
	j.Events = func(e Event) {
		if r, ok := e.(RolledBack); ok {
			to = append(to, r)
		}
	}
	_, err = Run(t.Context(), j)
	require.ErrorIs(t, err, ErrDiverged)
	require.Len(t, to, 1, "two of the three were used up before")
}

func TestPauseSampleContinue(t *testing.T) {
	j := testJob(t.TempDir(), makeCache(t, t.TempDir()))
	j.Control = &Control{}
	j.Config.SampleEvery, j.Config.SaveEvery = 1000, 1000
	paused, sampled := make(chan int64, 1), make(chan string, 4)
	var seen []string
	j.Events = func(e Event) {
		switch e := e.(type) {
		case Progress:
			if e.Step == 3 {
				j.Control.Pause()
			}
		case Paused:
			seen = append(seen, "paused")
			paused <- e.Step
		case Continued:
			seen = append(seen, "continued")
		case Sampled:
			if e.Step == 3 {
				seen = append(seen, e.Weights)
				sampled <- e.Path
			}
		}
	}
	done := make(chan error, 1)
	go func() {
		_, err := Run(t.Context(), j)
		done <- err
	}()
	require.EqualValues(t, 3, <-paused)
	latest, err := checkpoint.Latest(filepath.Join(j.Dir, CheckpointDir))
	require.NoError(t, err)
	require.EqualValues(t, 3, latest.Step, "what is paused can be sampled from its folder")
	require.NotNil(t, latest.Held, "and compared with the others")
	j.Control.SampleNow()
	require.FileExists(t, <-sampled)
	require.FileExists(t, <-sampled)
	j.Control.Resume()
	require.NoError(t, <-done)
	require.Equal(t, []string{"paused", EMAName, RawName, "continued"}, seen)
}

// The lines of the log stand for one step at first, then for some 4 % of those done, and for LogEvery in the end.
func TestLinesOfTheLog(t *testing.T) {
	c := Config{LogEvery: 25}
	var lines []int64
	for step := int64(1); step <= 2000; step++ {
		if step%c.logEvery(step) == 0 {
			lines = append(lines, step)
		}
	}
	for i, step := range lines[1:] {
		gap := step - lines[i]
		require.LessOrEqual(t, gap, int64(25))
		require.LessOrEqual(t, gap, 1+step/12, "at step %d", step)
		if step > 700 {
			require.EqualValues(t, 25, gap)
		}
	}
	require.Equal(t, []int64{1, 2, 3}, lines[:3])
	require.Less(t, len(lines), 250)
	require.EqualValues(t, 1, Config{LogEvery: 1}.logEvery(1e6))
}

// A run begun before the log had lines of their own goes on with the lines and the judgement it had.
func TestOldCountersGoOn(t *testing.T) {
	cache := makeCache(t, t.TempDir())
	j := testJob(t.TempDir(), cache)
	l, err := prepare(t.Context(), j)
	require.NoError(t, err)
	defer l.close()
	require.NoError(t, l.setInitial())
	var old counters
	require.NoError(t, json.Unmarshal([]byte(`{"version":1,"lr_scale":1,"best":0.5,"window":{"steps":3,"loss":1.5}}`), &old))
	require.Nil(t, old.Line)
	extra, err := json.Marshal(struct {
		Version int     `json:"version"`
		LRScale float64 `json:"lr_scale"`
		Best    float64 `json:"best"`
		Window  window  `json:"window"`
	}{1, 1, 0.5, window{Steps: 3, Loss: 1.5}})
	require.NoError(t, err)
	require.NoError(t, l.setCheckpoint(checkpoint.Checkpoint{Step: 703, UNet: j.Spec.UNet, State: l.trainer.State(), Extra: extra}))
	require.Equal(t, l.c.Window, *l.c.Line)
	require.InDelta(t, 0.5, l.record(1).Loss, 1e-12)
}

// Each checkpoint that is made on the way, and the last one, says what the held-out loss is there: that of the log, where
// it was measured for it, too. The best of them stays.
func TestCheckpointsTellTheirHeldOutLoss(t *testing.T) {
	cache := makeCache(t, t.TempDir())
	j := testJob(t.TempDir(), cache)
	j.Config.KeepLast = 100
	_, err := Run(t.Context(), j)
	require.NoError(t, err)
	infos, _, err := checkpoint.List(filepath.Join(j.Dir, CheckpointDir))
	require.NoError(t, err)
	require.Len(t, infos, 5)
	best, ok := checkpoint.Best(infos)
	require.True(t, ok)
	log, err := ReadLog(filepath.Join(j.Dir, LogName))
	require.NoError(t, err)
	logged := map[int64]float64{}
	for _, r := range log {
		if r.Held != nil {
			logged[r.Step] = r.Held.Loss
		}
	}
	for _, i := range infos {
		require.NotNil(t, i.Held, i.Step)
		require.GreaterOrEqual(t, *i.Held, *best.Held)
	}
	require.Equal(t, logged[24], *infos[4].Held)
	require.NotContains(t, logged, int64(15), "this one was measured for its checkpoint alone")

	// A run that stopped on the way measures the same.
	k := testJob(t.TempDir(), cache)
	k.Config.KeepLast = 100
	ctx, cancel := context.WithCancel(t.Context())
	k.Events = func(e Event) {
		if p, ok := e.(Progress); ok && p.Step == 13 {
			cancel()
		}
	}
	stopped, err := Run(ctx, k)
	require.NoError(t, err)
	require.EqualValues(t, 13, stopped.Step)
	k.Events = nil
	_, err = Run(t.Context(), k)
	require.NoError(t, err)
	again, _, err := checkpoint.List(filepath.Join(k.Dir, CheckpointDir))
	require.NoError(t, err)
	at := slices.IndexFunc(again, func(i checkpoint.Info) bool { return i.Step == 13 })
	require.GreaterOrEqual(t, at, 0)
	require.NotNil(t, again[at].Held, "that of the stop, too")
	for _, i := range infos {
		for _, o := range again {
			if o.Step == i.Step {
				require.Equal(t, *i.Held, *o.Held, i.Step)
			}
		}
	}
}

func TestMeasureWritesNothing(t *testing.T) {
	j := testJob(t.TempDir(), makeCache(t, t.TempDir()))
	e, err := Measure(t.Context(), j.Spec, j.Config, j.Compute)
	require.NoError(t, err)
	require.Positive(t, e.StepSeconds)
	require.Positive(t, e.Memory)
	require.Greater(t, e.ETA.Seconds(), e.StepSeconds*float64(j.Config.Steps-1))
	entries, err := os.ReadDir(j.Dir)
	require.NoError(t, err)
	require.Empty(t, entries)
	_, err = Run(t.Context(), j)
	require.NoError(t, err)
	require.GreaterOrEqual(t, e.Disk, folderSize(t, j.Dir), "what was foretold is enough")
}

// As many steps as fit into a time take no longer, and one more would; a run that stands somewhere goes on from there.
func TestStepsThatFitIntoATime(t *testing.T) {
	e := Estimate{StepSeconds: 0.5, SampleSeconds: 20, SaveSeconds: 2}
	for _, c := range []Config{{SampleEvery: 250, SaveEvery: 250}, {SampleEvery: 100, SaveEvery: 37}, {SampleEvery: 1, SaveEvery: 1}} {
		for _, within := range []time.Duration{time.Second, time.Minute, 10 * time.Minute, 8 * time.Hour} {
			for _, from := range []int64{0, 1, 999} {
				c.Steps = e.Steps(c, from, within)
				require.Greater(t, c.Steps, from, "at least one")
				if c.Steps > from+1 {
					require.LessOrEqual(t, e.Time(c, from), within)
				}
				c.Steps++
				require.Greater(t, e.Time(c, from), within)
			}
		}
	}
	c := Config{SampleEvery: 250, SaveEvery: 250}
	require.EqualValues(t, 6100, e.Steps(c, 0, time.Hour), "3050 s of steps and 25 pauses of 22 s")
}

func folderSize(t *testing.T, dir string) (n int64) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		n += st.Size()
		return err
	}))
	return n
}

func TestFewerPicturesThanTheBatch(t *testing.T) {
	j := testJob(t.TempDir(), makeCache(t, t.TempDir()))
	j.Config.Batch = 40
	_, err := Run(t.Context(), j)
	require.ErrorIs(t, err, model.ErrOption)
	require.ErrorContains(t, err, "fewer than the batch of 40")
	entries, err := os.ReadDir(j.Dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

// A damaged newest checkpoint is passed over with a warning, and the one before it is used.
func TestDamagedCheckpointIsPassedOver(t *testing.T) {
	cache := makeCache(t, t.TempDir())
	want := unbroken(t, cache)
	j := testJob(t.TempDir(), cache)
	_, err := Run(t.Context(), j)
	require.NoError(t, err)
	path := filepath.Join(j.Dir, CheckpointDir, "000024", "weights.safetensors")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	b[len(b)-1] ^= 1
	require.NoError(t, os.WriteFile(path, b, 0o644))
	var warned []string
	j.Events = func(e Event) {
		if w, ok := e.(Warned); ok {
			warned = append(warned, w.Message.String())
		}
	}
	out, err := Run(t.Context(), j)
	require.NoError(t, err)
	require.True(t, out.Done)
	require.Len(t, warned, 1)
	require.Contains(t, warned[0], "the checkpoint of step 24 is passed over")
	got := outcomeOf(t, j.Dir)
	require.Equal(t, want.state, got.state)
	require.Equal(t, want.log, got.log)
}

// Batches are the same however they are asked for, and do not repeat.
func TestFeederIsAPureFunctionOfTheStep(t *testing.T) {
	cache := makeCache(t, t.TempDir())
	j := testJob("", cache)
	idx, _ := cache.Split(data.Holdout{Fraction: 0.2})
	feed := func() *feeder {
		s, err := newSource(data.NewLoader(cache, idx, 8, j.Spec.Preprocess, 7).Fill, j.Spec, 8, 7)
		require.NoError(t, err)
		return newFeeder(s)
	}
	next := func(f *feeder, step int64) []float32 {
		b, err := f.next(step)
		require.NoError(t, err)
		return b.in.X
	}
	a, b := feed(), feed()
	var inOrder [][]float32
	for s := range int64(6) {
		inOrder = append(inOrder, slices.Clone(next(a, s)))
	}
	for _, s := range []int64{5, 0, 3, 4, 1, 1} {
		require.Equal(t, inOrder[s], next(b, s))
	}
	a.wait()
	b.wait()
	require.NotEqual(t, inOrder[0], inOrder[1])
	for _, l := range b.bufs[0].in.Class {
		require.Less(t, l, int64(16))
	}
}

func TestErrorsOfTheStepComeThrough(t *testing.T) {
	j := testJob(t.TempDir(), makeCache(t, t.TempDir()))
	j.Spec.Version = 0
	_, err := Run(t.Context(), j)
	require.Error(t, err)
	require.False(t, errors.Is(err, context.Canceled))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out, err := Run(ctx, testJob(t.TempDir(), j.Cache))
	require.NoError(t, err)
	require.Equal(t, Outcome{}, out)
}

// TestWithoutUsableCheckpointsItStops holds that a run that was trained is never begun anew by itself: its log would be gone.
func TestWithoutUsableCheckpointsItStops(t *testing.T) {
	cache := makeCache(t, t.TempDir())
	trained := testJob(t.TempDir(), cache)
	_, err := Run(t.Context(), trained)
	require.NoError(t, err)
	log, err := os.ReadFile(filepath.Join(trained.Dir, LogName))
	require.NoError(t, err)
	line, _, _ := bytes.Cut(log, []byte("\n")) // step 4, before the first checkpoint at step 5
	each := func(t *testing.T, dir string, do func(path string) error) {
		t.Helper()
		paths, err := filepath.Glob(filepath.Join(dir, CheckpointDir, "*"))
		require.NoError(t, err)
		require.NotEmpty(t, paths)
		for _, p := range paths {
			require.NoError(t, do(p))
		}
	}
	for name, change := range map[string]func(t *testing.T, j *Job){
		"removed": func(t *testing.T, j *Job) { each(t, j.Dir, os.RemoveAll) },
		"cut": func(t *testing.T, j *Job) {
			each(t, j.Dir, func(p string) error { return os.Truncate(filepath.Join(p, "weights.safetensors"), 100) })
		},
		"damaged": func(t *testing.T, j *Job) {
			each(t, j.Dir, func(p string) error {
				b, err := os.ReadFile(filepath.Join(p, "weights.safetensors"))
				b[len(b)-5] ^= 1
				return errors.Join(err, os.WriteFile(filepath.Join(p, "weights.safetensors"), b, 0o600))
			})
		},
		"damaged, without a log": func(t *testing.T, j *Job) {
			require.NoError(t, os.Remove(filepath.Join(j.Dir, LogName)))
			each(t, j.Dir, func(p string) error { return os.Remove(filepath.Join(p, "state.json")) })
		},
		"stopped early, then removed": func(t *testing.T, j *Job) {
			each(t, j.Dir, os.RemoveAll)
			require.NoError(t, os.WriteFile(filepath.Join(j.Dir, LogName), append(line, '\n'), 0o600))
			j.Saved = 4
		},
	} {
		t.Run(name, func(t *testing.T) {
			j := trained
			j.Dir = t.TempDir()
			require.NoError(t, os.CopyFS(j.Dir, os.DirFS(trained.Dir)))
			change(t, &j)
			before, _ := os.ReadFile(filepath.Join(j.Dir, LogName))
			for range 2 {
				_, err := Run(t.Context(), j)
				require.ErrorIs(t, err, ErrLost)
				require.ErrorContains(t, err, filepath.Join(j.Dir, CheckpointDir))
				after, _ := os.ReadFile(filepath.Join(j.Dir, LogName))
				require.Equal(t, before, after)
			}
		})
	}

	// Killed before its first checkpoint, a run begins anew.
	j := trained
	j.Dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(j.Dir, LogName), append(line, '\n'), 0o600))
	_, err = Run(t.Context(), j)
	require.NoError(t, err)
	require.Equal(t, outcomeOf(t, trained.Dir), outcomeOf(t, j.Dir))
	// So does one that was killed while it saved the first, whose step is logged before.
	j.Dir = t.TempDir()
	first := fmt.Sprintf("{\"step\":%d}\n", j.Config.SaveEvery)
	require.NoError(t, os.WriteFile(filepath.Join(j.Dir, LogName), []byte(first), 0o600))
	_, err = Run(t.Context(), j)
	require.NoError(t, err)
	require.Equal(t, outcomeOf(t, trained.Dir), outcomeOf(t, j.Dir))
}

// TestNewerCheckpointIsNotTrainedAgain holds that what a newer version saved is neither passed over nor replaced.
func TestNewerCheckpointIsNotTrainedAgain(t *testing.T) {
	cache := makeCache(t, t.TempDir())
	j := testJob(t.TempDir(), cache)
	_, err := Run(t.Context(), j)
	require.NoError(t, err)
	path := filepath.Join(j.Dir, CheckpointDir, "000024", "manifest.json")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	newer := bytes.Replace(b, []byte(`"format": 1`), []byte(`"format": 2`), 1)
	require.NotEqual(t, b, newer)
	require.NoError(t, os.WriteFile(path, newer, 0o600))
	j.Config.Steps = 30
	_, err = Run(t.Context(), j)
	require.ErrorIs(t, err, checkpoint.ErrNewer)
	require.ErrorContains(t, err, "000024 was saved by a newer Unnoise")
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, newer, got)
}

// TestDamagedLogDoesNotBlock holds that a run goes on, and tells it, when a line of its log is damaged.
func TestDamagedLogDoesNotBlock(t *testing.T) {
	cache := makeCache(t, t.TempDir())
	want := unbroken(t, cache)
	j := testJob(t.TempDir(), cache)
	j.Config.Steps = 15
	_, err := Run(t.Context(), j)
	require.NoError(t, err)
	path := filepath.Join(j.Dir, LogName)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	b[10] ^= 0x80
	require.NoError(t, os.WriteFile(path, b, 0o600))
	j.Config.Steps = 24
	var warned []string
	j.Events = func(e Event) {
		if w, ok := e.(Warned); ok {
			warned = append(warned, w.Message.String())
		}
	}
	_, err = Run(t.Context(), j)
	require.NoError(t, err)
	require.Equal(t, []string{"damaged lines of the log " + path + " are passed over: 1"}, warned)
	got := outcomeOf(t, j.Dir)
	require.Equal(t, want.state, got.state)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(after, b[:100]), "the rest stays")
}

// TestNothingLeadsOutOfTheRun holds that links in a run that came from elsewhere are not followed out of it.
func TestNothingLeadsOutOfTheRun(t *testing.T) {
	cache := makeCache(t, t.TempDir())
	trained := testJob(t.TempDir(), cache)
	trained.Config.Steps = 5
	_, err := Run(t.Context(), trained)
	require.NoError(t, err)
	for _, name := range []string{LogName, SampleDir, CheckpointDir} {
		t.Run(name, func(t *testing.T) {
			outside, j := t.TempDir(), trained
			j.Config.Steps, j.Dir = 10, t.TempDir()
			require.NoError(t, os.CopyFS(j.Dir, os.DirFS(trained.Dir)))
			require.NoError(t, os.Rename(filepath.Join(j.Dir, name), filepath.Join(outside, name)))
			require.NoError(t, os.Symlink(filepath.Join(outside, name), filepath.Join(j.Dir, name)))
			if name != LogName {
				require.NoError(t, os.Mkdir(filepath.Join(outside, name, ".tmp-unnoise-draft-0123abcd"), 0o700))
			}
			before := tree(t, outside)
			_, err := Run(t.Context(), j)
			require.Error(t, err)
			require.Equal(t, before, tree(t, outside))
		})
	}
}

// tree is the content of all files below a folder.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			out[path] = "folder"
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = string(b)
		return err
	}))
	return out
}
