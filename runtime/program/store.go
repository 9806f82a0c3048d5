package program

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"unnoise/runtime/autodiff"
	"unnoise/runtime/graph"
	"unnoise/runtime/ort"
	"unnoise/runtime/unet"
)

// alignment of every tensor inside a flat vector, in floats: one cache line.
const alignment = 16

// slot is one trained tensor: its place in the caller's flat vector (PyTorch's
// order) and in the store's.
type slot struct {
	unet.Param
	at     int
	conv   bool            // stored in the gradient's format, not naturally
	kernel autodiff.Kernel // of convolutions
	format autodiff.Format
}

// filter is a copy of one convolution's weight, or a padded copy of its bias,
// that the graph reads instead of the slot itself.
type filter struct {
	slot  *slot
	at, n int
	fill  func(to, from []float32)
}

// store lays the trained tensors of one network out in flat vectors and says
// which graph input reads which piece. It is the source that graphs are built from.
type store struct {
	b        *graph.Builder
	block    int
	cfg      unet.Config
	slots    []*slot
	byName   map[string]*slot
	length   int // of a flat vector, padding included
	filters  []filter
	filterN  int
	inputs   []binding
	masks    []*graph.Value
	training bool // backward filters and dropout masks are inputs
	baked    []float32
}

// binding ties a graph input to a piece of a flat vector.
type binding struct {
	name   string
	shape  []int
	at, n  int
	filter bool
}

func newStore(b *graph.Builder, cfg unet.Config, block int) (*store, error) {
	ps, err := cfg.Params()
	if err != nil {
		return nil, err
	}
	s := &store{b: b, block: block, cfg: cfg, byName: map[string]*slot{}}
	for _, p := range ps {
		sl := &slot{Param: p, at: s.length}
		s.length += roundUp(p.Len(), alignment)
		s.slots = append(s.slots, sl)
		s.byName[p.Name] = sl
	}
	return s, nil
}

func roundUp(n, m int) int { return (n + m - 1) / m * m }

// blockFor returns the channel block that suits a configuration, 0 for plain
// tensors: every level must consist of whole blocks, and the image of less than one.
func blockFor(cfg unet.Config) int {
	block := ort.ChannelBlock()
	if block == 0 || cfg.InChannels >= block || cfg.OutChannels >= block {
		return 0
	}
	for _, c := range cfg.BlockOutChannels {
		if c%block != 0 {
			return 0
		}
	}
	return block
}

func (s *store) vector(name string, shape ...int) *graph.Value {
	sl := s.byName[name]
	if sl == nil {
		return s.b.Input("missing:"+name, graph.Float, shape...)
	}
	if s.baked != nil {
		return s.b.Const(s.baked[sl.Offset:sl.Offset+sl.Len()], shape...)
	}
	s.inputs = append(s.inputs, binding{name: "p:" + name, shape: shape, at: sl.at, n: sl.Len()})
	return s.b.Input("p:"+name, graph.Float, shape...)
}

func (s *store) layer(name string, k autodiff.Kernel, needInput bool) *autodiff.Weight {
	w := &autodiff.Weight{Kernel: k, Name: name}
	sl := s.byName[name+".weight"]
	if sl == nil || len(sl.Shape) == 2 {
		w.Forward = s.vector(name+".weight", k.Out, k.In)
		w.Bias = s.vector(name+".bias", k.Out)
		return w
	}
	if s.baked != nil {
		w.Forward = s.vector(name+".weight", k.FilterShape(autodiff.ForwardFilter, 0)...)
		w.Bias = s.vector(name+".bias", k.Out)
		return w
	}
	sl.conv, sl.kernel, sl.format = true, k, k.GradFormat(s.block)
	forward := k.ForwardFormat(s.block)
	w.Forward = s.filter("f:"+name, sl, k.FilterShape(forward, s.block), s.converted(sl, forward))
	if needInput && s.training {
		w.Backward = s.backward(name, sl)
	}
	if n, at := k.Bias(forward, s.block); n != k.Out {
		w.Bias = s.filter("f:"+name+".bias", s.byName[name+".bias"], []int{n}, func(to, from []float32) { copy(to[at:], from) })
	} else {
		w.Bias = s.vector(name+".bias", k.Out)
	}
	return w
}

func (s *store) upLayer(name string, k autodiff.Kernel) *autodiff.Weight {
	if s.block == 0 {
		return s.layer(name, k, true)
	}
	sl := s.byName[name+".weight"]
	sl.conv, sl.kernel, sl.format = true, k, k.GradFormat(s.block)
	w := &autodiff.Weight{Kernel: k, Name: name, Bias: s.vector(name+".bias", k.Out)}
	for i := range w.Phases {
		small, _ := k.Phase(i)
		w.Phases[i] = s.filter(fmt.Sprintf("f%d:%s", i, name), sl, small.FilterShape(autodiff.ForwardFilter, s.block),
			func(to, from []float32) { k.FillPhase(to, i, from, sl.format, s.block) })
	}
	if s.training {
		w.Backward = s.backward(name, sl)
	}
	return w
}

func (s *store) backward(name string, sl *slot) *graph.Value {
	f := sl.kernel.BackwardFormat(s.block)
	return s.filter("t:"+name, sl, sl.kernel.FilterShape(f, s.block), s.converted(sl, f))
}

// converted fills a filter in format f.
func (s *store) converted(sl *slot, f autodiff.Format) func(to, from []float32) {
	return func(to, from []float32) { sl.kernel.Convert(to, f, from, sl.format, s.block) }
}

func (s *store) filter(input string, sl *slot, shape []int, fill func(to, from []float32)) *graph.Value {
	n := 1
	for _, d := range shape {
		n *= d
	}
	s.filters = append(s.filters, filter{slot: sl, at: s.filterN, n: n, fill: fill})
	s.inputs = append(s.inputs, binding{name: input, shape: shape, at: s.filterN, n: n, filter: true})
	s.filterN += roundUp(n, alignment)
	return s.b.Input(input, graph.Float, shape...)
}

func (s *store) mask(like *graph.Value) *graph.Value {
	if !s.training || s.cfg.Dropout == 0 {
		return nil
	}
	m := s.b.Input(fmt.Sprintf("dropout:%d", len(s.masks)), graph.Uint8, like.Shape...)
	s.masks = append(s.masks, m)
	return s.b.Mul(s.b.Cast(m, graph.Float), s.b.Scalar(1/(1-s.cfg.Dropout)))
}

// load copies a vector in the caller's order into the store's.
func (s *store) load(dst, src []float32) {
	s.each(func(sl *slot) {
		to, from := dst[sl.at:sl.at+sl.Len()], src[sl.Offset:sl.Offset+sl.Len()]
		if sl.conv {
			sl.kernel.Convert(to, sl.format, from, autodiff.Natural, s.block)
		} else {
			copy(to, from)
		}
	})
}

// save is the inverse of load.
func (s *store) save(dst, src []float32) {
	s.each(func(sl *slot) {
		to, from := dst[sl.Offset:sl.Offset+sl.Len()], src[sl.at:sl.at+sl.Len()]
		if sl.conv {
			sl.kernel.Convert(to, autodiff.Natural, from, sl.format, s.block)
		} else {
			copy(to, from)
		}
	})
}

func (s *store) each(f func(*slot)) {
	parallel(len(s.slots), func(i int) { f(s.slots[i]) })
}

// fill writes the filters' copies of the weights in params.
func (s *store) fill(dst, params []float32) {
	parallel(len(s.filters), func(i int) {
		f := &s.filters[i]
		f.fill(dst[f.at:f.at+f.n], params[f.slot.at:f.slot.at+f.slot.Len()])
	})
}

// parallel calls f(0…n−1) on all processors.
func parallel(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// tensors wraps the pieces of params and filters that the graph's inputs read.
func (s *store) tensors(params, filters []float32) ([]*ort.Tensor, error) {
	var out []*ort.Tensor
	for _, in := range s.inputs {
		from := params
		if in.filter {
			from = filters
		}
		t, err := ort.NewTensor(from[in.at:in.at+in.n], in.shape...)
		if err != nil {
			closeAll(out)
			return nil, fmt.Errorf("%s: %w", in.name, err)
		}
		out = append(out, t)
	}
	return out, nil
}

func closeAll(ts []*ort.Tensor) {
	for _, t := range ts {
		t.Close()
	}
}

// frozen returns the range of the one tensor that is not trained, empty for none.
func (s *store) frozen() [2]int {
	for _, sl := range s.slots {
		if sl.Frozen {
			return [2]int{sl.at, sl.at + sl.Len()}
		}
	}
	return [2]int{}
}

func (s *store) inputNames() []string {
	names := make([]string, len(s.inputs))
	for i, in := range s.inputs {
		names[i] = in.name
	}
	return names
}
