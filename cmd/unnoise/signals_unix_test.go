//go:build unix

package main

import (
	"bufio"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/checkpoint"
)

// TestStepsAreKept holds that the steps are saved in whatever way a training is ended from outside: by Ctrl-C, by a polite kill, when its terminal is closed,
// which may send the signal several times, and when nobody reads its output any more.
func TestStepsAreKept(t *testing.T) {
	if testing.Short() {
		t.Skip("trains several times")
	}
	// Where the tests themselves were started with nohup, what they start ignores the signal, too, but for this.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	dir := t.TempDir()
	data := pictures(t, filepath.Join(dir, "pictures"), 12)
	end := func(signals ...os.Signal) func(*exec.Cmd, *os.File) {
		return func(cmd *exec.Cmd, _ *os.File) {
			for _, s := range signals {
				require.NoError(t, cmd.Process.Signal(s))
			}
		}
	}
	for name, stop := range map[string]func(cmd *exec.Cmd, output *os.File){
		"SIGINT":          end(syscall.SIGINT),
		"SIGTERM":         end(syscall.SIGTERM),
		"closed terminal": end(syscall.SIGHUP, syscall.SIGHUP, syscall.SIGHUP),
		"closed pipe": func(_ *exec.Cmd, output *os.File) {
			require.NoError(t, output.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := filepath.Join(t.TempDir(), "run")
			cmd := exec.Command(os.Args[0], "train", "--data", data, "--run", run, "--preset", "tiny", "--size", "8", "--steps", "100000", "--batch", "4")
			cmd.Env = append(os.Environ(), cliEnv+"=1")
			output, w, err := os.Pipe()
			require.NoError(t, err)
			cmd.Stdout, cmd.Stderr = w, w
			require.NoError(t, cmd.Start())
			require.NoError(t, w.Close())
			lines := bufio.NewScanner(output)
			for lines.Scan() && !strings.Contains(lines.Text(), "a step,") { // told after two steps
			}
			require.NoError(t, lines.Err())
			stop(cmd, output)
			go func() {
				for lines.Scan() {
				}
			}()
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			select {
			case err := <-ended:
				require.NoError(t, err)
			case <-time.After(time.Minute): // the next line without a terminal comes after ten seconds
				_ = cmd.Process.Kill()
				t.Fatal("it does not end")
			}
			latest, err := checkpoint.Latest(filepath.Join(run, "checkpoints"))
			require.NoError(t, err)
			require.Greater(t, latest.Step, int64(1))
			status, err := os.ReadFile(filepath.Join(run, "status.json"))
			require.NoError(t, err)
			require.Contains(t, string(status), `"stopped"`)
		})
	}
}
