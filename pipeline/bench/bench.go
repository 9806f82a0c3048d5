// Package bench measures the program itself: the time of a training step and of a sampling call, the memory they take,
// and what share of the machine's own matrix-product speed they reach.
package bench

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"unnoise/pipeline/data"
	"unnoise/pipeline/memory"
	"unnoise/pipeline/model"
	"unnoise/pipeline/rng"
	"unnoise/pipeline/sampler"
	"unnoise/runtime/graph"
	"unnoise/runtime/ort"
	"unnoise/runtime/program"
	"unnoise/runtime/sentence"
)

// Options says what is measured.
type Options struct {
	Preset   string
	Size     int // side of the pictures, 3 channels
	Batch    int // of training
	Calls    int // timed repetitions of each measurement, after one that is not
	Compute  model.Compute
	Progress func(done, total int, what string)
}

// Times are the durations of one operation, in seconds.
type Times struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Result is what was measured.
type Result struct {
	Preset  string `json:"preset"`
	Params  int    `json:"params"`
	Size    int    `json:"size"`
	Batch   int    `json:"batch"`
	Threads int    `json:"threads"`

	Load        float64 `json:"load_seconds"`        // until the training program is ready
	Step        Times   `json:"step_seconds"`        // forward, backward, clip, AdamW, EMA
	StepGFLOPS  float64 `json:"step_gflops"`         // reached in a step
	StepMemory  int64   `json:"step_memory_bytes"`   // that training adds to the process
	NetLoad     float64 `json:"sample_load_seconds"` // until the sampling program is ready
	Calls       []Call  `json:"calls"`               // of the sampling network
	Image       Times   `json:"image_seconds"`       // one finished picture of a batch of 8: 20 steps of dpmpp2m
	SGEMMGFLOPS float64 `json:"sgemm_gflops"`        // of a 1024×1024×1024 product, the best of the same library
	StepShare   float64 `json:"step_share"`          // StepGFLOPS / SGEMMGFLOPS
	CallShare   float64 `json:"call_share"`          // likewise of the fastest call
}

// Call is the time of one call of the sampling network.
type Call struct {
	Batch   int   `json:"batch"`
	Seconds Times `json:"seconds"`
}

const (
	sampleBatch = 8
	sampleSteps = 20
)

// Run measures.
func Run(ctx context.Context, o Options) (Result, error) {
	spec, err := model.New(o.Preset, model.Options{Preprocess: data.Preprocess{Width: o.Size, Height: o.Size, Channels: 3, Fit: data.Crop}})
	if err != nil {
		return Result{}, err
	}
	macs, err := MACs(spec.UNet)
	if err != nil {
		return Result{}, err
	}
	r := Result{Preset: spec.Preset, Params: spec.UNet.NumParams(), Size: o.Size, Batch: o.Batch, Threads: o.Compute.Threads}
	if r.Threads == 0 {
		r.Threads = runtime.NumCPU()
	}
	batches := []int{1, sampleBatch, o.Batch}
	slices.Sort(batches)
	batches = slices.Compact(batches)
	total := 3 + len(batches)
	done := 0
	stage := func(what string) {
		if o.Progress != nil {
			o.Progress(done, total, what)
		}
		done++
	}
	stage("matrix products")
	if r.SGEMMGFLOPS, err = SGEMM(ctx, o.Compute); err != nil {
		return r, err
	}
	stage("training steps")
	if err := o.steps(ctx, spec, &r); err != nil {
		return r, sentence.Errorf("measuring a training step: %w", err)
	}
	r.StepGFLOPS = 2 * 3 * float64(macs) * float64(o.Batch) / r.Step.Median / 1e9
	r.StepShare = r.StepGFLOPS / r.SGEMMGFLOPS
	weights, err := spec.UNet.Init(1)
	if err != nil {
		return r, err
	}
	for _, n := range batches {
		stage(fmt.Sprintf("network calls of %d", n))
		c, load, err := o.calls(ctx, spec, weights, n)
		if err != nil {
			return r, sentence.Errorf("measuring a network call: %w", err)
		}
		r.Calls, r.NetLoad = append(r.Calls, c), load
		r.CallShare = max(r.CallShare, 2*float64(macs)*float64(n)/c.Seconds.Median/1e9/r.SGEMMGFLOPS)
	}
	stage("whole pictures")
	r.Image, err = o.images(ctx, spec, weights)
	if o.Progress != nil {
		o.Progress(total, total, "done")
	}
	return r, err
}

// repeat times calls of f, after one that is not counted.
func (o Options) repeat(f func() error) (Times, error) {
	if err := f(); err != nil {
		return Times{}, err
	}
	d := make([]float64, max(1, o.Calls))
	for i := range d {
		began := time.Now()
		if err := f(); err != nil {
			return Times{}, err
		}
		d[i] = time.Since(began).Seconds()
	}
	slices.Sort(d)
	return Times{Median: d[len(d)/2], Min: d[0], Max: d[len(d)-1]}, nil
}

func normal(n int, purpose string) []float32 {
	x := make([]float32, n)
	rng.Normal(x, rng.New(1, purpose, 0))
	return x
}

func (o Options) steps(ctx context.Context, spec model.Spec, r *Result) error {
	before := memory.Resident()
	began := time.Now()
	t, err := program.NewTrainer(ctx, program.TrainSpec{
		UNet: spec.UNet, Batch: o.Batch, EMAs: 1, ClipNorm: 1, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8,
	}, o.Compute)
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }()
	w, err := spec.UNet.Init(1)
	if err != nil {
		return err
	}
	if err := t.SetState(program.State{Params: w}); err != nil {
		return err
	}
	r.Load = time.Since(began).Seconds()
	n := o.Batch * spec.Dim()
	b := program.Batch{X: normal(n, "x"), Target: normal(n, "target"), Cond: make([]float32, o.Batch), Weight: make([]float32, o.Batch)}
	for i := range b.Weight {
		b.Cond[i], b.Weight[i] = float32(1000*i/o.Batch), 1
	}
	r.Step, err = o.repeat(func() error {
		_, err := t.Step(ctx, b, program.Hyper{LR: 1e-4, EMARates: []float64{1e-3}})
		return err
	})
	r.StepMemory = max(t.Memory(), memory.Resident()-before)
	return err
}

func (o Options) calls(ctx context.Context, spec model.Spec, weights []float32, n int) (Call, float64, error) {
	began := time.Now()
	net, err := model.Load(ctx, spec, weights, n, o.Compute)
	if err != nil {
		return Call{}, 0, err
	}
	load := time.Since(began).Seconds()
	defer func() { _ = net.Close() }()
	x, out, cond := normal(n*spec.Dim(), "x"), make([]float32, n*spec.Dim()), make([]float32, n)
	t, err := o.repeat(func() error { return net.Forward(ctx, x, cond, nil, out) })
	return Call{Batch: n, Seconds: t}, load, err
}

func (o Options) images(ctx context.Context, spec model.Spec, weights []float32) (Times, error) {
	net, err := model.Load(ctx, spec, weights, sampleBatch, o.Compute)
	if err != nil {
		return Times{}, err
	}
	defer func() { _ = net.Close() }()
	d, err := model.NewDenoiser(net, spec, nil)
	if err != nil {
		return Times{}, err
	}
	p, err := spec.Process()
	if err != nil {
		return Times{}, err
	}
	few := o
	few.Calls = min(o.Calls, 3)
	t, err := few.repeat(func() error {
		return sampler.Sample(ctx, d, p, normal(sampleBatch*spec.Dim(), "noise"), sampleBatch,
			sampler.Options{Name: "dpmpp2m", Steps: sampleSteps, Clip: true})
	})
	return Times{Median: t.Median / sampleBatch, Min: t.Min / sampleBatch, Max: t.Max / sampleBatch}, err
}

// SGEMM is the speed of a 1024×1024×1024 matrix product in the same library with the same threads, in GFLOPS: the best
// of several, since it stands for what the machine can do.
func SGEMM(ctx context.Context, c model.Compute) (float64, error) {
	const n = 1024
	b := graph.New()
	b.Output("z", b.MatMul(b.Input("x", graph.Float, n, n), b.Input("y", graph.Float, n, n), false, false, 1))
	m, err := b.Model()
	if err != nil {
		return 0, err
	}
	if err := ort.InitDefault(ctx); err != nil {
		return 0, err
	}
	s, err := ort.NewSession(m, []string{"x", "y"}, []string{"z"}, ort.Options{Threads: c.Threads, Device: c.Device})
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	var in []*ort.Tensor
	for _, name := range []string{"x", "y"} {
		t, err := ort.NewTensor(normal(n*n, name), n, n)
		if err != nil {
			return 0, err
		}
		defer t.Close()
		in = append(in, t)
	}
	z, err := ort.NewTensor(make([]float32, n*n), n, n)
	if err != nil {
		return 0, err
	}
	defer z.Close()
	best := math.Inf(1)
	for range 20 {
		began := time.Now()
		if err := s.Run(ctx, in, []*ort.Tensor{z}); err != nil {
			return 0, err
		}
		best = min(best, time.Since(began).Seconds())
	}
	return 2 * n * n * n / best / 1e9, nil
}
