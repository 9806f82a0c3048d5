package data

import (
	"context"
	"errors"
	"hash/crc32"
	"path/filepath"
)

// VerifyCache reads all decoded pictures in dir and compares each with its checksum, where OpenCache contents itself with a
// sample of very many. It returns where they were decoded from, when that is known, and their bytes. The error is told
// apart by [CacheDamaged] and [ErrNewer].
func VerifyCache(ctx context.Context, dir string) (source string, bytes int64, err error) {
	c, err := OpenCache(dir)
	if err != nil {
		if m, merr := readManifest(filepath.Join(dir, cacheJSON)); merr == nil {
			source = string(m.Source)
		}
		return source, 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	pixels := make([]byte, c.Dim())
	for i := range c.Len() {
		if err := errors.Join(ctx.Err(), c.Bytes(i, pixels)); err != nil {
			return string(c.m.Source), 0, err
		}
		if crc32.Checksum(pixels, castagnoli) != c.m.Images[i].CRC {
			return string(c.m.Source), 0, stale("%s is damaged at image %s", filepath.Join(dir, cacheBin), c.Name(i))
		}
	}
	return string(c.m.Source), binHeader + int64(c.Len())*int64(c.Dim()), nil
}

// CacheDamaged reports whether an error of OpenCache or VerifyCache says that the decoded pictures are missing or damaged,
// so that they have to be decoded again; otherwise they could not be read now.
func CacheDamaged(err error) bool { return errors.Is(err, errStale) }
