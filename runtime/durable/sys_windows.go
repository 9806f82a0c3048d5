package durable

import "golang.org/x/sys/windows"

var fullErrors = []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED}

// Windows has no pipes in folders, and makes links for administrators only.
const nonBlocking, noFollow = 0, 0
