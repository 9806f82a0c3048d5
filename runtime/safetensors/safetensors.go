// Package safetensors reads and writes the safetensors format, in which diffusers and most of the field keep weights:
// eight bytes of little-endian header length, a JSON header that names each tensor's type, shape and place, and the
// tensors' bytes, row-major and little-endian, one after the other
// (format: https://github.com/huggingface/safetensors, README, section "Format").
//
// Files are hostile until checked: the header's length, nesting, names and numbers are, and the tensors must tile the
// rest of the file exactly, without hole or overlap, before anything of their size is allocated.
package safetensors

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// MaxHeader is the longest header accepted, in bytes. The format allows 100 MB; a tensor takes about 100 bytes of it,
// so this is room for 100,000 tensors.
const MaxHeader = 16 << 20

const (
	maxDims   = 16
	chunkSize = 256 << 10 // of the conversion buffers, in bytes; a multiple of every element size
	metaKey   = "__metadata__"
)

// ErrFormat is wrapped by every error that says that a file is not valid safetensors or holds what this package does
// not read.
var ErrFormat = sentence.Errorf("not a usable safetensors file")

// Tensor is a named array, row-major. Its element count is the product of Shape (1 for an empty Shape).
type Tensor struct {
	Name  string
	Shape []int
	Data  []float32
}

// Info describes one tensor of a file.
type Info struct {
	Name  string
	DType string // F32, F16, BF16 or F64
	Shape []int
	Count int // elements

	begin, end int64 // in bytes, from the end of the header
}

type headerEntry struct {
	DType   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// Write writes the tensors as F32, sorted by name, with meta (may be nil) as the header's string-to-string metadata.
// The same tensors and metadata give the same bytes. The data are streamed: no second copy of them is made.
func Write(w io.Writer, tensors []Tensor, meta map[string]string) error {
	tensors = slices.SortedFunc(slices.Values(tensors), func(a, b Tensor) int { return cmp.Compare(a.Name, b.Name) })
	header := make(map[string]any, len(tensors)+1) // encoding/json sorts the keys
	if len(meta) > 0 {
		header[metaKey] = meta
	}
	var at int64
	for _, t := range tensors {
		if t.Name == metaKey {
			return sentence.Errorf("write safetensors: a tensor cannot be named %q", t.Name)
		}
		if _, ok := header[t.Name]; ok {
			return sentence.Errorf("write safetensors: two tensors are named %q", t.Name)
		}
		n, err := count(t.Shape)
		if err != nil {
			return sentence.Errorf("write safetensors: tensor %q: %w", t.Name, err)
		}
		if n != len(t.Data) {
			return sentence.Errorf("write safetensors: tensor %q has %d values but shape %v", t.Name, len(t.Data), t.Shape)
		}
		shape := t.Shape
		if shape == nil {
			shape = []int{} // a scalar's shape is [], not null
		}
		end := at + 4*int64(n)
		header[t.Name] = headerEntry{DType: "F32", Shape: shape, Offsets: [2]int64{at, end}}
		at = end
	}
	head, err := json.Marshal(header)
	if err != nil {
		return sentence.Errorf("write safetensors: %w", err)
	}
	for len(head)%8 != 0 {
		head = append(head, ' ') // the format's padding: the data begin at a multiple of 8
	}
	if len(head) > MaxHeader {
		return sentence.Errorf("write safetensors: the header takes %d bytes, more than %d", len(head), MaxHeader)
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(head)))); err != nil {
		return sentence.Errorf("write safetensors: %w", err)
	}
	if _, err := w.Write(head); err != nil {
		return sentence.Errorf("write safetensors: %w", err)
	}
	buf := make([]byte, 0, chunkSize)
	for _, t := range tensors {
		for part := range slices.Chunk(t.Data, chunkSize/4) {
			buf = buf[:4*len(part)]
			for i, v := range part {
				binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(v))
			}
			if _, err := w.Write(buf); err != nil {
				return sentence.Errorf("write safetensors: %w", err)
			}
		}
	}
	return nil
}

// WriteFile writes the file at path with Write, atomically.
func WriteFile(path string, tensors []Tensor, meta map[string]string) error {
	return durable.WriteFile(path, func(w io.Writer) error { return Write(w, tensors, meta) })
}

// Read reads a whole file, converting F16, BF16 and F64 to float32. The tensors come in the order of the file and are
// views of one allocation.
func Read(path string) (tensors []Tensor, meta map[string]string, err error) {
	f, err := durable.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	h, err := ReadHeader(f, st.Size())
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	total := 0
	for _, t := range h.Tensors {
		total += t.Count
	}
	flat := make([]float32, total)
	for _, t := range h.Tensors {
		tensors = append(tensors, Tensor{Name: t.Name, Shape: t.Shape, Data: flat[:t.Count:t.Count]})
		flat = flat[t.Count:]
	}
	i := 0
	err = h.ReadData(f, func(Info) ([]float32, error) { i++; return tensors[i-1].Data, nil })
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return tensors, h.Meta, nil
}

// Header is a checked header.
type Header struct {
	Tensors []Info // in the order of their data
	Meta    map[string]string
}

// ReadHeader reads and checks the header of a file of the given size in bytes from r, which is left at the first
// tensor's data.
func ReadHeader(r io.Reader, size int64) (*Header, error) {
	var length [8]byte
	if size < 8 {
		return nil, sentence.Errorf("%w: it is only %d bytes long", ErrFormat, size)
	}
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, sentence.Errorf("read safetensors header: %w", err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > MaxHeader || n > uint64(size-8) {
		return nil, sentence.Errorf("%w: it claims a header of %d bytes", ErrFormat, n)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, sentence.Errorf("read safetensors header: %w", err)
	}
	h, err := parseHeader(raw, size-8-int64(n))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return h, nil
}

// ReadData reads every tensor's data from r, which ReadHeader left at the first, and nothing after them. For each
// tensor, dst returns where its Count values go, or nil to skip them.
func (h *Header) ReadData(r io.Reader, dst func(Info) ([]float32, error)) error {
	buf := make([]byte, chunkSize)
	for _, t := range h.Tensors {
		out, err := dst(t)
		if err != nil {
			return err
		}
		if out != nil && len(out) != t.Count {
			return sentence.Errorf("read safetensors: tensor %q has %d values, there is room for %d", t.Name, t.Count, len(out))
		}
		size, convert := decoder(t.DType)
		for left := t.Count; left > 0; {
			k := min(left, chunkSize/size)
			if _, err := io.ReadFull(r, buf[:k*size]); err != nil {
				return sentence.Errorf("read safetensors tensor %q: %w", t.Name, err)
			}
			if out != nil {
				convert(out[:k], buf)
				out = out[k:]
			}
			left -= k
		}
	}
	return nil
}

// count returns the product of a shape.
func count(shape []int) (int, error) {
	if len(shape) > maxDims {
		return 0, sentence.Errorf("it has %d dimensions, more than %d", len(shape), maxDims)
	}
	n, zero := 1, false
	for _, d := range shape {
		if d < 0 {
			return 0, sentence.Errorf("its shape %v is negative", shape)
		}
		if d == 0 {
			zero = true
			continue
		}
		if n > math.MaxInt/16/d { // 16: so that its size in bytes cannot overflow either
			return 0, sentence.Errorf("its shape %v is too large", shape)
		}
		n *= d
	}
	if zero {
		return 0, nil
	}
	return n, nil
}

// tile checks that the tensors lie end to end from 0 to size, and sorts them so.
func tile(ts []Info, size int64) error {
	slices.SortFunc(ts, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end), cmp.Compare(a.Name, b.Name))
	})
	var at int64
	for _, t := range ts {
		if t.begin != at {
			return sentence.Errorf("tensor %q begins at byte %d of the data, where %d was due", t.Name, t.begin, at)
		}
		at = t.end
	}
	if at != size {
		return sentence.Errorf("the tensors take %d bytes, the file has %d for them", at, size)
	}
	return nil
}

// decoder returns the bytes per element of a type and the function that converts len(dst) elements of src.
func decoder(dtype string) (size int, convert func(dst []float32, src []byte)) {
	switch dtype {
	case "F32":
		return 4, func(dst []float32, src []byte) {
			for i := range dst {
				dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
			}
		}
	case "BF16":
		return 2, func(dst []float32, src []byte) {
			for i := range dst {
				dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
			}
		}
	case "F16":
		return 2, func(dst []float32, src []byte) {
			for i := range dst {
				dst[i] = half(binary.LittleEndian.Uint16(src[2*i:]))
			}
		}
	case "F64":
		return 8, func(dst []float32, src []byte) {
			for i := range dst {
				dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
			}
		}
	}
	return 0, nil
}

// half converts an IEEE 754 binary16 number.
func half(b uint16) float32 {
	sign := uint32(b>>15) << 31
	exp, frac := uint32(b>>10)&0x1f, uint32(b)&0x3ff
	switch exp {
	case 0: // zero or subnormal: frac·2⁻²⁴, exact in float32
		return math.Float32frombits(sign | math.Float32bits(float32(frac)*0x1p-24))
	case 0x1f: // infinity or NaN
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}
