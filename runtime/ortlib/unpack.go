package ortlib

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"unnoise/runtime/sentence"
)

// The bounds of an archive that is believed: the real one has some 60 members and 370 MB.
const (
	maxMembers  = 2000
	maxUnpacked = 1 << 30
)

func unpackFile(ctx context.Context, tarball string, p platform, dir string, progress Progress) error {
	f, err := os.Open(tarball)
	if err != nil {
		return sentence.Errorf("open the archive: %w", err)
	}
	defer f.Close()
	if err := unpack(ctx, f, p, dir, progress); err != nil {
		return sentence.Errorf("unpack %s: %w", filepath.Base(tarball), err)
	}
	return nil
}

// unpack writes p's files, and nothing else, from a gzipped tar archive into dir. Members are taken by their exact
// name and written under the pinned one, so no name in the archive reaches the file system; each file must have the
// pinned length and sum. The archive may be hostile.
func unpack(ctx context.Context, archive io.Reader, p platform, dir string, progress Progress) error {
	wanted := make(map[string]pin, len(p.files))
	var total, done int64
	for _, f := range p.files {
		wanted["package/bin/napi-v6/"+p.npmDir+"/"+f.name] = f
		total += f.size
	}
	gz, err := gzip.NewReader(readerWithContext{ctx, archive})
	if err != nil {
		return err
	}
	limited := &io.LimitedReader{R: gz, N: maxUnpacked}
	tr := tar.NewReader(limited)
	for members := 0; len(wanted) > 0; members++ {
		h, err := tr.Next()
		switch {
		case limited.N <= 0 || members >= maxMembers:
			return sentence.Errorf("the archive is far larger than the package is")
		case errors.Is(err, io.EOF):
			for name := range wanted {
				return sentence.Errorf("the archive lacks %s", name)
			}
		case err != nil:
			return err
		}
		want, ok := wanted[h.Name]
		if !ok {
			continue
		}
		if h.Typeflag != tar.TypeReg || h.Size != want.size {
			return sentence.Errorf("%s in the archive is not the file of ONNX Runtime %s", h.Name, Version)
		}
		progress(done, total, "unpacking")
		if err := want.write(filepath.Join(dir, want.name), tr); err != nil {
			return err
		}
		done += want.size
		delete(wanted, h.Name)
	}
	progress(total, total, "unpacking")
	return nil
}

// write copies the pinned file from r to path, which must not exist, and makes sure it is the pinned one.
func (want pin) write(path string, r io.Reader) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, h), r, want.size); err != nil {
		return fmt.Errorf("%s: %w", want.name, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want.sha256 {
		return sentence.Errorf("%s in the archive is not the file of ONNX Runtime %s: SHA-256 %s… instead of %s…",
			want.name, Version, got[:12], want.sha256[:12])
	}
	return f.Sync()
}
