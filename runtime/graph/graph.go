// Package graph builds ONNX models with static shapes. Every operation checks
// the shapes it is given and computes the shape it returns; the first mistake
// is kept, named after its operation, and returned by Model, so that building
// code reads as formulas. Models are written for opset 18.
//
// Operators are those of the ONNX standard, a few of ONNX Runtime's published
// contrib operators (domain com.microsoft), and, in blocked.go, the ones that
// its CPU provider uses for channel-blocked tensors (domain com.microsoft.nchwc).
package graph

import (
	"fmt"
	"slices"
	"strings"
)

// Type is an ONNX element type.
type Type int

// Element types, numbered as in onnx.proto's TensorProto.DataType.
const (
	Float Type = 1
	Uint8 Type = 2
	Int64 Type = 7
)

// Value is a tensor of the graph: a name, an element type and a static shape.
type Value struct {
	Name  string
	Type  Type
	Shape []int
	owner *Builder
}

// Len returns the number of elements.
func (v *Value) Len() int {
	n := 1
	for _, d := range v.Shape {
		n *= d
	}
	return n
}

// Dim returns the extent of axis i.
func (v *Value) Dim(i int) int { return v.Shape[i] }

type attr struct {
	name string
	kind int // AttributeProto.AttributeType: 1 float, 2 int, 3 string, 7 ints
	f    float64
	i    int64
	s    string
	ints []int64
}

type node struct {
	op, domain, name string
	in, out          []string
	attrs            []attr
}

type constant struct {
	value *Value
	raw   []byte
}

// Builder collects nodes. It is not safe for concurrent use.
type Builder struct {
	nodes     []node
	constants []constant
	shared    map[string]*Value // constants by content
	inputs    []*Value
	outputs   []*Value
	dynamic   string // name of the batch dimension where the model leaves it open
	batch     int
	count     int
	err       error
}

// New returns an empty builder.
func New() *Builder { return &Builder{shared: map[string]*Value{}} }

// Err returns the first mistake, nil if there is none.
func (b *Builder) Err() error { return b.err }

// fail keeps the first error; the operation's name leads the sentence.
func (b *Builder) fail(op, format string, a ...any) {
	if b.err == nil {
		b.err = fmt.Errorf("graph: %s: %s", op, fmt.Sprintf(format, a...))
	}
}

func (b *Builder) fresh(op string) string {
	b.count++
	return fmt.Sprintf("%s_%d", strings.ToLower(op), b.count)
}

func (b *Builder) value(name string, t Type, shape ...int) *Value {
	return &Value{Name: name, Type: t, Shape: slices.Clone(shape), owner: b}
}

// Input declares a graph input.
func (b *Builder) Input(name string, t Type, shape ...int) *Value {
	for _, d := range shape {
		if d < 1 {
			b.fail("Input "+name, "shape %v has an extent below 1", shape)
		}
	}
	if slices.ContainsFunc(b.inputs, func(v *Value) bool { return v.Name == name }) {
		b.fail("Input "+name, "the name is taken")
	}
	v := b.value(name, t, shape...)
	b.inputs = append(b.inputs, v)
	return v
}

// Output declares v to be a graph output under the given name. The name is
// put on v itself, so that the node that makes v writes into the caller's
// tensor; a value that is an input, a constant or an output already goes
// through Identity.
func (b *Builder) Output(name string, v *Value) {
	if v == nil {
		b.fail("Output "+name, "no value")
		return
	}
	taken := func(v *Value) bool { return v.Name == name }
	if slices.ContainsFunc(b.inputs, taken) || slices.ContainsFunc(b.outputs, taken) {
		b.fail("Output "+name, "the name is taken")
		return
	}
	for i := range b.nodes {
		if k := slices.Index(b.nodes[i].out, v.Name); k >= 0 && !slices.Contains(b.outputs, v) {
			for j := range b.nodes {
				for l, in := range b.nodes[j].in {
					if in == v.Name {
						b.nodes[j].in[l] = name
					}
				}
			}
			b.nodes[i].out[k] = name
			v.Name = name
			b.outputs = append(b.outputs, v)
			return
		}
	}
	out := b.value(name, v.Type, v.Shape...)
	b.nodes = append(b.nodes, node{op: "Identity", name: name, in: []string{v.Name}, out: []string{name}})
	b.outputs = append(b.outputs, out)
}

// emit appends a node with one output.
func (b *Builder) emit(op, domain string, t Type, shape []int, attrs []attr, in ...*Value) *Value {
	names := make([]string, len(in))
	for i, v := range in {
		if v == nil {
			continue // an optional input that is left out
		}
		if v.owner != b {
			b.fail(op, "input %q belongs to another graph", v.Name)
		}
		names[i] = v.Name
	}
	for len(names) > 0 && names[len(names)-1] == "" {
		names = names[:len(names)-1]
	}
	name := b.fresh(op)
	b.nodes = append(b.nodes, node{op: op, domain: domain, name: name, in: names, out: []string{name}, attrs: attrs})
	return b.value(name, t, shape...)
}

func intAttr(name string, i int) attr       { return attr{name: name, kind: 2, i: int64(i)} }
func floatAttr(name string, f float64) attr { return attr{name: name, kind: 1, f: f} }
func stringAttr(name, s string) attr        { return attr{name: name, kind: 3, s: s} }
func intsAttr(name string, v ...int) attr   { return attr{name: name, kind: 7, ints: int64s(v)} }

func int64s(v []int) []int64 {
	out := make([]int64, len(v))
	for i, x := range v {
		out[i] = int64(x)
	}
	return out
}
