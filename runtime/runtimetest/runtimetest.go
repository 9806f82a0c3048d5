// Package runtimetest holds what tests share: of the runtime's packages, and of all that meet a full disk.
package runtimetest

import (
	"context"
	"fmt"
	"os"
	"testing"

	"unnoise/runtime/ort"
)

// Main is a TestMain for tests that need ONNX Runtime: without the library they fail at once, with a sentence.
func Main(m *testing.M) {
	if err := ort.InitDefault(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Uniform returns n values in [-1, 1) that depend on the name: splitmix64 of its FNV-1a hash plus the index, as in
// bench/fixtures/unet.py, so that fixtures need not hold their inputs.
func Uniform(name string, n int) []float32 {
	h := uint64(0xcbf29ce484222325)
	for _, b := range []byte(name) {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	out := make([]float32, n)
	for i := range out {
		z := h + uint64(i+1)*0x9e3779b97f4a7c15
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
		out[i] = float32(float64(z>>40)/(1<<23) - 1)
	}
	return out
}
