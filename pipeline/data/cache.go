package data

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// CacheName is the file that a folder of decoded pictures has once all are decoded.
const CacheName = "cache.json"

const (
	cacheFormat  = "unnoise-cache"
	cacheVersion = 2 // 1: without the files' contents; its fingerprint was what now is the stamp
	cacheJSON    = CacheName
	cacheBin     = "cache.bin"
	cacheLock    = "cache.lock"

	// cache.bin begins with a magic string and the fingerprint that cache.json has too, so the two cannot be mixed up.
	binMagic  = "unnoise-pixels/1"
	binHeader = 64

	maxCacheJSON = 1 << 30
	// checked bounds the bytes whose checksums are verified when a cache is opened; of a larger one an even sample is.
	checked = 1 << 30
)

// ErrNewer is returned for a cache that a newer version of the program has written.
var ErrNewer = sentence.Errorf("written by a newer version of Unnoise")

// errStale says that a cache does not hold what is asked for, or is damaged; BuildCache builds it anew.
var errStale = sentence.Errorf("no valid cache")

// manifest is cache.json.
type manifest struct {
	Format      string `json:"format"`
	Version     int    `json:"version"`
	Fingerprint string `json:"fingerprint"` // of the pictures' contents and the preprocessing, hex SHA-256
	// Stamp is of the files' names, sizes and dates and the preprocessing, hex SHA-256: while it is the same, nothing needs to be decoded
	// again. Version 1 had it as the fingerprint.
	Stamp      string       `json:"stamp,omitempty"`
	Source     durable.Path `json:"source"` // for people; the cache is complete without it
	Preprocess Preprocess   `json:"preprocess"`
	Classes    []string     `json:"classes,omitempty"`
	Images     []cacheItem  `json:"images"`            // in the order of cache.bin
	Skipped    []BadFile    `json:"skipped,omitempty"` // became unusable between the scan and the decoding
}

type cacheItem struct {
	Name  string `json:"name"`
	Class int    `json:"class"` // -1: none
	CRC   uint32 `json:"crc"`   // CRC-32C of the pixels
	Group string `json:"group,omitempty"`
	Part  string `json:"part,omitempty"` // as in the report
	// Content names what was in the file when it was decoded, as in the report.
	Content string `json:"content,omitempty"`
}

// Cache is a dataset decoded once: bytes in a file, of which the system keeps in memory what fits. They are read, not mapped:
// that is as fast (BenchmarkLoader), and where the file was cut or its drive is gone it is an error, not a signal that
// ends the program. A Cache is safe for concurrent use until Close.
type Cache struct {
	m    manifest
	file *os.File
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
	if pp.Resize == Smooth {
		pp.Resize = "" // as it was before there was a choice
	}
	if pp.Background == "" {
		pp.Background = rep.Background
	}
	if pp.Background == "" {
		pp.Background = black
	}
	if src == "" {
		src = string(rep.Path)
	}
	s, err := OpenSource(src)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := durable.MkdirAll(dir); err != nil {
		return nil, sentence.Errorf("make the cache's folder: %w", err)
	}
	lock := durable.Lock(filepath.Join(dir, cacheLock)) // whoever comes second finds the cache finished
	if _, err := lock.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		return nil, sentence.Errorf("wait for the cache of %s, which is being built: %w", dir, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	m := newManifest(s, rep, pp, exclude)
	if len(m.Images) == 0 {
		return nil, sentence.Errorf("%w in %s: all of them are set aside", ErrNoImages, src)
	}
	c, err := OpenCache(dir)
	if err == nil {
		if c.m.Stamp == m.Stamp {
			return c, nil
		}
		err = errors.Join(errStale, c.Close())
	}
	if !errors.Is(err, errStale) {
		return nil, err
	}
	if err := durable.Sweep(dir); err != nil { // a killed build may have left hundreds of megabytes
		return nil, sentence.Errorf("tidy the cache's folder: %w", err)
	}
	if err := m.decodeAll(ctx, s, dir, progress); err != nil {
		if durable.IsFull(err) {
			return nil, sentence.Errorf("the disk of %s is full: the decoded pictures need %d MiB: %w", dir, CacheBytes(rep, pp)>>20+1, err)
		}
		return nil, err
	}
	return OpenCache(dir)
}

// newManifest lists what the cache will hold, with the stamp of where it comes from.
func newManifest(s *Source, rep *Report, pp Preprocess, exclude []string) manifest {
	m := manifest{Format: cacheFormat, Version: cacheVersion, Source: durable.Path(s.path), Preprocess: pp}
	m.Preprocess.Flip, m.Preprocess.Augment = false, false // drawn by the loader: not part of the cache
	class := map[string]int{}
	for i, c := range rep.Classes {
		class[c.Name] = i
		m.Classes = append(m.Classes, c.Name)
	}
	group := groups(rep)
	out := map[string]bool{}
	for _, name := range exclude {
		out[name] = true
	}
	h := sha256.New()
	put := func(format string, a ...any) { fmt.Fprintf(h, format+"\x00", a...) } // a hash.Hash never fails
	put("%s %d %d %d %d %s %s %q", cacheFormat, 1, pp.Width, pp.Height, pp.Channels, pp.Fit, pp.Background, m.Classes)
	if pp.Resize != "" {
		put("%s", pp.Resize)
	}
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
		m.Images = append(m.Images, cacheItem{Name: it.Name, Class: k, Group: group[it.Name], Part: it.Part})
	}
	m.Stamp = hex.EncodeToString(h.Sum(nil))
	return m
}

// fingerprint is the manifest's, once all is decoded.
func (m *manifest) fingerprint() string {
	h := sha256.New()
	put := func(format string, a ...any) { fmt.Fprintf(h, format+"\x00", a...) } // a hash.Hash never fails
	pp := m.Preprocess
	put("%s %d %d %d %d %s %s %q", m.Format, m.Version, pp.Width, pp.Height, pp.Channels, pp.Fit, pp.Background, m.Classes)
	for _, it := range m.Images {
		put("%q %d %s %q %s", it.Name, it.Class, it.Content, it.Group, it.Part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// mark is what cache.bin has, too, to show that both belong together.
func (m *manifest) mark() string { return cmp.Or(m.Stamp, m.Fingerprint) }

// decodeAll writes cache.bin and then cache.json.
func (m *manifest) decodeAll(ctx context.Context, s *Source, dir string, progress func(Progress)) error {
	wanted := m.Images
	m.Images = make([]cacheItem, 0, len(wanted))
	err := durable.WriteFile(filepath.Join(dir, cacheBin), func(w io.Writer) error {
		if _, err := w.Write(binHead(m.mark())); err != nil {
			return err
		}
		return m.decode(ctx, s, wanted, w, newMeter(progress, "Decoding the pictures", len(wanted)))
	})
	if err != nil {
		return sentence.Errorf("decode the pictures into %s: %w", dir, err)
	}
	m.Fingerprint = m.fingerprint()
	return durable.WriteFile(filepath.Join(dir, cacheJSON), func(w io.Writer) error {
		return json.NewEncoder(w).Encode(m)
	})
}

// decode writes the pixels of the wanted images in their order and lists them in the manifest. A batch of them is decoded in parallel and then
// written, so memory stays bounded.
func (m *manifest) decode(ctx context.Context, s *Source, wanted []cacheItem, w io.Writer, p *meter) error {
	const batchBytes = 16 << 20
	dim := m.Preprocess.Dim()
	size := min(len(wanted), max(batchBytes/dim, 8*runtime.GOMAXPROCS(0)))
	pixels, failed := make([]byte, size*dim), make([]sentence.Text, size)
	for batch := range slices.Chunk(wanted, size) {
		err := forEach(ctx, len(batch), func(ctx context.Context, i int) error {
			defer p.step()
			err := s.with(ctx, batch[i].Name, func(img image.Image, _ info, file []byte) error {
				batch[i].Content = contentKey(file)
				m.Preprocess.planes(pixels[i*dim:(i+1)*dim], m.Preprocess.render(img))
				return nil
			})
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case unread(err):
				return sentence.T("{{.Name}} in {{.Path}} could not be read: {{.Problem}}; no picture was left out: check the drive and try again",
					"Name", batch[i].Name, "Path", s.path, "Problem", err).Because(err)
			}
			failed[i] = sentence.Text{}
			if err != nil {
				failed[i] = why(err)
			}
			return nil
		})
		if err == nil && slices.ContainsFunc(failed[:len(batch)], func(t sentence.Text) bool { return t.Template != "" }) {
			err = s.there() // or all that is left would be set aside one by one
		}
		if err != nil {
			return err
		}
		for i, it := range batch {
			if failed[i].Template != "" {
				m.Skipped = append(m.Skipped, badFile(it.Name, failed[i]))
				continue
			}
			row := pixels[i*dim : (i+1)*dim]
			it.CRC = crc32.Checksum(row, castagnoli)
			m.Images = append(m.Images, it)
			if _, err := w.Write(row); err != nil {
				return err
			}
		}
	}
	if len(m.Images) == 0 {
		return sentence.Errorf("%w in %s: all %d were set aside, the first (%s) because %s",
			ErrNoImages, s.path, len(m.Skipped), m.Skipped[0].Name, m.Skipped[0].Why())
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func binHead(mark string) []byte {
	sum := sha256.Sum256([]byte(mark))
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
	return fmt.Errorf("%w: %w", errStale, sentence.Errorf(format, a...))
}

func readManifest(path string) (m manifest, err error) {
	b, err := durable.ReadFile(path, maxCacheJSON)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return m, stale("%s does not exist: build it first", path)
	case err != nil: // perhaps by a disk that fails: what it holds can be decoded again
		return m, stale("%s cannot be read: %w", path, err)
	}
	var v struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(b, &v); err != nil || v.Format != cacheFormat || v.Version < 1 {
		return m, stale("%s is damaged", path)
	}
	if v.Version > cacheVersion {
		return m, sentence.Errorf("%s is %w (format %d, this one reads %d): update Unnoise, or delete the file to have it built again",
			path, ErrNewer, v.Version, cacheVersion)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, stale("%s is damaged", path)
	}
	if m.Preprocess.Validate() != nil || len(m.Images) == 0 {
		return m, stale("%s is damaged", path)
	}
	for _, it := range m.Images {
		if it.Class < -1 || it.Class >= len(m.Classes) {
			return m, stale("%s is damaged", path)
		}
	}
	return m, nil
}

// open opens cache.bin and checks it against the manifest.
func (c *Cache) open(path string) error {
	f, err := durable.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return stale("%s does not exist", path)
	}
	if err != nil {
		return stale("%s cannot be read: %w", path, err)
	}
	c.file = f
	st, err := f.Stat()
	if err != nil {
		return sentence.Errorf("open the cache: %w", err)
	}
	if want := binHeader + int64(c.Dim())*int64(c.Len()); st.Size() != want {
		return stale("%s has %d bytes instead of %d", path, st.Size(), want)
	}
	head := make([]byte, binHeader)
	if _, err := f.ReadAt(head, 0); err != nil {
		return stale("%s cannot be read: %w", path, err)
	}
	if !bytes.Equal(head, binHead(c.m.mark())) {
		return stale("%s belongs to another %s", path, cacheJSON)
	}
	return c.verify(path)
}

// verify compares checksums: of all images, or of evenly spaced ones when that would mean reading gigabytes.
func (c *Cache) verify(path string) error {
	stride := 1 + int(int64(c.Len())*int64(c.Dim())/checked)
	workers := runtime.GOMAXPROCS(0)
	return forEach(context.Background(), workers, func(_ context.Context, w int) error {
		pixels := make([]byte, c.Dim())
		for i := w * stride; i < c.Len(); i += workers * stride {
			if err := c.Bytes(i, pixels); err != nil {
				return stale("%w", err)
			}
			if crc32.Checksum(pixels, castagnoli) != c.m.Images[i].CRC {
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

// Is says whether the cache has the fingerprint, or is what had it when that hung on the files' dates.
func (c *Cache) Is(fingerprint string) bool {
	return c.m.Fingerprint == fingerprint || c.m.Stamp == fingerprint
}

// Content names what was in the file of image i, wherever it lay: "" in caches of older versions.
func (c *Cache) Content(i int) string { return c.m.Images[i].Content }

// Pixels names what the network sees of image i.
func (c *Cache) Pixels(i int) (string, error) {
	pixels := make([]byte, c.Dim())
	if err := c.Bytes(i, pixels); err != nil {
		return "", err
	}
	return contentKey(pixels), nil
}

// Skipped lists the pictures that became unusable between the scan and the decoding.
func (c *Cache) Skipped() []BadFile { return slices.Clone(c.m.Skipped) }

// Classes gives the names of the classes, empty when there are none.
func (c *Cache) Classes() []string { return slices.Clone(c.m.Classes) }

// Class is the class index of image i, or -1.
func (c *Cache) Class(i int) int { return c.m.Images[i].Class }

// Name is the name that image i has in the report.
func (c *Cache) Name(i int) string { return c.m.Images[i].Name }

// Bytes reads images i, i+1, … into dst, as many as fit: each is channels × height × width bytes.
func (c *Cache) Bytes(i int, dst []byte) error {
	if _, err := c.file.ReadAt(dst, binHeader+int64(i)*int64(c.Dim())); err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err
		}
		if errors.Is(err, io.EOF) {
			err = sentence.Errorf("the file was cut short")
		}
		return sentence.Errorf("the decoded pictures in %s cannot be read any more (%w): they are decoded anew the next time", c.file.Name(), err)
	}
	return nil
}

// Read reads image i into dst as channels × height × width values in [-1, 1].
func (c *Cache) Read(i int, dst []float32) error {
	pixels := make([]byte, c.Dim())
	if err := c.Bytes(i, pixels); err != nil {
		return err
	}
	for k, b := range pixels {
		dst[k] = unit[b]
	}
	return nil
}

// Image gives image i as the network sees it, as a picture of its own.
func (c *Cache) Image(i int) (image.Image, error) {
	pixels := make([]byte, c.Dim())
	if err := c.Bytes(i, pixels); err != nil {
		return nil, err
	}
	return c.m.Preprocess.toImage(pixels), nil
}

// Close closes the file.
func (c *Cache) Close() error {
	if c.file == nil {
		return nil
	}
	err := c.file.Close()
	c.file = nil
	return err
}
