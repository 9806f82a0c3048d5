package diffusion

import "math"

// The variational bound on -log p(x0) is L_T + Σ L_{t-1} + L_0 (DDPM eq. 5): [PriorKL],
// [StepKL] for each pair of neighbouring levels, and [DecoderNLL]. All are in nats,
// summed over the elements given.

// GaussianKL is KL(N(mean1, var1) || N(mean2, var2)) of one dimension in nats, at least 0.
func GaussianKL(mean1, var1, mean2, var2 float64) float64 {
	d := mean1 - mean2
	return (var1/var2 - 1 - math.Log(var1/var2) + d*d/var2) / 2
}

// PriorKL is L_T: how far q(x_T | x0) at the noisiest level is from the prior N(0,
// priorStd² I) that samplers start from ([Process].PriorStd). No network takes part in it.
func PriorKL(x0 []float32, l Level, priorStd float64) float64 {
	var sum float64
	for _, v := range x0 {
		sum += GaussianKL(l.Alpha*float64(v), l.Sigma*l.Sigma, 0, priorStd*priorStd)
	}
	return sum
}

// StepKL is L_{t-1} for one x_t: the KL divergence of the model's step from level t to the
// less noisy s, of the posterior's own variance, from the posterior q(x_s | x_t, x0). It is
// (SNR_s - SNR_t)/2 times the squared error of the prediction (VDM eq. 13; DDPM eq. 8).
// s must not be the clean level, where [DecoderNLL] takes over.
func StepKL(x0, predicted []float32, t, s Level) float64 {
	n := min(len(x0), len(predicted))
	x0, predicted = x0[:n], predicted[:n]
	var sum float64
	for i := range x0 {
		d := float64(x0[i]) - float64(predicted[i])
		sum += d * d
	}
	return sum * (s.SNR() - t.SNR()) / 2
}

// DecoderNLL is L_0: -log of the probability that N(mean, std²) gives to the 8-bit
// values of x0, which are 2/255 apart in [-1,1]; the outermost two own what lies
// beyond them (DDPM eq. 13).
func DecoderNLL(x0, mean []float32, std float64) float64 {
	const half = 1.0 / 255
	n := min(len(x0), len(mean))
	x0, mean = x0[:n], mean[:n]
	var sum float64
	for i := range x0 {
		x, m := float64(x0[i]), float64(mean[i])
		lo, hi := (x-half-m)/std, (x+half-m)/std
		if x <= -1+half {
			lo = math.Inf(-1)
		}
		if x >= 1-half {
			hi = math.Inf(1)
		}
		sum -= logNormalMass(lo, hi)
	}
	return sum
}

// logNormalMass is ln P(lo < z < hi) of a standard normal z, also far out in a tail.
func logNormalMass(lo, hi float64) float64 {
	if lo+hi < 0 { // the left half mirrored: erfc keeps its digits only to the right
		lo, hi = -hi, -lo
	}
	if p := (math.Erfc(lo/math.Sqrt2) - math.Erfc(hi/math.Sqrt2)) / 2; p > 1e-280 {
		return math.Log(p)
	}
	// Beyond 35 standard deviations: the first term of the tail's expansion, exact to 1/lo².
	tail := -lo*lo/2 - math.Log(lo*math.Sqrt(2*math.Pi))
	return tail + math.Log(-math.Expm1(-(hi-lo)*(hi+lo)/2))
}

// BitsPerDim turns nats over n dimensions into bits per dimension.
func BitsPerDim(nats float64, n int) float64 { return nats / float64(n) / math.Ln2 }
