package data

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// Magic numbers of the IDX format: two zero bytes, the type (8: unsigned byte), the number of dimensions.
// LeCun, Cortes and Burges, "The MNIST database of handwritten digits", section "File formats".
const (
	idxImages = 0x00000803
	idxLabels = 0x00000801
)

// Bounds for an IDX file. They are far above any dataset in the format, and keep a hostile .gz from filling the memory: one is
// unpacked into it.
const (
	maxIDXBytes    = 4 << 30
	maxIDXSide     = 4096
	maxIDXUnpacked = 1 << 30
	deflateRatio   = 1032 // what deflate makes of a byte at most: 258 bytes of two bits (RFC 1951, section 3.2.5)
)

// idxFile gives the pictures of an IDX file by number.
type idxFile struct {
	n, w, h int
	path    string
	labels  []byte // one a picture, or nil
	file    *os.File

	mu     sync.Mutex
	pixels io.ReaderAt // behind the header; nil until load has unpacked them
}

// openIDX opens an images file (.gz too) and the labels beside it, if there are any.
func openIDX(path string) (*idxFile, error) {
	x, err := openIDXImages(path)
	if err != nil {
		return nil, err
	}
	labels, err := labelsBeside(path)
	if err != nil {
		return nil, errors.Join(sentence.Errorf("look for the labels: %w", err), x.Close())
	}
	if labels == "" {
		return x, nil
	}
	if x.labels, err = readIDXLabels(labels, x.n); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

func openIDXImages(path string) (x *idxFile, err error) {
	f, err := durable.Open(path)
	if err != nil {
		return nil, sentence.Errorf("open the IDX file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return nil, sentence.Errorf("open the IDX file: %w", err)
	}
	const header = 16
	var head [header]byte
	zipped, err := isGzip(f)
	if err != nil {
		return nil, sentence.Errorf("read %s: %w", path, err)
	}
	if !zipped {
		if _, err := f.ReadAt(head[:], 0); err != nil {
			return nil, sentence.Errorf("%s is not an IDX file of images: its header is cut off", path)
		}
		if x, err = parseIDXHeader(path, head[:]); err != nil {
			return nil, err
		}
		if want := header + x.size(); st.Size() < want {
			return nil, sentence.Errorf("%s is cut off: its header promises %d bytes and it has %d", path, want, st.Size())
		}
		x.path, x.file, x.pixels = path, f, io.NewSectionReader(f, header, st.Size()-header)
		return x, nil
	}
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return nil, sentence.Errorf("%s is not a gzip file: %w", path, err)
	}
	if _, err := io.ReadFull(z, head[:]); err != nil {
		return nil, sentence.Errorf("%s is not an IDX file of images: its header is cut off", path)
	}
	if x, err = parseIDXHeader(path, head[:]); err != nil {
		return nil, err
	}
	switch want := x.size(); {
	case want > maxIDXUnpacked:
		return nil, sentence.T("{{.Path}} unpacks to {{.MiB}} MiB, more than is read at once: unpack it first (gunzip)", "Path", path, "MiB", want>>20)
	case want > st.Size()*deflateRatio:
		return nil, x.short(path, 0)
	case want > st.Size()*zipRatio+zipFree:
		return nil, sentence.T("{{.Path}} claims to expand from {{.From}} to {{.To}} MiB: it is refused as a zip bomb", "Path", path, "From", st.Size()>>20, "To", want>>20)
	}
	x.path, x.file = path, f
	return x, nil
}

func (x *idxFile) size() int64 { return int64(x.n) * int64(x.w*x.h) }

func (x *idxFile) short(path string, got int64) error {
	return sentence.Errorf("%s is cut off or damaged: its header promises %d pictures and it has %d", path, x.n, got/int64(x.w*x.h))
}

// load unpacks the pictures of a .gz once.
func (x *idxFile) load(ctx context.Context) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.pixels != nil {
		return nil
	}
	z, err := gzip.NewReader(bufio.NewReader(&stoppable{ctx, io.NewSectionReader(x.file, 0, math.MaxInt64)}))
	if err != nil {
		return sentence.Errorf("%s is not a gzip file: %w", x.path, err)
	}
	buf := make([]byte, 16+x.size())
	if got, err := io.ReadFull(z, buf); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return x.short(x.path, max(int64(got)-16, 0))
	}
	x.pixels = bytes.NewReader(buf[16:])
	return nil
}

func parseIDXHeader(path string, b []byte) (*idxFile, error) {
	be := binary.BigEndian
	if magic := be.Uint32(b); magic != idxImages {
		return nil, sentence.Errorf("%s is not an IDX file of images: its magic number is %#08x instead of %#08x", path, magic, idxImages)
	}
	n, h, w := int64(be.Uint32(b[4:])), int64(be.Uint32(b[8:])), int64(be.Uint32(b[12:]))
	if n == 0 || h == 0 || w == 0 || h > maxIDXSide || w > maxIDXSide || n > maxIDXBytes/(w*h) {
		return nil, sentence.Errorf("%s claims %d pictures of %d × %d: that is out of bounds", path, n, w, h)
	}
	if n > maxFiles {
		return nil, sentence.T("{{.Path}} has {{.N}} entries, more than the limit of {{.Most}}", "Path", path, "N", n, "Most", maxFiles)
	}
	return &idxFile{n: int(n), w: int(w), h: int(h)}, nil
}

func readIDXLabels(path string, n int) (_ []byte, err error) {
	f, err := durable.Open(path)
	if err != nil {
		return nil, sentence.Errorf("open the labels: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	zipped, err := isGzip(f)
	if err != nil {
		return nil, sentence.Errorf("read %s: %w", path, err)
	}
	var r io.Reader = bufio.NewReader(f)
	if zipped {
		if r, err = gzip.NewReader(r); err != nil {
			return nil, sentence.Errorf("%s is not a gzip file: %w", path, err)
		}
	}
	b, err := io.ReadAll(io.LimitReader(r, 8+int64(n)))
	if err != nil {
		return nil, sentence.Errorf("%s is cut off or damaged: %w", path, err)
	}
	if len(b) < 8 || binary.BigEndian.Uint32(b) != idxLabels {
		return nil, sentence.Errorf("%s is not an IDX file of labels", path)
	}
	if count := binary.BigEndian.Uint32(b[4:]); int64(count) != int64(n) {
		return nil, sentence.Errorf("%s has %d labels for %d pictures: the two files do not belong together", path, count, n)
	}
	if len(b) != 8+n {
		return nil, sentence.Errorf("%s is cut off: its header promises %d bytes and it has %d", path, 8+n, len(b))
	}
	return b[8:], nil
}

// image reads picture i.
func (x *idxFile) image(ctx context.Context, i int) (*image.Gray, error) {
	if err := x.load(ctx); err != nil {
		return nil, err
	}
	if i < 0 || i >= x.n {
		return nil, refuse("the file has %d pictures, not %d", x.n, i+1)
	}
	img := image.NewGray(image.Rect(0, 0, x.w, x.h))
	if _, err := x.pixels.ReadAt(img.Pix, int64(i)*int64(len(img.Pix))); err != nil {
		return nil, err
	}
	return img, nil
}

// Close closes the file.
func (x *idxFile) Close() error { return x.file.Close() }

// isGzip looks for gzip's magic number (RFC 1952, section 2.3.1) at the file's start, and leaves the position there.
func isGzip(f *os.File) (bool, error) {
	var b [2]byte
	if _, err := f.ReadAt(b[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return b == [2]byte{0x1f, 0x8b}, nil
}

// isIDXName tells an images file by its customary name, in any case: train-images-idx3-ubyte, t10k-images.idx3-ubyte.gz.
func isIDXName(name string) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".gz")
	return strings.HasSuffix(name, "images-idx3-ubyte") || strings.HasSuffix(name, "images.idx3-ubyte")
}

// idxIn finds the images file of a folder: the training set first, else the first by name, else "".
func idxIn(dir string) (string, error) {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return "", err
	}
	var found []string
	for _, e := range entries {
		if !e.IsDir() && isIDXName(e.Name()) {
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	if len(found) == 0 {
		return "", nil
	}
	if i := slices.IndexFunc(found, func(p string) bool { return strings.HasPrefix(strings.ToLower(filepath.Base(p)), "train") }); i > 0 {
		return found[i], nil
	}
	return found[0], nil
}

// labelsBeside finds the labels that belong to an images file, zipped or not and in any case, or "". A dot and a dash before
// "idx" mean the same: some programs that unpack change one into the other.
func labelsBeside(images string) (string, error) {
	plain := func(name string) string {
		return strings.ReplaceAll(strings.TrimSuffix(strings.ToLower(name), ".gz"), ".idx", "-idx")
	}
	dir, base := filepath.Split(images)
	want := strings.Replace(plain(base), "images-idx3", "labels-idx1", 1)
	entries, err := os.ReadDir(filepath.Clean(dir + "."))
	if err != nil {
		return "", err
	}
	found := ""
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if plain(e.Name()) != want || want == plain(base) {
			continue
		}
		st, err := os.Stat(path)
		switch {
		case err != nil:
			return "", err
		case st.Mode().IsRegular() && (found == "" || !strings.EqualFold(filepath.Ext(path), ".gz")): // rather what is unpacked already
			found = path
		}
	}
	return found, nil
}
