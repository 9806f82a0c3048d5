//go:build unix

package studio

import (
	"os/exec"
	"syscall"
)

// ordinary makes a command run as nobody.
func ordinary(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}
