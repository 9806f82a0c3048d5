package train

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/model"
	"unnoise/runtime/durable"
)

// The averages' weights on past steps must follow t^γ, whose relative standard deviation is what was asked for.
func TestPowerEMAWidth(t *testing.T) {
	for _, sigma := range []float64{0.05, 0.1, 0.2, 0.28} {
		e := NewPowerEMA(sigma)
		const n = 20_000
		// profile[t] is the weight that step t has in the average after step n.
		profile := make([]float64, n+1)
		left := 1.0
		for t := int64(n); t >= 1; t-- {
			profile[t] = left * e.Rate(t)
			left *= 1 - e.Rate(t)
		}
		require.Zero(t, left, "nothing of the initial weights remains")
		var sum, mean, sq float64
		for t, p := range profile {
			x := float64(t) / n
			sum += p
			mean += p * x
			sq += p * x * x
		}
		require.InDelta(t, 1, sum, 1e-9)
		require.InDelta(t, sigma, math.Sqrt(sq-mean*mean), sigma*0.01)
	}
	// Table 4 of the paper: σ_rel 0.05 and 0.10 are γ 16.97 and 6.94.
	require.InDelta(t, 16.97, NewPowerEMA(0.05).gamma, 0.01)
	require.InDelta(t, 6.94, NewPowerEMA(0.10).gamma, 0.01)
	require.Equal(t, 1.0, NewPowerEMA(0.1).Rate(1))
}

func defaults(t *testing.T) Config {
	t.Helper()
	p, err := model.FindPreset("tiny")
	require.NoError(t, err)
	return Defaults(p)
}

func TestDefaultsAreValid(t *testing.T) {
	for _, p := range model.Presets() {
		require.NoError(t, Defaults(p).Validate(), p.Name)
	}
}

func TestConfigRefusesEachBadValue(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"steps":      func(c *Config) { c.Steps = 0 },
		"batch":      func(c *Config) { c.Batch = -1 },
		"lr zero":    func(c *Config) { c.LR = 0 },
		"lr nan":     func(c *Config) { c.LR = math.NaN() },
		"lr inf":     func(c *Config) { c.LR = math.Inf(1) },
		"warmup":     func(c *Config) { c.Warmup = -1 },
		"clip":       func(c *Config) { c.ClipNorm = 0 },
		"beta":       func(c *Config) { c.Beta2 = 1 },
		"beta nan":   func(c *Config) { c.Beta1 = math.NaN() },
		"eps":        func(c *Config) { c.Eps = 0 },
		"decay":      func(c *Config) { c.WeightDecay = -1 },
		"ema":        func(c *Config) { c.EMAWidth = 0.5 },
		"held out":   func(c *Config) { c.HeldOut = 1 },
		"log":        func(c *Config) { c.LogEvery = 0 },
		"keep":       func(c *Config) { c.KeepLast = 0 },
		"sampler":    func(c *Config) { c.Sampler = "euler" },
		"grid":       func(c *Config) { c.SampleCount = 1000 },
		"eval":       func(c *Config) { c.EvalImages = 0 },
		"save every": func(c *Config) { c.SaveEvery = 0 },
	} {
		c := defaults(t)
		spoil(&c)
		require.ErrorIs(t, c.Validate(), model.ErrOption, name)
	}
}

func TestWarmup(t *testing.T) {
	c := Config{LR: 1, Warmup: 4}
	require.Equal(t, []float64{0.25, 0.5, 0.75, 1, 1}, []float64{c.lr(0), c.lr(1), c.lr(2), c.lr(3), c.lr(100)})
	require.Equal(t, 1.0, Config{LR: 1}.lr(0))
}

func TestIntervalsLeft(t *testing.T) {
	for _, c := range []struct{ step, steps, every, want int64 }{
		{0, 100, 25, 4}, {24, 100, 25, 4}, {25, 100, 25, 3}, {0, 90, 25, 4}, {90, 90, 25, 0}, {0, 10, 25, 1},
	} {
		var want int64
		for s := c.step + 1; s <= c.steps; s++ {
			if s%c.every == 0 || s == c.steps {
				want++
			}
		}
		require.Equal(t, c.want, want)
		require.Equal(t, want, intervalsLeft(c.step, c.steps, c.every), "%+v", c)
	}
}

func TestControl(t *testing.T) {
	var none *Control
	require.Equal(t, doStep, none.next())
	var c Control
	require.Equal(t, doStep, c.next())
	c.Pause()
	require.True(t, c.Paused())
	require.Equal(t, doPause, c.next())
	c.SampleNow()
	require.NoError(t, c.wait(t.Context()), "a paused run must answer a wish for samples")
	require.Equal(t, doSample, c.next())
	require.Equal(t, doPause, c.next(), "once")

	woken := make(chan error, 1)
	go func() { woken <- c.wait(t.Context()) }()
	c.Resume()
	require.NoError(t, <-woken)
	require.Equal(t, doStep, c.next())

	c.Pause()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { woken <- c.wait(ctx) }()
	cancel()
	require.ErrorIs(t, <-woken, context.Canceled)
}

func TestLogSurvivesBeingCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), LogName)
	recs, err := ReadLog(path)
	require.NoError(t, err)
	require.Empty(t, recs)

	l, err := openLog(durable.Disk{}, path, 0)
	require.NoError(t, err)
	for s := int64(10); s <= 50; s += 10 {
		require.NoError(t, l.add(Record{Step: s, Loss: 1 / float64(s), Levels: []float64{1, 2}, Counts: []int{3, 4}}))
	}
	require.NoError(t, l.close())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)

	// Cut anywhere, the whole lines before are read; and a run that goes on at step 30 keeps its three lines.
	for range 50 {
		cut := rand.IntN(len(whole))
		require.NoError(t, os.WriteFile(path, whole[:cut], 0o644))
		recs, err := ReadLog(path)
		require.NoError(t, err)
		for i, r := range recs {
			require.Equal(t, int64(10*(i+1)), r.Step)
		}
		l, err := openLog(durable.Disk{}, path, 30)
		require.NoError(t, err)
		require.NoError(t, l.add(Record{Step: 40}))
		require.NoError(t, l.close())
		again, err := ReadLog(path)
		require.NoError(t, err)
		require.Len(t, again, min(3, len(recs))+1)
		require.ElementsMatch(t, recs[:min(3, len(recs))], again[:len(again)-1])
	}
}

// TestDamagedLinesArePassedOver holds that they cost neither the other lines nor the run, and stay where they are.
func TestDamagedLinesArePassedOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), LogName)
	long := "{\"step\":2," + strings.Repeat(" ", 2*maxLogLine) + "}\n"
	text := "{\"step\":1}\nrubbish\n\n\x00\x00\n" + long + "{\"step\":3}\n{\"step\":\"x\"}\n{\"step\":9}\nafter\n{\"step\":10"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	recs, bad, err := readLog(durable.Disk{}, path)
	require.NoError(t, err)
	require.Equal(t, []Record{{Step: 1}, {Step: 3}, {Step: 9}}, recs)
	require.Equal(t, 6, bad)

	l, err := openLog(durable.Disk{}, path, 5)
	require.NoError(t, err)
	require.NoError(t, l.add(Record{Step: 6}))
	require.NoError(t, l.close())
	recs, err = ReadLog(path)
	require.NoError(t, err)
	require.Equal(t, []Record{{Step: 1}, {Step: 3}, {Step: 6}}, recs)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(b), "rubbish\n")
	require.NotContains(t, string(b), "after")
}

// TestLogThatCannotBeWritten holds that no line is lost while it cannot.
func TestLogThatCannotBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), LogName)
	l, err := openLog(durable.Disk{}, path, 0)
	require.NoError(t, err)
	require.NoError(t, l.add(Record{Step: 1}))
	good := l.f
	l.f, err = os.Open(path) // cannot be written
	require.NoError(t, err)
	require.Error(t, l.add(Record{Step: 2}))
	require.Error(t, l.sync())
	require.NoError(t, l.f.Close())
	l.f = good
	require.NoError(t, l.add(Record{Step: 3}))
	require.NoError(t, l.close())
	recs, err := ReadLog(path)
	require.NoError(t, err)
	require.Equal(t, []Record{{Step: 1}, {Step: 2}, {Step: 3}}, recs)
}

// TestLogThatCannotBeOpened holds that it is opened as soon as that is possible.
func TestLogThatCannotBeOpened(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	path := filepath.Join(dir, LogName)
	l, err := openLog(durable.Disk{}, path, 0)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Error(t, l.add(Record{Step: 1}))
	require.Error(t, l.sync())
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, l.add(Record{Step: 2}))
	require.NoError(t, l.sync())
	require.NoError(t, l.close())
	recs, err := ReadLog(path)
	require.NoError(t, err)
	require.Equal(t, []Record{{Step: 1}, {Step: 2}}, recs)
}

// TestLogThatIsEndless holds that a file of a size that no log has is not read through.
func TestLogThatIsEndless(t *testing.T) {
	path := filepath.Join(t.TempDir(), LogName)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Truncate(path, 1<<40))
	_, err := ReadLog(path)
	require.ErrorIs(t, err, durable.ErrTooLarge)
	_, _, err = sieve(path, nil)
	require.ErrorIs(t, err, durable.ErrTooLarge)
	_, err = openLog(durable.Disk{}, path, 0)
	require.ErrorIs(t, err, durable.ErrTooLarge)
}

func FuzzReadLog(f *testing.F) {
	f.Add([]byte("{\"step\":1,\"loss\":0.5}\n"))
	f.Add([]byte("{\"step\":1}\n{\"st"))
	f.Add([]byte("\n\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, LogName)
		require.NoError(t, os.WriteFile(path, b, 0o644))
		recs, err := ReadLog(path)
		if err != nil {
			return
		}
		require.NoError(t, rewindLog(durable.Disk{}, path, math.MaxInt64))
		again, err := ReadLog(path)
		require.NoError(t, err)
		require.Equal(t, recs, again)
	})
}

// FuzzMendLog holds that a log of any bytes can be mended, and that no record that can be read is lost by that.
func FuzzMendLog(f *testing.F) {
	f.Add([]byte("{\"step\":1,\"loss\":0.5}\nrubbish\n{\"step\":2}\n{\"st"))
	f.Add(append(bytes.Repeat([]byte("x"), maxLogLine+1), "\n{\"step\":1}\n"...))
	f.Add([]byte("\x00\n\n[]\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path, mended := filepath.Join(dir, LogName), filepath.Join(dir, "mended")
		require.NoError(t, os.WriteFile(path, b, 0o644))
		records, bad, err := CountLog(path)
		require.NoError(t, err)
		require.NoError(t, MendLog(mended, path))
		again, none, err := CountLog(mended)
		require.NoError(t, err)
		require.Equal(t, records, again)
		require.Zero(t, none)
		recs, err := ReadLog(mended)
		require.NoError(t, err)
		require.Len(t, recs, records)
		if bad == 0 {
			was, err := ReadLog(path)
			require.NoError(t, err)
			require.Len(t, was, records)
		}
	})
}

func TestClockIgnoresTheFirstStep(t *testing.T) {
	var c clock
	require.Zero(t, c.stepSeconds())
	for _, d := range []time.Duration{9 * time.Second, time.Second, time.Second} {
		c.step(d)
	}
	require.InDelta(t, 1, c.stepSeconds(), 1e-9)
	for range 100 {
		c.step(2 * time.Second)
	}
	require.InDelta(t, 2, c.stepSeconds(), 1e-9)
	require.Len(t, c.steps, clockSteps)
}

func TestDivergenceIsJudgedByWhatItWas(t *testing.T) {
	w := func(loss, power float64) window { return window{Steps: 10, Loss: 10 * loss, Power: 10 * power} }
	for _, c := range []struct {
		name string
		best float64
		w    window
		bad  bool
	}{
		{"the first window is not judged", 0, w(50, 1), false},
		{"better", 0.1, w(0.09, 1), false},
		{"noisy", 0.1, w(0.3, 1), false},
		{"four times worse but still good", 0.02, w(0.1, 1), false},
		{"hardly better than zero", 0.1, w(0.8, 1), true},
		{"worse than zero", 0.8, w(2.1, 1), true},
		{"not a number", 0.1, w(math.NaN(), 1), true},
		{"infinite", 0.1, w(math.Inf(1), 1), true},
	} {
		l := loop{c: counters{Best: c.best, Window: c.w}}
		_, bad := l.diverged()
		require.Equal(t, c.bad, bad, c.name)
	}
}

func TestStoppedIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	broken := errors.New("broken")
	require.ErrorIs(t, stopped(ctx, broken), broken)
	require.ErrorIs(t, stopped(ctx, context.Canceled), context.Canceled, "cancelled by somebody else")
	cancel()
	require.NoError(t, stopped(ctx, context.Canceled))
}
