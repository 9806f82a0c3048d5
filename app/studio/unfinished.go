package studio

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"unnoise/app/disk"
	"unnoise/app/events"
	"unnoise/app/queue"
	"unnoise/app/settings"
	"unnoise/runtime/durable"
)

// unfinished is a note of long work under way. It is there, with a lock beside it held, only while the work goes on. One
// that nobody holds is of a process that died: the next to open the workspace removes the unfinished files it left, and
// says what was cut short. A note lies in the workspace's .cache/unfinished and may name folders of the workspace alone: it
// may have come from elsewhere with it. Work outside is noted beside the person's settings.
type unfinished struct {
	What  Text      `json:"what"` // is done
	Dir   string    `json:"dir"`  // where temporary files may be left
	Name  string    `json:"name"` // what they are to become; "" is anything
	Begun time.Time `json:"begun"`
}

func (e *env) unfinished() string { return filepath.Join(e.ws.Cache(), "unfinished") }

func unfinishedOutside() string { return filepath.Join(filepath.Dir(settings.Path()), "unfinished") }

// within is the path of something in the workspace from there.
func (e *env) within(path string) (rel string, ok bool) {
	rel, err := filepath.Rel(e.ws.Dir(), path)
	return rel, err == nil && filepath.IsLocal(rel)
}

// note notes that something is being written to path; if path ends with a separator, to files within that folder. Call
// the function returned when it is done or has failed.
func (c *core) note(e *env, what Text, path string) (done func()) {
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	home := unfinishedOutside()
	if _, ok := e.within(dir); ok {
		home = e.unfinished()
	}
	base := filepath.Join(home, queue.NewID())
	lock := durable.Lock(base + ".lock")
	if err := durable.MkdirAll(home); err != nil {
		c.log.Warn("work under way could not be noted", "error", err)
		return func() {}
	}
	ok, err := lock.TryLock()
	if err == nil && ok {
		var b []byte
		if b, err = json.Marshal(unfinished{What: what, Dir: dir, Name: name, Begun: time.Now()}); err == nil {
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
	c.recoverIn(e, e.unfinished())
	c.recoverIn(e, unfinishedOutside())
}

func (c *core) recoverIn(e *env, home string) {
	entries, err := os.ReadDir(home)
	if err != nil {
		return // nothing was ever begun
	}
	for _, d := range entries {
		base, note := strings.CutSuffix(filepath.Join(home, d.Name()), ".json")
		if !note {
			lock := false
			if base, lock = strings.CutSuffix(base, ".lock"); !lock {
				continue
			}
			if _, err := os.Stat(base + ".json"); err == nil {
				continue // with its note
			}
			if info, err := d.Info(); err != nil || time.Since(info.ModTime()) < time.Minute {
				continue // its note may just be being written
			}
		}
		lock := durable.Lock(base + ".lock")
		if ok, err := lock.TryLock(); err != nil || !ok {
			continue // it is being done
		}
		var u unfinished
		if err := disk.ReadJSON(base+".json", 1<<20, &u); err == nil {
			if err := e.tidy(u, home); err != nil {
				c.log.Warn("what an interrupted process left could not be removed", "folder", u.Dir, "error", err)
			}
			c.bus.Publish(Notice{Severity: events.Warning, Text: events.T(
				"{{.What}}: the program ended in the middle of this. What was finished is there; do it again for the rest.", "What", u.What)})
		}
		forget(base, lock)
	}
}

// tidy removes the temporary files of the work that a note in the folder home tells of.
func (e *env) tidy(u unfinished, home string) error {
	mine := func(string) bool { return true }
	if u.Name != "" && home == unfinishedOutside() {
		mine = durable.Becomes(u.Name)
	}
	var err error
	if home == unfinishedOutside() {
		err = durable.SweepFor(u.Dir, mine)
	} else if rel, ok := e.within(u.Dir); ok {
		err = e.below(func(d durable.Disk) error { return d.SweepFor(rel, mine) })
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// below does something with the workspace's folder as the one below which all stays.
func (e *env) below(do func(durable.Disk) error) error {
	d, err := durable.Below(e.ws.Dir())
	if err != nil {
		return err
	}
	return errors.Join(do(d), d.Root.Close())
}
