// Package demo shows the whole way in a few minutes: it draws the built-in pictures, trains on them, and samples new ones.
package demo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"unnoise/app/galleries"
	"unnoise/app/runs"
	"unnoise/pipeline/data"
	"unnoise/pipeline/model"
	"unnoise/pipeline/train"
	"unnoise/resources/demo"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// The demo's choices: what gives recognisable pictures within Budget on two cores.
const (
	Preset = "tiny"
	Images = 600
	Seed   = 1
	Budget = 210 * time.Second // of training
	// grace is how much longer training may take where the machine has become slower than it was measured.
	grace    = 15 * time.Second
	maxSteps = 4000
	// Samples is how many pictures are drawn in the end.
	Samples = 64
)

// Request asks for the demo in a folder, which must not exist or be empty.
type Request struct {
	Dir     string
	Compute model.Compute
	Version string
	Stage   func(string) // told in a few words what begins
	Train   func(train.Event)
	Sample  func(galleries.Event)
	Scan    func(data.Progress)
}

// Result says where everything is.
type Result struct {
	Run     string
	Grid    string
	Steps   int64
	Stopped bool // by the person, before there was a grid
}

// Run draws, trains and samples, in less than five minutes on a slow machine too. When ctx is cancelled in training it
// saves and returns what there is.
func Run(ctx context.Context, r Request) (Result, error) {
	pics, dir := filepath.Join(r.Dir, "pictures"), filepath.Join(r.Dir, "run")
	if err := runs.Vacant(r.Dir); err != nil {
		return Result{}, err
	}
	r.Stage("Drawing the pictures")
	if err := demo.Write(ctx, pics, Images, Seed); err != nil {
		return Result{}, sentence.Errorf("the demo's pictures could not be drawn: %w", err)
	}
	rep, err := data.Scan(ctx, pics, r.Scan)
	if err != nil {
		return Result{}, err
	}
	info, err := Info(pics, rep)
	if err != nil {
		return Result{}, err
	}
	run, err := runs.Create(dir, info)
	if err != nil {
		return Result{}, err
	}
	o := runs.Options{
		Compute: r.Compute, Version: r.Version, Events: r.Train, Decoding: r.Scan, Report: rep,
	}
	r.Stage("Measuring this computer")
	est, err := train.Measure(ctx, info.Model, info.Train, r.Compute)
	if err != nil {
		return Result{}, err
	}
	steps := int64(Budget.Seconds() / max(est.StepSeconds, 1e-3))
	steps = max(1, min(steps, maxSteps))
	if err := run.Update(func(i *runs.Info) { i.Train.Steps = steps }); err != nil {
		return Result{}, err
	}
	r.Stage(fmt.Sprintf("Training for %d steps", steps))
	timed, cancel := context.WithTimeout(ctx, Budget+grace)
	defer cancel()
	out, err := run.Train(timed, o)
	if err != nil {
		return Result{}, err
	}
	res := Result{Run: run.Dir, Steps: out.Step, Stopped: ctx.Err() != nil}
	if res.Stopped {
		return res, nil
	}
	r.Stage(fmt.Sprintf("Sampling %d pictures", Samples))
	m, err := galleries.FromRun(run, -1, "")
	if err != nil {
		return res, err
	}
	res.Grid = filepath.Join(r.Dir, "grid.png")
	_, err = galleries.Sample(ctx, galleries.Request{
		Model: m, Settings: galleries.Settings{Seed: Seed}, N: Samples, Out: filepath.Join(r.Dir, "gallery"), Grid: res.Grid,
		Compute: r.Compute, Version: r.Version, Events: r.Sample,
	})
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		res.Stopped, res.Grid = true, ""
		return res, nil
	}
	return res, err
}

// Info describes the demo's run on its scanned pictures.
func Info(pics string, rep *data.Report) (runs.Info, error) {
	p, err := model.FindPreset(Preset)
	if err != nil {
		return runs.Info{}, err
	}
	c := train.Defaults(p)
	c.Steps, c.Seed, c.Warmup = maxSteps, Seed, 50
	c.SampleEvery, c.SaveEvery, c.LogEvery = 250, 250, 25
	classes := make([]string, len(rep.Classes))
	for i, k := range rep.Classes {
		classes[i] = k.Name
	}
	info, err := runs.NewInfo(Preset, model.Options{
		Preprocess: data.Preprocess{Width: demo.Size, Height: demo.Size, Channels: 3, Fit: data.Crop, Background: rep.Background},
		Classes:    classes,
	}, c, runs.Source{Path: durable.Path(pics)})
	info.Name = "Demo"
	return info, err
}
