// Package sentence is for what is told to people, errors above all: the English sentence is kept apart from its
// figures, so that the window can show it in another language. Every room may make sentences; ui/page translates them,
// and a test in ui/i18n holds that each has its translations.
package sentence

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

// Text is a sentence for people: Template is the English sentence and the key of its translation, Data fills its
// {{.Name}} places. It is an error, too.
type Text struct {
	Template string
	Data     map[string]any
}

// T makes a Text. The arguments alternate between a name and its value.
func T(tmpl string, pairs ...any) Text {
	t := Text{Template: tmpl}
	for i := 0; i+1 < len(pairs); i += 2 {
		if t.Data == nil {
			t.Data = make(map[string]any, len(pairs)/2)
		}
		if k, ok := pairs[i].(string); ok {
			t.Data[k] = pairs[i+1]
		}
	}
	return t
}

var place = regexp.MustCompile(`{{\.(\w+)}}`)

// String is the English sentence with its figures filled in.
func (t Text) String() string {
	if len(t.Data) == 0 {
		return t.Template
	}
	return place.ReplaceAllStringFunc(t.Template, func(p string) string {
		if v, ok := t.Data[p[3:len(p)-2]]; ok {
			return fmt.Sprint(v)
		}
		return p
	})
}

// Or is t, or the plain sentence where t is empty, as in what an older version saved.
func (t Text) Or(plain string) Text {
	if t.Template == "" {
		return Text{Template: plain}
	}
	return t
}

// Error makes a Text usable as an error whose sentence can still be translated.
func (t Text) Error() string { return t.String() }

// Because is the sentence as an error that also is the cause, for errors.Is and errors.As. What the cause says is not
// told: it belongs into the sentence where people need it.
func (t Text) Because(cause error) error { return &caused{t, cause} }

type caused struct {
	text  Text
	cause error
}

func (c *caused) Error() string   { return c.text.String() }
func (c *caused) Unwrap() []error { return []error{c.text, c.cause} }

// Errorf is fmt.Errorf, and its sentence can be translated: the places of its Text are those of the verbs, in order,
// by the names A, B, C …; see Template.
func Errorf(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if format == "%w" {
		return &caused{Of(errors.Unwrap(err)), err}
	}
	t := Text{Template: Template(format)}
	n := 0
	for _, v := range verb.FindAllString(format, -1) {
		if v == "%%" || n >= len(args) {
			continue
		}
		if t.Data == nil {
			t.Data = make(map[string]any, len(args))
		}
		if e, ok := args[n].(error); ok && strings.ContainsAny(v[len(v)-1:], "wsv") {
			t.Data[name(n)] = e // to be translated, too
		} else {
			t.Data[name(n)] = fmt.Sprintf(v, args[n])
		}
		n++
	}
	return &caused{t, err}
}

var verb = regexp.MustCompile(`%[-+# 0]*\d*(\.\d+)?[a-zA-Z%]`)

func name(n int) string { return string(rune('A' + n)) }

// Template is the template of the Text that Errorf makes of a format.
func Template(format string) string {
	n := -1
	return verb.ReplaceAllStringFunc(format, func(v string) string {
		if v == "%%" {
			return "%"
		}
		n++
		return "{{." + name(n) + "}}"
	})
}

// Of is the sentence of an error: all that its Error says. What it wraps fills places of its own, so that each part can
// be translated.
func Of(err error) Text {
	var parts []error
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case nil:
		return Text{}
	case Text:
		return e
	case *caused:
		return e.text
	case *fs.PathError:
		return T(e.Op+" {{.Path}}: {{.Problem}}", "Path", e.Path, "Problem", Of(e.Err))
	case *os.LinkError:
		return T(e.Op+" {{.From}} {{.To}}: {{.Problem}}", "From", e.Old, "To", e.New, "Problem", Of(e.Err))
	case interface{ Unwrap() error }:
		parts = []error{e.Unwrap()}
	case interface{ Unwrap() []error }:
		parts = e.Unwrap()
	}
	rest := err.Error()
	whole := T("{{.Problem}}", "Problem", rest)
	t := Text{Data: map[string]any{}}
	for _, p := range parts {
		if p == nil {
			continue
		}
		before, after, ok := strings.Cut(rest, p.Error())
		if !ok || p.Error() == "" {
			continue
		}
		if before == "" && after == "" && len(t.Data) == 0 {
			return Of(p) // an error that says what another does
		}
		at := name(len(t.Data))
		t.Template += before + "{{." + at + "}}"
		t.Data[at] = Of(p)
		rest = after
	}
	if strings.Contains(place.ReplaceAllString(t.Template, "")+rest, "{{") || len(t.Data) > 26 {
		return whole
	}
	t.Template += rest
	return t
}

// saved is a Text in a file.
type saved struct {
	Template string         `json:"template"`
	Data     map[string]any `json:"data,omitempty"`
}

// MarshalJSON writes the sentence with its figures, which become strings, and the sentences within it. What UnmarshalJSON
// would refuse is written as one sentence without places, as much of it as is allowed.
func (t Text) MarshalJSON() ([]byte, error) {
	if t.length() > maxLength || t.depth() > maxDepth {
		whole := t.String()
		t = Text{Template: strings.ToValidUTF8(whole[:min(len(whole), maxLength)], "")}
	}
	s := saved{Template: t.Template}
	for k, v := range t.Data {
		if s.Data == nil {
			s.Data = make(map[string]any, len(t.Data))
		}
		if err, ok := v.(error); ok {
			s.Data[k] = Of(err)
		} else {
			s.Data[k] = fmt.Sprint(v)
		}
	}
	return json.Marshal(s)
}

// Bounds of what is read from a file: the sentences within sentences, and the bytes of the whole with its places filled in.
// A sentence of a few that each name the next ten times would fill any memory.
const (
	maxDepth  = 16
	maxLength = 64 << 10
)

// depth is how many sentences are within each other.
func (t Text) depth() int {
	n := 0
	for _, v := range t.Data {
		if err, ok := v.(error); ok {
			n = max(n, 1+Of(err).depth())
		}
	}
	return n
}

// UnmarshalJSON reads what MarshalJSON wrote. Every figure is a string or a Text then.
func (t *Text) UnmarshalJSON(b []byte) error {
	var s saved
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	x, err := s.text(0)
	if err != nil {
		return err
	}
	if x.length() > maxLength {
		return errors.New("a sentence is too long")
	}
	*t = x
	return nil
}

// length is how many bytes String has, and a little more where places repeat; it is counted without filling them in, and no
// further than maxLength+1.
func (t Text) length() int {
	n := len(t.Template)
	of := make(map[string]int, len(t.Data))
	for k, v := range t.Data {
		if x, ok := v.(Text); ok {
			of[k] = x.length()
		} else {
			of[k] = len(fmt.Sprint(v))
		}
	}
	for _, p := range place.FindAllString(t.Template, -1) {
		if n = n + of[p[3:len(p)-2]]; n > maxLength {
			break
		}
	}
	return min(n, maxLength+1)
}

func (s saved) text(depth int) (Text, error) {
	if depth > maxDepth {
		return Text{}, errors.New("sentences are nested too deeply")
	}
	t := Text{Template: s.Template}
	for k, v := range s.Data {
		if t.Data == nil {
			t.Data = make(map[string]any, len(s.Data))
		}
		switch v := v.(type) {
		case string:
			t.Data[k] = v
		case map[string]any:
			inner := saved{}
			inner.Template, _ = v["template"].(string)
			inner.Data, _ = v["data"].(map[string]any)
			x, err := inner.text(depth + 1)
			if err != nil {
				return Text{}, err
			}
			t.Data[k] = x
		default:
			t.Data[k] = fmt.Sprint(v)
		}
	}
	return t, nil
}
