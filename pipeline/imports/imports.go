// Package imports reads models that other programs trained: the folder of a diffusers pipeline or of a bare UNet2DModel.
package imports

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"unnoise/pipeline/data"
	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/model"
	"unnoise/runtime/safetensors"
	"unnoise/runtime/sentence"
	"unnoise/runtime/unet"
)

const maxJSON = 1 << 20

// weightNames are the files that diffusers keeps the weights in, the best first.
var weightNames = []string{
	"diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors", "model.safetensors",
}

// Diffusers reads the model in a folder: that of a pipeline, with unet/config.json and scheduler/scheduler_config.json, or
// that of a network alone, with config.json and the weights side by side, which is taken for a DDPM (ε, linear schedule)
// unless a scheduler_config.json beside it says otherwise. The weights are returned as the flat vector of the spec's network.
// The folder is hostile until checked: nothing is read that its configuration does not name, and every shape must fit.
func Diffusers(path string) (model.Spec, []float32, error) {
	spec, weights, err := diffusers(path)
	if err != nil {
		return model.Spec{}, nil, sentence.Errorf("%s cannot be imported: %w", path, err)
	}
	return spec, weights, nil
}

func diffusers(path string) (model.Spec, []float32, error) {
	net := filepath.Join(path, "unet")
	if _, err := os.Stat(filepath.Join(net, "config.json")); errors.Is(err, fs.ErrNotExist) {
		net = path
	}
	b, err := readSmall(filepath.Join(net, "config.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return model.Spec{}, nil, sentence.Errorf("it has neither unet/config.json nor config.json: give the folder of a diffusers pipeline or UNet2DModel")
	}
	if err != nil {
		return model.Spec{}, nil, err
	}
	cfg, err := unet.ParseConfig(b)
	if err != nil {
		return model.Spec{}, nil, sentence.Errorf("its config.json: %w", err)
	}
	spec, err := describe(path, cfg)
	if err != nil {
		return model.Spec{}, nil, err
	}
	w, err := readWeights(net, cfg)
	if err != nil {
		return model.Spec{}, nil, err
	}
	return spec, w, nil
}

// scheduler is what matters here of scheduler_config.json; the defaults are those of diffusers' DDPMScheduler.
type scheduler struct {
	Class        string    `json:"_class_name"`
	BetaSchedule string    `json:"beta_schedule"`
	BetaStart    float64   `json:"beta_start"`
	BetaEnd      float64   `json:"beta_end"`
	Timesteps    int       `json:"num_train_timesteps"`
	Prediction   string    `json:"prediction_type"`
	TrainedBetas []float64 `json:"trained_betas"`
	ZeroSNR      bool      `json:"rescale_betas_zero_snr"`
	SigmaData    float64   `json:"sigma_data"`
}

func describe(path string, cfg unet.Config) (model.Spec, error) {
	s := scheduler{BetaSchedule: "linear", BetaStart: 1e-4, BetaEnd: 0.02, Timesteps: 1000, Prediction: "epsilon", SigmaData: diffusion.SigmaData}
	for _, name := range []string{filepath.Join("scheduler", "scheduler_config.json"), "scheduler_config.json"} {
		b, err := readSmall(filepath.Join(path, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return model.Spec{}, err
		}
		if err := json.Unmarshal(b, &s); err != nil {
			return model.Spec{}, sentence.Errorf("its %s is damaged: %w", name, err)
		}
		break
	}
	w, h := cfg.Size()
	spec := model.Spec{
		Version: model.Version, UNet: cfg, Weighting: "simple",
		Preprocess: data.Preprocess{Width: w, Height: h, Channels: cfg.InChannels, Fit: data.Crop},
	}
	if cfg.NumClassEmbeds != nil && *cfg.NumClassEmbeds > 1 {
		if *cfg.NumClassEmbeds > 100_000 {
			return spec, sentence.Errorf("it has %d classes, more than can be handled", *cfg.NumClassEmbeds)
		}
		for i := range *cfg.NumClassEmbeds {
			spec.Classes = append(spec.Classes, fmt.Sprintf("class %d", i))
		}
	}
	if strings.HasPrefix(s.Class, "EDM") {
		if s.SigmaData != diffusion.SigmaData {
			return spec, sentence.Errorf("its σ_data is %g, and only %g can be used", s.SigmaData, diffusion.SigmaData)
		}
		spec.Objective = diffusion.ObjectiveEDM
		return spec, spec.Validate()
	}
	switch {
	case s.TrainedBetas != nil:
		return spec, sentence.Errorf("its schedule is a list of trained betas, which cannot be used: only linear, scaled_linear, cosine and sigmoid ones can")
	case s.ZeroSNR:
		return spec, sentence.Errorf("its schedule is rescaled to zero SNR, which cannot be used")
	case s.Timesteps < 1 || s.Timesteps > 100_000:
		return spec, sentence.Errorf("it has %d training timesteps", s.Timesteps)
	}
	// A config.json rarely names the timesteps; the scheduler always does.
	spec.UNet.NumTrainTimesteps = &s.Timesteps
	switch s.Prediction {
	case "epsilon":
		spec.Objective = diffusion.ObjectiveEps
	case "sample":
		spec.Objective = diffusion.ObjectiveX0
	case "v_prediction":
		spec.Objective = diffusion.ObjectiveV
	default:
		return spec, sentence.Errorf("it predicts %q: only epsilon, sample and v_prediction can be used", s.Prediction)
	}
	names := map[string]string{"linear": "linear", "scaled_linear": "scaled_linear", "squaredcos_cap_v2": "cosine", "sigmoid": "sigmoid"}
	spec.Schedule = names[s.BetaSchedule]
	if spec.Schedule == "" {
		return spec, sentence.Errorf("its noise schedule is %q: only linear, scaled_linear, squaredcos_cap_v2 and sigmoid can be used", s.BetaSchedule)
	}
	if err := spec.Validate(); err != nil {
		return spec, err
	}
	return spec, sameBetas(spec, s)
}

// sameBetas makes sure that the schedule of that name runs between the betas that the model was trained with.
func sameBetas(spec model.Spec, s scheduler) error {
	if spec.Schedule == "cosine" {
		return nil // it has no such ends
	}
	sch, err := diffusion.NewSchedule(spec.Schedule, s.Timesteps)
	if err != nil {
		return err
	}
	near := func(a, b float64) bool { return a > 0.98*b && a < 1.02*b }
	first, last := sch.Betas[0], sch.Betas[len(sch.Betas)-1]
	if spec.Schedule != "sigmoid" && (!near(first, s.BetaStart) || !near(last, s.BetaEnd)) {
		return sentence.Errorf("its betas run from %g to %g, and only a %s schedule from %.3g to %.3g can be used", s.BetaStart, s.BetaEnd, spec.Schedule, first, last)
	}
	return nil
}

// legacy are the names that attention had in diffusers before 0.17, and those of today.
var legacy = []struct{ old, now string }{
	{".query.", ".to_q."}, {".key.", ".to_k."}, {".value.", ".to_v."}, {".proj_attn.", ".to_out.0."},
}

func readWeights(dir string, cfg unet.Config) ([]float32, error) {
	i := slices.IndexFunc(weightNames, func(n string) bool {
		_, err := os.Stat(filepath.Join(dir, n))
		return err == nil
	})
	if i < 0 {
		if _, err := os.Stat(filepath.Join(dir, "diffusion_pytorch_model.bin")); err == nil {
			return nil, sentence.Errorf("its weights are a pickle (.bin), which can run any code and is not read: save it as safetensors first")
		}
		return nil, sentence.Errorf("it has no weights: %s is missing", weightNames[0])
	}
	return readFile(filepath.Join(dir, weightNames[i]), cfg)
}

// readFile reads the weights of a network; all of them must be there, and no other.
func readFile(path string, cfg unet.Config) ([]float32, error) {
	tensors, _, err := safetensors.Read(path)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]safetensors.Tensor, len(tensors))
	for _, t := range tensors {
		for _, l := range legacy {
			t.Name = strings.Replace(t.Name, l.old, l.now, 1)
		}
		byName[t.Name] = t
	}
	params, err := cfg.Params()
	if err != nil {
		return nil, err
	}
	flat := make([]float32, cfg.NumParams())
	for _, p := range params {
		t, ok := byName[p.Name]
		if !ok {
			return nil, sentence.Errorf("its weights lack %s", p.Name)
		}
		if !slices.Equal(t.Shape, p.Shape) && !squeezed(t.Shape, p.Shape) {
			return nil, sentence.Errorf("its weight %s has the shape %v, and its configuration asks for %v", p.Name, t.Shape, p.Shape)
		}
		copy(flat[p.Offset:], t.Data)
		delete(byName, p.Name)
	}
	for name := range byName {
		return nil, sentence.Errorf("it has the weight %s, which its configuration does not ask for", name)
	}
	return flat, nil
}

// squeezed reports whether a is b with dimensions of 1 at its end, as linear layers saved as 1×1 convolutions have.
func squeezed(a, b []int) bool {
	for len(a) > len(b) && a[len(a)-1] == 1 {
		a = a[:len(a)-1]
	}
	return slices.Equal(a, b)
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
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

// WriteWeights writes the flat weights of a model as safetensors, under diffusers' names.
func WriteWeights(w io.Writer, spec model.Spec, flat []float32) error {
	params, err := spec.UNet.Params()
	if err != nil {
		return err
	}
	if n := spec.UNet.NumParams(); len(flat) != n {
		return sentence.Errorf("there are %d weights for a network of %d", len(flat), n)
	}
	tensors := make([]safetensors.Tensor, len(params))
	for i, p := range params {
		tensors[i] = safetensors.Tensor{Name: p.Name, Shape: p.Shape, Data: flat[p.Offset : p.Offset+p.Len()]}
	}
	return safetensors.Write(w, tensors, nil)
}

// ReadWeights reads what WriteWeights wrote.
func ReadWeights(path string, spec model.Spec) ([]float32, error) {
	flat, err := readFile(path, spec.UNet)
	if err != nil {
		return nil, sentence.Errorf("the weights %s cannot be used: %w", path, err)
	}
	return flat, nil
}
