package eval

import (
	"context"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"unnoise/pipeline/data"
	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/model"
	"unnoise/pipeline/rng"
)

// Bound is a variational upper bound on −log₂ p(x0) of 8-bit pictures and its three terms (DDPM eq. 5), in bits per
// dimension, averaged over the pictures.
type Bound struct {
	BitsPerDim float64 `json:"bits_per_dim"` // Prior + Steps + Decoder
	// StandardError is that of BitsPerDim: of the choice of pictures, of transitions and of noise together. 0 for one picture.
	StandardError float64 `json:"standard_error"`
	// Low and High are the ends of the 95 % confidence interval, by Student's t over the pictures; equal for one picture,
	// which tells no interval.
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
	Prior   float64 `json:"prior"`   // L_T
	Steps   float64 `json:"steps"`   // Σ L_{t−1}
	Decoder float64 `json:"decoder"` // L_0
	// DecoderStep is the timestep that the decoder sets out from, and DecoderStd its standard deviation for pictures in [-1,1].
	DecoderStep int     `json:"decoder_step"`
	DecoderStd  float64 `json:"decoder_std"`
	Transitions int     `json:"transitions"` // drawn per picture
}

// Uniform is what a picture costs when each of its 256 values is as likely: 8 bits per dimension. A bound above says
// nothing about a model.
const Uniform = 8

// Useless reports whether the bound says less than that every value is as likely.
func (b Bound) Useless() bool { return !(b.Low < Uniform) }

// DefaultTransitions is how many steps of the chain are drawn per picture for the bound.
const DefaultTransitions = 16

// VariationalBound measures the bound on the pictures idx of the cache; nil for a model without a chain of discrete
// steps (EDM). The model's step has the posterior's variance, and its prediction of x0 is kept within [−1,1], as samplers
// do.
//
// Of the chain's transitions each picture draws o.Transitions (0 means DefaultTransitions), t with a probability in
// proportion to the root mean square of L_t, which makes the sum's variance least (iDDPM section 3.3 does so in training),
// and divides by it, so that the mean has no bias; the draws of a picture are spread evenly over that distribution. The RMS
// comes from a pilot of few pictures and other noise. As many transitions as there are make the sum whole.
//
// The decoder is a Gaussian around x̂0 whose variance is the squared error that the pilot found, the most likely one
// (Rybkin, Daniilidis, Levine, "Simple and Effective VAE Training with Calibrated Decoders", 2021, eq. 5), and it sets out
// from timestep 0. Where that would say less than uniform coding, it sets out from the timestep at which the whole is
// least: the chain ends there, which leaves it a bound. A model that tells nearly clean pictures badly, as one of x0 may,
// would pay for each of the last steps.
//
// The noise of a picture hangs on o.Seed and the picture's content alone, so that any two models of that size are asked the
// same, whatever else they are measured on.
func VariationalBound(ctx context.Context, net model.Net, spec model.Spec, cache *data.Cache, idx []int, o Options) (*Bound, error) {
	idx, err := o.check(spec, cache, idx)
	if err != nil {
		return nil, err
	}
	proc, err := spec.Process()
	if err != nil {
		return nil, err
	}
	vp, ok := proc.(*diffusion.VP)
	if !ok {
		return nil, nil
	}
	b := bounder{
		o: o, spec: spec, cache: cache, chain: vp.Schedule(), q: newQuestions(net, spec),
		eps: make([]float32, spec.Dim()), predicted: make([]float32, spec.Dim()),
	}
	plan, err := b.pilot(ctx, idx)
	if err != nil {
		return nil, err
	}
	transitions := o.Transitions
	if transitions == 0 {
		transitions = DefaultTransitions
	}
	transitions = min(transitions, b.chain.T()-1-plan.from)
	prior, steps, decoder := make([]float64, len(idx)), make([]float64, len(idx)), make([]float64, len(idx))
	for i, img := range idx {
		p, err := b.picture(img, "bound")
		if err != nil {
			return nil, err
		}
		x0 := p.x0
		prior[i] = diffusion.PriorKL(x0, b.chain.Level(b.chain.T()-1), vp.PriorStd())
		for _, d := range plan.draw(transitions, rng.New(o.Seed, p.purpose, p.name)) {
			err := b.ask(ctx, p, d.t, func(predicted []float32) {
				steps[i] += d.weight * diffusion.StepKL(x0, predicted, b.chain.Level(d.t), b.chain.Level(d.t-1))
			})
			if err != nil {
				return nil, err
			}
		}
		err = b.ask(ctx, p, plan.from, func(predicted []float32) { decoder[i] = diffusion.DecoderNLL(x0, predicted, plan.std) })
		if err != nil {
			return nil, err
		}
		if o.Progress != nil {
			o.Progress(i+1, len(idx))
		}
	}
	if err := b.q.flush(ctx); err != nil {
		return nil, err
	}
	out := &Bound{DecoderStep: plan.from, DecoderStd: plan.std, Transitions: transitions}
	n := float64(len(idx))
	bits := func(nats float64) float64 { return diffusion.BitsPerDim(nats, spec.Dim()) }
	for i := range idx {
		out.Prior += bits(prior[i]) / n
		out.Steps += bits(steps[i]) / n
		out.Decoder += bits(decoder[i]) / n
	}
	out.BitsPerDim = out.Prior + out.Steps + out.Decoder
	out.Low, out.High = out.BitsPerDim, out.BitsPerDim
	if len(idx) > 1 {
		var squares float64
		for i := range idx {
			d := bits(prior[i]+steps[i]+decoder[i]) - out.BitsPerDim
			squares += d * d
		}
		out.StandardError = math.Sqrt(squares / n / (n - 1))
		wide := out.StandardError * distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile(0.975)
		out.Low, out.High = out.BitsPerDim-wide, out.BitsPerDim+wide
	}
	return out, nil
}

// bounder asks the network what the bound needs.
type bounder struct {
	o              Options
	spec           model.Spec
	cache          *data.Cache
	chain          *diffusion.Schedule
	q              *questions
	eps, predicted []float32
}

// asked is a picture that the network is asked about, with what its noise is drawn for: a purpose, and a name that is the
// content's.
type asked struct {
	x0      []float32 // kept until the network has answered
	class   int
	purpose string
	name    uint64
}

func (b *bounder) picture(img int, purpose string) (asked, error) {
	p := asked{x0: make([]float32, b.spec.Dim()), class: b.o.Class(img), purpose: purpose}
	if err := b.cache.Read(img, p.x0); err != nil {
		return asked{}, err
	}
	h := fnv.New64a()
	for _, v := range p.x0 {
		bits := math.Float32bits(v)
		_, _ = h.Write([]byte{byte(bits), byte(bits >> 8), byte(bits >> 16), byte(bits >> 24)})
	}
	p.name = h.Sum64()
	return p, nil
}

// ask hands then the network's prediction of x0 at timestep t, now or later.
func (b *bounder) ask(ctx context.Context, p asked, t int, then func(predicted []float32)) error {
	level := b.chain.Level(t)
	rng.Normal(b.eps, rng.New(b.o.Seed, p.purpose+" noise", p.name+uint64(t)))
	return b.q.ask(ctx, p.x0, b.eps, level, p.class, func(xt, out []float32) {
		b.spec.Objective.ToX0(b.predicted, xt, out, level)
		for i, v := range b.predicted {
			b.predicted[i] = max(-1, min(1, v))
		}
		then(b.predicted)
	})
}

// plan is what the pilot found: where the decoder sets out, how wide it is, and how likely each transition is drawn.
type plan struct {
	from       int     // timestep of the decoder; the transitions are t → t−1 for t in from+1 … T−1
	std        float64 // of the decoder
	cumulative []float64
}

// The pilot's size: it costs a twentieth of what follows.
const (
	pilotLevels   = 24
	pilotPictures = 16
	leastPictures = 8
	pilotShare    = 16
	// evenly is the share of the draws that does not trust the pilot: where it errs, the weights stay bounded.
	evenly = 0.1
)

// pilot measures the error of x̂0 of a few pictures at timesteps evenly spread in log SNR.
func (b *bounder) pilot(ctx context.Context, idx []int) (plan, error) {
	T := b.chain.T()
	logs := make([]float64, T) // of σ/α: rising
	for t := range logs {
		logs[t] = -b.chain.Level(t).LogSNR() / 2
	}
	var at []int
	for k := range pilotLevels {
		want := logs[0] + (logs[T-1]-logs[0])*float64(k)/(pilotLevels-1)
		t, _ := slices.BinarySearch(logs, want)
		if t = min(t, T-1); len(at) == 0 || t > at[len(at)-1] {
			at = append(at, t)
		}
	}
	pictures := Subset(idx, max(leastPictures, min(pilotPictures, len(idx)/pilotShare)), b.o.Seed)
	dim, n := float64(b.spec.Dim()), float64(len(pictures))
	sums, squares := make([]float64, len(at)), make([]float64, len(at)) // of |x0 − x̂0|²
	for _, img := range pictures {
		p, err := b.picture(img, "bound pilot")
		if err != nil {
			return plan{}, err
		}
		for k, t := range at {
			err := b.ask(ctx, p, t, func(predicted []float32) {
				e := MSE(p.x0, predicted) * dim
				sums[k] += e
				squares[k] += e * e
			})
			if err != nil {
				return plan{}, err
			}
		}
	}
	if err := b.q.flush(ctx); err != nil {
		return plan{}, err
	}
	const least = 1e-9 // of a squared error: exact predictions have a logarithm, too
	mean, rms := sums, squares
	for k := range at {
		mean[k], rms[k] = max(sums[k]/n, least*dim), max(math.Sqrt(squares[k]/n), least*dim)
	}
	// expected and cost are E[L_t] and its root mean square for t = 1 … T−1, between the pilot's timesteps by the
	// logarithms, in which the error is smooth.
	expected, cost := make([]float64, T), make([]float64, T)
	k := 0
	for t := 1; t < T; t++ {
		for k < len(at)-2 && t > at[k+1] {
			k++
		}
		factor := (b.chain.Level(t-1).SNR() - b.chain.Level(t).SNR()) / 2
		w := (logs[t] - logs[at[k]]) / (logs[at[k+1]] - logs[at[k]])
		between := func(v []float64) float64 { return math.Exp(math.Log(v[k])*(1-w) + math.Log(v[k+1])*w) }
		expected[t], cost[t] = factor*between(mean), factor*between(rms)
	}
	// totals are Σ L_{t−1} and the decoder's term, for a decoder that sets out from each of the pilot's timesteps. The
	// Gaussian's entropy in steps of 2/255 stands for that term, which needs the pictures themselves.
	totals, stds := make([]float64, 0, len(at)), make([]float64, 0, len(at))
	for k, t := range at[:len(at)-1] { // one transition at least is left
		variance := mean[k] / dim
		total := max(0, dim*math.Log(2*math.Pi*math.E*variance*(255.0/2)*(255.0/2))/2)
		for s := t + 1; s < T; s++ {
			total += expected[s]
		}
		totals, stds = append(totals, total), append(stds, math.Sqrt(variance))
	}
	k = 0
	if diffusion.BitsPerDim(totals[0], b.spec.Dim()) > Uniform {
		k = slices.Index(totals, slices.Min(totals))
	}
	best := plan{from: at[k], std: stds[k]}
	best.cumulative = make([]float64, T-1-best.from)
	var sum float64
	for i := range best.cumulative {
		sum += cost[best.from+1+i]
	}
	var c float64
	for i := range best.cumulative {
		c += (1-evenly)*cost[best.from+1+i]/sum + evenly/float64(len(best.cumulative))
		best.cumulative[i] = c
	}
	for i := range best.cumulative {
		best.cumulative[i] /= c
	}
	return best, nil
}

// drawn is a transition t → t−1 and what its KL divergence counts.
type drawn struct {
	t      int
	weight float64
}

// draw chooses n transitions at even distances in the distribution, with one random start (VDM appendix I.1); all of them,
// each once, where n is their number.
func (p plan) draw(n int, r *rand.Rand) []drawn {
	out := make([]drawn, n)
	start := r.Float64()
	for k := range out {
		if n == len(p.cumulative) {
			out[k] = drawn{p.from + 1 + k, 1}
			continue
		}
		i, _ := slices.BinarySearch(p.cumulative, (float64(k)+start)/float64(n))
		i = min(i, len(p.cumulative)-1)
		share := p.cumulative[i]
		if i > 0 {
			share -= p.cumulative[i-1]
		}
		out[k] = drawn{p.from + 1 + i, 1 / (float64(n) * share)}
	}
	return out
}
