package data

import (
	"bytes"
	"cmp"
	"context"
	"image"
	"slices"

	"github.com/disintegration/imaging"
)

const (
	printSide = 16
	bandCount = 7  // bands of 16 bits in the 112-bit hash
	probes    = 48 // comparisons a picture and band at most: keeps the cost linear when thousands of pictures share a band
)

// fingerprint is a picture's small copy and its difference hash. Two pictures are near-duplicates when the copies are almost
// the same; the hash only finds the candidates.
type fingerprint struct {
	rgb        [printSide * printSide * 3]uint8 // on mid-gray, so that black and white drawings on nothing stay visible
	hash       [bandCount]uint16
	ratio      float32 // width ÷ height
	luma       float32 // mean luminance (0…255) of what is visible
	seeThrough bool    // some of it is transparent
}

func newFingerprint(img image.Image) *fingerprint {
	b := img.Bounds()
	p := &fingerprint{ratio: float32(b.Dx()) / float32(b.Dy())}
	small := imaging.Resize(shrink(img, printSide, printSide), printSide, printSide, imaging.Linear)
	var gray [printSide * printSide]int
	var light, weight float64
	for i := range gray {
		px := small.Pix[4*i : 4*i+4]
		a := int(px[3])
		if a < 255 {
			p.seeThrough = true
		}
		light += float64(luma(int(px[0]), int(px[1]), int(px[2])) * a)
		weight += float64(a)
		for c := range 3 {
			p.rgb[3*i+c] = uint8((int(px[c])*a + 128*(255-a)) / 255)
		}
		gray[i] = luma(int(p.rgb[3*i]), int(p.rgb[3*i+1]), int(p.rgb[3*i+2]))
	}
	if weight > 0 {
		p.luma = float32(light / weight)
	}
	p.hash = differenceHash(&gray)
	return p
}

// luma is the luminance of ITU-R BT.601, in 0…255.
func luma(r, g, b int) int { return (299*r + 587*g + 114*b) / 1000 }

// differenceHash compares neighbouring cells of an 8 × 8 grid, 56 times to the right and 56 times down. A bit is
// set where the neighbour is clearly brighter, so flat areas with compression noise hash like flat areas.
// The idea is N. Krawetz's dHash, hackerfactor.com, "Kind of Like That" (2013).
func differenceHash(gray *[printSide * printSide]int) (hash [bandCount]uint16) {
	const side, clearly = printSide / 2, 4
	cell := func(x, y int) int {
		k := 2*y*printSide + 2*x
		return (gray[k] + gray[k+1] + gray[k+printSide] + gray[k+printSide+1]) / 4
	}
	bit := 0
	push := func(set bool) {
		if set {
			hash[bit/16] |= 1 << (bit % 16)
		}
		bit++
	}
	for a := range side {
		for b := range side - 1 {
			push(cell(b+1, a) > cell(b, a)+clearly)
			push(cell(a, b+1) > cell(a, b)+clearly)
		}
	}
	return hash
}

// alike compares two small copies: near-duplicates are the same picture resized, saved with other settings or slightly
// retouched, so the mean difference has to be small and no spot may differ much.
func (p *fingerprint) alike(q *fingerprint) bool {
	const most, meanSquare, ratio = 32, 4 * 4, 1.06
	if p.ratio > q.ratio*ratio || q.ratio > p.ratio*ratio {
		return false
	}
	sum := 0
	for i, v := range p.rgb {
		d := int(v) - int(q.rgb[i])
		if d > most || d < -most {
			return false
		}
		sum += d * d
	}
	return sum <= meanSquare*len(p.rgb)
}

// duplicates groups near-duplicates, each group and the groups in ascending order. Pictures that share one of seven bands
// of the hash are candidates (locality-sensitive hashing by banding: Leskovec, Rajaraman and Ullman, "Mining of
// Massive Datasets", section 3.4). Inside a band a picture is compared with one representative of each group, and with
// a bounded number of those before it in the order of the whole hash. So the cost is that of sorting, copies are always
// found, and some near-duplicates are missed where thousands of pictures hash alike.
func duplicates(ctx context.Context, prints []*fingerprint) ([][]int, error) {
	group := make([]int, len(prints)) // union-find: the parent, a smaller index
	for i := range group {
		group[i] = i
	}
	find := func(i int) int {
		for group[i] != i {
			group[i] = group[group[i]]
			i = group[i]
		}
		return i
	}
	order := make([]int, len(prints))
	for band := range bandCount {
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int {
			h, k := &prints[a].hash, &prints[b].hash
			if c := cmp.Or(cmp.Compare(h[band], k[band]), slices.Compare(h[:], k[:])); c != 0 {
				return c
			}
			// Copies become neighbours.
			return cmp.Or(bytes.Compare(prints[a].rgb[:], prints[b].rgb[:]), cmp.Compare(a, b))
		})
		var reps []int
		for k, i := range order {
			if k%1024 == 0 && ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if k == 0 || prints[order[k-1]].hash[band] != prints[i].hash[band] {
				reps = reps[:0]
			}
			matched := false
			for _, r := range reps[max(0, len(reps)-probes):] {
				if prints[i].alike(prints[r]) {
					a, b := find(i), find(r)
					group[max(a, b)] = min(a, b)
					matched = true
					break
				}
			}
			if !matched {
				reps = append(reps, i)
			}
		}
	}
	members := map[int][]int{}
	for i := range group {
		members[find(i)] = append(members[find(i)], i)
	}
	var out [][]int
	for i := range group {
		if m := members[i]; len(m) > 1 {
			out = append(out, m)
		}
	}
	return out, nil
}

// background chooses what transparent pictures are laid on: black, or white when what is visible of them is so dark that
// it would vanish on black (glyphs and icons drawn in ink on nothing).
func background(prints []*fingerprint) string {
	const dark = 64
	var light float64
	n := 0
	for _, p := range prints {
		if p.seeThrough {
			light += float64(p.luma)
			n++
		}
	}
	switch {
	case n == 0:
		return ""
	case light/float64(n) < dark:
		return white
	}
	return black
}
