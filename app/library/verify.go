package library

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"

	"unnoise/runtime/sentence"
)

// Verify reads the whole index at path and lets SQLite check every page of it; nothing is written. The error wraps
// fs.ErrNotExist when there is no index, and ErrForeign when the file is another program's, or no file.
func Verify(ctx context.Context, path string) (err error) {
	switch _, err := inspect(path); {
	case errors.Is(err, ErrForeign): // SQLite would wait for the other end of a pipe
		return sentence.Errorf("the file %s is left as it is: %w", path, err)
	case errors.Is(err, fs.ErrNotExist):
		return err
	}
	q := url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(10000)", "query_only(1)", "trusted_schema(0)"}}
	if _, err := os.Stat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		q.Set("immutable", "1") // nobody has it open: SQLite makes no files beside it then, and a read-only disk will do
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
		return sentence.Errorf("the index %s is damaged: %w", path, err)
	}
	if verdict != "ok" {
		return sentence.Errorf("the index %s is damaged: %s", path, verdict)
	}
	return nil
}
