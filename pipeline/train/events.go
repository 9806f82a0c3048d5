package train

import (
	"time"

	"unnoise/runtime/sentence"
)

// Event is one of the types below. Events come from the run's own goroutine, in order; a slow receiver slows the run.
type Event interface{ event() }

// Started says that everything is loaded and the first step is about to run.
type Started struct {
	Step, Steps int64 // Step is 0, or where a resumed run goes on
	Params      int   // weights of the network
	Train, Held int   // pictures trained on and held out
}

// Measured carries the estimate once it rests on real steps of this run.
type Measured struct{ Estimate }

// Progress is sent after every step.
type Progress struct {
	Step, Steps     int64
	Loss            float64 // mean squared error of this step's batch
	LR              float64
	ImagesPerSecond float64
	ETA             time.Duration // for the rest of the run, samples and checkpoints included
}

// Logged carries a line that was added to the log.
type Logged struct{ Record }

// Working says what a pause between steps is for: "samples", "held-out loss", "checkpoint".
type Working struct {
	What        string
	Done, Total int
}

// Sampled says that a fixed-seed grid was written.
type Sampled struct {
	Step    int64
	Weights string // EMAName or RawName
	Path    string
}

// Saved says that a checkpoint is complete on disk.
type Saved struct{ Step int64 }

// Warned carries a sentence about something that went wrong without ending the run.
type Warned struct {
	Message sentence.Text
	Cause   error // may be nil
}

// RolledBack says that the run diverged and went back to an earlier state with a lower learning rate.
type RolledBack struct {
	From, To int64
	LR       float64
	Reason   sentence.Text
}

// Paused says that the run waits, with a checkpoint of its state on disk.
type Paused struct{ Step int64 }

// Continued says that a paused run goes on.
type Continued struct{ Step int64 }

func (Started) event()    {}
func (Measured) event()   {}
func (Progress) event()   {}
func (Logged) event()     {}
func (Working) event()    {}
func (Sampled) event()    {}
func (Saved) event()      {}
func (Warned) event()     {}
func (RolledBack) event() {}
func (Paused) event()     {}
func (Continued) event()  {}
