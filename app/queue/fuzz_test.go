package queue

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzLoad holds that a queue from elsewhere is refused or can be changed and read again, and that a refused one is left as
// it was.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"version":1,"entries":[{"id":"a","request":{"dataset":"x"},"added":"2026-01-02T03:04:05Z"}]}`))
	f.Add([]byte(`{"version":1,"held":true,"entries":[{"id":"a","run":"0001-x","steps":9,"why":{"template":"{{.A}}","data":{"A":"b"}}}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"entries":[{"request":`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, "queue.json")
		require.NoError(t, os.WriteFile(path, b, 0o666))
		q := New(path)
		was, err := q.Load()
		if err != nil {
			_, err := q.Change(t.Context(), func(*List) error { return nil })
			require.Error(t, err)
			left, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, b, left)
			return
		}
		_, err = q.Change(t.Context(), func(l *List) error {
			l.Entries = append(l.Entries, Entry{ID: "mine", Run: "0001-x"})
			return nil
		})
		require.NoError(t, err)
		now, err := q.Load()
		require.NoError(t, err)
		require.Len(t, now.Entries, len(was.Entries)+1)
		require.Equal(t, was.Held, now.Held)
		for _, e := range now.Entries {
			_ = e.Why.Or(e.Error).String()
		}
	})
}
