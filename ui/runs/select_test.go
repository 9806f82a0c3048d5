package runs

import (
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/app/studio"
	"unnoise/ui/page"
	"unnoise/ui/page/pagetest"
)

// After a run is deleted, the one in its place is selected, and the last one after the last.
func TestTheSelectionStaysInPlace(t *testing.T) {
	var p *Page
	b := pagetest.Open(t, func(s *page.Services) page.Page {
		p = New(s).(*Page)
		return p
	})
	b.Wait("the page", func() bool { return len(p.body.Objects) > 0 })
	p.loads++ // what is still being read does not matter
	list := func(ids ...string) {
		l := listing{total: len(ids)}
		for _, id := range ids {
			l.runs = append(l.runs, studio.Run{ID: id, Name: id})
		}
		p.use(l)
	}
	list("a", "b", "c", "d")
	require.Equal(t, "a", p.current)
	p.choose("c")
	list("a", "b", "d")
	require.Equal(t, "d", p.current)
	list("a", "b")
	require.Equal(t, "b", p.current)
	list()
	require.Empty(t, p.current)
	list("x", "y")
	require.Equal(t, "x", p.current)
}
