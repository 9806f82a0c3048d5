package train

import (
	"github.com/dustin/go-humanize"

	"unnoise/pipeline/memory"
	"unnoise/pipeline/model"
	"unnoise/runtime/program"
)

// Fits refuses a training that the memory cannot hold, before it is tried. Only what is certainly needed is counted, so what
// it lets pass may still be too much. Errors wrap model.ErrOption.
func Fits(s model.Spec, c Config) error { return fits(s, c, memory.Free()) }

func fits(s model.Spec, c Config, free int64) error {
	fixed, each := needs(s)
	need := fixed + int64(c.Batch)*each
	if free <= 0 || need <= free {
		return nil
	}
	human := func(n int64) string { return humanize.Bytes(uint64(max(n, 0))) }
	if most := (free - fixed) / each; most >= 1 {
		return model.Unusable("batch", "a batch of %d needs at least %s of memory, and %s are free: choose a batch of at most %d, a smaller size or a smaller preset",
			c.Batch, human(need), human(free), most)
	}
	return model.Unusable("size", "this training needs at least %s of memory, and %s are free: choose a smaller size or preset", human(need), human(free))
}

// needs is the memory that a training certainly takes, in bytes: whatever its batch, and for each picture of it. Of these there
// are x₀, ε and x_t, and the network's input and target twice, since the next batch is made while one is used.
func needs(s model.Spec) (fixed, each int64) {
	return program.LeastMemory(s.UNet, 1), int64(s.Dim()) * 4 * (3 + 2*2)
}
