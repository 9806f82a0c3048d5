package export

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/data"
	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/model"
	"unnoise/runtime/durable"
	"unnoise/runtime/safetensors"
	"unnoise/runtime/unet"
)

func spec(t *testing.T, change func(*model.Options)) model.Spec {
	t.Helper()
	o := model.Options{Preprocess: data.Preprocess{Width: 8, Height: 12, Channels: 3, Fit: data.Crop}}
	if change != nil {
		change(&o)
	}
	s, err := model.New("tiny", o)
	require.NoError(t, err)
	return s
}

func readJSON(t *testing.T, path string) (m map[string]any) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &m))
	return m
}

func TestDiffusers(t *testing.T) {
	for _, objective := range diffusion.Objectives() {
		for _, schedule := range diffusion.ScheduleNames() {
			s := spec(t, func(o *model.Options) { o.Objective, o.Schedule = objective, schedule })
			w, err := s.UNet.Init(3)
			require.NoError(t, err)
			p := filepath.Join(t.TempDir(), "new", "out")
			require.NoError(t, Diffusers(p, s, w))

			b, err := os.ReadFile(filepath.Join(p, "unet", "config.json"))
			require.NoError(t, err)
			cfg, err := unet.ParseConfig(b)
			require.NoError(t, err)
			require.Equal(t, s.UNet, cfg)
			ts, meta, err := safetensors.Read(filepath.Join(p, "unet", "diffusion_pytorch_model.safetensors"))
			require.NoError(t, err)
			require.Equal(t, "pt", meta["format"], "diffusers refuses a file without")
			byName := map[string]safetensors.Tensor{}
			for _, x := range ts {
				byName[x.Name] = x
			}
			params, err := cfg.Params()
			require.NoError(t, err)
			require.Len(t, byName, len(params))
			for _, q := range params {
				require.Equal(t, q.Shape, byName[q.Name].Shape)
				require.Equal(t, w[q.Offset:q.Offset+q.Len()], byName[q.Name].Data)
			}

			sch := readJSON(t, filepath.Join(p, "scheduler", "scheduler_config.json"))
			if objective == diffusion.ObjectiveEDM {
				require.Equal(t, "EDMEulerScheduler", sch["_class_name"])
				require.EqualValues(t, diffusion.SigmaData, sch["sigma_data"])
				require.NoFileExists(t, filepath.Join(p, "model_index.json"))
				continue
			}
			require.Equal(t, map[diffusion.Objective]string{"eps": "epsilon", "x0": "sample", "v": "v_prediction"}[objective], sch["prediction_type"])
			require.Equal(t, map[string]string{
				"linear": "linear", "scaled_linear": "scaled_linear", "cosine": "squaredcos_cap_v2", "sigmoid": "sigmoid",
			}[schedule], sch["beta_schedule"])
			process, err := s.Process()
			require.NoError(t, err)
			betas := process.(*diffusion.VP).Schedule().Betas
			require.EqualValues(t, len(betas), sch["num_train_timesteps"])
			lo, hi := sch["beta_start"].(float64), sch["beta_end"].(float64)
			switch schedule { // diffusers' formulas at both ends
			case "linear", "scaled_linear":
				require.InEpsilon(t, lo, betas[0], 1e-6)
				require.InEpsilon(t, hi, betas[len(betas)-1], 1e-6)
			case "sigmoid":
				require.InEpsilon(t, lo+(hi-lo)/(1+math.Exp(6)), betas[0], 1e-6)
				require.InEpsilon(t, lo+(hi-lo)/(1+math.Exp(-6)), betas[len(betas)-1], 1e-6)
			}
			idx := readJSON(t, filepath.Join(p, "model_index.json"))
			require.Equal(t, "DDPMPipeline", idx["_class_name"])
			require.Equal(t, []any{"diffusers", "DDPMScheduler"}, idx["scheduler"])
			require.Equal(t, []any{"diffusers", "UNet2DModel"}, idx["unet"])
		}
	}
}

func TestReadme(t *testing.T) {
	plain := readme(spec(t, nil), "DDPMScheduler")
	require.Contains(t, plain, "8 × 12 pixels")
	require.Contains(t, plain, "DDPMPipeline.from_pretrained")
	require.NotContains(t, plain, "label")
	edm := readme(spec(t, func(o *model.Options) { o.Objective = "edm" }), "EDMEulerScheduler")
	require.Contains(t, edm, "import EDMEulerScheduler")
	require.Contains(t, edm, "labels = None")
	classes := readme(spec(t, func(o *model.Options) {
		o.Classes, o.Preprocess.Augment = []string{"ap|ples", "pears"}, true
	}), "DDPMScheduler")
	require.Contains(t, classes, "| 0 | ap\\|ples |\n| 4 | pears |", "four transforms of each where the sides differ")
	require.Contains(t, classes, "torch.randn(n, 3, 12, 8)")
}

func TestDiffusersRefuses(t *testing.T) {
	dir := t.TempDir()
	s := spec(t, nil)
	w, err := s.UNet.Init(3)
	require.NoError(t, err)
	p := filepath.Join(dir, "out")
	require.ErrorContains(t, Diffusers(p, s, w[1:]), "weights for a network of")
	bad := s
	bad.Schedule = "quadratic"
	require.ErrorContains(t, Diffusers(p, bad, w), "quadratic")
	for _, room := range []int{0, 100, 4 * len(w)} {
		full := durable.Disk{Create: func(path string) (durable.File, error) {
			f, err := durable.CreateNew(path)
			return &small{f, room}, err
		}}
		require.ErrorIs(t, diffusers(full, p, s, w), syscall.ENOSPC)
	}
	require.NoError(t, os.Mkdir(p, 0o700))
	require.ErrorIs(t, Diffusers(p, s, w), fs.ErrExist)
	err = Diffusers(p, s, w)
	require.False(t, strings.Contains(err.Error(), "\n"), "one sentence")
	es, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, es, 1, "nothing is left behind")
	es, err = os.ReadDir(p)
	require.NoError(t, err)
	require.Empty(t, es)
}

func TestONNX(t *testing.T) {
	dir := t.TempDir()
	for name, change := range map[string]func(*model.Options){"plain": nil, "classes": func(o *model.Options) { o.Classes = []string{"a", "b"} }} {
		s := spec(t, change)
		w, err := s.UNet.Init(3)
		require.NoError(t, err)
		p := filepath.Join(dir, name+".onnx")
		require.NoError(t, ONNX(p, s, w))
		b, err := os.ReadFile(p)
		require.NoError(t, err)
		require.Greater(t, len(b), 4*len(w), "the weights are inside")
		for _, tensor := range []string{"sample", "timestep", "out_sample"} {
			require.Contains(t, string(b), tensor)
		}
		require.Equal(t, name == "classes", bytes.Contains(b, []byte("class_labels")))
		require.ErrorIs(t, ONNX(p, s, w), fs.ErrExist)
		require.ErrorContains(t, ONNX(filepath.Join(dir, "x"), s, w[1:]), "weights for a network of")
		require.ErrorIs(t, ONNX(filepath.Join(dir, "no", "x"), s, w), fs.ErrNotExist)
	}
	es, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, es, 2)
}

// small is a file on a disk with room for so many bytes of it.
type small struct {
	durable.File
	left int
}

func (f *small) Write(p []byte) (int, error) {
	if len(p) > f.left {
		return 0, syscall.ENOSPC
	}
	f.left -= len(p)
	return f.File.Write(p)
}
