package program

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/runtime/runtimetest"
)

// The program reads the sum of the gradients from the memory it writes the new sum to. So every operator that ends such a
// sum, in every kind of network, must have read its place before it writes it: cut into micro-batches, of which each part
// sees three, the gradient of each parameter is that of a single run on cleared memory.
func TestSumsInPlaceInEveryNetwork(t *testing.T) {
	for _, f := range fixtures(t) {
		t.Run(f.name, func(t *testing.T) {
			if f.cfg.NumParams() > 2e7 {
				t.Skip("large; its operators are those of the smaller ones")
			}
			const n = 3 * maxParts
			b := batchOf(f.cfg, n, "")
			b.Cond = scaled(runtimetest.Uniform("cond", n), 0.75, 1)
			w := fixtureWeights(t, f.cfg)
			gradient := func(micro, threads int) []float32 {
				tr, err := NewTrainer(t.Context(), TrainSpec{UNet: f.cfg, Batch: n, MicroBatch: micro}, Options{Threads: threads})
				require.NoError(t, err)
				defer tr.Close()
				require.NoError(t, tr.SetState(State{Params: w}))
				flat, _, err := tr.gradient(t.Context(), b, make([]float32, n))
				require.NoError(t, err)
				g := make([]float32, len(w))
				tr.store.save(g, flat)
				return g
			}
			want, got := gradient(n, 1), gradient(1, 2)
			ps, err := f.cfg.Params()
			require.NoError(t, err)
			norm := func(v []float32) (sum float64) {
				for _, x := range v {
					sum = math.Hypot(sum, float64(x))
				}
				return sum
			}
			whole := norm(want) / math.Sqrt(float64(len(ps)))
			for _, p := range ps {
				if p.Frozen {
					continue
				}
				a, b := want[p.Offset:p.Offset+p.Len()], got[p.Offset:p.Offset+p.Len()]
				d := make([]float32, len(a))
				for i := range a {
					d[i] = a[i] - b[i]
				}
				require.Less(t, norm(d), 1e-4*max(norm(a), 0.05*whole), p.Name)
			}
		})
	}
}

// Cancelling ends every lane, wherever it is, and leaves the state and later steps as they would have been.
func TestCancelReachesEveryLane(t *testing.T) {
	cfg := medium()
	spec := TrainSpec{UNet: cfg, Batch: 32, MicroBatch: 2, EMAs: 1}
	tr := newTrainerOn(t, spec, 1, Options{Threads: 2})
	require.Len(t, tr.lanes, 2)
	run(t, tr, 0, 1)
	before := tr.State()
	b := batchOf(cfg, spec.Batch, "1")
	b.Dropout = 1
	h := Hyper{LR: 1e-3, EMARates: []float64{0.1}}
	cancelled := 0
	for wait := time.Duration(0); wait < 20*time.Millisecond; wait += time.Millisecond {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(wait, cancel)
		_, err := tr.Step(ctx, b, h)
		cancel()
		if err == nil { // over before
			require.NoError(t, tr.SetState(before))
			continue
		}
		require.ErrorIs(t, err, context.Canceled)
		requireSame(t, before, tr.State())
		cancelled++
	}
	require.Positive(t, cancelled)
	requireUndisturbed(t, tr, 1)
}

// What is not a number in one lane alone is told, and leaves nothing behind, in the others neither.
func TestNonFiniteInOneLane(t *testing.T) {
	cfg := tiny()
	spec := TrainSpec{UNet: cfg, Batch: 9, MicroBatch: 1, EMAs: 1}
	tr := newTrainerOn(t, spec, 1, Options{Threads: 3})
	require.Len(t, tr.lanes, 3)
	run(t, tr, 0, 1)
	before := tr.State()
	dim := len(batchOf(cfg, 1, "").X)
	for sample := range spec.Batch {
		b := batchOf(cfg, spec.Batch, "1")
		b.X[sample*dim+3] = float32(math.NaN())
		res, err := tr.Step(t.Context(), b, Hyper{LR: 1e-3, EMARates: []float64{0.1}})
		require.ErrorIs(t, err, ErrNonFinite)
		for i, l := range res.Loss {
			require.Equal(t, i == sample, bad(float64(l)), "loss %d with sample %d spoilt", i, sample)
		}
		requireSame(t, before, tr.State())
	}
	requireUndisturbed(t, tr, 1)
}

// The first failure ends the others and is the one that is told.
func TestFirstFailureEndsTheOthers(t *testing.T) {
	broken := errors.New("broken")
	for _, n := range []int{1, 2, 5} {
		err := sideBySide(t.Context(), n, func(ctx context.Context, i int) error {
			if i == n-1 {
				return fmt.Errorf("lane %d: %w", i, broken)
			}
			<-ctx.Done()
			return ctx.Err()
		})
		require.ErrorIs(t, err, broken)
	}
}
