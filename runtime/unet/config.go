// Package unet describes the U-Net of denoising diffusion models exactly as
// diffusers' UNet2DModel does: the same configuration keys, the same parameter
// names and shapes. It holds no computation; package program compiles a Config
// into training and sampling programs.
package unet

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"

	"unnoise/runtime/sentence"
)

// Size is the spatial size of a sample in pixels. In config.json it is either
// one number (square) or [height, width], as in diffusers.
type Size struct{ W, H int }

// MarshalJSON writes a square size as one number and any other as [height, width].
func (s Size) MarshalJSON() ([]byte, error) {
	if s.W == s.H {
		return json.Marshal(s.W)
	}
	return json.Marshal([]int{s.H, s.W})
}

// UnmarshalJSON reads one number or [height, width].
func (s *Size) UnmarshalJSON(b []byte) error {
	var n int
	if json.Unmarshal(b, &n) == nil {
		*s = Size{n, n}
		return nil
	}
	var hw []int
	if err := json.Unmarshal(b, &hw); err != nil || len(hw) != 2 {
		return sentence.Errorf("sample_size must be a number or [height, width], not %.40s", b)
	}
	*s = Size{W: hw[1], H: hw[0]}
	return nil
}

// Block types of UNet2DModel that can be built.
const (
	Down     = "DownBlock2D"
	AttnDown = "AttnDownBlock2D"
	Up       = "UpBlock2D"
	AttnUp   = "AttnUpBlock2D"
	Mid      = "UNetMidBlock2D"
)

// Config is diffusers' UNet2DModel configuration; the JSON keys are those of its config.json.
type Config struct {
	SampleSize           Size     `json:"sample_size"`
	InChannels           int      `json:"in_channels"`
	OutChannels          int      `json:"out_channels"`
	CenterInputSample    bool     `json:"center_input_sample"`
	TimeEmbeddingType    string   `json:"time_embedding_type"` // "positional" or "fourier"
	TimeEmbeddingDim     *int     `json:"time_embedding_dim"`
	FreqShift            float64  `json:"freq_shift"`
	FlipSinToCos         bool     `json:"flip_sin_to_cos"`
	DownBlockTypes       []string `json:"down_block_types"`
	MidBlockType         *string  `json:"mid_block_type"`
	UpBlockTypes         []string `json:"up_block_types"`
	BlockOutChannels     []int    `json:"block_out_channels"`
	LayersPerBlock       int      `json:"layers_per_block"`
	MidBlockScaleFactor  float64  `json:"mid_block_scale_factor"`
	DownsamplePadding    int      `json:"downsample_padding"`
	DownsampleType       string   `json:"downsample_type"` // "conv" or "resnet"
	UpsampleType         string   `json:"upsample_type"`
	Dropout              float64  `json:"dropout"`
	ActFn                string   `json:"act_fn"`
	AttentionHeadDim     *int     `json:"attention_head_dim"` // nil: one head
	NormNumGroups        int      `json:"norm_num_groups"`
	AttnNormNumGroups    *int     `json:"attn_norm_num_groups"`
	NormEps              float64  `json:"norm_eps"`
	ResnetTimeScaleShift string   `json:"resnet_time_scale_shift"` // "default" or "scale_shift"
	AddAttention         bool     `json:"add_attention"`           // attention in the mid block
	ClassEmbedType       *string  `json:"class_embed_type"`
	NumClassEmbeds       *int     `json:"num_class_embeds"`
	NumTrainTimesteps    *int     `json:"num_train_timesteps"`
}

// Default returns UNet2DModel's defaults for everything that has one; the
// blocks, channels and size are left for the caller.
func Default() Config {
	mid, head := Mid, 8
	return Config{
		InChannels: 3, OutChannels: 3, TimeEmbeddingType: "positional", FlipSinToCos: true,
		MidBlockType: &mid, LayersPerBlock: 2, MidBlockScaleFactor: 1, DownsamplePadding: 1,
		DownsampleType: "conv", UpsampleType: "conv", ActFn: "silu", AttentionHeadDim: &head,
		NormNumGroups: 32, NormEps: 1e-5, ResnetTimeScaleShift: "default", AddAttention: true,
	}
}

// Limits on configurations from elsewhere, so that a hostile file cannot ask
// for more memory than a real model would.
const (
	maxConfigBytes = 1 << 20
	maxLevels      = 8
	maxChannels    = 4096
	maxLayers      = 16
	maxSide        = 2048
	maxParams      = 1 << 29 // 2 GiB of float32, the most that one ONNX file holds
)

// ParseConfig reads a UNet2DModel config.json. Unknown keys are ignored, as
// diffusers does; what cannot be built is refused with a sentence naming the key.
func ParseConfig(b []byte) (Config, error) {
	if len(b) > maxConfigBytes {
		return Config{}, sentence.Errorf("the model's config.json is %d bytes long; at most %d are read", len(b), maxConfigBytes)
	}
	c := Default()
	var class struct {
		Name string `json:"_class_name"`
	}
	if err := json.Unmarshal(b, &class); err != nil {
		return Config{}, sentence.Errorf("the model's config.json is damaged: %w", sentence.JSON(err))
	}
	if class.Name != "" && class.Name != "UNet2DModel" {
		return Config{}, sentence.Errorf("the model's config.json describes a %q; only UNet2DModel can be opened", class.Name)
	}
	c.DownBlockTypes = []string{Down, AttnDown, AttnDown, AttnDown}
	c.UpBlockTypes = []string{AttnUp, AttnUp, AttnUp, Up}
	c.BlockOutChannels = []int{224, 448, 672, 896}
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&c); err != nil {
		return Config{}, sentence.Errorf("the model's config.json cannot be read: %w", sentence.JSON(err))
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// JSON writes the configuration as diffusers' config.json.
func (c Config) JSON() ([]byte, error) {
	return json.MarshalIndent(struct {
		Class   string `json:"_class_name"`
		Version string `json:"_diffusers_version"`
		Config
	}{"UNet2DModel", "0.42.1", c}, "", "  ")
}

// Size returns the sample's width and height in pixels.
func (c Config) Size() (w, h int) { return c.SampleSize.W, c.SampleSize.H }

// Factor returns the number that width and height must be multiples of: 2^(levels-1).
func (c Config) Factor() int { return 1 << (len(c.BlockOutChannels) - 1) }

// TimeDim returns the width of the time embedding.
func (c Config) TimeDim() int {
	if c.TimeEmbeddingDim != nil {
		return *c.TimeEmbeddingDim
	}
	return 4 * c.BlockOutChannels[0]
}

// Classes returns the number of class embeddings, 0 when the model is unconditional.
func (c Config) Classes() int {
	if c.NumClassEmbeds == nil {
		return 0
	}
	return *c.NumClassEmbeds
}

// Heads returns the number of attention heads at the given channel count.
func (c Config) Heads(channels int) int {
	if c.AttentionHeadDim == nil {
		return 1
	}
	return channels / *c.AttentionHeadDim
}

// MidGroups returns the groups of the mid block's attention norm, 0 for no norm
// (UNetMidBlock2D: the norm exists only with "default" time conditioning unless
// attn_norm_num_groups asks for it).
func (c Config) MidGroups() int {
	switch {
	case c.AttnNormNumGroups != nil:
		return *c.AttnNormNumGroups
	case c.ResnetTimeScaleShift == "default":
		return c.NormNumGroups
	}
	return 0
}

// Validate says in one sentence what keeps the configuration from being built.
func (c Config) Validate() error {
	n := len(c.BlockOutChannels)
	bad := func(format string, a ...any) error {
		return sentence.Errorf("model configuration: %w", sentence.Errorf(format, a...))
	}
	if n == 0 || n > maxLevels {
		return bad("block_out_channels has %d levels; 1 to %d can be built", n, maxLevels)
	}
	if len(c.DownBlockTypes) != n || len(c.UpBlockTypes) != n {
		return bad("down_block_types and up_block_types must have %d entries, as block_out_channels has", n)
	}
	for i := range n {
		if t := c.DownBlockTypes[i]; t != Down && t != AttnDown {
			return bad("down_block_types holds %q; %s and %s can be built", t, Down, AttnDown)
		}
		if t := c.UpBlockTypes[i]; t != Up && t != AttnUp {
			return bad("up_block_types holds %q; %s and %s can be built", t, Up, AttnUp)
		}
	}
	if c.MidBlockType != nil && *c.MidBlockType != Mid {
		return bad("mid_block_type is %q; %s or null can be built", *c.MidBlockType, Mid)
	}
	for _, ch := range []int{c.InChannels, c.OutChannels} {
		if ch < 1 || ch > 64 {
			return bad("in_channels and out_channels must lie in 1…64, not %d", ch)
		}
	}
	if c.LayersPerBlock < 1 || c.LayersPerBlock > maxLayers {
		return bad("layers_per_block must lie in 1…%d, not %d", maxLayers, c.LayersPerBlock)
	}
	if c.NormNumGroups < 1 {
		return bad("norm_num_groups must be at least 1, not %d", c.NormNumGroups)
	}
	for _, ch := range c.BlockOutChannels {
		if ch < 1 || ch > maxChannels {
			return bad("block_out_channels must lie in 1…%d, not %d", maxChannels, ch)
		}
		if ch%c.NormNumGroups != 0 {
			return bad("norm_num_groups %d does not divide %d channels", c.NormNumGroups, ch)
		}
		if c.AttentionHeadDim != nil && c.hasAttention() && (*c.AttentionHeadDim < 1 || ch%*c.AttentionHeadDim != 0) {
			return bad("attention_head_dim %d does not divide %d channels", *c.AttentionHeadDim, ch)
		}
	}
	if g := c.AttnNormNumGroups; g != nil && (*g < 1 || c.BlockOutChannels[n-1]%*g != 0) {
		return bad("attn_norm_num_groups %d does not divide %d channels", *g, c.BlockOutChannels[n-1])
	}
	for _, r := range c.resnets() {
		if r.in%c.NormNumGroups != 0 {
			return bad("norm_num_groups %d does not divide %d channels", c.NormNumGroups, r.in)
		}
	}
	w, h := c.Size()
	f := c.Factor()
	if w < 1 || h < 1 || w > maxSide || h > maxSide {
		return bad("sample_size must lie in 1…%d, not %d × %d", maxSide, w, h)
	}
	if w%f != 0 || h%f != 0 {
		return bad("%d levels need a width and height that are multiples of %d, and %d × %d is not; the nearest is %d × %d",
			n, f, w, h, nearest(w, f), nearest(h, f))
	}
	if c.TimeEmbeddingType != "positional" && c.TimeEmbeddingType != "fourier" {
		return bad("time_embedding_type is %q; positional and fourier can be built", c.TimeEmbeddingType)
	}
	if c.TimeEmbeddingType == "positional" && float64(c.BlockOutChannels[0]/2) <= c.FreqShift {
		return bad("freq_shift %v is not below half of the first level's %d channels", c.FreqShift, c.BlockOutChannels[0])
	}
	if d := c.TimeEmbeddingDim; d != nil && (*d < 1 || *d > 4*maxChannels) {
		return bad("time_embedding_dim must lie in 1…%d, not %d", 4*maxChannels, *d)
	}
	for _, t := range []string{c.DownsampleType, c.UpsampleType} {
		if t != "conv" && t != "resnet" {
			return bad("downsample_type and upsample_type can be conv or resnet, not %q", t)
		}
	}
	if c.DownsamplePadding != 0 && c.DownsamplePadding != 1 {
		return bad("downsample_padding can be 0 or 1, not %d", c.DownsamplePadding)
	}
	if c.ActFn != "silu" && c.ActFn != "swish" {
		return bad("act_fn is %q; silu can be built", c.ActFn)
	}
	if c.ResnetTimeScaleShift != "default" && c.ResnetTimeScaleShift != "scale_shift" {
		return bad("resnet_time_scale_shift is %q; default and scale_shift can be built", c.ResnetTimeScaleShift)
	}
	if c.ClassEmbedType != nil {
		return bad("class_embed_type is %q; only null (a learned embedding per class) can be built", *c.ClassEmbedType)
	}
	if k := c.NumClassEmbeds; k != nil && (*k < 1 || *k > 1<<20) {
		return bad("num_class_embeds must lie in 1…%d, not %d", 1<<20, *k)
	}
	if !(c.Dropout >= 0 && c.Dropout < 1) {
		return bad("dropout must lie in [0, 1), not %v", c.Dropout)
	}
	if !(c.NormEps > 0 && c.NormEps < 1) {
		return bad("norm_eps must lie in (0, 1), not %v", c.NormEps)
	}
	if c.MidBlockScaleFactor == 0 || math.IsNaN(c.MidBlockScaleFactor) || math.IsInf(c.MidBlockScaleFactor, 0) {
		return bad("mid_block_scale_factor must be a number other than 0")
	}
	ps := c.list()
	if last := ps[len(ps)-1]; last.Offset+last.Len() > maxParams {
		return bad("the network has %d parameters; at most %d can be held", last.Offset+last.Len(), maxParams)
	}
	return nil
}

func (c Config) hasAttention() bool {
	return slices.Contains(c.DownBlockTypes, AttnDown) || slices.Contains(c.UpBlockTypes, AttnUp) ||
		(c.MidBlockType != nil && c.AddAttention)
}

// nearest returns the multiple of f closest to n, at least f.
func nearest(n, f int) int { return max(f, (n+f/2)/f*f) }
