package durable

import (
	"strings"
	"unicode/utf8"
)

// Path is a path in a JSON file. On most systems a path is any bytes, and JSON holds only UTF-8: what would be lost is
// kept as [Plain] has it.
type Path string

// MarshalText makes encoding/json write the path with [Plain].
func (p Path) MarshalText() ([]byte, error) { return []byte(Plain(string(p))), nil }

// UnmarshalText makes encoding/json read the path with [Exact].
func (p *Path) UnmarshalText(b []byte) error {
	*p = Path(Exact(string(b)))
	return nil
}

// String is the path as it is shown and kept.
func (p Path) String() string { return Plain(string(p)) }

// mark stands for one byte that is no part of UTF-8, together with the byte's two hexadecimal digits behind it. It is what
// programs show in such a place, and no path that was kept before is read as another.
const mark = string(utf8.RuneError)

// Plain is a name or path in UTF-8 from which [Exact] gets it back. It is the same where it is UTF-8 already, unless its
// own text looks like what Plain writes.
func Plain(name string) string {
	if utf8.ValidString(name) && !strings.Contains(name, mark) {
		return name
	}
	var b strings.Builder
	bytes := func(s string) {
		const digits = "0123456789abcdef"
		for i := range len(s) {
			b.WriteString(mark)
			b.WriteByte(digits[s[i]>>4])
			b.WriteByte(digits[s[i]&15])
		}
	}
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		_, looks := marked(name[i:])
		if (r == utf8.RuneError && n == 1) || looks {
			bytes(name[i : i+n])
		} else {
			b.WriteString(name[i : i+n])
		}
		i += n
	}
	return b.String()
}

// Exact is the name or path that [Plain] made the text of.
func Exact(plain string) string {
	if !strings.Contains(plain, mark) {
		return plain
	}
	var b strings.Builder
	for i := 0; i < len(plain); {
		if c, ok := marked(plain[i:]); ok {
			b.WriteByte(c)
			i += len(mark) + 2
			continue
		}
		b.WriteByte(plain[i])
		i++
	}
	return b.String()
}

// marked is the byte that the beginning of a text stands for.
func marked(s string) (c byte, ok bool) {
	if len(s) < len(mark)+2 || !strings.HasPrefix(s, mark) {
		return 0, false
	}
	digit := func(c byte) int { return strings.IndexByte("0123456789abcdef", c) }
	hi, lo := digit(s[len(mark)]), digit(s[len(mark)+1])
	return byte(hi<<4 | lo), hi >= 8 && lo >= 0 // bytes below 0x80 are UTF-8
}
