package autodiff

import "unnoise/runtime/graph"

// Winograd's minimal filtering F(4,3) down the columns of an image: four rows of
// a 3×3 convolution's output come from six rows of input with six products of
// rows instead of twelve, so half of the multiplications (Winograd 1980; Lavin
// and Gray 2016, equations 5 to 8, with the points 0, ±1, ±2, ∞). With d = tileIn·x
// over six rows and g = G·w over the three taps of a column, y = tileOut·(g ∗ d),
// where ∗ runs along the rows only. Rounding errors are about five times those of the plain sum.
const (
	tileRows = 4
	products = tileRows + 2
)

// tileIn is Bᵀ.
var tileIn = [products][products]float32{
	{4, 0, -5, 0, 1, 0},
	{0, -4, -4, 1, 1, 0},
	{0, 4, -4, -1, 1, 0},
	{0, -2, -1, 2, 1, 0},
	{0, 2, -1, -2, 1, 0},
	{0, 4, 0, -5, 0, 1},
}

// tileOut is Aᵀ. Its column 1 is all ones: what is added to that product, as
// the bias is, reaches every row of the output.
var tileOut = [tileRows][products]float32{
	{1, 1, 1, 1, 1, 0},
	{0, 1, -1, 2, -2, 0},
	{0, 1, 1, 4, 4, 0},
	{0, 1, -1, 8, -8, 1},
}

const biasProduct = 1

// tileMinChannels: below it the passes over memory cost more than the products save.
const tileMinChannels = 64

// tiles says whether 3×3 convolutions of stride 1 between this kernel's channels are computed with tiles. That of the
// input's gradient is one, whatever the kernel's own stride.
func (k Kernel) tiles(block int) bool {
	return block > 0 && k.K == 3 && k.Height > 0 && k.Height%tileRows == 0 &&
		k.In%block == 0 && k.Out%block == 0 && min(k.In, k.Out) >= tileMinChannels
}

// fillTiles writes G·w in the order that the blocked convolution with a group
// for each product reads: [6][O/B][I/B][kx][B of I][B of O] for ForwardTiles, and with
// the taps reversed and the channels exchanged for BackwardTiles.
func (k Kernel) fillTiles(dst []float32, to Format, src []float32, from Format, block int) {
	ob, ib := k.Out/block, k.In/block
	product := 3 * k.Out * k.In
	for o := range ob {
		for i := range ib {
			for kx := range 3 {
				base := ((o*ib+i)*3 + kx) * block * block
				stepI, stepO := block, 1
				if to == BackwardTiles {
					base = ((i*ob+o)*3 + 2 - kx) * block * block
					stepI, stepO = 1, block
				}
				for r := range block {
					var s [3]int
					for ky := range s {
						s[ky] = k.index(from, block, o*block, i*block+r, ky, kx)
					}
					if to == BackwardTiles {
						s[0], s[2] = s[2], s[0]
					}
					next := k.index(from, block, o*block+1, i*block+r, 0, kx) - k.index(from, block, o*block, i*block+r, 0, kx)
					d := dst[base+r*stepI:]
					for c := range block {
						w0, w1, w2 := src[s[0]+c*next], src[s[1]+c*next], src[s[2]+c*next]
						at := c * stepO
						even, odd := w0*(1./24)+w2*(1./6), w1*(1./12)
						sum, mid := (w0+w2)*(-1./6), w1*(1./6)
						d[at] = w0 * (1. / 4)
						d[at+product] = sum - mid
						d[at+2*product] = sum + mid
						d[at+3*product] = even + odd
						d[at+4*product] = even - odd
						d[at+5*product] = w2
					}
				}
			}
		}
	}
}

// tiledConv convolves x with a filter from fillTiles. bias ([6·O], see Kernel.Bias) and sum may be nil.
func (l blocked) tiledConv(b *graph.Builder, x, filter, bias, sum *graph.Value) *graph.Value {
	n, c, h, w := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)
	out, tall := filter.Dim(0)/products, h/tileRows
	var d [products]*graph.Value
	for k, row := range tileIn {
		// a depthwise convolution that steps from tile to tile
		taps := make([]float32, 0, c*products)
		for range c / l.block {
			for _, f := range row {
				for range l.block {
					taps = append(taps, f)
				}
			}
		}
		d[k] = b.BlockedConv(x, b.Const(taps, c, 1, products, 1), nil, nil,
			graph.Conv2D{Stride: 1, StrideY: tileRows, Pads: [4]int{1, 0, 1, 0}}, c, "")
	}
	m := b.BlockedConv(b.Concat(1, d[:]...), filter, bias, nil, graph.Conv2D{Stride: 1, Pads: [4]int{0, 1, 0, 1}}, products, "")
	back := make([]float32, 0, n*tileRows*products)
	for range n {
		for _, row := range tileOut {
			back = append(back, row[:]...)
		}
	}
	y := b.MatMul(b.Const(back, n, tileRows, products), b.Reshape(m, n, products, out*tall*w), false, false, 1)
	// [n][row of tile][channel block, tile][pixel] to [n][channel block, tile][row of tile][pixel]
	y = b.Transpose(b.Reshape(y, n, tileRows, out/l.block*tall, w*l.block), 0, 2, 1, 3)
	y = b.Reshape(y, n, out, h, w)
	if sum != nil {
		y = b.Add(y, sum)
	}
	return y
}
