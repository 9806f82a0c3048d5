package disk

import (
	"encoding/json"
	"io"
	"os"

	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// WriteJSON writes v as indented JSON, atomically.
func WriteJSON(path string, v any) error {
	return durable.WriteFile(path, func(out io.Writer) error {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(v)
	})
}

// ReadJSON reads a JSON file of at most limit bytes into v. The error says which file and
// wraps fs.ErrNotExist when there is none.
func ReadJSON(path string, limit int64, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return sentence.Errorf("the file %s cannot be read: %w", path, Reason(err))
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return sentence.Errorf("the file %s cannot be read: %w", path, Reason(err))
	}
	if int64(len(b)) > limit {
		return sentence.Errorf("the file %s is too large to be one of this program's (over %d bytes)", path, limit)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return sentence.Errorf("the file %s is damaged: %w", path, err)
	}
	return nil
}
