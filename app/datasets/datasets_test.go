package datasets

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/data"
	"unnoise/resources/demo"
)

func report(w, h, channels, n int, others ...data.Item) *data.Report {
	rep := &data.Report{}
	count := map[data.SizeCount]int{}
	for range n {
		rep.Items = append(rep.Items, data.Item{Width: w, Height: h, Channels: channels})
	}
	rep.Items = append(rep.Items, others...)
	for _, it := range rep.Items {
		count[data.SizeCount{Width: it.Width, Height: it.Height}]++
	}
	for s, n := range count {
		s.Count = n
		rep.Sizes = append(rep.Sizes, s)
	}
	for i := range rep.Sizes { // the most frequent first
		if rep.Sizes[i].Count > rep.Sizes[0].Count {
			rep.Sizes[0], rep.Sizes[i] = rep.Sizes[i], rep.Sizes[0]
		}
	}
	return rep
}

func TestSuggest(t *testing.T) {
	item := func(w, h, c int) data.Item { return data.Item{Width: w, Height: h, Channels: c} }
	for _, c := range []struct {
		name string
		rep  *data.Report
		want Suggestion
	}{
		{"icons keep their size", report(16, 16, 4, 10), Suggestion{16, 16, 4}},
		{"odd sizes are rounded up to what levels divide", report(28, 30, 1, 10), Suggestion{32, 32, 1}},
		{"oblong sprites", report(24, 48, 3, 10), Suggestion{24, 48, 3}},
		{"photographs", report(4000, 3000, 3, 10), Suggestion{32, 32, 3}},
		{"no common size", report(16, 16, 3, 2, item(17, 17, 3), item(18, 18, 3), item(19, 19, 3)), Suggestion{32, 32, 3}},
		{"some colour is worth keeping", report(16, 16, 1, 5, item(16, 16, 3)), Suggestion{16, 16, 3}},
		{"a few with transparency", report(16, 16, 3, 5, item(16, 16, 4)), Suggestion{16, 16, 3}},
		{"dots", report(1, 1, 3, 5), Suggestion{8, 8, 3}},
	} {
		require.Equal(t, c.want, Suggest(c.rep), c.name)
	}
}

func TestDecodeAsksForRoomFirst(t *testing.T) {
	src, dst := t.TempDir(), filepath.Join(t.TempDir(), "cache")
	require.NoError(t, demo.Write(t.Context(), src, 12, 1))
	rep, err := data.Scan(t.Context(), src, nil)
	require.NoError(t, err)
	pp := data.Preprocess{Width: 32, Height: 32, Channels: 3}
	full := func(string) (uint64, error) { return 1000, nil }
	_, err = Decode(t.Context(), rep, pp, nil, dst, full, nil)
	require.ErrorContains(t, err, "the disk is too full for the decoded pictures")
	require.NoDirExists(t, dst)
	empty := func(string) (uint64, error) { return 1 << 40, nil }
	c, err := Decode(t.Context(), rep, pp, []string{rep.Items[0].Name}, dst, empty, nil)
	require.NoError(t, err)
	require.Equal(t, 11, c.Len())
	require.NoError(t, c.Close())
	require.NoError(t, os.RemoveAll(src))
	_, err = Decode(t.Context(), rep, pp, nil, dst, empty, nil)
	require.Error(t, err)
	require.False(t, errors.Is(err, data.ErrNewer))
}
