//go:build !windows

package durable

import "syscall"

var fullErrors = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG}

// Flags of open: do not wait for the other end of a pipe, and do not follow a link at the end of the path.
const (
	nonBlocking = syscall.O_NONBLOCK | syscall.O_NOCTTY
	noFollow    = syscall.O_NOFOLLOW
)
