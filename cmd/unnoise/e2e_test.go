package main

import (
	"encoding/json"
	"image"
	"image/gif"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"unnoise/pipeline/picture"
	"unnoise/resources/demo"
)

// mixed writes pictures of several formats and sizes, and among them files that only look like pictures.
func mixed(t *testing.T, dir string, n int) (bad int) {
	t.Helper()
	require.NoError(t, demo.Write(t.Context(), dir, n, 3))
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.png"))
	require.NoError(t, err)
	for i, path := range files {
		if i%8 < 4 {
			continue // stays a PNG
		}
		img, err := picture.Read(path)
		require.NoError(t, err)
		if i%3 == 0 {
			img, err = picture.Scale(img, 3)
			require.NoError(t, err)
		}
		stem := strings.TrimSuffix(path, ".png")
		write := func(ext string, enc func(*os.File, image.Image) error) {
			f, err := os.Create(stem + ext)
			require.NoError(t, err)
			require.NoError(t, enc(f, img))
			require.NoError(t, f.Close())
			require.NoError(t, os.Remove(path))
		}
		switch i % 8 {
		case 4:
			write(".jpg", func(f *os.File, m image.Image) error { return jpeg.Encode(f, m, &jpeg.Options{Quality: 95}) })
		case 5:
			write(".gif", func(f *os.File, m image.Image) error { return gif.Encode(f, m, nil) })
		case 6:
			write(".bmp", func(f *os.File, m image.Image) error { return bmp.Encode(f, m) })
		case 7: // every other one of these is cut off, or holds something else
			write(".tiff", func(f *os.File, m image.Image) error { return tiff.Encode(f, m, nil) })
			if i%16 == 7 {
				require.NoError(t, os.Truncate(stem+".tiff", 50))
				bad++
			} else {
				require.NoError(t, os.WriteFile(stem+".webp", []byte("this is no picture"), 0o644))
				bad++
			}
		}
	}
	return bad
}

// The whole main job with the program as a person has it: scan, train on real mixed files, be killed without warning,
// resume, be stopped politely, resume, sample, export, evaluate.
func TestEndToEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and trains with it")
	}
	dir := t.TempDir()
	exe := filepath.Join(dir, "unnoise")
	build := exec.Command("go", "build", "-buildvcs=false", "-tags", "no_metadata", "-o", exe, ".")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))

	for _, lang := range []string{"C.UTF-8", "en_US.UTF-8", "C", ""} { // no library adds words of its own
		cmd := exec.Command(exe, "scan", filepath.Join(dir, "nowhere"))
		cmd.Env = append(os.Environ(), "LC_ALL="+lang)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		require.Error(t, cmd.Run())
		require.Equal(t, 1, cmd.ProcessState.ExitCode())
		require.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
	}

	data, run := filepath.Join(dir, "my pictures"), filepath.Join(dir, "runs", "it's a run")
	bad := mixed(t, data, 160)
	ok := func(args ...string) string {
		cmd := exec.Command(exe, args...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		require.NoError(t, err, "%v\n%s", args, stderr.String())
		return string(out)
	}
	var rep struct {
		Items []struct{ Format string }
		Bad   []struct{ Name, Reason string }
	}
	require.NoError(t, json.Unmarshal([]byte(ok("scan", data, "--json")), &rep))
	require.Len(t, rep.Bad, bad)
	require.Positive(t, bad)
	formats := map[string]bool{}
	for _, i := range rep.Items {
		formats[i.Format] = true
	}
	require.Len(t, formats, 5)

	// Killed three times at no particular moment, in the worst way there is.
	first := []string{"train", "--data", data, "--run", run, "--preset", "tiny", "--size", "16", "--steps", "40", "--batch", "8", "--seed", "11"}
	resume := []string{"train", "--run", run, "--resume"}
	for i, args := range [][]string{first, resume, resume} {
		cmd := exec.Command(exe, args...)
		require.NoError(t, cmd.Start())
		wait := time.Now().Add(time.Minute)
		for n := 0; n < 1 && time.Now().Before(wait); { // until training has begun
			time.Sleep(20 * time.Millisecond)
			if b, err := os.ReadFile(filepath.Join(run, "status.json")); err == nil && strings.Contains(string(b), "running") {
				n++
			}
		}
		time.Sleep(time.Duration(rand.IntN(600*(i+1))) * time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
	}
	// Stopped politely: it saves and says that this is fine.
	cmd := exec.Command(exe, resume...)
	stdout, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	buf := make([]byte, 1<<16)
	for seen := ""; !strings.Contains(seen, "held out") && !strings.Contains(seen, "Training on"); {
		n, err := stdout.Read(buf)
		if err != nil {
			break
		}
		seen += string(buf[:n])
	}
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	go func() {
		for {
			if _, err := stdout.Read(buf); err != nil {
				return
			}
		}
	}()
	require.NoError(t, cmd.Wait(), "Ctrl-C ends with exit code 0")

	require.Contains(t, ok(resume...), "Done: 40 steps")
	// The same run without any of this has the same weights.
	calm := filepath.Join(dir, "calm")
	ok("train", "--data", data, "--run", calm, "--preset", "tiny", "--size", "16", "--steps", "40", "--batch", "8", "--seed", "11")
	for _, name := range []string{"weights", "ema-ema", "optimizer"} {
		a, err := os.ReadFile(filepath.Join(run, "checkpoints", "000040", name+".safetensors"))
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(calm, "checkpoints", "000040", name+".safetensors"))
		require.NoError(t, err)
		require.True(t, string(a) == string(b), "%s of the killed run differ from those of the calm one", name)
	}

	gallery, grid := filepath.Join(dir, "gallery"), filepath.Join(dir, "grid.png")
	ok("sample", "--run", run, "--n", "6", "--steps", "5", "--out", gallery, "--grid", grid)
	files, err := filepath.Glob(filepath.Join(gallery, "*.png"))
	require.NoError(t, err)
	require.Len(t, files, 6)
	img, err := picture.Read(files[0])
	require.NoError(t, err)
	require.Equal(t, image.Pt(16, 16), img.Bounds().Size())
	require.FileExists(t, grid)
	for format, name := range map[string]string{"diffusers": "model", "onnx": "net.onnx", "gif": "lapse.gif"} {
		ok("export", "--run", run, "--format", format, "--out", filepath.Join(dir, name))
	}
	require.FileExists(t, filepath.Join(dir, "model", "unet", "config.json"))
	require.Regexp(t, `held-out pictures \(\d+ that it was trained on are left out\): loss`, ok("eval", "--run", run, "--data", data))
}
