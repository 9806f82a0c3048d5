package disk

import (
	"encoding/json"
	"errors"
	"io"

	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// ErrNewer marks the refusal of a file that a newer Unnoise has written.
var ErrNewer = sentence.Errorf("written by a newer version of Unnoise")

// WriteJSON writes v as indented JSON, atomically.
func WriteJSON(path string, v any) error { return durable.WriteFile(path, JSON(v)) }

// JSON is for durable's functions: it writes v as indented JSON.
func JSON(v any) func(io.Writer) error {
	return func(out io.Writer) error {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
}

// ReadJSON reads a JSON file of at most limit bytes into v; a pipe in its place is refused. The error says which file and
// wraps fs.ErrNotExist when there is none.
func ReadJSON(path string, limit int64, v any) error {
	b, err := durable.ReadFile(path, limit)
	switch {
	case errors.Is(err, durable.ErrNotRegular) || errors.Is(err, durable.ErrTooLarge):
		return err
	case err != nil:
		return sentence.Errorf("the file %s cannot be read: %w", path, Reason(err))
	}
	if err := json.Unmarshal(b, v); err != nil {
		return sentence.Errorf("the file %s is damaged: %w", path, sentence.JSON(err))
	}
	return nil
}
