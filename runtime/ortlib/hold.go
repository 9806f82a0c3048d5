package ortlib

import (
	"context"
	"errors"
	"io"
	"os"

	"unnoise/runtime/sentence"
)

// Load finds the library as Find does and gives load the path to load it from: what is there are the bytes that were
// checked, whatever happens meanwhile to the file that was found. The path is gone when Load returns.
func Load(ctx context.Context, load func(lib Library, path string) error) (err error) {
	f, err := newFinder()
	if err != nil {
		return err
	}
	return f.load(ctx, load)
}

func (f finder) load(ctx context.Context, load func(lib Library, path string) error) (err error) {
	h := &holder{}
	defer func() { err = errors.Join(err, h.release()) }()
	f.open = h.open
	lib, err := f.find(ctx)
	if err != nil {
		return err
	}
	return load(lib, h.pathOf(lib.Path))
}

// opener opens a library of this size for checking; what it opens is closed when that is done.
type opener func(path string, size int64) (io.Closer, *os.File, error)

// openPlain opens the file itself, for a check that no loading follows.
func openPlain(path string, _ int64) (io.Closer, *os.File, error) {
	f, err := openRegular(path)
	return f, f, err
}

// holder opens libraries such that nobody can change the bytes that were checked before they are loaded.
type holder struct {
	held map[string]string // where to load from, by path
	tidy []func() error
}

type nothing struct{}

func (nothing) Close() error { return nil }

// open holds a file of the pinned size. Any other is not the pinned one, and is opened only to be told so.
func (h *holder) open(path string, size int64) (io.Closer, *os.File, error) {
	delete(h.held, path)
	f, err := openRegular(path)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err != nil || st.Size() != size {
		return f, f, nil // the check says what is wrong
	}
	held, from, tidy, err := hold(f, path, size)
	if err != nil {
		return nil, nil, errors.Join(notReady(path, err), f.Close())
	}
	if h.held == nil {
		h.held = make(map[string]string)
	}
	h.held[path] = from
	h.tidy = append(h.tidy, tidy)
	return nothing{}, held, nil
}

// errHold marks that a library is there and may be right, but what was checked could not be held until it is loaded.
var errHold = sentence.Errorf("the library cannot be made ready for loading")

func notReady(path string, err error) error {
	return sentence.T("{{.Path}} cannot be made ready for loading ({{.Why}}): make room in memory, or in the folder for temporary files", "Path", path, "Why", err).
		Because(errHold)
}

// pathOf is where to load a library from. One that is not pinned is another build, which its user named: it is loaded from
// its place, since it may need the files beside it.
func (h *holder) pathOf(path string) string {
	if from, ok := h.held[path]; ok {
		return from
	}
	return path
}

func (h *holder) release() error {
	var errs []error
	for _, tidy := range h.tidy {
		errs = append(errs, tidy())
	}
	return errors.Join(errs...)
}
