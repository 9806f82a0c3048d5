// Package checkpoint keeps the state of a training run on disk such that nothing is ever lost: a checkpoint is a folder
// of immutable files that appears complete or not at all, named after its training step, with a manifest of every
// file's length and SHA-256.
//
//	000500/config.json             the U-Net, as diffusers' config.json
//	000500/weights.safetensors     the parameters under diffusers' names
//	000500/ema-<name>.safetensors  each moving average of them, likewise
//	000500/optimizer.safetensors   Adam's moments, exp_avg.<parameter> and exp_avg_sq.<parameter>
//	000500/state.json              steps, the averages' names and the trainer's own counters
//	000500/run.json                the run's description as it was then, where the run has one
//	000500/manifest.json           written last
//
// One process may write to a folder of checkpoints at a time; any number may read.
package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"unnoise/runtime/durable"
	"unnoise/runtime/program"
	"unnoise/runtime/safetensors"
	"unnoise/runtime/sentence"
	"unnoise/runtime/unet"
)

// Format is the version of the checkpoint format that this program writes; newer ones are refused.
const Format = 1

// Checkpoint is everything a run needs to go on as if it had never stopped.
type Checkpoint struct {
	Step     int64 // of training; the folder's name
	UNet     unet.Config
	State    program.State   // Save only reads it, so live views may be given
	EMANames []string        // one for each State.EMA: 1 to 64 letters, digits, dots, dashes and underscores
	Extra    json.RawMessage // the trainer's own counters; any JSON value, or nil
	Held     *float64        // held-out loss of the first average; nil where it was not measured
	Run      json.RawMessage // a copy of what describes the run, so that it can be made again; or nil. Load leaves it out
}

// Info describes a checkpoint without its tensors.
type Info struct {
	Step    int64
	Path    string // of its folder
	Created time.Time
	Size    int64 // bytes
	EMAs    []string
	Held    *float64 // held-out loss; nil where it was not measured
}

// Ignored is an entry of the folder that looks like a checkpoint and is not a whole one.
type Ignored struct {
	Path   string
	Step   int64 // -1 where its name is none
	Newer  bool  // it was written by a newer Unnoise
	Reason sentence.Text
}

var (
	// ErrNone says that a folder holds no whole checkpoint.
	ErrNone = sentence.Errorf("there is no checkpoint")
	// ErrDamaged says that a checkpoint's files are not what was saved.
	ErrDamaged = sentence.Errorf("the checkpoint is damaged")
	// ErrNewer says that a checkpoint was written by a newer Unnoise.
	ErrNewer = sentence.Errorf("the checkpoint was written by a newer Unnoise")
)

const (
	configName    = "config.json"
	weightsName   = "weights.safetensors"
	optimizerName = "optimizer.safetensors"
	stateName     = "state.json"
	manifestName  = "manifest.json"
	runName       = "run.json"

	maxJSON = 16 << 20 // bytes of any of the JSON files

	// oldPrefix marks a checkpoint that is being replaced by another of the same step. It counts until its successor
	// is in place.
	oldPrefix = ".old-"
)

type manifest struct {
	Format  int       `json:"format"`
	Step    int64     `json:"step"`
	Created time.Time `json:"created"`
	EMAs    []string  `json:"emas"`
	Files   []file    `json:"files"`
	Held    *float64  `json:"held,omitempty"`
	// Run is the copy of the run's description, which no checkpoint needs: it is not among Files, so that programs that
	// do not know it can use the checkpoint.
	Run *file `json:"run,omitempty"`
}

type file struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

type state struct {
	Step     int64           `json:"step"`
	AdamStep int64           `json:"adam_step"`
	EMAs     []string        `json:"emas"`
	Extra    json.RawMessage `json:"extra,omitempty"`
}

func emaName(name string) string { return "ema-" + name + ".safetensors" }

func folderName(step int64) string { return fmt.Sprintf("%06d", step) }

// Save writes checkpoint c of the given step into the folder of checkpoints that d is. When it returns nil the checkpoint is
// on the disk. After an error, also a full disk, what the folder held before is untouched; a checkpoint of the same step is
// replaced, but not one of a newer Unnoise. What earlier processes left half-written is removed first.
func Save(d durable.Disk, step int64, c Checkpoint) (err error) {
	defer func() {
		if err == nil {
			return
		}
		if durable.IsFull(err) {
			err = sentence.T("save checkpoint {{.Step}}: {{.Problem}}: free some space and save again; the earlier checkpoints are whole",
				"Step", step, "Problem", err).Because(err)
			return
		}
		err = sentence.Errorf("save checkpoint %d: %w", step, err)
	}()
	c.Step = step
	params, err := c.check()
	if err != nil {
		return err
	}
	if err := sweep(d); err != nil {
		return err
	}
	name := folderName(step)
	if _, err := readManifest(d.Path(name), step); errors.Is(err, ErrNewer) {
		return err
	}
	folder, err := d.NewFolder(name)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, folder.Discard())
		}
	}()
	if err := c.write(folder, params); err != nil {
		return err
	}
	return commit(folder, d, name)
}

// commit puts the folder in place. A folder cannot be renamed onto another: a former checkpoint of the same step steps
// aside under a name under which find and sweep still count it.
func commit(folder *durable.Folder, d durable.Disk, name string) error {
	old := oldPrefix + name
	err := d.RenameNew(name, old)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return folder.Commit()
	case err != nil:
		return err
	}
	if err := folder.Commit(); err != nil {
		if rerr := d.RenameNew(old, name); !errors.Is(rerr, fs.ErrExist) {
			err = errors.Join(err, rerr)
		}
		return err
	}
	return d.RemoveAll(old)
}

// check refuses what could not be loaded again.
func (c *Checkpoint) check() ([]unet.Param, error) {
	if c.Step < 0 {
		return nil, sentence.Errorf("a step cannot be negative")
	}
	params, err := c.UNet.Params()
	if err != nil {
		return nil, err
	}
	n := c.UNet.NumParams()
	vectors := append([][]float32{c.State.Params, c.State.M, c.State.V}, c.State.EMA...)
	for _, v := range vectors {
		if len(v) != n {
			return nil, sentence.Errorf("the state has %d values where the model has %d parameters", len(v), n)
		}
	}
	if len(c.EMANames) != len(c.State.EMA) {
		return nil, sentence.Errorf("there are %d names for %d moving averages", len(c.EMANames), len(c.State.EMA))
	}
	if err := checkEMANames(c.EMANames); err != nil {
		return nil, err
	}
	if c.State.Step < 0 {
		return nil, sentence.Errorf("the optimiser cannot have done %d steps", c.State.Step)
	}
	if c.Held != nil && !(*c.Held >= 0 && *c.Held <= math.MaxFloat64) {
		return nil, sentence.Errorf("a held-out loss of %g is none", *c.Held)
	}
	if len(c.Run) > maxJSON || len(c.Run) > 0 && !json.Valid(c.Run) {
		return nil, sentence.Errorf("the run's description is not JSON, or over %d bytes", maxJSON)
	}
	if len(c.Extra) > 0 && !json.Valid(c.Extra) {
		return nil, sentence.Errorf("the trainer's counters are not JSON")
	}
	return params, nil
}

var emaPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func checkEMANames(names []string) error {
	if len(names) > 16 {
		return sentence.Errorf("%d moving averages are more than 16", len(names))
	}
	for i, n := range names {
		if !emaPattern.MatchString(n) {
			return sentence.Errorf("a moving average cannot be named %.100q", n)
		}
		// Some file systems do not tell capitals apart.
		if slices.ContainsFunc(names[:i], func(m string) bool { return strings.EqualFold(m, n) }) {
			return sentence.Errorf("two moving averages are named %q", n)
		}
	}
	return nil
}

// write writes all files, several at once, and the manifest last.
func (c *Checkpoint) write(folder *durable.Folder, params []unet.Param) error {
	config, err := c.UNet.JSON()
	if err != nil {
		return err
	}
	st, err := json.MarshalIndent(state{c.Step, c.State.Step, c.EMANames, c.Extra}, "", "  ")
	if err != nil {
		return err
	}
	type content struct {
		name  string
		write func(io.Writer) error
	}
	raw := func(b []byte) func(io.Writer) error {
		return func(w io.Writer) error { _, err := w.Write(b); return err }
	}
	tensors := func(ts ...safetensors.Tensor) func(io.Writer) error {
		// "format" tells PyTorch's libraries, which insist on it, whose tensors these are.
		return func(w io.Writer) error { return safetensors.Write(w, ts, map[string]string{"format": "pt"}) }
	}
	contents := []content{
		{optimizerName, tensors(append(split("exp_avg.", c.State.M, params), split("exp_avg_sq.", c.State.V, params)...)...)},
		{weightsName, tensors(split("", c.State.Params, params)...)},
	}
	for i, name := range c.EMANames {
		contents = append(contents, content{emaName(name), tensors(split("", c.State.EMA[i], params)...)})
	}
	contents = append(contents, content{configName, raw(config)}, content{stateName, raw(st)})
	m := manifest{
		Format: Format, Step: c.Step, Created: time.Now().UTC().Truncate(time.Second),
		EMAs: append([]string{}, c.EMANames...), Files: make([]file, len(contents)), Held: c.Held,
	}
	group := errgroup.Group{}
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range contents {
		group.Go(func() error {
			sum := sha256.New()
			n, err := folder.Write(f.name, func(w io.Writer) error { return f.write(io.MultiWriter(w, sum)) })
			m.Files[i] = file{f.name, n, hex.EncodeToString(sum.Sum(nil))}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if len(c.Run) > 0 {
		n, err := folder.Write(runName, raw(c.Run))
		if err != nil {
			return err
		}
		sum := sha256.Sum256(c.Run)
		m.Run = &file{runName, n, hex.EncodeToString(sum[:])}
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	_, err = folder.Write(manifestName, raw(b))
	return err
}

// split views a flat vector as the model's tensors.
func split(prefix string, flat []float32, params []unet.Param) []safetensors.Tensor {
	ts := make([]safetensors.Tensor, len(params))
	for i, p := range params {
		ts[i] = safetensors.Tensor{Name: prefix + p.Name, Shape: p.Shape, Data: flat[p.Offset : p.Offset+p.Len()]}
	}
	return ts
}

// Load reads the checkpoint of a step. Every file's length and hash is checked against the manifest before anything is
// returned: one that does not hold gives ErrDamaged, one of a newer format ErrNewer, one that is not there ErrNone.
func Load(dir string, step int64) (*Checkpoint, error) {
	c, err := load(dir, step)
	if err != nil {
		return nil, sentence.Errorf("load checkpoint %d: %w", step, advise(err, dir, step))
	}
	return c, nil
}

// advise adds what to do about a checkpoint that cannot be used.
func advise(err error, dir string, step int64) error {
	if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNone) {
		return err
	}
	infos, _, lerr := List(dir)
	if lerr != nil {
		return err
	}
	var others []string
	for _, i := range infos {
		if i.Step != step {
			others = append(others, strconv.FormatInt(i.Step, 10))
		}
	}
	if len(others) == 0 {
		return sentence.Errorf("%w; the run has no other", err)
	}
	return sentence.Errorf("%w; choose another with --checkpoint: %s", err, strings.Join(others[max(0, len(others)-5):], ", "))
}

func load(dir string, step int64) (*Checkpoint, error) {
	path, err := find(dir, step)
	if err != nil {
		return nil, err
	}
	m, err := readManifest(path, step)
	if err != nil {
		return nil, err
	}
	config, err := m.read(path, configName)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Step: step, EMANames: m.EMAs}
	if c.UNet, err = unet.ParseConfig(config); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	params, err := c.UNet.Params()
	if err != nil {
		return nil, err
	}
	raw, err := m.read(path, stateName)
	if err != nil {
		return nil, err
	}
	var st state
	if err := json.Unmarshal(raw, &st); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, stateName, sentence.JSON(err))
	}
	if st.Step != step || st.AdamStep < 0 || !slices.Equal(st.EMAs, m.EMAs) {
		return nil, sentence.Errorf("%w: %s and %s disagree", ErrDamaged, stateName, manifestName)
	}
	c.Extra, c.State.Step = st.Extra, st.AdamStep

	n := c.UNet.NumParams()
	group := errgroup.Group{}
	group.SetLimit(runtime.GOMAXPROCS(0))
	tensors := func(name string, parts map[string]*[]float32) {
		group.Go(func() error { return m.readTensors(path, name, n, params, parts) })
	}
	tensors(optimizerName, map[string]*[]float32{"exp_avg.": &c.State.M, "exp_avg_sq.": &c.State.V})
	tensors(weightsName, map[string]*[]float32{"": &c.State.Params})
	c.State.EMA = make([][]float32, len(m.EMAs))
	for i, name := range m.EMAs {
		tensors(emaName(name), map[string]*[]float32{"": &c.State.EMA[i]})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return c, nil
}

// LoadWeights reads only the configuration and one set of weights: of the moving average ema, or for "" the trained
// parameters themselves. They are checked as in Load. Sampling and export need no more.
func LoadWeights(dir string, step int64, ema string) (unet.Config, []float32, error) {
	fail := func(err error) (unet.Config, []float32, error) {
		return unet.Config{}, nil, sentence.Errorf("load checkpoint %d: %w", step, advise(err, dir, step))
	}
	path, err := find(dir, step)
	if err != nil {
		return fail(err)
	}
	m, err := readManifest(path, step)
	if err != nil {
		return fail(err)
	}
	name := weightsName
	if ema != "" {
		if !slices.Contains(m.EMAs, ema) {
			return fail(sentence.Errorf("it has no moving average %q, only %q", ema, m.EMAs))
		}
		name = emaName(ema)
	}
	config, err := m.read(path, configName)
	if err != nil {
		return fail(err)
	}
	cfg, err := unet.ParseConfig(config)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrDamaged, err))
	}
	params, err := cfg.Params()
	if err != nil {
		return fail(err)
	}
	var flat []float32
	if err := m.readTensors(path, name, cfg.NumParams(), params, map[string]*[]float32{"": &flat}); err != nil {
		return fail(err)
	}
	return cfg, flat, nil
}

// Verify reads every file of the checkpoint of a step, its copy of the run's description included, and compares it with
// its hash. The errors are those of Load.
func Verify(ctx context.Context, dir string, step int64) error {
	path, err := find(dir, step)
	if err != nil {
		return err
	}
	if err := verify(ctx, path, step); err != nil {
		return err
	}
	if _, err := RunCopy(dir, step); err != nil && !errors.Is(err, ErrNone) {
		return err
	}
	return nil
}

// RunCopy is the description of the run that was saved with the checkpoint of a step, checked against its hash. The error
// wraps ErrNone for a checkpoint that holds none, as those of older versions, and ErrDamaged for one that is not what
// was saved.
func RunCopy(dir string, step int64) (json.RawMessage, error) {
	path, err := find(dir, step)
	if err != nil {
		return nil, err
	}
	m, err := readManifest(path, step)
	if err != nil {
		return nil, err
	}
	if m.Run == nil {
		return nil, sentence.Errorf("%w of the run's description in %s", ErrNone, path)
	}
	alone := manifest{Files: []file{*m.Run}}
	b, err := alone.read(path, runName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, sentence.Errorf("%w: %s is missing", ErrDamaged, runName)
	}
	return b, err
}

// verify reads every file of a checkpoint and checks it against the manifest.
func verify(ctx context.Context, path string, step int64) error {
	m, err := readManifest(path, step)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, f := range m.Files {
		group.Go(func() error {
			return m.open(path, f.Name, func(r io.Reader, _ int64) error {
				_, err := io.Copy(io.Discard, cancelled{ctx, r})
				return err
			})
		})
	}
	return group.Wait()
}

type cancelled struct {
	ctx context.Context //nolint:containedctx // an io.Reader has no other way to it
	r   io.Reader
}

func (c cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// find returns the folder of a step.
func find(dir string, step int64) (string, error) {
	for _, name := range []string{folderName(step), oldPrefix + folderName(step)} {
		path := filepath.Join(dir, name)
		switch st, err := os.Stat(path); {
		case err == nil && st.IsDir():
			return path, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", err
		}
	}
	return "", sentence.Errorf("%w of this step in %s", ErrNone, dir)
}

// readManifest reads a checkpoint's manifest and checks that the files it lists are there in full length.
func readManifest(path string, step int64) (*manifest, error) {
	b, err := readSmall(filepath.Join(path, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, sentence.Errorf("%w: it has no %s", ErrDamaged, manifestName)
	}
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(b, step)
	if err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		st, err := os.Lstat(filepath.Join(path, f.Name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, sentence.Errorf("%w: %s is missing", ErrDamaged, f.Name)
		}
		if err != nil {
			return nil, err
		}
		if !st.Mode().IsRegular() || st.Size() != f.Size {
			return nil, sentence.Errorf("%w: %s has %d bytes instead of %d", ErrDamaged, f.Name, st.Size(), f.Size)
		}
	}
	return m, nil
}

// parseManifest checks that a manifest lists exactly the files that make a checkpoint.
func parseManifest(b []byte, step int64) (*manifest, error) {
	var version struct{ Format int }
	if err := json.Unmarshal(b, &version); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, manifestName, sentence.JSON(err))
	}
	if version.Format > Format {
		return nil, sentence.Errorf("%w: it has format %d and this program knows up to %d, so update Unnoise", ErrNewer, version.Format, Format)
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, manifestName, sentence.JSON(err))
	}
	if m.Format < 1 || m.Step != step {
		return nil, sentence.Errorf("%w: %s is of format %d and step %d", ErrDamaged, manifestName, m.Format, m.Step)
	}
	if err := checkEMANames(m.EMAs); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, manifestName, err)
	}
	if m.Held != nil && *m.Held < 0 {
		return nil, sentence.Errorf("%w: %s has a held-out loss of %g", ErrDamaged, manifestName, *m.Held)
	}
	if m.Run != nil && (m.Run.Name != runName || m.Run.Size < 0 || m.Run.Size > maxJSON) {
		return nil, sentence.Errorf("%w: %s names %.300q of %d bytes as the run's description", ErrDamaged, manifestName, m.Run.Name, m.Run.Size)
	}
	want := []string{configName, optimizerName, stateName, weightsName}
	for _, e := range m.EMAs {
		want = append(want, emaName(e))
	}
	var have []string
	for _, f := range m.Files {
		have = append(have, f.Name)
	}
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(want, have) {
		return nil, sentence.Errorf("%w: %s lists %.300q", ErrDamaged, manifestName, have)
	}
	return &m, nil
}

func readSmall(path string) ([]byte, error) {
	b, err := durable.ReadFile(path, maxJSON)
	if errors.Is(err, durable.ErrTooLarge) {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return b, err
}

// open gives use a file of the checkpoint and its length, and fails if what was read is not what the manifest says. A
// wrong hash counts before any error of use, which it explains.
func (m *manifest) open(path, name string, use func(r io.Reader, size int64) error) error {
	i := slices.IndexFunc(m.Files, func(f file) bool { return f.Name == name })
	if i < 0 {
		return sentence.Errorf("%w: it has no %s", ErrDamaged, name)
	}
	f, err := durable.Open(filepath.Join(path, name))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	h := &hashing{r: f, sum: sha256.New()}
	useErr := use(h, m.Files[i].Size)
	if errors.Is(useErr, context.Canceled) || errors.Is(useErr, context.DeadlineExceeded) {
		return useErr
	}
	if _, err := io.Copy(io.Discard, h); err != nil {
		return sentence.Errorf("read %s: %w", name, err)
	}
	if hex.EncodeToString(h.sum.Sum(nil)) != m.Files[i].SHA256 {
		return sentence.Errorf("%w: %s is not what was saved (its SHA-256 is wrong)", ErrDamaged, name)
	}
	if useErr != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, name, useErr)
	}
	return nil
}

type hashing struct {
	r   io.Reader
	sum hash.Hash
}

func (h *hashing) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	_, _ = h.sum.Write(p[:n]) // a hash never fails
	return n, err
}

func (m *manifest) read(path, name string) (b []byte, err error) {
	err = m.open(path, name, func(r io.Reader, size int64) (err error) {
		if size > maxJSON {
			return sentence.Errorf("it is longer than %d bytes", maxJSON)
		}
		b, err = io.ReadAll(io.LimitReader(r, maxJSON))
		return err
	})
	return b, err
}

// readTensors reads flat vectors of n values: one for each prefix of the tensors' names.
func (m *manifest) readTensors(path, name string, n int, params []unet.Param, parts map[string]*[]float32) error {
	want := map[string]safetensors.Tensor{}
	return m.open(path, name, func(r io.Reader, size int64) error {
		h, err := safetensors.ReadHeader(r, size)
		if err != nil {
			return err
		}
		if len(h.Tensors) != len(parts)*len(params) {
			return sentence.Errorf("it has %d tensors instead of %d", len(h.Tensors), len(parts)*len(params))
		}
		for prefix, flat := range parts {
			*flat = make([]float32, n)
			for _, t := range split(prefix, *flat, params) {
				want[t.Name] = t
			}
		}
		return h.ReadData(r, func(i safetensors.Info) ([]float32, error) {
			t, ok := want[i.Name]
			if !ok || !slices.Equal(t.Shape, i.Shape) {
				return nil, sentence.Errorf("tensor %q of shape %v does not belong to the model", i.Name, i.Shape)
			}
			return t.Data, nil
		})
	})
}

// List returns the whole checkpoints of dir, oldest step first, and what looks like one and is not. It reads the
// manifests and looks at the files' lengths; hashes are checked by Load. A folder that does not exist has
// none.
func List(dir string) ([]Info, []Ignored, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, sentence.Errorf("list checkpoints: %w", err)
	}
	var infos []Info
	var ignored []Ignored
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		name, replaced := strings.CutPrefix(e.Name(), oldPrefix)
		switch step, ok := parseStep(name); {
		case durable.IsTemp(name):
			ignored = append(ignored, Ignored{Path: path, Step: -1, Reason: sentence.T("it was being written when the program ended, and is removed at the next save")})
		case !ok:
			ignored = append(ignored, Ignored{Path: path, Step: -1, Reason: sentence.T("its name is not a training step of at least six digits")})
		case !e.IsDir():
			ignored = append(ignored, Ignored{Path: path, Step: -1, Reason: sentence.T("it is not a folder")})
		default:
			if found, err := find(dir, step); replaced && err == nil && found != path {
				ignored = append(ignored, Ignored{Path: path, Step: -1, Reason: sentence.T("it was replaced, and is removed at the next save")})
				continue
			}
			m, err := readManifest(path, step)
			if err != nil {
				ignored = append(ignored, Ignored{Path: path, Step: step, Newer: errors.Is(err, ErrNewer), Reason: sentence.Of(err)})
				continue
			}
			info := Info{Step: step, Path: path, Created: m.Created, EMAs: m.EMAs, Held: m.Held}
			for _, f := range m.Files {
				info.Size += f.Size
			}
			if m.Run != nil {
				info.Size += m.Run.Size
			}
			infos = append(infos, info)
		}
	}
	slices.SortFunc(infos, func(a, b Info) int { return int(min(max(a.Step-b.Step, -1), 1)) })
	return infos, ignored, nil
}

// parseStep reads a folder's name; there is one way to write a step.
func parseStep(name string) (int64, bool) {
	step, err := strconv.ParseInt(name, 10, 64)
	return step, err == nil && step >= 0 && folderName(step) == name
}

// Latest returns the whole checkpoint of the highest step, or ErrNone.
func Latest(dir string) (Info, error) {
	infos, _, err := List(dir)
	if err != nil {
		return Info{}, err
	}
	if len(infos) == 0 {
		return Info{}, sentence.Errorf("%w in %s", ErrNone, dir)
	}
	return infos[len(infos)-1], nil
}

// Best is the checkpoint with the lowest held-out loss, the first of them; false where none was measured.
func Best(infos []Info) (best Info, ok bool) {
	for _, i := range infos {
		if i.Held != nil && (!ok || *i.Held < *best.Held) {
			best, ok = i, true
		}
	}
	return best, ok
}

// Prune removes checkpoints of the folder that d is but the keepLast newest, the best one, and those whose step is a multiple of keepEvery (0:
// none), and returns the steps removed. The newest is never removed, and nothing is unless the newest, read back in full, is what
// was saved. Removed folders vanish at once, however long the removal takes.
func Prune(ctx context.Context, d durable.Disk, keepLast int, keepEvery int64) ([]int64, error) {
	infos, _, err := List(d.Path("."))
	if err != nil {
		return nil, err
	}
	var drop []Info
	best, ok := Best(infos)
	for _, i := range infos[:max(0, len(infos)-max(keepLast, 1))] {
		if (keepEvery <= 0 || i.Step%keepEvery != 0) && !(ok && i.Step == best.Step) {
			drop = append(drop, i)
		}
	}
	if len(drop) == 0 {
		return nil, nil
	}
	newest := infos[len(infos)-1]
	err = verify(ctx, newest.Path, newest.Step)
	if ctx.Err() != nil {
		return nil, ctx.Err() // this says nothing about the checkpoint
	}
	if err != nil {
		return nil, sentence.Errorf("old checkpoints are kept, since the newest one, of step %d, cannot be relied on: %w", newest.Step, err)
	}
	var removed []int64
	for _, i := range drop {
		if err := d.RemoveAll(filepath.Base(i.Path)); err != nil {
			return removed, sentence.Errorf("remove checkpoint %d: %w", i.Step, err)
		}
		removed = append(removed, i.Step)
	}
	return removed, nil
}

// sweep removes what dead processes left, and finishes or undoes a replacement that was cut short.
func sweep(d durable.Disk) error {
	if err := d.Sweep("."); err != nil {
		return err
	}
	entries, err := os.ReadDir(d.Path("."))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, replaced := strings.CutPrefix(e.Name(), oldPrefix)
		step, ok := parseStep(name)
		if !replaced || !ok {
			continue
		}
		switch err := d.RenameNew(e.Name(), name); {
		case err == nil:
			continue
		case !errors.Is(err, fs.ErrExist):
			return err
		}
		_, err := readManifest(d.Path(name), step)
		_, oldErr := readManifest(d.Path(e.Name()), step)
		switch {
		case errors.Is(err, ErrNewer) || errors.Is(oldErr, ErrNewer):
			continue
		case err != nil && oldErr == nil: // the successor was damaged since
			err = errors.Join(d.RemoveAll(name), d.RenameNew(e.Name(), name))
		default:
			err = d.RemoveAll(e.Name())
		}
		if err != nil {
			return err
		}
	}
	return d.SyncDir(".")
}
