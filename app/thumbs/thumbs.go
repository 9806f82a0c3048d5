// Package thumbs makes small pictures off the caller's thread. It keeps them in memory up
// to a number of bytes, least recently used first out, and those whose making is slow on
// disk too. What was asked for last is made first, because it is what the person looks at
// now, and what was scrolled away before its turn is never made.
package thumbs

import (
	"bufio"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/disintegration/imaging"

	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// Loader is where whole pictures come from. Its methods are called by several workers at once.
type Loader[K comparable] interface {
	// Load decodes a picture.
	Load(ctx context.Context, key K) (image.Image, error)
	// Stamp names the picture's content: it changes when the picture does, and is the same
	// after a restart. "" keeps the thumbnail off the disk.
	Stamp(key K) string
}

// Options is the sizes of a Service. Zeros take the usual ones.
type Options struct {
	Dir     string // of the disk cache; "" is none
	Memory  int64  // bytes; 0 is 48 MB, some twenty screens
	Disk    int64  // bytes; 0 is 1 GB
	Workers int    // 0 is 2
}

// worthDisk is the least pixels of a picture whose thumbnail is kept on disk: smaller
// ones decode as fast as the thumbnail would.
const worthDisk = 256 * 256

// Service makes thumbnails. Its methods may be called from any goroutine.
type Service[K comparable] struct {
	load Loader[K]
	opt  Options

	mu      sync.Mutex
	wake    *sync.Cond
	cache   map[slot[K]]*list.Element
	order   *list.List // of *kept[K], the most recently used first
	bytes   int64
	stack   []*job[K] // waiting, the newest last
	jobs    map[slot[K]]*job[K]
	closed  bool
	forgets int // counts Forget, so that what was begun before is not kept

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

type slot[K comparable] struct {
	key K
	px  int
}

type kept[K comparable] struct {
	at  slot[K]
	img *image.RGBA
}

type job[K comparable] struct {
	at      slot[K]
	waiters []*waiter
	running bool
}

type waiter struct {
	done func(*image.RGBA, error)
	gone bool
}

// ErrClosed is what waits when the service closes is told.
var ErrClosed = sentence.Errorf("the thumbnails are closed")

// New starts a service.
func New[K comparable](load Loader[K], opt Options) *Service[K] {
	if opt.Memory == 0 {
		opt.Memory = 48 << 20
	}
	if opt.Disk == 0 {
		opt.Disk = 1 << 30
	}
	if opt.Workers == 0 {
		opt.Workers = 2
	}
	s := &Service[K]{load: load, opt: opt, cache: make(map[slot[K]]*list.Element), order: list.New(), jobs: make(map[slot[K]]*job[K])}
	s.wake = sync.NewCond(&s.mu)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for range opt.Workers {
		s.wg.Go(s.work)
	}
	return s
}

// Close drops what waits and ends the workers.
func (s *Service[K]) Close() {
	s.mu.Lock()
	s.closed = true
	s.stack, s.jobs = nil, make(map[slot[K]]*job[K])
	s.wake.Broadcast()
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
}

// Cached is the thumbnail if it is in memory, else nil.
func (s *Service[K]) Cached(key K, px int) *image.RGBA {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cached(slot[K]{key, px})
}

func (s *Service[K]) cached(at slot[K]) *image.RGBA {
	e, ok := s.cache[at]
	if !ok {
		return nil
	}
	s.order.MoveToFront(e)
	return e.Value.(*kept[K]).img // the list holds nothing else
}

// Request makes the thumbnail whose longer side is at most px and hands it to done on a
// worker's goroutine, with no lock held. cancel withdraws the request; a call to done that
// has begun already goes on.
func (s *Service[K]) Request(key K, px int, done func(*image.RGBA, error)) (cancel func()) {
	at := slot[K]{key, px}
	w := &waiter{done: done}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		go done(nil, ErrClosed)
		return func() {}
	}
	j := s.jobs[at]
	if j == nil {
		j = &job[K]{at: at}
		s.jobs[at] = j
	} else if !j.running {
		s.stack = slices.DeleteFunc(s.stack, func(o *job[K]) bool { return o == j })
	}
	if !j.running {
		s.stack = append(s.stack, j)
		s.wake.Signal()
	}
	j.waiters = append(j.waiters, w)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		w.gone = true
		if j.running {
			return
		}
		for _, o := range j.waiters {
			if !o.gone {
				return
			}
		}
		if s.jobs[at] == j {
			delete(s.jobs, at)
			s.stack = slices.DeleteFunc(s.stack, func(o *job[K]) bool { return o == j })
		}
	}
}

func (s *Service[K]) work() {
	for {
		s.mu.Lock()
		for len(s.stack) == 0 && !s.closed {
			s.wake.Wait()
		}
		if s.closed {
			s.mu.Unlock()
			return
		}
		j := s.stack[len(s.stack)-1]
		s.stack = s.stack[:len(s.stack)-1]
		j.running = true
		img, forgets := s.cached(j.at), s.forgets
		s.mu.Unlock()

		var err error
		if img == nil {
			img, err = s.thumbnail(j.at)
		}

		s.mu.Lock()
		if err == nil && forgets == s.forgets {
			s.keep(j.at, img)
		}
		if s.jobs[j.at] == j {
			delete(s.jobs, j.at)
		}
		var tell []func(*image.RGBA, error)
		for _, w := range j.waiters {
			if !w.gone {
				tell = append(tell, w.done)
			}
		}
		closed := s.closed
		s.mu.Unlock()
		if closed {
			return
		}
		for _, done := range tell {
			done(img, err)
		}
	}
}

func (s *Service[K]) keep(at slot[K], img *image.RGBA) {
	if _, ok := s.cache[at]; ok {
		return
	}
	s.cache[at] = s.order.PushFront(&kept[K]{at, img})
	s.bytes += size(img)
	for s.bytes > s.opt.Memory && s.order.Len() > 1 {
		s.drop(s.order.Back())
	}
}

func (s *Service[K]) drop(e *list.Element) {
	k := s.order.Remove(e).(*kept[K]) // the list holds nothing else
	delete(s.cache, k.at)
	s.bytes -= size(k.img)
}

func size(img *image.RGBA) int64 { return int64(len(img.Pix)) }

// Forget drops from memory every thumbnail whose key matches.
func (s *Service[K]) Forget(match func(K) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgets++
	var next *list.Element
	for e := s.order.Front(); e != nil; e = next {
		next = e.Next()
		if match(e.Value.(*kept[K]).at.key) { // the list holds nothing else
			s.drop(e)
		}
	}
}

// SetDir puts the disk cache into another folder.
func (s *Service[K]) SetDir(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opt.Dir = dir
}

func (s *Service[K]) dir() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opt.Dir
}

// Memory is the bytes of the pictures kept in memory.
func (s *Service[K]) Memory() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// Waiting is how many requests have not begun.
func (s *Service[K]) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.stack)
}

func (s *Service[K]) thumbnail(at slot[K]) (*image.RGBA, error) {
	var path string
	dir := s.dir()
	if dir != "" {
		if stamp := s.load.Stamp(at.key); stamp != "" {
			sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%d", stamp, at.px))
			name := hex.EncodeToString(sum[:16])
			path = filepath.Join(dir, name[:3], name[3:]+".png") // a hundred thousand files are too many for one folder
			if img, err := readPNG(path); err == nil && max(img.Bounds().Dx(), img.Bounds().Dy()) <= max(at.px, 1) {
				return img, nil
			}
		}
	}
	src, err := s.load.Load(s.ctx, at.key)
	if err != nil {
		return nil, err
	}
	out := Scale(src, at.px)
	b := src.Bounds()
	if path != "" && b.Dx()*b.Dy() >= worthDisk {
		_ = writePNG(dir, path, out)
	}
	return out, nil
}

// Scale returns img with its longer side at most px: larger pictures are reduced smoothly,
// smaller ones enlarged by the largest whole step with every pixel a crisp square.
func Scale(img image.Image, px int) *image.RGBA {
	px = max(px, 1)
	b := img.Bounds()
	long := max(b.Dx(), b.Dy())
	switch {
	case long == 0:
		return image.NewRGBA(image.Rect(0, 0, 1, 1))
	case long > px:
		return ToRGBA(imaging.Fit(img, px, px, imaging.CatmullRom))
	}
	return Enlarge(img, px/long)
}

// Enlarge returns img with every pixel as a square of k×k.
func Enlarge(img image.Image, k int) *image.RGBA {
	src := ToRGBA(img)
	if k <= 1 {
		return src
	}
	w, h := src.Rect.Dx(), src.Rect.Dy()
	dst := image.NewRGBA(image.Rect(0, 0, w*k, h*k))
	for y := range h {
		row := dst.Pix[y*k*dst.Stride : y*k*dst.Stride+w*k*4]
		for x := range w {
			p := src.Pix[y*src.Stride+x*4:][:4]
			for i := range k {
				copy(row[(x*k+i)*4:], p)
			}
		}
		for i := 1; i < k; i++ {
			copy(dst.Pix[(y*k+i)*dst.Stride:], row)
		}
	}
	return dst
}

// ToRGBA converts a picture, with its origin at (0,0); one that is so already is returned as it is.
func ToRGBA(img image.Image) *image.RGBA {
	if r, ok := img.(*image.RGBA); ok && r.Rect.Min == (image.Point{}) {
		return r
	}
	b := img.Bounds()
	dst := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(dst, dst.Rect, img, b.Min, draw.Src)
	return dst
}

func readPNG(path string) (_ *image.RGBA, err error) {
	f, err := durable.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	c, err := png.DecodeConfig(bufio.NewReader(f))
	if err != nil {
		return nil, err
	}
	if c.Width > 4096 || c.Height > 4096 {
		return nil, sentence.Errorf("not a thumbnail")
	}
	if _, err := f.Seek(0, 0); err != nil {
		return nil, err
	}
	img, err := png.Decode(bufio.NewReader(f))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now)
	return ToRGBA(img), nil
}

// writePNG replaces a file in a folder of dir by renaming, without fsync: after a power cut a thumbnail that
// does not decode is made anew. The folder around dir is never made: where it is missing, its drive was removed.
func writePNG(dir, path string, img image.Image) (err error) {
	for _, d := range []string{dir, filepath.Dir(path)} {
		if err := os.Mkdir(d, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	w := bufio.NewWriter(f)
	enc := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := errors.Join(enc.Encode(w, img), w.Flush(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Prune removes the longest unused files of the disk cache beyond its size.
func (s *Service[K]) Prune(ctx context.Context) error {
	dir := s.dir()
	if dir == "" {
		return nil
	}
	type file struct {
		path string
		size int64
		used time.Time
	}
	var files []file
	var total int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
			return errors.Join(err, ctx.Err())
		}
		if info, err := d.Info(); err == nil {
			files = append(files, file{path, info.Size(), info.ModTime()})
			total += info.Size()
		}
		return nil
	})
	if err != nil || total <= s.opt.Disk {
		return err
	}
	slices.SortFunc(files, func(a, b file) int { return a.used.Compare(b.used) })
	for _, f := range files {
		if total <= s.opt.Disk*9/10 {
			break
		}
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		total -= f.size
	}
	return nil
}
