package safetensors

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"unnoise/runtime/sentence"
)

// parseHeader reads the header token by token: unlike json.Unmarshal this refuses duplicate and unknown keys, cannot
// recurse, and builds nothing larger than the header.
func parseHeader(raw []byte, dataSize int64) (*Header, error) {
	if len(raw) == 0 || raw[0] != '{' {
		return nil, sentence.Errorf("its header does not begin with {")
	}
	if !utf8.Valid(raw) {
		return nil, sentence.Errorf("its header is not UTF-8")
	}
	p := parser{dec: json.NewDecoder(bytes.NewReader(raw))}
	p.dec.UseNumber()
	h := &Header{}
	err := p.object(func(name string) error {
		if name == metaKey {
			h.Meta = map[string]string{}
			return p.object(func(k string) (err error) {
				h.Meta[k], err = p.str()
				return err
			})
		}
		t, err := p.tensor(name)
		if err != nil {
			return sentence.Errorf("tensor %.100q: %w", name, err)
		}
		h.Tensors = append(h.Tensors, t)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if rest := bytes.TrimRight(raw[p.dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, sentence.Errorf("its header goes on after the closing }")
	}
	if err := tile(h.Tensors, dataSize); err != nil {
		return nil, err
	}
	return h, nil
}

type parser struct{ dec *json.Decoder }

func (p parser) delim(want json.Delim) error {
	t, err := p.dec.Token()
	if err != nil {
		return sentence.Errorf("its header is broken: %w", err)
	}
	if t != want {
		return sentence.Errorf("its header has %v where %v was due", t, want)
	}
	return nil
}

func (p parser) str() (string, error) {
	t, err := p.dec.Token()
	if err != nil {
		return "", sentence.Errorf("its header is broken: %w", err)
	}
	s, ok := t.(string)
	if !ok {
		return "", sentence.Errorf("its header has %v where a string was due", t)
	}
	return s, nil
}

// object reads an object; value must read the value of the key it is given.
func (p parser) object(value func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for p.dec.More() {
		k, err := p.str()
		if err != nil {
			return err
		}
		if seen[k] {
			return sentence.Errorf("its header names %.100q twice", k)
		}
		seen[k] = true
		if err := value(k); err != nil {
			return err
		}
	}
	return p.delim('}')
}

// ints reads an array of at most limit non-negative integers.
func (p parser) ints(limit int) ([]int64, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	out := []int64{}
	for p.dec.More() {
		t, err := p.dec.Token()
		if err != nil {
			return nil, sentence.Errorf("its header is broken: %w", err)
		}
		n, ok := t.(json.Number)
		if !ok {
			return nil, sentence.Errorf("its header has %v where a number was due", t)
		}
		v, err := strconv.ParseInt(n.String(), 10, 64)
		if err != nil || v < 0 {
			return nil, sentence.Errorf("its header has %.40s where a non-negative integer was due", n)
		}
		if len(out) == limit {
			return nil, sentence.Errorf("its header has a list of more than %d numbers", limit)
		}
		out = append(out, v)
	}
	return out, p.delim(']')
}

func (p parser) tensor(name string) (Info, error) {
	t := Info{Name: name}
	var offsets []int64
	fields := 0
	err := p.object(func(key string) (err error) {
		fields++
		switch key {
		case "dtype":
			t.DType, err = p.str()
		case "shape":
			var dims []int64
			dims, err = p.ints(maxDims)
			t.Shape = make([]int, len(dims))
			for i, d := range dims {
				t.Shape[i] = int(d)
				if int64(t.Shape[i]) != d {
					return sentence.Errorf("its shape %v is too large", dims)
				}
			}
		case "data_offsets":
			offsets, err = p.ints(2)
		default:
			err = sentence.Errorf("unknown property %.100q", key)
		}
		return err
	})
	if err != nil {
		return Info{}, err
	}
	if fields != 3 || len(offsets) != 2 {
		return Info{}, sentence.Errorf("it needs dtype, shape and two data_offsets")
	}
	size, _ := decoder(t.DType)
	if size == 0 {
		return Info{}, sentence.Errorf("its type %.20q is none of F32, F16, BF16, F64", t.DType)
	}
	if t.Count, err = count(t.Shape); err != nil {
		return Info{}, err
	}
	t.begin, t.end = offsets[0], offsets[1]
	if t.end < t.begin || t.end-t.begin != int64(t.Count)*int64(size) {
		return Info{}, sentence.Errorf("its shape %v of %s does not take the %d bytes from %d to %d",
			t.Shape, t.DType, t.end-t.begin, t.begin, t.end)
	}
	return t, nil
}
