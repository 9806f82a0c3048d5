// Package model names a diffusion model completely: its network, its objective, its noise schedule and what was done to
// the pictures. A Spec is what a run stores; with weights it becomes a diffusion.Denoiser that samplers can use.
package model

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"unnoise/pipeline/data"
	"unnoise/pipeline/diffusion"
	"unnoise/runtime/sentence"
	"unnoise/runtime/unet"
)

// Version is the version of Spec's JSON form. A newer one is refused.
const Version = 1

// ErrOption marks a choice that cannot be used (an unknown name, a size the levels do not divide, an unknown class).
var ErrOption = errors.New("unusable choice")

// Told is the sentence that people are told of an error: without ErrOption, which is for programs.
func Told(err error) sentence.Text {
	if errors.Is(err, ErrOption) {
		if t, ok := errors.AsType[sentence.Text](err); ok {
			return t
		}
	}
	return sentence.Of(err)
}

// OptionError is an ErrOption that knows which choice it is about.
type OptionError struct {
	Field string // the choice, by the name it has in JSON, such as "width" or "batch"
	err   error
}

// Unusable returns an *OptionError, which wraps ErrOption, about the choice named field.
func Unusable(field, format string, args ...any) error {
	return &OptionError{Field: field, err: fmt.Errorf("%w: %w", ErrOption, sentence.Errorf(format, args...))}
}

func (e *OptionError) Error() string { return e.err.Error() }
func (e *OptionError) Unwrap() error { return e.err }

// Spec describes a model. Its JSON form is stored with every run; it holds nothing that is not needed to use the weights.
type Spec struct {
	Version   int                 `json:"version"`
	Preset    string              `json:"preset,omitempty"`
	UNet      unet.Config         `json:"unet"`
	Objective diffusion.Objective `json:"objective"`
	Schedule  string              `json:"schedule"` // of the variance-preserving process; unused by edm
	// Betas are those of an imported model whose schedule has no name (diffusion.OwnBetas); nil for all others.
	Betas      []float64           `json:"betas,omitempty"`
	Weighting  diffusion.Weighting `json:"weighting"`         // loss weight by noise level
	Classes    []string            `json:"classes,omitempty"` // class names in label order
	Preprocess data.Preprocess     `json:"preprocess"`
}

// Validate reports the first thing in s that cannot be used. Specs come from files, so everything is checked.
func (s Spec) Validate() error {
	if s.Version < 1 {
		return sentence.Errorf("the model description has no version: it is damaged or not one of Unnoise's")
	}
	if s.Version > Version {
		return sentence.Errorf("the model description has version %d, and this program reads up to %d: use a newer Unnoise", s.Version, Version)
	}
	if err := s.UNet.Validate(); err != nil {
		return sentence.Errorf("the network in the model description: %w", err)
	}
	if _, err := diffusion.ParseObjective(string(s.Objective)); err != nil {
		return Unusable("objective", "%w", err)
	}
	if _, err := s.Process(); err != nil {
		return err
	}
	if _, err := diffusion.ParseWeighting(string(s.Weighting)); err != nil {
		return Unusable("weighting", "%w", err)
	}
	w, h := s.UNet.Size()
	pp := s.Preprocess
	if pp.Width != w || pp.Height != h || pp.Channels != s.UNet.InChannels || s.UNet.InChannels != s.UNet.OutChannels {
		return sentence.Errorf("the model description contradicts itself: pictures of %d × %d × %d for a network of %d × %d × %d→%d",
			pp.Width, pp.Height, pp.Channels, w, h, s.UNet.InChannels, s.UNet.OutChannels)
	}
	embeds := 0
	if s.UNet.NumClassEmbeds != nil {
		embeds = *s.UNet.NumClassEmbeds
	}
	if n := s.labels(); (n > 1 || embeds != 0) && n != embeds {
		return sentence.Errorf("the model description contradicts itself: %d labels for a network that knows %d", n, embeds)
	}
	return nil
}

// labels is how many class labels the network tells apart: classes × augmentation transforms.
func (s Spec) labels() int { return max(1, len(s.Classes)) * max(1, s.Preprocess.Transforms()) }

// Conditional reports whether the network takes a class label.
func (s Spec) Conditional() bool { return s.UNet.NumClassEmbeds != nil }

// Label is the label the network receives for pictures of class i (-1: none) that were not transformed.
func (s Spec) Label(i int) int64 { return int64(max(i, 0) * max(1, s.Preprocess.Transforms())) }

// Class returns the index of the class of that name. The error wraps ErrOption and lists the classes there are.
func (s Spec) Class(name string) (int, error) {
	if i := slices.Index(s.Classes, name); i >= 0 {
		return i, nil
	}
	if len(s.Classes) == 0 {
		return 0, Unusable("class", "there is no class %q: this model was trained without classes", name)
	}
	list := s.Classes
	more := ""
	if len(list) > 20 {
		list, more = list[:20], fmt.Sprintf(" and %d more", len(s.Classes)-20)
	}
	return 0, Unusable("class", "there is no class %q: this model knows %s%s", name, strings.Join(list, ", "), more)
}

// Dim is the number of values in one picture, C·H·W.
func (s Spec) Dim() int {
	w, h := s.UNet.Size()
	return s.UNet.InChannels * w * h
}

// Shape is the picture's channels, height and width.
func (s Spec) Shape() (c, h, w int) {
	w, h = s.UNet.Size()
	return s.UNet.InChannels, h, w
}

// Process returns the noising process the model was trained for. Errors wrap ErrOption.
func (s Spec) Process() (diffusion.Process, error) {
	steps := diffusion.DefaultT
	if s.UNet.NumTrainTimesteps != nil {
		steps = *s.UNet.NumTrainTimesteps
	}
	if s.Objective != diffusion.ObjectiveEDM && s.Schedule == diffusion.OwnBetas {
		sch, err := diffusion.FromBetas(s.Betas)
		if err == nil && sch.T() != steps {
			err = sentence.Errorf("there are %d betas for %d timesteps", sch.T(), steps)
		}
		if err != nil {
			return nil, Unusable("schedule", "%w", err)
		}
		return diffusion.NewVP(sch), nil
	}
	p, err := diffusion.NewProcess(s.Objective, s.Schedule, steps)
	if err != nil {
		return nil, Unusable("schedule", "%w", err)
	}
	return p, nil
}

// ScheduleName names the noise schedule, for people: "edm" for the process that has none.
func (s Spec) ScheduleName() string {
	if s.Objective == diffusion.ObjectiveEDM {
		return "edm"
	}
	return s.Schedule
}
