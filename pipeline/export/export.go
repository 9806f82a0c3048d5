// Package export hands a trained model to other programs: as a folder that diffusers opens, and as an ONNX file.
package export

import (
	"encoding/json"
	"errors"
	"io"
	"path/filepath"

	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/model"
	"unnoise/runtime/durable"
	"unnoise/runtime/program"
	"unnoise/runtime/safetensors"
	"unnoise/runtime/sentence"
)

// diffusersVersion is the release whose files these are; bench/check_export.py checks them with it.
const diffusersVersion = "0.42.1"

// Diffusers writes the model as a new folder for the Python library diffusers:
//
//	README.md                                  how to sample it there
//	model_index.json                           DDPMPipeline; not for edm, which has no ready-made pipeline
//	scheduler/scheduler_config.json            DDPMScheduler or EDMEulerScheduler
//	unet/config.json
//	unet/diffusion_pytorch_model.safetensors
//
// weights is the flat parameter vector. The folder appears complete or not at all; an existing path is refused with
// an error that wraps fs.ErrExist.
func Diffusers(path string, spec model.Spec, weights []float32) error {
	if err := diffusers(durable.Disk{}, path, spec, weights); err != nil {
		return sentence.Errorf("export to diffusers: %w", err)
	}
	return nil
}

func diffusers(disk durable.Disk, path string, spec model.Spec, weights []float32) (err error) {
	tensors, err := tensors(spec, weights)
	if err != nil {
		return err
	}
	if err := disk.Vacant(path); err != nil {
		return err
	}
	if err := disk.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	config, err := spec.UNet.JSON()
	if err != nil {
		return err
	}
	class, scheduler, err := scheduler(spec)
	if err != nil {
		return err
	}
	folder, err := disk.NewFolder(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, folder.Discard())
		}
	}()
	files := map[string]func(io.Writer) error{
		"README.md":                       text(readme(spec, class)),
		"unet/config.json":                text(string(config) + "\n"),
		"scheduler/scheduler_config.json": object(scheduler),
		"unet/diffusion_pytorch_model.safetensors": func(w io.Writer) error {
			return safetensors.Write(w, tensors, map[string]string{"format": "pt"})
		},
	}
	if spec.Objective != diffusion.ObjectiveEDM {
		files["model_index.json"] = object(map[string]any{
			"_class_name":        "DDPMPipeline",
			"_diffusers_version": diffusersVersion,
			"scheduler":          []string{"diffusers", class},
			"unet":               []string{"diffusers", "UNet2DModel"},
		})
	}
	for name, write := range files {
		if _, err := folder.Write(name, write); err != nil {
			return err
		}
	}
	return folder.Commit()
}

// ONNX writes the network's forward pass with its weights as an ONNX file, atomically: inputs sample (N×C×H×W), timestep
// (N) and, for a model with labels, class_labels (N); output out_sample; any batch size N. The sampling loop is the
// reader's. An existing path is refused with an error that wraps fs.ErrExist.
func ONNX(path string, spec model.Spec, weights []float32) error {
	if _, err := tensors(spec, weights); err != nil {
		return sentence.Errorf("export to ONNX: %w", err)
	}
	if err := durable.Vacant(path); err != nil {
		return sentence.Errorf("export to ONNX: %w", err)
	}
	b, err := program.ExportONNX(spec.UNet, weights)
	if err == nil {
		err = durable.WriteNew(path, func(w io.Writer) error { _, err := w.Write(b); return err })
	}
	if err != nil {
		return sentence.Errorf("export to ONNX: %w", err)
	}
	return nil
}

// tensors views the flat weights under diffusers' names.
func tensors(spec model.Spec, weights []float32) ([]safetensors.Tensor, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	params, err := spec.UNet.Params()
	if err != nil {
		return nil, err
	}
	if n := spec.UNet.NumParams(); len(weights) != n {
		return nil, sentence.Errorf("there are %d weights for a network of %d", len(weights), n)
	}
	ts := make([]safetensors.Tensor, len(params))
	for i, p := range params {
		ts[i] = safetensors.Tensor{Name: p.Name, Shape: p.Shape, Data: weights[p.Offset : p.Offset+p.Len()]}
	}
	return ts, nil
}

// scheduler is the content of scheduler_config.json and the name of diffusers' class for it.
func scheduler(spec model.Spec) (class string, config map[string]any, err error) {
	if spec.Objective == diffusion.ObjectiveEDM {
		return "EDMEulerScheduler", map[string]any{
			"_class_name":         "EDMEulerScheduler",
			"_diffusers_version":  diffusersVersion,
			"num_train_timesteps": diffusion.DefaultT,
			"prediction_type":     "epsilon", // its name for EDM's own F; c_skip, c_in, c_out and c_noise are the class's
			"rho":                 diffusion.Rho,
			"sigma_data":          diffusion.SigmaData,
			"sigma_max":           diffusion.SigmaMax,
			"sigma_min":           diffusion.SigmaMin,
			"sigma_schedule":      "karras",
		}, nil
	}
	prediction, ok := map[diffusion.Objective]string{
		diffusion.ObjectiveEps: "epsilon", diffusion.ObjectiveX0: "sample", diffusion.ObjectiveV: "v_prediction",
	}[spec.Objective]
	if !ok {
		return "", nil, sentence.Errorf("diffusers has no counterpart of the objective %q", spec.Objective)
	}
	process, err := spec.Process()
	if err != nil {
		return "", nil, err
	}
	vp, ok := process.(*diffusion.VP)
	if !ok {
		return "", nil, sentence.Errorf("diffusers has no counterpart of the process %q", process.Name())
	}
	s := vp.Schedule()
	beta, own := s.DiffusersName(), []float64(nil)
	if s.Name == diffusion.OwnBetas {
		beta, own = "linear", s.Betas // trained_betas goes before
	}
	return "DDPMScheduler", map[string]any{
		"_class_name":         "DDPMScheduler",
		"_diffusers_version":  diffusersVersion,
		"beta_end":            0.02, // diffusion.NewSchedule's range, which is diffusers' default; a test holds it
		"beta_schedule":       beta,
		"beta_start":          0.0001,
		"clip_sample":         true, // pictures lie in [-1,1]
		"clip_sample_range":   1.0,
		"num_train_timesteps": s.T(),
		"prediction_type":     prediction,
		"timestep_spacing":    "leading",
		"trained_betas":       own,
		"variance_type":       "fixed_small",
	}, nil
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func object(v any) func(io.Writer) error {
	return func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
}
