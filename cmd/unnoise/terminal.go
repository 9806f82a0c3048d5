package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	"unnoise/runtime/durable"
)

// Names, classes and errors are others' text, and a terminal obeys what it is sent. All that is printed passes through
// here: printf shows the control characters of its arguments, and screen those of whatever else is written.

// screen is a writer to a terminal, a pipe or a file that shows control characters other than line feed and tab.
type screen struct {
	to   io.Writer
	rest []byte // the beginning of a character whose end is still to be written
}

// Write never reports more than it was given.
func (s *screen) Write(p []byte) (int, error) {
	b := append(s.rest, p...)
	whole := len(b)
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if tail := b[len(b)-n:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				whole -= n
			}
			break
		}
	}
	s.rest = bytes.Clone(b[whole:])
	if _, err := io.WriteString(s.to, shown(string(b[:whole]), "\n\t")); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush writes the beginning of a character that has no end.
func (s *screen) flush() {
	_, _ = io.WriteString(s.to, shown(string(s.rest), ""))
	s.rest = nil
}

// visible is text from elsewhere as it can be put into a line.
func visible(text string) string { return shown(durable.Exact(text), "") }

// shown writes out what would act on a terminal or deceive whoever reads it: control characters (C0, DEL and C1), those
// that turn the direction of writing (Unicode's Bidi_Control), line and paragraph separators, and bytes that are no UTF-8.
func shown(text, keep string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, acts) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case !acts(r) || strings.ContainsRune(keep, r):
			b.WriteString(text[i : i+n])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += n
	}
	return b.String()
}

// acts says whether a character does something other than to be seen.
func acts(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
}

// visibleArgs makes the arguments of a format visible; numbers stay what they are.
func visibleArgs(args []any) []any {
	out := make([]any, len(args))
	for i, v := range args {
		out[i] = v
		switch v.(type) {
		case error, fmt.Stringer:
			out[i] = visible(fmt.Sprint(v))
		default:
			if reflect.ValueOf(v).Kind() == reflect.String {
				out[i] = visible(fmt.Sprint(v))
			}
		}
	}
	return out
}

// printf prints a result. Line breaks and tabs of the format stay, those of the arguments are shown.
func (a *app) printf(format string, args ...any) {
	fmt.Fprintf(a.out, format, visibleArgs(args)...)
}

// printJSON prints a result as JSON. encoding/json leaves DEL, C1 and characters of direction as they are: they are
// escaped, too, which changes nothing for whoever parses it.
func (a *app) printJSON(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := fmt.Fprint(a.out, escaped(b.String()))
	return err
}

// escaped writes characters that act on a terminal as JSON's strings do. All of them are in Unicode's first plane.
func escaped(js string) string {
	var b strings.Builder
	for _, r := range js {
		if acts(r) && r != '\n' {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
