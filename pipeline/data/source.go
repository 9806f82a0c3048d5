package data

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// Bounds for folders and archives.
const (
	maxFiles = 2_000_000
	maxDepth = 32        // folders inside folders
	zipRatio = 200       // how many times its own size an archive may expand to, …
	zipFree  = 256 << 20 // … beyond this many bytes
)

// Source is an open place that pictures come from. It is safe for concurrent use.
type Source struct {
	kind    Kind
	path    string
	lim     limits
	mem     *semaphore.Weighted
	encoded *semaphore.Weighted // bytes of files that are in memory
	archive *zip.ReadCloser
	files   map[string]*zip.File // of an archive: the usable ones by cleaned name
	bad     []BadFile            // of an archive
	passed  passing              // of an archive
	gallery bool                 // the folder itself is a gallery of Unnoise
	idx     *idxFile
	stamp   int64 // of an archive or IDX file: its modification time in nanoseconds
	waits   atomic.Int32
}

// entry is a file that is meant to be a picture, before it has been looked at.
type entry struct {
	name  string
	size  int64
	stamp int64 // changes when the content does: the modification time in nanoseconds
}

// OpenSource opens a folder, a .zip, or an IDX images file (also one in the folder that is given; .gz too).
func OpenSource(path string) (*Source, error) { return openSource(path, defaultLimits) }

func openSource(path string, lim limits) (*Source, error) {
	s := &Source{path: path, lim: lim, mem: semaphore.NewWeighted(memoryBudget), encoded: semaphore.NewWeighted(encodedBudget)}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, sentence.T("{{.Path}} does not exist: give a folder of pictures, a .zip or an IDX file", "Path", path).Because(fs.ErrNotExist)
	}
	if err != nil {
		return nil, sentence.Errorf("open the dataset: %w", err)
	}
	if st.IsDir() {
		images, err := idxIn(path)
		if err != nil {
			return nil, sentence.Errorf("open the dataset: %w", err)
		}
		if images == "" {
			s.kind = Folder
			return s, nil
		}
		if st, err = os.Stat(images); err != nil {
			return nil, sentence.Errorf("open the dataset: %w", err)
		}
		path = images
	}
	if !st.Mode().IsRegular() {
		return nil, sentence.Errorf("%s is not a folder and not a file", path)
	}
	s.stamp = st.ModTime().UnixNano()
	switch {
	case isIDXName(filepath.Base(path)):
		s.kind = IDX
		s.idx, err = openIDX(path)
	case strings.EqualFold(filepath.Ext(path), ".zip"):
		s.kind = Zip
		err = s.openZip(st.Size())
	default:
		return nil, sentence.T("{{.Path}} is not a dataset: give a folder of pictures, a .zip or an IDX file (…-images-idx3-ubyte)", "Path", path)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Source) openZip(size int64) error {
	z, err := zip.OpenReader(s.path)
	if errors.Is(err, zip.ErrInsecurePath) { // only the names are used, and only as names; the bad ones are reported
		err = nil
	}
	if errors.Is(err, zip.ErrFormat) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return sentence.T("{{.Path}} cannot be read as a .zip archive: it is damaged or cut off, or none; copy or pack it anew", "Path", s.path).Because(err)
	}
	if err != nil {
		return sentence.T("{{.Path}} cannot be read as a .zip archive: {{.Problem}}", "Path", s.path, "Problem", err).Because(err)
	}
	s.archive = z
	if len(z.File) > maxFiles {
		return errors.Join(sentence.T("{{.Path}} has {{.N}} entries, more than the limit of {{.Most}}", "Path", s.path, "N", len(z.File), "Most", maxFiles), z.Close())
	}
	var total uint64
	for _, f := range z.File {
		total += min(f.UncompressedSize64, 1<<40)
	}
	if allowed := uint64(size)*zipRatio + zipFree; total > allowed {
		return errors.Join(sentence.T("{{.Path}} claims to expand from {{.From}} to {{.To}} MiB: it is refused as a zip bomb", "Path", s.path, "From", size>>20, "To", total>>20), z.Close())
	}
	s.indexZip()
	return nil
}

// Close releases the source's files.
func (s *Source) Close() error {
	switch s.kind {
	case Zip:
		return s.archive.Close()
	case IDX:
		return s.idx.Close()
	}
	return nil
}

// list finds the files that are meant to be pictures, sorted by name, those that cannot be, and what was passed over.
func (s *Source) list(ctx context.Context) (found []entry, bad []BadFile, passed passing, err error) {
	switch s.kind {
	case Folder:
		w := walker{ctx: ctx, root: s.path, seen: map[string]bool{}}
		if err := w.walk("", 0); err != nil {
			return nil, nil, nil, err
		}
		found, bad, passed, s.gallery = w.found, w.bad, w.passed, w.gallery
	case Zip:
		for name, f := range s.files {
			found = append(found, entry{name: name, size: int64(f.UncompressedSize64), stamp: s.stamp})
		}
		bad, passed = slices.Clone(s.bad), slices.Clone(s.passed)
	case IDX:
		if err := s.idx.load(ctx); err != nil {
			return nil, nil, nil, err
		}
		for i := range s.idx.n {
			found = append(found, entry{name: idxName(i), size: int64(s.idx.w * s.idx.h), stamp: s.stamp})
		}
	}
	slices.SortFunc(found, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return found, bad, passed, nil
}

// passing counts what is passed over, by kind, the first met first.
type passing []PassedOver

// sorted puts pictures before what is of less interest.
func (p passing) sorted() []PassedOver {
	last := map[string]int{PassedOurs: 1, PassedSystem: 2, PassedUnknown: 3}
	slices.SortFunc(p, func(a, b PassedOver) int {
		return cmp.Or(cmp.Compare(last[a.Kind], last[b.Kind]), strings.Compare(a.Kind, b.Kind))
	})
	return p
}

func (p *passing) add(kind, name string) {
	for i := range *p {
		if (*p)[i].Kind == kind {
			(*p)[i].Count++
			return
		}
	}
	*p = append(*p, PassedOver{Kind: kind, Count: 1, First: name})
}

func idxName(i int) string { return fmt.Sprintf("%08d", i) }

// indexZip sorts an archive's entries into usable, bad and ignored ones.
func (s *Source) indexZip() {
	s.files = make(map[string]*zip.File, len(s.archive.File))
	names := zipNames(s.archive.File)
	ours := ownFolders(s.archive.File, names)
	passedFolders := map[string]bool{}
	for i, f := range s.archive.File {
		if strings.HasSuffix(names[i], "/") {
			continue
		}
		name, err := within(names[i])
		if err != nil {
			if wanted(names[i]) {
				s.bad = append(s.bad, badFile(names[i], why(err)))
			} else {
				s.passed.add(kindOf(names[i]), names[i])
			}
			continue
		}
		if dir, kind := passedFolder(name, ours); kind != "" {
			if !passedFolders[dir] {
				passedFolders[dir] = true
				s.passed.add(kind, dir)
			}
			continue
		}
		switch {
		case hidden(path.Base(name)) || !f.Mode().IsRegular():
			s.passed.add(PassedUnknown, name)
			continue
		case !wanted(name):
			s.passed.add(kindOf(name), name)
			continue
		case strings.Count(name, "/") > maxDepth:
			err = refuse("it lies more than %d folders deep", maxDepth)
		case f.Flags&1 != 0:
			err = refuse("it is encrypted")
		case f.UncompressedSize64 > uint64(s.lim.file):
			err = refuse("the file is larger than %d MiB", s.lim.file>>20)
		case s.files[name] != nil:
			err = refuse("the archive has two files of this name")
		default:
			s.files[name] = f
		}
		if err != nil {
			s.bad = append(s.bad, badFile(name, why(err)))
		}
	}
}

// passedFolder is the first folder on the way to a name that is passed over with all that is in it.
func passedFolder(name string, ours map[string]bool) (dir, kind string) {
	for at := 0; ; {
		i := strings.IndexByte(name[at:], '/')
		if i < 0 {
			return "", ""
		}
		at += i + 1
		switch {
		case hidden(path.Base(name[:at])):
			return name[:at-1], PassedSystem
		case ours[name[:at]]:
			return name[:at-1], PassedOurs
		}
	}
}

// walker collects a folder's files. It follows symbolic links, and enters each real folder once, so loops end.
type walker struct {
	ctx     context.Context
	root    string
	seen    map[string]bool // real paths of the folders entered
	found   []entry
	bad     []BadFile
	passed  passing
	gallery bool // the root has a gallery's file
}

func (w *walker) walk(rel string, depth int) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	dir := filepath.Join(w.root, filepath.FromSlash(durable.Exact(rel)))
	setAside := func(name string, err error) error {
		if name == "" { // the dataset's own folder
			return sentence.Errorf("read the folder %s: %w", w.root, err)
		}
		b := badFile(name, whyNot(err))
		b.Unread = unread(err)
		w.bad = append(w.bad, b)
		return nil
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return setAside(rel, err)
	}
	if w.seen[real] {
		return nil
	}
	w.seen[real] = true
	if depth > maxDepth {
		return setAside(rel, refuse("this folder lies more than %d folders deep", maxDepth))
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return setAside(rel, err)
	}
	for _, e := range entries {
		switch {
		case !e.Type().IsRegular():
		case ownFolderAt(dir, e.Name()):
			if rel == "" {
				return sentence.T("{{.Path}} is a run or a workspace of Unnoise, not a folder of pictures: give the folder of your own pictures, or that of a gallery", "Path", w.root)
			}
			w.passed.add(PassedOurs, rel)
			return nil
		case rel == "" && e.Name() == galleryFile:
			w.gallery = true
		}
	}
	for _, e := range entries {
		name := path.Join(rel, durable.Plain(e.Name()))
		if hidden(e.Name()) {
			if e.IsDir() {
				w.passed.add(PassedSystem, name)
			} else {
				w.passed.add(PassedUnknown, name)
			}
			continue
		}
		if e.Type().IsRegular() && !wanted(e.Name()) {
			w.passed.add(kindOf(name), name)
			continue
		}
		st, err := os.Stat(filepath.Join(dir, e.Name())) // follows links
		switch {
		case err != nil && !wanted(e.Name()):
			w.passed.add(kindOf(name), name)
		case err != nil:
			_ = setAside(name, err)
		case st.IsDir():
			if err := w.walk(name, depth+1); err != nil {
				return err
			}
		case !st.Mode().IsRegular():
			w.passed.add(PassedUnknown, name)
		case !wanted(e.Name()):
			w.passed.add(kindOf(name), name)
		case len(w.found) == maxFiles:
			return sentence.T("{{.Path}} has more than {{.Most}} pictures: give a smaller folder", "Path", w.root, "Most", maxFiles)
		default:
			w.found = append(w.found, entry{name: name, size: st.Size(), stamp: st.ModTime().UnixNano()})
		}
	}
	return nil
}

// there checks that a folder is still readable and not empty, as where a drive was is when it is gone.
func (s *Source) there() error {
	if s.kind != Folder {
		return nil
	}
	f, err := os.Open(s.path)
	if err == nil {
		_, err = f.Readdirnames(1)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return sentence.T("the pictures in {{.Path}} are not there any more: connect its drive and try again", "Path", s.path).Because(err)
	}
	return nil
}

// stat finds an item again by its name, without reading it.
func (s *Source) stat(name string) (entry, error) {
	switch s.kind {
	case Zip:
		f, err := s.zipFile(name)
		if err != nil {
			return entry{}, err
		}
		return entry{name: name, size: int64(f.UncompressedSize64), stamp: s.stamp}, nil
	case IDX:
		return entry{name: name, size: int64(s.idx.w * s.idx.h), stamp: s.stamp}, nil
	}
	file, err := s.filePath(name)
	if err != nil {
		return entry{}, err
	}
	st, err := os.Stat(file)
	if err != nil {
		return entry{}, err
	}
	return entry{name: name, size: st.Size(), stamp: st.ModTime().UnixNano()}, nil
}

// filePath is where the file of an item lies. Its name is as [durable.Plain] made it.
func (s *Source) filePath(name string) (string, error) {
	exact := durable.Exact(name)
	if local := filepath.FromSlash(exact); exact == "." || path.Clean(exact) != exact || !filepath.IsLocal(local) {
		return "", refuse("its path leads out of the folder")
	}
	return filepath.Join(s.path, filepath.FromSlash(exact)), nil
}

func (s *Source) zipFile(name string) (*zip.File, error) {
	f := s.files[name]
	if f == nil {
		return nil, fs.ErrNotExist
	}
	return f, nil
}

// read returns the bytes of a picture's file, one more than it should have at most.
func (s *Source) read(ctx context.Context, name string, size int64) (_ []byte, err error) {
	var r io.ReadCloser
	if s.kind == Zip {
		f, err := s.zipFile(name)
		if err != nil {
			return nil, err
		}
		if r, err = f.Open(); err != nil {
			return nil, err
		}
	} else {
		file, err := s.filePath(name)
		if err != nil {
			return nil, err
		}
		st, err := os.Stat(file)
		if err != nil {
			return nil, err
		}
		if !st.Mode().IsRegular() { // opening a pipe would wait for ever
			return nil, refuse("it is not a regular file")
		}
		if r, err = durable.Open(file); err != nil {
			return nil, err
		}
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	// Whatever its header says; readInfo refuses the one byte more. An archive's member that is larger than it says is an error.
	var b bytes.Buffer
	b.Grow(int(size) + bytes.MinRead)
	_, err = b.ReadFrom(io.LimitReader(&stoppable{ctx, r}, size))
	if err == nil && int64(b.Len()) == size && size <= s.lim.file {
		return nil, refuse("it grew while it was read: wait until it is complete")
	}
	return b.Bytes(), err
}

// with decodes the picture called name and hands it to use, within the memory budget. An error that is not the context's
// concerns this picture alone.
func (s *Source) with(ctx context.Context, name string, use func(img image.Image, in info, file []byte) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.kind == IDX {
		i, err := strconv.Atoi(name)
		if err != nil {
			return refuse("it is not a number of a picture")
		}
		img, err := patient(ctx, &s.waits, func() (*image.Gray, error) { return s.idx.image(ctx, i) })
		if err != nil {
			return err
		}
		return use(img, info{format: "idx", width: s.idx.w, height: s.idx.h, channels: 1, bits: 8}, img.Pix)
	}
	e, err := patient(ctx, &s.waits, func() (entry, error) { return s.stat(name) })
	if err != nil {
		return err
	}
	size := min(max(e.size, 0), s.lim.file) + 1
	if err := s.encoded.Acquire(ctx, size); err != nil {
		return err
	}
	left := false // to the decoder
	defer func() {
		if !left {
			s.encoded.Release(size)
		}
	}()
	b, err := patient(ctx, &s.waits, func() ([]byte, error) { return s.read(ctx, name, size) })
	if err != nil {
		return err
	}
	in, err := readInfo(b, s.lim)
	if err != nil {
		return err
	}
	cost := min(in.cost(), memoryBudget)
	if err := s.mem.Acquire(ctx, cost); err != nil {
		return err
	}
	type decoded struct {
		img image.Image
		err error
	}
	ready := make(chan decoded, 1)
	go func() {
		img, err := decodePixels(ctx, b, in)
		ready <- decoded{img, err}
	}()
	select {
	case <-ctx.Done(): // the decoder ends when it reads next, or is done; what it takes counts until then
		left = true
		go func() {
			<-ready
			s.mem.Release(cost)
			s.encoded.Release(size)
		}()
		return ctx.Err()
	case d := <-ready:
		if err = d.err; err == nil {
			in.channels = in.shown(d.img)
			err = use(d.img, in, b)
		}
	}
	if cost > largePicture {
		runtime.GC()
	}
	s.mem.Release(cost)
	return err
}

// Image decodes one picture, as it is seen: EXIF orientation applied, the first frame of an animation.
func (s *Source) Image(ctx context.Context, name string) (image.Image, error) {
	var out image.Image
	err := s.with(ctx, name, func(img image.Image, _ info, _ []byte) error {
		out = img
		return nil
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, sentence.T("{{.Name}}: {{.Problem}}", "Name", name, "Problem", whyNot(err)).Because(err)
	}
	return out, nil
}

// Decode decodes item i of a report. Whoever wants many opens the source once with [OpenSource].
func Decode(ctx context.Context, rep *Report, i int) (img image.Image, err error) {
	if i < 0 || i >= len(rep.Items) {
		return nil, sentence.Errorf("the dataset has %d pictures, not %d", len(rep.Items), i+1)
	}
	s, err := OpenSource(string(rep.Path))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Image(ctx, rep.Items[i].Name)
}
