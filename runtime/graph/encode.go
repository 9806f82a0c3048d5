package graph

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers below are those of onnx.proto (IR version 9).

const irVersion = 9

func field(b []byte, n protowire.Number, msg []byte) []byte {
	b = protowire.AppendTag(b, n, protowire.BytesType)
	return protowire.AppendBytes(b, msg)
}

func text(b []byte, n protowire.Number, s string) []byte { return field(b, n, []byte(s)) }

func varint(b []byte, n protowire.Number, v int64) []byte {
	b = protowire.AppendTag(b, n, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(v))
}

func (a attr) encode() []byte {
	b := text(nil, 1, a.name)
	switch a.kind {
	case 1:
		b = protowire.AppendTag(b, 2, protowire.Fixed32Type)
		b = protowire.AppendFixed32(b, math.Float32bits(float32(a.f)))
	case 2:
		b = varint(b, 3, a.i)
	case 3:
		b = text(b, 4, a.s)
	case 7:
		for _, i := range a.ints {
			b = varint(b, 8, i)
		}
	}
	return varint(b, 20, int64(a.kind))
}

func (n node) encode() []byte {
	var b []byte
	for _, s := range n.in {
		b = text(b, 1, s)
	}
	for _, s := range n.out {
		b = text(b, 2, s)
	}
	b = text(b, 3, n.name)
	b = text(b, 4, n.op)
	for _, a := range n.attrs {
		b = field(b, 5, a.encode())
	}
	if n.domain != "" {
		b = text(b, 7, n.domain)
	}
	return b
}

func (b *Builder) encodeInfo(v *Value) []byte {
	var shape []byte
	for i, d := range v.Shape {
		dim := varint(nil, 1, int64(d))
		if i == 0 && b.dynamic != "" && d == b.batch {
			dim = text(nil, 2, b.dynamic)
		}
		shape = field(shape, 1, dim)
	}
	tensor := varint(nil, 1, int64(v.Type))
	tensor = field(tensor, 2, shape)
	return field(text(nil, 1, v.Name), 2, field(nil, 1, tensor))
}

func (c constant) encode() []byte {
	var b []byte
	for _, d := range c.value.Shape {
		b = varint(b, 1, int64(d))
	}
	b = varint(b, 2, int64(c.value.Type))
	b = text(b, 8, c.value.Name)
	return field(b, 9, c.raw)
}

// Model serialises the graph, or returns the first mistake made while building it.
func (b *Builder) Model() ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	if len(b.outputs) == 0 {
		return nil, fmt.Errorf("graph: the model has no output")
	}
	size := 0
	for _, c := range b.constants {
		size += len(c.raw)
	}
	if size > math.MaxInt32 {
		return nil, fmt.Errorf("graph: the model's constants take %d bytes; an ONNX file holds at most 2 GiB", size)
	}
	var g []byte
	for _, n := range b.nodes {
		g = field(g, 1, n.encode())
	}
	g = text(g, 2, "unnoise")
	for _, c := range b.constants {
		g = field(g, 5, c.encode())
	}
	for _, v := range b.inputs {
		g = field(g, 11, b.encodeInfo(v))
	}
	for _, v := range b.outputs {
		g = field(g, 12, b.encodeInfo(v))
	}
	m := varint(nil, 1, irVersion)
	m = text(m, 2, "unnoise")
	m = field(m, 7, g)
	domains := map[string]bool{"": true}
	m = field(m, 8, varint(text(nil, 1, ""), 2, 18))
	for _, n := range b.nodes {
		if !domains[n.domain] {
			domains[n.domain] = true
			m = field(m, 8, varint(text(nil, 1, n.domain), 2, 1))
		}
	}
	return m, nil
}

// Const adds a constant float tensor; equal constants are stored once.
func (b *Builder) Const(data []float32, shape ...int) *Value {
	raw := make([]byte, 0, 4*len(data))
	for _, f := range data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
	}
	return b.addConst(Float, raw, len(data), shape)
}

// Scalar adds a one-element constant of shape [1].
func (b *Builder) Scalar(f float64) *Value { return b.Const([]float32{float32(f)}, 1) }

// Ints adds a constant int64 tensor.
func (b *Builder) Ints(data []int, shape ...int) *Value {
	raw := make([]byte, 0, 8*len(data))
	for _, i := range data {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(i))
	}
	return b.addConst(Int64, raw, len(data), shape)
}

func (b *Builder) addConst(t Type, raw []byte, n int, shape []int) *Value {
	v := b.value("", t, shape...)
	if v.Len() != n {
		b.fail("Const", "%d values for shape %v", n, shape)
	}
	key := fmt.Sprint(t, shape, sha256.Sum256(raw))
	if old := b.shared[key]; old != nil {
		return old
	}
	v.Name = b.fresh("const")
	b.constants = append(b.constants, constant{v, raw})
	b.shared[key] = v
	return v
}

// Portable makes the model one for other programs: standard operators only,
// and the first dimension of every input and output whose extent is batch open
// under the given name. The graph itself must not depend on that extent.
func (b *Builder) Portable(name string, batch int) { b.dynamic, b.batch = name, batch }
