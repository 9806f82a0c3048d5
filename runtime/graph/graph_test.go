package graph_test

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/runtime/graph"
	"unnoise/runtime/ort"
	"unnoise/runtime/runtimetest"
)

func TestMain(m *testing.M) { runtimetest.Main(m) }

type (
	builder = graph.Builder
	value   = graph.Value
)

func f32(b *builder, shape ...int) *value {
	return b.Input(fmt.Sprintf("in%v", shape), graph.Float, shape...)
}

func i64(b *builder, shape ...int) *value {
	return b.Input(fmt.Sprintf("ids%v", shape), graph.Int64, shape...)
}

var pad1 = graph.Conv2D{Stride: 1, Pads: [4]int{1, 1, 1, 1}}

// Every operation with shapes that fit: the shape it says its result has.
func TestShapes(t *testing.T) {
	for name, c := range map[string]struct {
		want []int
		f    func(b *builder) *value
	}{
		"Add":          {[]int{2, 3, 4}, func(b *builder) *value { return b.Add(f32(b, 2, 1, 4), f32(b, 3, 1)) }},
		"Sub":          {[]int{2, 3}, func(b *builder) *value { return b.Sub(f32(b, 2, 3), f32(b, 1)) }},
		"Mul":          {[]int{5, 2, 3}, func(b *builder) *value { return b.Mul(f32(b, 2, 3), f32(b, 5, 1, 1)) }},
		"Div":          {[]int{2}, func(b *builder) *value { x := f32(b, 2); return b.Div(x, x) }},
		"Max":          {[]int{2, 2}, func(b *builder) *value { return b.Max(f32(b, 2, 1), f32(b, 1, 2)) }},
		"Sqrt":         {[]int{2}, func(b *builder) *value { return b.Sqrt(f32(b, 2)) }},
		"Log":          {[]int{2}, func(b *builder) *value { return b.Log(f32(b, 2)) }},
		"Sin":          {[]int{2}, func(b *builder) *value { return b.Sin(f32(b, 2)) }},
		"Cos":          {[]int{2}, func(b *builder) *value { return b.Cos(f32(b, 2)) }},
		"Sigmoid":      {[]int{2}, func(b *builder) *value { return b.Sigmoid(f32(b, 2)) }},
		"Neg":          {[]int{2}, func(b *builder) *value { return b.Neg(f32(b, 2)) }},
		"SiLU":         {[]int{2, 3}, func(b *builder) *value { return b.SiLU(f32(b, 2, 3)) }},
		"Cast":         {[]int{2}, func(b *builder) *value { return b.Cast(i64(b, 2), graph.Float) }},
		"Equal":        {[]int{2, 3}, func(b *builder) *value { return b.Equal(i64(b, 2, 1), i64(b, 1, 3)) }},
		"Reshape":      {[]int{3, 2}, func(b *builder) *value { return b.Reshape(f32(b, 2, 3), 3, 2) }},
		"Reshape same": {[]int{2, 3}, func(b *builder) *value { return b.Reshape(f32(b, 2, 3), 2, 3) }},
		"Transpose":    {[]int{4, 2, 3}, func(b *builder) *value { return b.Transpose(f32(b, 2, 3, 4), 2, 0, 1) }},
		"Concat":       {[]int{2, 8}, func(b *builder) *value { return b.Concat(1, f32(b, 2, 3), f32(b, 2, 4), f32(b, 2, 1)) }},
		"Slice":        {[]int{2, 2}, func(b *builder) *value { return b.Slice(f32(b, 2, 5), 1, 3, 5) }},
		"Pad":          {[]int{3, 7}, func(b *builder) *value { return b.PadZero(f32(b, 2, 3), []int{1, 0}, []int{0, 4}) }},
		"Gather":       {[]int{2, 3, 4}, func(b *builder) *value { return b.Gather(f32(b, 9, 4), i64(b, 2, 3)) }},
		"Sum":          {[]int{3}, func(b *builder) *value { return b.Sum(f32(b, 2, 3, 4), false, 0, 2) }},
		"Mean":         {[]int{2, 1, 4}, func(b *builder) *value { return b.Mean(f32(b, 2, 3, 4), true, 1) }},
		"Softmax":      {[]int{2, 3}, func(b *builder) *value { return b.Softmax(f32(b, 2, 3)) }},
		"MatMul":       {[]int{5, 2, 4}, func(b *builder) *value { return b.MatMul(f32(b, 5, 2, 3), f32(b, 5, 3, 4), false, false, 1) }},
		"MatMul both":  {[]int{3, 2}, func(b *builder) *value { return b.MatMul(f32(b, 4, 3), f32(b, 2, 4), true, true, 0.5) }},
		"Gemm":         {[]int{2, 4}, func(b *builder) *value { return b.Gemm(f32(b, 2, 3), f32(b, 4, 3), f32(b, 4), false, true) }},
		"Gemm nil":     {[]int{2, 4}, func(b *builder) *value { return b.Gemm(f32(b, 3, 2), f32(b, 3, 4), nil, true, false) }},
		"Conv":         {[]int{2, 7, 4, 5}, func(b *builder) *value { return b.Conv(f32(b, 2, 3, 4, 5), f32(b, 7, 3, 3, 3), f32(b, 7), pad1) }},
		"Conv stride": {[]int{1, 2, 2, 3}, func(b *builder) *value {
			return b.Conv(f32(b, 1, 1, 4, 6), f32(b, 2, 1, 3, 3), nil, graph.Conv2D{Stride: 2, Pads: [4]int{0, 0, 1, 1}})
		}},
		"Upsample":    {[]int{1, 2, 6, 8}, func(b *builder) *value { return b.Upsample(f32(b, 1, 2, 3, 4)) }},
		"AveragePool": {[]int{1, 2, 3, 4}, func(b *builder) *value { return b.AveragePool(f32(b, 1, 2, 6, 8)) }},
		"BlockedConv": {[]int{2, 32, 4, 5}, func(b *builder) *value {
			return b.BlockedConv(f32(b, 2, 16, 4, 5), f32(b, 32, 16, 3, 3), f32(b, 32), f32(b, 2, 32, 4, 5), pad1, 1, "Sigmoid")
		}},
		"depthwise": {[]int{1, 32, 4, 5}, func(b *builder) *value {
			return b.BlockedConv(f32(b, 1, 32, 4, 5), f32(b, 32, 1, 1, 1), nil, nil, graph.Conv2D{Stride: 1}, 32, "")
		}},
		"ToBlocked":     {[]int{2, 16, 3, 4}, func(b *builder) *value { return b.ToBlocked(f32(b, 2, 3, 4, 16), true) }},
		"FromBlocked":   {[]int{2, 3, 4, 5}, func(b *builder) *value { return b.FromBlocked(f32(b, 2, 16, 4, 5), 3, false) }},
		"channels last": {[]int{2, 4, 5, 16}, func(b *builder) *value { return b.FromBlocked(f32(b, 2, 16, 4, 5), 16, true) }},
		"BlockedMean":   {[]int{2, 16, 1, 1}, func(b *builder) *value { return b.BlockedMean(f32(b, 2, 16, 4, 5)) }},
		"up blocked":    {[]int{2, 16, 8, 10}, func(b *builder) *value { return b.BlockedUpsample(f32(b, 2, 16, 4, 5)) }},
		"pool blocked":  {[]int{2, 16, 2, 3}, func(b *builder) *value { return b.BlockedAveragePool(f32(b, 2, 16, 4, 6)) }},
	} {
		b := graph.New()
		v := c.f(b)
		require.NoError(t, b.Err(), name)
		require.Equal(t, c.want, v.Shape, name)
	}
}

// Every operation with shapes that do not fit: its own name leads the error, and nothing panics.
func TestMistakesAreNamed(t *testing.T) {
	for _, c := range []struct {
		want string
		f    func(b *builder) *value
	}{
		{"Input in[2 0]: shape [2 0] has an extent below 1", func(b *builder) *value { return f32(b, 2, 0) }},
		{"Input in[2]: the name is taken", func(b *builder) *value { f32(b, 2); return f32(b, 2) }},
		{"Const: 3 values for shape [2]", func(b *builder) *value { return b.Const(make([]float32, 3), 2) }},
		{"Const: 1 values for shape [2 2]", func(b *builder) *value { return b.Ints([]int{1}, 2, 2) }},
		{"Add: shapes [2] and [3] do not broadcast", func(b *builder) *value { return b.Add(f32(b, 2), f32(b, 3)) }},
		{"Sub: element types differ", func(b *builder) *value { return b.Sub(f32(b, 2), i64(b, 2)) }},
		{"Mul: shapes [2 3] and [2 1 2] do not broadcast", func(b *builder) *value { return b.Mul(f32(b, 2, 3), f32(b, 2, 1, 2)) }},
		{"Div: shapes", func(b *builder) *value { return b.Div(f32(b, 4), f32(b, 2)) }},
		{"Max: shapes", func(b *builder) *value { return b.Max(f32(b, 4), f32(b, 2)) }},
		{"Equal: shapes", func(b *builder) *value { return b.Equal(i64(b, 4), i64(b, 2)) }},
		{"Reshape: [4] does not hold as many elements as [2 3]", func(b *builder) *value { return b.Reshape(f32(b, 2, 3), 4) }},
		{"Transpose: 1 axes for shape [2 3]", func(b *builder) *value { return b.Transpose(f32(b, 2, 3), 0) }},
		{"Transpose: [0 0] is not a permutation", func(b *builder) *value { return b.Transpose(f32(b, 2, 3), 0, 0) }},
		{"Transpose: [0 2] is not a permutation", func(b *builder) *value { return b.Transpose(f32(b, 2, 3), 0, 2) }},
		{"Concat: shapes [2 3] and [3 3] do not join along axis 1", func(b *builder) *value { return b.Concat(1, f32(b, 2, 3), f32(b, 3, 3)) }},
		{"Concat: shapes [2 3] and [2] do not join along axis 1", func(b *builder) *value { return b.Concat(1, f32(b, 2, 3), f32(b, 2)) }},
		{"Concat: axes [2] do not fit shape [2 3]", func(b *builder) *value { return b.Concat(2, f32(b, 2, 3), f32(b, 2, 4)) }},
		{"Concat: element types differ", func(b *builder) *value { return b.Concat(0, f32(b, 2), i64(b, 2)) }},
		{"Slice: [3, 3) of axis 0 does not lie in shape [5]", func(b *builder) *value { return b.Slice(f32(b, 5), 0, 3, 3) }},
		{"Slice: [0, 6) of axis 0", func(b *builder) *value { return b.Slice(f32(b, 5), 0, 0, 6) }},
		{"Slice: [-1, 2) of axis 0", func(b *builder) *value { return b.Slice(f32(b, 5), 0, -1, 2) }},
		{"Slice: [0, 1) of axis -1", func(b *builder) *value { return b.Slice(f32(b, 5), -1, 0, 1) }},
		{"Pad: 1 and 2 pads for shape [2 3]", func(b *builder) *value { return b.PadZero(f32(b, 2, 3), []int{1}, []int{0, 0}) }},
		{"Pad: pads [0 0] and [-1 0]", func(b *builder) *value { return b.PadZero(f32(b, 2, 3), []int{0, 0}, []int{-1, 0}) }},
		{"Gather: needs a table with two axes and integer indices, not [2]", func(b *builder) *value { return b.Gather(f32(b, 2), i64(b, 3)) }},
		{"Gather: needs a table", func(b *builder) *value { return b.Gather(f32(b, 2, 2), f32(b, 3)) }},
		{"ReduceSum: axes [3] do not fit shape [2 3]", func(b *builder) *value { return b.Sum(f32(b, 2, 3), true, 3) }},
		{"ReduceMean: axes [1 1] do not fit shape [2 3]", func(b *builder) *value { return b.Mean(f32(b, 2, 3), true, 1, 1) }},
		{"Softmax: needs an axis", func(b *builder) *value { return b.Softmax(b.Input("x", graph.Float)) }},
		{"MatMul: shapes [2] and [2 3]", func(b *builder) *value { return b.MatMul(f32(b, 2), f32(b, 2, 3), false, false, 1) }},
		{"MatMul: shapes [2 2 3] and [3 3 4]", func(b *builder) *value { return b.MatMul(f32(b, 2, 2, 3), f32(b, 3, 3, 4), false, false, 1) }},
		{"MatMul: inner extents of [2 3] and [4 5] differ", func(b *builder) *value { return b.MatMul(f32(b, 2, 3), f32(b, 4, 5), false, false, 1) }},
		{"Gemm: shapes [2 3] and [3] are not matrices", func(b *builder) *value { return b.Gemm(f32(b, 2, 3), f32(b, 3), nil, false, false) }},
		{"Gemm: inner extents of [2 3] and [4 5] differ", func(b *builder) *value { return b.Gemm(f32(b, 2, 3), f32(b, 4, 5), nil, false, false) }},
		{"Gemm: addend [2 2 4] does not fit 2×4", func(b *builder) *value { return b.Gemm(f32(b, 2, 3), f32(b, 3, 4), f32(b, 2, 2, 4), false, false) }},
		{"Conv: input [1 2 3 4] and weight [5 3 3 3] do not fit", func(b *builder) *value { return b.Conv(f32(b, 1, 2, 3, 4), f32(b, 5, 3, 3, 3), nil, pad1) }},
		{"Conv: input [2 3 4] and weight", func(b *builder) *value { return b.Conv(f32(b, 2, 3, 4), f32(b, 5, 3, 3, 3), nil, pad1) }},
		{"Conv: bias [4] does not fit weight [5 2 3 3]", func(b *builder) *value { return b.Conv(f32(b, 1, 2, 3, 4), f32(b, 5, 2, 3, 3), f32(b, 4), pad1) }},
		{"Conv: a kernel of 3×3 does not fit into an image of 1×9", func(b *builder) *value {
			return b.Conv(f32(b, 1, 2, 1, 9), f32(b, 5, 2, 3, 3), nil, graph.Conv2D{Stride: 1})
		}},
		{"Upsample: needs the four axes of images, not [2 3]", func(b *builder) *value { return b.Upsample(f32(b, 2, 3)) }},
		{"AveragePool: needs the four axes", func(b *builder) *value { return b.AveragePool(f32(b, 2, 3)) }},
		{"AveragePool: an image of 3×4 cannot be halved", func(b *builder) *value { return b.AveragePool(f32(b, 1, 1, 3, 4)) }},
		{"BlockedConv: input [1 16 3 4] and weight [16 32 3 3] do not fit", func(b *builder) *value {
			return b.BlockedConv(f32(b, 1, 16, 3, 4), f32(b, 16, 32, 3, 3), nil, nil, pad1, 1, "")
		}},
		{"BlockedConv: bias [3] does not fit weight", func(b *builder) *value {
			return b.BlockedConv(f32(b, 1, 16, 3, 4), f32(b, 16, 16, 3, 3), f32(b, 3), nil, pad1, 1, "")
		}},
		{"BlockedConv: addend [1 16 3 3] does not fit [1 16 3 4]", func(b *builder) *value {
			return b.BlockedConv(f32(b, 1, 16, 3, 4), f32(b, 16, 16, 3, 3), nil, f32(b, 1, 16, 3, 3), pad1, 1, "")
		}},
		{"BlockedConv: 16 groups do not divide 24 outputs", func(b *builder) *value {
			return b.BlockedConv(f32(b, 1, 16, 3, 4), f32(b, 24, 1, 1, 1), nil, nil, graph.Conv2D{Stride: 1}, 16, "")
		}},
		{"ToBlocked: needs the four axes", func(b *builder) *value { return b.ToBlocked(f32(b, 16), false) }},
		{"FromBlocked: needs the four axes", func(b *builder) *value { return b.FromBlocked(f32(b, 16), 16, true) }},
		{"FromBlocked: 17 of 16 channels", func(b *builder) *value { return b.FromBlocked(f32(b, 1, 16, 1, 1), 17, true) }},
		{"FromBlocked: 16 of 32 channels", func(b *builder) *value { return b.FromBlocked(f32(b, 1, 32, 1, 1), 16, true) }},
		{"BlockedUpsample: needs the four axes", func(b *builder) *value { return b.BlockedUpsample(f32(b, 16)) }},
		{"BlockedAveragePool: an image of 5×2 cannot be halved", func(b *builder) *value { return b.BlockedAveragePool(f32(b, 1, 16, 5, 2)) }},
		{"BlockedMean: needs the four axes", func(b *builder) *value { return b.BlockedMean(f32(b, 16)) }},
		{`Neg: input "in[2]" belongs to another graph`, func(b *builder) *value { return b.Neg(f32(graph.New(), 2)) }},
		{"Output y: no value", func(b *builder) *value { b.Output("y", nil); return f32(b, 1) }},
		{"Output in[2]: the name is taken", func(b *builder) *value { x := f32(b, 2); b.Output("in[2]", b.Neg(x)); return x }},
		{"Output y: the name is taken", func(b *builder) *value { x := b.Neg(f32(b, 2)); b.Output("y", x); b.Output("y", b.Neg(x)); return x }},
	} {
		b := graph.New()
		v := c.f(b)
		require.NotNil(t, v, c.want)
		require.ErrorContains(t, b.Err(), "graph: "+c.want)
		first := b.Err()
		b.Add(b.Const([]float32{1, 2}, 2), b.Const([]float32{1, 2, 3}, 3)) // a second mistake
		require.Equal(t, first, b.Err())
		b.Output("result", b.Const([]float32{1}, 1))
		_, err := b.Model()
		require.Equal(t, first, err, "the first error is kept and returned")
	}
	_, err := graph.New().Model()
	require.EqualError(t, err, "graph: the model has no output")
}

type io struct {
	name  string
	shape []int
	data  any // []float32 or []int64
}

func tensors(t *testing.T, ios []io) (names []string, out []*ort.Tensor) {
	for _, x := range ios {
		var tensor *ort.Tensor
		var err error
		if d, ok := x.data.([]int64); ok {
			tensor, err = ort.NewTensor(d, x.shape...)
		} else {
			tensor, err = ort.NewTensor(x.data.([]float32), x.shape...)
		}
		require.NoError(t, err, x.name)
		t.Cleanup(tensor.Close)
		names, out = append(names, x.name), append(out, tensor)
	}
	return names, out
}

// run executes a model; the outputs are written into their data.
func run(t *testing.T, model []byte, in, out []io) {
	inNames, ins := tensors(t, in)
	outNames, outs := tensors(t, out)
	s, err := ort.NewSession(model, inNames, outNames, ort.Options{Threads: 1})
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Run(t.Context(), ins, outs))
}

func close32(t *testing.T, want, got []float32, name string) {
	require.Len(t, got, len(want), name)
	for i := range want {
		require.InDelta(t, want[i], got[i], 1e-5*max(1, math.Abs(float64(want[i]))), "%s[%d]", name, i)
	}
}

// The operations in ONNX Runtime itself, against numbers worked out by hand.
func TestNumbers(t *testing.T) {
	e := float32(math.E)
	for name, c := range map[string]struct {
		shape []int
		x     []float32
		want  []float32
		f     func(b *builder, x *value) *value
	}{
		"Add":     {[]int{3}, []float32{1, 2, 3}, []float32{11, 12, 13}, func(b *builder, x *value) *value { return b.Add(x, b.Scalar(10)) }},
		"Sub":     {[]int{3}, []float32{1, 2, 3}, []float32{9, 8, 7}, func(b *builder, x *value) *value { return b.Sub(b.Scalar(10), x) }},
		"Mul":     {[]int{2, 1}, []float32{2, 3}, []float32{2, 4, 3, 6}, func(b *builder, x *value) *value { return b.Mul(x, b.Const([]float32{1, 2}, 1, 2)) }},
		"Div":     {[]int{2}, []float32{2, 4}, []float32{.5, .25}, func(b *builder, x *value) *value { return b.Div(b.Scalar(1), x) }},
		"Max":     {[]int{3}, []float32{-1, 0, 2}, []float32{0, 0, 2}, func(b *builder, x *value) *value { return b.Max(x, b.Scalar(0)) }},
		"Sqrt":    {[]int{2}, []float32{4, 2.25}, []float32{2, 1.5}, func(b *builder, x *value) *value { return b.Sqrt(x) }},
		"Log":     {[]int{2}, []float32{e, 1}, []float32{1, 0}, func(b *builder, x *value) *value { return b.Log(x) }},
		"Sin":     {[]int{2}, []float32{math.Pi / 2, 0}, []float32{1, 0}, func(b *builder, x *value) *value { return b.Sin(x) }},
		"Cos":     {[]int{2}, []float32{math.Pi, 0}, []float32{-1, 1}, func(b *builder, x *value) *value { return b.Cos(x) }},
		"Sigmoid": {[]int{2}, []float32{0, 1}, []float32{.5, e / (1 + e)}, func(b *builder, x *value) *value { return b.Sigmoid(x) }},
		"SiLU":    {[]int{3}, []float32{0, 1, -100}, []float32{0, e / (1 + e), 0}, func(b *builder, x *value) *value { return b.SiLU(x) }},
		"Neg":     {[]int{2}, []float32{1, -2}, []float32{-1, 2}, func(b *builder, x *value) *value { return b.Neg(x) }},
		"Equal": {[]int{2}, []float32{1, 7}, []float32{0, 1, 0, 0}, func(b *builder, x *value) *value {
			return b.Equal(b.Reshape(b.Cast(x, graph.Int64), 2, 1), b.Ints([]int{0, 1}, 1, 2))
		}},
		"Transpose": {[]int{2, 3}, []float32{1, 2, 3, 4, 5, 6}, []float32{1, 4, 2, 5, 3, 6}, func(b *builder, x *value) *value { return b.Transpose(x, 1, 0) }},
		"Concat":    {[]int{2, 1}, []float32{1, 2}, []float32{1, 9, 2, 9}, func(b *builder, x *value) *value { return b.Concat(1, x, b.Const([]float32{9, 9}, 2, 1)) }},
		"Slice":     {[]int{2, 3}, []float32{1, 2, 3, 4, 5, 6}, []float32{2, 3, 5, 6}, func(b *builder, x *value) *value { return b.Slice(x, 1, 1, 3) }},
		"Pad":       {[]int{1, 2}, []float32{1, 2}, []float32{0, 1, 2, 0, 0, 0}, func(b *builder, x *value) *value { return b.PadZero(x, []int{0, 1}, []int{1, 0}) }},
		"Gather":    {[]int{2, 2}, []float32{1, 2, 3, 4}, []float32{3, 4, 1, 2, 3, 4}, func(b *builder, x *value) *value { return b.Gather(x, b.Ints([]int{1, 0, 1}, 3)) }},
		"Sum":       {[]int{2, 2}, []float32{1, 2, 3, 4}, []float32{3, 7}, func(b *builder, x *value) *value { return b.Sum(x, false, 1) }},
		"Mean":      {[]int{2, 2}, []float32{1, 2, 3, 4}, []float32{2, 3}, func(b *builder, x *value) *value { return b.Mean(x, true, 0) }},
		"Softmax":   {[]int{2, 2}, []float32{0, 0, 1, 0}, []float32{.5, .5, e / (1 + e), 1 / (1 + e)}, func(b *builder, x *value) *value { return b.Softmax(x) }},
		"MatMul": {[]int{1, 2}, []float32{1, 2}, []float32{1.5, 2.5}, func(b *builder, x *value) *value {
			return b.MatMul(x, b.Const([]float32{1, 1, 1, 2}, 2, 2), false, true, 0.5)
		}},
		"MatMul xT": {[]int{2, 1}, []float32{1, 2}, []float32{3, 5}, func(b *builder, x *value) *value {
			return b.MatMul(x, b.Const([]float32{1, 1, 1, 2}, 2, 2), true, false, 1)
		}},
		"Gemm": {[]int{1, 2}, []float32{1, 2}, []float32{13, 25}, func(b *builder, x *value) *value {
			return b.Gemm(x, b.Const([]float32{1, 1, 1, 2}, 2, 2), b.Const([]float32{10, 20}, 2), false, false)
		}},
		"Conv": {[]int{1, 1, 2, 2}, []float32{1, 2, 3, 4}, []float32{10.5}, func(b *builder, x *value) *value {
			return b.Conv(x, b.Const([]float32{1, 1, 1, 1}, 1, 1, 2, 2), b.Scalar(.5), graph.Conv2D{Stride: 1})
		}},
		"Conv pads": {[]int{1, 1, 1, 2}, []float32{1, 2}, []float32{0, 0, 1, 2}, func(b *builder, x *value) *value {
			return b.Conv(x, b.Const([]float32{1}, 1, 1, 1, 1), nil, graph.Conv2D{Stride: 1, Pads: [4]int{1, 0, 0, 0}})
		}},
		"Upsample":    {[]int{1, 1, 1, 2}, []float32{1, 2}, []float32{1, 1, 2, 2, 1, 1, 2, 2}, func(b *builder, x *value) *value { return b.Upsample(x) }},
		"AveragePool": {[]int{1, 1, 2, 4}, []float32{1, 2, 3, 4, 5, 6, 7, 8}, []float32{3.5, 5.5}, func(b *builder, x *value) *value { return b.AveragePool(x) }},
	} {
		t.Run(name, func(t *testing.T) {
			for _, portable := range []bool{false, true} {
				b := graph.New()
				if portable { // no extent of the case is the batch: it changes the operators alone
					b.Portable("batch", 1009)
				}
				y := c.f(b, b.Input("x", graph.Float, c.shape...))
				b.Output("y", y)
				model, err := b.Model()
				require.NoError(t, err)
				got := make([]float32, y.Len())
				run(t, model, []io{{"x", c.shape, c.x}}, []io{{"y", y.Shape, got}})
				close32(t, c.want, got, name)
				if portable {
					require.NotContains(t, string(model), "com.microsoft")
				}
			}
		})
	}
}

// The blocked operators against the plain ones.
func TestBlockedNumbers(t *testing.T) {
	block := ort.ChannelBlock()
	if block == 0 {
		t.Skip("no blocked convolutions on this processor")
	}
	b := graph.New()
	c := 2 * block
	shape := []int{2, c, 4, 6}
	x := b.Input("x", graph.Float, shape...)
	data := make([]float32, x.Len())
	for i := range data {
		data[i] = float32(math.Sin(float64(i) * 1.7))
	}
	w := b.Const(data[:block*9], block, 1, 3, 3) // depthwise on the first half
	blockedW := make([]float32, block*9)
	for o := range block {
		for k := range 9 {
			blockedW[k*block+o] = data[o*9+k]
		}
	}
	pairs := map[string][2]*value{
		"there and back": {x, b.FromBlocked(b.ToBlocked(x, false), c, false)},
		"channels last":  {b.Transpose(x, 0, 2, 3, 1), b.FromBlocked(b.ToBlocked(b.Transpose(x, 0, 2, 3, 1), true), c, true)},
		"fewer channels": {b.Slice(x, 1, 0, c-3), b.FromBlocked(b.ToBlocked(x, false), c-3, false)},
		"upsample":       {b.Upsample(x), b.FromBlocked(b.BlockedUpsample(b.ToBlocked(x, false)), c, false)},
		"pool":           {b.AveragePool(x), b.FromBlocked(b.BlockedAveragePool(b.ToBlocked(x, false)), c, false)},
		"mean":           {b.Mean(x, true, 2, 3), b.FromBlocked(b.BlockedMean(b.ToBlocked(x, false)), c, false)},
	}
	first := b.Slice(x, 1, 0, block)
	var planes []*value // a depthwise convolution, channel by channel
	for o := range block {
		planes = append(planes, b.Conv(b.Slice(first, 1, o, o+1), b.Slice(w, 0, o, o+1), nil, pad1))
	}
	plain := b.Sigmoid(b.Add(b.Concat(1, planes...), first))
	got := b.BlockedConv(b.ToBlocked(first, false), b.Const(blockedW, block, 1, 3, 3), nil, b.ToBlocked(first, false), pad1, block, "Sigmoid")
	pairs["depthwise"] = [2]*value{plain, b.FromBlocked(got, block, false)}
	var outs []io
	for name, p := range pairs {
		require.Equal(t, p[0].Shape, p[1].Shape, name)
		for i := range p {
			n := fmt.Sprintf("%s %d", name, i)
			outs = append(outs, io{n, p[i].Shape, make([]float32, p[i].Len())})
			b.Output(n, p[i])
		}
	}
	model, err := b.Model()
	require.NoError(t, err)
	run(t, model, []io{{"x", shape, data}}, outs)
	for i := 0; i < len(outs); i += 2 {
		close32(t, outs[i].data.([]float32), outs[i+1].data.([]float32), outs[i].name)
	}
}

// Outputs may be inputs, constants, values that are read elsewhere, and the same value twice.
func TestOutputs(t *testing.T) {
	b := graph.New()
	x := b.Input("x", graph.Float, 2)
	y := b.Add(x, b.Scalar(1))
	z := b.Mul(y, y) // reads y before it is named
	b.Output("y", y)
	b.Output("same", y)
	b.Output("input", x)
	b.Output("constant", b.Scalar(7))
	b.Output("z", z)
	b.Output("after", b.Sub(y, x)) // reads y after it was named
	model, err := b.Model()
	require.NoError(t, err)
	want := map[string][]float32{"y": {2, 3}, "same": {2, 3}, "input": {1, 2}, "constant": {7}, "z": {4, 9}, "after": {1, 1}}
	var outs []io
	for name, v := range want {
		outs = append(outs, io{name, []int{len(v)}, make([]float32, len(v))})
	}
	run(t, model, []io{{"x", []int{2}, []float32{1, 2}}}, outs)
	for _, o := range outs {
		require.Equal(t, want[o.name], o.data, o.name)
	}
}

// Equal constants are stored once; those that differ in shape, type or bits are not.
func TestConstantsAreShared(t *testing.T) {
	b := graph.New()
	data := make([]float32, 1000)
	data[3] = 1
	a := b.Const(data, 10, 100)
	require.Same(t, a, b.Const(bytesOf(data), 10, 100))
	require.NotSame(t, a, b.Const(data, 100, 10))
	require.NotSame(t, b.Scalar(0), b.Scalar(math.Copysign(0, -1)))
	require.NotSame(t, b.Ints([]int{0}, 1), b.Const([]float32{0, 0}, 2))
	size := func(times int) int {
		b := graph.New()
		x := b.Input("x", graph.Float, 1000)
		for range times {
			x = b.Add(x, b.Const(data, 1000))
		}
		b.Output("y", x)
		model, err := b.Model()
		require.NoError(t, err)
		require.Equal(t, 1, bytes.Count(model, []byte{0, 0, 0x80, 0x3f})) // the one 1.0
		return len(model)
	}
	require.Less(t, size(20)-size(1), 2000)
}

func bytesOf(f []float32) []float32 { return append([]float32(nil), f...) }

// A portable model takes any batch, through every operation whose shape depends on it.
func TestPortableBatch(t *testing.T) {
	const batch = 999983
	b := graph.New()
	b.Portable("batch", batch)
	x := b.Input("x", graph.Float, batch, 4, 3)
	h := b.Reshape(x, batch*4, 3) // the batch in a product
	h = b.Gemm(h, b.Const([]float32{1, 0, 0, 0, 1, 0, 0, 0, 1}, 3, 3), nil, false, true)
	h = b.Reshape(h, batch, 2, 2, 3)
	h = b.Transpose(h, 0, 2, 1, 3)
	h = b.Reshape(h, batch, 12)
	h = b.Add(h, b.SiLU(b.Const(make([]float32, 12), 1, 12)))
	b.Output("y", h)
	b.Output("sum", b.Sum(h, false, 1))
	model, err := b.Model()
	require.NoError(t, err)
	for _, n := range []int{1, 2, 5} {
		in, want := make([]float32, n*12), make([]float32, n*12)
		for i := range in {
			in[i] = float32(i)
			s, r := i/12, i%12
			p, q, k := r/6, r/3%2, r%3
			want[s*12+(q*2+p)*3+k] = float32(i)
		}
		y, sum := make([]float32, n*12), make([]float32, n)
		run(t, model, []io{{"x", []int{n, 4, 3}, in}}, []io{{"y", []int{n, 12}, y}, {"sum", []int{n}, sum}})
		require.Equal(t, want, y)
		for i, s := range sum {
			require.InDelta(t, 66+144*i, s, 1e-3)
		}
	}
}
