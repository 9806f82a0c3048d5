package data

import (
	"math"
	"slices"
	"sync"

	"unnoise/pipeline/rng"
)

// Names of the random streams, part of what a run's seed means.
const (
	viewStream  = "data/view"
	epochStream = "data/epoch"
)

// unit maps a byte to [-1, 1].
var unit = func() (t [256]float32) {
	for i := range t {
		t[i] = float32(i)/127.5 - 1
	}
	return t
}()

// Loader fills training batches. It is safe for concurrent use.
type Loader struct {
	cache *Cache
	idx   []int
	batch int
	pp    Preprocess
	seed  uint64

	mu     sync.Mutex
	epochs map[int64][]int32 // permutations of the last epochs that were asked for
}

// NewLoader returns a loader of batches from the images idx of the cache. The augmentation is pp's; size and channels are the cache's.
// It panics when idx is empty or batch is not positive: both are checked where a run is set up.
func NewLoader(c *Cache, idx []int, batch int, pp Preprocess, seed uint64) *Loader {
	if len(idx) == 0 || batch < 1 {
		panic("data: a loader needs images and a batch")
	}
	pp.Channels, pp.Height, pp.Width = c.Shape()
	return &Loader{cache: c, idx: slices.Clone(idx), batch: batch, pp: pp, seed: seed, epochs: map[int64][]int32{}}
}

// Fill writes the batch of a step (0, 1, 2, …): x receives batch × channels × height × width values in [-1, 1], and class,
// unless it is nil, batch class indices for the network. Both are a pure function of the loader's seed and the step,
// so a resumed run sees what the unbroken one would have seen.
//
// An epoch shows every image once, in an order of its own; a batch may reach over the end of one, and be larger than one.
//
// With augmentation the class is class·A + transform, where A is [Preprocess.Transforms]. A network that is told which transform it
// looks at learns the plain pictures apart from the others: asked for transform 0 it draws nothing turned or mirrored.
// Telling the network is the idea of Karras et al. 2022 (EDM), appendix F.2, there with a vector of its own.
//
// It fails where the cache cannot be read any more.
func (l *Loader) Fill(step int64, x []float32, class []int64) error {
	n := int64(len(l.idx))
	dim := l.cache.Dim()
	w, h := l.pp.Width, l.pp.Height
	src := make([]byte, dim)
	for b := range l.batch {
		k := step*int64(l.batch) + int64(b)
		i := l.idx[l.permutation(k / n)[k%n]]
		v := l.pp.draw(rng.New(l.seed, viewStream, uint64(k)))
		base, dx, dy := v.strides(w, h)
		dst := x[b*dim : (b+1)*dim]
		if err := l.cache.Bytes(i, src); err != nil {
			return err
		}
		for c := range l.pp.Channels {
			s, d := src[c*w*h:(c+1)*w*h], dst[c*w*h:(c+1)*w*h]
			for y := range h {
				at := base + y*dy
				for x := range w {
					d[y*w+x] = unit[s[at]]
					at += dx
				}
			}
		}
		if class != nil {
			class[b] = int64(max(0, l.cache.Class(i))*l.pp.Transforms() + v.transform)
		}
	}
	return nil
}

// StepsPerEpoch is how many steps show every image about once.
func (l *Loader) StepsPerEpoch() float64 { return float64(len(l.idx)) / float64(l.batch) }

// permutation returns the order of an epoch. The last few are kept: a batch reaches over at most a few small ones.
func (l *Loader) permutation(epoch int64) []int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p, ok := l.epochs[epoch]; ok {
		return p
	}
	if len(l.epochs) >= 4 {
		oldest := int64(math.MaxInt64)
		for e := range l.epochs {
			oldest = min(oldest, e)
		}
		delete(l.epochs, oldest)
	}
	p := make([]int32, len(l.idx))
	for i := range p {
		p[i] = int32(i)
	}
	r := rng.New(l.seed, epochStream, uint64(epoch))
	r.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
	l.epochs[epoch] = p
	return p
}
