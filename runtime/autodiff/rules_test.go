package autodiff

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/runtime/graph"
	"unnoise/runtime/ort"
	"unnoise/runtime/runtimetest"
	"unnoise/runtime/safetensors"
)

func TestMain(m *testing.M) { runtimetest.Main(m) }

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// leaf is an input of a case in PyTorch's order.
type leaf struct {
	name  string
	shape []int
	data  []float32
	value *graph.Value // what the tape tracks; nil for trained tensors and constants
	image bool
	track bool
	conv  *Kernel // trained: the gradient comes in this kernel's format
}

// feed is one graph input, filled from a leaf before every run.
type feed struct {
	name string
	buf  []float32
	ints []int64
	dims []int
	fill func(dst []float32)
}

// env builds one case on one layout.
type env struct {
	*Tape
	t      testing.TB
	name   string
	block  int
	leaves []*leaf
	feeds  []*feed
}

func (e *env) leaf(name string, shape ...int) *leaf {
	u := runtimetest.Uniform(e.name+"."+name, product(shape))
	scale, shift := float32(1.5), float32(0)
	switch {
	case strings.HasSuffix(name, "norm.weight"):
		scale, shift = 0.5, 1
	case strings.HasSuffix(name, "weight") && len(shape) > 1:
		scale = float32(math.Sqrt(3 / float64(product(shape[1:]))))
	}
	for i := range u {
		u[i] = u[i]*scale + shift
	}
	l := &leaf{name: name, shape: shape, data: u}
	e.leaves = append(e.leaves, l)
	return l
}

func (e *env) feed(name string, fill func(dst []float32), shape ...int) *graph.Value {
	e.feeds = append(e.feeds, &feed{name: name, buf: make([]float32, product(shape)), dims: shape, fill: fill})
	return e.B.Input(name, graph.Float, shape...)
}

func (e *env) input(l *leaf) *graph.Value {
	return e.feed(l.name, func(dst []float32) { copy(dst, l.data) }, l.shape...)
}

// matrix is a tracked input that is no image.
func (e *env) matrix(name string, shape ...int) *graph.Value {
	l := e.leaf(name, shape...)
	l.value, l.track = e.input(l), true
	e.Track(l.value)
	return l.value
}

// image is an input in the layout's order.
func (e *env) image(name string, track bool, n, c, h, w int) *graph.Value {
	l := e.leaf(name, n, c, h, w)
	l.value, l.image, l.track = e.input(l), true, track
	if e.block > 0 && c%e.block == 0 {
		l.value = e.B.ToBlocked(l.value, false)
	}
	if track {
		e.Track(l.value)
	}
	return l.value
}

// vector is a trained tensor in its natural order.
func (e *env) vector(name string, shape ...int) *graph.Value {
	l := e.leaf(name, shape...)
	l.track = true
	return e.input(l)
}

func (e *env) linear(name string, out, in int) *Weight {
	w := &Weight{Kernel: Kernel{Out: out, In: in, K: 1, Stride: 1}, Name: name}
	w.Forward, w.Bias = e.vector(name+".weight", out, in), e.vector(name+".bias", out)
	return w
}

// conv is a trained convolution whose weight is fed in the formats that the layout reads.
func (e *env) conv(name string, k Kernel, backward bool) *Weight {
	w := &Weight{Kernel: k, Name: name}
	weight := e.leaf(name+".weight", k.Out, k.In, k.K, k.K)
	weight.conv, weight.track = &k, true
	filter := func(prefix string, f Format) *graph.Value {
		return e.feed(prefix+name, func(dst []float32) { k.Convert(dst, f, weight.data, Natural, e.block) }, k.FilterShape(f, e.block)...)
	}
	w.Forward = filter("f:", k.ForwardFormat(e.block))
	if backward {
		w.Backward = filter("t:", k.BackwardFormat(e.block))
	}
	bias := e.leaf(name+".bias", k.Out)
	bias.track = true
	n, at := k.Bias(k.ForwardFormat(e.block), e.block)
	w.Bias = e.feed(bias.name, func(dst []float32) { copy(dst[at:], bias.data) }, n)
	return w
}

func (e *env) upconv(name string, k Kernel) *Weight {
	w := e.conv(name, k, true)
	if e.block == 0 {
		return w
	}
	weight := e.leaves[len(e.leaves)-2]
	for i := range w.Phases {
		small, _ := k.Phase(i)
		w.Phases[i] = e.feed(fmt.Sprintf("f%d:%s", i, name), func(dst []float32) {
			k.FillPhase(dst, i, weight.data, Natural, e.block)
		}, small.FilterShape(ForwardFilter, e.block)...)
	}
	return w
}

type normCase struct {
	groups           int
	add, scale, silu bool
}

func (e *env) norm(name string, x *graph.Value, c normCase) *graph.Value {
	n, ch := x.Dim(0), x.Dim(1)
	p := Norm{Name: name, Groups: c.groups, Eps: 1e-5, SiLU: c.silu}
	if c.add {
		p.Add = e.matrix(name+".add", n, ch)
	}
	p.Gamma, p.Beta = e.vector(name+".weight", ch), e.vector(name+".bias", ch)
	if c.scale {
		p.Scale, p.Shift = e.matrix(name+".scale", n, ch), e.matrix(name+".shift", n, ch)
	}
	return e.GroupNorm(x, p)
}

func k3(in, out, stride, pad, width int) Kernel {
	return Kernel{Out: out, In: in, K: 3, Stride: stride, Pad: pad, Width: width}
}

// The cases are those of bench/fixtures/rules.py.
var cases = map[string]func(e *env) *graph.Value{
	"conv-columns": func(e *env) *graph.Value {
		return e.Conv(e.image("x", true, 2, 16, 4, 16), e.conv("w", k3(16, 32, 1, 1, 16), true), nil)
	},
	"conv-taps": func(e *env) *graph.Value {
		return e.Conv(e.image("x", true, 2, 16, 6, 4), e.conv("w", k3(16, 16, 1, 1, 4), true), nil)
	},
	"conv-odd": func(e *env) *graph.Value {
		return e.Conv(e.image("x", true, 1, 16, 5, 7), e.conv("w", k3(16, 16, 1, 1, 7), true), nil)
	},
	"conv-stride": func(e *env) *graph.Value {
		return e.Conv(e.image("x", true, 2, 16, 8, 4), e.conv("w", k3(16, 32, 2, 1, 4), true), nil)
	},
	"conv-stride-asymmetric": func(e *env) *graph.Value {
		return e.Conv(e.image("x", true, 2, 16, 8, 4), e.conv("w", k3(16, 32, 2, 0, 4), true), nil)
	},
	"conv-one": func(e *env) *graph.Value {
		return e.Conv(e.image("x", true, 2, 16, 3, 5), e.conv("w", Kernel{Out: 32, In: 16, K: 1, Stride: 1}, true), nil)
	},
	"conv-tiles": func(e *env) *graph.Value {
		k := k3(64, 64, 1, 1, 3)
		k.Height = 8
		require.Equal(e.t, e.block > 0, k.ForwardFormat(e.block) == ForwardTiles && k.BackwardFormat(e.block) == BackwardTiles)
		return e.Conv(e.image("x", true, 2, 64, 8, 3), e.conv("w", k, true), e.image("sum", true, 2, 64, 8, 3))
	},
	"conv-in": func(e *env) *graph.Value {
		return e.Conv(e.image("x", false, 2, 3, 8, 16), e.conv("w", k3(3, 16, 1, 1, 16), false), nil)
	},
	"conv-out": func(e *env) *graph.Value {
		return e.Conv(e.image("x", true, 2, 16, 4, 16), e.conv("w", k3(16, 3, 1, 1, 16), true), nil)
	},
	"conv-sum": func(e *env) *graph.Value {
		return e.Conv(e.image("x", true, 2, 16, 4, 16), e.conv("w", k3(16, 16, 1, 1, 16), true), e.image("sum", true, 2, 16, 4, 16))
	},
	"conv-twice": func(e *env) *graph.Value {
		x := e.image("x", true, 2, 16, 4, 16)
		y := e.Conv(x, e.conv("w1", k3(16, 16, 1, 1, 16), true), nil)
		return e.Conv(x, e.conv("w2", k3(16, 16, 1, 1, 16), true), y)
	},
	"upconv-columns": func(e *env) *graph.Value {
		return e.UpConv(e.image("x", true, 2, 16, 4, 8), e.upconv("w", k3(16, 32, 1, 1, 16)))
	},
	"upconv-taps": func(e *env) *graph.Value {
		return e.UpConv(e.image("x", true, 2, 16, 3, 2), e.upconv("w", k3(16, 16, 1, 1, 4)))
	},
	"linear": func(e *env) *graph.Value { return e.Linear(e.matrix("x", 6, 10), e.linear("w", 7, 10)) },
	"embedding": func(e *env) *graph.Value {
		e.feeds = append(e.feeds, &feed{name: "class", ints: []int64{2, 0, 2}, dims: []int{3}})
		return e.Embedding(e.B.Input("class", graph.Int64, 3), "table", e.vector("table", 4, 6))
	},
	"norm":                func(e *env) *graph.Value { return e.norm("norm", e.small(), normCase{groups: 4}) },
	"norm-silu":           func(e *env) *graph.Value { return e.norm("norm", e.small(), normCase{groups: 4, silu: true}) },
	"norm-add":            func(e *env) *graph.Value { return e.norm("norm", e.small(), normCase{groups: 4, add: true}) },
	"norm-add-silu":       func(e *env) *graph.Value { return e.norm("norm", e.small(), normCase{8, true, false, true}) },
	"norm-scale":          func(e *env) *graph.Value { return e.norm("norm", e.small(), normCase{4, false, true, false}) },
	"norm-add-scale-silu": func(e *env) *graph.Value { return e.norm("norm", e.small(), normCase{4, true, true, true}) },
	"norm-every-channel":  func(e *env) *graph.Value { return e.norm("norm", e.small(), normCase{groups: 16, silu: true}) },
	"norm-one-group":      func(e *env) *graph.Value { return e.norm("norm", e.small(), normCase{groups: 1, silu: true}) },
	"norm-twice": func(e *env) *graph.Value {
		x := e.small()
		return e.Add(e.norm("a-norm", x, normCase{groups: 4, silu: true}), e.norm("b-norm", x, normCase{groups: 8}))
	},
	"silu":       func(e *env) *graph.Value { return e.SiLU(e.matrix("x", 5, 7)) },
	"silu-image": func(e *env) *graph.Value { return e.SiLU(e.small()) },
	"add":        func(e *env) *graph.Value { return e.Add(e.small(), e.image("y", true, 2, 16, 3, 5)) },
	"add-same": func(e *env) *graph.Value {
		x := e.matrix("x", 4, 5)
		return e.Add(x, x)
	},
	"scale": func(e *env) *graph.Value { return e.Scale(e.small(), 0.7) },
	"mul":   func(e *env) *graph.Value { return e.Mul(e.small(), e.image("mask", false, 2, 16, 3, 5)) },
	"concat": func(e *env) *graph.Value {
		return e.Concat(e.small(), e.image("y", true, 2, 32, 3, 5))
	},
	"columns":     func(e *env) *graph.Value { return e.Columns(e.matrix("x", 4, 10), 3, 7) },
	"upsample":    func(e *env) *graph.Value { return e.Upsample(e.small()) },
	"pool":        func(e *env) *graph.Value { return e.Pool(e.image("x", true, 2, 16, 4, 6)) },
	"pixels":      func(e *env) *graph.Value { return e.Pixels(e.small()) },
	"from-pixels": func(e *env) *graph.Value { return e.FromPixels(e.matrix("x", 30, 16), 2, 16, 3, 5) },
	"heads":       func(e *env) *graph.Value { return e.Heads(e.matrix("x", 10, 12), 2, 3) },
	"heads-one":   func(e *env) *graph.Value { return e.Heads(e.matrix("x", 10, 12), 2, 1) },
	"rows":        func(e *env) *graph.Value { return e.Rows(e.matrix("x", 2, 3, 5, 4)) },
	"rows-one":    func(e *env) *graph.Value { return e.Rows(e.matrix("x", 2, 1, 5, 4)) },
	"matmul": func(e *env) *graph.Value {
		return e.MatMul(e.matrix("x", 2, 3, 4, 5), e.matrix("y", 2, 3, 5, 6), false, 0.3)
	},
	"matmul-transposed": func(e *env) *graph.Value {
		return e.MatMul(e.matrix("x", 2, 3, 4, 5), e.matrix("y", 2, 3, 6, 5), true, 0.3)
	},
	"softmax": func(e *env) *graph.Value { return e.Softmax(e.matrix("x", 2, 3, 4, 5)) },
	"attention": func(e *env) *graph.Value {
		x := e.small()
		y := e.Pixels(e.norm("norm", x, normCase{groups: 4}))
		part := func(l string) *graph.Value { return e.Heads(e.Linear(y, e.linear(l, 16, 16)), 2, 2) }
		q, k, v := part("q"), part("k"), part("v")
		y = e.Rows(e.MatMul(e.Softmax(e.MatMul(q, k, true, 1/math.Sqrt(8))), v, false, 1))
		return e.Add(e.FromPixels(e.Linear(y, e.linear("out", 16, 16)), 2, 16, 3, 5), x)
	},
	"block": func(e *env) *graph.Value {
		x := e.image("x", true, 2, 16, 3, 16)
		h := e.Conv(e.norm("a-norm", x, normCase{groups: 4, silu: true}), e.conv("c1", k3(16, 32, 1, 1, 16), true), nil)
		h = e.norm("b-norm", h, normCase{groups: 8, add: true, silu: true})
		x = e.Conv(x, e.conv("short", Kernel{Out: 32, In: 16, K: 1, Stride: 1}, true), nil)
		return e.Conv(h, e.conv("c2", k3(32, 32, 1, 1, 16), true), x)
	},
}

func (e *env) small() *graph.Value { return e.image("x", true, 2, 16, 3, 5) }

// compiled is a case that can be run.
type compiled struct {
	*env
	out   []float32
	grads map[string][]float32 // in PyTorch's order, after run
	seed  []float32
	raw   map[string][]float32
	names []string
	run   func()
	kinds []string
}

// compile builds a case. With addends, the gradients of the trained tensors
// start from known numbers, which run takes off again.
func compile(t testing.TB, name string, block int, addends bool) *compiled {
	e := &env{Tape: NewTape(graph.New(), block), t: t, name: name, block: block}
	c := &compiled{env: e, grads: map[string][]float32{}, raw: map[string][]float32{}}
	out := cases[name](e)
	blockedOut := len(out.Shape) == 4 && block > 0 && out.Dim(1)%block == 0 && isImage(name)
	natural := slices.Clone(out.Shape)
	c.out, c.seed = make([]float32, product(natural)), runtimetest.Uniform(name+".seed", product(natural))
	seed := e.feed("seed", func(dst []float32) { copy(dst, c.seed) }, natural...)
	if blockedOut {
		seed = e.B.ToBlocked(seed, false)
	}
	for _, o := range e.ops {
		c.kinds = append(c.kinds, o.kind)
	}
	byName := map[string]*leaf{}
	for _, l := range e.leaves {
		byName[l.name] = l
	}
	gradShape := func(l *leaf) []int {
		if l.conv != nil {
			return l.conv.GradShape(block)
		}
		return l.shape
	}
	var addend func(string) *graph.Value
	if addends {
		addend = func(n string) *graph.Value {
			shape := gradShape(byName[n])
			return e.feed("a:"+n, func(dst []float32) { copy(dst, runtimetest.Uniform("addend."+n, len(dst))) }, shape...)
		}
	}
	grads, err := e.Backward(out, seed, addend)
	require.NoError(t, err)
	type result struct {
		name string
		buf  []float32
		dims []int
	}
	var results []result
	output := func(n string, v *graph.Value, dims []int) {
		e.B.Output(n, v)
		buf := make([]float32, product(dims))
		results = append(results, result{n, buf, dims})
		c.raw[n] = buf
	}
	if blockedOut {
		out = e.B.FromBlocked(out, out.Dim(1), false)
	}
	e.B.Output("out", out)
	results = append(results, result{"out", c.out, natural})
	for _, l := range e.leaves {
		if l.value == nil || !l.track {
			continue
		}
		g := e.Gradient(l.value)
		require.NotNil(t, g, "no gradient of %s", l.name)
		require.Equal(t, l.shape, g.Shape, "gradient of %s", l.name)
		if l.image && block > 0 && l.shape[1]%block == 0 {
			g = e.B.FromBlocked(g, l.shape[1], false)
		}
		output("grad."+l.name, g, l.shape)
		c.names = append(c.names, l.name)
	}
	for _, g := range grads {
		require.Contains(t, byName, g.Name)
		require.Equal(t, product(gradShape(byName[g.Name])), g.Value.Len(), g.Name)
		output("grad."+g.Name, g.Value, g.Value.Shape)
		c.names = append(c.names, g.Name)
	}
	slices.Sort(c.names)
	require.Len(t, slices.Compact(slices.Clone(c.names)), len(c.names), "a gradient was given twice")
	wanted := 0
	for _, l := range e.leaves {
		if l.track {
			wanted++
		}
	}
	require.Len(t, c.names, wanted)

	model, err := e.B.Model()
	require.NoError(t, err)
	var inNames, outNames []string
	var in, outs []*ort.Tensor
	for _, f := range e.feeds {
		var tensor *ort.Tensor
		if f.ints != nil {
			tensor, err = ort.NewTensor(f.ints, f.dims...)
		} else {
			tensor, err = ort.NewTensor(f.buf, f.dims...)
		}
		require.NoError(t, err)
		t.Cleanup(tensor.Close)
		inNames, in = append(inNames, f.name), append(in, tensor)
	}
	for _, r := range results {
		tensor, err := ort.NewTensor(r.buf, r.dims...)
		require.NoError(t, err)
		t.Cleanup(tensor.Close)
		outNames, outs = append(outNames, r.name), append(outs, tensor)
	}
	s, err := ort.NewSession(model, inNames, outNames, ort.Options{Threads: 1})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	c.run = func() {
		for _, f := range e.feeds {
			if f.fill != nil {
				f.fill(f.buf)
			}
		}
		require.NoError(t, s.Run(context.Background(), in, outs))
		for _, n := range c.names {
			g, l := slices.Clone(c.raw["grad."+n]), byName[n]
			if addends && l.value == nil {
				for i, a := range runtimetest.Uniform("addend."+n, len(g)) {
					g[i] -= a
				}
			}
			if l.conv != nil {
				natural := make([]float32, len(l.data))
				l.conv.Convert(natural, Natural, g, l.conv.GradFormat(block), block)
				g = natural
			}
			c.grads[n] = g
		}
	}
	return c
}

// isImage says whether a case's result is an image rather than rows or attention scores.
func isImage(name string) bool {
	switch name {
	case "heads", "heads-one", "matmul", "matmul-transposed", "softmax":
		return false
	}
	return true
}

// layouts are the plain one and, where the processor has one, the blocked one.
func layouts() []int {
	if b := ort.ChannelBlock(); b > 0 {
		return []int{0, b}
	}
	return []int{0}
}

func dot(a, b []float32) float64 {
	s := 0.0
	for i := range a {
		s += float64(a[i]) * float64(b[i])
	}
	return s
}

func eachCase(t *testing.T, f func(t *testing.T, name string, block int)) {
	for _, block := range layouts() {
		for _, name := range slices.Sorted(maps.Keys(cases)) {
			t.Run(fmt.Sprintf("block%d/%s", block, name), func(t *testing.T) { f(t, name, block) })
		}
	}
}

// Directional derivatives of Σ seed·out by central differences, extrapolated
// from two steps, for each differentiable input on its own.
func TestRulesAgainstFiniteDifferences(t *testing.T) {
	eachCase(t, func(t *testing.T, name string, block int) {
		c := compile(t, name, block, false)
		c.run()
		grads := maps.Clone(c.grads)
		for _, n := range c.names {
			i := slices.IndexFunc(c.leaves, func(l *leaf) bool { return l.name == n })
			l := c.leaves[i]
			at := slices.Clone(l.data)
			direction := runtimetest.Uniform("direction."+name+"."+n, len(at))
			difference := func(h float64) float64 {
				var v [2]float64
				for k, sign := range []float64{1, -1} {
					for j := range at {
						l.data[j] = at[j] + float32(sign*h)*direction[j]
					}
					c.run()
					v[k] = dot(c.seed, c.out)
				}
				copy(l.data, at)
				return (v[0] - v[1]) / (2 * h)
			}
			const h = 0.02
			numeric := (4*difference(h/2) - difference(h)) / 3
			norm := math.Sqrt(dot(grads[n], grads[n]))
			require.Positive(t, norm, "the gradient of %s vanishes", n)
			// Attention does not see the bias of its keys: that gradient is rounding.
			require.InDelta(t, numeric, dot(grads[n], direction), 3e-3*max(norm, 0.1), "derivative along %s (norm %v)", n, norm)
		}
	})
}

func TestRulesMatchPyTorch(t *testing.T) {
	tensors, _, err := safetensors.Read("testdata/rules.safetensors")
	require.NoError(t, err)
	fixtures := map[string][]float32{}
	seen := map[string]bool{}
	for _, x := range tensors {
		fixtures[x.Name] = x.Data
		seen[x.Name[:strings.Index(x.Name, ".")]] = true
	}
	require.Equal(t, slices.Sorted(maps.Keys(cases)), slices.Sorted(maps.Keys(seen)))
	for _, addends := range []bool{false, true} {
		t.Run(fmt.Sprintf("addends=%v", addends), func(t *testing.T) {
			eachCase(t, func(t *testing.T, name string, block int) {
				c := compile(t, name, block, addends)
				c.run()
				compare(t, fixtures, name+".out", c.out)
				for _, n := range c.names {
					compare(t, fixtures, name+".grad."+n, c.grads[n])
				}
			})
		})
	}
}

// compare checks a vector against the digest that rules.py made of PyTorch's.
func compare(t *testing.T, fixtures map[string][]float32, key string, got []float32) {
	want := fixtures[key]
	require.Len(t, want, 20, key)
	tolerance := 2e-5 * max(float64(want[0]), 0.5)
	require.InDelta(t, want[0], math.Sqrt(dot(got, got)), tolerance, "norm of %s", key)
	for j := range 3 {
		require.InDelta(t, want[1+j], dot(got, runtimetest.Uniform(fmt.Sprintf("mix%d:%s", j, key), len(got))), tolerance, "projection %d of %s", j, key)
	}
	for j, u := range runtimetest.Uniform("places:"+key, 16) {
		at := int(math.Abs(float64(u))*float64(len(got))) % len(got)
		require.InDelta(t, want[4+j], got[at], tolerance, "%s[%d]", key, at)
	}
}

// Every kind that a Tape method records has a row in the table, and every row is reached by a case.
func TestEveryRecordedKindHasARule(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "tape.go", nil, 0)
	require.NoError(t, err)
	recorded := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if f, ok := call.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "record" {
			kind, err := strconv.Unquote(call.Args[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			recorded[kind] = true
		}
		return true
	})
	require.Equal(t, slices.Sorted(maps.Keys(rules)), slices.Sorted(maps.Keys(recorded)))
	reached := map[string]bool{}
	for name := range cases {
		e := &env{Tape: NewTape(graph.New(), 0), t: t, name: name}
		cases[name](e)
		for _, o := range e.ops {
			reached[o.kind] = true
		}
	}
	require.Equal(t, slices.Sorted(maps.Keys(rules)), slices.Sorted(maps.Keys(reached)))
}

func TestBackwardNamesWhatItCannotDo(t *testing.T) {
	tape := NewTape(graph.New(), 0)
	x := tape.B.Input("x", graph.Float, 2)
	tape.Track(x)
	y := tape.record("Frobnicate", tape.B.Add(x, x), nil, x)
	_, err := tape.Backward(y, x, nil)
	require.ErrorContains(t, err, `"Frobnicate" has no gradient`)

	tape = NewTape(graph.New(), 0)
	x, seed := tape.B.Input("x", graph.Float, 2, 3), tape.B.Input("seed", graph.Float, 5)
	tape.Track(x)
	_, err = tape.Backward(tape.Softmax(x), seed, nil)
	require.ErrorContains(t, err, "gradient of Softmax")
}

// What the loss does not depend on gets no gradient, and costs no nodes.
func TestOnlyNeededGradients(t *testing.T) {
	tape := NewTape(graph.New(), 0)
	b := tape.B
	x, other, data := b.Input("x", graph.Float, 3), b.Input("other", graph.Float, 3), b.Input("data", graph.Float, 3)
	tape.Track(x)
	tape.Track(other)
	tape.SiLU(other) // not part of the result
	y := tape.Add(tape.SiLU(x), data)
	grads, err := tape.Backward(y, b.Input("seed", graph.Float, 3), nil)
	require.NoError(t, err)
	require.Empty(t, grads)
	require.NotNil(t, tape.Gradient(x))
	require.Nil(t, tape.Gradient(other))
	require.Nil(t, tape.Gradient(data))
}
