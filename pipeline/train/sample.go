package train

import (
	"context"
	"fmt"
	"image"
	"path/filepath"
	"time"

	"unnoise/pipeline/eval"
	"unnoise/pipeline/model"
	"unnoise/pipeline/picture"
	"unnoise/pipeline/rng"
	"unnoise/pipeline/sampler"
	"unnoise/runtime/program"
	"unnoise/runtime/sentence"
)

// netBatch is how many pictures the network is given at once while sampling during training: enough to be efficient,
// few enough to add little memory.
const netBatch = 8

// weights feeds the sampling network with the averaged or the raw weights. One session serves the whole run.
func (l *loop) weights(ctx context.Context, name string) (*program.Net, error) {
	if l.net == nil {
		net, err := program.NewNet(ctx, l.j.Spec.UNet, nil, min(netBatch, l.j.Config.SampleCount), l.j.Compute)
		if err != nil {
			return nil, sentence.Errorf("the sampling program could not be made: %w", err)
		}
		l.net = net
	}
	w := l.trainer.Params()
	if name == EMAName {
		w = l.trainer.EMA(0)
	}
	return l.net, l.net.SetWeights(w)
}

// measure adds the losses of the averaged weights on trained and held-out pictures to a record.
func (l *loop) measure(ctx context.Context, rec *Record) error {
	began := time.Now()
	for _, part := range []struct {
		idx []int
		to  **eval.Result
	}{{l.trainIx, &rec.Train}, {l.heldIx, &rec.Held}} {
		if len(part.idx) == 0 {
			continue
		}
		r, err := l.loss(ctx, part.idx)
		if err != nil {
			return err
		}
		*part.to = &r
	}
	l.clock.measuring = time.Since(began)
	return nil
}

// loss measures the averaged weights on some of the pictures; that on the held-out ones, which come last, is noted.
func (l *loop) loss(ctx context.Context, idx []int) (eval.Result, error) {
	net, err := l.weights(ctx, EMAName)
	if err != nil {
		return eval.Result{}, err
	}
	r, err := eval.Loss(ctx, net, l.j.Spec, l.j.Cache, eval.Subset(idx, l.j.Config.EvalImages, l.j.Config.Seed), eval.Options{
		Seed: l.j.Config.Seed, Levels: levelBins,
		Progress: func(done, total int) { l.emit(Working{What: "loss by noise level", Done: done, Total: total}) },
	})
	if err == nil && len(l.heldIx) > 0 && &idx[0] == &l.heldIx[0] {
		l.held, l.heldAt = r.Loss, l.step
	}
	return r, err
}

// heldTime bounds the measuring before a checkpoint that is made because a person stops or pauses the training. It usually
// takes as long as three steps.
const heldTime = 2 * time.Second

// measureHeld measures the held-out loss for such a checkpoint, so that it can be compared with the others. Whoever stops
// a training waits for it: what takes longer is given up, and the checkpoint has none.
func (l *loop) measureHeld(ctx context.Context) {
	if len(l.heldIx) == 0 || l.heldAt == l.step || l.saved == l.step || l.step == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), heldTime)
	defer cancel()
	_, _ = l.loss(ctx, l.heldIx) // l.heldAt tells whether it was measured
}

// grids writes the fixed-seed grids of the averaged and the raw weights at the current step.
func (l *loop) grids(ctx context.Context) error {
	began := time.Now()
	for _, name := range []string{EMAName, RawName} {
		path, err := l.grid(ctx, name)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			// Pictures on the way are not worth a run.
			l.emit(Warned{Message: sentence.T("the samples of step {{.Step}} could not be made: {{.Problem}}", "Step", l.step, "Problem", err), Cause: err})
			return nil
		}
		l.emit(Sampled{Step: l.step, Weights: name, Path: path})
	}
	l.clock.sampling = time.Since(began)
	return nil
}

// GridSpacing is the width in pixels of the lines between and around the pictures of a grid, which has as many columns
// as make it about square.
const GridSpacing = 2

// GridName is the file name of a fixed-seed grid in SampleDir.
func GridName(step int64, weights string) string { return fmt.Sprintf("%06d-%s.png", step, weights) }

// grid samples the pictures whose noise depends on the run's seed and their number only, and writes them as one PNG.
func (l *loop) grid(ctx context.Context, weights string) (string, error) {
	c, dim := l.j.Config, l.j.Spec.Dim()
	net, err := l.weights(ctx, weights)
	if err != nil {
		return "", err
	}
	var class []int64
	if l.j.Spec.Conditional() {
		class = make([]int64, c.SampleCount)
		for i := range class {
			class[i] = l.j.Spec.Label(i % max(1, len(l.j.Spec.Classes)))
		}
	}
	d, err := model.NewDenoiser(net, l.j.Spec, class)
	if err != nil {
		return "", err
	}
	x := make([]float32, c.SampleCount*dim)
	streams := make([]func([]float32), c.SampleCount)
	for i := range c.SampleCount {
		r := rng.New(c.Seed, "grid", uint64(i))
		streams[i] = func(dst []float32) { rng.Normal(dst, r) }
		streams[i](x[i*dim : (i+1)*dim])
	}
	err = sampler.Sample(ctx, d, l.proc, x, c.SampleCount, sampler.Options{
		Name: c.Sampler, Steps: c.SampleSteps, Clip: true,
		Noise: func(_ int, dst []float32) {
			for i, fill := range streams {
				fill(dst[i*dim : (i+1)*dim])
			}
		},
		Callback: func(s sampler.Step) error {
			l.emit(Working{What: "samples", Done: s.Index + 1, Total: s.Total})
			return nil
		},
	})
	if err != nil {
		return "", err
	}
	ch, h, w := l.j.Spec.Shape()
	sheet, err := picture.Grid(ctx, picture.Frames{N: c.SampleCount, At: func(i int) (image.Image, error) {
		return picture.FromCHW(x[i*dim:(i+1)*dim], ch, h, w)
	}}, picture.GridOptions{Spacing: GridSpacing})
	if err != nil {
		return "", err
	}
	path := filepath.Join(SampleDir, GridName(l.step, weights))
	return l.dir.Path(path), picture.ReplacePNG(l.dir, path, sheet, &picture.Meta{
		Version: l.j.Version, Run: l.j.Name, Checkpoint: l.step, EMA: weights,
		Objective: string(l.j.Spec.Objective), Schedule: l.j.Spec.ScheduleName(),
		Sampler: c.Sampler, Steps: c.SampleSteps, Seed: c.Seed, Count: c.SampleCount, Width: w, Height: h,
	})
}
