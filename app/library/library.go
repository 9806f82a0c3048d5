// Package library is the index of a workspace: a SQLite file beside the folders, from which
// lists of ten thousand runs or a hundred thousand images are read in no time. Everything in
// it is also in the folders, so it can be deleted at any time and is made anew.
package library

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"unnoise/runtime/sentence"
)

// migrations bring the schema from version i to i+1, each within a transaction.
var migrations = []string{
	`CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
	CREATE TABLE runs (
		id TEXT PRIMARY KEY, stamp TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL,
		state TEXT NOT NULL, error TEXT NOT NULL, dataset TEXT NOT NULL, preset TEXT NOT NULL,
		step INTEGER NOT NULL, steps INTEGER NOT NULL, loss REAL, heldout REAL,
		params INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, channels INTEGER NOT NULL,
		created INTEGER NOT NULL, updated INTEGER NOT NULL, elapsed INTEGER NOT NULL, bytes INTEGER NOT NULL,
		notes TEXT NOT NULL, tags TEXT NOT NULL, starred INTEGER NOT NULL,
		grid INTEGER NOT NULL, grid_name TEXT NOT NULL, checkpoint INTEGER NOT NULL,
		search TEXT NOT NULL) WITHOUT ROWID;
	CREATE INDEX runs_number ON runs (number DESC, id);
	CREATE TABLE galleries (
		id TEXT PRIMARY KEY, stamp TEXT NOT NULL, name TEXT NOT NULL, run TEXT NOT NULL,
		created INTEGER NOT NULL, updated INTEGER NOT NULL) WITHOUT ROWID;
	CREATE TABLE images (
		id INTEGER PRIMARY KEY, gallery TEXT NOT NULL, name TEXT NOT NULL, starred INTEGER NOT NULL,
		mtime INTEGER NOT NULL, bytes INTEGER NOT NULL,
		width INTEGER NOT NULL, height INTEGER NOT NULL, seed INTEGER NOT NULL, idx INTEGER NOT NULL,
		model TEXT NOT NULL, checkpoint INTEGER NOT NULL, weights TEXT NOT NULL, sampler TEXT NOT NULL,
		steps INTEGER NOT NULL, eta REAL NOT NULL, schedule TEXT NOT NULL, class TEXT NOT NULL,
		search TEXT NOT NULL, UNIQUE (gallery, name));
	CREATE TABLE datasets (id TEXT PRIMARY KEY, stamp TEXT NOT NULL, added INTEGER NOT NULL, summary TEXT NOT NULL) WITHOUT ROWID;`,
}

// DB is an open index. Its methods may be called from any goroutine.
type DB struct {
	path string
	db   atomic.Pointer[sql.DB]

	fresh   atomic.Bool // empty, and never filled
	memory  atomic.Bool // kept in memory
	trouble atomic.Pointer[error]
	replace sync.Mutex // one Renew at a time

	mu      sync.Mutex // guards what follows
	notice  sentence.Text
	watch   *sql.Conn // that never writes, for Changed
	version int64
	hold    *sql.Conn // keeps an index in memory alive
}

// Open opens the index at path, making it if there is none. The index is only a copy of what the folders say: one that is
// damaged or of another program version is made anew, and where that cannot be, such as on a disk that is full or
// read-only, or beside another program's file of that name, it is kept in memory. Notice tells of either. The only error
// is that ctx ended.
func Open(ctx context.Context, path string) (*DB, error) {
	d := &DB{path: path}
	db, fresh, err := open(ctx, path)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return d, d.Renew(ctx, err)
	}
	d.db.Store(db)
	d.fresh.Store(fresh)
	return d, nil
}

// Fresh reports whether the index is empty and was never filled: it is then to be filled from the folders.
func (d *DB) Fresh() bool { return d.fresh.Load() }

// InMemory reports whether the index is lost when the program ends.
func (d *DB) InMemory() bool { return d.memory.Load() }

// Notice takes what a person should know of how the index was opened or renewed, nothing as a rule.
func (d *DB) Notice() sentence.Text {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.notice
	d.notice = sentence.Text{}
	return n
}

// Broken reports whether err says that the index cannot be used any more, so that Renew is called for.
func Broken(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok { // another process that has it for a moment, and a call that was ended, say nothing of it
		return !slices.Contains([]int{lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_INTERRUPT, lib.SQLITE_NOMEM}, e.Code()&0xff)
	}
	return errors.Is(err, errUnusable)
}

// Trouble is the last error of a statement after which the index cannot be used any more, if there was one.
func (d *DB) Trouble() error {
	if p := d.trouble.Load(); p != nil {
		return *p
	}
	return nil
}

// saw keeps such an error in mind.
func (d *DB) saw(err *error) {
	if e, ok := errors.AsType[*sqlite.Error](*err); ok && slices.Contains([]int{lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB, lib.SQLITE_IOERR}, e.Code()&0xff) {
		d.trouble.Store(err)
	}
}

// Renew puts a new, empty index in the place of one that cannot be used, and says why with cause. If this one is in memory
// already, it begins anew there.
func (d *DB) Renew(ctx context.Context, cause error) error {
	d.replace.Lock()
	defer d.replace.Unlock()
	d.release()
	if old := d.db.Load(); old != nil {
		_ = old.Close() // it is not used any more, whatever it says
	}
	var notice sentence.Text
	db, err := (*sql.DB)(nil), cause
	if damaged(cause) && !d.memory.Load() {
		if certain, _ := inspect(d.path); !certain {
			cause, err = ErrForeign, ErrForeign
		} else if err = discard(d.path); err == nil {
			db, _, err = open(ctx, d.path)
			notice = sentence.T("The index was damaged or incomplete. It is made anew from the folders; nothing is lost.")
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		var hold *sql.Conn
		if db, hold, err = openMemory(ctx, err); err != nil {
			return err
		}
		d.mu.Lock()
		d.hold = hold
		d.mu.Unlock()
		d.memory.Store(true)
		notice = memoryNotice(d.path, cause)
	}
	d.db.Store(db)
	d.fresh.Store(true)
	d.trouble.Store(nil)
	d.mu.Lock()
	d.notice = notice
	d.mu.Unlock()
	return nil
}

func memoryNotice(path string, cause error) sentence.Text {
	if errors.Is(cause, ErrForeign) {
		return sentence.T("The file {{.Path}} is not an index of this program and is left as it is; the lists are kept in memory. Move that file away to have them kept on the disk.", "Path", path)
	}
	return sentence.T("The index {{.Path}} cannot be written ({{.Problem}}): the lists are read from the folders and kept in memory. Nothing is lost.", "Path", path, "Problem", reason(cause))
}

// reason says in plain words why the disk does not take the index.
func reason(cause error) sentence.Text {
	code := 0
	if e, ok := errors.AsType[*sqlite.Error](cause); ok {
		code = e.Code() & 0xff
	}
	switch code {
	case lib.SQLITE_FULL:
		return sentence.T("the disk is full")
	case lib.SQLITE_READONLY, lib.SQLITE_CANTOPEN, lib.SQLITE_PERM:
		return sentence.T("it is read-only")
	}
	return sentence.Of(cause)
}

// Close closes the index.
func (d *DB) Close() error {
	d.release()
	return d.db.Load().Close()
}

// release lets go of the connections that are kept.
func (d *DB) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range []**sql.Conn{&d.watch, &d.hold} {
		if *c != nil {
			_ = (*c).Close()
			*c = nil
		}
	}
}

// Changed reports whether anything was written to the index, by this process or another, since it was last asked.
func (d *DB) Changed(ctx context.Context) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watch == nil {
		conn, err := d.db.Load().Conn(ctx)
		if err != nil {
			return false, err
		}
		d.watch = conn
	}
	// https://www.sqlite.org/pragma.html#pragma_data_version: it differs when another connection has written.
	var v int64
	if err := d.watch.QueryRowContext(ctx, "PRAGMA data_version").Scan(&v); err != nil {
		return false, err
	}
	changed := v != d.version
	d.version = v
	return changed, nil
}

// Path is the index's file.
func (d *DB) Path() string { return d.path }

// Meta reads a note about the index itself; a missing one is "".
func (d *DB) Meta(ctx context.Context, key string) (string, error) {
	var v string
	err := d.db.Load().QueryRowContext(ctx, "SELECT value FROM meta WHERE key=?", key).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return v, err
}

// SetMeta writes a note about the index itself.
func (d *DB) SetMeta(ctx context.Context, key, value string) error {
	_, err := d.db.Load().ExecContext(ctx, "INSERT INTO meta VALUES (?,?) ON CONFLICT (key) DO UPDATE SET value=excluded.value", key, value)
	return err
}

// Filled notes that the index holds everything the folders do, so that it is not fresh any more.
func (d *DB) Filled(ctx context.Context) error {
	err := d.SetMeta(ctx, "filled", "yes")
	d.fresh.Store(err != nil)
	return err
}

// Clear empties the index, which is then fresh until Filled is called.
func (d *DB) Clear(ctx context.Context) error {
	d.fresh.Store(true)
	return d.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM runs; DELETE FROM galleries; DELETE FROM images; DELETE FROM datasets; DELETE FROM meta WHERE key='filled'")
		return err
	})
}

func (d *DB) tx(ctx context.Context, do func(*sql.Tx) error) error { return inTx(ctx, d.db.Load(), do) }

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// words splits a search into lower-case words that must all occur.
func words(search string) []string { return strings.Fields(strings.ToLower(search)) }

func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }

// stamps reads id → stamp of a table.
func (d *DB) stamps(ctx context.Context, table string) (_ map[string]string, err error) {
	rows, err := d.db.Load().QueryContext(ctx, "SELECT id, stamp FROM "+table)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out := make(map[string]string)
	for rows.Next() {
		var id, stamp string
		if err := rows.Scan(&id, &stamp); err != nil {
			return nil, err
		}
		out[id] = stamp
	}
	return out, rows.Err()
}

// ids reads one column of IDs.
func (d *DB) ids(ctx context.Context, query string, args ...any) (_ []string, err error) {
	rows, err := d.db.Load().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var out []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, rows.Err()
}
