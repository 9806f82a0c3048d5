// Peer is Unnoise's side of bench/bench.py: a process that does a piece of work again and again when it is told to, so
// that its runs can take turns with those of PyTorch.
//
//	peer make --preset NAME --run DIR    make a run with new weights, to be exported
//	peer work [--threads N] [--profile PREFIX]
//
// The second prints {"ready": true}. Each line of its input asks for work (see the type job), which it does as often as
// asked for, and prints {"seconds": [...]}; what a job needs is loaded when the job is first asked for. At the end of the
// input it prints {"peak": bytes}, the most memory it ever held.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"time"

	"unnoise/app/galleries"
	"unnoise/app/runs"
	"unnoise/pipeline/bench"
	"unnoise/pipeline/checkpoint"
	"unnoise/pipeline/data"
	"unnoise/pipeline/model"
	"unnoise/pipeline/picture"
	"unnoise/pipeline/train"
	"unnoise/runtime/durable"
	"unnoise/runtime/program"
)

// answer is a line of output.
type answer struct {
	Ready    bool      `json:"ready,omitempty"`
	Seconds  []float64 `json:"seconds,omitempty"`
	Loss     []float64 `json:"loss,omitempty"`      // train: of each step
	GradNorm []float64 `json:"grad_norm,omitempty"` // train: of each step, before clipping
	Out      []float32 `json:"out,omitempty"`       // call: the network's answer to the first sample
	GFLOPS   float64   `json:"gflops,omitempty"`    // sgemm
	MACs     int64     `json:"macs,omitempty"`      // flops: of one sample's forward pass
	Peak     int64     `json:"peak,omitempty"`
}

// worker does a task once; what it wants to tell goes into the answer.
type worker func(ctx context.Context, a *answer) error

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

// job is a line of input.
type job struct {
	Task  string `json:"task"`  // train, call, images, sgemm or flops
	Run   string `json:"run"`   // whose network it is
	Batch int    `json:"batch"` // train, call: samples
	N     int    `json:"n"`     // images: pictures
	Steps int    `json:"steps"` // images: of DDIM
	Times int    `json:"times"`
}

func run(ctx context.Context) error {
	if len(os.Args) < 2 {
		return errors.New("say make or work")
	}
	fl := flag.NewFlagSet("peer", flag.ExitOnError)
	dir := fl.String("run", "", "make: folder of the run")
	preset := fl.String("preset", model.DefaultPreset, "make: preset")
	profile := fl.String("profile", "", "work: prefix of the file for ONNX Runtime's profile")
	threads := fl.Int("threads", 0, "work: threads, 0 for one per core")
	if err := fl.Parse(os.Args[2:]); err != nil {
		return err
	}
	switch os.Args[1] {
	case "make":
		return newRun(*preset, *dir)
	case "work":
		return work(ctx, model.Compute{Threads: *threads, Profile: *profile})
	}
	return fmt.Errorf("%q is neither make nor work", os.Args[1])
}

func work(ctx context.Context, c model.Compute) (err error) {
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(answer{Ready: true}); err != nil {
		return err
	}
	workers := map[job]worker{}
	var closers []func() error
	defer func() {
		for _, f := range closers {
			err = errors.Join(err, f())
		}
	}()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var j job
		if err := json.Unmarshal(in.Bytes(), &j); err != nil {
			return err
		}
		key := j
		key.Times = 0
		if workers[key] == nil {
			w, done, err := prepare(ctx, j, c)
			if err != nil {
				return fmt.Errorf("%s: %w", j.Task, err)
			}
			workers[key], closers = w, append(closers, done)
		}
		var a answer
		for range j.Times {
			began := time.Now()
			if err := workers[key](ctx, &a); err != nil {
				return fmt.Errorf("%s: %w", j.Task, err)
			}
			a.Seconds = append(a.Seconds, time.Since(began).Seconds())
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
	peak, err := peak()
	return errors.Join(in.Err(), err, out.Encode(answer{Peak: peak}))
}

// newRun makes a run with a checkpoint of the untrained network for pictures of 32×32×3.
func newRun(preset, dir string) error {
	p, err := model.FindPreset(preset)
	if err != nil {
		return err
	}
	info, err := runs.NewInfo(p.Name, model.Options{Preprocess: data.Preprocess{Width: 32, Height: 32, Channels: 3, Fit: data.Crop}}, train.Defaults(p), runs.Source{})
	if err != nil {
		return err
	}
	r, err := runs.Create(dir, info)
	if err != nil {
		return err
	}
	w, err := info.Model.UNet.Init(1)
	if err != nil {
		return err
	}
	z := make([]float32, len(w))
	if err := durable.MkdirAll(r.Checkpoints()); err != nil {
		return err
	}
	d, err := durable.Below(r.Checkpoints())
	if err != nil {
		return err
	}
	defer func() { _ = d.Root.Close() }()
	return checkpoint.Save(d, 0, checkpoint.Checkpoint{
		UNet: info.Model.UNet, State: program.State{Params: w, M: z, V: z, EMA: [][]float32{w}}, EMANames: []string{train.EMAName},
	})
}

func prepare(ctx context.Context, j job, c model.Compute) (worker, func() error, error) {
	if j.Task == "sgemm" {
		return func(ctx context.Context, a *answer) (err error) {
			a.GFLOPS, err = bench.SGEMM(ctx, c)
			return err
		}, nothing, nil
	}
	r, err := runs.Open(j.Run)
	if err != nil {
		return nil, nil, err
	}
	m, err := galleries.FromRun(r, -1, "")
	if err != nil {
		return nil, nil, err
	}
	switch j.Task {
	case "train":
		return steps(ctx, j, m, c)
	case "call":
		return call(ctx, j, m, c)
	case "images":
		return images(ctx, j, m, c)
	case "flops":
		return func(_ context.Context, a *answer) (err error) {
			a.MACs, err = bench.MACs(m.Spec.UNet)
			return err
		}, nothing, nil
	}
	return nil, nil, errors.New("there is no such task")
}

func nothing() error { return nil }

// wave is the made-up data that both sides compute on: value i of the sequence called phase.
func wave(n int, phase float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(math.Sin(0.1*float64(i) + phase))
	}
	return x
}

// conds are noise conditions from 0 to below 1000.
func conds(n int) []float32 {
	c := make([]float32, n)
	for i := range c {
		c[i] = float32(1000 * i / n)
	}
	return c
}

func steps(ctx context.Context, j job, m galleries.Model, c model.Compute) (worker, func() error, error) {
	t, err := program.NewTrainer(ctx, program.TrainSpec{
		UNet: m.Spec.UNet, Batch: j.Batch, EMAs: 1, ClipNorm: 1, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8,
	}, c)
	if err != nil {
		return nil, nil, err
	}
	if err := t.SetState(program.State{Params: m.Weights}); err != nil {
		return nil, nil, err
	}
	n := j.Batch * m.Spec.Dim()
	b := program.Batch{X: wave(n, 0), Target: wave(n, 1), Cond: conds(j.Batch), Weight: make([]float32, j.Batch)}
	for i := range b.Weight {
		b.Weight[i] = 1
	}
	return func(ctx context.Context, a *answer) error {
		r, err := t.Step(ctx, b, program.Hyper{LR: 1e-4, EMARates: []float64{1e-3}})
		a.Loss, a.GradNorm = append(a.Loss, r.Total), append(a.GradNorm, r.GradNorm)
		return err
	}, t.Close, nil
}

func call(ctx context.Context, j job, m galleries.Model, c model.Compute) (worker, func() error, error) {
	net, err := model.Load(ctx, m.Spec, m.Weights, j.Batch, c)
	if err != nil {
		return nil, nil, err
	}
	dim := m.Spec.Dim()
	x, out, cond := wave(j.Batch*dim, 0), make([]float32, j.Batch*dim), conds(j.Batch)
	return func(ctx context.Context, a *answer) error {
		a.Out = out[:dim]
		return net.Forward(ctx, x, cond, nil, out)
	}, net.Close, nil
}

func images(ctx context.Context, j job, m galleries.Model, c model.Compute) (worker, func() error, error) {
	s, err := galleries.NewSampler(ctx, m, j.N, c)
	if err != nil {
		return nil, nil, err
	}
	ch, h, w := m.Spec.Shape()
	indices := make([]int, j.N)
	for i := range indices {
		indices[i] = i
	}
	return func(ctx context.Context, _ *answer) error {
		return s.Images(ctx, galleries.Settings{Sampler: "ddim", Steps: j.Steps}, indices, nil, func(_ int, x []float32) error {
			_, err := picture.FromCHW(x, ch, h, w)
			return err
		})
	}, s.Close, nil
}

var highWater = regexp.MustCompile(`VmHWM:\s*(\d+) kB`)

// peak is the most memory this process ever held, in bytes (proc(5)).
func peak() (int64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	f := highWater.FindSubmatch(b)
	if f == nil {
		return 0, errors.New("/proc/self/status tells no VmHWM")
	}
	kb, err := strconv.ParseInt(string(f[1]), 10, 64)
	return 1024 * kb, err
}
