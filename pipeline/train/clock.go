package train

import (
	"context"
	"slices"
	"time"

	"unnoise/pipeline/memory"
	"unnoise/pipeline/model"
	"unnoise/runtime/program"
)

// Estimate says what a run will take. Seconds are measured on this machine with this model and batch.
type Estimate struct {
	StepSeconds float64       `json:"step_seconds"` // one optimiser step
	ETA         time.Duration `json:"eta"`          // for the steps left, samples and checkpoints included
	Memory      int64         `json:"memory"`       // bytes that training adds to the process
	Disk        int64         `json:"disk"`         // bytes the run's checkpoints, samples and log will take at most
}

// clock keeps the durations the estimates rest on.
type clock struct {
	steps               []time.Duration // the newest, at most clockSteps
	measuring, sampling time.Duration   // of the newest losses by noise level, and grids
	saving              time.Duration   // of the newest checkpoint
}

const clockSteps = 32

func (c *clock) step(d time.Duration) {
	if len(c.steps) == clockSteps {
		c.steps = slices.Delete(c.steps, 0, 1)
	}
	c.steps = append(c.steps, d)
}

// stepSeconds is the median of the newest steps, so that the first one, which also allocates, hardly counts.
func (c *clock) stepSeconds() float64 {
	if len(c.steps) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(c.steps))
	return s[(len(s)-1)/2].Seconds()
}

// eta is the time the rest of the run takes. Until a grid was made, it is reckoned by what it costs in network calls:
// a training step takes about three times as long as a forward pass of its batch.
func (l *loop) eta() time.Duration {
	c := l.j.Config
	step := l.clock.stepSeconds()
	left := float64(c.Steps - l.step)
	sampling := (l.clock.measuring + l.clock.sampling).Seconds()
	if l.clock.sampling == 0 {
		forwards := 2*c.SampleCount*c.SampleSteps + 2*c.EvalImages*levelBins
		sampling = step / 3 / float64(c.Batch) * float64(forwards)
	}
	s := left*step + sampling*float64(intervalsLeft(l.step, c.Steps, c.SampleEvery)) +
		l.clock.saving.Seconds()*float64(intervalsLeft(l.step, c.Steps, c.SaveEvery))
	return time.Duration(s * float64(time.Second))
}

// intervalsLeft counts the multiples of every in (step, steps], and the end if it is none.
func intervalsLeft(step, steps, every int64) int64 {
	if step >= steps {
		return 0
	}
	n := steps/every - step/every
	if steps%every != 0 {
		n++
	}
	return n
}

func (l *loop) estimate() Estimate {
	return Estimate{
		StepSeconds: l.clock.stepSeconds(), ETA: l.eta(), Memory: max(l.trainer.Memory(), memory.Resident()-l.before),
		Disk: DiskUse(l.j.Spec, l.j.Config),
	}
}

// CheckpointBytes is the size of one checkpoint: the weights, their average and two moments, of 4 bytes a value.
func CheckpointBytes(s model.Spec) int64 {
	const overhead = 256 << 10 // names, shapes, manifest
	return 4*4*int64(s.UNet.NumParams()) + overhead
}

// DiskUse is what the checkpoints, samples and log of a whole run take at most, in bytes; the decoded pictures are
// counted by CacheBytes.
func DiskUse(s model.Spec, c Config) int64 {
	kept := int64(c.KeepLast) + 1 // the new one is complete before the oldest goes
	if c.KeepEvery > 0 {
		kept += c.Steps / c.KeepEvery
	}
	grids := 2 * intervalsLeft(0, c.Steps, c.SampleEvery)
	grid := int64(c.SampleCount)*int64(s.Dim()) + 4096
	const line = 2048
	return min(kept, c.Steps/c.SaveEvery+1)*CheckpointBytes(s) + grids*grid + (c.Steps/c.LogEvery+1)*line
}

// Measure makes the training program of a job, runs two steps on scratch state and returns the estimate for the whole
// run. It writes nothing.
func Measure(ctx context.Context, j Job) (Estimate, error) {
	l, err := prepare(ctx, j)
	if err != nil {
		return Estimate{}, err
	}
	defer l.close()
	if err := l.setInitial(); err != nil {
		return Estimate{}, err
	}
	for range 2 {
		b := l.feed.next(l.step)
		began := time.Now()
		if _, err := l.trainer.Step(ctx, b.in, program.Hyper{LR: l.j.Config.lr(l.step), EMARates: []float64{l.ema.Rate(l.step + 1)}}); err != nil {
			return Estimate{}, err
		}
		l.step++
		l.clock.steps = []time.Duration{time.Since(began)} // the second alone counts: the first also allocates
	}
	l.step = 0
	return l.estimate(), nil
}
