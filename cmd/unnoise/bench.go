package main

import (
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"unnoise/pipeline/bench"
)

func (a *app) bench() *cobra.Command {
	o := bench.Options{}
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast this computer trains and samples",
		Long: `Bench measures a training step, network calls and whole pictures of a preset on random
numbers, the memory they take, and the share they reach of the speed of plain matrix
products (SGEMM) in the same library with the same threads.`,
		Example: `  unnoise bench
  unnoise bench --preset ddpm-cifar10 --batch 8 --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Batch < 1 || o.Calls < 1 {
				return usage("--batch %d --calls %d: choose 1 or more", o.Batch, o.Calls)
			}
			if err := needRuntime(cmd.Context()); err != nil {
				return err
			}
			o.Progress = func(done, total int, what string) {
				a.progress.show("Measuring", int64(done), int64(total), what, 0)
			}
			r, err := bench.Run(cmd.Context(), o)
			a.progress.clear()
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			a.printBench(r)
			return nil
		},
	}
	fl := c.Flags()
	fl.StringVar(&o.Preset, "preset", "small", "architecture to measure")
	fl.IntVar(&o.Size, "size", 32, "side of the pictures, of 3 channels")
	fl.IntVar(&o.Batch, "batch", 32, "pictures per training step")
	fl.IntVar(&o.Calls, "calls", 7, "repetitions of each measurement")
	computeFlags(c, &o.Compute)
	a.jsonFlag(c)
	return c
}

func (a *app) printBench(r bench.Result) {
	p := func(format string, args ...any) { a.printf(format+"\n", args...) }
	ms := func(t bench.Times) string {
		return fmt.Sprintf("%.1f ms (%.1f to %.1f)", 1e3*t.Median, 1e3*t.Min, 1e3*t.Max)
	}
	p("%s, %s weights, %d × %d × 3, %d threads", r.Preset, humanize.Comma(int64(r.Params)), r.Size, r.Size, r.Threads)
	p("%-34s %.0f GFLOPS", "Matrix products", r.SGEMMGFLOPS)
	p("%-34s %s, %.0f GFLOPS, %.0f %% of matrix products", fmt.Sprintf("Training step of %d pictures", r.Batch), ms(r.Step), r.StepGFLOPS, 100*r.StepShare)
	p("%-34s %s", "Memory of training", humanize.Bytes(uint64(r.StepMemory)))
	p("%-34s %.2f s", "Loading for training", r.Load)
	for _, c := range r.Calls {
		p("%-34s %s", fmt.Sprintf("Network call of %d pictures", c.Batch), ms(c.Seconds))
	}
	p("%-34s %.0f %% of matrix products", "Fastest call", 100*r.CallShare)
	p("%-34s %s", "One picture, dpmpp2m in 20 steps", ms(r.Image))
	p("%-34s %.2f s", "Loading for sampling", r.NetLoad)
}
