package train

// Smoothing is the share of the past in the smoothed loss at each line of the log. It is moderate, as a line is a mean of
// many steps already.
const Smoothing = 0.6

// Smoother is the one smoothing of a loss there is, in the lists, the figures, the curves and on the command line: an
// exponential moving average over the log's lines with the start's bias taken out, as Adam does (Kingma & Ba 2014,
// section 3): m = βm + (1−β)y, shown as m/(1−βⁿ).
type Smoother struct{ sum, weight float64 }

// Add takes a value in and returns the average with the share β ∈ [0, 1) of the past.
func (s *Smoother) Add(y, beta float64) float64 {
	s.sum = beta*s.sum + (1-beta)*y
	s.weight = beta*s.weight + (1 - beta)
	return s.sum / s.weight
}

// Smoothed is the state after the losses of a log's lines, or of its last dozens: what is older no longer counts.
func Smoothed(lines []Record) Smoother {
	var s Smoother
	for _, r := range lines {
		if r.Event == "" {
			s.Add(r.Loss, Smoothing)
		}
	}
	return s
}
