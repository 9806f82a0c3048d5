package imports

import (
	"encoding/json"
	"os"
	"path/filepath"
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
		got, gw, err := Diffusers(dir)
		require.NoError(t, err, objective)
		require.Equal(t, spec.Objective, got.Objective)
		require.Equal(t, spec.ScheduleName(), got.ScheduleName())
		require.Equal(t, spec.UNet.BlockOutChannels, got.UNet.BlockOutChannels)
		require.Len(t, got.Classes, 3)
		require.Equal(t, w, gw)

		// The network's folder alone is a model too.
		got, gw, err = Diffusers(filepath.Join(dir, "unet"))
		require.NoError(t, err, objective)
		require.EqualValues(t, "eps", got.Objective)
		require.Equal(t, w, gw)
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
	_, gw, err := Diffusers(dir)
	require.NoError(t, err)
	require.Equal(t, w, gw)
}

func TestRefusals(t *testing.T) {
	edit := func(key string, v any) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			p := filepath.Join(dir, "scheduler", "scheduler_config.json")
			b, err := os.ReadFile(p)
			require.NoError(t, err)
			m := map[string]any{}
			require.NoError(t, json.Unmarshal(b, &m))
			m[key] = v
			b, err = json.Marshal(m)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(p, b, 0o600))
		}
	}
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
		{"prediction", "predicts", edit("prediction_type", "flow")},
		{"schedule", "noise schedule", edit("beta_schedule", "laplace")},
		{"betas", "betas run", edit("beta_end", 0.5)},
		{"trained betas", "trained betas", edit("trained_betas", []float64{0.1})},
		{"zero SNR", "zero SNR", edit("rescale_betas_zero_snr", true)},
		{"timesteps", "training timesteps", edit("num_train_timesteps", -4)},
		{"no config", "config.json", func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "unet", "config.json")))
		}},
		{"damaged config", "config.json", func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "unet", "config.json"), []byte("{"), 0o600))
		}},
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
			_, _, err := Diffusers(dir)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
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
		if _, _, err := Diffusers(dir); err == nil {
			t.Fatal("a model without weights was taken in")
		}
	})
}
