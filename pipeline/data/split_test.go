package data

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// The report must name as held out just those images that a cache made from it holds out.
func TestReportHeldOutAgreesWithTheCache(t *testing.T) {
	rep := &Report{Duplicates: [][]string{{"003.png", "004.png"}, {"010.png", "011.png", "012.png"}}}
	for i := range 60 {
		rep.Items = append(rep.Items, Item{Name: fmt.Sprintf("%03d.png", i), Width: 1, Height: 1})
	}
	for _, exclude := range [][]string{nil, {"000.png", "010.png"}} {
		for _, fraction := range []float64{0, 0.001, 0.05, 0.3, 1} {
			for seed := range uint64(3) {
				s := &Source{kind: Folder, path: t.TempDir()}
				m := newManifest(s, rep, Preprocess{Width: 1, Height: 1, Channels: 1}, exclude)
				c := &Cache{m: m}
				want := map[string]bool{}
				_, held := c.Split(fraction, seed)
				for _, i := range held {
					want[c.Name(i)] = true
				}
				got := map[string]bool{}
				for i, h := range rep.HeldOut(fraction, seed, exclude) {
					if h {
						got[rep.Items[i].Name] = true
					}
				}
				require.Equal(t, want, got, "fraction %g seed %d exclude %v", fraction, seed, exclude)
			}
		}
	}
}
