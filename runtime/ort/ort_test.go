package ort_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/runtime/graph"
	"unnoise/runtime/ort"
	"unnoise/runtime/ortlib"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("UNNOISE_TEST_LOAD"); path != "" {
		// A child process of TestBadLibraries: a wrong library must not be loaded here.
		err := ort.Init(path)
		fmt.Println(err)
		if err == nil {
			os.Exit(3)
		}
		os.Exit(0)
	}
	if err := ort.InitDefault(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestInitTwice(t *testing.T) {
	lib, err := ortlib.Find(t.Context())
	require.NoError(t, err)
	require.NoError(t, ort.InitDefault(t.Context()))
	require.NoError(t, ort.Init(lib.Path))
	require.NoError(t, ort.Init(lib.Path))
	other := filepath.Join(t.TempDir(), "other.so")
	require.EqualError(t, ort.Init(other), fmt.Sprintf("ONNX Runtime is already loaded from %s; restart to use %s", lib.Path, other))
	require.NoError(t, ort.InitDefault(t.Context()))
}

// A path that is no library gives a sentence with the path in it, not a crash.
func TestBadLibraries(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.so")
	require.NoError(t, os.WriteFile(text, []byte("not a library"), 0o600))
	for _, path := range []string{filepath.Join(dir, "missing.so"), text, dir} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "UNNOISE_TEST_LOAD="+path)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "the ONNX Runtime library "+path+" cannot be loaded: ")
	}
}

// square is a session that multiplies its input of n values by itself, rounds times.
func square(t *testing.T, n, rounds int) *ort.Session {
	b := graph.New()
	x := b.Input("x", graph.Float, n)
	y := x
	for range rounds {
		y = b.Mul(y, x)
	}
	b.Output("y", y)
	model, err := b.Model()
	require.NoError(t, err)
	s, err := ort.NewSession(model, []string{"x"}, []string{"y"}, ort.Options{Threads: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func tensor[T ort.Element](t *testing.T, data []T, shape ...int) *ort.Tensor {
	x, err := ort.NewTensor(data, shape...)
	require.NoError(t, err)
	t.Cleanup(x.Close)
	return x
}

func TestRunWritesIntoTheCallersMemory(t *testing.T) {
	s := square(t, 3, 1)
	in, out := []float32{1, 2, 3}, make([]float32, 3)
	x, y := tensor(t, in, 3), tensor(t, out, 3)
	require.NoError(t, s.Run(t.Context(), []*ort.Tensor{x}, []*ort.Tensor{y}))
	require.Equal(t, []float32{1, 4, 9}, out)
	in[0] = -5 // and reads from it
	require.NoError(t, s.Run(context.Background(), []*ort.Tensor{x}, []*ort.Tensor{y}))
	require.Equal(t, []float32{25, 4, 9}, out)
}

func TestCancelledRun(t *testing.T) {
	const n = 1 << 20
	s := square(t, n, 3000) // several seconds of work
	x, out := tensor(t, make([]float32, n), n), make([]float32, n)
	y := tensor(t, out, n)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Run(ctx, []*ort.Tensor{x}, []*ort.Tensor{y}), context.Canceled)
	ctx, cancel = context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Run(ctx, []*ort.Tensor{x}, []*ort.Tensor{y}), context.DeadlineExceeded)
	// the session can be used again
	small := square(t, 2, 1)
	require.NoError(t, small.Run(t.Context(), []*ort.Tensor{tensor(t, []float32{3, 4}, 2)}, []*ort.Tensor{tensor(t, out[:2], 2)}))
	require.Equal(t, []float32{9, 16}, out[:2])
	ctx, cancel = context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Run(ctx, []*ort.Tensor{x}, []*ort.Tensor{y}), context.DeadlineExceeded)
}

func TestErrorsOfRun(t *testing.T) {
	s := square(t, 3, 1)
	x, y := tensor(t, make([]float32, 3), 3), tensor(t, make([]float32, 3), 3)
	one := []*ort.Tensor{y}
	for name, f := range map[string]func() error{
		"input shape": func() error { return s.Run(t.Context(), []*ort.Tensor{tensor(t, make([]float32, 4), 4)}, one) },
		"input type":  func() error { return s.Run(t.Context(), []*ort.Tensor{tensor(t, make([]int64, 3), 3)}, one) },
		"output shape": func() error {
			return s.Run(t.Context(), []*ort.Tensor{x}, []*ort.Tensor{tensor(t, make([]float32, 4), 4)})
		},
		"missing input": func() error { return s.Run(t.Context(), nil, one) },
		"no output":     func() error { return s.Run(t.Context(), []*ort.Tensor{x}, nil) },
	} {
		err := f()
		require.ErrorContains(t, err, "ONNX Runtime: ", name)
	}
	closedInput := tensor(t, make([]float32, 3), 3)
	closedInput.Close()
	closedInput.Close() // twice does no harm
	require.EqualError(t, s.Run(t.Context(), []*ort.Tensor{closedInput}, one), "a tensor given to ONNX Runtime is closed")
	require.EqualError(t, s.Run(t.Context(), []*ort.Tensor{nil}, one), "a tensor given to ONNX Runtime is closed")
	require.NoError(t, s.Run(t.Context(), []*ort.Tensor{x}, one))

	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.EqualError(t, s.Run(t.Context(), []*ort.Tensor{x}, one), "the ONNX Runtime session is closed")
}

func TestErrorsOfNewSession(t *testing.T) {
	b := graph.New()
	b.Output("y", b.Sqrt(b.Input("x", graph.Float, 2)))
	model, err := b.Model()
	require.NoError(t, err)
	for name, bytes := range map[string][]byte{"empty": {}, "nil": nil, "noise": []byte("hello, world"), "cut": model[:len(model)/2]} {
		_, err := ort.NewSession(bytes, []string{"x"}, []string{"y"}, ort.Options{})
		require.ErrorContains(t, err, "ONNX Runtime cannot compile the model", name)
	}
	_, err = ort.NewSession(model, []string{"x"}, []string{"y"}, ort.Options{Device: "tpu"})
	require.EqualError(t, err, `device "tpu" is not available; use cpu`)
	s, err := ort.NewSession(model, []string{"wrong"}, []string{"y"}, ort.Options{Device: "cpu"})
	if err == nil { // the name is looked at when it runs
		defer s.Close()
		err = s.Run(t.Context(), []*ort.Tensor{tensor(t, make([]float32, 2), 2)}, []*ort.Tensor{tensor(t, make([]float32, 2), 2)})
	}
	require.ErrorContains(t, err, "wrong")
}

func TestNewTensorChecksItsShape(t *testing.T) {
	_, err := ort.NewTensor(make([]float32, 5), 2, 3)
	require.EqualError(t, err, "tensor of shape [2 3] needs 6 elements, not 5")
	_, err = ort.NewTensor(make([]uint8, 4), -2, -2)
	require.EqualError(t, err, "tensor of shape [-2 -2] has an extent below 1")
	_, err = ort.NewTensor([]int64{}, 0)
	require.EqualError(t, err, "tensor of shape [0] has an extent below 1")
}

// Runs of one session from several goroutines do not disturb each other.
func TestConcurrentRuns(t *testing.T) {
	s := square(t, 64, 1)
	var wg sync.WaitGroup
	for g := range 4 {
		in, out := make([]float32, 64), make([]float32, 64)
		for i := range in {
			in[i] = float32(g + 2)
		}
		x, y := tensor(t, in, 64), tensor(t, out, 64)
		wg.Go(func() {
			for range 50 {
				clear(out)
				if err := s.Run(t.Context(), []*ort.Tensor{x}, []*ort.Tensor{y}); err != nil || out[63] != in[0]*in[0] {
					t.Errorf("goroutine %d: %v, %v", g, err, out[63])
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestProfile(t *testing.T) {
	b := graph.New()
	b.Output("y", b.Sqrt(b.Input("x", graph.Float, 2)))
	model, err := b.Model()
	require.NoError(t, err)
	prefix := filepath.Join(t.TempDir(), "profile")
	s, err := ort.NewSession(model, []string{"x"}, []string{"y"}, ort.Options{Profile: prefix})
	require.NoError(t, err)
	require.NoError(t, s.Run(t.Context(), []*ort.Tensor{tensor(t, make([]float32, 2), 2)}, []*ort.Tensor{tensor(t, make([]float32, 2), 2)}))
	require.NoError(t, s.Close())
	files, err := filepath.Glob(prefix + "*")
	require.NoError(t, err)
	require.Len(t, files, 1)
}

// The block is one of the widths that ONNX Runtime has, and its blocked layout
// is what the graph package says it is.
func TestChannelBlock(t *testing.T) {
	block := ort.ChannelBlock()
	require.Contains(t, []int{0, 8, 16}, block)
	require.Equal(t, block, ort.ChannelBlock())
	if block == 0 {
		t.Skip("no blocked convolutions on this processor")
	}
	b := graph.New()
	b.Output("y", b.ToBlocked(b.Input("x", graph.Float, 1, 2*block, 1, 2), false))
	model, err := b.Model()
	require.NoError(t, err)
	s, err := ort.NewSession(model, []string{"x"}, []string{"y"}, ort.Options{})
	require.NoError(t, err)
	defer s.Close()
	in, out := make([]float32, 4*block), make([]float32, 4*block)
	for i := range in {
		in[i] = float32(i)
	}
	require.NoError(t, s.Run(t.Context(), []*ort.Tensor{tensor(t, in, 1, 2*block, 1, 2)}, []*ort.Tensor{tensor(t, out, 1, 2*block, 1, 2)}))
	for c := range 2 * block {
		for p := range 2 {
			require.Equal(t, in[c*2+p], out[(c/block*2+p)*block+c%block])
		}
	}
}
