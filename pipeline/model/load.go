package model

import (
	"context"

	"unnoise/runtime/program"
	"unnoise/runtime/sentence"
)

// Compute says where networks run: Threads (0: all cores) and Device ("" or "cpu").
type Compute = program.Options

// LoadedNet is a Net that holds memory until it is closed.
type LoadedNet interface {
	Net
	Close() error
}

// Load compiles the network of a model with its weights for batches of up to batch pictures. Not safe for concurrent use.
func Load(ctx context.Context, s Spec, weights []float32, batch int, c Compute) (LoadedNet, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if n := s.UNet.NumParams(); len(weights) != n {
		return nil, sentence.Errorf("there are %d weights and the network takes %d: the model's files do not belong together", len(weights), n)
	}
	net, err := program.NewNet(ctx, s.UNet, weights, batch, c)
	if err != nil {
		return nil, sentence.Errorf("the sampling program could not be made: %w", err)
	}
	return net, nil
}
