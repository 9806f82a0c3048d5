package studio

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"unnoise/app/datasets"
	"unnoise/app/disk"
	"unnoise/app/events"
	"unnoise/app/runs"
	"unnoise/app/workspace"
	"unnoise/pipeline/data"
	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/memory"
	"unnoise/pipeline/model"
	"unnoise/pipeline/train"
	"unnoise/runtime/ortlib"
)

func (trainingService) Presets() []Preset {
	var out []Preset
	for _, p := range model.Presets() {
		q := Preset{Name: p.Name, Label: events.T(presetLabels[p.Name]), Help: events.T(p.About), Default: p.Name == model.DefaultPreset}
		if q.Label.Template == "" {
			q.Label = events.T(p.Name)
		}
		if net, err := p.UNet(32, 32, 3, 0); err == nil {
			q.Params = int64(net.NumParams())
		}
		if q.Default {
			out = append([]Preset{q}, out...)
		} else {
			out = append(out, q)
		}
	}
	return out
}

var presetLabels = map[string]string{"tiny": "Tiny", "small": "Small", "ddpm-cifar10": "DDPM (CIFAR-10)"}

// whole makes a field of a whole number from lo to hi.
func whole[T int | int64 | uint64](key, label, help string, advanced bool, lo, hi float64, of func(*TrainRequest) *T) Field {
	return Field{
		Key: key, Label: events.T(label), Help: events.T(help), Advanced: advanced, Kind: NumberField,
		Get: func(r TrainRequest) string { return fmt.Sprint(*of(&r)) },
		Set: func(r *TrainRequest, s string) error {
			s = strings.NewReplacer(",", "", " ", "", "\u202f", "").Replace(strings.TrimSpace(s))
			n, err := strconv.ParseUint(s, 10, 64)
			if err != nil || float64(n) < lo || float64(n) > hi {
				return events.T("Type a whole number from {{.Lo}} to {{.Hi}}.", "Lo", strconv.FormatFloat(lo, 'f', -1, 64), "Hi", strconv.FormatFloat(hi, 'f', -1, 64))
			}
			*of(r) = T(n)
			return nil
		},
	}
}

func choice(key, label, help string, advanced bool, choices []Choice, of func(*TrainRequest) *string) Field {
	return Field{
		Key: key, Label: events.T(label), Help: events.T(help), Advanced: advanced, Kind: ChoiceField, Choices: choices,
		Get: func(r TrainRequest) string { return *of(&r) },
		Set: func(r *TrainRequest, s string) error {
			for _, c := range choices {
				if c.Value == s {
					*of(r) = s
					return nil
				}
			}
			return events.T("“{{.Value}}” is not one of the choices.", "Value", s)
		},
	}
}

func boolean(key, label, help string, advanced bool, of func(*TrainRequest) *bool) Field {
	return Field{
		Key: key, Label: events.T(label), Help: events.T(help), Advanced: advanced, Kind: BoolField,
		Get: func(r TrainRequest) string { return strconv.FormatBool(*of(&r)) },
		Set: func(r *TrainRequest, s string) error {
			b, err := strconv.ParseBool(s)
			if err != nil {
				return events.T("Choose on or off.")
			}
			*of(r) = b
			return nil
		},
	}
}

func choices(pairs ...string) []Choice {
	var out []Choice
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, Choice{Value: pairs[i], Label: events.T(pairs[i+1])})
	}
	return out
}

// Fields that the form shows; see TrainRequest.
func (trainingService) Fields() []Field {
	channels := choice("channels", "Colours", "What the pictures are reduced to: gray, colour, or colour with transparency.", false,
		choices("1", "Gray", "3", "Colour", "4", "Colour and transparency"), nil)
	channels.Get = func(r TrainRequest) string { return strconv.Itoa(r.Preprocess.Channels) }
	channels.Set = func(r *TrainRequest, s string) error {
		switch s {
		case "1", "3", "4":
			r.Preprocess.Channels = int(s[0] - '0')
			return nil
		}
		return events.T("“{{.Value}}” is not one of the choices.", "Value", s)
	}
	resize := choice("resize", "Resizing", "Smooth suits photographs; hard pixels keep the edges and colours of pixel art.", false,
		choices(data.Smooth, "Smooth", data.Nearest, "Hard pixels"), func(r *TrainRequest) *string { return &r.Preprocess.Resize })
	resize.Get = func(r TrainRequest) string {
		if r.Preprocess.Resize == "" { // as a form was left before there was a choice
			return data.Smooth
		}
		return r.Preprocess.Resize
	}
	lr := Field{
		Key: "lr", Label: events.T("Learning rate"), Help: events.T("How far each step moves the weights: too high diverges, too low learns slowly."), Advanced: true, Kind: FloatField,
		Get: func(r TrainRequest) string { return strconv.FormatFloat(r.LR, 'g', -1, 64) },
		Set: func(r *TrainRequest, s string) error {
			v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
			if err != nil || !(v > 0 && v <= 1) {
				return events.T("Type a number above 0 and up to 1, such as 0.0004.")
			}
			r.LR = v
			return nil
		},
	}
	return []Field{
		whole("steps", "Steps", "How many times the network is improved: more takes longer and looks better, up to a point.", false, 1, 1e9, func(r *TrainRequest) *int64 { return &r.Steps }),
		whole("width", "Width", "Width in pixels at which the network sees and draws pictures.", false, 1, 1024, func(r *TrainRequest) *int { return &r.Preprocess.Width }),
		whole("height", "Height", "Height in pixels at which the network sees and draws pictures.", false, 1, 1024, func(r *TrainRequest) *int { return &r.Preprocess.Height }),
		channels,
		choice("fit", "Fitting", "How pictures of another shape are brought to this size.", false,
			choices(data.Crop, "Crop the middle", data.Fit, "Fit all of it in", data.Stretch, "Stretch"), func(r *TrainRequest) *string { return &r.Preprocess.Fit }),
		resize,
		boolean("flip", "Mirror at random", "Shows each picture mirrored half of the time: good unless left and right matter, as in letters.", false, func(r *TrainRequest) *bool { return &r.Preprocess.Flip }),
		boolean("augment", "Turn and mirror, and say so", "Makes a small folder go further by turning pictures, and tells the network, so that samples stay upright.", true, func(r *TrainRequest) *bool { return &r.Preprocess.Augment }),
		boolean("conditional", "Learn the classes", "Tells the network each picture's class, so that a class can be asked for when sampling.", false, func(r *TrainRequest) *bool { return &r.Conditional }),
		whole("batch", "Batch", "Pictures looked at for each step: more is steadier and needs more memory and time.", true, 1, 4096, func(r *TrainRequest) *int { return &r.Batch }),
		lr,
		whole("warmup", "Warm-up steps", "Steps over which the learning rate rises from nothing, so that the start is gentle.", true, 0, 1e9, func(r *TrainRequest) *int64 { return &r.Warmup }),
		choice("objective", "Objective", "What the network is taught to predict from a noisy picture.", true,
			choices("eps", "ε, the noise", "x0", "x₀, the picture", "v", "v, between both", "edm", "EDM, preconditioned"), func(r *TrainRequest) *string { return &r.Objective }),
		choice("schedule", "Noise schedule", "How quickly a picture turns to noise over the steps of the forward process.", true,
			choices("linear", "Linear", "scaled_linear", "Scaled linear", "cosine", "Cosine", "sigmoid", "Sigmoid"), func(r *TrainRequest) *string { return &r.Schedule }),
		choice("weighting", "Loss weighting", "How much each noise level counts: min-SNR keeps the easy, nearly clean ones from dominating.", true,
			choices("simple", "Simple", "min-snr", "Min-SNR"), func(r *TrainRequest) *string { return &r.Weighting }),
		whole("sample_every", "Sample every", "Steps between the grids of samples that show how far it has come.", true, 1, 1e9, func(r *TrainRequest) *int64 { return &r.SampleEvery }),
		whole("checkpoint_every", "Save every", "Steps between checkpoints: a crash loses at most so many steps.", true, 1, 1e9, func(r *TrainRequest) *int64 { return &r.CheckpointEvery }),
		whole("keep_last", "Keep the last", "How many of the newest checkpoints are kept.", true, 1, 1000, func(r *TrainRequest) *int { return &r.KeepLast }),
		whole("keep_every", "Keep every", "Checkpoints at multiples of so many steps are kept for good; 0 keeps none.", true, 0, 1e9, func(r *TrainRequest) *int64 { return &r.KeepEvery }),
		whole("seed", "Seed", "Names all the chance in the run: the same seed and settings give the same run.", true, 0, math.MaxUint64, func(r *TrainRequest) *uint64 { return &r.Seed }),
		choice("device", "Device", "What computes; empty is what the settings say.", true, deviceChoices(), func(r *TrainRequest) *string { return &r.Device }),
		whole("threads", "Threads", "Processor cores to use; 0 is what the settings say.", true, 0, 1024, func(r *TrainRequest) *int { return &r.Threads }),
	}
}

func (s trainingService) Defaults(ctx context.Context, dataset, preset string) (TrainRequest, error) {
	sc, err := s.scan(ctx, dataset)
	if err != nil {
		return TrainRequest{}, err
	}
	defer sc.release()
	p, err := model.FindPreset(preset)
	if err != nil {
		return TrainRequest{}, err
	}
	sug := datasets.Suggest(sc.rep)
	c := train.Defaults(p)
	return TrainRequest{
		Name: sc.info.Name, Dataset: dataset, Preset: p.Name,
		Preprocess: Preprocess{Width: sug.Width, Height: sug.Height, Channels: sug.Channels, Fit: data.Crop, Resize: data.Smooth},
		Steps:      c.Steps, Batch: c.Batch, Objective: string(p.Objective), Schedule: p.Schedule, Weighting: string(p.Weighting),
		LR: c.LR, Warmup: c.Warmup, Conditional: len(sc.rep.Classes) > 1,
		SampleEvery: c.SampleEvery, CheckpointEvery: c.SaveEvery, KeepLast: c.KeepLast, KeepEvery: c.KeepEvery,
	}, nil
}

// requestOf is the request that leads to a run like this one.
func requestOf(i runs.Info) TrainRequest {
	return TrainRequest{
		Name: i.Name, Dataset: i.Data.Dataset, Preset: i.Model.Preset, Preprocess: fromPreprocess(i.Model.Preprocess),
		Steps: i.Train.Steps, Batch: i.Train.Batch, Seed: i.Train.Seed, Objective: string(i.Model.Objective),
		Schedule: i.Model.Schedule, Weighting: string(i.Model.Weighting), LR: i.Train.LR, Warmup: i.Train.Warmup,
		Conditional: len(i.Model.Classes) > 0, SampleEvery: i.Train.SampleEvery, CheckpointEvery: i.Train.SaveEvery,
		KeepLast: i.Train.KeepLast, KeepEvery: i.Train.KeepEvery,
	}
}

// info describes the run that a request asks for. dir is where its folder will be.
func (s *scan) runInfo(ws *workspace.Workspace, req TrainRequest, dir string) (runs.Info, error) {
	p, err := model.FindPreset(req.Preset)
	if err != nil {
		return runs.Info{}, err
	}
	c := train.Defaults(p)
	c.Steps, c.Batch, c.Seed, c.LR, c.Warmup = req.Steps, req.Batch, req.Seed, req.LR, req.Warmup
	c.SampleEvery, c.SaveEvery, c.KeepLast, c.KeepEvery = req.SampleEvery, req.CheckpointEvery, req.KeepLast, req.KeepEvery
	c.LogEvery = min(c.LogEvery, req.SampleEvery)
	c.HeldOut = s.info.HeldOut
	o := model.Options{
		Preprocess: toPreprocess(req.Preprocess, s.rep),
		Objective:  diffusion.Objective(req.Objective), Schedule: req.Schedule, Weighting: diffusion.Weighting(req.Weighting),
	}
	if req.Conditional {
		for _, k := range s.rep.Classes {
			o.Classes = append(o.Classes, k.Name)
		}
	}
	cache := filepath.Join(ws.Datasets(), s.id, s.info.cacheName(req.Preprocess))
	if rel, err := filepath.Rel(dir, cache); err == nil {
		cache = rel // so that the workspace can move
	}
	info, err := runs.NewInfo(p.Name, o, c, runs.Source{Path: s.info.Source, Dataset: s.id, Exclude: s.info.Excluded, Cache: cache})
	if err != nil {
		return runs.Info{}, err
	}
	info.Name, info.FromRun, info.Program = req.Name, req.FromRun, version
	return info, nil
}

// problem makes a sentence of an error. field is the setting it is about, unless the error itself knows.
func problem(field string, err error) Problem {
	if o, ok := errors.AsType[*model.OptionError](err); ok {
		field = o.Field
		if field == "save_every" {
			field = "checkpoint_every"
		}
	}
	return Problem{Field: field, Text: model.Told(err)}
}

// forPeople drops the class of error that is for programs.
func forPeople(err error) error {
	if err == nil || !errors.Is(err, model.ErrOption) {
		return err
	}
	return model.Told(err)
}

func (s trainingService) Check(ctx context.Context, req TrainRequest) ([]Problem, error) {
	var out []Problem
	if _, err := workspace.CleanName(req.Name); err != nil {
		out = append(out, problem("name", err))
	}
	if req.Dataset == "" {
		return append(out, Problem{Field: "dataset", Text: events.T("Choose a dataset.")}), nil
	}
	e, err := s.use()
	if err != nil {
		return nil, err
	}
	sc, err := s.scan(ctx, req.Dataset)
	if err != nil {
		return append(out, problem("dataset", err)), nil
	}
	defer sc.release()
	info, err := sc.runInfo(e.ws, req, filepath.Join(e.ws.Runs(), "0000-new"))
	switch {
	case err != nil:
		return append(out, problem("", err)), nil
	case req.Within != 0 && (req.Within < withinMin || req.Within > withinMax):
		return append(out, Problem{Field: "steps", Text: events.T("Choose a time of up to 30 days.")}), nil
	default:
		if err := train.Fits(info.Model, info.Train); err != nil {
			out = append(out, problem("", err))
		}
		if err := runs.Enough(sc.rep, sc.summary().Excluded, req.Batch); err != nil {
			out = append(out, problem("", err))
		}
	}
	if _, err := os.Stat(string(sc.info.Source)); err != nil {
		if cache, err := data.OpenCache(filepath.Join(e.ws.Runs(), "0000-new", info.Data.Cache)); err == nil {
			_ = cache.Close() // it can train on what was decoded before
		} else {
			out = append(out, Problem{Field: "dataset", Text: events.T("{{.Path}} is not there now: connect its drive.", "Path", sc.info.Source)})
		}
	}
	if err := disk.Require(disk.Free, e.ws.Dir(), 2*train.CheckpointBytes(info.Model), events.T("this run")); err != nil {
		p := problem("", err)
		p.Mends = []Mend{{Label: events.T("Empty the trash"), Ask: trashGoes(), Apply: mender{c: s.core}.emptyTrash}}
		out = append(out, p)
	}
	if _, err := ortlib.Find(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		out = append(out, Problem{Text: events.T("The runtime library is not installed yet: install it in Settings.")})
	}
	return out, nil
}

// pace is what the speed and the memory of a training hang on.
type pace struct {
	preset                         string
	width, height, channels, batch int
	device                         string
	threads                        int
}

// trials measures one pace at a time and keeps what was measured.
type trials struct {
	turn sync.Mutex // held while something is measured

	mu     sync.Mutex
	known  map[pace]train.Estimate
	cancel context.CancelFunc // of what is measured now
}

// stop ends what is being measured.
func (t *trials) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cancel != nil {
		t.cancel()
	}
}

// measure returns what is known of a pace, or measures it.
func (t *trials) measure(ctx context.Context, p pace, anew bool, do func(ctx context.Context) (train.Estimate, error)) (train.Estimate, error) {
	look := func() (train.Estimate, bool) {
		t.mu.Lock()
		defer t.mu.Unlock()
		e, ok := t.known[p]
		return e, ok && !anew
	}
	if e, ok := look(); ok {
		return e, nil
	}
	t.turn.Lock()
	defer t.turn.Unlock()
	if e, ok := look(); ok { // measured while this one waited
		return e, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.mu.Lock()
	t.cancel = cancel
	t.mu.Unlock()
	e, err := do(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cancel = nil
	if err != nil {
		if ctx.Err() != nil {
			return e, ctx.Err()
		}
		return e, err
	}
	if t.known == nil {
		t.known = map[pace]train.Estimate{}
	}
	t.known[p] = e
	return e, nil
}

func (s trainingService) Estimate(ctx context.Context, req TrainRequest, anew bool) (est Estimate, err error) {
	e, err := s.use()
	if err != nil {
		return est, err
	}
	if err := e.there(); err != nil {
		return est, err
	}
	ctx, cancel := s.joined(ctx)
	defer cancel()
	sc, err := s.scan(ctx, req.Dataset)
	if err != nil {
		return est, err
	}
	defer sc.release()
	info, err := sc.runInfo(e.ws, req, filepath.Join(e.ws.Runs(), "0000-new"))
	if err != nil {
		return est, forPeople(err)
	}
	m, err := s.measured(ctx, info, s.options(req.Device, req.Threads), anew, func() error {
		if _, err := s.sup.current(); err == nil {
			return events.T("A training runs now: measure when it is done.")
		}
		return nil
	})
	if err != nil {
		return est, forPeople(err)
	}
	est = Estimate{
		SecondsPerStep: m.StepSeconds, Duration: m.Time(info.Train, 0), Memory: m.Memory, Disk: train.DiskUse(info.Model, info.Train),
		Params: int64(info.Model.UNet.NumParams()), MemoryFree: memory.Free(), pace: m, times: info.Train,
	}
	if m.StepSeconds > 0 {
		est.ImagesPerSec = float64(req.Batch) / m.StepSeconds
	}
	if free, err := disk.Free(e.ws.Dir()); err == nil {
		est.DiskFree = int64(min(free, math.MaxInt64))
	}
	if est.MemoryFree > 0 && est.Memory > est.MemoryFree {
		est.Warnings = append(est.Warnings, events.T("This needs more memory than is free: choose a smaller batch, size or preset, or close other programs."))
	}
	if est.DiskFree > 0 && est.Disk > est.DiskFree {
		est.Warnings = append(est.Warnings, events.T("This will write more than the disk has room for: keep fewer checkpoints or make room."))
	}
	return est, nil
}

// measured tells how fast a run trains. free is asked, just before something is measured, whether it may be.
func (c *core) measured(ctx context.Context, info runs.Info, o runs.Options, anew bool, free func() error) (train.Estimate, error) {
	pp := info.Model.Preprocess
	return c.trials.measure(ctx, pace{
		preset: info.Model.Preset, width: pp.Width, height: pp.Height, channels: pp.Channels, batch: info.Train.Batch,
		device: o.Compute.Device, threads: o.Compute.Threads,
	}, anew, func(ctx context.Context) (train.Estimate, error) {
		if err := free(); err != nil {
			return train.Estimate{}, err
		}
		return train.Measure(ctx, info.Model, info.Train, o.Compute)
	})
}

// Bounds of Within in seconds.
const withinMin, withinMax = 1, 30 * 24 * 3600

// options is how runs are trained, with the settings' device and threads where the request leaves them open.
func (c *core) options(device string, threads int) runs.Options {
	set := c.settings.Get()
	if device == "" {
		device = set.Device
	}
	if threads == 0 {
		threads = set.Threads
	}
	return runs.Options{Compute: model.Compute{Threads: threads, Device: device}, Version: version}
}

// decoding passes on how decoding goes on.
func decoding(progress ProgressFunc) func(data.Progress) {
	m := newMeter(progress, Text{})
	return func(p data.Progress) {
		if m.phase.Template != p.What {
			*m = *newMeter(progress, events.T(p.What))
		}
		m.at(int64(p.Done), int64(p.Total), "")
	}
}
