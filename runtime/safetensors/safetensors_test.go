package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// file builds a file of a header and n bytes of data.
func file(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

func read(t testing.TB, b []byte) ([]Tensor, map[string]string, error) {
	t.Helper()
	p := filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, os.WriteFile(p, b, 0o600))
	return Read(p)
}

func TestReadsWhatPythonWrote(t *testing.T) {
	tensors, meta, err := Read("testdata/python.safetensors")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"note": "größe"}, meta)
	raw, err := os.ReadFile("testdata/python.json")
	require.NoError(t, err)
	var want map[string]struct {
		Shape []int
		Bits  []uint32
	}
	require.NoError(t, json.Unmarshal(raw, &want))
	require.Len(t, tensors, len(want))
	for _, x := range tensors {
		w := want[x.Name]
		require.Equal(t, w.Shape, x.Shape, x.Name)
		require.Len(t, x.Data, len(w.Bits), x.Name)
		for i, bits := range w.Bits {
			require.Equal(t, bits, math.Float32bits(x.Data[i]), "%s[%d]", x.Name, i)
		}
	}
}

func TestHalfIsItsDefinition(t *testing.T) {
	// IEEE 754-2019, table 3.5: (-1)^s · 2^(e-15) · (1 + f/2¹⁰), or (-1)^s · 2⁻¹⁴ · f/2¹⁰ where e = 0.
	for b := range 1 << 16 {
		s, e, f := 1-2*float64(b>>15), b>>10&31, float64(b&1023)/1024
		var want float64
		switch {
		case e == 31 && f != 0:
			require.True(t, math.IsNaN(float64(half(uint16(b)))))
			continue
		case e == 31:
			want = math.Inf(int(s))
		case e == 0:
			want = s * math.Ldexp(f, -14)
		default:
			want = s * math.Ldexp(1+f, e-15)
		}
		if got := half(uint16(b)); float64(got) != want || math.Signbit(float64(got)) != (s < 0) {
			t.Fatalf("%#04x: %v, want %v", b, got, want)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	long := make([]float32, chunkSize/4*2+3) // crosses the chunks of the copy
	for i := range long {
		long[i] = float32(i) - 1000.5
	}
	in := []Tensor{
		{Name: "b", Shape: []int{len(long)}, Data: long},
		{Name: "a.weight", Shape: []int{2, 1, 2}, Data: []float32{1, float32(math.Inf(1)), float32(math.Copysign(0, -1)), 4}},
		{Name: "s", Data: []float32{9}},
		{Name: "none", Shape: []int{3, 0}, Data: nil},
	}
	meta := map[string]string{"format": "pt"}
	p := filepath.Join(t.TempDir(), "w.safetensors")
	require.NoError(t, WriteFile(p, in, meta))
	out, m, err := Read(p)
	require.NoError(t, err)
	require.Equal(t, meta, m)
	byName := map[string]Tensor{}
	for _, x := range out {
		byName[x.Name] = x
	}
	require.Len(t, byName, 4)
	for _, x := range in {
		got := byName[x.Name]
		require.Len(t, got.Shape, len(x.Shape))
		require.Len(t, got.Data, len(x.Data))
		for i := range x.Data {
			require.Equal(t, math.Float32bits(x.Data[i]), math.Float32bits(got.Data[i]))
		}
	}

	// Aligned, and the same bytes whatever the order.
	a, err := os.ReadFile(p)
	require.NoError(t, err)
	require.Zero(t, binary.LittleEndian.Uint64(a)%8)
	in[0], in[2] = in[2], in[0]
	var b bytes.Buffer
	require.NoError(t, Write(&b, in, meta))
	require.True(t, bytes.Equal(a, b.Bytes()))
}

func TestWriteRefuses(t *testing.T) {
	for name, ts := range map[string][]Tensor{
		"two tensors":  {{Name: "a", Shape: []int{1}, Data: []float32{1}}, {Name: "a", Shape: []int{1}, Data: []float32{1}}},
		"cannot be":    {{Name: "__metadata__", Shape: []int{1}, Data: []float32{1}}},
		"has 2 values": {{Name: "a", Shape: []int{3}, Data: []float32{1, 2}}},
		"negative":     {{Name: "a", Shape: []int{-1, -2}, Data: []float32{1, 2}}},
	} {
		require.ErrorContains(t, Write(io.Discard, ts, nil), name)
	}
	full := errors.New("full")
	ts := []Tensor{{Name: "a", Shape: []int{3}, Data: make([]float32, 3)}}
	var b bytes.Buffer
	require.NoError(t, Write(&b, ts, nil))
	for n := range b.Len() { // wherever the disk fills, the error comes through
		require.ErrorIs(t, Write(&limited{left: n, err: full}, ts, nil), full)
	}
}

type limited struct {
	left int
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return l.left, l.err
	}
	l.left -= len(p)
	return len(p), nil
}

func TestReadRefuses(t *testing.T) {
	one := `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"empty":             {nil, "only 0 bytes"},
		"short":             {[]byte{1, 2, 3}, "only 3 bytes"},
		"header past end":   {binary.LittleEndian.AppendUint64(nil, 9), "header of 9 bytes"},
		"huge header":       {append(binary.LittleEndian.AppendUint64(nil, 1<<63), make([]byte, 100)...), "header of"},
		"no header":         {file("", 0), "does not begin"},
		"not an object":     {file("[]", 0), "does not begin"},
		"deep":              {file(`{"a":`+strings.Repeat("[", 100000), 0), "due"},
		"deep shape":        {file(`{"a":{"shape":`+strings.Repeat("[", 100000), 0), "due"},
		"cut":               {file(one[:20], 4), "broken"},
		"not UTF-8":         {file("{\"\xff\":1}", 0), "UTF-8"},
		"two documents":     {file(one+one, 4), "goes on"},
		"trailing bytes":    {file(one, 5), "take 4 bytes, the file has 5"},
		"missing bytes":     {file(one, 3), "take 4 bytes, the file has 3"},
		"duplicate":         {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), "twice"},
		"duplicate escaped": {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), "twice"},
		"duplicate key":     {file(`{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4), "twice"},
		"duplicate meta":    {file(`{"__metadata__":{"a":"b","a":"c"}}`, 0), "twice"},
		"meta not string":   {file(`{"__metadata__":{"a":1}}`, 0), "string was due"},
		"hole":              {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}`, 12), "begins at byte 8"},
		"overlap":           {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 12), "begins at byte 4"},
		"same place":        {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4), "begins at byte 0"},
		"hole at start":     {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), "begins at byte 4"},
		"wrong length":      {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4), "does not take"},
		"backwards":         {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`, 4), "does not take"},
		"overflow":          {file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0), "too large"},
		"overflow 2":        {file(`{"a":{"dtype":"F32","shape":[9223372036854775807,2],"data_offsets":[0,0]}}`, 0), "too large"},
		"negative":          {file(`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, 4), "non-negative"},
		"fraction":          {file(`{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}`, 4), "non-negative"},
		"too big number":    {file(`{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}}`, 4), "non-negative"},
		"many dimensions":   {file(`{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}`, 4), "more than 16"},
		"three offsets":     {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}}`, 4), "more than 2"},
		"one offset":        {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4]}}`, 4), "two data_offsets"},
		"no type":           {file(`{"a":{"shape":[1],"data_offsets":[0,4]}}`, 4), "needs dtype"},
		"other type":        {file(`{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}`, 8), `"I64" is none of`},
		"unknown property":  {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}`, 4), "unknown property"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := read(t, c.b)
			require.ErrorIs(t, err, ErrFormat)
			require.ErrorContains(t, err, c.want)
		})
	}
	ts, _, err := read(t, file(one+"   ", 4))
	require.NoError(t, err, "padding is fine")
	require.Equal(t, []Tensor{{Name: "a", Shape: []int{1}, Data: []float32{0}}}, ts)
}

func TestReadDataCutShort(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Write(&b, []Tensor{{Name: "a", Shape: []int{4}, Data: make([]float32, 4)}}, nil))
	whole := b.Bytes()
	for n := range whole {
		r := bytes.NewReader(whole[:n]) // a file that shrank after its size was taken
		h, err := ReadHeader(r, int64(len(whole)))
		if err == nil {
			err = h.ReadData(r, func(i Info) ([]float32, error) { return make([]float32, i.Count), nil })
		}
		require.Error(t, err, n)
	}
}

func FuzzRead(f *testing.F) {
	py, err := os.ReadFile("testdata/python.safetensors")
	require.NoError(f, err)
	f.Add(py)
	f.Add(file(`{"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[2,1],"data_offsets":[0,4]}}`, 4))
	f.Add(file(`{}`, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		h, err := ReadHeader(r, int64(len(b)))
		if err != nil {
			return
		}
		// What is accepted is complete, and writing it as float32 and reading it again changes nothing.
		var ts []Tensor
		require.NoError(t, h.ReadData(r, func(i Info) ([]float32, error) {
			ts = append(ts, Tensor{Name: i.Name, Shape: i.Shape, Data: make([]float32, i.Count)})
			return ts[len(ts)-1].Data, nil
		}))
		require.Zero(t, r.Len())
		var one, two bytes.Buffer
		require.NoError(t, Write(&one, ts, h.Meta))
		again := bytes.NewReader(one.Bytes())
		h2, err := ReadHeader(again, int64(one.Len()))
		require.NoError(t, err)
		var ts2 []Tensor
		require.NoError(t, h2.ReadData(again, func(i Info) ([]float32, error) {
			ts2 = append(ts2, Tensor{Name: i.Name, Shape: i.Shape, Data: make([]float32, i.Count)})
			return ts2[len(ts2)-1].Data, nil
		}))
		require.NoError(t, Write(&two, ts2, h2.Meta))
		require.Equal(t, one.Bytes(), two.Bytes())
	})
}
