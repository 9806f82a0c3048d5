package pagetest

import (
	"context"

	"github.com/stretchr/testify/require"

	"unnoise/app/studio"
)

// NeedRuntime skips a test that trains or samples where the runtime library is not installed.
func (b *Bench) NeedRuntime() {
	b.T.Helper()
	st, err := b.S.Studio.Settings.Runtime(context.Background())
	require.NoError(b.T, err)
	if !st.Installed {
		b.T.Skip("the runtime library is not installed: " + st.Problem.String())
	}
}

// Dataset imports n small pictures and returns the dataset.
func (b *Bench) Dataset(n int, classes ...string) studio.Dataset {
	b.T.Helper()
	d, err := b.S.Studio.Datasets.Import(context.Background(), Pictures(b.T, n, classes...), "", nil)
	require.NoError(b.T, err)
	return d
}

// Request is a training of a few seconds.
func (b *Bench) Request(dataset string, steps int64) studio.TrainRequest {
	b.T.Helper()
	r, err := b.S.Studio.Training.Defaults(context.Background(), dataset, "tiny")
	require.NoError(b.T, err)
	r.Preprocess.Width, r.Preprocess.Height = 16, 16
	r.Steps, r.Batch, r.SampleEvery, r.CheckpointEvery = steps, 2, steps, steps
	r.Name = "short"
	return r
}

// Train trains a run for a few steps and returns it.
func (b *Bench) Train(dataset string, steps int64) studio.Run {
	b.T.Helper()
	return b.TrainAs(b.Request(dataset, steps))
}

// TrainAs trains a run to its end and returns it.
func (b *Bench) TrainAs(req studio.TrainRequest) studio.Run {
	b.T.Helper()
	b.NeedRuntime()
	ctx := context.Background()
	before := b.S.Studio.Training.Snapshot().Run
	require.NoError(b.T, b.S.Studio.Training.Start(ctx, req))
	var run studio.Run
	b.Wait("the run in the index", func() bool {
		snap := b.S.Studio.Training.Snapshot()
		if snap.Busy() || snap.Run == before || snap.Run == "" {
			return false
		}
		var err error
		run, err = b.S.Studio.Runs.Get(ctx, snap.Run)
		return err == nil && (run.State == studio.RunDone || run.State == studio.RunFailed)
	})
	require.Equal(b.T, studio.RunDone, run.State, run.Error)
	return run
}
