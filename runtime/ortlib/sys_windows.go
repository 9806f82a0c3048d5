package ortlib

import (
	"os/exec"
	"strconv"
)

// killGroup makes cancelling cmd end its children too: npm works in child processes.
func killGroup(cmd *exec.Cmd) {
	cmd.Cancel = func() error {
		return exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(cmd.Process.Pid)).Run() //nolint:gosec // our own child
	}
}
