package checkpoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/runtime/durable"
	"unnoise/runtime/program"
	"unnoise/runtime/safetensors"
	"unnoise/runtime/unet"
)

// net is a U-Net of about 5,000 parameters.
func net() unet.Config {
	c := unet.Default()
	c.SampleSize = unet.Size{W: 8, H: 4}
	head := 4
	c.InChannels, c.OutChannels, c.AttentionHeadDim = 1, 1, &head
	c.DownBlockTypes, c.UpBlockTypes = []string{unet.Down, unet.AttnDown}, []string{unet.AttnUp, unet.Up}
	c.BlockOutChannels, c.LayersPerBlock, c.NormNumGroups = []int{4, 8}, 1, 2
	return c
}

// sample is a checkpoint whose every value follows from seed.
func sample(t testing.TB, cfg unet.Config, seed uint64) Checkpoint {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	n := cfg.NumParams()
	require.Positive(t, n)
	vec := func() []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		return v
	}
	return Checkpoint{
		UNet: cfg, EMANames: []string{"0.999", "fast_1"},
		State: program.State{Params: vec(), M: vec(), V: vec(), EMA: [][]float32{vec(), vec()}, Step: int64(seed) + 1},
		Extra: json.RawMessage(fmt.Sprintf(`{"seed":%d,"lr_scale":0.1,"big":18446744073709551615}`, seed)),
	}
}

func equal(t testing.TB, want Checkpoint, step int64, got *Checkpoint) {
	t.Helper()
	require.Equal(t, step, got.Step)
	require.Equal(t, want.UNet, got.UNet)
	require.Equal(t, want.EMANames, got.EMANames)
	require.JSONEq(t, string(want.Extra), string(got.Extra))
	require.Equal(t, want.State.Step, got.State.Step)
	bits(t, want.State.Params, got.State.Params)
	bits(t, want.State.M, got.State.M)
	bits(t, want.State.V, got.State.V)
	require.Len(t, got.State.EMA, len(want.State.EMA))
	for i := range want.State.EMA {
		bits(t, want.State.EMA[i], got.State.EMA[i])
	}
}

func bits(t testing.TB, want, got []float32) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		if math.Float32bits(want[i]) != math.Float32bits(got[i]) {
			require.Equal(t, want[i], got[i], i)
			require.Fail(t, "bits differ", i)
		}
	}
}

func steps(t testing.TB, dir string) (out []int64) {
	t.Helper()
	infos, _, err := List(dir)
	require.NoError(t, err)
	for _, i := range infos {
		out = append(out, i.Step)
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	want := sample(t, net(), 7)
	want.State.Params[3] = float32(math.Copysign(0, -1))
	require.NoError(t, Save(at(t, dir), 500, want))
	got, err := Load(dir, 500)
	require.NoError(t, err)
	equal(t, want, 500, got)
	require.NoError(t, verify(context.Background(), filepath.Join(dir, "000500"), 500))

	infos, ignored, err := List(dir)
	require.NoError(t, err)
	require.Empty(t, ignored)
	require.Len(t, infos, 1)
	require.Equal(t, filepath.Join(dir, "000500"), infos[0].Path)
	require.Equal(t, want.EMANames, infos[0].EMAs)
	require.WithinDuration(t, time.Now(), infos[0].Created, time.Hour)
	require.Greater(t, infos[0].Size, int64(5*4*want.UNet.NumParams()))

	for ema, w := range map[string][]float32{"": want.State.Params, "0.999": want.State.EMA[0], "fast_1": want.State.EMA[1]} {
		cfg, flat, err := LoadWeights(dir, 500, ema)
		require.NoError(t, err)
		require.Equal(t, want.UNet, cfg)
		bits(t, w, flat)
	}
	_, _, err = LoadWeights(dir, 500, "slow")
	require.ErrorContains(t, err, `no moving average "slow"`)

	// No averages, no counters, a step of more digits.
	plain := want
	plain.EMANames, plain.State.EMA, plain.Extra = nil, nil, nil
	require.NoError(t, Save(at(t, dir), 12345678, plain))
	got, err = Load(dir, 12345678)
	require.NoError(t, err)
	require.Empty(t, got.State.EMA)
	require.Nil(t, got.Extra)
	last, err := Latest(dir)
	require.NoError(t, err)
	require.EqualValues(t, 12345678, last.Step)
	require.Equal(t, []int64{500, 12345678}, steps(t, dir))
}

func TestFilesAreDiffusersOwn(t *testing.T) {
	dir := t.TempDir()
	c := sample(t, net(), 1)
	require.NoError(t, Save(at(t, dir), 1, c))
	params, err := c.UNet.Params()
	require.NoError(t, err)
	ts, meta, err := safetensors.Read(filepath.Join(dir, "000001", "weights.safetensors"))
	require.NoError(t, err)
	require.Equal(t, "pt", meta["format"])
	require.Len(t, ts, len(params))
	byName := map[string]safetensors.Tensor{}
	for _, x := range ts {
		byName[x.Name] = x
	}
	for _, p := range params {
		require.Equal(t, p.Shape, byName[p.Name].Shape)
		bits(t, c.State.Params[p.Offset:p.Offset+p.Len()], byName[p.Name].Data)
	}
	ts, _, err = safetensors.Read(filepath.Join(dir, "000001", "optimizer.safetensors"))
	require.NoError(t, err)
	require.Len(t, ts, 2*len(params))
	require.True(t, strings.HasPrefix(ts[0].Name, "exp_avg."))
	b, err := os.ReadFile(filepath.Join(dir, "000001", "config.json"))
	require.NoError(t, err)
	require.Contains(t, string(b), `"_class_name": "UNet2DModel"`)
}

func TestSaveRefuses(t *testing.T) {
	dir := t.TempDir()
	good := sample(t, net(), 1)
	require.NoError(t, Save(at(t, dir), 1, good))
	for want, change := range map[string]func(*Checkpoint){
		"negative":            func(c *Checkpoint) { c.Step = -1 },
		"block_out_channels":  func(c *Checkpoint) { c.UNet.BlockOutChannels = nil },
		"the state has":       func(c *Checkpoint) { c.State.M = c.State.M[1:] },
		"1 names for 2":       func(c *Checkpoint) { c.EMANames = c.EMANames[:1] },
		"cannot be named":     func(c *Checkpoint) { c.EMANames = []string{"../x", "b"} },
		"averages are named":  func(c *Checkpoint) { c.EMANames = []string{"Fast", "fast"} },
		"not JSON":            func(c *Checkpoint) { c.Extra = json.RawMessage("{") },
		"cannot have done -1": func(c *Checkpoint) { c.State.Step = -1 },
	} {
		c := good
		c.Step = 2
		change(&c)
		require.ErrorContains(t, Save(at(t, dir), c.Step, c), want)
	}
	require.Equal(t, []int64{1}, steps(t, dir))
}

func TestSaveMakesNothingWhereTheRunIsGone(t *testing.T) {
	run := filepath.Join(t.TempDir(), "run")
	require.NoError(t, os.MkdirAll(filepath.Join(run, "checkpoints"), 0o777))
	d := at(t, filepath.Join(run, "checkpoints"))
	require.NoError(t, Save(d, 1, sample(t, net(), 7)))
	require.NoError(t, os.RemoveAll(run))
	err := Save(d, 2, sample(t, net(), 7))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "save checkpoint 2: ")
	require.NoDirExists(t, run)
}

func TestSaveReplacesTheSameStep(t *testing.T) {
	dir := t.TempDir()
	a, b := sample(t, net(), 1), sample(t, net(), 2)
	require.NoError(t, Save(at(t, dir), 9, a))
	require.NoError(t, Save(at(t, dir), 9, b))
	got, err := Load(dir, 9)
	require.NoError(t, err)
	equal(t, b, 9, got)
	es, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, es, 1)

	// Cut short between the two renames: the former one counts, and is put back by the next save.
	require.NoError(t, os.Rename(filepath.Join(dir, "000009"), filepath.Join(dir, ".old-000009")))
	require.Equal(t, []int64{9}, steps(t, dir))
	got, err = Load(dir, 9)
	require.NoError(t, err)
	equal(t, b, 9, got)
	require.NoError(t, Save(at(t, dir), 10, a))
	require.DirExists(t, filepath.Join(dir, "000009"))
	require.Equal(t, []int64{9, 10}, steps(t, dir))

	// Cut short after both: the successor counts.
	require.NoError(t, os.CopyFS(filepath.Join(dir, ".old-000009"), os.DirFS(filepath.Join(dir, "000010"))))
	_, ignored, err := List(dir)
	require.NoError(t, err)
	require.Len(t, ignored, 1)
	require.Contains(t, ignored[0].Reason.String(), "was replaced")
	require.NoError(t, Save(at(t, dir), 11, a))
	require.NoDirExists(t, filepath.Join(dir, ".old-000009"))
	got, err = Load(dir, 9)
	require.NoError(t, err)
	equal(t, b, 9, got)
}

// at is the disk of a folder of checkpoints.
func at(t testing.TB, dir string) durable.Disk {
	t.Helper()
	d, err := durable.Below(dir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Root.Close() })
	return d
}

// budget is a disk with room for so many bytes.
type budget struct {
	mu   sync.Mutex
	left int
}

func (b *budget) disk(t testing.TB, dir string) durable.Disk {
	d := at(t, dir)
	d.Create = func(p string) (durable.File, error) {
		f, err := durable.CreateNew(p)
		return budgetFile{f, b}, err
	}
	return d
}

type budgetFile struct {
	durable.File
	b *budget
}

func (f budgetFile) Write(p []byte) (int, error) {
	f.b.mu.Lock()
	defer f.b.mu.Unlock()
	n := min(len(p), f.b.left)
	f.b.left -= n
	k, err := f.File.Write(p[:n])
	if err == nil && n < len(p) {
		err = syscall.ENOSPC
	}
	return k, err
}

func TestFullDiskLeavesEverythingInPlace(t *testing.T) {
	dir := t.TempDir()
	a, b := sample(t, net(), 1), sample(t, net(), 2)
	require.NoError(t, Save(at(t, dir), 100, a))
	info, err := Latest(dir)
	require.NoError(t, err)
	m, err := os.Stat(filepath.Join(info.Path, "manifest.json"))
	require.NoError(t, err)
	whole := int(info.Size + m.Size())
	for _, room := range []int{0, 1, whole / 7, whole / 3, whole / 2, int(info.Size) - 1, int(info.Size), whole - 1} {
		for _, step := range []int64{100, 200} {
			err := Save((&budget{left: room}).disk(t, dir), step, b)
			require.ErrorIs(t, err, syscall.ENOSPC, room)
			require.ErrorContains(t, err, "free some space")
			es, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Len(t, es, 1, "nothing is left behind")
			got, err := Load(dir, 100)
			require.NoError(t, err)
			equal(t, a, 100, got)
		}
	}
	require.NoError(t, Save((&budget{left: whole + 100}).disk(t, dir), 100, b), "the budget is what stopped it")
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, Save(at(t, dir), 1, sample(t, net(), 1)))
	dead := filepath.Join(dir, ".tmp-000002-deadbeef")
	require.NoError(t, os.CopyFS(dead, os.DirFS(filepath.Join(dir, "000001"))))
	_, ignored, err := List(dir)
	require.NoError(t, err)
	require.Len(t, ignored, 1)
	require.Contains(t, ignored[0].Reason.String(), "being written")
	require.NoError(t, Save(at(t, dir), 3, sample(t, net(), 3)))
	require.NoDirExists(t, dead)
	require.Equal(t, []int64{1, 3}, steps(t, dir))
}

func TestDamage(t *testing.T) {
	ctx := context.Background()
	master := t.TempDir()
	require.NoError(t, Save(at(t, master), 500, sample(t, net(), 5)))
	require.NoError(t, Save(at(t, master), 400, sample(t, net(), 4)))
	edit := func(name string, change func([]byte) []byte) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			b, err := os.ReadFile(filepath.Join(path, name))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(path, name), change(b), 0o600))
		}
	}
	replace := func(old, with string) func([]byte) []byte {
		return func(b []byte) []byte {
			require.Contains(t, string(b), old)
			return bytes.Replace(b, []byte(old), []byte(with), 1)
		}
	}
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 4; return b }
	}
	for name, c := range map[string]struct {
		change func(t *testing.T, path string)
		want   string
		listed bool // found by its hash only
	}{
		"a bit of the weights":   {edit("weights.safetensors", flip(-5)), "weights.safetensors is not what was saved", true},
		"a bit of the header":    {edit("weights.safetensors", flip(20)), "weights.safetensors is not what was saved", true},
		"the header's length":    {edit("weights.safetensors", flip(6)), "weights.safetensors is not what was saved", true},
		"a bit of an average":    {edit("ema-0.999.safetensors", flip(-1)), "ema-0.999.safetensors is not what was saved", true},
		"a bit of the moments":   {edit("optimizer.safetensors", flip(-1)), "optimizer.safetensors is not what was saved", true},
		"the configuration":      {edit("config.json", replace(`"silu"`, `"sigh"`)), "config.json is not what was saved", true},
		"the state":              {edit("state.json", replace(`0.1`, `0.2`)), "state.json is not what was saved", true},
		"cut short":              {edit("weights.safetensors", func(b []byte) []byte { return b[:len(b)-1] }), "weights.safetensors has", false},
		"longer":                 {edit("state.json", func(b []byte) []byte { return append(b, ' ') }), "state.json has", false},
		"empty":                  {edit("weights.safetensors", func([]byte) []byte { return nil }), "has 0 bytes", false},
		"a missing file":         {func(t *testing.T, p string) { require.NoError(t, os.Remove(filepath.Join(p, "weights.safetensors"))) }, "weights.safetensors is missing", false},
		"no manifest":            {func(t *testing.T, p string) { require.NoError(t, os.Remove(filepath.Join(p, "manifest.json"))) }, "no manifest.json", false},
		"half a manifest":        {edit("manifest.json", func(b []byte) []byte { return b[:len(b)/2] }), "manifest.json", false},
		"an empty manifest":      {edit("manifest.json", func([]byte) []byte { return nil }), "manifest.json", false},
		"a hash of the manifest": {edit("manifest.json", replace(`"sha256": "`, `"sha256": "0`)), "not what was saved", true},
		"another step":           {edit("manifest.json", replace(`"step": 500`, `"step": 400`)), "of format 1 and step 400", false},
		"a file that leads out":  {edit("manifest.json", replace(`"config.json"`, `"../config.json"`)), "lists", false},
		"a file twice":           {edit("manifest.json", replace(`"config.json"`, `"state.json"`)), "lists", false},
		"an average that leads":  {edit("manifest.json", replace(`"0.999"`, `"/../999"`)), "cannot be named", false},
		"a huge manifest":        {edit("manifest.json", func([]byte) []byte { return make([]byte, maxJSON+1) }), "too large", false},
		"a deep manifest":        {edit("manifest.json", func([]byte) []byte { return bytes.Repeat([]byte("["), 1<<20) }), "manifest.json", false},
		"a folder for a file": {func(t *testing.T, p string) {
			q := filepath.Join(p, "state.json")
			require.NoError(t, os.Remove(q))
			require.NoError(t, os.Mkdir(q, 0o700))
		}, "state.json has", false},
		"the moments' own weights": {swap("weights.safetensors", "ema-0.999.safetensors"), "not what was saved", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.CopyFS(dir, os.DirFS(master)))
			c.change(t, filepath.Join(dir, "000500"))
			_, err := Load(dir, 500)
			require.ErrorIs(t, err, ErrDamaged)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "choose another with --checkpoint: 400")
			require.NotContains(t, err.Error(), "\n", "one sentence")
			require.ErrorIs(t, verify(ctx, filepath.Join(dir, "000500"), 500), ErrDamaged)
			infos, ignored, err := List(dir)
			require.NoError(t, err)
			if c.listed {
				require.Len(t, infos, 2)
			} else {
				require.Len(t, infos, 1)
				require.Len(t, ignored, 1)
				require.Contains(t, ignored[0].Reason.String(), c.want)
			}
			// A damaged newest checkpoint never costs an older one its life.
			removed, err := Prune(ctx, at(t, dir), 1, 0)
			require.Empty(t, removed)
			if c.listed {
				require.ErrorIs(t, err, ErrDamaged)
			} else {
				require.NoError(t, err)
			}
			_, err = Load(dir, 400)
			require.NoError(t, err)
		})
	}
}

func swap(a, b string) func(t *testing.T, path string) {
	return func(t *testing.T, path string) {
		x, y, z := filepath.Join(path, a), filepath.Join(path, b), filepath.Join(path, "z")
		require.NoError(t, os.Rename(x, z))
		require.NoError(t, os.Rename(y, x))
		require.NoError(t, os.Rename(z, y))
	}
}

func TestNewerFormat(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, Save(at(t, dir), 5, sample(t, net(), 5)))
	// A newer format may change everything else too.
	p := filepath.Join(dir, "000005", "manifest.json")
	require.NoError(t, os.WriteFile(p, []byte(`{"format":2,"files":"elsewhere"}`), 0o600))
	_, err := Load(dir, 5)
	require.ErrorIs(t, err, ErrNewer)
	require.ErrorContains(t, err, "update Unnoise")
	_, ignored, err := List(dir)
	require.NoError(t, err)
	require.Contains(t, ignored[0].Reason.String(), "newer Unnoise")
}

func TestListIgnores(t *testing.T) {
	dir := t.TempDir()
	infos, ignored, err := List(filepath.Join(dir, "none"))
	require.NoError(t, err)
	require.Empty(t, infos)
	require.Empty(t, ignored)
	_, err = Latest(dir)
	require.ErrorIs(t, err, ErrNone)
	_, err = Load(dir, 1)
	require.ErrorIs(t, err, ErrNone)
	require.ErrorContains(t, err, "no other")

	require.NoError(t, Save(at(t, dir), 20, sample(t, net(), 1)))
	require.NoError(t, Save(at(t, dir), 1000000, sample(t, net(), 1)))
	require.NoError(t, Save(at(t, dir), 3, sample(t, net(), 1)))
	for _, d := range []string{"20", "0000020", "-00020", "notes", "000777"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, d), 0o700))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "000888"), nil, 0o600))
	_, ignored, err = List(dir)
	require.NoError(t, err)
	require.Len(t, ignored, 6)
	for _, i := range ignored {
		require.NotEmpty(t, i.Reason.String())
	}
	require.Equal(t, []int64{3, 20, 1000000}, steps(t, dir), "in the order of the numbers, not of the names")
}

func TestPrune(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	for s := int64(1); s <= 10; s++ {
		require.NoError(t, Save(at(t, dir), s, sample(t, net(), uint64(s))))
	}
	removed, err := Prune(ctx, at(t, dir), 3, 4)
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2, 3, 5, 6, 7}, removed)
	require.Equal(t, []int64{4, 8, 9, 10}, steps(t, dir))
	removed, err = Prune(ctx, at(t, dir), 3, 4)
	require.NoError(t, err)
	require.Empty(t, removed)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err = Prune(gone, at(t, dir), 1, 0)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []int64{4, 8, 9, 10}, steps(t, dir))
	for _, keep := range []int{0, -5} {
		_, err = Prune(ctx, at(t, dir), keep, 0)
		require.NoError(t, err)
		require.Equal(t, []int64{10}, steps(t, dir), "the newest stays")
	}
}

// The checkpoint with the lowest held-out loss stays, however old it is; one without a loss is never the best.
func TestTheBestStays(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	for s, held := range []float64{-1, 0.5, 0.25, 0.75, -1, 0.25, 0.5} {
		c := sample(t, net(), uint64(s))
		if held >= 0 {
			c.Held = &held
		}
		require.NoError(t, Save(at(t, dir), int64(s), c))
	}
	infos, _, err := List(dir)
	require.NoError(t, err)
	best, ok := Best(infos)
	require.True(t, ok)
	require.EqualValues(t, 2, best.Step)
	require.InDelta(t, 0.25, *best.Held, 0)
	_, ok = Best(infos[:1])
	require.False(t, ok)
	for range 2 {
		_, err = Prune(ctx, at(t, dir), 1, 0)
		require.NoError(t, err)
		require.Equal(t, []int64{2, 6}, steps(t, dir))
	}
	c := sample(t, net(), 1)
	for _, bad := range []float64{-1, math.NaN(), math.Inf(1)} {
		c.Held = &bad
		require.ErrorContains(t, Save(at(t, dir), 7, c), "held-out loss")
	}
}

// TestKill kills a child that saves in a loop, with -9 and at random moments: whatever is listed afterwards must load
// and be what was saved under its step.
func TestKill(t *testing.T) {
	if from := os.Getenv("UNNOISE_TEST_SAVE_FROM"); from != "" {
		saveForEver(t, from)
	}
	if runtime.GOOS == "windows" {
		t.Skip("kill -9 is Unix's")
	}
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	newest := int64(0)
	for range rounds {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "UNNOISE_TEST_SAVE_FROM="+strconv.FormatInt(newest+1, 10))
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		// Wait for the first save of this round, then for a random while.
		_, err = io.ReadFull(out, make([]byte, 1))
		require.NoError(t, err)
		time.Sleep(time.Duration(r.IntN(60_000)) * time.Microsecond)
		require.NoError(t, cmd.Process.Kill())
		rest, err := io.ReadAll(out)
		require.NoError(t, err)
		_ = cmd.Wait()
		acknowledged := newest + 1 + int64(len(rest))

		infos, _, err := List(dir)
		require.NoError(t, err)
		require.NotEmpty(t, infos)
		for _, i := range infos {
			got, err := Load(dir, i.Step)
			require.NoError(t, err)
			// A step is saved twice with different contents: either may be there.
			a, b := sample(t, net(), uint64(i.Step)), sample(t, net(), uint64(i.Step)+1)
			if got.State.Step == a.State.Step {
				equal(t, a, i.Step, got)
			} else {
				equal(t, b, i.Step, got)
			}
		}
		newest = infos[len(infos)-1].Step
		require.GreaterOrEqual(t, newest, acknowledged, "a save that returned is never lost")
	}
}

// saveForEver saves each step twice into the current folder, prunes, and prints a dot after each step.
func saveForEver(t *testing.T, from string) {
	first, err := strconv.ParseInt(from, 10, 64)
	require.NoError(t, err)
	d := at(t, ".")
	for s := first; ; s++ {
		require.NoError(t, Save(d, s, sample(t, net(), uint64(s))))
		require.NoError(t, Save(d, s, sample(t, net(), uint64(s)+1)))
		_, err := os.Stdout.WriteString(".")
		require.NoError(t, err)
		_, err = Prune(context.Background(), d, 3, 10)
		require.NoError(t, err)
	}
}

func FuzzManifest(f *testing.F) {
	dir := f.TempDir()
	require.NoError(f, Save(at(f, dir), 1, sample(f, net(), 1)))
	b, err := os.ReadFile(filepath.Join(dir, "000001", "manifest.json"))
	require.NoError(f, err)
	f.Add(b)
	f.Add([]byte(`{"format":1,"step":1,"emas":["a"],"files":[{"name":"config.json"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b, 1)
		if err != nil {
			require.True(t, errors.Is(err, ErrDamaged) || errors.Is(err, ErrNewer), err)
			return
		}
		require.Len(t, m.Files, 4+len(m.EMAs))
		seen := map[string]bool{}
		for _, f := range m.Files {
			require.Equal(t, filepath.Base(f.Name), f.Name, "no file leads out of the folder")
			require.False(t, seen[f.Name])
			seen[f.Name] = true
		}
	})
}

func TestKeepsTheRunsDescription(t *testing.T) {
	dir := t.TempDir()
	c := sample(t, net(), 1)
	require.NoError(t, Save(at(t, dir), 1, c))
	_, err := RunCopy(dir, 1)
	require.ErrorIs(t, err, ErrNone, "as older versions saved it")
	require.NoError(t, Verify(t.Context(), dir, 1))
	c.Run = json.RawMessage(`{"name":"a run"}`)
	require.NoError(t, Save(at(t, dir), 2, c))
	got, err := RunCopy(dir, 2)
	require.NoError(t, err)
	require.Equal(t, c.Run, got)
	require.NoError(t, Verify(t.Context(), dir, 2))
	c.Run = json.RawMessage(`{"name":`)
	require.ErrorContains(t, Save(at(t, dir), 3, c), "not JSON")

	// A damaged copy is told, and costs nothing but itself.
	path := filepath.Join(dir, "000002", runName)
	require.NoError(t, os.WriteFile(path, []byte(`{"name":"b run"}`), 0o666))
	_, err = RunCopy(dir, 2)
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorIs(t, Verify(t.Context(), dir, 2), ErrDamaged)
	require.NoError(t, os.Remove(path))
	require.ErrorIs(t, Verify(t.Context(), dir, 2), ErrDamaged)
	_, err = Load(dir, 2)
	require.NoError(t, err)
	// The files of the checkpoint itself are what Verify looks at, every byte of them.
	weights := filepath.Join(dir, "000001", weightsName)
	b, err := os.ReadFile(weights)
	require.NoError(t, err)
	b[len(b)/2] ^= 1
	require.NoError(t, os.WriteFile(weights, b, 0o666))
	require.ErrorIs(t, Verify(t.Context(), dir, 1), ErrDamaged)
	require.ErrorIs(t, Verify(t.Context(), dir, 7), ErrNone)
}

// FuzzLoad holds that files whose hashes are right, and nothing else about them, do no harm.
func FuzzLoad(f *testing.F) {
	dir := f.TempDir()
	c := sample(f, net(), 1)
	c.Run = json.RawMessage(`{}`)
	require.NoError(f, Save(at(f, dir), 1, c))
	path := func(name string) string { return filepath.Join(dir, "000001", name) }
	var seeds [3][]byte
	names := []string{configName, stateName, weightsName}
	for i, name := range names {
		var err error
		seeds[i], err = os.ReadFile(path(name))
		require.NoError(f, err)
	}
	weights := seeds[2][:min(len(seeds[2]), 4096)]
	f.Add(seeds[0], seeds[1], weights)
	f.Add(bytes.ReplaceAll(seeds[0], []byte("8"), []byte("99999999")), seeds[1], weights)
	f.Add(seeds[0], []byte(`{"step":1,"adam_step":-1}`), weights)
	f.Fuzz(func(t *testing.T, config, st, weights []byte) {
		b, err := os.ReadFile(path(manifestName))
		require.NoError(t, err)
		m, err := parseManifest(b, 1)
		require.NoError(t, err)
		for i, content := range [][]byte{config, st, weights} {
			require.NoError(t, os.WriteFile(path(names[i]), content, 0o666))
			for k := range m.Files {
				if m.Files[k].Name == names[i] {
					sum := sha256.Sum256(content)
					m.Files[k].Size, m.Files[k].SHA256 = int64(len(content)), hex.EncodeToString(sum[:])
				}
			}
		}
		b, err = json.Marshal(m)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path(manifestName), b, 0o666))
		require.NoError(t, Verify(t.Context(), dir, 1), "the hashes are right")
		if got, err := Load(dir, 1); err == nil {
			require.Len(t, got.State.Params, got.UNet.NumParams())
		}
		_, _, _ = LoadWeights(dir, 1, "")
	})
}

// TestNewerCheckpointsAreKept holds that a step that a newer Unnoise saved is neither replaced nor removed.
func TestNewerCheckpointsAreKept(t *testing.T) {
	dir := t.TempDir()
	d := at(t, dir)
	require.NoError(t, Save(d, 5, sample(t, net(), 1)))
	path := filepath.Join(dir, "000005", manifestName)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	newer := bytes.Replace(b, []byte(`"format": 1`), []byte(`"format": 99`), 1)
	require.NoError(t, os.WriteFile(path, newer, 0o600))
	require.NoError(t, os.CopyFS(filepath.Join(dir, oldPrefix+"000005"), os.DirFS(filepath.Join(dir, "000005"))))

	require.ErrorIs(t, Save(d, 5, sample(t, net(), 2)), ErrNewer)
	for s := int64(6); s < 9; s++ {
		require.NoError(t, Save(d, s, sample(t, net(), 2)))
	}
	_, err = Prune(t.Context(), d, 1, 0)
	require.NoError(t, err)
	for _, name := range []string{"000005", oldPrefix + "000005"} {
		kept, err := os.ReadFile(filepath.Join(dir, name, manifestName))
		require.NoError(t, err)
		require.Equal(t, newer, kept)
	}
	_, ignored, err := List(dir)
	require.NoError(t, err)
	require.Contains(t, ignored, Ignored{Path: filepath.Join(dir, "000005"), Step: 5, Newer: true, Reason: ignored[len(ignored)-1].Reason})
}

// TestDamagedSuccessor holds that the former checkpoint of a step counts when the one that was to replace it is damaged.
func TestDamagedSuccessor(t *testing.T) {
	dir := t.TempDir()
	d := at(t, dir)
	a := sample(t, net(), 1)
	require.NoError(t, Save(d, 5, a))
	require.NoError(t, os.CopyFS(filepath.Join(dir, oldPrefix+"000005"), os.DirFS(filepath.Join(dir, "000005"))))
	require.NoError(t, os.Truncate(filepath.Join(dir, "000005", weightsName), 10))
	require.NoError(t, Save(d, 6, a))
	require.Equal(t, []int64{5, 6}, steps(t, dir))
	got, err := Load(dir, 5)
	require.NoError(t, err)
	equal(t, a, 5, got)
	require.NoError(t, Save(d, 5, a), "and it can be replaced again")
}
