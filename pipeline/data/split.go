package data

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
)

// Holdout says which pictures are kept out of training, to measure on.
type Holdout struct {
	Fraction float64 // about how many, unless the dataset's folders divide it into parts
	// ByName is the rule of runs begun with Unnoise before its run.json had version 2: a picture's side followed from its name and the
	// run's seed. They keep it.
	ByName bool
	Seed   uint64 // with ByName
}

// contentKey names what is in a file, wherever it lies and however it is called.
func contentKey(file []byte) string {
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:16])
}

// rank is the place of a picture, or of its group of near-duplicates, in [0, 1): uniform over keys.
func (h Holdout) rank(key string) float64 {
	b := []byte("unnoise/split/2\x00" + key)
	if h.ByName {
		b = binary.LittleEndian.AppendUint64([]byte("unnoise/split/1\x00"+key+"\x00"), h.Seed)
	}
	sum := sha256.Sum256(b)
	return float64(binary.LittleEndian.Uint64(sum[:])>>11) / (1 << 53)
}

// candidate is a picture that is held out or not.
type candidate struct {
	name, content, group, part string
	out                        bool // of the dataset
}

// split says of each picture whether it is held out.
func (h Holdout) split(all []candidate) []bool {
	held := make([]bool, len(all))
	if !h.ByName && slices.ContainsFunc(all, func(c candidate) bool { return c.part != "" }) {
		for i, c := range all {
			held[i] = !c.out && (c.part == ValPart || c.part == TestPart)
		}
		return held
	}
	first := map[string]string{} // of each group, the content that comes first: it stays with the group wherever that lies
	for _, c := range all {
		if f, ok := first[c.group]; !c.out && c.group != "" && (!ok || c.content < f) {
			first[c.group] = c.content
		}
	}
	ranks := make([]float64, len(all))
	var used []float64
	for i, c := range all {
		key := c.content
		switch {
		case h.ByName && c.group != "":
			key = c.group
		case h.ByName:
			key = c.name
		case c.group != "":
			key = first[c.group]
		}
		ranks[i] = h.rank(key)
		if !c.out {
			used = append(used, ranks[i])
		}
	}
	bound := splitBound(h.Fraction, used)
	for i, c := range all {
		held[i] = ranks[i] < bound && !c.out
	}
	return held
}

// splitBound is the rank below which images are held out. In a small dataset chance alone could leave one side empty.
func splitBound(fraction float64, ranks []float64) float64 {
	if fraction > 0 && fraction < 1 && len(ranks) > 0 {
		fraction = min(max(fraction, math.Nextafter(slices.Min(ranks), 1)), slices.Max(ranks))
	}
	return fraction
}

// Split divides the images into those to train on and those held out for evaluation. Where the dataset's folders divide it, they decide.
// Else about h.Fraction of the images are held out: each one's side follows from its file's content alone, so neither
// another image nor another place, name, date, seed or archive moves it. Near-duplicates stay on one side: a
// copy seen in training would make the held-out loss too good. For 0 < fraction < 1 neither side is empty, unless all images are
// duplicates of one; with fraction ≤ 0 nothing is held out.
func (c *Cache) Split(h Holdout) (train, held []int) {
	all := make([]candidate, c.Len())
	for i, it := range c.m.Images {
		all[i] = candidate{name: it.Name, content: it.Content, group: it.Group, part: it.Part}
	}
	for i, out := range h.split(all) {
		if out {
			held = append(held, i)
		} else {
			train = append(train, i)
		}
	}
	return train, held
}

// HeldOut says of each item whether a cache of this report without the excluded names would hold it out: the same answer
// as [Cache.Split], before anything is decoded. A report of an older version does not know the contents: it says of none.
func (r *Report) HeldOut(h Holdout, exclude []string) []bool {
	group := groups(r)
	gone := make(map[string]bool, len(exclude))
	for _, name := range exclude {
		gone[name] = true
	}
	all := make([]candidate, len(r.Items))
	for i, it := range r.Items {
		all[i] = candidate{name: it.Name, content: it.Content, group: group[it.Name], part: it.Part, out: gone[it.Name]}
		if it.Content == "" && !h.ByName {
			return make([]bool, len(r.Items))
		}
	}
	return h.split(all)
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
