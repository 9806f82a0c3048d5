package studio

import "os/exec"

// ordinary has nothing to do: there is no user 0 here.
func ordinary(*exec.Cmd) {}
