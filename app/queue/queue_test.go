package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChangesAreNotLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.json")
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for w := range 4 { // each with a Queue of its own, as processes have
		wg.Go(func() {
			q := New(path)
			for i := range 10 {
				_, err := q.Change(context.Background(), func(l *List) error {
					l.Entries = append(l.Entries, Entry{ID: fmt.Sprint(w, "-", i)})
					return nil
				})
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	l, err := New(path).Load()
	require.NoError(t, err)
	require.Len(t, l.Entries, 40)
}

func TestMoveAndRemove(t *testing.T) {
	l := List{Entries: []Entry{{ID: "a"}, {ID: "b"}, {ID: "c"}}}
	ids := func() (s string) {
		for _, e := range l.Entries {
			s += e.ID
		}
		return s
	}
	for _, c := range []struct {
		id    string
		place int
		want  string
	}{{"c", 0, "cab"}, {"c", 99, "abc"}, {"a", 1, "bac"}, {"b", -5, "bac"}} {
		require.NoError(t, l.Move(c.id, c.place))
		require.Equal(t, c.want, ids())
	}
	require.ErrorIs(t, l.Move("x", 0), ErrNoEntry)
	e, place, err := l.Remove("a")
	require.NoError(t, err)
	require.Equal(t, "a", e.ID)
	require.Equal(t, 1, place)
	require.Equal(t, "bc", ids())
	_, _, err = l.Remove("a")
	require.ErrorIs(t, err, ErrNoEntry)
}

func TestBadFilesAreLeftAlone(t *testing.T) {
	for content, want := range map[string]string{`{"version":2}`: "newer Unnoise", `{"ent`: "damaged"} {
		path := filepath.Join(t.TempDir(), "queue.json")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		q := New(path)
		_, err := q.Load()
		require.ErrorContains(t, err, want)
		_, err = q.Change(context.Background(), func(*List) error { return nil })
		require.ErrorContains(t, err, want)
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, content, string(b))
	}
	q := New(filepath.Join(t.TempDir(), "queue.json"))
	stop := errors.New("no")
	_, err := q.Change(context.Background(), func(l *List) error { l.Held = true; return stop })
	require.ErrorIs(t, err, stop)
	require.Equal(t, [2]int64{}, q.Stamp(), "nothing was written")
}
