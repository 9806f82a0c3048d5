// Package train is the training loop: it draws pictures, noise and noise levels, runs the optimiser's steps, logs,
// samples, saves and recovers. What it draws at a step is a pure function of (seed, step), and everything else it needs
// is in the checkpoint, so a run that was stopped anywhere and resumed ends, on the CPU, with the same bits as one that
// was not.
package train

import (
	"math"
	"slices"
	"strings"

	"unnoise/pipeline/data"
	"unnoise/pipeline/model"
	"unnoise/pipeline/sampler"
)

// Config holds the hyper-parameters of a run. Its JSON form is stored with the run.
type Config struct {
	Steps       int64   `json:"steps"`
	Batch       int     `json:"batch"` // pictures per optimiser step
	Seed        uint64  `json:"seed"`
	LR          float64 `json:"lr"`
	Warmup      int64   `json:"warmup"` // steps over which the learning rate rises linearly from 0
	ClipNorm    float64 `json:"clip_norm"`
	Beta1       float64 `json:"beta1"`
	Beta2       float64 `json:"beta2"`
	Eps         float64 `json:"eps"`
	WeightDecay float64 `json:"weight_decay"`
	// EMAWidth is σ_rel, the relative width of the averaging window over the run so far; see PowerEMA.
	EMAWidth float64 `json:"ema_width"`
	// HeldOut is the fraction of the pictures that is never trained on, where the dataset's folders do not say which.
	HeldOut float64 `json:"held_out"`
	// Split says what a picture's side follows from: SplitByContent, or "", the name and the seed, in runs of older versions.
	Split string `json:"split,omitempty"`

	LogEvery    int64 `json:"log_every"`    // at most; the first lines are closer together
	SampleEvery int64 `json:"sample_every"` // also measures the held-out loss
	SaveEvery   int64 `json:"save_every"`
	KeepLast    int   `json:"keep_last"`  // newest checkpoints kept
	KeepEvery   int64 `json:"keep_every"` // every checkpoint whose step this divides is kept; 0 keeps none

	Sampler     string `json:"sampler"`      // of the fixed-seed grids
	SampleSteps int    `json:"sample_steps"` // network calls per picture of the grids
	SampleCount int    `json:"sample_count"` // pictures in a grid
	EvalImages  int    `json:"eval_images"`  // pictures on which the loss per noise level is measured, of each part
}

// SplitByContent holds pictures out by what is in their files.
const SplitByContent = "content"

// Holdout says which pictures are held out.
func (c Config) Holdout() data.Holdout {
	return data.Holdout{Fraction: c.HeldOut, ByName: c.Split != SplitByContent, Seed: c.Seed}
}

// maxSteps bounds the steps of a run.
const maxSteps = 1_000_000_000

// EMAName is the name of the averaged weights in checkpoints; RawName that of the weights as trained.
const (
	EMAName = "ema"
	RawName = "raw"
)

// Defaults returns the configuration recommended for a preset.
func Defaults(p model.Preset) Config {
	return Config{
		Steps: p.Steps, Batch: p.Batch, LR: p.LR,
		Warmup: 100, ClipNorm: 1, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0,
		EMAWidth: 0.1, HeldOut: 0.05, Split: SplitByContent,
		LogEvery: 25, SampleEvery: 250, SaveEvery: 250, KeepLast: 3, KeepEvery: 2500,
		Sampler: "dpmpp2m", SampleSteps: 20, SampleCount: 16, EvalImages: 32,
	}
}

// Validate reports the first value that cannot be used; errors wrap model.ErrOption.
func (c Config) Validate() error {
	bad := model.Unusable
	finite := func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
	switch {
	case c.Steps < 1 || c.Steps > maxSteps:
		return bad("steps", "%d steps: choose between 1 and 1,000,000,000", c.Steps)
	case c.Batch < 1 || c.Batch > 4096:
		return bad("batch", "a batch of %d pictures: choose between 1 and 4096", c.Batch)
	case !finite(c.LR) || c.LR <= 0:
		return bad("lr", "a learning rate of %g: choose a number above 0, such as 0.0004", c.LR)
	case c.Warmup < 0:
		return bad("warmup", "a warm-up of %d steps: choose 0 or more", c.Warmup)
	case !finite(c.ClipNorm) || c.ClipNorm <= 0:
		return bad("clip_norm", "clipping gradients at %g: choose a number above 0", c.ClipNorm)
	case !(c.Beta1 >= 0 && c.Beta1 < 1) || !(c.Beta2 >= 0 && c.Beta2 < 1):
		return bad("beta1", "Adam's betas %g and %g: choose numbers from 0 to below 1", c.Beta1, c.Beta2)
	case !finite(c.Eps) || c.Eps <= 0:
		return bad("eps", "Adam's epsilon %g: choose a number above 0", c.Eps)
	case !finite(c.WeightDecay) || c.WeightDecay < 0:
		return bad("weight_decay", "a weight decay of %g: choose 0 or more", c.WeightDecay)
	case !(c.EMAWidth > 0 && c.EMAWidth <= maxEMAWidth):
		return bad("ema_width", "an EMA width of %g: choose a number above 0 and up to %g", c.EMAWidth, maxEMAWidth)
	case !(c.HeldOut >= 0 && c.HeldOut < 1):
		return bad("held_out", "holding out %g of the pictures: choose a number from 0 to below 1", c.HeldOut)
	case c.Split != "" && c.Split != SplitByContent:
		return bad("split", "the rule %q for holding pictures out is unknown: use a newer Unnoise", c.Split)
	case c.SampleEvery < 1:
		return bad("sample_every", "samples every %d steps: choose 1 or more", c.SampleEvery)
	case c.LogEvery < 1:
		return bad("log_every", "a line in the log every %d steps: choose 1 or more", c.LogEvery)
	case c.SaveEvery < 1:
		return bad("save_every", "a checkpoint every %d steps: choose 1 or more", c.SaveEvery)
	case c.KeepLast < 1 || c.KeepEvery < 0:
		return bad("keep_last", "keeping the last %d and every %d-th checkpoint: keep at least the last one", c.KeepLast, c.KeepEvery)
	case c.SampleSteps < 1 || c.SampleSteps > 1000 || c.SampleCount < 1 || c.SampleCount > 256:
		return bad("sample_steps", "grids of %d pictures in %d steps: choose up to 256 pictures and up to 1000 steps", c.SampleCount, c.SampleSteps)
	case c.EvalImages < 1:
		return bad("eval_images", "measuring the loss on %d pictures: choose 1 or more", c.EvalImages)
	}
	if !slices.Contains(sampler.Names(), c.Sampler) {
		return bad("sampler", "there is no sampler %q: use one of %s", c.Sampler, strings.Join(sampler.Names(), ", "))
	}
	return nil
}

// logEvery is how many steps a line of the log stands for at a step: one at first, then some 4 % of those done, and
// LogEvery in the end.
func (c Config) logEvery(step int64) int64 { return min(c.LogEvery, max(1, step/25)) }

// lr is the learning rate of the given step (0-based), before any scale that divergence asked for.
func (c Config) lr(step int64) float64 {
	if step+1 < c.Warmup {
		return c.LR * float64(step+1) / float64(c.Warmup)
	}
	return c.LR
}
