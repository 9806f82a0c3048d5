package ort

import (
	"fmt"
	"sync"

	ortapi "github.com/yalue/onnxruntime_go"

	"unnoise/runtime/graph"
)

var (
	blockOnce sync.Once
	block     int
)

// ChannelBlock returns how many channels ONNX Runtime's convolutions hold in
// one block on this processor (8 or 16), or 0 where it has no blocked
// convolutions. The library has no call for it, so a tiny model is asked: four
// channels come back padded to one block.
func ChannelBlock() int {
	blockOnce.Do(func() {
		if n, err := askBlock(); err == nil && (n == 8 || n == 16) {
			block = n
		}
	})
	return block
}

func askBlock() (int, error) {
	b := graph.New()
	b.Output("y", b.ToBlocked(b.Input("x", graph.Float, 1, 4, 1, 1), false))
	model, err := b.Model()
	if err != nil {
		return 0, err
	}
	s, err := NewSession(model, []string{"x"}, []string{"y"}, Options{Threads: 1})
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	x, err := NewTensor(make([]float32, 4), 1, 4, 1, 1)
	if err != nil {
		return 0, err
	}
	defer x.Close()
	out := []ortapi.Value{nil} // the library allocates it, in the shape that it finds
	if err := s.session.Run([]ortapi.Value{x.value}, out); err != nil {
		return 0, fmt.Errorf("asking for the channel block: %w", err)
	}
	defer func() { _ = out[0].Destroy() }()
	return int(out[0].GetShape()[1]), nil
}
