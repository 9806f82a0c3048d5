package unet

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type reference struct {
	Config json.RawMessage `json:"config"`
	Params [][2]any        `json:"params"`
}

// references are diffusers' models (bench/fixtures/params.py).
func references(t testing.TB) map[string]reference {
	b, err := os.ReadFile("testdata/params.json")
	require.NoError(t, err)
	var out map[string]reference
	require.NoError(t, json.Unmarshal(b, &out))
	require.GreaterOrEqual(t, len(out), 10)
	return out
}

func TestParamsAreThoseOfDiffusers(t *testing.T) {
	for name, ref := range references(t) {
		t.Run(name, func(t *testing.T) {
			cfg, err := ParseConfig(ref.Config)
			require.NoError(t, err)
			want := map[string][]int{}
			total := 0
			for _, p := range ref.Params {
				var shape []int
				n := 1
				for _, d := range p[1].([]any) {
					shape = append(shape, int(d.(float64)))
					n *= int(d.(float64))
				}
				want[p[0].(string)] = shape
				total += n
			}
			ps, err := cfg.Params()
			require.NoError(t, err)
			got, offset := map[string][]int{}, 0
			for _, p := range ps {
				require.NotContains(t, got, p.Name)
				require.Equal(t, offset, p.Offset, p.Name)
				require.Equal(t, p.Name == "time_proj.weight", p.Frozen, p.Name)
				got[p.Name] = p.Shape
				offset += p.Len()
			}
			require.Equal(t, want, got)
			require.Equal(t, total, cfg.NumParams())
			if name == "ddpm-cifar10" {
				require.Equal(t, 35_746_307, total) // the size of google/ddpm-cifar10-32
			}
		})
	}
}

// config.json written by us is what diffusers' own says, key by key.
func TestJSONKeepsDiffusersKeys(t *testing.T) {
	for name, ref := range references(t) {
		cfg, err := ParseConfig(ref.Config)
		require.NoError(t, err, name)
		b, err := cfg.JSON()
		require.NoError(t, err)
		again, err := ParseConfig(b)
		require.NoError(t, err)
		require.Equal(t, cfg, again, name)
		var ours, theirs map[string]any
		require.NoError(t, json.Unmarshal(b, &ours))
		require.NoError(t, json.Unmarshal(ref.Config, &theirs))
		require.Equal(t, "UNet2DModel", ours["_class_name"])
		for k, v := range ours {
			if want, ok := theirs[k]; ok && k != "_diffusers_version" {
				require.Equal(t, want, v, "%s: %s", name, k)
			}
		}
		for k, v := range theirs {
			if k[0] != '_' {
				require.Contains(t, ours, k, "%s has %s = %v", name, k, v)
			}
		}
	}
}

func valid() Config {
	c := Default()
	c.SampleSize = Size{W: 32, H: 24}
	c.BlockOutChannels = []int{32, 64, 64}
	c.DownBlockTypes = []string{Down, AttnDown, Down}
	c.UpBlockTypes = []string{Up, AttnUp, Up}
	return c
}

func ptr[T any](v T) *T { return &v }

func TestValidateSaysWhatIsWrong(t *testing.T) {
	require.NoError(t, valid().Validate())
	for want, spoil := range map[string]func(c *Config){
		"block_out_channels has 0 levels; 1 to 8 can be built":                func(c *Config) { c.BlockOutChannels = nil },
		"block_out_channels has 9 levels; 1 to 8 can be built":                func(c *Config) { c.BlockOutChannels = make([]int, 9) },
		"down_block_types and up_block_types must have 3 entries":             func(c *Config) { c.UpBlockTypes = c.UpBlockTypes[1:] },
		`down_block_types holds "SkipDownBlock2D"`:                            func(c *Config) { c.DownBlockTypes[0] = "SkipDownBlock2D" },
		`up_block_types holds ""`:                                             func(c *Config) { c.UpBlockTypes[2] = "" },
		`mid_block_type is "Other"`:                                           func(c *Config) { c.MidBlockType = ptr("Other") },
		"in_channels and out_channels must lie in 1…64, not 0":                func(c *Config) { c.InChannels = 0 },
		"in_channels and out_channels must lie in 1…64, not 65":               func(c *Config) { c.OutChannels = 65 },
		"layers_per_block must lie in 1…16, not 0":                            func(c *Config) { c.LayersPerBlock = 0 },
		"layers_per_block must lie in 1…16, not 17":                           func(c *Config) { c.LayersPerBlock = 17 },
		"norm_num_groups must be at least 1, not -1":                          func(c *Config) { c.NormNumGroups = -1 },
		"block_out_channels must lie in 1…4096, not -64":                      func(c *Config) { c.BlockOutChannels[1] = -64 },
		"block_out_channels must lie in 1…4096, not 8192":                     func(c *Config) { c.BlockOutChannels[1] = 8192 },
		"norm_num_groups 32 does not divide 40 channels":                      func(c *Config) { c.BlockOutChannels[2] = 40 },
		"attention_head_dim 24 does not divide 32 channels":                   func(c *Config) { c.AttentionHeadDim = ptr(24) },
		"attention_head_dim 0 does not divide 32 channels":                    func(c *Config) { c.AttentionHeadDim = ptr(0) },
		"attn_norm_num_groups 7 does not divide 64 channels":                  func(c *Config) { c.AttnNormNumGroups = ptr(7) },
		"attn_norm_num_groups 0 does not divide 64 channels":                  func(c *Config) { c.AttnNormNumGroups = ptr(0) },
		"sample_size must lie in 1…2048, not 0 × 24":                          func(c *Config) { c.SampleSize.W = 0 },
		"sample_size must lie in 1…2048, not 32 × 4096":                       func(c *Config) { c.SampleSize.H = 4096 },
		"multiples of 4, and 30 × 25 is not; the nearest is 32 × 24":          func(c *Config) { c.SampleSize = Size{W: 30, H: 25} },
		"multiples of 4, and 1 × 2 is not; the nearest is 4 × 4":              func(c *Config) { c.SampleSize = Size{W: 1, H: 2} },
		"multiples of 4, and 2047 × 4 is not; the nearest is 2048 × 4":        func(c *Config) { c.SampleSize = Size{W: 2047, H: 4} },
		`time_embedding_type is "learned"`:                                    func(c *Config) { c.TimeEmbeddingType = "learned" },
		"freq_shift 16 is not below half of the first level's 32 channels":    func(c *Config) { c.FreqShift = 16 },
		"time_embedding_dim must lie in 1…16384, not 0":                       func(c *Config) { c.TimeEmbeddingDim = ptr(0) },
		`downsample_type and upsample_type can be conv or resnet, not "pool"`: func(c *Config) { c.DownsampleType = "pool" },
		`downsample_type and upsample_type can be conv or resnet, not ""`:     func(c *Config) { c.UpsampleType = "" },
		"downsample_padding can be 0 or 1, not 2":                             func(c *Config) { c.DownsamplePadding = 2 },
		`act_fn is "relu"; silu can be built`:                                 func(c *Config) { c.ActFn = "relu" },
		`resnet_time_scale_shift is "ada"`:                                    func(c *Config) { c.ResnetTimeScaleShift = "ada" },
		`class_embed_type is "timestep"`:                                      func(c *Config) { c.ClassEmbedType = ptr("timestep") },
		"num_class_embeds must lie in 1…1048576, not 0":                       func(c *Config) { c.NumClassEmbeds = ptr(0) },
		"dropout must lie in [0, 1), not 1":                                   func(c *Config) { c.Dropout = 1 },
		"dropout must lie in [0, 1), not NaN":                                 func(c *Config) { c.Dropout = math.NaN() },
		"norm_eps must lie in (0, 1), not 0":                                  func(c *Config) { c.NormEps = 0 },
		"mid_block_scale_factor must be a number other than 0":                func(c *Config) { c.MidBlockScaleFactor = math.Inf(1) },
		"parameters; at most 536870912 can be held":                           func(c *Config) { c.BlockOutChannels, c.LayersPerBlock = []int{4096, 4096, 4096}, 16 },
	} {
		c := valid()
		spoil(&c)
		err := c.Validate()
		require.ErrorContains(t, err, want)
		require.True(t, strings.HasPrefix(err.Error(), "model configuration: "), err)
		require.NotContains(t, err.Error(), "\n")
		_, err = c.Params()
		require.ErrorContains(t, err, want)
		require.Zero(t, c.NumParams())
		_, err = c.Init(1)
		require.ErrorContains(t, err, want)
	}
	// what only the attention layers need is not asked of a model without any
	c := valid()
	c.DownBlockTypes, c.UpBlockTypes, c.AddAttention, c.AttentionHeadDim = []string{Down, Down, Down}, []string{Up, Up, Up}, false, ptr(24)
	require.NoError(t, c.Validate())
}

func TestParseConfigRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                                       "is damaged",
		"[]":                                     "is damaged",
		`{"_class_name":"UNet2DConditionModel"}`: `describes a "UNet2DConditionModel"; only UNet2DModel can be opened`,
		`{"sample_size":[1,2,3]}`:                "sample_size must be a number or [height, width]",
		`{"sample_size":"big"}`:                  "sample_size must be a number or [height, width]",
		`{"sample_size":null}`:                   "sample_size must lie in 1…2048",
		`{}`:                                     "sample_size must lie in 1…2048",
		`{"sample_size":32,"in_channels":"a"}`:   "cannot be read",
		`{"sample_size":32,"in_channels":1e99}`:  "cannot be read",
		strings.Repeat(" ", 1<<20) + "{}":        "at most 1048576 are read",
	} {
		_, err := ParseConfig([]byte(in))
		require.ErrorContains(t, err, want, "%.60s", in)
	}
	c, err := ParseConfig([]byte(`{"sample_size":[16,32],"block_out_channels":[32,64,96,128],"unknown":1}`))
	require.NoError(t, err)
	w, h := c.Size()
	require.Equal(t, []int{32, 16}, []int{w, h})
}

func TestInit(t *testing.T) {
	c := valid()
	c.NumClassEmbeds = ptr(300)
	c.TimeEmbeddingType = "fourier"
	v, err := c.Init(1)
	require.NoError(t, err)
	again, err := c.Init(1)
	require.NoError(t, err)
	require.Equal(t, v, again)
	other, err := c.Init(2)
	require.NoError(t, err)
	ps, err := c.Params()
	require.NoError(t, err)
	shapes := map[string][]int{}
	for _, p := range ps {
		shapes[p.Name] = p.Shape
	}
	for _, p := range ps {
		x := v[p.Offset : p.Offset+p.Len()]
		var sum, square, largest float64
		for _, f := range x {
			sum += float64(f)
			square += float64(f) * float64(f)
			largest = max(largest, math.Abs(float64(f)))
		}
		n := float64(len(x))
		deviation := math.Sqrt(square / n)
		normal := func(sigma float64) {
			require.InDelta(t, 0, sum/n, 5*sigma/math.Sqrt(n), p.Name)
			require.InDelta(t, sigma, deviation, 5*sigma/math.Sqrt(2*n), p.Name)
		}
		switch {
		case strings.Contains(p.Name, "norm"):
			for _, f := range x {
				require.Equal(t, strings.HasSuffix(p.Name, "weight"), f == 1, p.Name)
			}
			continue
		case p.Name == "time_proj.weight":
			normal(16)
		case p.Name == "class_embedding.weight":
			normal(1)
		default: // uniform in ±1/√fan_in, biases by their weight's fan
			shape := shapes[strings.TrimSuffix(strings.TrimSuffix(p.Name, "bias"), "weight")+"weight"]
			fan := 1
			for _, d := range shape[1:] {
				fan *= d
			}
			bound := 1 / math.Sqrt(float64(fan))
			require.LessOrEqual(t, largest, bound*(1+1e-6), p.Name)
			require.InDelta(t, bound/math.Sqrt(3), deviation, 5*bound/math.Sqrt(n), p.Name)
			require.InDelta(t, 0, sum/n, 5*bound/math.Sqrt(3*n), p.Name)
		}
		require.NotEqual(t, x, other[p.Offset:p.Offset+p.Len()], p.Name)
	}
}

func TestCanonicalName(t *testing.T) {
	for old, want := range map[string]string{
		"down_blocks.1.attentions.0.query.weight":  "down_blocks.1.attentions.0.to_q.weight",
		"mid_block.attentions.0.key.bias":          "mid_block.attentions.0.to_k.bias",
		"up_blocks.0.attentions.2.value.weight":    "up_blocks.0.attentions.2.to_v.weight",
		"mid_block.attentions.0.proj_attn.weight":  "mid_block.attentions.0.to_out.0.weight",
		"mid_block.attentions.0.group_norm.weight": "mid_block.attentions.0.group_norm.weight",
		"mid_block.resnets.0.key.weight":           "mid_block.resnets.0.key.weight",
		"conv_in.weight":                           "conv_in.weight",
	} {
		require.Equal(t, want, CanonicalName(old))
		require.Equal(t, want, CanonicalName(want))
	}
	// today's names are their own
	for name, ref := range references(t) {
		for _, p := range ref.Params {
			require.Equal(t, p[0], CanonicalName(p[0].(string)), name)
		}
	}
}

func TestNearest(t *testing.T) {
	for f := 1; f <= 32; f *= 2 {
		for n := 1; n < 100; n++ {
			got := nearest(n, f)
			require.Zero(t, got%f)
			require.GreaterOrEqual(t, got, f)
			if n >= f {
				require.LessOrEqual(t, 2*max(got-n, n-got), f, fmt.Sprint(n, f))
			}
		}
	}
}

// Whatever the file says, parsing ends in a sentence or in a configuration that can be built.
func FuzzParseConfig(f *testing.F) {
	for _, ref := range references(f) {
		f.Add([]byte(ref.Config))
	}
	f.Add([]byte(`{"sample_size":[8,16],"block_out_channels":[32,64,64,64],"norm_num_groups":8}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseConfig(b)
		if err != nil {
			return
		}
		ps, err := c.Params()
		require.NoError(t, err)
		require.Equal(t, c.NumParams(), ps[len(ps)-1].Offset+ps[len(ps)-1].Len())
		require.LessOrEqual(t, c.NumParams(), 1<<29)
		for _, p := range ps {
			require.Positive(t, p.Len(), p.Name)
		}
		out, err := c.JSON()
		require.NoError(t, err)
		again, err := ParseConfig(out)
		require.NoError(t, err)
		require.Equal(t, c, again)
	})
}
