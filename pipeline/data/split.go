package data

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
)

// splitRank is the place of an image, or of its group of near-duplicates, in [0, 1): uniform over names.
func splitRank(key string, seed uint64) float64 {
	sum := sha256.Sum256(binary.LittleEndian.AppendUint64([]byte("unnoise/split/1\x00"+key+"\x00"), seed))
	return float64(binary.LittleEndian.Uint64(sum[:])>>11) / (1 << 53)
}

// splitBound is the rank below which images are held out. In a small dataset chance alone could leave one side empty.
func splitBound(fraction float64, ranks []float64) float64 {
	if fraction > 0 && fraction < 1 && len(ranks) > 0 {
		fraction = min(max(fraction, math.Nextafter(slices.Min(ranks), 1)), slices.Max(ranks))
	}
	return fraction
}

// Split divides the images into those to train on and those held out for evaluation, about fraction of them. Each
// image's side follows from the seed and its name alone, so adding images moves no other. Near-duplicates stay on one side: a
// copy seen in training would make the held-out loss too good. For 0 < fraction < 1 neither side is empty, unless all images are
// duplicates of one; with fraction ≤ 0 nothing is held out.
func (c *Cache) Split(fraction float64, seed uint64) (train, held []int) {
	rank := make([]float64, c.Len()) // uniform in [0, 1)
	for i, it := range c.m.Images {
		key := it.Name
		if it.Group != "" {
			key = it.Group
		}
		rank[i] = splitRank(key, seed)
	}
	fraction = splitBound(fraction, rank)
	for i := range rank {
		if rank[i] < fraction {
			held = append(held, i)
		} else {
			train = append(train, i)
		}
	}
	return train, held
}

// HeldOut says of each item whether a cache of this report without the excluded names would hold it out: the same answer
// as [Cache.Split], before anything is decoded.
func (r *Report) HeldOut(fraction float64, seed uint64, exclude []string) []bool {
	group := groups(r)
	gone := make(map[string]bool, len(exclude))
	for _, name := range exclude {
		gone[name] = true
	}
	ranks := make([]float64, len(r.Items))
	var used []float64
	for i, it := range r.Items {
		key := it.Name
		if g := group[it.Name]; g != "" {
			key = g
		}
		ranks[i] = splitRank(key, seed)
		if !gone[it.Name] {
			used = append(used, ranks[i])
		}
	}
	bound := splitBound(fraction, used)
	held := make([]bool, len(r.Items))
	for i, it := range r.Items {
		held[i] = ranks[i] < bound && !gone[it.Name]
	}
	return held
}

// groups names the first of its near-duplicates for each item that has some.
func groups(r *Report) map[string]string {
	group := map[string]string{}
	for _, g := range r.Duplicates {
		for _, name := range g {
			group[name] = g[0]
		}
	}
	return group
}
