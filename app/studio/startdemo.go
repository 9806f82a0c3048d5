package studio

import (
	"context"

	"unnoise/app/demo"
	"unnoise/app/events"
)

// demoSteps bounds the steps of the demo on very slow and very fast computers.
const demoStepsMin, demoStepsMax = 200, 4000

func (s trainingService) StartDemo(ctx context.Context, progress ProgressFunc) error {
	d, err := datasetService{s.core}.ImportDemo(ctx, progress)
	if err != nil {
		return err
	}
	req, err := s.Defaults(ctx, d.ID, demo.Preset)
	if err != nil {
		return err
	}
	req.Name, req.Warmup, req.Seed, req.Steps = "Demo", 50, demo.Seed, demoStepsMax
	if progress != nil {
		progress(Progress{Phase: events.T("Measuring this computer")})
	}
	est, err := s.Estimate(ctx, req, false)
	if err != nil {
		return err
	}
	req.Steps = min(max(int64(demo.Budget.Seconds()/max(est.SecondsPerStep, 1e-3)), demoStepsMin), demoStepsMax)
	req.SampleEvery = max(25, min(250, req.Steps/8/25*25))
	req.CheckpointEvery = req.SampleEvery
	return s.Start(ctx, req)
}
