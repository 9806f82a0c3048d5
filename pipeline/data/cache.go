package data

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"github.com/edsrzf/mmap-go"
)

const (
	cacheFormat  = "unnoise-cache"
	cacheVersion = 1
	cacheJSON    = "cache.json"
	cacheBin     = "cache.bin"

	// cache.bin begins with a magic string and the fingerprint that cache.json has too, so the two cannot be mixed up.
	binMagic  = "unnoise-pixels/1"
	binHeader = 64

	maxCacheJSON = 1 << 30
	// checked bounds the bytes whose checksums are verified when a cache is opened; of a larger one an even sample is.
	checked = 1 << 30
)

// ErrNewer is returned for a cache that a newer version of the program has written.
var ErrNewer = errors.New("written by a newer version of Unnoise")

// errStale says that a cache does not hold what is asked for, or is damaged; BuildCache builds it anew.
var errStale = errors.New("no valid cache")

// manifest is cache.json.
type manifest struct {
	Format      string      `json:"format"`
	Version     int         `json:"version"`
	Fingerprint string      `json:"fingerprint"` // of the sources and the preprocessing, hex SHA-256
	Source      string      `json:"source"`      // for people; the cache is complete without it
	Preprocess  Preprocess  `json:"preprocess"`
	Classes     []string    `json:"classes,omitempty"`
	Images      []cacheItem `json:"images"`
	Skipped     []BadFile   `json:"skipped,omitempty"` // became unusable between the scan and the decoding
}

type cacheItem struct {
	Name  string `json:"name"`
	Class int    `json:"class"` // -1: none
	Slot  int    `json:"slot"`  // position in cache.bin
	CRC   uint32 `json:"crc"`   // CRC-32C of the pixels
	Group string `json:"group,omitempty"`
}

// Cache is a dataset decoded once: bytes in a memory-mapped file, of which the system keeps in memory what fits. It is safe for
// concurrent use until Close.
type Cache struct {
	m    manifest
	file *os.File
	mem  mmap.MMap
}

// CacheBytes is the disk space that the cache of a report takes, in bytes, rounded up.
func CacheBytes(rep *Report, pp Preprocess) int64 {
	total := int64(binHeader + 4096)
	for _, it := range rep.Items {
		total += int64(pp.Dim()) + int64(len(it.Name)) + 96
	}
	return total
}

// BuildCache decodes all pictures of a report into dir (cache.bin and cache.json), or opens what is there already when it
// is intact and neither the pictures nor the preprocessing (flip and augmentation aside, which happen later) have changed. src is
// where the pictures are now; "" for where they were scanned. A picture that became unusable since the scan is set aside
// ([Cache.Skipped]). Progress may be nil.
func BuildCache(ctx context.Context, src string, rep *Report, pp Preprocess, dir string, progress func(Progress)) (*Cache, error) {
	return BuildCacheExcluding(ctx, src, rep, pp, nil, dir, progress)
}

// BuildCacheExcluding is BuildCache without the pictures that are named in exclude.
func BuildCacheExcluding(
	ctx context.Context, src string, rep *Report, pp Preprocess, exclude []string, dir string, progress func(Progress),
) (_ *Cache, err error) {
	if err := pp.Validate(); err != nil {
		return nil, err
	}
	if pp.Fit == "" {
		pp.Fit = Crop
	}
	if pp.Background == "" {
		pp.Background = rep.Background
	}
	if pp.Background == "" {
		pp.Background = black
	}
	if src == "" {
		src = rep.Path
	}
	s, err := OpenSource(src)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	m, entries := newManifest(s, rep, pp, exclude)
	if len(m.Images) == 0 {
		return nil, fmt.Errorf("%w in %s: all of them are set aside", ErrNoImages, src)
	}
	c, err := OpenCache(dir)
	if err == nil {
		if c.m.Fingerprint == m.Fingerprint {
			return c, nil
		}
		err = errors.Join(errStale, c.Close())
	}
	if !errors.Is(err, errStale) {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the cache's folder: %w", err)
	}
	if err := m.decodeAll(ctx, s, entries, dir, progress); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			return nil, fmt.Errorf("the disk of %s is full: the decoded pictures need %d MiB: %w", dir, CacheBytes(rep, pp)>>20+1, err)
		}
		return nil, err
	}
	return OpenCache(dir)
}

// newManifest lists what the cache will hold, with the fingerprint of where it comes from.
func newManifest(s *Source, rep *Report, pp Preprocess, exclude []string) (manifest, []entry) {
	m := manifest{Format: cacheFormat, Version: cacheVersion, Source: s.path, Preprocess: pp}
	m.Preprocess.Flip, m.Preprocess.Augment = false, false // drawn by the loader: not part of the cache
	class := map[string]int{}
	for i, c := range rep.Classes {
		class[c.Name] = i
		m.Classes = append(m.Classes, c.Name)
	}
	group := map[string]string{}
	for _, g := range rep.Duplicates {
		for _, name := range g {
			group[name] = g[0]
		}
	}
	out := map[string]bool{}
	for _, name := range exclude {
		out[name] = true
	}
	h := sha256.New()
	put := func(format string, a ...any) { fmt.Fprintf(h, format+"\x00", a...) } // a hash.Hash never fails
	put("%s %d %d %d %d %s %s %q", cacheFormat, cacheVersion, pp.Width, pp.Height, pp.Channels, pp.Fit, pp.Background, m.Classes)
	var entries []entry
	for _, it := range rep.Items {
		if out[it.Name] {
			continue
		}
		k, ok := class[it.Class]
		if !ok {
			k = -1
		}
		e, err := s.stat(it.Name)
		if err != nil { // gone: decoding will say so
			e = entry{name: it.Name}
		}
		put("%q %d %d %d %q", it.Name, k, e.size, e.stamp, group[it.Name])
		m.Images = append(m.Images, cacheItem{Name: it.Name, Class: k, Slot: len(m.Images), Group: group[it.Name]})
		entries = append(entries, e)
	}
	m.Fingerprint = hex.EncodeToString(h.Sum(nil))
	return m, entries
}

// decodeAll writes cache.bin and then cache.json.
func (m *manifest) decodeAll(ctx context.Context, s *Source, entries []entry, dir string, progress func(Progress)) error {
	failed := make([]string, len(entries))
	p := newMeter(progress, "Decoding the pictures", len(entries))
	dim := m.Preprocess.Dim()
	size := int64(binHeader) + int64(dim)*int64(len(entries))
	buffers := sync.Pool{New: func() any { b := make([]byte, dim); return &b }}
	err := writeFile(filepath.Join(dir, cacheBin), size, func(f *os.File) error {
		if err := f.Truncate(size); err != nil {
			return err
		}
		if _, err := f.WriteAt(binHead(m.Fingerprint), 0); err != nil {
			return err
		}
		return forEach(ctx, len(entries), func(ctx context.Context, i int) error {
			defer p.step()
			pix := buffers.Get().(*[]byte)
			defer buffers.Put(pix)
			err := s.with(ctx, entries[i].name, func(img image.Image, _ info) error {
				m.Preprocess.planes(*pix, m.Preprocess.render(img))
				return nil
			})
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				failed[i] = why(err)
				return nil
			}
			m.Images[i].CRC = crc32.Checksum(*pix, castagnoli)
			_, err = f.WriteAt(*pix, binHeader+int64(i)*int64(dim))
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("decode the pictures: %w", err)
	}
	kept := m.Images[:0:0]
	for i, it := range m.Images {
		if failed[i] == "" {
			kept = append(kept, it)
		} else {
			m.Skipped = append(m.Skipped, BadFile{Name: it.Name, Reason: failed[i]})
		}
	}
	m.Images = kept
	if len(kept) == 0 {
		return fmt.Errorf("%w in %s: all %d were set aside, the first (%s) because %s",
			ErrNoImages, s.path, len(m.Skipped), m.Skipped[0].Name, m.Skipped[0].Reason)
	}
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write the cache: %w", err)
	}
	return writeFile(filepath.Join(dir, cacheJSON), int64(len(b)), func(f *os.File) error {
		_, err := f.Write(b)
		return err
	})
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func binHead(fingerprint string) []byte {
	sum := sha256.Sum256([]byte(fingerprint))
	head := make([]byte, binHeader)
	copy(head, binMagic)
	copy(head[len(binMagic):], sum[:])
	return head
}

// OpenCache opens the cache in dir, without looking at the pictures that it was made of. The error wraps [ErrNewer] for a cache of a
// newer version.
func OpenCache(dir string) (*Cache, error) {
	m, err := readManifest(filepath.Join(dir, cacheJSON))
	if err != nil {
		return nil, err
	}
	c := &Cache{m: m}
	if err := c.open(filepath.Join(dir, cacheBin)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func stale(format string, a ...any) error {
	return fmt.Errorf("%w: %s", errStale, fmt.Sprintf(format, a...))
}

func readManifest(path string) (m manifest, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, stale("%s does not exist: build it first", path)
	}
	if err != nil {
		return m, fmt.Errorf("open the cache: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := io.ReadAll(io.LimitReader(f, maxCacheJSON))
	if err != nil {
		return m, fmt.Errorf("read the cache: %w", err)
	}
	var v struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(b, &v); err != nil || v.Format != cacheFormat || v.Version < 1 {
		return m, stale("%s is damaged", path)
	}
	if v.Version > cacheVersion {
		return m, fmt.Errorf("%s is %w (format %d, this one reads %d): update Unnoise, or delete the file to have it built again",
			path, ErrNewer, v.Version, cacheVersion)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, stale("%s is damaged", path)
	}
	if m.Preprocess.Validate() != nil || len(m.Images) == 0 {
		return m, stale("%s is damaged", path)
	}
	for _, it := range m.Images {
		if it.Class < -1 || it.Class >= len(m.Classes) || it.Slot < 0 {
			return m, stale("%s is damaged", path)
		}
	}
	return m, nil
}

// open maps cache.bin and checks it against the manifest.
func (c *Cache) open(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return stale("%s does not exist", path)
	}
	if err != nil {
		return fmt.Errorf("open the cache: %w", err)
	}
	c.file = f
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open the cache: %w", err)
	}
	slots := (st.Size() - binHeader) / int64(c.Dim())
	if st.Size() < binHeader || st.Size() > math.MaxInt || (st.Size()-binHeader)%int64(c.Dim()) != 0 {
		return stale("%s is cut off", path)
	}
	for _, it := range c.m.Images {
		if int64(it.Slot) >= slots {
			return stale("%s is cut off", path)
		}
	}
	if c.mem, err = mmap.Map(f, mmap.RDONLY, 0); err != nil {
		return fmt.Errorf("map %s into memory: %w", path, err)
	}
	if !bytes.Equal(c.mem[:binHeader], binHead(c.m.Fingerprint)) {
		return stale("%s belongs to another %s", path, cacheJSON)
	}
	return c.verify(path)
}

// verify compares checksums: of all images, or of evenly spaced ones when that would mean reading gigabytes.
func (c *Cache) verify(path string) error {
	stride := 1 + int(int64(c.Len())*int64(c.Dim())/checked)
	workers := runtime.GOMAXPROCS(0)
	return forEach(context.Background(), workers, func(_ context.Context, w int) error {
		for i := w * stride; i < c.Len(); i += workers * stride {
			if crc32.Checksum(c.Bytes(i), castagnoli) != c.m.Images[i].CRC {
				return stale("%s is damaged at image %s", path, c.Name(i))
			}
		}
		return nil
	})
}

// Len is the number of images.
func (c *Cache) Len() int { return len(c.m.Images) }

// Dim is the number of values of one image: channels × height × width.
func (c *Cache) Dim() int { return c.m.Preprocess.Dim() }

// Shape gives channels, height and width.
func (c *Cache) Shape() (channels, h, w int) {
	return c.m.Preprocess.Channels, c.m.Preprocess.Height, c.m.Preprocess.Width
}

// Preprocess tells how the pictures were decoded, with all defaults filled in. Flip and Augment are not set: they are the loader's.
func (c *Cache) Preprocess() Preprocess { return c.m.Preprocess }

// Fingerprint names the content: two caches with the same one were made of the same files in the same way.
func (c *Cache) Fingerprint() string { return c.m.Fingerprint }

// Skipped lists the pictures that became unusable between the scan and the decoding.
func (c *Cache) Skipped() []BadFile { return slices.Clone(c.m.Skipped) }

// Classes gives the names of the classes, empty when there are none.
func (c *Cache) Classes() []string { return slices.Clone(c.m.Classes) }

// Class is the class index of image i, or -1.
func (c *Cache) Class(i int) int { return c.m.Images[i].Class }

// Name is the name that image i has in the report.
func (c *Cache) Name(i int) string { return c.m.Images[i].Name }

// Bytes gives image i as channels × height × width bytes: a view of the mapped file, read-only and valid until Close.
func (c *Cache) Bytes(i int) []byte {
	dim := c.Dim()
	at := binHeader + c.m.Images[i].Slot*dim
	return c.mem[at : at+dim : at+dim]
}

// Read writes image i to dst as channels × height × width values in [-1, 1].
func (c *Cache) Read(i int, dst []float32) {
	for k, b := range c.Bytes(i) {
		dst[k] = unit[b]
	}
}

// Image gives image i as the network sees it, as a picture of its own.
func (c *Cache) Image(i int) image.Image { return c.m.Preprocess.toImage(c.Bytes(i)) }

// Close unmaps the file.
func (c *Cache) Close() error {
	var err error
	if c.mem != nil {
		err = c.mem.Unmap()
	}
	if c.file != nil {
		err = errors.Join(err, c.file.Close())
		c.file = nil
	}
	return err
}

// Split divides the images into those to train on and those held out for evaluation, about fraction of them. Each
// image's side follows from the seed and its name alone, so adding images moves no other. Near-duplicates stay on one side: a
// copy seen in training would make the held-out loss too good. For 0 < fraction < 1 neither side is empty, unless all images are
// duplicates of one; with fraction ≤ 0 nothing is held out.
func (c *Cache) Split(fraction float64, seed uint64) (train, held []int) {
	rank := make([]float64, c.Len()) // uniform in [0, 1)
	for i, it := range c.m.Images {
		key := it.Name
		if it.Group != "" {
			key = it.Group
		}
		sum := sha256.Sum256(binary.LittleEndian.AppendUint64([]byte("unnoise/split/1\x00"+key+"\x00"), seed))
		rank[i] = float64(binary.LittleEndian.Uint64(sum[:])>>11) / (1 << 53)
	}
	if fraction > 0 && fraction < 1 { // in a small dataset chance alone could leave one side empty
		lowest, highest := slices.Min(rank), slices.Max(rank)
		fraction = min(max(fraction, math.Nextafter(lowest, 1)), highest)
	}
	for i := range rank {
		if rank[i] < fraction {
			held = append(held, i)
		} else {
			train = append(train, i)
		}
	}
	return train, held
}

// writeFile writes a file so that it is there in full or not at all: under a temporary name in the same folder, checked for its
// length, flushed to the disk and then renamed.
func writeFile(path string, size int64, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-"+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	err = errors.Join(fill(f, size, write), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func fill(f *os.File, size int64, write func(*os.File) error) error {
	if err := write(f); err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() != size {
		return fmt.Errorf("%s has %d bytes instead of %d after writing", f.Name(), st.Size(), size)
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	return f.Sync()
}

// syncDir makes a rename durable. Windows has no such call, and renames durably enough.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
