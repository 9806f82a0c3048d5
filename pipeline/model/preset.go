package model

import (
	"fmt"
	"slices"
	"strings"

	"unnoise/pipeline/data"
	"unnoise/pipeline/diffusion"
	"unnoise/runtime/unet"
)

// DefaultPreset is the preset used when none is named: the best of the presets on small folders and two CPU cores.
const DefaultPreset = "tiny"

// Preset is a named architecture together with the hyper-parameters it trains well with.
type Preset struct {
	Name  string
	About string // one sentence for people
	// Recommended training hyper-parameters.
	Batch int
	LR    float64
	Steps int64
	// Objective, Schedule and Weighting are the defaults of New.
	Objective diffusion.Objective
	Schedule  string
	Weighting diffusion.Weighting

	channels []int // output channels of each level
	attend   int   // the finest level of at most so many pixels a side attends, beside the middle
	layers   int   // residual blocks per level
	groups   int   // groups of the group normalisation
	// ddpm keeps the published architecture: as many levels for every size, epsilon 1e-6, asymmetric downsampling and
	// DDPM's order of sine and cosine.
	ddpm bool
}

// presets in the order they are listed.
var presets = []Preset{
	{
		Name:  "tiny",
		About: "About 1 million weights: the usual choice for small folders, with good pictures in well under an hour.",
		Batch: 16, LR: 1e-3, Steps: 20_000,
		Objective: "v", Schedule: "cosine", Weighting: "simple",
		channels: []int{32, 64, 64}, attend: 8, layers: 1, groups: 8,
	},
	{
		Name:  "small",
		About: "About 6.5 million weights: finer pictures after a night of training, for some thousand pictures and more.",
		Batch: 32, LR: 4e-4, Steps: 20_000,
		Objective: "v", Schedule: "cosine", Weighting: "simple",
		channels: []int{64, 128, 128}, attend: 16, layers: 2, groups: 32,
	},
	{
		Name:  "ddpm-cifar10",
		About: "The 35.7 million weights of the original DDPM on CIFAR-10: best with a graphics card or a lot of patience.",
		Batch: 64, LR: 2e-4, Steps: 200_000,
		Objective: "eps", Schedule: "linear", Weighting: "simple",
		channels: []int{128, 256, 256, 256}, attend: 16, layers: 2, groups: 32,
		ddpm: true,
	},
}

// Presets returns every preset, smallest first.
func Presets() []Preset { return slices.Clone(presets) }

// PresetNames returns the names of the presets, smallest first.
func PresetNames() []string {
	names := make([]string, len(presets))
	for i, p := range presets {
		names[i] = p.Name
	}
	return names
}

// FindPreset returns the preset of that name; the empty name means DefaultPreset.
func FindPreset(name string) (Preset, error) {
	if name == "" {
		name = DefaultPreset
	}
	for _, p := range presets {
		if p.Name == name {
			return p, nil
		}
	}
	return Preset{}, Unusable("preset", "there is no preset %q: use one of %s", name, strings.Join(PresetNames(), ", "))
}

// Options says what a preset is to be made for. Empty strings take the preset's own choice.
type Options struct {
	Preprocess data.Preprocess // size, channels, fit and augmentation of the pictures
	Classes    []string        // class names of the data set, in the cache's order; empty for none
	Objective  diffusion.Objective
	Schedule   string // one of diffusion.ScheduleNames
	Weighting  diffusion.Weighting
}

// maxBottom is the largest side, in pixels, that the coarsest level of a scalable preset may have: larger pictures
// get further levels, so that the receptive field keeps spanning the picture and attention stays cheap.
const maxBottom = 16

// levels returns the channels of each level for pictures of w×h, and which level attends.
func (p Preset) levels(w, h int) (channels []int, attends int) {
	channels = slices.Clone(p.channels)
	side := max(w, h)
	if !p.ddpm {
		for side>>(len(channels)-1) > maxBottom {
			channels = append(channels, p.channels[len(p.channels)-1]) // one level more, as wide as the coarsest
		}
	}
	attends = 1 // full size would be slow
	for side>>attends > p.attend && attends < len(channels)-1 {
		attends++
	}
	return channels, attends
}

// UNet returns the preset's architecture for pictures of that size and channel count and that many class labels
// (below 2: unconditional). The error wraps ErrOption.
func (p Preset) UNet(w, h, pixelChannels, labels int) (unet.Config, error) {
	if w < 1 || h < 1 || w > maxSide || h > maxSide {
		return unet.Config{}, Unusable("width", "a picture size of %d × %d pixels cannot be used: each side must be between 1 and %d", w, h, maxSide)
	}
	if pixelChannels != 1 && pixelChannels != 3 && pixelChannels != 4 {
		return unet.Config{}, Unusable("channels", "%d channels cannot be used: choose 1 (gray), 3 (colour) or 4 (colour with transparency)", pixelChannels)
	}
	channels, attends := p.levels(w, h)
	if err := checkDivides(p.Name, w, h, len(channels)); err != nil {
		return unet.Config{}, err
	}
	c := unet.Default()
	c.SampleSize = unet.Size{W: w, H: h}
	c.InChannels, c.OutChannels = pixelChannels, pixelChannels
	c.BlockOutChannels, c.LayersPerBlock, c.NormNumGroups = channels, p.layers, p.groups
	c.AttentionHeadDim = nil // one head, as in DDPM
	if p.ddpm {
		c.FlipSinToCos, c.FreqShift, c.NormEps, c.DownsamplePadding = false, 1, 1e-6, 0
	}
	for i := range channels {
		down, up := unet.Down, unet.Up
		if i == attends {
			down = unet.AttnDown
		}
		if i == len(channels)-1-attends {
			up = unet.AttnUp
		}
		c.DownBlockTypes = append(c.DownBlockTypes, down)
		c.UpBlockTypes = append(c.UpBlockTypes, up)
	}
	if labels > 1 {
		c.NumClassEmbeds = &labels
	}
	if err := c.Validate(); err != nil {
		return unet.Config{}, fmt.Errorf("%w: %w", ErrOption, err)
	}
	return c, nil
}

const maxSide = 1024

// checkDivides explains a size that the levels do not divide, and names the nearest ones that they do.
func checkDivides(preset string, w, h, levels int) error {
	k := 1 << (levels - 1)
	if w%k == 0 && h%k == 0 {
		return nil
	}
	near := func(n int) (lo, hi int) { return max(n/k*k, k), (n + k - 1) / k * k }
	wl, wh := near(w)
	hl, hh := near(h)
	var fit string
	switch {
	case wl == wh && hl == hh: // only below k: one candidate
		fit = sizeText(wl, hl)
	default:
		fit = sizeText(wl, hl) + " or " + sizeText(wh, hh)
	}
	return Unusable("width", "the size %s does not suit preset %s: its %d levels need sides that %d divides, the nearest is %s",
		sizeText(w, h), preset, levels, k, fit)
}

func sizeText(w, h int) string {
	if w == h {
		return fmt.Sprint(w)
	}
	return fmt.Sprintf("%dx%d", w, h)
}

// New returns the specification of a model of that preset (empty: DefaultPreset). Errors wrap ErrOption.
func New(preset string, o Options) (Spec, error) {
	p, err := FindPreset(preset)
	if err != nil {
		return Spec{}, err
	}
	s := Spec{
		Version:    Version,
		Preset:     p.Name,
		Objective:  pick(o.Objective, p.Objective),
		Schedule:   pick(o.Schedule, p.Schedule),
		Weighting:  pick(o.Weighting, p.Weighting),
		Classes:    slices.Clone(o.Classes),
		Preprocess: o.Preprocess,
	}
	s.UNet, err = p.UNet(o.Preprocess.Width, o.Preprocess.Height, o.Preprocess.Channels, s.labels())
	if err != nil {
		return Spec{}, err
	}
	if s.Objective == diffusion.ObjectiveEDM && o.Weighting == "" {
		s.Weighting = diffusion.WeightingSimple // EDM's preconditioning already makes the weighted loss flat
	}
	return s, s.Validate()
}

func pick[T ~string](a, b T) T {
	if a != "" {
		return a
	}
	return b
}
