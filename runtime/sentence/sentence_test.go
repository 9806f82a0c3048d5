package sentence

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTextFillsItsPlaces(t *testing.T) {
	x := T("Run {{.Number}} stopped at step {{.Step}}. Continue?", "Number", 7, "Step", 4200)
	require.Equal(t, "Run 7 stopped at step 4200. Continue?", x.String())
	require.Equal(t, "50 % {{", T("50 % {{").String(), "what is not a template is shown as it is")
	require.Equal(t, "{{.A", T("{{.A", "A", 1).String())
	require.Equal(t, "It stopped: Run 7 stopped at step 4200. Continue?", T("It stopped: {{.Problem}}", "Problem", x).String())
	got, ok := errors.AsType[Text](error(x))
	require.True(t, ok)
	require.Equal(t, x.Template, got.Template)
}

func TestBecauseKeepsSentenceAndCause(t *testing.T) {
	err := T("{{.Path}} cannot be written", "Path", "/x").Because(fmt.Errorf("open /x: %w", fs.ErrPermission))
	wrapped := fmt.Errorf("step 3: %w", err)
	require.EqualError(t, wrapped, "step 3: /x cannot be written")
	require.ErrorIs(t, wrapped, fs.ErrPermission)
	text, ok := errors.AsType[Text](wrapped)
	require.True(t, ok)
	require.Equal(t, "/x", text.Data["Path"])
}

func TestErrorfSaysWhatFmtSays(t *testing.T) {
	inner := T("{{.N}} left", "N", 3)
	for _, x := range []struct {
		format   string
		args     []any
		template string
	}{
		{"it has no weights", nil, "it has no weights"},
		{"%s has %d bytes (%.3g %%), not %q", []any{"a{{.B}}", 7, 1.23456, "x\n"}, "{{.A}} has {{.B}} bytes ({{.C}} %), not {{.D}}"},
		{"%s: %w: %v of %#08x", []any{fs.ErrNotExist, inner, []int{1, 2}, 255}, "{{.A}}: {{.B}}: {{.C}} of {{.D}}"},
	} {
		err, want := Errorf(x.format, x.args...), fmt.Errorf(x.format, x.args...)
		require.EqualError(t, err, want.Error())
		require.Equal(t, x.template, Of(err).Template)
		require.Equal(t, x.template, Template(x.format))
		for _, target := range []error{fs.ErrNotExist, fs.ErrExist} {
			require.Equal(t, errors.Is(want, target), errors.Is(err, target))
		}
	}
	text, ok := errors.AsType[Text](Errorf("the file: %w", inner))
	require.True(t, ok)
	require.Equal(t, inner, text.Data["A"], "what is within can be translated, too")
	require.Equal(t, inner, Of(Errorf("%w", inner)))
	sentinel := Errorf("there is none")
	require.ErrorIs(t, Errorf("%w in %s", sentinel, "x"), sentinel)
}

func TestOfKeepsAllThatAnErrorSays(t *testing.T) {
	full := Errorf("the disk is full: %w", fs.ErrInvalid)
	path := &fs.PathError{Op: "open", Path: "/a {{.Path}}", Err: fs.ErrPermission}
	for want, err := range map[string]error{
		"":                               nil,
		"the disk is full: {{.A}}":       full,
		"step 3: {{.A}}":                 fmt.Errorf("step 3: %w", full),
		"{{.A}}\n{{.B}}":                 errors.Join(full, nil, path),
		"{{.A}} of {{.B}}; {{.C}}, done": fmt.Errorf("%w of %w; %w, done", full, path, full),
		"open {{.Path}}: {{.Problem}}":   path,
		"{{.Problem}}":                   errors.New("a {{ from elsewhere"),
		"unknown":                        errors.New("unknown"),
	} {
		got := Of(err)
		require.Equal(t, want, got.Template)
		if err != nil {
			require.Equal(t, err.Error(), got.String())
		}
		b, merr := json.Marshal(got)
		require.NoError(t, merr)
		var back Text
		require.NoError(t, json.Unmarshal(b, &back))
		require.Equal(t, got.Template, back.Template)
		require.Equal(t, got.String(), back.String())
	}
	require.Equal(t, Of(full), Of(&passes{full}), "an error that says what another does is that sentence")
}

type passes struct{ error }

func (p *passes) Unwrap() error { return p.error }

// A few sentences that name each other again and again fill no memory.
func TestSentencesThatGrowAreRefused(t *testing.T) {
	nest := func(depth int, tmpl string) []byte {
		return []byte(strings.Repeat(`{"template":"`+tmpl+`","data":{"A":`, depth) + `{"template":"ha"}` + strings.Repeat("}}", depth))
	}
	var x Text
	require.EqualError(t, json.Unmarshal(nest(15, strings.Repeat("{{.A}}", 10)), &x), "a sentence is too long")
	require.ErrorContains(t, json.Unmarshal(nest(maxDepth+1, "{{.A}}"), &x), "nested too deeply")
	require.Error(t, json.Unmarshal([]byte(`{"template":"{{.A}}","data":{"A":"`+strings.Repeat("x", maxLength+1)+`"}}`), &x))
	require.Zero(t, x, "what is refused leaves nothing")
	require.NoError(t, json.Unmarshal(nest(maxDepth, "{{.A}}"), &x))
	require.Equal(t, "ha", x.String())
	require.NoError(t, json.Unmarshal(nest(4, "{{.A}}{{.A}}"), &x))
	require.Equal(t, strings.Repeat("ha", 16), x.String())
	require.NoError(t, json.Unmarshal([]byte(`{"template":"{{.A}}","data":{"A":"`+strings.Repeat("x", 60_000)+`"}}`), &x))
}

// What is written can be read again, however long or deep an error is.
func TestWhatIsWrittenCanBeRead(t *testing.T) {
	deep := errors.New("first")
	for range 2 * maxDepth {
		deep = Errorf("then %w", deep)
	}
	long := Errorf("%w and %w", errors.New(strings.Repeat("长", maxLength)), deep)
	for _, err := range []error{deep, long, Errorf("so %w", deep), Errorf("so %w", long)} {
		b, merr := json.Marshal(Of(err))
		require.NoError(t, merr)
		var back Text
		require.NoError(t, json.Unmarshal(b, &back))
		require.True(t, strings.HasPrefix(err.Error(), back.String()))
		require.GreaterOrEqual(t, len(back.String()), min(len(err.Error()), maxLength-3))
	}
}

func TestJSON(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "it ends too early: it was cut off"},
		{`{"n":`, "it ends too early: it was cut off"},
		{`{"n":1}{`, "from byte 8 on it is not JSON"},
		{"\x00", "from byte 1 on it is not JSON"},
		{strings.Repeat("[", 20_000), "it is nested too deeply"},
		{"[1]", "what it holds is of the wrong kind (array)"},
		{`{"n":9223372036854775808}`, "n is of the wrong kind (number 9223372036854775808)"},
		{`{"t":7}`, "a time in it cannot be read"},
		{`{"t":"today"}`, "a time in it cannot be read"},
		{`{"n":"x"}`, "n is of the wrong kind (string)"},
	} {
		var v struct {
			N int       `json:"n"`
			T time.Time `json:"t"`
		}
		err := json.Unmarshal([]byte(c.in), &v)
		require.EqualError(t, JSON(err), c.want)
		require.ErrorIs(t, JSON(err), err)
	}
	require.NoError(t, JSON(nil))
	other := errors.New("other")
	require.Equal(t, other, JSON(other))
}

func FuzzTextFromAFile(f *testing.F) {
	f.Add([]byte(`{"template":"{{.A}} is {{.B}}","data":{"A":"x","B":{"template":"{{.C}}","data":{"C":7}}}}`))
	f.Add([]byte(`{"template":"{{range .A}}","data":{"A":[1,null]}}`))
	f.Add([]byte(`"old"`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var x Text
		if json.Unmarshal(b, &x) != nil {
			return
		}
		s := x.String()
		out, err := json.Marshal(x)
		require.NoError(t, err)
		var back Text
		require.NoError(t, json.Unmarshal(out, &back))
		require.Equal(t, s, back.String())
	})
}
