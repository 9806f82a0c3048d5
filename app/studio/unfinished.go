package studio

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"unnoise/app/disk"
	"unnoise/app/events"
	"unnoise/app/queue"
	"unnoise/runtime/durable"
)

// unfinished is a note of long work under way, in the workspace's .cache/unfinished. It is there, with a lock beside it
// held, only while the work goes on. One that nobody holds is of a process that died: the next to open the workspace
// removes the unfinished files it left, and says what was cut short.
type unfinished struct {
	What  Text      `json:"what"`  // is done
	Dir   string    `json:"dir"`   // where temporary files may be left
	Name  string    `json:"name"`  // what they are to become; "" is anything
	Begun time.Time `json:"begun"` // none of them is older
}

// temporary is how durable and os.MkdirTemp name what is being written.
var temporary = regexp.MustCompile(`^` + regexp.QuoteMeta(durable.TempPrefix) + `.*-[0-9a-f]{1,10}$`)

func (e *env) unfinished() string { return filepath.Join(e.ws.Cache(), "unfinished") }

// note notes that something is being written to path; if path ends with a separator, to files within that folder. Call
// the function returned when it is done or has failed.
func (c *core) note(e *env, what Text, path string) (done func()) {
	dir, name := filepath.Split(path)
	base := filepath.Join(e.unfinished(), queue.NewID())
	lock := flock.New(base + ".lock")
	if err := os.MkdirAll(e.unfinished(), 0o777); err != nil {
		c.log.Warn("work under way could not be noted", "error", err)
		return func() {}
	}
	ok, err := lock.TryLock()
	if err == nil && ok {
		var b []byte
		if b, err = json.Marshal(unfinished{What: what, Dir: filepath.Clean(dir), Name: name, Begun: time.Now()}); err == nil {
			err = os.WriteFile(base+".json", b, 0o666) // a half-written note is as good as none
		}
	}
	if err != nil {
		c.log.Warn("work under way could not be noted", "error", err)
	}
	return func() { forget(base, lock) }
}

// forget removes a note and its lock.
func forget(base string, lock *flock.Flock) {
	_ = os.Remove(base + ".json")
	_ = lock.Unlock()
	_ = os.Remove(base + ".lock")
}

// recover tidies up after processes that died in the middle of something, and tells of it.
func (c *core) recover(e *env) {
	entries, err := os.ReadDir(e.unfinished())
	if err != nil {
		return // nothing was ever begun
	}
	for _, d := range entries {
		path := filepath.Join(e.unfinished(), d.Name())
		base, ok := strings.CutSuffix(path, ".json")
		if !ok {
			if base, ok = strings.CutSuffix(path, ".lock"); !ok {
				continue
			}
			if _, err := os.Stat(base + ".json"); err == nil {
				continue // with its note
			}
		}
		lock := flock.New(base + ".lock")
		if ok, err := lock.TryLock(); err != nil || !ok {
			continue // it is being done
		}
		var u unfinished
		if err := disk.ReadJSON(base+".json", 1<<20, &u); err == nil {
			if err := u.tidy(); err != nil {
				c.log.Warn("what an interrupted process left could not be removed", "folder", u.Dir, "error", err)
			}
			c.bus.Publish(Notice{Severity: events.Warning, Text: events.T(
				"{{.What}}: the program ended in the middle of this. What was finished is there; do it again for the rest.", "What", u.What)})
		}
		forget(base, lock)
	}
}

// tidy removes the temporary files of the work.
func (u unfinished) tidy() error {
	entries, err := os.ReadDir(u.Dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	begins := durable.TempPrefix
	switch {
	case len(u.Name) > 32: // temporary names are shortened
		begins += strings.ToValidUTF8(u.Name[:32], "")
	case u.Name != "":
		begins += u.Name + "-"
	}
	var errs []error
	for _, d := range entries {
		if !temporary.MatchString(d.Name()) || !strings.HasPrefix(d.Name(), begins) {
			continue
		}
		if info, err := d.Info(); err == nil && info.ModTime().After(u.Begun.Add(-time.Minute)) {
			errs = append(errs, os.RemoveAll(filepath.Join(u.Dir, d.Name())))
		}
	}
	return errors.Join(errs...)
}
