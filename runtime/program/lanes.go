package program

import (
	"context"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// Samples are spread over the processor's cores, not the operations within: a lane is one run of the program on a
// thread of its own, and lanes go side by side. No operation waits for the slower half of itself, and each core's cache
// keeps the activations of its own samples. Lanes share one session, the weights, and the threads there are more of than lanes.

// Cores is how many threads programs use, and so how many samples they can compute side by side.
func (o Options) Cores() int {
	if o.Threads > 0 {
		return o.Threads
	}
	return runtime.NumCPU()
}

// sideBySide calls f(ctx, 0…n−1) at once and returns the first error, which cancels the others.
func sideBySide(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	if n == 1 {
		return f(ctx, 0)
	}
	g, ctx := errgroup.WithContext(ctx)
	for i := range n {
		g.Go(func() error { return f(ctx, i) })
	}
	return g.Wait()
}
