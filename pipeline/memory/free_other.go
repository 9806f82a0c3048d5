//go:build !linux && !darwin && !windows

package memory

import "errors"

func free() (int64, error) { return 0, errors.ErrUnsupported }
