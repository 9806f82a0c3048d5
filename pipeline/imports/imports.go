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
	"unnoise/pipeline/model"
	"unnoise/runtime/safetensors"
	"unnoise/runtime/sentence"
	"unnoise/runtime/unet"
)

const maxJSON = 1 << 20

// Model is a model that another program trained.
type Model struct {
	Spec    model.Spec
	Weights []float32 // the flat vector of the spec's network
	// Notes are what a person should know: what was taken for granted, and what is chosen here when pictures are drawn.
	Notes []sentence.Text
}

// Diffusers reads the model in a folder: that of a pipeline, with unet/config.json and scheduler/scheduler_config.json, or
// that of a network alone, with config.json and the weights side by side, which is taken for a DDPM (ε, linear schedule)
// unless a scheduler_config.json beside it says otherwise. Every key of its configurations is used or refused by name.
// The folder is hostile until checked: nothing is read that its configuration does not name, and every shape must fit.
func Diffusers(path string) (Model, error) {
	m, err := diffusers(path)
	if err != nil {
		return Model{}, sentence.Errorf("%s cannot be imported: %w", path, err)
	}
	return m, nil
}

func diffusers(path string) (Model, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Model{}, err
	}
	if st, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return Model{}, sentence.T("it does not exist").Because(err)
	} else if err == nil && !st.IsDir() {
		return Model{}, sentence.Errorf("it is not a folder: give the folder of a diffusers pipeline or UNet2DModel")
	}
	if parent := filepath.Dir(path); filepath.Base(path) == "unet" && isPipeline(parent) {
		path = parent // the network of a pipeline, whose scheduler says what it predicts
	}
	net := filepath.Join(path, "unet")
	if _, err := os.Stat(filepath.Join(net, "config.json")); errors.Is(err, fs.ErrNotExist) {
		net = path
	}
	cfg, err := readNetwork(filepath.Join(net, "config.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return Model{}, sentence.Errorf("it has neither unet/config.json nor config.json: give the folder of a diffusers pipeline or UNet2DModel")
	}
	if err != nil {
		return Model{}, err
	}
	m, negate, err := describe(path, cfg)
	if err != nil {
		return Model{}, err
	}
	if m.Weights, err = readWeights(net, cfg); err != nil {
		return Model{}, err
	}
	if negate {
		params, err := cfg.Params()
		if err != nil {
			return Model{}, err
		}
		for _, p := range params {
			if strings.HasPrefix(p.Name, "conv_out.") { // the last layer, which is linear
				for i := range p.Len() {
					m.Weights[p.Offset+i] = -m.Weights[p.Offset+i]
				}
			}
		}
	}
	return m, nil
}

func isPipeline(dir string) bool {
	for _, name := range []string{"model_index.json", filepath.Join("scheduler", "scheduler_config.json")} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

func describe(path string, cfg unet.Config) (m Model, negate bool, err error) {
	class, err := checkPipeline(path)
	if err != nil {
		return m, false, err
	}
	w, h := cfg.Size()
	m.Spec = model.Spec{
		Version: model.Version, UNet: cfg, Weighting: "simple",
		Preprocess: data.Preprocess{Width: w, Height: h, Channels: cfg.InChannels, Fit: data.Crop},
	}
	if n := cfg.Classes(); n > 1 {
		for i := range n {
			m.Spec.Classes = append(m.Spec.Classes, fmt.Sprintf("class %d", i))
		}
	}
	var config map[string]json.RawMessage
	for _, name := range []string{filepath.Join("scheduler", "scheduler_config.json"), "scheduler_config.json"} {
		if config, err = readObject(filepath.Join(path, name)); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		config = map[string]json.RawMessage{"_class_name": json.RawMessage(`"DDPMScheduler"`)}
		m.Notes = append(m.Notes, sentence.T("It has no scheduler_config.json, so it is taken for a DDPM that predicts the noise of 1,000 linear steps."))
	} else if err != nil {
		return m, false, err
	}
	negate, noted, err := scheduled(&m.Spec, config, class)
	if err != nil {
		return m, false, err
	}
	if len(noted) > 0 {
		m.Notes = append(m.Notes, sentence.T("Its scheduler draws with {{.Keys}}; here that is chosen when pictures are drawn.", "Keys", strings.Join(noted, ", ")))
	}
	return m, negate, m.Spec.Validate()
}

// legacy are the names that attention had in diffusers before 0.17, and those of today.
var legacy = []struct{ old, now string }{
	{".query.", ".to_q."}, {".key.", ".to_k."}, {".value.", ".to_v."}, {".proj_attn.", ".to_out.0."},
}

// The names of the weights' file, the best first. With ".index.json" behind or ".index" before the variant's name, the
// file lists the parts that the weights are split into.
var weightNames = []string{
	"diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json",
	"diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.safetensors.index.fp16.json",
	"model.safetensors",
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
	path := filepath.Join(dir, weightNames[i])
	if !strings.HasSuffix(path, ".json") {
		return readFiles([]string{path}, cfg)
	}
	names, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	for k, n := range names {
		names[k] = filepath.Join(dir, n)
		if _, err := os.Stat(names[k]); errors.Is(err, fs.ErrNotExist) {
			return nil, sentence.Errorf("its %s names the file %.100q, which is missing: copy it there, too", weightNames[i], n)
		}
	}
	return readFiles(names, cfg)
}

const maxParts = 1000

// readIndex returns the names of the files that an index names, all of them in its own folder.
func readIndex(path string) ([]string, error) {
	index, err := readObject(path)
	if err != nil {
		return nil, err
	}
	var of map[string]string
	base := filepath.Base(path)
	if _, err := follow(base, index, map[string]rule{"metadata": idle, "weight_map": read(&of)}); err != nil {
		return nil, err
	}
	var names []string
	for _, n := range of {
		if !filepath.IsLocal(n) || filepath.Base(n) != n || !strings.HasSuffix(n, ".safetensors") {
			return nil, sentence.Errorf("its %s names the file %.100q, which is not one of its folder", base, n)
		}
		if !slices.Contains(names, n) {
			if names = append(names, n); len(names) > maxParts {
				return nil, sentence.Errorf("its %s names more than %d files", base, maxParts)
			}
		}
	}
	if len(names) == 0 {
		return nil, sentence.Errorf("its %s names no files", base)
	}
	slices.Sort(names)
	return names, nil
}

// readFiles reads the weights of a network from the files they are split into; all of them must be there, each once, and
// no other. Nothing is read before every name and shape fits the configuration.
func readFiles(paths []string, cfg unet.Config) ([]float32, error) {
	params, err := cfg.Params()
	if err != nil {
		return nil, err
	}
	missing := make(map[string]unet.Param, len(params))
	for _, p := range params {
		missing[p.Name] = p
	}
	place := make(map[string]unet.Param, len(params))
	type part struct {
		file   *os.File
		header *safetensors.Header
	}
	var parts []part
	defer func() {
		for _, p := range parts {
			_ = p.file.Close()
		}
	}()
	for _, path := range paths {
		f, err := open(path)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part{file: f})
		st, err := f.Stat()
		if err != nil {
			return nil, err
		}
		h, err := safetensors.ReadHeader(f, st.Size())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		parts[len(parts)-1].header = h
		for _, t := range h.Tensors {
			name := today(t.Name)
			p, ok := missing[name]
			if !ok {
				return nil, sentence.Errorf("it has the weight %s, which its configuration does not ask for", name)
			}
			if !slices.Equal(t.Shape, p.Shape) && !squeezed(t.Shape, p.Shape) {
				return nil, sentence.Errorf("its weight %s has the shape %v, and its configuration asks for %v", p.Name, t.Shape, p.Shape)
			}
			delete(missing, name)
			place[t.Name] = p
		}
	}
	for _, p := range params {
		if _, ok := missing[p.Name]; ok {
			return nil, sentence.Errorf("its weights lack %s", p.Name)
		}
	}
	flat := make([]float32, cfg.NumParams())
	for _, p := range parts {
		err := p.header.ReadData(p.file, func(t safetensors.Info) ([]float32, error) {
			to := place[t.Name]
			return flat[to.Offset : to.Offset+to.Len()], nil
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.file.Name(), err)
		}
	}
	for _, v := range flat {
		if v-v != 0 {
			return nil, sentence.Errorf("its weights are not all finite numbers")
		}
	}
	return flat, nil
}

// today is the present name of a weight.
func today(name string) string {
	for _, l := range legacy {
		name = strings.Replace(name, l.old, l.now, 1)
	}
	return name
}

// squeezed reports whether a is b with dimensions of 1 at its end, as linear layers saved as 1×1 convolutions have.
func squeezed(a, b []int) bool {
	for len(a) > len(b) && a[len(a)-1] == 1 {
		a = a[:len(a)-1]
	}
	return slices.Equal(a, b)
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
	flat, err := readFiles([]string{path}, spec.UNet)
	if err != nil {
		return nil, sentence.Errorf("the weights %s cannot be used: %w", path, err)
	}
	return flat, nil
}
