package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"unnoise/app/datasets"
	"unnoise/app/disk"
	"unnoise/app/runs"
	"unnoise/pipeline/data"
	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/model"
	"unnoise/pipeline/train"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// sizeFlag is N or WxH.
type sizeFlag struct{ w, h int }

func (s sizeFlag) String() string {
	switch {
	case s.w == 0:
		return ""
	case s.w == s.h:
		return strconv.Itoa(s.w)
	}
	return fmt.Sprintf("%dx%d", s.w, s.h)
}

func (s *sizeFlag) Set(v string) error {
	w, h, two := strings.Cut(strings.ReplaceAll(strings.ToLower(v), "×", "x"), "x")
	if !two {
		h = w
	}
	var err1, err2 error
	s.w, err1 = strconv.Atoi(w)
	s.h, err2 = strconv.Atoi(h)
	if err1 != nil || err2 != nil || s.w < 1 || s.h < 1 {
		return errors.New("give one number of pixels, such as 32, or width and height, such as 48x32")
	}
	return nil
}

func (*sizeFlag) Type() string { return "N|WxH" }

// computeFlags adds --device and --threads.
func computeFlags(c *cobra.Command, to *model.Compute) {
	c.Flags().StringVar(&to.Device, "device", "cpu", "where to compute: cpu")
	c.Flags().IntVar(&to.Threads, "threads", 0, "processor threads to use (0: all cores)")
	old := c.PreRunE
	c.PreRunE = func(cmd *cobra.Command, args []string) error {
		if to.Threads < 0 || to.Threads > 1024 {
			return usage("--threads %d: choose 0 for all cores, or up to 1024", to.Threads)
		}
		if !slices.Contains(devices, to.Device) {
			return usage("--device %q: choose one of %s", to.Device, strings.Join(devices, ", "))
		}
		if old != nil {
			return old(cmd, args)
		}
		return nil
	}
}

// devices that the command line offers.
var devices = []string{"cpu"}

type trainFlags struct {
	data, run, preset              string
	size                           sizeFlag
	channels                       int
	fit, resize                    string
	flip, augment, classes         bool
	steps                          int64
	within                         time.Duration
	batch                          int
	seed                           uint64
	objective, schedule, weighting string
	lr, heldOut                    float64
	warmup                         int64
	saveEvery, sampleEvery         int64
	keepLast                       int
	keepEvery                      int64
	resume                         bool
	compute                        model.Compute
}

// maxWithin bounds --for.
const maxWithin = 30 * 24 * time.Hour

// kept is what a run has of each flag that it keeps from its beginning, as the flag would be written.
func kept(i runs.Info) map[string]string {
	c, p := i.Train, i.Model.Preprocess
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	return map[string]string{
		"data": string(i.Data.Path), "preset": i.Model.Preset, "size": sizeFlag{p.Width, p.Height}.String(), "channels": strconv.Itoa(p.Channels),
		"fit": p.Fit, "resize": resizing(p), "flip": strconv.FormatBool(p.Flip), "augment": strconv.FormatBool(p.Augment),
		"classes": strconv.FormatBool(len(i.Model.Classes) > 0), "batch": strconv.Itoa(c.Batch), "seed": strconv.FormatUint(c.Seed, 10),
		"objective": string(i.Model.Objective), "schedule": i.Model.Schedule, "weighting": string(i.Model.Weighting),
		"lr": number(c.LR), "warmup": fmt.Sprint(c.Warmup), "held-out": number(c.HeldOut),
		"save-every": fmt.Sprint(c.SaveEvery), "sample-every": fmt.Sprint(c.SampleEvery),
		"keep-last": fmt.Sprint(c.KeepLast), "keep-every": fmt.Sprint(c.KeepEvery),
	}
}

// resizing is how a run's pictures were resized; runs of before there was a choice do not say.
func resizing(p data.Preprocess) string {
	if p.Resize == "" {
		return data.Smooth
	}
	return p.Resize
}

// differing refuses the flags given that are not the run's own.
func differing(cmd *cobra.Command, i runs.Info) error {
	has := kept(i)
	for _, name := range slices.Sorted(maps.Keys(has)) {
		f := cmd.Flags().Lookup(name)
		if !f.Changed || f.Value.String() == has[name] {
			continue
		}
		given := f.Value.String()
		switch name {
		case "data":
			if sameFile(given, has[name]) {
				continue
			}
		case "classes": // a folder without classes has none to learn
			if given == "true" {
				continue
			}
		}
		return usage("--%s %s: the run has %s and keeps what it began with; only --steps or --for, --threads and --device may change", name, given, has[name])
	}
	return nil
}

// sameFile reports whether two paths lead to one place.
func sameFile(a, b string) bool {
	if abs, err := filepath.Abs(a); err == nil && abs == b {
		return true
	}
	one, err1 := os.Stat(a)
	two, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(one, two)
}

func (a *app) train() *cobra.Command {
	var f trainFlags
	c := &cobra.Command{
		Use:   "train --data DIR --run DIR",
		Short: "Train a model on a folder of pictures",
		Long: `Train makes a run: a folder with the model's checkpoints, its log, and pictures sampled
from the same noise at intervals, so that one can watch it learn.

The pictures come from a folder (and the folders in it), a .zip archive, or IDX files.
Files that cannot be used are set aside. If the folder has folders of its own, these
are the classes, and the model learns to tell them apart; folders such as train, test
and val say which pictures are held out.

Ctrl-C saves and ends; --resume goes on where the run stopped, however it stopped, with
the same result as if it never had. A second Ctrl-C leaves at once.`,
		Example: `  unnoise train --data ~/Pictures/sprites --run runs/sprites
  unnoise train --data ~/Pictures/sprites --run runs/night --for 8h
  unnoise train --data glyphs.zip --run runs/glyphs --preset tiny --size 16 --channels 1 --steps 5000
  unnoise train --run runs/sprites --resume
  unnoise train --run runs/sprites --resume --steps 40000`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("for") {
				switch {
				case cmd.Flags().Changed("steps"):
					return usage("--steps and --for: give one of them")
				case f.within < time.Second || f.within > maxWithin:
					return usage("--for %s: choose between 1s and %s", f.within, maxWithin)
				}
			}
			if f.resume {
				return a.resumeRun(cmd, f)
			}
			return a.newRun(cmd, f)
		},
	}
	usual := train.Defaults(model.Preset{}) // of what no preset changes
	fl := c.Flags()
	fl.StringVar(&f.data, "data", "", "folder, .zip or IDX file with the pictures")
	fl.StringVar(&f.run, "run", "", "folder of the run, made new")
	fl.StringVar(&f.preset, "preset", model.DefaultPreset, "architecture and its settings: "+strings.Join(model.PresetNames(), ", "))
	fl.Var(&f.size, "size", "size of the pictures in pixels (default: what suits the pictures)")
	fl.IntVar(&f.channels, "channels", 0, "1 (gray), 3 (colour) or 4 (with transparency) (default: what suits the pictures)")
	fl.StringVar(&f.fit, "fit", data.Crop, "how pictures of another shape are brought to this size: "+strings.Join([]string{data.Crop, data.Fit, data.Stretch}, ", "))
	fl.StringVar(&f.resize, "resize", data.Smooth, "how their pixels are found: smooth, or nearest, which keeps the hard edges of pixel art")
	fl.BoolVar(&f.flip, "flip", false, "show each picture mirrored half of the time")
	fl.BoolVar(&f.augment, "augment", false, "turn and mirror pictures and tell the network, so that samples stay upright")
	fl.BoolVar(&f.classes, "classes", true, "learn to tell the classes apart, where there are any")
	fl.Int64Var(&f.steps, "steps", 0, "training steps (default: the preset's)")
	fl.DurationVar(&f.within, "for", 0, "instead of --steps: as many as fit into a time, such as 1h or 90m, measured at the start")
	fl.IntVar(&f.batch, "batch", 0, "pictures per step (default: the preset's)")
	fl.Uint64Var(&f.seed, "seed", 0, "number that fixes everything that is drawn by chance")
	fl.StringVar(&f.objective, "objective", "", "what the network predicts: eps, x0, v or edm (default: the preset's)")
	fl.StringVar(&f.schedule, "schedule", "", "noise schedule: "+strings.Join(diffusion.ScheduleNames(), ", ")+" (default: the preset's)")
	fl.StringVar(&f.weighting, "weighting", "", "how much each noise level counts: simple or min-snr (default: the preset's)")
	fl.Float64Var(&f.lr, "lr", 0, "learning rate (default: the preset's)")
	fl.Int64Var(&f.warmup, "warmup", usual.Warmup, "steps over which the learning rate rises from nothing")
	fl.Float64Var(&f.heldOut, "held-out", usual.HeldOut, "share of the pictures that is not trained on but measured, from 0 to below 1")
	fl.Int64Var(&f.saveEvery, "save-every", usual.SaveEvery, "steps between checkpoints")
	fl.Int64Var(&f.sampleEvery, "sample-every", usual.SampleEvery, "steps between grids of samples and measures of the held-out loss")
	fl.IntVar(&f.keepLast, "keep-last", usual.KeepLast, "how many of the newest checkpoints are kept")
	fl.Int64Var(&f.keepEvery, "keep-every", usual.KeepEvery, "checkpoints at multiples of so many steps are kept for good; 0 keeps none")
	fl.BoolVar(&f.resume, "resume", false, "go on with a run that was begun")
	computeFlags(c, &f.compute)
	a.jsonFlag(c)
	required(c, "run")
	return c
}

func (a *app) newRun(cmd *cobra.Command, f trainFlags) error {
	ctx := cmd.Context()
	if f.data == "" {
		return usage("--data is missing: name the folder of pictures to train on")
	}
	p, err := model.FindPreset(f.preset)
	if err != nil {
		return err
	}
	c := train.Defaults(p)
	c.Seed = f.seed
	set(cmd, "steps", &c.Steps, f.steps)
	set(cmd, "batch", &c.Batch, f.batch)
	set(cmd, "lr", &c.LR, f.lr)
	c.Warmup, c.HeldOut, c.SaveEvery, c.SampleEvery, c.KeepLast, c.KeepEvery = f.warmup, f.heldOut, f.saveEvery, f.sampleEvery, f.keepLast, f.keepEvery
	c.LogEvery = min(c.LogEvery, max(1, c.SampleEvery)) // the log tells of each measure
	o := model.Options{Objective: diffusion.Objective(f.objective), Schedule: f.schedule, Weighting: diffusion.Weighting(f.weighting)}
	o.Preprocess = data.Preprocess{Width: 32, Height: 32, Channels: 3, Fit: f.fit, Resize: f.resize, Flip: f.flip, Augment: f.augment}
	set(cmd, "size", &o.Preprocess.Width, f.size.w)
	set(cmd, "size", &o.Preprocess.Height, f.size.h)
	set(cmd, "channels", &o.Preprocess.Channels, f.channels)
	// Everything that can be refused without looking at the pictures is refused first.
	if _, err := runs.NewInfo(f.preset, o, c, runs.Source{}); err != nil {
		return err
	}
	if err := runs.Vacant(f.run); err != nil {
		return err
	}
	abs, err := filepath.Abs(f.data)
	if err != nil {
		return err
	}
	if err := runs.Apart(f.run, abs); err != nil {
		return err
	}
	if err := disk.Writable(f.run); err != nil { // the scan that comes first may take minutes
		return err
	}
	rep, err := data.Scan(ctx, abs, a.decoding)
	a.progress.clear()
	if err != nil {
		return err
	}
	if err := errors.Join(runs.AllRead(rep), runs.Enough(rep, 0, c.Batch)); err != nil {
		return err
	}
	s := datasets.Suggest(rep)
	if !cmd.Flags().Changed("size") {
		o.Preprocess.Width, o.Preprocess.Height = s.Width, s.Height
	}
	if !cmd.Flags().Changed("channels") {
		o.Preprocess.Channels = s.Channels
	}
	o.Preprocess.Background = rep.Background
	if f.classes {
		for _, k := range rep.Classes {
			o.Classes = append(o.Classes, k.Name)
		}
	}
	info, err := runs.NewInfo(f.preset, o, c, runs.Source{Path: durable.Path(abs)})
	if err != nil {
		return err
	}
	if err := train.Fits(info.Model, info.Train); err != nil {
		return err
	}
	info.Program = version
	if err := needRuntime(ctx); err != nil {
		return err
	}
	if f.within > 0 {
		if info.Train.Steps, err = a.fit(ctx, info, 0, f); err != nil {
			return err
		}
	}
	need := train.DiskUse(info.Model, info.Train) + data.CacheBytes(rep, info.Model.Preprocess)
	if err := disk.Require(freeSpace, f.run, need, sentence.T("this run")); err != nil {
		return err
	}
	r, err := runs.Create(f.run, info)
	if err != nil {
		return err
	}
	a.progress.line("%d pictures, %d set aside%s; %s of %d × %d × %d with %s weights; run in %s", len(rep.Items), len(rep.Bad), classNote(rep),
		info.Model.Preset, o.Preprocess.Width, o.Preprocess.Height, o.Preprocess.Channels, humanize.Comma(int64(info.Model.UNet.NumParams())), r.Dir)
	return a.trainRun(ctx, r, f.compute, rep)
}

func (a *app) resumeRun(cmd *cobra.Command, f trainFlags) error {
	r, err := runs.Open(f.run)
	if err != nil {
		return err
	}
	if err := differing(cmd, r.Info()); err != nil {
		return err
	}
	if cmd.Flags().Changed("steps") {
		if f.steps < 1 {
			return usage("--steps %d: choose 1 or more", f.steps)
		}
		if err := r.Update(func(i *runs.Info) { i.Train.Steps = f.steps }); err != nil {
			return err
		}
	}
	if err := needRuntime(cmd.Context()); err != nil {
		return err
	}
	if f.within > 0 {
		st, err := r.Status()
		if err != nil {
			return err
		}
		steps, err := a.fit(cmd.Context(), r.Info(), st.Step, f)
		if err != nil {
			return err
		}
		if err := r.Update(func(i *runs.Info) { i.Train.Steps = steps }); err != nil {
			return err
		}
	}
	return a.trainRun(cmd.Context(), r, f.compute, nil)
}

// fit measures how many steps a run can do within the time that was given. They are kept in run.json, so that a run that
// is stopped on the way ends where it would have.
func (a *app) fit(ctx context.Context, info runs.Info, from int64, f trainFlags) (int64, error) {
	est, err := train.Measure(ctx, info.Model, info.Train, f.compute)
	if err != nil {
		return 0, err
	}
	steps := est.Steps(info.Train, from, f.within)
	a.progress.line("%.3g s a step: about %s is %d steps", est.StepSeconds, duration(f.within), steps-from)
	return steps, nil
}

func classNote(rep *data.Report) string {
	if n := len(rep.Classes); n > 0 {
		return fmt.Sprintf(", %d classes", n)
	}
	return ""
}

// set takes a flag's value if it was given.
func set[T any](cmd *cobra.Command, name string, to *T, v T) {
	if cmd.Flags().Changed(name) {
		*to = v
	}
}

// freeSpace is what the disk check asks; tests replace it to see what a full disk does.
var freeSpace = disk.Free

// trainResult is what train --json prints.
type trainResult struct {
	Run         string  `json:"run"`
	Step        int64   `json:"step"`
	Steps       int64   `json:"steps"`
	Done        bool    `json:"done"`
	Loss        float64 `json:"loss,omitempty"`
	HeldOut     float64 `json:"held_out,omitempty"`
	StepSeconds float64 `json:"step_seconds,omitempty"`
	Memory      int64   `json:"memory,omitempty"`
	Seconds     float64 `json:"seconds"`
}

func (a *app) trainRun(ctx context.Context, r *runs.Run, compute model.Compute, rep *data.Report) error {
	began := time.Now()
	res := trainResult{Run: r.Dir, Steps: r.Info().Train.Steps}
	out, err := r.Train(ctx, runs.Options{
		Compute: compute, Version: version, Decoding: a.decoding, Report: rep, Free: freeSpace,
		Events: a.trainEvents(&res, filepath.Join(r.Dir, train.LogName)),
	})
	a.progress.clear()
	if err != nil {
		return err
	}
	res.Step, res.Done, res.Seconds = out.Step, out.Done, time.Since(began).Seconds()
	if a.json {
		return a.printJSON(res)
	}
	if out.Done {
		a.printf("Done: %d steps. Sample it with: unnoise sample --run %s --n 64 --out DIR\n", out.Step, quote(r.Dir))
	} else {
		a.printf("Stopped at step %d of %d, saved. Go on with: unnoise train --run %s --resume\n", out.Step, res.Steps, quote(r.Dir))
	}
	return nil
}

// quote makes a path safe to paste into a shell.
func quote(path string) string {
	switch escaped := visible(strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(path)); {
	case visible(path) != path: // bash, zsh and ksh read it so
		return "$'" + escaped + "'"
	case strings.ContainsFunc(path, func(r rune) bool {
		return !strings.ContainsRune("/._-+,:@%", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}):
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

// trainEvents shows a run's events and notes the newest figures in res.
func (a *app) trainEvents(res *trainResult, log string) func(train.Event) {
	lines, _ := train.ReadLog(log) // a log that cannot be read is told by the training
	smooth := train.Smoothed(lines)
	return func(e train.Event) {
		switch e := e.(type) {
		case train.Started:
			if e.Step > 0 {
				a.progress.line("Going on after step %d of %d, training on %d pictures, %d held out", e.Step, e.Steps, e.Train, e.Held)
			} else {
				a.progress.line("Training on %d pictures, %d held out", e.Train, e.Held)
			}
		case train.Measured:
			res.StepSeconds, res.Memory = e.StepSeconds, e.Memory
			a.progress.line("%.3g s a step, %s of memory, %s of disk, about %s in all",
				e.StepSeconds, humanize.Bytes(uint64(e.Memory)), humanize.Bytes(uint64(e.Disk)), duration(e.ETA))
		case train.Progress:
			loss := res.Loss
			if loss == 0 { // before the first line of the log
				loss = e.Loss
			}
			a.progress.show("Training", e.Step, e.Steps, fmt.Sprintf("loss %.4f, %.3g pictures/s", loss, e.ImagesPerSecond), e.ETA)
		case train.Working:
			if e.Total > 1 && terminal(a.err) {
				a.progress.show("Training, "+e.What, int64(e.Done), int64(e.Total), "", 0)
			}
		case train.Logged:
			res.Loss = smooth.Add(e.Loss, train.Smoothing)
			if e.Held != nil {
				res.HeldOut = e.Held.Loss
				a.progress.line("Step %d: loss %.4f, held-out loss %.4f", e.Step, res.Loss, e.Held.Loss)
			}
		case train.Warned:
			a.progress.line("Warning: %s", e.Message)
		case train.RolledBack:
			a.progress.line("Warning: %s after step %d; back to step %d with a learning rate of %.3g", e.Reason, e.From, e.To, e.LR)
		}
	}
}
