package runs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"unnoise/app/datasets"
	"unnoise/pipeline/data"
	"unnoise/pipeline/eval"
	"unnoise/pipeline/model"
	"unnoise/runtime/sentence"
)

// evalBatch is how many pictures the network is given at once while the loss is measured.
const evalBatch = 8

// Evaluation is the loss of a run on pictures it was not trained on.
type Evaluation struct {
	Run        string `json:"run"`
	Checkpoint int64  `json:"checkpoint"`
	Weights    string `json:"weights"`
	Data       string `json:"data"`
	// HeldOut says that the pictures are the run's own held-out ones, all of them; otherwise there are others, that it never had.
	HeldOut bool `json:"held_out"`
	// LeftOut is how many of the pictures in Data are not measured on, because the run was trained on them.
	LeftOut int `json:"left_out,omitempty"`
	// Uncertain says that the run's pictures are not on record any more, and only a rule told which it had held out.
	Uncertain bool `json:"uncertain,omitempty"`
	eval.Result
	Bound *eval.Bound `json:"bound,omitempty"` // nil where the model has none
}

// Measure says what is measured.
type Measure struct {
	Data       string // folder, zip or IDX file with the pictures
	Checkpoint int64  // step, -1 for the newest
	Weights    string // train.EMAName (also "") or train.RawName
	// Transitions are drawn per picture for the bound, 0 for eval.DefaultTransitions, and Seed names all noise. With the same
	// seed every run is asked the same.
	Transitions int
	Seed        uint64
}

// MaxTransitions is more than any chain has: the sum is whole.
const MaxTransitions = 100_000

// Validate reports what can be told without the pictures. Errors wrap model.ErrOption.
func (m Measure) Validate() error {
	if m.Transitions < 0 || m.Transitions > MaxTransitions {
		return model.Unusable("transitions", "%d transitions: choose between 1 and %d", m.Transitions, MaxTransitions)
	}
	return nil
}

// Evaluate measures the loss by noise level and the variational bound of a checkpoint's weights, leaving out the pictures that
// the run was trained on.
func (r *Run) Evaluate(ctx context.Context, m Measure, o Options, progress func(done, total int)) (ev Evaluation, err error) {
	if err := m.Validate(); err != nil {
		return ev, err
	}
	path := m.Data
	info := r.Info()
	weights, step, which, err := r.Weights(m.Checkpoint, m.Weights)
	if err != nil {
		return ev, err
	}
	rep := o.Report
	if rep == nil {
		if rep, err = data.Scan(ctx, path, o.Decoding); err != nil {
			return ev, err
		}
	}
	classes, err := classMap(info.Model, rep)
	if err != nil {
		return ev, err
	}
	tmp, err := os.MkdirTemp("", "unnoise-eval-*")
	if err != nil {
		return ev, sentence.Errorf("there is no place for the decoded pictures: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	cache, err := datasets.Decode(ctx, rep, info.Model.Preprocess, info.Data.Exclude, tmp, o.free(), o.Decoding)
	if err != nil {
		return ev, err
	}
	defer func() { err = errors.Join(err, cache.Close()) }()
	part, err := r.part(cache)
	if err != nil {
		return ev, err
	}
	ev = Evaluation{
		Run: info.Name, Checkpoint: step, Weights: which, Data: path,
		HeldOut: part.fresh == 0, LeftOut: part.trained, Uncertain: !part.known,
	}
	idx := part.use
	if len(idx) == 0 {
		return ev, sentence.Errorf("the run %s was trained on all the %d pictures in %s, so there is nothing to measure on: give other pictures with --data", info.Name, part.trained, path)
	}
	classOf := func(img int) int { return classes(cache.Class(img)) }
	net, err := model.Load(ctx, info.Model, weights, evalBatch, o.Compute)
	if err != nil {
		return ev, err
	}
	defer func() { err = errors.Join(err, net.Close()) }()
	// the bound asks the network about twice as often as the loss
	share := func(from, weight int) func(done, total int) {
		return func(done, total int) { progress(from*total+weight*done, 3*total) }
	}
	opt := eval.Options{Seed: m.Seed, Transitions: m.Transitions, Class: classOf, Progress: share(0, 1)}
	if ev.Result, err = eval.Loss(ctx, net, info.Model, cache, idx, opt); err != nil {
		return ev, err
	}
	opt.Progress = share(1, 2)
	ev.Bound, err = eval.VariationalBound(ctx, net, info.Model, cache, idx, opt)
	return ev, err
}

// classMap finds the model's classes among those of other pictures, by name: before they are decoded.
func classMap(spec model.Spec, rep *data.Report) (func(int) int, error) {
	if len(spec.Classes) == 0 {
		return func(int) int { return -1 }, nil
	}
	if len(rep.Classes) == 0 {
		return nil, fmt.Errorf("%w: %w", model.ErrOption, sentence.Errorf("the run tells %d classes apart, so its loss is measured on pictures in folders of those names", len(spec.Classes)))
	}
	to := make([]int, len(rep.Classes))
	for i, k := range rep.Classes {
		if to[i] = slices.Index(spec.Classes, k.Name); to[i] < 0 {
			_, err := spec.Class(k.Name)
			return nil, err
		}
	}
	return func(class int) int { return to[max(0, class)] }, nil
}
