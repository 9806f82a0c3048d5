package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"unnoise/app/exports"
	"unnoise/app/galleries"
	"unnoise/app/runs"
	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/eval"
	"unnoise/pipeline/model"
	"unnoise/pipeline/sampler"
	"unnoise/pipeline/train"
)

// checkpointFlag is a step, newest or best.
type checkpointFlag int64

func (c checkpointFlag) String() string {
	switch int64(c) {
	case runs.Newest:
		return "newest"
	case runs.Best:
		return "best"
	}
	return strconv.FormatInt(int64(c), 10)
}

func (c *checkpointFlag) Set(v string) error {
	switch v {
	case "newest":
		*c = checkpointFlag(runs.Newest)
	case "best":
		*c = checkpointFlag(runs.Best)
	default:
		step, err := strconv.ParseInt(v, 10, 64)
		if err != nil || step < 0 {
			return errors.New("give the step of a checkpoint, newest or best")
		}
		*c = checkpointFlag(step)
	}
	return nil
}

func (*checkpointFlag) Type() string { return "STEP|newest|best" }

func (a *app) sample() *cobra.Command {
	var (
		run, out, grid string
		checkpoint     = checkpointFlag(runs.Newest)
		raw            bool
		n              int
		set            galleries.Settings
		compute        model.Compute
	)
	c := &cobra.Command{
		Use:   "sample --run DIR --out DIR",
		Short: "Draw new pictures from a trained run",
		Long: `Sample draws new pictures from a run's model into a folder, as PNGs that carry their own
provenance. Picture 17 of a seed is the same whatever the others are. The same command
again draws only what is missing, so a stopped one can be finished.`,
		Example: `  unnoise sample --run runs/sprites --n 64 --out sprites --grid sheet.png
  unnoise sample --run runs/sprites --n 16 --class knight --seed 7 --out knights
  unnoise sample --run runs/sprites --sampler ddim --steps 100 --out careful`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if cmd.Flags().Changed("steps") && set.Steps < 1 {
				return usage("--steps %d: choose 1 or more", set.Steps)
			}
			r, err := runs.Open(run)
			if err != nil {
				return err
			}
			weights := train.EMAName
			if raw {
				weights = train.RawName
			}
			m, err := galleries.FromRun(r, int64(checkpoint), weights)
			if err != nil {
				return err
			}
			if set, err = set.Complete(m.Spec); err != nil {
				return err
			}
			if err := needRuntime(ctx); err != nil {
				return err
			}
			began := time.Now()
			res, err := galleries.Sample(ctx, galleries.Request{
				Model: m, Settings: set, N: n, Out: out, Grid: grid, Compute: compute, Version: version,
				Events: a.sampleEvents(), Free: freeSpace,
			})
			a.progress.clear()
			if errors.Is(err, context.Canceled) && ctx.Err() != nil {
				return fmt.Errorf("stopped: %d of %d pictures are in %s; the same command draws the rest", len(res.Files), n, out)
			}
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(struct {
					Files      []string `json:"files"`
					Kept       int      `json:"kept"`
					Grid       string   `json:"grid,omitempty"`
					Checkpoint int64    `json:"checkpoint"`
					Seconds    float64  `json:"seconds"`
				}{res.Files, res.Kept, res.Grid, m.Checkpoint, time.Since(began).Seconds()})
			}
			kept := ""
			if res.Kept > 0 {
				kept = fmt.Sprintf(" (%d were there already)", res.Kept)
			}
			a.printf("%d pictures%s of step %d in %s\n", len(res.Files), kept, m.Checkpoint, out)
			if res.Grid != "" {
				a.printf("All in one: %s\n", res.Grid)
			}
			return nil
		},
	}
	fl := c.Flags()
	fl.StringVar(&run, "run", "", "folder of the run")
	checkpointVar(c, &checkpoint)
	rawVar(c, &raw)
	fl.IntVar(&n, "n", 16, "how many pictures")
	fl.StringVar(&set.Sampler, "sampler", galleries.DefaultSampler, strings.Join(sampler.Names(), ", "))
	fl.IntVar(&set.Steps, "steps", 0, "sampling steps (default: the sampler's usual number)")
	fl.StringVar((*string)(&set.Spacing), "spacing", "", "how the steps lie on the noise levels: "+strings.Join(diffusion.SpacingNames(), ", ")+" (default: the sampler's)")
	fl.Float64Var(&set.Eta, "eta", 0, "share of DDPM's noise that ddim adds at each step, 0 to 1")
	fl.BoolVar(&set.NoClip, "no-clip", false, "do not limit each step's prediction to the range of pixels")
	fl.Uint64Var(&set.Seed, "seed", 0, "number that names the noise the pictures come from")
	fl.StringVar(&set.Class, "class", "", "class to draw (default: all in turn)")
	fl.StringVar(&out, "out", "", "folder for the pictures")
	fl.StringVar(&grid, "grid", "", "also write all pictures into this one PNG")
	computeFlags(c, &compute)
	a.jsonFlag(c)
	required(c, "run", "out")
	return c
}

func (a *app) sampleEvents() func(galleries.Event) {
	return func(e galleries.Event) {
		switch e := e.(type) {
		case galleries.Progress:
			a.progress.show("Sampling", int64(e.Done), int64(e.Total), fmt.Sprintf("step %d of %d", e.Step, e.Steps), e.ETA)
		case galleries.Occupied:
			a.progress.line("Warning: %s is not the picture that belongs there, so it is left as it is", e.Path)
		}
	}
}

func (a *app) export() *cobra.Command {
	var (
		run, out, format string
		checkpoint       = checkpointFlag(runs.Newest)
		enlarge          int
		compute          model.Compute
	)
	c := &cobra.Command{
		Use:   "export --run DIR --format FORMAT --out PATH",
		Short: "Turn a run into files for use elsewhere",
		Long: `Export writes a run's newest checkpoint, or another, for use elsewhere:

  diffusers  a folder that Python's diffusers opens as a pipeline
  onnx       the network as one ONNX file
  grid       a PNG with 64 new pictures
  zip        the same 64 pictures one by one
  gif        a time-lapse of the pictures sampled during training

With --enlarge 8, each pixel of a picture becomes a crisp square of 8 × 8.
Nothing that is there already is overwritten.`,
		Example: `  unnoise export --run runs/sprites --format diffusers --out sprites-model
  unnoise export --run runs/sprites --format zip --enlarge 8 --out sprites.zip
  unnoise export --run runs/sprites --format gif --out learning.gif`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if !slices.Contains(exports.Formats(), format) {
				return usage("--format %q: choose one of %s", format, strings.Join(exports.Formats(), ", "))
			}
			if cmd.Flags().Changed("enlarge") && enlarge < 1 {
				return usage("--enlarge %d: choose between 1 and %d", enlarge, exports.MaxScale)
			}
			r, err := runs.Open(run)
			if err != nil {
				return err
			}
			if format == string(exports.Grid) || format == string(exports.Zip) {
				if err := needRuntime(ctx); err != nil {
					return err
				}
			}
			err = exports.Export(ctx, exports.Request{
				Run: r, Format: exports.Format(format), Out: out, Checkpoint: int64(checkpoint), Compute: compute, Version: version, Free: freeSpace,
				Scale:    enlarge,
				Progress: func(done, total int, what string) { a.progress.show(what, int64(done), int64(total), "", 0) },
			})
			a.progress.clear()
			if err != nil {
				return err
			}
			a.printf("%s\n", out)
			return nil
		},
	}
	fl := c.Flags()
	fl.StringVar(&run, "run", "", "folder of the run")
	fl.StringVar(&format, "format", "", strings.Join(exports.Formats(), ", "))
	fl.StringVar(&out, "out", "", "file or folder to make")
	fl.Var(&checkpoint, "checkpoint", "which checkpoint to export: its step, newest, or best by held-out loss")
	fl.IntVar(&enlarge, "enlarge", 0, "whole factor by which pictures are enlarged, with crisp pixels (default 1; for gif 2)")
	computeFlags(c, &compute)
	required(c, "run", "format", "out")
	return c
}

func (a *app) eval() *cobra.Command {
	var (
		run     string
		m       runs.Measure
		at      = checkpointFlag(runs.Newest)
		raw     bool
		compute model.Compute
	)
	c := &cobra.Command{
		Use:   "eval --run DIR --data DIR",
		Short: "Measure a run's loss and likelihood on pictures it was not trained on",
		Long: `Eval measures the loss of a run's checkpoint at each noise level, from little noise to much,
and the variational bound on the pictures' likelihood with its three terms and its 95 %
confidence interval, in bits per dimension (a model of the EDM objective has no such chain
of steps, so no bound). Pictures that the run was trained on are left out, wherever they lie
now: of its own pictures the held-out ones remain.

The noise hangs on --seed alone, not on the run, so runs and checkpoints can be compared. Of
the chain's transitions each picture draws some, those that count most the most often; more
of them make the interval narrower, down to what the choice of pictures leaves.`,
		Example: `  unnoise eval --run runs/sprites --data ~/Pictures/sprites
  unnoise eval --run runs/sprites --data ~/Pictures/sprites --checkpoint 5000 --transitions 100
  unnoise eval --run runs/sprites --data ~/Pictures/other --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("transitions") && m.Transitions < 1 {
				return usage("--transitions %d: choose 1 or more", m.Transitions)
			}
			if err := m.Validate(); err != nil {
				return err
			}
			r, err := runs.Open(run)
			if err != nil {
				return err
			}
			if m.Checkpoint = int64(at); raw {
				m.Weights = train.RawName
			}
			if err := needRuntime(cmd.Context()); err != nil {
				return err
			}
			ev, err := r.Evaluate(cmd.Context(), m, runs.Options{Compute: compute, Decoding: a.decoding, Free: freeSpace},
				func(done, total int) { a.progress.show("Measuring", int64(done), int64(total), "", 0) })
			a.progress.clear()
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(ev)
			}
			which := "pictures"
			if ev.Images == 1 {
				which = "picture"
			}
			if ev.HeldOut {
				which = "held-out " + which
			}
			if ev.LeftOut > 0 {
				which += fmt.Sprintf(" (%d that it was trained on are left out)", ev.LeftOut)
			}
			a.printf("Step %d on %d %s: loss %.5f\n", ev.Checkpoint, ev.Images, which, ev.Loss)
			if ev.Uncertain {
				a.printf("What the run was trained on is not on record any more: some of these pictures may be among it.\n")
			}
			a.printf("%12s %12s\n", "noise σ/α", "loss")
			for _, l := range ev.Levels {
				a.printf("%12.4g %12.5f\n", l.Sigma, l.Loss)
			}
			if b := ev.Bound; b != nil {
				interval := fmt.Sprintf("95 %% confidence %.3f to %.3f", b.Low, b.High)
				if b.StandardError == 0 {
					interval = "one picture tells no interval"
				}
				a.printf("At most %.3f bits per dimension, %s: prior %.4f, steps %.3f, decoder %.3f\n", b.BitsPerDim, interval, b.Prior, b.Steps, b.Decoder)
				if b.DecoderStep > 0 {
					a.printf("The decoder sets out from step %d: the model tells nearly clean pictures too badly for the steps below\n", b.DecoderStep)
				}
				if b.Useless() {
					a.printf("That is no less than 8, which any picture costs without a model: this bound tells nothing about this one\n")
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&run, "run", "", "folder of the run")
	c.Flags().StringVar(&m.Data, "data", "", "folder, .zip or IDX file with the pictures")
	checkpointVar(c, &at)
	rawVar(c, &raw)
	c.Flags().IntVar(&m.Transitions, "transitions", eval.DefaultTransitions, "steps of the chain drawn per picture for the bound; 1000 are all of most models")
	c.Flags().Uint64Var(&m.Seed, "seed", 0, "number that names the noise; compare runs under the same one")
	computeFlags(c, &compute)
	a.jsonFlag(c)
	required(c, "run", "data")
	return c
}

// checkpointVar adds --checkpoint.
func checkpointVar(c *cobra.Command, to *checkpointFlag) {
	c.Flags().Var(to, "checkpoint", "which checkpoint: its step, newest, or best by held-out loss")
}

// rawVar adds --raw.
func rawVar(c *cobra.Command, to *bool) {
	c.Flags().BoolVar(to, "raw", false, "take the weights as trained, not their average over the last steps")
}
