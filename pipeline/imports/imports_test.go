package imports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/data"
	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/export"
	"unnoise/pipeline/model"
	"unnoise/runtime/safetensors"
)

func exported(t *testing.T, objective diffusion.Objective, classes []string) (string, model.Spec, []float32) {
	t.Helper()
	spec, err := model.New("tiny", model.Options{
		Preprocess: data.Preprocess{Width: 16, Height: 8, Channels: 3, Fit: data.Crop}, Classes: classes, Objective: objective, Schedule: "linear",
	})
	require.NoError(t, err)
	w, err := spec.UNet.Init(3)
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "a model “with” 名字")
	require.NoError(t, export.Diffusers(dir, spec, w))
	return dir, spec, w
}

// What Unnoise exports for diffusers comes back with the same meaning and the same weights.
func TestRoundTrip(t *testing.T) {
	for _, objective := range []diffusion.Objective{"eps", "x0", "v", "edm"} {
		dir, spec, w := exported(t, objective, []string{"a", "b", "c"})
		// The network's folder within the pipeline means the same as the pipeline.
		for _, path := range []string{dir, filepath.Join(dir, "unet")} {
			got, err := Diffusers(path)
			require.NoError(t, err, objective)
			require.Equal(t, spec.Objective, got.Spec.Objective)
			require.Equal(t, spec.ScheduleName(), got.Spec.ScheduleName())
			require.Empty(t, got.Spec.Betas)
			require.Equal(t, spec.UNet.BlockOutChannels, got.Spec.UNet.BlockOutChannels)
			require.Len(t, got.Spec.Classes, 3)
			require.Equal(t, w, got.Weights)
			require.Empty(t, got.Notes)
		}
		// The network's folder alone is a model too, and what was taken for granted is told.
		alone := filepath.Join(t.TempDir(), "net")
		require.NoError(t, os.Rename(filepath.Join(dir, "unet"), alone))
		got, err := Diffusers(alone)
		require.NoError(t, err, objective)
		require.EqualValues(t, "eps", got.Spec.Objective)
		require.Equal(t, w, got.Weights)
		require.Len(t, got.Notes, 1)
	}
}

func TestLegacyNames(t *testing.T) {
	dir, _, w := exported(t, "eps", nil)
	path := filepath.Join(dir, "unet", weightNames[0])
	ts, _, err := safetensors.Read(path)
	require.NoError(t, err)
	renamed := 0
	for i := range ts {
		for _, l := range legacy {
			if n := strings.Replace(ts[i].Name, l.now, l.old, 1); n != ts[i].Name {
				ts[i].Name = n
				renamed++
			}
		}
	}
	require.Positive(t, renamed)
	require.NoError(t, safetensors.WriteFile(path, ts, nil))
	got, err := Diffusers(dir)
	require.NoError(t, err)
	require.Equal(t, w, got.Weights)
}

// edit sets a key of one of a model's configurations; a json.RawMessage is written as it is.
func edit(file, key string, v any) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		p := filepath.Join(dir, filepath.FromSlash(file))
		b, err := os.ReadFile(p)
		require.NoError(t, err)
		m := map[string]json.RawMessage{}
		require.NoError(t, json.Unmarshal(b, &m))
		raw, ok := v.(json.RawMessage)
		if !ok {
			raw, err = json.Marshal(v)
			require.NoError(t, err)
		}
		var out bytes.Buffer // json.Marshal would refuse what only Python writes
		out.WriteString("{")
		delete(m, key)
		for k, old := range m {
			fmt.Fprintf(&out, "%q: %s, ", k, old)
		}
		fmt.Fprintf(&out, "%q: %s}", key, raw)
		require.NoError(t, os.WriteFile(p, out.Bytes(), 0o600))
	}
}

func scheduler(key string, v any) func(*testing.T, string) {
	return edit("scheduler/scheduler_config.json", key, v)
}

func all(steps ...func(*testing.T, string)) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		for _, s := range steps {
			s(t, dir)
		}
	}
}

func TestRefusals(t *testing.T) {
	weights := func(change func([]safetensors.Tensor) []safetensors.Tensor) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			p := filepath.Join(dir, "unet", weightNames[0])
			ts, _, err := safetensors.Read(p)
			require.NoError(t, err)
			require.NoError(t, safetensors.WriteFile(p, change(ts), nil))
		}
	}
	for _, c := range []struct {
		name, want string
		spoil      func(*testing.T, string)
	}{
		{"prediction", "predicts", scheduler("prediction_type", "flow")},
		{"schedule", "noise schedule", scheduler("beta_schedule", "laplace")},
		{"betas", "noise schedule", scheduler("beta_end", 1.5)},
		{"negative betas", "betas run", scheduler("beta_start", -0.1)},
		{"endless betas", "beta_end", scheduler("beta_end", "Infinity")},
		{"betas that are none", "beta_end", scheduler("beta_end", []int{1})},
		{"too few trained betas", "trained_betas", scheduler("trained_betas", []float64{0.1})},
		{"trained betas that are none", "trained_betas", scheduler("trained_betas", "a.npy")},
		{"trained betas beyond 1", "beta 3", scheduler("trained_betas", slices.Concat([]float64{0.1, 0.1, 0.1}, slices.Repeat([]float64{2}, 997)))},
		{"zero SNR", "rescale_betas_zero_snr", scheduler("rescale_betas_zero_snr", true)},
		{"timesteps", "training timesteps", scheduler("num_train_timesteps", -4)},
		{"timesteps that are none", "num_train_timesteps", scheduler("num_train_timesteps", 10.5)},
		{"range", "clip_sample_range", scheduler("clip_sample_range", 5.5)},
		{"thresholding", "thresholding", scheduler("thresholding", true)},
		{"learned variance", "variance_type", scheduler("variance_type", "learned_range")},
		{"flow", "use_flow_sigmas", scheduler("use_flow_sigmas", true)},
		{"sigma_min", "sigma_min", scheduler("sigma_min", 0.1)},
		{"continuous time", "timestep_type", scheduler("timestep_type", "continuous")},
		{"unknown key", "wavelets", scheduler("wavelets", 3)},
		{"flow scheduler", "FlowMatchEulerDiscreteScheduler", all(scheduler("_class_name", "FlowMatchEulerDiscreteScheduler"), noIndex)},
		{"score scheduler", "ScoreSdeVeScheduler", all(scheduler("_class_name", "ScoreSdeVeScheduler"), noIndex)},
		{"consistency", "CMStochasticIterativeScheduler", all(scheduler("_class_name", "CMStochasticIterativeScheduler"), noIndex)},
		{"distilled", "LCMScheduler", all(scheduler("_class_name", "LCMScheduler"), noIndex)},
		{"no scheduler", `""`, all(scheduler("_class_name", nil), noIndex)},
		{"two schedulers", "DDIMScheduler", scheduler("_class_name", "DDIMScheduler")},
		{"VQ-VAE", "vqvae", edit("model_index.json", "vqvae", []string{"diffusers", "VQModel"})},
		{"VQ-VAE without an index", "VQModel", all(noIndex, func(t *testing.T, dir string) {
			require.NoError(t, os.Mkdir(filepath.Join(dir, "vqvae"), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "vqvae", "config.json"), []byte(`{"_class_name": "VQModel"}`), 0o600))
		})},
		{"another pipeline", "KarrasVePipeline", edit("model_index.json", "_class_name", "KarrasVePipeline")},
		{"another network", "UNet1DModel", edit("model_index.json", "unet", []string{"diffusers", "UNet1DModel"})},
		{"a setting of the pipeline", "requires_safety_checker", edit("model_index.json", "requires_safety_checker", true)},
		{"another class", "UNet2DConditionModel", edit("unet/config.json", "_class_name", "UNet2DConditionModel")},
		{"unknown key of the network", "cross_attention_dim", edit("unet/config.json", "cross_attention_dim", 768)},
		{"two channels", "in_channels = 2", all(edit("unet/config.json", "in_channels", 2), edit("unet/config.json", "out_channels", 2))},
		{"variances", "out_channels = 6", edit("unet/config.json", "out_channels", 6)},
		{"fourier", "time_embedding_type", edit("unet/config.json", "time_embedding_type", "fourier")},
		{"pipe", "is not a file", func(t *testing.T, dir string) {
			p := filepath.Join(dir, "scheduler", "scheduler_config.json")
			require.NoError(t, os.Remove(p))
			require.NoError(t, os.Mkdir(p, 0o700)) // as a pipe would be, on every system
		}},
		{"no config", "config.json", func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "unet", "config.json")))
		}},
		{"damaged config", "config.json", func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "unet", "config.json"), []byte("{"), 0o600))
		}},
		{"config of a wrong kind", "layers_per_block is of the wrong kind", edit("unet/config.json", "layers_per_block", []int{1})},
		{"config cut off", "its config.json is damaged: it ends too early", func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "unet", "config.json"), []byte(`{"a":`), 0o600))
		}},
		{"class of a wrong kind", "_class_name = 5", scheduler("_class_name", 5)},
		{"pickle", "pickle", func(t *testing.T, dir string) {
			p := filepath.Join(dir, "unet", weightNames[0])
			require.NoError(t, os.Rename(p, filepath.Join(dir, "unet", "diffusion_pytorch_model.bin")))
		}},
		{"missing weight", "lack", weights(func(ts []safetensors.Tensor) []safetensors.Tensor { return ts[1:] })},
		{"extra weight", "does not ask for", weights(func(ts []safetensors.Tensor) []safetensors.Tensor {
			return append(ts, safetensors.Tensor{Name: "extra", Shape: []int{1}, Data: []float32{1}})
		})},
		{"wrong shape", "shape", weights(func(ts []safetensors.Tensor) []safetensors.Tensor {
			ts[0].Shape, ts[0].Data = []int{len(ts[0].Data) + 1}, append(ts[0].Data[:len(ts[0].Data):len(ts[0].Data)], 0)
			return ts
		})},
		{"truncated", "safetensors", func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "unet", weightNames[0]), 100))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _, _ := exported(t, "eps", nil)
			c.spoil(t, dir)
			_, err := Diffusers(dir)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func noIndex(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, os.Remove(filepath.Join(dir, "model_index.json")))
}

// Every key that says what an EDM model is must say what is done here.
func TestRefusalsOfEDM(t *testing.T) {
	for key, v := range map[string]any{
		"sigma_min": 0.01, "sigma_max": 50, "sigma_data": 1, "prediction_type": "sample", "thresholding": true, "shift": 3, "beta_start": 0.1,
	} {
		dir, _, _ := exported(t, "edm", nil)
		scheduler(key, v)(t, dir)
		_, err := Diffusers(dir)
		want := key
		if key == "prediction_type" {
			want = "predicts"
		}
		require.ErrorContains(t, err, want)
	}
}

// diffusers' EDM schedulers take a v_prediction to be −F: the network's last layer is turned round.
func TestEDMOfTheOtherSign(t *testing.T) {
	dir, spec, w := exported(t, "edm", nil)
	scheduler("prediction_type", "v_prediction")(t, dir)
	got, err := Diffusers(dir)
	require.NoError(t, err)
	require.EqualValues(t, "edm", got.Spec.Objective)
	params, err := spec.UNet.Params()
	require.NoError(t, err)
	turned := 0
	for _, p := range params {
		for i := p.Offset; i < p.Offset+p.Len(); i++ {
			if p.Name == "conv_out.weight" || p.Name == "conv_out.bias" {
				turned++
				require.Equal(t, -w[i], got.Weights[i])
			} else {
				require.Equal(t, w[i], got.Weights[i])
			}
		}
	}
	require.Equal(t, 3*(9*32+1), turned)
}

// Betas that no schedule's name stands for are kept, each of them.
func TestBetasOfItsOwn(t *testing.T) {
	listed := make([]float64, 50)
	for i := range listed {
		listed[i] = 0.001 + 0.002*float64(i)
	}
	for name, c := range map[string]struct {
		edit        func(*testing.T, string)
		T           int
		first, last float64
	}{
		"within two percent": {scheduler("beta_end", 0.0201), 1000, 0.0001, 0.0201},
		"Stable Diffusion's": {all(scheduler("beta_start", 0.00085), scheduler("beta_end", 0.012), scheduler("beta_schedule", "scaled_linear")), 1000, 0.00085, 0.012},
		"listed":             {all(scheduler("trained_betas", listed), scheduler("num_train_timesteps", 50)), 50, 0.001, 0.099},
		"the class's own": {all(scheduler("_class_name", "HeunDiscreteScheduler"), noIndex, func(t *testing.T, dir string) {
			p := filepath.Join(dir, "scheduler", "scheduler_config.json")
			require.NoError(t, os.WriteFile(p, []byte(`{"_class_name": "HeunDiscreteScheduler"}`), 0o600))
		}), 1000, 0.00085, 0.012},
	} {
		dir, _, w := exported(t, "eps", nil)
		c.edit(t, dir)
		got, err := Diffusers(dir)
		require.NoError(t, err, name)
		proc, err := got.Spec.Process()
		require.NoError(t, err, name)
		sch := proc.(*diffusion.VP).Schedule()
		require.Equal(t, c.T, sch.T(), name)
		require.InEpsilon(t, c.first, sch.Betas[0], 1e-6, name)
		require.InEpsilon(t, c.last, sch.Betas[c.T-1], 1e-6, name)
		bar := 1.0
		for _, b := range sch.Betas {
			bar *= 1 - b
		}
		require.InEpsilon(t, bar, sch.AlphasCumprod[c.T-1], 1e-4, name)

		// And they leave as they came.
		out := filepath.Join(t.TempDir(), "out")
		require.NoError(t, export.Diffusers(out, got.Spec, w))
		again, err := Diffusers(out)
		require.NoError(t, err, name)
		require.Equal(t, got.Spec.Betas, again.Spec.Betas, name)
	}
}

// What diffusers writes is read, its literals that JSON has not included; how it draws is told.
func TestWhatDiffusersWrites(t *testing.T) {
	for name, c := range map[string]struct {
		config string
		noted  []string
	}{
		"DPMSolver": {`{"_class_name": "DPMSolverMultistepScheduler", "_diffusers_version": "0.42.1", "algorithm_type": "dpmsolver++",
			"beta_end": 0.02, "beta_schedule": "linear", "beta_start": 0.0001, "dynamic_thresholding_ratio": 0.995, "euler_at_final": false,
			"final_sigmas_type": "zero", "flow_shift": 1.0, "lambda_min_clipped": -Infinity, "lower_order_final": true, "num_train_timesteps": 1000,
			"prediction_type": "epsilon", "rescale_betas_zero_snr": false, "sample_max_value": 1.0, "solver_order": 2, "solver_type": "midpoint",
			"steps_offset": 0, "thresholding": false, "time_shift_type": "exponential", "timestep_spacing": "linspace", "trained_betas": null,
			"use_beta_sigmas": false, "use_dynamic_shifting": false, "use_exponential_sigmas": false, "use_flow_sigmas": false,
			"use_karras_sigmas": true, "use_lu_lambdas": false, "variance_type": null}`, []string{`timestep_spacing = "linspace"`}},
		"the first DDPMs": {`{"_class_name": "DDPMScheduler", "_diffusers_version": "0.1.1", "beta_end": 0.02, "beta_schedule": "linear", "beta_start": 0.0001,
			"clip_sample": true, "num_train_timesteps": 1000, "predict_epsilon": true, "timestep_values": null, "tensor_format": "pt", "trained_betas": null,
			"variance_type": "fixed_large"}`, []string{`variance_type = "fixed_large"`}},
		"DDIM": {`{"_class_name": "DDIMScheduler", "clip_sample": false, "clip_sample_range": 4.0, "set_alpha_to_one": false, "steps_offset": 1,
			"skip_prk_steps": true}`, []string{"clip_sample = false", "set_alpha_to_one = false", "steps_offset = 1"}},
	} {
		dir, _, _ := exported(t, "eps", nil)
		noIndex(t, dir)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "scheduler", "scheduler_config.json"), []byte(c.config), 0o600))
		got, err := Diffusers(dir)
		require.NoError(t, err, name)
		require.EqualValues(t, "eps", got.Spec.Objective)
		require.Equal(t, "linear", got.Spec.Schedule)
		require.Len(t, got.Notes, 1, name)
		for _, n := range c.noted {
			require.Contains(t, got.Notes[0].String(), n)
		}
		require.Equal(t, len(c.noted), strings.Count(got.Notes[0].String(), " = "), name)
	}
	require.Equal(t, `{"a": "-Infinity", "b": ["NaN","Infinity"], "NaN \" Infinity": "-Infinity"}`,
		string(quoteNonFinite([]byte(`{"a": -Infinity, "b": [NaN,Infinity], "NaN \" Infinity": "-Infinity"}`))))
}

// split writes the weights of a model in parts, as diffusers does with large ones.
func split(t *testing.T, dir string, of func(i int, name string) string) {
	t.Helper()
	path := filepath.Join(dir, "unet", weightNames[0])
	ts, _, err := safetensors.Read(path)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	index := map[string]any{"metadata": map[string]any{"total_size": 1}}
	where, parts := map[string]string{}, map[string][]safetensors.Tensor{}
	for i, x := range ts {
		n := of(i, x.Name)
		where[x.Name] = n
		parts[n] = append(parts[n], x)
	}
	for n, p := range parts {
		if filepath.IsLocal(n) {
			require.NoError(t, safetensors.WriteFile(filepath.Join(dir, "unet", n), p, nil))
		}
	}
	index["weight_map"] = where
	b, err := json.Marshal(index)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path+".index.json", b, 0o600))
}

func TestWeightsInParts(t *testing.T) {
	part := func(i int, _ string) string {
		return fmt.Sprintf("diffusion_pytorch_model-%05d-of-00003.safetensors", i%3+1)
	}
	dir, _, w := exported(t, "eps", nil)
	split(t, dir, part)
	got, err := Diffusers(dir)
	require.NoError(t, err)
	require.Equal(t, w, got.Weights)

	require.NoError(t, os.Remove(filepath.Join(dir, "unet", part(1, ""))))
	_, err = Diffusers(dir)
	require.ErrorContains(t, err, part(1, ""))

	dir, _, _ = exported(t, "eps", nil)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "w.safetensors"), []byte("outside"), 0o600))
	split(t, dir, func(i int, _ string) string { return "../w.safetensors" })
	_, err = Diffusers(dir)
	require.ErrorContains(t, err, "not one of its folder")

	dir, _, _ = exported(t, "eps", nil)
	split(t, dir, func(i int, _ string) string { return fmt.Sprintf("%d.safetensors", i%2) })
	one, err := os.ReadFile(filepath.Join(dir, "unet", "0.safetensors"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "unet", "1.safetensors"), one, 0o600))
	_, err = Diffusers(dir)
	require.ErrorContains(t, err, "does not ask for", "a weight twice is one too many")
}

func TestWeightsRoundTrip(t *testing.T) {
	_, spec, w := exported(t, "v", nil)
	path := filepath.Join(t.TempDir(), "w.safetensors")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.Error(t, WriteWeights(f, spec, w[1:]))
	require.NoError(t, WriteWeights(f, spec, w))
	require.NoError(t, f.Close())
	got, err := ReadWeights(path, spec)
	require.NoError(t, err)
	require.Equal(t, w, got)
	require.NoError(t, os.Truncate(path, 1000))
	_, err = ReadWeights(path, spec)
	require.ErrorContains(t, err, path)
}

func FuzzDescribe(f *testing.F) {
	f.Add([]byte(`{"_class_name":"DDPMScheduler","beta_schedule":"squaredcos_cap_v2","num_train_timesteps":1000,"prediction_type":"epsilon"}`), []byte(`{"sample_size":8}`))
	f.Add([]byte(`{"_class_name":"EDMEulerScheduler","sigma_data":0.5}`), []byte(`{"num_class_embeds":4}`))
	f.Fuzz(func(t *testing.T, scheduler, config []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "scheduler_config.json"), scheduler, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600))
		if _, err := Diffusers(dir); err == nil {
			t.Fatal("a model without weights was taken in")
		}
	})
}
