package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/app/exports"
	"unnoise/app/runs"
	"unnoise/pipeline/checkpoint"
	"unnoise/pipeline/eval"
	"unnoise/pipeline/picture"
	"unnoise/pipeline/train"
	"unnoise/resources/demo"
	"unnoise/runtime/durable"
)

// cli runs the program within the test and returns its exit code and what it wrote.
func cli(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(args, strings.NewReader(""), &out, &err)
	return code, out.String(), err.String()
}

// refused runs the program, which must end with that code and one line on stderr that contains want.
func refused(t *testing.T, code int, want string, args ...string) {
	t.Helper()
	got, stdout, stderr := cli(args...)
	require.Equal(t, code, got, stderr)
	require.Empty(t, stdout)
	lines := strings.Split(strings.TrimRight(stderr, "\n"), "\n")
	require.Len(t, lines, 1, "one line says what is wrong")
	require.True(t, strings.HasPrefix(lines[0], "unnoise: "), lines[0])
	require.Contains(t, stderr, want)
	require.NotContains(t, lines[0], "unusable choice")
	require.NotContains(t, lines[0], "wrong usage")
}

// snapshot is every file below dir with its content.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			files[path] = "folder"
			return nil
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	}))
	return files
}

// pictures makes n small pictures in two classes below dir.
func pictures(t *testing.T, dir string, n int) string {
	t.Helper()
	for i := range n {
		img := image.NewRGBA(image.Rect(0, 0, 8, 8))
		for k := range 64 {
			img.Set(k%8, k/8, color.RGBA{R: uint8(32 * (k % 8)), G: uint8(9 * i), B: uint8(k * (i%2 + 1)), A: 255})
		}
		sub := filepath.Join(dir, []string{"cat", "dog"}[i%2])
		require.NoError(t, os.MkdirAll(sub, 0o755))
		f, err := os.Create(filepath.Join(sub, fmt.Sprintf("%03d.png", i)))
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, img))
		require.NoError(t, f.Close())
	}
	return dir
}

var trained struct {
	sync.Once
	dir string
	err error
}

// trainedRun trains a run once for all tests, and returns a copy of it that the test may spoil.
func trainedRun(t *testing.T) string {
	t.Helper()
	trained.Do(func() {
		if trained.dir, trained.err = os.MkdirTemp("", "unnoise-cli-*"); trained.err != nil {
			return
		}
		data := pictures(t, filepath.Join(trained.dir, "pictures"), 24)
		code, stdout, stderr := cli("train", "--data", data, "--run", filepath.Join(trained.dir, "run"), "--preset", "tiny",
			"--size", "8", "--steps", "3", "--batch", "4", "--held-out", "0.3", "--seed", "5", "--json")
		if code != 0 {
			trained.err = fmt.Errorf("exit code %d: %s", code, stderr)
			return
		}
		var res trainResult
		if trained.err = json.Unmarshal([]byte(stdout), &res); trained.err == nil && (!res.Done || res.Step != 3 || res.Loss == 0) {
			trained.err = fmt.Errorf("unexpected result: %s", stdout)
		}
	})
	require.NoError(t, trained.err)
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(trained.dir)))
	return filepath.Join(dir, "run")
}

// cliEnv lets the test binary be the program itself, in a process of its own.
const cliEnv = "UNNOISE_TEST_CLI"

func TestMain(m *testing.M) {
	if os.Getenv(cliEnv) != "" {
		os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	code := m.Run()
	if trained.dir != "" {
		_ = os.RemoveAll(trained.dir)
	}
	os.Exit(code)
}

func TestTrainRefuses(t *testing.T) {
	dir := t.TempDir()
	data := pictures(t, filepath.Join(dir, "pictures"), 6)
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.Mkdir(empty, 0o755))
	spoiled := filepath.Join(dir, "spoiled")
	require.NoError(t, os.Mkdir(spoiled, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(spoiled, "a.png"), []byte("no picture"), 0o644))
	taken := filepath.Join(dir, "taken")
	require.NoError(t, os.Mkdir(taken, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(taken, "diary.txt"), []byte("mine"), 0o644))
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("mine"), 0o644))
	fresh := filepath.Join(dir, "new", "run")
	before := snapshot(t, dir)
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{2, "--run is missing", []string{"--data", data}},
		{2, "--data is missing", []string{"--run", fresh}},
		{1, filepath.Join(dir, "nowhere") + " does not exist", []string{"--data", filepath.Join(dir, "nowhere"), "--run", fresh}},
		{1, "no usable pictures in " + empty, []string{"--data", empty, "--run", fresh}},
		{1, "1 pictures were set aside", []string{"--data", spoiled, "--run", fresh}},
		{2, "has 6 usable pictures, fewer than the batch of 16: add pictures or choose a smaller batch", []string{"--data", data, "--run", fresh}},
		{1, "the folder " + taken + " is not empty: choose another one", []string{"--data", data, "--run", taken, "--batch", "2"}},
		{1, file + " is a file", []string{"--data", data, "--run", file, "--batch", "2"}},
		{1, "cannot be made", []string{"--data", data, "--run", filepath.Join(file, "run"), "--batch", "2"}},
		{2, "the size 30 does not suit preset tiny: its 3 levels need sides that 4 divides, the nearest is 28 or 32", []string{"--data", data, "--run", fresh, "--size", "30"}},
		{2, "the size 32x18 does not suit", []string{"--data", data, "--run", fresh, "--size", "32x18"}},
		{2, "give one number of pixels", []string{"--data", data, "--run", fresh, "--size", "big"}},
		{2, "there is no preset", []string{"--data", data, "--run", fresh, "--preset", "huge"}},
		{2, `there is no objective "score"`, []string{"--data", data, "--run", fresh, "--objective", "score"}},
		{2, `there is no noise schedule "steep"`, []string{"--data", data, "--run", fresh, "--schedule", "steep"}},
		{2, "2 channels cannot be used", []string{"--data", data, "--run", fresh, "--channels", "2"}},
		{2, "a learning rate of -1", []string{"--data", data, "--run", fresh, "--lr", "-1"}},
		{2, "0 steps", []string{"--data", data, "--run", fresh, "--steps", "0"}},
		{2, `--device "abacus"`, []string{"--data", data, "--run", fresh, "--device", "abacus"}},
		{2, "--threads -1", []string{"--data", data, "--run", fresh, "--threads", "-1"}},
		{2, "unknown flag: --colour", []string{"--data", data, "--run", fresh, "--colour", "red"}},
		{2, `"more" is one word too many`, []string{"--data", data, "--run", fresh, "more"}},
		{1, "does not exist", []string{"--run", fresh, "--resume"}},
		{1, taken + " is not a run", []string{"--run", taken, "--resume"}},
		{2, `fit "squeeze" is unknown`, []string{"--data", data, "--run", fresh, "--fit", "squeeze"}},
		{2, `there is no loss weighting "snr"`, []string{"--data", data, "--run", fresh, "--weighting", "snr"}},
		{2, "holding out 1 of the pictures", []string{"--data", data, "--run", fresh, "--held-out", "1"}},
		{2, "a checkpoint every 0 steps", []string{"--data", data, "--run", fresh, "--save-every", "0"}},
		{2, "samples every -1 steps", []string{"--data", data, "--run", fresh, "--sample-every", "-1"}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			refused(t, c.code, c.want, append([]string{"train"}, c.args...)...)
			require.Equal(t, before, snapshot(t, dir), "what was there is untouched, and nothing new is left")
		})
	}
}

func TestUnwritableFolder(t *testing.T) {
	dir := t.TempDir()
	data := pictures(t, filepath.Join(dir, "pictures"), 6)
	locked := filepath.Join(dir, "locked")
	require.NoError(t, os.Mkdir(locked, 0o555))
	run := filepath.Join(locked, "run")
	if f, err := os.Create(filepath.Join(locked, "probe")); err == nil { // root may write anywhere but in /proc
		require.NoError(t, f.Close())
		require.NoError(t, os.Remove(filepath.Join(locked, "probe")))
		if _, err := os.Stat("/proc/self"); err != nil {
			t.Skip("this user may write everywhere")
		}
		run = "/proc/unnoise/run"
	}
	before := snapshot(t, dir)
	refused(t, 1, "the folder "+run+" cannot be written", "train", "--data", data, "--run", run, "--batch", "2")
	refused(t, 1, "the folder "+run+" cannot be written", "sample", "--run", trainedRun(t), "--out", run)
	refused(t, 1, "the folder "+filepath.Dir(run)+" cannot be written", "export", "--run", trainedRun(t), "--format", "onnx", "--out", run)
	require.Equal(t, before, snapshot(t, dir))
}

func TestExistingRun(t *testing.T) {
	run := trainedRun(t)
	before := snapshot(t, run)
	refused(t, 1, "was begun already: go on with --resume, or choose another folder",
		"train", "--data", filepath.Join(filepath.Dir(run), "pictures"), "--run", run, "--batch", "4")
	require.Equal(t, before, snapshot(t, run))
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	data := pictures(t, filepath.Join(dir, "pictures"), 6)
	run := trainedRun(t)
	freeSpace = func(string) (uint64, error) { return 10_000, nil }
	t.Cleanup(func() { freeSpace = realFreeSpace })
	before, beforeRun := snapshot(t, dir), snapshot(t, run)
	refused(t, 1, "the disk is too full for this run: ", "train", "--data", data, "--run", filepath.Join(dir, "run"), "--batch", "2")
	refused(t, 1, "10 kB are free", "sample", "--run", run, "--n", "64", "--out", filepath.Join(dir, "out"))
	require.Equal(t, before, snapshot(t, dir))
	require.Equal(t, beforeRun, snapshot(t, run))
}

var realFreeSpace = freeSpace

func TestSampleRefuses(t *testing.T) {
	run := trainedRun(t)
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	before := snapshot(t, run)
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{2, `there is no class "cow": this model knows cat, dog`, []string{"--class", "cow"}},
		{2, `there is no sampler "euler"`, []string{"--sampler", "euler"}},
		{2, "trained with 1000 noise levels", []string{"--sampler", "ddim", "--steps", "1001"}},
		{2, "--steps 0", []string{"--steps", "0"}},
		{2, "0 pictures", []string{"--n", "0"}},
		{1, "there is no checkpoint of this step", []string{"--checkpoint", "77"}},
		{2, "give the step of a checkpoint, newest or best", []string{"--checkpoint", "-3"}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			refused(t, c.code, c.want, append([]string{"sample", "--run", run, "--out", out}, c.args...)...)
			require.NoDirExists(t, out)
		})
	}
	require.Equal(t, before, snapshot(t, run))
	refused(t, 1, "does not exist", "sample", "--run", filepath.Join(dir, "none"), "--out", out)
}

func TestDamagedCheckpoint(t *testing.T) {
	run := trainedRun(t)
	path := filepath.Join(run, "checkpoints", "000003", "ema-ema.safetensors")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	b[len(b)/2] ^= 0x10
	require.NoError(t, os.WriteFile(path, b, 0o644))
	before := snapshot(t, run)
	out := filepath.Join(t.TempDir(), "out")
	refused(t, 1, "the checkpoint is damaged", "sample", "--run", run, "--out", out)
	refused(t, 1, "SHA-256", "export", "--run", run, "--format", "diffusers", "--out", out)
	require.NoDirExists(t, out)
	require.Equal(t, before, snapshot(t, run))
}

func TestSampleAndItsRest(t *testing.T) {
	run := trainedRun(t)
	dir := t.TempDir()
	out, grid := filepath.Join(dir, "out"), filepath.Join(dir, "sheets", "grid.png")
	code, stdout, stderr := cli("sample", "--run", run, "--n", "3", "--steps", "2", "--out", out, "--json")
	require.Zero(t, code, stderr)
	var res struct {
		Files []string
		Kept  int
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &res))
	require.Len(t, res.Files, 3)
	first := snapshot(t, out)

	// More of the same: the three are kept, as they are, and the others come on top. Another seed is other pictures.
	code, stdout, stderr = cli("sample", "--run", run, "--n", "11", "--steps", "2", "--out", out, "--grid", grid, "--json")
	require.Zero(t, code, stderr)
	require.NoError(t, json.Unmarshal([]byte(stdout), &res))
	require.Len(t, res.Files, 11)
	require.Equal(t, 3, res.Kept)
	second := snapshot(t, out)
	for name, content := range first {
		require.Equal(t, content, second[name])
	}
	sheet, err := picture.Read(grid)
	require.NoError(t, err)
	require.Equal(t, image.Pt(4*8+5*2, 3*8+4*2), sheet.Bounds().Size())
	m, err := picture.ReadMeta(res.Files[10])
	require.NoError(t, err)
	require.Equal(t, 10, m.Index)
	require.Equal(t, "cat", m.Class)
	require.EqualValues(t, 3, m.Checkpoint)
	require.Equal(t, "dpmpp2m", m.Sampler)

	code, _, stderr = cli("sample", "--run", run, "--n", "2", "--seed", "9", "--class", "dog", "--sampler", "ddpm", "--steps", "2", "--out", out)
	require.Zero(t, code, stderr)
	require.Len(t, snapshot(t, out), len(second)+2)
}

// All that the window can choose, the command line can, and the pictures say so.
func TestSampleFlags(t *testing.T) {
	run := trainedRun(t)
	out := filepath.Join(t.TempDir(), "out")
	code, _, stderr := cli("sample", "--run", run, "--n", "1", "--sampler", "ddim", "--steps", "4", "--eta", "0.5", "--spacing", "trailing",
		"--no-clip", "--raw", "--checkpoint", "3", "--class", "dog", "--out", out)
	require.Zero(t, code, stderr)
	files, err := filepath.Glob(filepath.Join(out, "*"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	m, err := picture.ReadMeta(files[0])
	require.NoError(t, err)
	require.Equal(t, "raw", m.EMA)
	require.Equal(t, "trailing", m.Spacing)
	require.InDelta(t, 0.5, m.Eta, 0)
	require.True(t, m.NoClip)
	require.Equal(t, "dog", m.Class)
	for want, more := range map[string][]string{
		`no step spacing "even"`: {"--spacing", "even"},
		"an eta of 1.5":          {"--sampler", "ddim", "--eta", "1.5"},
		"an eta of 0.5":          {"--sampler", "heun", "--eta", "0.5"},
	} {
		refused(t, 2, want, append([]string{"sample", "--run", run, "--out", filepath.Join(out, "more")}, more...)...)
	}
	require.NoDirExists(t, filepath.Join(out, "more"))
}

func TestSampleIsTheSameWhateverTheBatch(t *testing.T) {
	run := trainedRun(t)
	out := t.TempDir()
	one, many := filepath.Join(out, "one"), filepath.Join(out, "many")
	code, _, stderr := cli("sample", "--run", run, "--n", "9", "--sampler", "ddpm", "--steps", "3", "--out", many)
	require.Zero(t, code, stderr)
	code, _, stderr = cli("sample", "--run", run, "--n", "1", "--sampler", "ddpm", "--steps", "3", "--out", one)
	require.Zero(t, code, stderr)
	files, err := filepath.Glob(filepath.Join(one, "*"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	a, err := picture.Read(files[0])
	require.NoError(t, err)
	b, err := picture.Read(filepath.Join(many, filepath.Base(files[0])))
	require.NoError(t, err)
	// The noise is the same; a matrix product of another size may round otherwise, by less than a byte shows.
	for y := range 8 {
		for x := range 8 {
			ar, ag, ab, _ := a.At(x, y).RGBA()
			br, bg, bb, _ := b.At(x, y).RGBA()
			require.InDelta(t, ar, br, 257)
			require.InDelta(t, ag, bg, 257)
			require.InDelta(t, ab, bb, 257)
		}
	}
}

func TestExport(t *testing.T) {
	run := trainedRun(t)
	dir := t.TempDir()
	for format, name := range map[string]string{"diffusers": "model", "onnx": "net.onnx", "grid": "sheet.png", "zip": "pics.zip", "gif": "lapse.gif"} {
		out := filepath.Join(dir, "sub", name)
		code, stdout, stderr := cli("export", "--run", run, "--format", format, "--out", out)
		require.Zero(t, code, stderr)
		require.Equal(t, out+"\n", stdout)
		before := snapshot(t, filepath.Join(dir, "sub"))
		refused(t, 1, out+" exists already: choose another name", "export", "--run", run, "--format", format, "--out", out)
		require.Equal(t, before, snapshot(t, filepath.Join(dir, "sub")))
	}
	require.FileExists(t, filepath.Join(dir, "sub", "model", "unet", "diffusion_pytorch_model.safetensors"))
	refused(t, 2, `--format "bmp": choose one of diffusers, onnx, grid, zip, gif`, "export", "--run", run, "--format", "bmp", "--out", filepath.Join(dir, "x"))
}

// Enlarged by a whole factor, the pictures are those of the plain export with each pixel a square.
func TestExportEnlarged(t *testing.T) {
	run, dir := trainedRun(t), t.TempDir()
	read := func(name string, args ...string) []image.Image {
		out := filepath.Join(dir, name)
		code, _, stderr := cli(append([]string{"export", "--run", run, "--out", out}, args...)...)
		require.Zero(t, code, stderr)
		var imgs []image.Image
		switch filepath.Ext(name) {
		case ".zip":
			z, err := zip.OpenReader(out)
			require.NoError(t, err)
			defer z.Close()
			for _, f := range z.File {
				r, err := f.Open()
				require.NoError(t, err)
				img, err := png.Decode(r)
				require.NoError(t, errors.Join(err, r.Close()))
				imgs = append(imgs, img)
			}
		case ".gif":
			f, err := os.Open(out)
			require.NoError(t, err)
			defer f.Close()
			g, err := gif.DecodeAll(f)
			require.NoError(t, err)
			for _, m := range g.Image {
				imgs = append(imgs, m)
			}
		default:
			img, err := picture.Read(out)
			require.NoError(t, err)
			imgs = append(imgs, img)
		}
		return imgs
	}
	plain := read("plain.zip", "--format", "zip")
	big := read("big.zip", "--format", "zip", "--enlarge", "3")
	require.Len(t, plain, exports.Pictures)
	require.Len(t, big, exports.Pictures)
	for i, p := range plain {
		size := p.Bounds().Size()
		require.Equal(t, size.Mul(3), big[i].Bounds().Size())
		for y := range 3 * size.Y {
			for x := range 3 * size.X {
				require.Equal(t, p.At(x/3, y/3), big[i].At(x, y))
			}
		}
	}
	side := plain[0].Bounds().Dx()
	for k, name := range map[int]string{1: "sheet.png", 5: "sheet5.png"} {
		sheet := read(name, "--format", "grid", "--enlarge", strconv.Itoa(k))[0]
		require.Equal(t, 8*(side*k+train.GridSpacing)+train.GridSpacing, sheet.Bounds().Dx(), "the gaps stay as they are")
	}
	usual, one := read("usual.gif", "--format", "gif"), read("one.gif", "--format", "gif", "--enlarge", "1")
	require.Equal(t, one[0].Bounds().Size().Mul(2), usual[0].Bounds().Size())

	refused(t, 2, "--enlarge 0: choose between 1 and 64", "export", "--run", run, "--format", "zip", "--enlarge", "0", "--out", filepath.Join(dir, "x"))
	refused(t, 2, "pictures cannot be enlarged 65 times", "export", "--run", run, "--format", "zip", "--enlarge", "65", "--out", filepath.Join(dir, "x"))
	refused(t, 2, "the format onnx has no pictures to enlarge", "export", "--run", run, "--format", "onnx", "--enlarge", "2", "--out", filepath.Join(dir, "x"))
}

func TestEval(t *testing.T) {
	run := trainedRun(t)
	data := filepath.Join(filepath.Dir(run), "pictures")
	var ev struct {
		HeldOut bool `json:"held_out"`
		LeftOut int  `json:"left_out"`
		Images  int
		Loss    float64
		Levels  []struct{ Sigma, Loss float64 }
		Bound   eval.Bound
	}
	// A copy of the pictures is the same pictures: what the run was trained on is left out of it.
	code, stdout, stderr := cli("eval", "--run", run, "--data", data, "--json")
	require.Zero(t, code, stderr)
	require.NoError(t, json.Unmarshal([]byte(stdout), &ev))
	require.True(t, ev.HeldOut)
	require.Equal(t, 24, ev.Images+ev.LeftOut)
	require.Less(t, ev.Images, 24)
	// Of pictures that it never had, all are measured on.
	fresh := filepath.Join(t.TempDir(), "fresh")
	drawn := t.TempDir()
	require.NoError(t, demo.Write(t.Context(), drawn, 24, 99))
	for i, class := range []string{"cat", "dog"} {
		require.NoError(t, os.CopyFS(filepath.Join(fresh, class), os.DirFS(filepath.Join(drawn, demo.Classes()[i]))))
	}
	code, stdout, stderr = cli("eval", "--run", run, "--data", fresh, "--json")
	require.Zero(t, code, stderr)
	ev.LeftOut = 0
	require.NoError(t, json.Unmarshal([]byte(stdout), &ev))
	require.False(t, ev.HeldOut)
	require.Zero(t, ev.LeftOut)
	require.Equal(t, 12, ev.Images)
	require.Len(t, ev.Levels, 8)
	require.Positive(t, ev.Loss)
	require.Positive(t, ev.Bound.Prior)
	require.Positive(t, ev.Bound.Decoder)
	require.Positive(t, ev.Bound.StandardError)
	require.InDelta(t, ev.Bound.Prior+ev.Bound.Steps+ev.Bound.Decoder, ev.Bound.BitsPerDim, 1e-9)
	// The run's own pictures, where it found them: only the held-out ones.
	code, stdout, stderr = cli("eval", "--run", run, "--data", filepath.Join(trained.dir, "pictures"), "--json")
	require.Zero(t, code, stderr)
	require.NoError(t, json.Unmarshal([]byte(stdout), &ev))
	require.True(t, ev.HeldOut)
	require.Less(t, ev.Images, 24)
	code, again, _ := cli("eval", "--run", run, "--data", filepath.Join(trained.dir, "pictures"), "--json")
	require.Zero(t, code)
	require.Equal(t, stdout, again)
	code, stdout, _ = cli("eval", "--run", run, "--data", data)
	require.Zero(t, code)
	require.Contains(t, stdout, "held-out pictures (")
	require.Contains(t, stdout, "that it was trained on are left out): loss")
	require.Contains(t, stdout, "bits per dimension")
	require.Contains(t, stdout, "95 % confidence")
	// The noise is the seed's and not the run's; checkpoint, weights and effort are chosen.
	printed := map[string]bool{}
	for _, more := range [][]string{nil, {"--seed", "1"}, {"--transitions", "2"}, {"--raw"}, {"--checkpoint", "3", "--raw", "--transitions", "3"}} {
		code, stdout, stderr = cli(append([]string{"eval", "--run", run, "--data", fresh, "--json"}, more...)...)
		require.Zero(t, code, stderr)
		printed[stdout] = true
		if slices.Contains(more, "2") {
			require.NoError(t, json.Unmarshal([]byte(stdout), &ev))
			require.LessOrEqual(t, ev.Bound.Transitions, 2)
		}
	}
	// After three steps the decoder sets out so high that few transitions are left to draw from: their number may change nothing.
	require.GreaterOrEqual(t, len(printed), 3)
	for flag, v := range map[string]string{"transitions": "0", "checkpoint": "-2"} {
		refused(t, 2, "--"+flag, "eval", "--run", run, "--data", data, "--"+flag, v)
	}
	other := pictures(t, filepath.Join(t.TempDir(), "x"), 4)
	require.NoError(t, os.Rename(filepath.Join(other, "dog"), filepath.Join(other, "cow")))
	refused(t, 2, `there is no class "cow"`, "eval", "--run", run, "--data", other)
}

func TestResumeWithMoreSteps(t *testing.T) {
	run := trainedRun(t)
	code, stdout, stderr := cli("train", "--run", run, "--resume", "--steps", "5", "--json")
	require.Zero(t, code, stderr)
	var res trainResult
	require.NoError(t, json.Unmarshal([]byte(stdout), &res))
	require.True(t, res.Done)
	require.EqualValues(t, 5, res.Step)
	require.Contains(t, stderr, "Going on after step 3 of 5")
	// A run that has all its steps has nothing to do, and says so.
	code, stdout, stderr = cli("train", "--run", run, "--resume")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "Done: 5 steps")
}

// What can be known before the work is told before it: nothing is drawn, decoded or left behind.
func TestPreconditionsAtTheDoor(t *testing.T) {
	run := trainedRun(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("mine"), 0o600))
	before := snapshot(t, dir)
	freeSpace = func(string) (uint64, error) { return 1000, nil }
	for _, format := range exports.Formats() {
		if format != "gif" {
			refused(t, 1, "the disk is too full for this export", "export", "--run", run, "--format", format, "--out", filepath.Join(dir, "x", format))
		}
	}
	freeSpace = realFreeSpace
	for _, format := range exports.Formats() {
		refused(t, 1, "is not a folder", "export", "--run", run, "--format", format, "--out", filepath.Join(file, "x"))
		refused(t, 1, "exists already", "export", "--run", run, "--format", format, "--out", file)
	}
	refused(t, 1, "is not a folder", "sample", "--run", run, "--out", filepath.Join(file, "x"))
	refused(t, 1, "is not a folder", "sample", "--run", run, "--out", filepath.Join(dir, "x"), "--grid", filepath.Join(file, "g.png"))
	refused(t, 1, "exists already", "sample", "--run", run, "--out", filepath.Join(dir, "x"), "--grid", file)
	refused(t, 2, `no class "cow"`, "sample", "--run", run, "--out", filepath.Join(dir, "x"), "--class", "cow")
	refused(t, 2, "1000 noise levels", "sample", "--run", run, "--out", filepath.Join(dir, "x"), "--sampler", "ddim", "--steps", "1001")
	require.Equal(t, before, snapshot(t, dir))
}

// The run's own flags may be repeated, in whatever form; another value is refused, with both named, and changes nothing.
func TestResumeWithTheSameFlags(t *testing.T) {
	run := trainedRun(t)
	before := snapshot(t, run)
	for flag, has := range map[string]struct{ other, own string }{
		"lr": {"0.5", "0.001"}, "batch": {"8", "4"}, "size": {"16x8", "8"}, "seed": {"6", "5"}, "preset": {"small", "tiny"},
		"objective": {"eps", "v"}, "schedule": {"linear", "cosine"}, "weighting": {"min-snr", "simple"}, "fit": {"stretch", "crop"},
		"channels": {"1", "3"}, "held-out": {"0.5", "0.3"}, "save-every": {"7", "250"}, "sample-every": {"7", "250"}, "warmup": {"7", "100"},
		"keep-last": {"9", "3"}, "keep-every": {"9", "2500"}, "data": {run, filepath.Join(trained.dir, "pictures")},
	} {
		refused(t, 2, "--"+flag+" "+has.other+": the run has "+has.own, "train", "--run", run, "--resume", "--"+flag, has.other)
	}
	for _, flag := range []string{"flip", "augment", "classes=false"} {
		refused(t, 2, "and keeps what it began with", "train", "--run", run, "--resume", "--"+flag)
	}
	require.Equal(t, before, snapshot(t, run))

	code, stdout, stderr := cli("train", "--data", filepath.Join(trained.dir, ".", "pictures")+"/", "--run", run, "--resume", "--preset", "tiny", "--size", "8x8",
		"--steps", "4", "--batch", "4", "--seed", "5", "--lr", "1e-3", "--flip=false", "--classes", "--fit", "crop", "--held-out", "0.30",
		"--weighting", "simple", "--objective", "v", "--save-every", "250")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "Done: 4 steps")
}

// What the window can set, a flag can.
func TestTrainFlags(t *testing.T) {
	dir := t.TempDir()
	run := filepath.Join(dir, "run")
	code, _, stderr := cli("train", "--data", pictures(t, filepath.Join(dir, "pictures"), 24), "--run", run, "--size", "8", "--steps", "2", "--batch", "4",
		"--weighting", "min-snr", "--held-out", "0.25", "--augment", "--flip", "--fit", "stretch", "--save-every", "1", "--sample-every", "2",
		"--warmup", "1", "--keep-last", "2", "--keep-every", "0", "--classes=false")
	require.Zero(t, code, stderr)
	r, err := runs.Open(run)
	require.NoError(t, err)
	i := r.Info()
	require.EqualValues(t, "min-snr", i.Model.Weighting)
	require.InDelta(t, 0.25, i.Train.HeldOut, 0)
	require.True(t, i.Model.Preprocess.Augment)
	require.True(t, i.Model.Preprocess.Flip)
	require.Equal(t, "stretch", i.Model.Preprocess.Fit)
	require.Empty(t, i.Model.Classes)
	require.EqualValues(t, 1, i.Train.Warmup)
	require.Equal(t, 2, i.Train.KeepLast)
	require.DirExists(t, filepath.Join(run, "checkpoints", "000001"))
	require.DirExists(t, filepath.Join(run, "checkpoints", "000002"))
	grids, err := filepath.Glob(filepath.Join(run, "samples", "*.png"))
	require.NoError(t, err)
	require.NotEmpty(t, grids)
}

// The best checkpoint by held-out loss can be asked for by that name.
func TestSampleTheBestCheckpoint(t *testing.T) {
	run := trainedRun(t)
	out := filepath.Join(t.TempDir(), "out")
	refused(t, 2, "newest or best", "sample", "--run", run, "--out", out, "--checkpoint", "worst")
	refused(t, 2, "newest or best", "sample", "--run", run, "--out", out, "--checkpoint", "-1")
	dir := filepath.Join(run, train.CheckpointDir)
	c, err := checkpoint.Load(dir, 3)
	require.NoError(t, err)
	worse := 1e9
	c.Held = &worse
	d, err := durable.Below(dir)
	require.NoError(t, err)
	defer d.Root.Close()
	require.NoError(t, checkpoint.Save(d, 9, *c))
	for name, step := range map[string]int64{"best": 3, "newest": 9, "3": 3} {
		code, stdout, stderr := cli("sample", "--run", run, "--n", "1", "--steps", "1", "--out", filepath.Join(out, name), "--checkpoint", name, "--json")
		require.Zero(t, code, stderr)
		var res struct{ Checkpoint int64 }
		require.NoError(t, json.Unmarshal([]byte(stdout), &res))
		require.Equal(t, step, res.Checkpoint, name)
	}
	code, _, stderr := cli("export", "--run", run, "--format", "onnx", "--out", filepath.Join(out, "m.onnx"), "--checkpoint", "best")
	require.Zero(t, code, stderr)
}

// The number of steps that fit into a time is settled at the start and kept: a run that is stopped on its way goes on to
// the same end.
func TestTrainForATime(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a real network")
	}
	dir := t.TempDir()
	data, run := pictures(t, filepath.Join(dir, "pictures"), 12), filepath.Join(dir, "run")
	refused(t, 2, "--steps and --for: give one of them", "train", "--data", data, "--run", run, "--for", "1h", "--steps", "3")
	refused(t, 2, "--for -1h0m0s: choose between", "train", "--data", data, "--run", run, "--for", "-1h")
	code, stdout, stderr := cli("train", "--data", data, "--run", run, "--preset", "tiny", "--size", "8", "--batch", "2", "--for", "3s", "--json")
	require.Zero(t, code, stderr)
	var res trainResult
	require.NoError(t, json.Unmarshal([]byte(stdout), &res))
	require.True(t, res.Done)
	require.Positive(t, res.Steps)
	require.Contains(t, stderr, fmt.Sprintf("is %d steps", res.Steps))
	r, err := runs.Open(run)
	require.NoError(t, err)
	require.Equal(t, res.Steps, r.Info().Train.Steps)
	code, stdout, stderr = cli("train", "--run", run, "--resume", "--for", "1s", "--json")
	require.Zero(t, code, stderr)
	var more trainResult
	require.NoError(t, json.Unmarshal([]byte(stdout), &more))
	require.True(t, more.Done)
	require.Greater(t, more.Step, res.Step)
}

func TestScan(t *testing.T) {
	dir := pictures(t, t.TempDir(), 5)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cat", "bad.jpg"), []byte("x"), 0o644))
	before := snapshot(t, dir)
	code, stdout, stderr := cli("scan", dir)
	require.Zero(t, code, stderr)
	for _, want := range []string{"5 usable pictures", "cat", "dog", "8 × 8", "cat/bad.jpg: ", "--size 8 --channels 3"} {
		require.Contains(t, stdout, want)
	}
	code, stdout, _ = cli("scan", dir, "--json")
	require.Zero(t, code)
	var rep struct {
		Items []struct{ Name string }
		Bad   []struct{ Name, Reason string }
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &rep))
	require.Len(t, rep.Items, 5)
	require.Len(t, rep.Bad, 1)
	require.Equal(t, before, snapshot(t, dir))
	refused(t, 2, "scan takes one folder", "scan")
	refused(t, 1, "none does not exist: give a folder of pictures, a .zip or an IDX file\n", "scan", filepath.Join(dir, "none"))
}

func TestHelpAndVersion(t *testing.T) {
	code, stdout, _ := cli("version", "--json")
	require.Zero(t, code)
	var v versionInfo
	require.NoError(t, json.Unmarshal([]byte(stdout), &v))
	require.Equal(t, "1.27.0", v.Runtime)
	for _, cmd := range []string{"scan", "train", "sample", "export", "eval", "bench", "demo", "version", "runtime install", "datasets", "runs", "galleries", "queue"} {
		code, stdout, stderr := cli(append(strings.Fields(cmd), "--help")...)
		require.Zero(t, code, cmd)
		require.Empty(t, stderr)
		require.Contains(t, stdout, "Examples:\n", cmd)
	}
	refused(t, 2, `there is no subcommand "tarin"; did you mean "train"?`, "tarin")
	refused(t, 2, `one word too many`, "version", "please")
	refused(t, 2, `"x" for "--seed" flag: it takes a whole number of at least 0;`, "sample", "--seed", "x")
	refused(t, 2, `"1.5" for "--n" flag: it takes a whole number;`, "sample", "--n", "1.5")
	refused(t, 2, `"99999999999999999999" for "--n" flag: it takes a number nearer to zero;`, "sample", "--n", "99999999999999999999")
	refused(t, 2, `"fast" for "--lr" flag: it takes a number;`, "train", "--lr", "fast")
}

// What the command line trains in a workspace's folder of runs is a run of the workspace.
func TestWorkspaceLists(t *testing.T) {
	ws := t.TempDir()
	for _, list := range []string{"runs", "galleries", "datasets", "queue"} {
		code, stdout, stderr := cli(list, "--workspace", ws)
		require.Zero(t, code, stderr)
		require.Len(t, strings.Split(strings.TrimSpace(stdout), "\n"), 1, "only the header")
		code, stdout, stderr = cli(list, "--workspace", ws, "--json")
		require.Zero(t, code, stderr)
		require.Equal(t, "[]", strings.TrimSpace(stdout))
	}
	require.NoError(t, os.CopyFS(filepath.Join(ws, "runs", "0001-cats"), os.DirFS(trainedRun(t))))
	code, stdout, stderr := cli("runs", "--workspace", ws, "--json")
	require.Zero(t, code, stderr)
	var list []struct {
		ID, State   string
		Step, Steps int64
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &list))
	require.Len(t, list, 1)
	require.Equal(t, "0001-cats", list[0].ID)
	require.Equal(t, "done", list[0].State)
	require.EqualValues(t, 3, list[0].Step)
	code, stdout, stderr = cli("runs", "--workspace", ws)
	require.Zero(t, code)
	require.Contains(t, stdout, "3/3")
	require.Empty(t, stderr)

	// One that cannot be read is not left out in silence.
	require.NoError(t, os.CopyFS(filepath.Join(ws, "runs", "0002-broken"), os.DirFS(trainedRun(t))))
	broken := filepath.Join(ws, "runs", "0002-broken", "run.json")
	require.NoError(t, os.WriteFile(broken, []byte("\x00"), 0o600))
	for range 2 {
		code, stdout, stderr = cli("runs", "--workspace", ws, "--json")
		require.Zero(t, code, stderr)
		require.NoError(t, json.Unmarshal([]byte(stdout), &list))
		require.Len(t, list, 1)
		require.Contains(t, stderr, "Left out: the file "+broken+" is damaged")
		require.Equal(t, 1, strings.Count(stderr, "\n"))
	}
}

// A model goes out for diffusers and comes back into a workspace; what cannot be used leaves nothing there.
func TestImport(t *testing.T) {
	dir, ws := t.TempDir(), t.TempDir()
	out := filepath.Join(dir, "model")
	code, _, stderr := cli("export", "--run", trainedRun(t), "--format", "diffusers", "--out", out)
	require.Zero(t, code, stderr)
	code, stdout, stderr := cli("import", out, "--workspace", ws, "--name", "Pets")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "model:")
	require.Contains(t, stdout, "8 × 8 × 3")
	models, err := os.ReadDir(filepath.Join(ws, "models"))
	require.NoError(t, err)
	require.Len(t, models, 1)
	require.NoError(t, os.WriteFile(filepath.Join(out, "scheduler", "scheduler_config.json"), []byte(`{"_class_name": "ScoreSdeVeScheduler"}`), 0o600))
	refused(t, 1, "ScoreSdeVeScheduler", "import", out, "--workspace", ws)
	models, err = os.ReadDir(filepath.Join(ws, "models"))
	require.NoError(t, err)
	require.Len(t, models, 1)
}

func TestNoDisplay(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems always have one")
	}
	t.Setenv("DISPLAY", "")
	t.Setenv("WAYLAND_DISPLAY", "")
	refused(t, 1, "there is no display to open the window on")
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 12 * time.Second: "12 s", 60 * time.Second: "1 min", 95 * time.Second: "1 min 35 s",
		3 * time.Hour: "3 h", 26*time.Hour + 40*time.Minute: "1 d 2 h",
	} {
		require.Equal(t, want, duration(d))
	}
}

func TestQuote(t *testing.T) {
	require.Equal(t, "/a/b-c.d", quote("/a/b-c.d"))
	require.Equal(t, `'/my runs/it'\''s'`, quote("/my runs/it's"))
}

func TestOneLine(t *testing.T) {
	require.Equal(t, "a; b", oneLine(fmt.Errorf("%w: a\nb", errUsage)))
	require.NotEmpty(t, oneLine(context.Canceled))
	require.True(t, slices.Contains(devices, "cpu"))
}

// TestSettingsThatCannotBeUsed holds that a subcommand does not take another workspace for the one that the settings may
// name, and that it says so where it is told which one to use.
func TestSettingsThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "settings.json")
	t.Setenv("UNNOISE_CONFIG", config)
	t.Setenv("UNNOISE_WORKSPACE", "")
	t.Setenv("HOME", dir)
	for content, want := range map[string]string{
		`{"version":1,"worksp`:               "are damaged and not in use",
		`{"version":9,"workspace":"/other"}`: "were saved by a newer Unnoise",
	} {
		require.NoError(t, os.WriteFile(config, []byte(content), 0o600))
		for _, args := range [][]string{{"runs"}, {"datasets", "--json"}, {"queue", "remove", "x"}, {"check"}} {
			refused(t, exitFailed, want, args...)
			refused(t, exitFailed, "name the workspace with --workspace", args...)
		}
		code, _, stderr := cli("runs", "--workspace", filepath.Join(dir, "ws"))
		require.Equal(t, exitDone, code)
		require.Contains(t, stderr, want)
		b, err := os.ReadFile(config)
		require.NoError(t, err)
		require.Equal(t, content, string(b), "looking changes nothing")
	}
}
