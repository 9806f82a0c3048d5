// Package sentence is for what is told to people, errors above all: the English sentence is kept apart from its
// figures, so that the window can show it in another language. Every room may make sentences; ui/page translates them,
// and a test in ui/i18n holds that each has its translations.
package sentence

import (
	"bytes"
	"text/template"
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

// String is the English sentence with its figures filled in.
func (t Text) String() string {
	if len(t.Data) == 0 {
		return t.Template
	}
	tm, err := template.New("").Parse(t.Template)
	if err != nil {
		return t.Template
	}
	var b bytes.Buffer
	if err := tm.Execute(&b, t.Data); err != nil {
		return t.Template
	}
	return b.String()
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
