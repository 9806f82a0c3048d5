package autodiff

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// randomKernel has whole blocks of channels in about half of the cases.
func randomKernel(r *rand.Rand, block int) Kernel {
	k := Kernel{Out: 1 + r.IntN(20), In: 1 + r.IntN(20), K: []int{1, 2, 3}[r.IntN(3)], Stride: 1 + r.IntN(2), Width: 1 + r.IntN(40)}
	if block > 0 {
		k.Width = block * (1 + r.IntN(3))
		if k.In > block || r.IntN(2) == 0 { // fewer channels than a block, or whole blocks
			k.In = block * (1 + r.IntN(3))
		}
		if k.Out > block || r.IntN(2) == 0 {
			k.Out = block * (1 + r.IntN(3))
		}
	}
	return k
}

// formats lists the formats that a kernel can be stored in.
func formats(k Kernel, block int) []Format {
	f := []Format{Natural, Taps, Rows, ForwardFilter, BackwardFilter}
	if block > 0 && k.In%block == 0 && k.Out%block == 0 {
		f = append(f, Columns)
	}
	return f
}

func room(k Kernel, f Format, block int) int {
	if f == ForwardFilter || f == BackwardFilter {
		return product(k.FilterShape(f, block))
	}
	return k.Out * k.In * k.K * k.K
}

func TestFormatsRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		block := []int{0, 8, 16}[r.IntN(3)]
		k := randomKernel(r, block)
		n := k.Out * k.In * k.K * k.K
		natural := make([]float32, n)
		for i := range natural {
			natural[i] = float32(i + 1)
		}
		for _, from := range formats(k, block) {
			a := make([]float32, room(k, from, block))
			k.Convert(a, from, natural, Natural, block)
			for _, to := range formats(k, block) {
				b := make([]float32, room(k, to, block))
				k.Convert(b, to, a, from, block)
				back := make([]float32, n)
				k.Convert(back, Natural, b, to, block)
				require.Equal(t, natural, back, "%+v, block %d, format %d to %d", k, block, from, to)
				// what pads a filter stays zero, and nothing is stored twice
				sum, want := 0.0, float64(n)*float64(n+1)/2
				for _, v := range b {
					sum += float64(v)
				}
				require.InDelta(t, want, sum, 0.5, "%+v, block %d, format %d to %d", k, block, from, to)
			}
		}
		require.Equal(t, n, product(k.GradShape(block)), "%+v", k)
		length, at := k.Bias(ForwardFilter, block)
		require.Zero(t, at)
		require.Zero(t, length%max(block, 1))
	}
}

// The places of single taps, written out by hand.
func TestFormatOrders(t *testing.T) {
	k := Kernel{Out: 16, In: 24, K: 3, Stride: 1, Width: 16}
	o, i, y, x := 11, 13, 2, 0
	for _, c := range []struct {
		f     Format
		block int
		want  int
	}{
		{Natural, 8, ((o*24+i)*3+y)*3 + x},
		{Taps, 8, ((x*24+i)*3+y)*16 + o},                // [kx][I][ky][O]
		{Rows, 8, ((y*3+x)*24+i)*16 + o},                // [ky][kx][I][O]
		{Columns, 8, (((x*2+1)*3+y)*24+i)*8 + 3},        // [kx][O/B][ky][I][B]: o = 1·8 + 3
		{ForwardFilter, 0, ((o*24+i)*3+y)*3 + x},        // [O][I][ky][kx]
		{BackwardFilter, 0, ((i*16+o)*3+2-y)*3 + 2 - x}, // [I][O], taps reversed
		{ForwardFilter, 8, ((((1*3+1)*3+y)*3+x)*8+5)*8 + 3},
		{BackwardFilter, 8, ((((1*2+1)*3+2-y)*3+2-x)*8+3)*8 + 5},
	} {
		require.Equal(t, c.want, k.index(c.f, c.block, o, i, y, x), "format %d, block %d", c.f, c.block)
	}
	image := Kernel{Out: 16, In: 3, K: 3, Stride: 1}
	require.Equal(t, (((1*3+2)*3+1)*3+0)*8+3, image.index(ForwardFilter, 8, 11, 2, 1, 0))
}

func TestGradFormat(t *testing.T) {
	for _, c := range []struct {
		k     Kernel
		block int
		want  Format
	}{
		{Kernel{Out: 16, In: 32, K: 3, Stride: 1, Width: 16}, 16, Columns},
		{Kernel{Out: 16, In: 32, K: 3, Stride: 1, Width: 8}, 16, Taps},
		{Kernel{Out: 16, In: 3, K: 3, Stride: 1, Width: 16}, 16, Taps},
		{Kernel{Out: 16, In: 32, K: 3, Stride: 1, Width: 16}, 0, Taps},
		{Kernel{Out: 16, In: 32, K: 3, Stride: 2, Width: 16}, 16, Rows},
		{Kernel{Out: 16, In: 32, K: 1, Stride: 1, Width: 16}, 16, Rows},
	} {
		require.Equal(t, c.want, c.k.GradFormat(c.block), fmt.Sprint(c))
	}
}

// naive convolves in double precision: x [I,H,W], w natural [O,I,K,K].
func naive(x []float64, in, h, w int, filter []float32, out, k, top, left, oh, ow int) []float64 {
	y := make([]float64, out*oh*ow)
	for o := range out {
		for r := range oh {
			for c := range ow {
				sum := 0.0
				for i := range in {
					for ky := range k {
						for kx := range k {
							p, q := r+ky-top, c+kx-left
							if p >= 0 && p < h && q >= 0 && q < w {
								sum += x[(i*h+p)*w+q] * float64(filter[((o*in+i)*k+ky)*k+kx])
							}
						}
					}
				}
				y[(o*oh+r)*ow+c] = sum
			}
		}
	}
	return y
}

// The four phases, interleaved, are the convolution of the enlarged image.
func TestPhasesAreTheConvolutionOfTheEnlargedImage(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		block := []int{0, 8, 16}[r.IntN(3)]
		k := Kernel{Out: 1 + r.IntN(5), In: 1 + r.IntN(5), K: 3, Stride: 1, Pad: 1}
		if block > 0 {
			k.Out, k.In = block, block*(1+r.IntN(2))
		}
		h, w := 1+r.IntN(5), 1+r.IntN(5)
		x := make([]float64, k.In*h*w)
		for i := range x {
			x[i] = r.NormFloat64()
		}
		natural := make([]float32, k.Out*k.In*9)
		for i := range natural {
			natural[i] = float32(r.NormFloat64())
		}
		large := make([]float64, 4*len(x))
		for i := range k.In {
			for p := range 2 * h {
				for q := range 2 * w {
					large[(i*2*h+p)*2*w+q] = x[(i*h+p/2)*w+q/2]
				}
			}
		}
		want := naive(large, k.In, 2*h, 2*w, natural, k.Out, 3, 1, 1, 2*h, 2*w)
		stored := make([]float32, len(natural)) // as the optimiser holds it
		format := Taps
		k.Convert(stored, format, natural, Natural, block)
		for phase := range Phases {
			small, geometry := k.Phase(phase)
			oh, ow := geometry.Out(h, w, 2, 2)
			require.Equal(t, []int{h, w}, []int{oh, ow})
			filter := make([]float32, room(small, ForwardFilter, block))
			filter[0] = 99 // must be overwritten
			k.FillPhase(filter, phase, stored, format, block)
			plain := make([]float32, k.Out*k.In*4)
			small.Convert(plain, Natural, filter, ForwardFilter, block)
			got := naive(x, k.In, h, w, plain, k.Out, 2, geometry.Pads[0], geometry.Pads[1], h, w)
			for o := range k.Out {
				for p := range h {
					for q := range w {
						require.InDelta(t, want[(o*2*h+2*p+phase/2)*2*w+2*q+phase%2], got[(o*h+p)*w+q], 1e-4)
					}
				}
			}
		}
	}
}

func BenchmarkConvert(b *testing.B) {
	k := Kernel{Out: 128, In: 128, K: 3, Stride: 1, Width: 16, Height: 16}
	for name, to := range map[string]Format{"filter": BackwardFilter, "forward-tiles": ForwardTiles, "backward-tiles": BackwardTiles} {
		b.Run(name, func(b *testing.B) {
			src, dst := make([]float32, 128*128*9), make([]float32, product(k.FilterShape(to, 16)))
			b.SetBytes(int64(4 * len(src)))
			for b.Loop() {
				k.Convert(dst, to, src, Columns, 16)
			}
		})
	}
}
