// Package rng is the one place where randomness is drawn.
//
// Every stream is named by (seed, purpose, index) and is independent of every other one, so that image 17 of a
// gallery is the same whatever the batch size, and a resumed run draws what the unbroken one would have drawn.
package rng

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
)

// domain separates these keys from any other use of SHA-256 over the same bytes, and versions the derivation.
const domain = "unnoise/rng/1"

// New returns the stream that (seed, purpose, index) names: Go's ChaCha8 generator, keyed by the SHA-256 of the three.
// Equal names give equal streams, on every machine; different names give streams that are independent for all
// practical purposes. The purpose says what the numbers are for ("noise", "flip"); the index counts images or steps.
// The stream is not safe for concurrent use.
func New(seed uint64, purpose string, index uint64) *rand.Rand {
	msg := make([]byte, 0, len(domain)+16+len(purpose))
	msg = append(msg, domain...)
	msg = binary.LittleEndian.AppendUint64(msg, seed)
	msg = binary.LittleEndian.AppendUint64(msg, index)
	msg = append(msg, purpose...) // last, and the only part of variable length: no two names share a message
	return rand.New(rand.NewChaCha8(sha256.Sum256(msg)))
}

// Normal fills dst with independent draws from the standard normal distribution N(0, 1). A shorter dst receives a
// prefix of what a longer one would have received.
func Normal(dst []float32, r *rand.Rand) {
	for i := range dst {
		dst[i] = float32(r.NormFloat64())
	}
}
