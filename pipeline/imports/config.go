package imports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/model"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
	"unnoise/runtime/unet"
)

// rule says what becomes of a key of a configuration. A key without a rule is refused by name, and so is a value that has
// none: what a file says of a model is either used or the model is not taken in.
type rule struct {
	into any   // where the value goes; nil: it is not read
	only []any // if not nil, the values that mean what is done here anyway
	// sampling says that the key is about how pictures are drawn, which a person chooses here: other values are noted.
	sampling bool
}

func read(into any) rule        { return rule{into: into} }
func must(values ...any) rule   { return rule{only: values} }
func chosen(values ...any) rule { return rule{only: values, sampling: true} }

// idle is a key that says nothing about the model: a file's own bookkeeping, or what counts only beside another key.
var idle = rule{}

// bookkeeping are the keys that diffusers writes into every configuration.
var bookkeeping = []string{"_class_name", "_diffusers_version", "_name_or_path", "_use_default_values", "_commit_hash"}

// follow goes through a configuration's keys and returns those whose values are noted, as “key = value”.
func follow(file string, config map[string]json.RawMessage, rules map[string]rule) (noted []string, err error) {
	for _, k := range slices.Sorted(maps.Keys(config)) {
		r, ok := rules[k]
		if !ok {
			if slices.Contains(bookkeeping, k) {
				if k == "_class_name" && json.Unmarshal(config[k], new(string)) != nil {
					return nil, sentence.Errorf("its %s has %s = %s, which cannot be used", file, k, short(config[k]))
				}
				continue
			}
			return nil, sentence.Errorf("its %s has the key %.100q, which is not known here", file, k)
		}
		raw := config[k]
		if r.into != nil {
			if err := json.Unmarshal(raw, r.into); err != nil {
				return nil, sentence.Errorf("its %s has %s = %s, which cannot be used", file, k, short(raw))
			}
		}
		if r.only == nil || slices.ContainsFunc(r.only, func(v any) bool { return means(raw, v) }) {
			continue
		}
		if !r.sampling {
			return nil, sentence.Errorf("its %s has %s = %s, which cannot be used", file, k, short(raw))
		}
		noted = append(noted, k+" = "+short(raw))
	}
	return noted, nil
}

// short is a value as a sentence names it.
func short(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return "?"
	}
	s := b.String()
	if r := []rune(s); len(r) > 60 {
		s = string(r[:60]) + "…"
	}
	return s
}

// means reports whether a JSON value is v: nil, a bool, a string, a float64 or an empty list.
func means(raw json.RawMessage, v any) bool {
	var got any
	if json.Unmarshal(raw, &got) != nil {
		return false
	}
	return reflect.DeepEqual(got, v)
}

// readObject reads a small JSON file as Python's json writes it, which has NaN, Infinity and -Infinity as numbers: they
// become strings of that name.
func readObject(path string) (map[string]json.RawMessage, error) {
	b, err := readSmall(path)
	if err != nil {
		return nil, err
	}
	return object(path, quoteNonFinite(b))
}

// object reads what a file holds.
func object(path string, b []byte) (m map[string]json.RawMessage, err error) {
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, sentence.Errorf("its %s is damaged: %w", filepath.Base(path), sentence.JSON(err))
	}
	if m == nil {
		return nil, sentence.Errorf("its %s is damaged: it holds no object", filepath.Base(path))
	}
	return m, nil
}

// quoteNonFinite puts quotes around Python's literals for numbers that JSON has not.
func quoteNonFinite(b []byte) []byte {
	out := make([]byte, 0, len(b)+16)
	for i := 0; i < len(b); {
		if b[i] == '"' { // a string is copied as it is
			end := i + 1
			for end < len(b) && b[end] != '"' {
				if b[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end+1, len(b))
			out, i = append(out, b[i:end]...), end
			continue
		}
		var literal string
		for _, l := range []string{"-Infinity", "Infinity", "NaN"} {
			if bytes.HasPrefix(b[i:], []byte(l)) {
				literal = l
				break
			}
		}
		if literal != "" {
			out, i = append(out, `"`+literal+`"`...), i+len(literal)
			continue
		}
		out, i = append(out, b[i]), i+1
	}
	return out
}

func readSmall(path string) ([]byte, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxJSON+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxJSON {
		return nil, sentence.Errorf("%s is larger than %d bytes", filepath.Base(path), maxJSON)
	}
	return b, nil
}

// open opens a file, and nothing else: a pipe would hang.
func open(path string) (*os.File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, sentence.Errorf("%s is not a file", filepath.Base(path))
	}
	return durable.Open(path)
}

func text(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s)
	return s
}

// checkPipeline refuses a pipeline that is more than a U-Net and its scheduler, and returns the scheduler's class, if the
// pipeline names it.
func checkPipeline(dir string) (schedulerClass string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries { // a pipeline without an index may still have parts
		if e.Name() == "unet" || e.Name() == "scheduler" {
			continue
		}
		part, err := readObject(filepath.Join(dir, e.Name(), "config.json"))
		if err != nil {
			continue
		}
		if class := text(part["_class_name"]); class != "" && class != "UNet2DModel" {
			return "", manyParts(e.Name(), class)
		}
	}
	index, err := readObject(filepath.Join(dir, "model_index.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for _, k := range slices.Sorted(maps.Keys(index)) {
		if slices.Contains(bookkeeping, k) {
			continue
		}
		var part []any
		if json.Unmarshal(index[k], &part) != nil || len(part) != 2 {
			return "", sentence.Errorf("its %s has the key %.100q, which is not known here", "model_index.json", k)
		}
		class, _ := part[1].(string)
		switch {
		case part[0] == nil && part[1] == nil: // a part left out
		case k == "scheduler":
			schedulerClass = class
		case k != "unet":
			return "", manyParts(k, class)
		case class != "UNet2DModel":
			return "", sentence.Errorf("its network is a %.60q: only UNet2DModel can be used", class)
		}
	}
	if class := text(index["_class_name"]); !slices.Contains([]string{"DDPMPipeline", "DDIMPipeline", "PNDMPipeline", "DiffusionPipeline"}, class) {
		return "", sentence.Errorf("it is a %.60q: only DDPMPipeline, DDIMPipeline and PNDMPipeline can be used", class)
	}
	return schedulerClass, nil
}

func manyParts(part, class string) error {
	return sentence.Errorf("beside the U-Net it has the part %.60q (%.60q): only models that work on the pictures themselves can be used", part, class)
}

// Bare UNet2DModel configurations carry what an exponential moving average of diffusers wrote beside them.
var averaging = []string{"decay", "min_decay", "optimization_step", "update_after_step", "use_ema_warmup", "inv_gamma", "power"}

// readNetwork reads the configuration of the network.
func readNetwork(path string) (unet.Config, error) {
	b, err := readSmall(path)
	if err != nil {
		return unet.Config{}, err
	}
	b = quoteNonFinite(b)
	config, err := object(path, b)
	if err != nil {
		return unet.Config{}, err
	}
	rules := map[string]rule{}
	for _, k := range averaging {
		rules[k] = idle
	}
	for f := range reflect.TypeFor[unet.Config]().Fields() {
		rules[f.Tag.Get("json")] = idle // read below, with its checks
	}
	if _, err := follow("config.json", config, rules); err != nil {
		return unet.Config{}, err
	}
	cfg, err := unet.ParseConfig(b)
	if err != nil {
		return unet.Config{}, sentence.Errorf("its config.json: %w", err)
	}
	switch in, out := cfg.InChannels, cfg.OutChannels; {
	case out == 2*in:
		return cfg, sentence.Errorf("it has out_channels = %d for in_channels = %d: it predicts variances too, which cannot be used", out, in)
	case out != in:
		return cfg, sentence.Errorf("it has out_channels = %d for in_channels = %d: only a network that gives back what it takes can be used", out, in)
	case in != 1 && in != 3 && in != 4:
		return cfg, sentence.Errorf("it has in_channels = %d: only 1 (gray), 3 (colour) and 4 (colour with transparency) can be used", in)
	case cfg.TimeEmbeddingType != "positional":
		return cfg, sentence.Errorf("it has time_embedding_type = %s: only positional can be used", cfg.TimeEmbeddingType)
	}
	if n := cfg.Classes(); n > maxClasses {
		return cfg, sentence.Errorf("it has %d classes, more than can be handled", n)
	}
	return cfg, nil
}

const maxClasses = 100_000

// The schedulers whose configurations are understood, with the betas that a key left out stands for.
var vpSchedulers = map[string][2]float64{
	"DDPMScheduler": ddpmEnds, "DDPMParallelScheduler": ddpmEnds, "DDIMScheduler": ddpmEnds, "DDIMParallelScheduler": ddpmEnds,
	"DDIMInverseScheduler": ddpmEnds, "PNDMScheduler": ddpmEnds, "DPMSolverMultistepScheduler": ddpmEnds,
	"DPMSolverMultistepInverseScheduler": ddpmEnds, "DPMSolverSinglestepScheduler": ddpmEnds, "DEISMultistepScheduler": ddpmEnds,
	"UniPCMultistepScheduler": ddpmEnds, "EulerDiscreteScheduler": ddpmEnds, "EulerAncestralDiscreteScheduler": ddpmEnds,
	"LMSDiscreteScheduler": ddpmEnds, "SASolverScheduler": ddpmEnds,
	"HeunDiscreteScheduler": stableEnds, "KDPM2DiscreteScheduler": stableEnds, "KDPM2AncestralDiscreteScheduler": stableEnds,
	"DPMSolverSDEScheduler": stableEnds,
}

var (
	ddpmEnds   = [2]float64{0.0001, 0.02}
	stableEnds = [2]float64{0.00085, 0.012}
)

var edmSchedulers = []string{"EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"}

// scheduled fills in the spec's objective and schedule from scheduler_config.json, whose class the pipeline may name too.
// negate says that the network's output has the other sign here. noted are the keys about sampling.
func scheduled(spec *model.Spec, config map[string]json.RawMessage, class string) (negate bool, noted []string, err error) {
	own := text(config["_class_name"])
	if own == "" {
		own = class
	}
	if class != "" && class != own {
		return false, nil, sentence.Errorf("its model_index.json names the scheduler %.60q, and its scheduler_config.json is one of %.60q", class, own)
	}
	if slices.Contains(edmSchedulers, own) {
		return edmSchedule(spec, config)
	}
	ends, ok := vpSchedulers[own]
	if !ok {
		return false, nil, sentence.Errorf("its scheduler is %q: only diffusers' schedulers of DDPM and EDM models can be used, such as DDPMScheduler and EDMEulerScheduler", shorten(own))
	}
	noted, err = vpSchedule(spec, config, ends)
	return false, noted, err
}

func shorten(s string) string { return fmt.Sprintf("%.60s", s) }

func edmSchedule(spec *model.Spec, config map[string]json.RawMessage) (negate bool, noted []string, err error) {
	prediction := "epsilon"
	noted, err = follow("scheduler_config.json", config, map[string]rule{
		"sigma_data": must(diffusion.SigmaData), "sigma_min": must(diffusion.SigmaMin), "sigma_max": must(float64(diffusion.SigmaMax)),
		"prediction_type": read(&prediction), "num_train_timesteps": idle,
		"thresholding": must(false), "dynamic_thresholding_ratio": idle, "sample_max_value": idle,
		"rho": chosen(float64(diffusion.Rho)), "sigma_schedule": chosen("karras"), "final_sigmas_type": chosen("zero"),
		"solver_order": chosen(2.0), "algorithm_type": chosen("dpmsolver++"), "solver_type": chosen("midpoint"),
		"lower_order_final": chosen(true), "euler_at_final": chosen(false),
	})
	if err != nil {
		return false, nil, err
	}
	spec.Objective = diffusion.ObjectiveEDM
	switch prediction {
	case "epsilon": // diffusers' name for EDM's own F
		return false, noted, nil
	case "v_prediction": // −F, as its c_out has the other sign
		return true, noted, nil
	}
	return false, nil, sentence.Errorf("it predicts %q: only epsilon, sample and v_prediction can be used", shorten(prediction))
}

func vpSchedule(spec *model.Spec, config map[string]json.RawMessage, ends [2]float64) (noted []string, err error) {
	var (
		beta, prediction = "linear", "epsilon"
		steps            = diffusion.DefaultT
		trained          []float64
		zeroSNR          bool
		predictEps       *bool
		clip, clipRange  = true, 1.0
		variance         *string
	)
	noted, err = follow("scheduler_config.json", config, map[string]rule{
		"num_train_timesteps": read(&steps), "beta_schedule": read(&beta), "beta_start": read(&ends[0]), "beta_end": read(&ends[1]),
		"trained_betas": read(&trained), "prediction_type": read(&prediction), "predict_epsilon": read(&predictEps),
		"rescale_betas_zero_snr": read(&zeroSNR), "clip_sample_range": read(&clipRange),
		"clip_sample":   {into: &clip, only: []any{true, nil}, sampling: true},
		"variance_type": {into: &variance, only: []any{"fixed_small", nil}, sampling: true},
		"thresholding":  must(false, nil), "dynamic_thresholding_ratio": idle, "sample_max_value": idle,
		"timestep_type": must("discrete"), "sigma_min": must(nil), "sigma_max": must(nil),
		"use_flow_sigmas": must(false), "flow_shift": idle, "use_dynamic_shifting": must(false), "time_shift_type": idle, "shift_terminal": must(nil),
		"timestep_values": must(nil), "tensor_format": idle,
		// How a solver of diffusers walks: here the sampler is chosen when pictures are drawn.
		"timestep_spacing": chosen("leading"), "steps_offset": chosen(0.0), "set_alpha_to_one": chosen(true), "skip_prk_steps": idle,
		"final_sigmas_type": chosen("zero"), "interpolation_type": chosen("linear"), "lambda_min_clipped": chosen("-Infinity"),
		"use_karras_sigmas": idle, "use_exponential_sigmas": chosen(false, nil), "use_beta_sigmas": chosen(false, nil), "use_lu_lambdas": chosen(false, nil),
		"algorithm_type": idle, "solver_order": idle, "solver_type": idle, "solver_p": chosen(nil), "predict_x0": idle,
		"lower_order_final": idle, "euler_at_final": idle, "disable_corrector": idle, "predictor_order": idle, "corrector_order": idle,
		"tau_func": chosen(nil), "noise_sampler_seed": idle, "eta": idle,
	})
	if err != nil {
		return nil, err
	}
	switch {
	case zeroSNR:
		return nil, sentence.Errorf("its schedule is rescaled to zero SNR (%s), which cannot be used", "rescale_betas_zero_snr")
	case clip && clipRange != 1:
		return nil, sentence.Errorf("its clip_sample_range is %g: only models of pictures between -1 and 1 can be used", clipRange)
	case variance != nil && !slices.Contains([]string{"fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"}, *variance):
		return nil, sentence.Errorf("its variance_type is %q: only fixed variances can be used", shorten(*variance))
	case steps < 2 || steps > 100_000:
		return nil, sentence.Errorf("it has %d training timesteps", steps)
	}
	if predictEps != nil && !*predictEps && prediction == "epsilon" {
		prediction = "sample"
	}
	objective, ok := map[string]diffusion.Objective{
		"epsilon": diffusion.ObjectiveEps, "sample": diffusion.ObjectiveX0, "v_prediction": diffusion.ObjectiveV,
	}[prediction]
	if !ok {
		return nil, sentence.Errorf("it predicts %q: only epsilon, sample and v_prediction can be used", shorten(prediction))
	}
	spec.Objective = objective
	// A config.json rarely names the timesteps; the scheduler always does.
	spec.UNet.NumTrainTimesteps = &steps
	return noted, betas(spec, beta, ends, trained)
}

// betas names the schedule, or lists its betas where they are not those that its name stands for here.
func betas(spec *model.Spec, name string, ends [2]float64, trained []float64) error {
	steps := *spec.UNet.NumTrainTimesteps
	if trained != nil {
		if len(trained) != steps {
			return sentence.Errorf("it has %d trained_betas for %d training timesteps", len(trained), steps)
		}
		for t, b := range trained {
			trained[t] = float64(float32(b)) // as diffusers takes them
		}
		spec.Schedule, spec.Betas = diffusion.OwnBetas, trained
		return nil
	}
	known := map[string]string{"linear": "linear", "scaled_linear": "scaled_linear", "squaredcos_cap_v2": "cosine", "sigmoid": "sigmoid"}
	spec.Schedule = known[name]
	if spec.Schedule == "" {
		return sentence.Errorf("its noise schedule is %q: only linear, scaled_linear, squaredcos_cap_v2 and sigmoid can be used", shorten(name))
	}
	if !(ends[0] >= 0 && ends[1] >= 0) || math.IsInf(ends[0]+ends[1], 0) {
		return sentence.Errorf("its betas run from %g to %g", ends[0], ends[1])
	}
	own, err := diffusion.Betas(spec.Schedule, steps, ends[0], ends[1])
	if err != nil {
		return err
	}
	sch, err := diffusion.NewSchedule(spec.Schedule, steps)
	if err != nil {
		return err
	}
	list := make([]float64, steps)
	for t, b := range own {
		list[t] = float64(b)
	}
	if !slices.Equal(list, sch.Betas) {
		spec.Schedule, spec.Betas = diffusion.OwnBetas, list
	}
	return nil
}
