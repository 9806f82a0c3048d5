//go:build !windows

package ortlib

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// killGroup makes cancelling cmd end its children too: npm works in child processes.
func killGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}
