package checkpoint

// State is the training state, as program.State.
type State struct {
	Params, M, V []float32
	EMA          [][]float32
	Step         int64 // Adam steps done
}
