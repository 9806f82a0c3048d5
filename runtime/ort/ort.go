// Package ort runs ONNX models on ONNX Runtime. It is the only package that
// knows the library's Go wrapper: everything else sees sessions and tensors.
package ort

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	ortapi "github.com/yalue/onnxruntime_go"

	"unnoise/runtime/ortlib"
	"unnoise/runtime/sentence"
)

var (
	initMu   sync.Mutex
	initPath string
)

// Init loads the ONNX Runtime library at path. Later calls with the same path
// do nothing; the environment lives as long as the process, since destroying it
// after a failed GPU probe crashes inside the library.
func Init(path string) error { return initFrom(path, path) }

// initFrom is Init where the bytes of the library at path are to be loaded from elsewhere.
func initFrom(path, from string) error {
	initMu.Lock()
	defer initMu.Unlock()
	if initPath != "" {
		if initPath != path {
			return sentence.Errorf("ONNX Runtime is already loaded from %s; restart to use %s", initPath, path)
		}
		return nil
	}
	ortapi.SetSharedLibraryPath(from)
	if err := ortapi.InitializeEnvironment(ortapi.WithLogLevelError()); err != nil {
		return sentence.Errorf("the ONNX Runtime library %s cannot be loaded: %w", path, err)
	}
	initPath = path
	return nil
}

// InitDefault finds, verifies and loads the library once.
func InitDefault(ctx context.Context) error {
	initMu.Lock()
	loaded := initPath != ""
	initMu.Unlock()
	if loaded {
		return nil
	}
	return ortlib.Load(ctx, func(lib ortlib.Library, from string) error { return initFrom(lib.Path, from) })
}

// Tensor is memory that a session reads or writes: Go's own, so it stays
// reachable as long as the Tensor is.
type Tensor struct {
	value ortapi.Value
	keep  any
	bytes int64
}

// Element is a Go type that tensors hold.
type Element interface{ float32 | int64 | uint8 }

// NewTensor wraps data, whose length must be that of the shape. No copy is made.
func NewTensor[T Element](data []T, shape ...int) (*Tensor, error) {
	s := make(ortapi.Shape, len(shape))
	n := 1
	for i, d := range shape {
		if d < 1 {
			return nil, fmt.Errorf("tensor of shape %v has an extent below 1", shape)
		}
		s[i] = int64(d)
		n *= d
	}
	if n != len(data) {
		return nil, fmt.Errorf("tensor of shape %v needs %d elements, not %d", shape, n, len(data))
	}
	var zero T
	size := int64(4)
	switch any(zero).(type) {
	case int64:
		size = 8
	case uint8:
		size = 1
	}
	v, err := ortapi.NewTensor(s, data)
	if err != nil {
		return nil, fmt.Errorf("tensor of shape %v: %w", shape, err)
	}
	return &Tensor{value: v, keep: data, bytes: size * int64(n)}, nil
}

// Close frees the library's handle; the Go memory is left to the collector.
func (t *Tensor) Close() {
	if t != nil && t.value != nil {
		_ = t.value.Destroy() // cannot fail for a tensor over Go memory
		t.value, t.keep = nil, nil
	}
}

// Options choose how a session runs.
type Options struct {
	Threads int    // threads in all; 0: one per core
	Runs    int    // calls of Run that go side by side and share the threads; 0: one
	Device  string // "cpu" or ""
	Profile string // prefix of a profile file, "" for none
}

// Session is one compiled model. Run may be called from several goroutines at once, on different outputs.
type Session struct {
	session *ortapi.DynamicAdvancedSession
	mu      sync.RWMutex // held for reading by runs, for writing by Close
}

// NewSession compiles a model whose inputs and outputs are given, in the order in which Run takes them.
func NewSession(model []byte, inputs, outputs []string, opt Options) (*Session, error) {
	if opt.Device != "" && opt.Device != "cpu" {
		return nil, sentence.Errorf("device %q is not available; use cpu", opt.Device)
	}
	so, err := ortapi.NewSessionOptions()
	if err != nil {
		return nil, sentence.Errorf("ONNX Runtime session: %w", err)
	}
	defer func() { _ = so.Destroy() }()
	threads := opt.Threads
	if threads <= 0 {
		threads = runtime.NumCPU()
	}
	// Every run brings the thread that called it; the others are shared.
	threads = max(1, threads-max(0, opt.Runs-1))
	steps := []func() error{
		func() error { return so.SetIntraOpNumThreads(threads) },
		func() error { return so.SetInterOpNumThreads(1) },
		// The parts of a run follow each other so closely that a thread which looks out for the next for a moment before
		// it sleeps saves a seventh of the time. Looking longer saves little more and costs a busy machine half.
		func() error { return so.AddSessionConfigEntry("session.intra_op.spin_duration_us", "20") },
		func() error { return so.AddSessionConfigEntry("session.force_spinning_stop", "1") }, // none between runs
		// The graphs are written as they should run: looking for something to improve takes a third of the start and finds nothing.
		func() error { return so.SetGraphOptimizationLevel(ortapi.GraphOptimizationLevelDisableAll) },
	}
	if opt.Profile != "" {
		steps = append(steps, func() error { return so.EnableProfiling(opt.Profile) })
	}
	for _, f := range steps {
		if err := f(); err != nil {
			return nil, sentence.Errorf("ONNX Runtime session options: %w", err)
		}
	}
	s, err := ortapi.NewDynamicAdvancedSessionWithONNXData(model, inputs, outputs, so)
	if err != nil {
		return nil, sentence.Errorf("ONNX Runtime cannot compile the model: %w", err)
	}
	return &Session{session: s}, nil
}

// Run executes the model once. Outputs are written into the given tensors.
// Cancelling the context stops a running model at its next operation.
func (s *Session) Run(ctx context.Context, in, out []*Tensor) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.session == nil {
		return errors.New("the ONNX Runtime session is closed")
	}
	ins, outs := values(in), values(out)
	if ins == nil || outs == nil {
		return errors.New("a tensor given to ONNX Runtime is closed")
	}
	ro, err := ortapi.NewRunOptions()
	if err != nil {
		return sentence.Errorf("ONNX Runtime run options: %w", err)
	}
	if done := ctx.Done(); done != nil {
		finished, gone := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(gone)
			select {
			case <-done:
				_ = ro.Terminate()
			case <-finished:
			}
		}()
		err = s.session.RunWithOptions(ins, outs, ro)
		close(finished)
		<-gone
	} else {
		err = s.session.RunWithOptions(ins, outs, ro)
	}
	_ = ro.Destroy()
	runtime.KeepAlive(in)
	runtime.KeepAlive(out)
	if err != nil {
		if cause := ctx.Err(); cause != nil {
			return cause
		}
		return sentence.Errorf("ONNX Runtime: %w", err)
	}
	return nil
}

// values returns nil where a tensor is closed or missing.
func values(ts []*Tensor) []ortapi.Value {
	out := make([]ortapi.Value, len(ts))
	for i, t := range ts {
		if t == nil || t.value == nil {
			return nil
		}
		out[i] = t.value
	}
	return out
}

// Close frees the session.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == nil {
		return nil
	}
	err := s.session.Destroy()
	s.session = nil
	if err != nil {
		return sentence.Errorf("closing an ONNX Runtime session: %w", err)
	}
	return nil
}
