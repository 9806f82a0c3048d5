package sentence

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
)

// JSON puts into words what encoding/json says of a file that it cannot read. Other errors are returned as they are.
func JSON(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if e.Field == "" {
			return T("what it holds is of the wrong kind ({{.Value}})", "Value", e.Value).Because(err)
		}
		return T("{{.Key}} is of the wrong kind ({{.Value}})", "Key", e.Field, "Value", e.Value).Because(err)
	}
	if _, ok := errors.AsType[*time.ParseError](err); ok || err != nil && strings.HasPrefix(err.Error(), "Time.UnmarshalJSON") {
		return T("a time in it cannot be read").Because(err)
	}
	e, ok := errors.AsType[*json.SyntaxError](err)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), ok && strings.HasPrefix(e.Error(), "unexpected end"):
		return T("it ends too early: it was cut off").Because(err)
	case ok && strings.HasSuffix(e.Error(), "exceeded max depth"):
		return T("it is nested too deeply").Because(err)
	case ok:
		return T("from byte {{.N}} on it is not JSON", "N", e.Offset).Because(err)
	}
	return err
}
