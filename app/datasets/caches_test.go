package datasets

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/data"
	"unnoise/resources/demo"
)

func TestSpare(t *testing.T) {
	at := func(day int) time.Time { return time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC) }
	all := []Cache{{"old", 100, at(1)}, {"older dataset", 50, at(9)}, {"new", 100, at(8)}, {"queued", 100, at(2)}, {"middle", 100, at(5)}}
	claims := map[string]Claim{"old": Useful, "new": Useful, "middle": Useful, "queued": Wanted}
	claim := func(c Cache) Claim { return claims[c.Dir] }
	names := func(budget int64) (out []string) {
		for _, c := range Spare(all, claim, budget) {
			out = append(out, c.Dir)
		}
		return out
	}
	require.Equal(t, []string{"older dataset"}, names(400))
	require.Equal(t, []string{"older dataset", "old"}, names(399))
	require.Equal(t, []string{"older dataset", "old", "middle"}, names(200))
	require.Equal(t, []string{"older dataset", "old", "middle", "new"}, names(0), "what the queue wants stays")
}

func TestDropLeavesWhatIsInUse(t *testing.T) {
	src, home := t.TempDir(), t.TempDir()
	require.NoError(t, demo.Write(t.Context(), src, 12, 1))
	rep, err := data.Scan(t.Context(), src, nil)
	require.NoError(t, err)
	pp := data.Preprocess{Width: 32, Height: 32, Channels: 3}
	dir := filepath.Join(home, CachePrefix+"1")
	free := func(string) (uint64, error) { return 1 << 40, nil }
	require.NoError(t, os.Mkdir(filepath.Join(home, "pictures"), 0o777)) // no cache: never touched
	use := func() (c *data.Cache, done func()) {
		release, err := Hold(t.Context(), dir)
		require.NoError(t, err)
		c, err = Decode(t.Context(), rep, pp, nil, dir, free, nil)
		require.NoError(t, err)
		return c, func() {
			require.NoError(t, c.Close())
			release()
		}
	}
	a, doneA := use()
	_, doneB := use()
	for _, done := range []func(){doneA, doneB} {
		dropped, err := Drop(dir)
		require.NoError(t, err)
		require.False(t, dropped, "it is in use")
		done()
	}
	list, err := Caches(home)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Greater(t, list[0].Bytes, int64(12*pp.Dim()))
	require.WithinDuration(t, time.Now(), list[0].Used, time.Minute)
	dropped, err := Drop(dir)
	require.NoError(t, err)
	require.True(t, dropped)
	require.NoDirExists(t, dir)
	again, done := use()
	require.Equal(t, a.Fingerprint(), again.Fingerprint())
	require.Equal(t, 12, again.Len())
	done()
	_, err = Drop(filepath.Join(home, "none"))
	require.Error(t, err)
}

// Whatever the order in which they come, who holds a cache can make and read it.
func TestHoldAndDropAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), CachePrefix+"1")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	drops := 0
	wg.Go(func() {
		for ctx.Err() == nil {
			if ok, _ := Drop(dir); ok {
				drops++
			}
		}
	})
	for range 300 {
		release, err := Hold(t.Context(), dir)
		require.NoError(t, err)
		file := filepath.Join(dir, "cache.bin")
		require.NoError(t, os.WriteFile(file, []byte("pixels"), 0o666))
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, "pixels", string(b))
		release()
	}
	cancel()
	wg.Wait()
	require.Positive(t, drops)
}
