package train

import (
	"context"
	"math"
	"slices"
	"sort"
	"time"

	"unnoise/pipeline/memory"
	"unnoise/pipeline/model"
	"unnoise/pipeline/rng"
	"unnoise/runtime/program"
)

// Estimate says what a run will take. Seconds are measured on this machine with this model and batch.
type Estimate struct {
	StepSeconds   float64       `json:"step_seconds"`   // one optimiser step
	SampleSeconds float64       `json:"sample_seconds"` // the losses by noise level and the grids that are due at an interval
	SaveSeconds   float64       `json:"save_seconds"`   // one checkpoint; 0 until one was made
	ETA           time.Duration `json:"eta"`            // for the steps left, samples and checkpoints included
	Memory        int64         `json:"memory"`         // bytes that training adds to the process
	Disk          int64         `json:"disk"`           // bytes the run's checkpoints, samples and log will take at most
}

// Time is what the steps after from take, samples and checkpoints included, in a run with the number of steps and the
// intervals of c.
func (e Estimate) Time(c Config, from int64) time.Duration {
	s := float64(max(0, c.Steps-from))*e.StepSeconds + e.SampleSeconds*float64(intervalsLeft(from, c.Steps, c.SampleEvery)) +
		e.SaveSeconds*float64(intervalsLeft(from, c.Steps, c.SaveEvery))
	return time.Duration(min(s*float64(time.Second), math.MaxInt64/2))
}

// Steps is the last step that a run with the intervals of c can do within a time from where it stands; it is at least
// the next one.
func (e Estimate) Steps(c Config, from int64, within time.Duration) int64 {
	if !(e.StepSeconds > 0) { // nothing is known
		return from + 1
	}
	more := sort.Search(maxSteps-int(from)-1, func(n int) bool {
		c.Steps = from + int64(n) + 2
		return e.Time(c, from) > within
	})
	return from + int64(more) + 1
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
	return l.pace().Time(l.j.Config, l.step)
}

func (l *loop) pace() Estimate {
	c := l.j.Config
	e := Estimate{StepSeconds: l.clock.stepSeconds(), SampleSeconds: (l.clock.measuring + l.clock.sampling).Seconds(), SaveSeconds: l.clock.saving.Seconds()}
	if l.clock.sampling == 0 {
		forwards := 2*c.SampleCount*c.SampleSteps + 2*c.EvalImages*levelBins
		e.SampleSeconds = e.StepSeconds / 3 / float64(c.Batch) * float64(forwards)
	}
	return e
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
	e := l.pace()
	e.ETA, e.Memory, e.Disk = l.eta(), max(l.trainer.Memory(), memory.Resident()-l.before), DiskUse(l.j.Spec, l.j.Config)
	return e
}

// CheckpointBytes is the size of one checkpoint: the weights, their average and two moments, of 4 bytes a value.
func CheckpointBytes(s model.Spec) int64 {
	const overhead = 256 << 10 // names, shapes, manifest
	return 4*4*int64(s.UNet.NumParams()) + overhead
}

// DiskUse is what the checkpoints, samples and log of a whole run take at most, in bytes; the decoded pictures are
// counted by CacheBytes.
func DiskUse(s model.Spec, c Config) int64 {
	kept := int64(c.KeepLast) + 2 // the new one is complete before the oldest goes, and the best one stays
	if c.KeepEvery > 0 {
		kept += c.Steps / c.KeepEvery
	}
	grids := 2 * intervalsLeft(0, c.Steps, c.SampleEvery)
	grid := int64(c.SampleCount)*int64(s.Dim()) + 4096
	const line = 2048
	return min(kept, c.Steps/c.SaveEvery+1)*CheckpointBytes(s) + grids*grid + (c.Steps/c.LogEvery+min(c.Steps, 25*(c.LogEvery+1))+1)*line
}

// Measuring takes at least two steps, and more while they are so quick that this time is not over.
const (
	measureFor   = time.Second
	measureSteps = 2
)

// Measure makes the training program of a run, lets it do a few steps on scratch state and pictures of noise, which cost
// what real ones do, and returns the estimate for the whole run. It reads and writes nothing.
func Measure(ctx context.Context, spec model.Spec, c Config, compute model.Compute) (Estimate, error) {
	if err := spec.Validate(); err != nil {
		return Estimate{}, err
	}
	if err := c.Validate(); err != nil {
		return Estimate{}, err
	}
	l, err := load(ctx, Job{Spec: spec, Config: c, Compute: compute}, func(step int64, x []float32, class []int64) error {
		rng.Normal(x, rng.New(c.Seed, "measure", uint64(step)))
		clear(class)
		return nil
	})
	if err != nil {
		return Estimate{}, err
	}
	defer l.close()
	if err := l.setInitial(); err != nil {
		return Estimate{}, err
	}
	start := time.Now()
	for n := 0; n <= measureSteps || time.Since(start) < measureFor && n < clockSteps; n++ {
		b, err := l.feed.next(int64(n))
		if err != nil {
			return Estimate{}, err
		}
		began := time.Now()
		if _, err := l.trainer.Step(ctx, b.in, program.Hyper{LR: c.lr(0), EMARates: []float64{l.ema.Rate(1)}}); err != nil {
			return Estimate{}, err
		}
		if n > 0 { // the first also allocates
			l.clock.step(time.Since(began))
		}
	}
	return l.estimate(), nil
}
