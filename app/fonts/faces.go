package fonts

import (
	"encoding/binary"
	"os"
	"strings"

	"github.com/go-text/typesetting/fontscan"

	"unnoise/runtime/sentence"
)

const (
	normal = 400 // weights, as in CSS
	bold   = 700
)

// Faces returns a font of the system that has every letter of a text, as a file of its own, upright and bold; nil where there is
// none. Both are of one family where that has both. A family for simplified Chinese comes before its kin. It reads the system's
// list of fonts, which may take seconds the first time.
func Faces(text string) (regular, heavy []byte, err error) {
	found, err := covering(text)
	if err != nil || len(found) == 0 {
		return nil, nil, err
	}
	at := best(found, "", normal)
	if regular, err = face(at.Location); err != nil {
		return nil, nil, err
	}
	if b := best(found, at.Family, bold); b.Family == at.Family && b.Aspect.Weight > at.Aspect.Weight {
		if heavy, err = face(b.Location); err != nil {
			return nil, nil, err
		}
	}
	return regular, heavy, nil
}

// best is the font that is nearest to a weight, of a family if it is named.
func best(found []fontscan.Footprint, family string, weight float32) (out fontscan.Footprint) {
	least := -1
	for _, f := range found {
		d := strange(f, weight)
		if family != "" && f.Family != family {
			d += 10_000
		}
		if !strings.HasSuffix(f.Family, "sc") && !strings.HasSuffix(f.Family, "cn") {
			d += 20 // the same letters, as they are written elsewhere
		}
		if least < 0 || d < least {
			out, least = f, d
		}
	}
	return out
}

// face reads one font of a file. Of a collection (OpenType 1.9, “TTC Header”) it makes a file of that font alone.
func face(at fontscan.Location) ([]byte, error) {
	st, err := os.Stat(at.File)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxSize {
		return nil, sentence.Errorf("the font %s has %d bytes", at.File, st.Size())
	}
	b, err := os.ReadFile(at.File)
	if err != nil {
		return nil, err
	}
	if len(b) < 4 || string(b[:4]) != "ttcf" {
		return b, nil
	}
	out, ok := single(b, int(at.Index))
	if !ok {
		return nil, sentence.Errorf("the font %s is damaged", at.File)
	}
	return out, nil
}

// single copies the i-th font of a collection.
func single(b []byte, i int) ([]byte, bool) {
	const head, record = 12, 16
	at := func(offset, n uint64) ([]byte, bool) {
		if offset > uint64(len(b)) || n > uint64(len(b))-offset {
			return nil, false
		}
		return b[offset : offset+n], true
	}
	u32 := func(b []byte) uint64 { return uint64(binary.BigEndian.Uint32(b)) }
	fonts, ok := at(8, 4)
	if !ok || i < 0 || uint64(i) >= u32(fonts) {
		return nil, false
	}
	where, ok := at(uint64(head+4*i), 4)
	if !ok {
		return nil, false
	}
	start := u32(where)
	dir, ok := at(start, head)
	if !ok {
		return nil, false
	}
	n := uint64(binary.BigEndian.Uint16(dir[4:]))
	records, ok := at(start+head, n*record)
	if !ok {
		return nil, false
	}
	out := append(append([]byte(nil), dir...), records...)
	for k := range n {
		r := out[head+k*record : head+(k+1)*record]
		table, ok := at(u32(r[8:]), u32(r[12:]))
		if !ok || uint64(len(out))+uint64(len(table)) > maxSize {
			return nil, false
		}
		binary.BigEndian.PutUint32(r[8:], uint32(len(out)))
		out = append(out, table...)
		for len(out)%4 != 0 {
			out = append(out, 0)
		}
	}
	return out, true
}
