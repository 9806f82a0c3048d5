package autodiff

import "unnoise/runtime/graph"

// Format says how a program's copy of a weight is stored.
type Format int

const (
	// Natural is PyTorch's order: linear layers [O,I], convolutions [O,I,k,k].
	Natural Format = iota
	// Taps is [kx,I,ky,O]: the order in which the gradient of a 3×3
	// convolution of stride 1 falls out of one matrix product.
	Taps
	// Rows is [ky,kx,I,O]: the same for other convolutions.
	Rows
	// Columns is [kx][O/B][ky][I][B of O] for channel blocks of B: the order in
	// which a blocked convolution gives the gradient of a 3×3 convolution of stride 1.
	Columns
	// ForwardFilter is what the forward convolution reads.
	ForwardFilter
	// BackwardFilter is what the convolution of the input's gradient reads:
	// taps reversed, input and output channels exchanged.
	BackwardFilter
	// ForwardTiles takes the place of ForwardFilter where the convolution is computed with tiles (tiles.go).
	ForwardTiles
	// BackwardTiles takes that of BackwardFilter.
	BackwardTiles
)

// Kernel is the shape of a convolution: O×I channels, k×k taps, on images of the given size.
type Kernel struct {
	Out, In, K    int
	Stride        int
	Width, Height int
	Pad           int // 1: one pixel around; 0 with stride 2: one pixel right and below, as diffusers does
}

func (k Kernel) geometry() graph.Conv2D {
	switch {
	case k.K == 1:
		return graph.Conv2D{Stride: 1}
	case k.Stride == 2 && k.Pad == 0:
		return graph.Conv2D{Stride: 2, Pads: [4]int{0, 0, 1, 1}}
	}
	return graph.Conv2D{Stride: k.Stride, Pads: [4]int{1, 1, 1, 1}}
}

// same is the convolution of stride 1 that keeps the size.
func (k Kernel) same() graph.Conv2D {
	p := k.K / 2
	return graph.Conv2D{Stride: 1, Pads: [4]int{p, p, p, p}}
}

// GradFormat is the order in which the kernel's gradient is produced, and so
// the order in which the optimiser holds the weight. block 0 means unblocked.
func (k Kernel) GradFormat(block int) Format {
	switch {
	case k.K != 3 || k.Stride != 1:
		return Rows
	case block > 0 && k.In%block == 0 && k.Out%block == 0 && k.Width%block == 0:
		return Columns
	}
	return Taps
}

// GradShape returns the ONNX shape of the gradient in its format.
func (k Kernel) GradShape(block int) []int {
	switch k.GradFormat(block) {
	case Columns:
		return []int{1, 3 * k.Out, 3, k.In}
	case Taps:
		return []int{3 * k.In, 3 * k.Out}
	}
	return []int{k.K * k.K * k.In, k.Out}
}

// ForwardFormat returns what the forward convolution reads: filters or tiles.
func (k Kernel) ForwardFormat(block int) Format {
	if k.Stride == 1 && k.tiles(block) {
		return ForwardTiles
	}
	return ForwardFilter
}

// BackwardFormat returns what the convolution of the input's gradient reads.
func (k Kernel) BackwardFormat(block int) Format {
	if k.tiles(block) {
		return BackwardTiles
	}
	return BackwardFilter
}

func roundUp(n, m int) int { return (n + m - 1) / m * m }

// FilterShape returns the ONNX shape of forward or backward filters or tiles. block 0 means unblocked.
func (k Kernel) FilterShape(f Format, block int) []int {
	o, i := k.Out, k.In
	switch f {
	case ForwardTiles:
		return []int{products * o, i, 1, 3}
	case BackwardTiles:
		return []int{products * i, o, 1, 3}
	case BackwardFilter:
		o, i = i, o
	}
	if block > 0 {
		o = roundUp(o, block)
	}
	return []int{o, i, k.K, k.K}
}

// Bias returns the length of the bias that the forward convolution reads in
// its format, and where the layer's own begins in it; the rest is zero.
func (k Kernel) Bias(f Format, block int) (length, at int) {
	switch {
	case f == ForwardTiles:
		return products * k.Out, biasProduct * k.Out
	case block > 0:
		return roundUp(k.Out, block), 0
	}
	return k.Out, 0
}

// index returns the place of tap (ky, kx) from input i to output o in the given
// format, which must not be one of tiles.
func (k Kernel) index(f Format, block, o, i, ky, kx int) int {
	switch f {
	case Natural:
		return ((o*k.In+i)*k.K+ky)*k.K + kx
	case Taps:
		return ((kx*k.In+i)*k.K+ky)*k.Out + o
	case Rows:
		return ((ky*k.K+kx)*k.In+i)*k.Out + o
	case Columns:
		return (((kx*(k.Out/block)+o/block)*k.K+ky)*k.In+i)*block + o%block
	}
	fo, fi, y, x, in := o, i, ky, kx, k.In
	if f == BackwardFilter {
		fo, fi, y, x, in = i, o, k.K-1-ky, k.K-1-kx, k.Out
	}
	switch {
	case block == 0:
		return ((fo*in+fi)*k.K+y)*k.K + x
	case in < block:
		return (((fo/block*in+fi)*k.K+y)*k.K+x)*block + fo%block
	}
	return ((((fo/block*(in/block)+fi/block)*k.K+y)*k.K+x)*block+fi%block)*block + fo%block
}

// Convert writes a kernel that is stored in one format in another; there is no
// way back from tiles. dst must have room for the padding of blocked filters, which is left as it is.
func (k Kernel) Convert(dst []float32, to Format, src []float32, from Format, block int) {
	if to == ForwardTiles || to == BackwardTiles {
		k.fillTiles(dst, to, src, from, block)
		return
	}
	// Walk in blocks that both sides keep contiguous where that is possible:
	// output channels are innermost in every training format.
	for ky := range k.K {
		for kx := range k.K {
			for i := range k.In {
				s0, d0 := k.index(from, block, 0, i, ky, kx), k.index(to, block, 0, i, ky, kx)
				step := max(block, 1)
				for o := 0; o < k.Out; o += step {
					end := min(step, k.Out-o)
					s, d := s0, d0
					if o > 0 {
						s, d = k.index(from, block, o, i, ky, kx), k.index(to, block, o, i, ky, kx)
					}
					if end == 1 {
						dst[d] = src[s]
						continue
					}
					ss, ds := k.index(from, block, o+1, i, ky, kx)-s, k.index(to, block, o+1, i, ky, kx)-d
					if ss == 1 && ds == 1 {
						copy(dst[d:d+end], src[s:s+end])
						continue
					}
					for range end {
						dst[d] = src[s]
						s += ss
						d += ds
					}
				}
			}
		}
	}
}

// Phases are the four 2×2 convolutions that a 3×3 convolution of an image
// enlarged twofold by repetition amounts to: output pixels of one parity see
// only 2×2 different input pixels, so taps that meet the same one are added.
// The result is the same with 4/9 of the multiplications.
const Phases = 4

// Phase returns the kernel of a phase and the convolution that it belongs to.
func (k Kernel) Phase(phase int) (Kernel, graph.Conv2D) {
	y, x := phase/2, phase%2
	return Kernel{Out: k.Out, In: k.In, K: 2, Stride: 1}, graph.Conv2D{Stride: 1, Pads: [4]int{1 - y, 1 - x, y, x}}
}

// FillPhase writes the forward filter of a phase.
func (k Kernel) FillPhase(dst []float32, phase int, src []float32, from Format, block int) {
	small, _ := k.Phase(phase)
	clear(dst)
	for ky := range 3 {
		for kx := range 3 {
			// where a tap of the large image lies in the small one
			py, px := (ky+1-phase/2)/2, (kx+1-phase%2)/2
			for i := range k.In {
				for o := range k.Out {
					dst[small.index(ForwardFilter, block, o, i, py, px)] += src[k.index(from, block, o, i, ky, kx)]
				}
			}
		}
	}
}
