package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	every    = flag.Bool("every", false, "let every system call fail in turn, instead of a sample of them")
	moments  = flag.Uint64("fault-seed", 1, "of the sample of system calls")
	faultsOf = flag.String("faults-of", "", "names of the kinds of work, with commas (default: all)")
)

// fault is what happens to a system call; its number is that of the call within each thread.
type fault struct{ calls, what string }

// faults are those of full and failing disks, of a process with too many files open, and of a power cut at that very call.
var faults = []fault{
	{"openat", "error=EMFILE"},
	{"openat", "error=EIO"},
	{"openat", "error=ENOSPC"},
	{"openat", "signal=SIGKILL"},
	{"write,pwrite64", "error=ENOSPC"},
	{"write,pwrite64", "error=EIO"},
	{"write,pwrite64", "signal=SIGKILL"},
	{"fsync,fdatasync", "error=EIO"},
	{"fsync,fdatasync", "error=ENOSPC"},
	{"fsync,fdatasync", "signal=SIGKILL"},
	{"renameat,renameat2,linkat", "error=EIO"},
	{"renameat,renameat2,linkat", "error=ENOSPC"},
	{"renameat,renameat2,linkat", "signal=SIGKILL"},
	{"mkdirat", "error=ENOSPC"},
	{"mkdirat", "error=EIO"},
	{"mkdirat", "signal=SIGKILL"},
	{"unlinkat", "error=EIO"},
	{"unlinkat", "signal=SIGKILL"},
	{"read,pread64", "error=EIO"},
	{"getdents64", "error=EIO"},
	{"newfstatat,fstat", "error=EIO"},
	{"ftruncate", "error=EIO"},
	{"flock", "error=ENOLCK"},
}

// TestEveryCallFails lets system calls fail or be the last of a process, in all that the program does, and requires that
// nothing is lost by it, that the program says what is wrong instead of crashing or hanging, and that the same command
// succeeds once the fault is over, with the same result as if there had been none. Without -every it takes a few of them;
// make faults takes all.
func TestEveryCallFails(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the program many times")
	}
	if runtime.GOOS != "linux" {
		t.Skip("needs strace, which is for Linux")
	}
	if out, err := exec.Command("strace", "-f", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("system calls cannot be traced here: %v: %s", err, out)
	}
	ctx, dir := t.Context(), t.TempDir()
	program, self := filepath.Join(dir, "unnoise"), filepath.Join(dir, "soak")
	for path, pkg := range map[string]string{program: "../../cmd/unnoise", self: "."} {
		out, err := exec.Command("go", "build", "-buildvcs=false", "-tags", "no_metadata", "-o", path, pkg).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	s, err := prepare(ctx, dir, program)
	require.NoError(t, err)
	s.self = self
	for _, task := range s.tasks() {
		switch {
		case *faultsOf != "" && !strings.Contains(","+*faultsOf+",", ","+task.name+","):
			continue
		case task.name == "index" || task.name == "rebuild" || task.name == "queue" || task.name == "begin":
			if *faultsOf == "" && !*every {
				continue // the others do these things, too
			}
		}
		t.Run(task.name, func(t *testing.T) {
			require.NoError(t, task.once(ctx, 0)) // what it is undisturbed
			if *every {
				for _, f := range faults {
					misses := 0
					for n := 1; misses < 3; n++ {
						if !strike(t, task, f, n) {
							misses++
						}
					}
				}
				return
			}
			r := rand.New(rand.NewPCG(*moments, uint64(len(task.name))))
			for range 2 {
				strike(t, task, faults[r.IntN(len(faults))], 1+r.IntN(20))
			}
		})
	}
}

// strike lets the n-th of some system calls fail while a command runs, looks at what is there, and lets the command end
// undisturbed. It reports whether there was such a call.
func strike(t *testing.T, task *task, f fault, n int) (hit bool) {
	t.Helper()
	what := fmt.Sprintf("%s: %s:%s:when=%d", task.name, f.calls, f.what, n)
	cmd, err := task.command()
	require.NoError(t, err, what)
	log := filepath.Join(t.TempDir(), "strace")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	traced := exec.CommandContext(ctx, "strace", append([]string{
		"-f", "-qq", "-o", log, "-e", "trace=" + f.calls, "-e", fmt.Sprintf("inject=%s:%s:when=%d", f.calls, f.what, n), cmd.Path,
	}, cmd.Args[1:]...)...)
	traced.Env = cmd.Env
	var output bytes.Buffer
	traced.Stdout, traced.Stderr = &output, &output
	err = traced.Run()
	require.NoError(t, ctx.Err(), "%s: it hangs", what)
	_, ended := errors.AsType[*exec.ExitError](err)
	require.True(t, err == nil || ended, "%s: %v", what, err)
	if strings.Contains(output.String(), "_Cfunc_CreateOrtEnv") {
		output.Reset() // ONNX Runtime's own start dies where it cannot open a file: nothing of ours has begun then
	}
	for _, crash := range []string{"panic:", "fatal error:", "goroutine 1 [", "SIGSEGV", "SIGBUS"} {
		require.NotContains(t, output.String(), crash, what)
	}
	b, rerr := os.ReadFile(log)
	require.NoError(t, rerr)
	hit = strings.Contains(string(b), "(INJECTED)") || strings.Contains(string(b), "killed by SIGKILL")
	if err != nil && output.Len() > 0 && !strings.Contains(f.what, "SIGKILL") {
		require.Contains(t, output.String(), ": ", "%s: it says what is wrong", what)
	}
	if err == nil {
		task.done++
	}
	require.NoError(t, task.look(t.Context(), err == nil), "%s\n%s", what, output.String())
	require.NoError(t, task.once(t.Context(), 0), "%s\nand then", what)
	return hit
}
