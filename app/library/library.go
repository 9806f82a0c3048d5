// Package library is the index of a workspace: a SQLite file beside the folders, from which
// lists of ten thousand runs or a hundred thousand images are read in no time. Everything in
// it is also in the folders, so it can be deleted at any time and is made anew.
package library

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the "sqlite" driver

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
	db   *sql.DB

	mu      sync.Mutex
	watch   *sql.Conn // that never writes, for Changed
	version int64
}

// Open opens the index at path, making it if there is none. fresh is true when it is empty,
// because it was missing, damaged or of another program version: it is then to be filled from the folders.
func Open(ctx context.Context, path string) (d *DB, fresh bool, err error) {
	d, fresh, err = open(ctx, path)
	if err == nil || ctx.Err() != nil {
		return d, fresh, err
	}
	// The index is only a copy of what the folders say: when it cannot be used, begin again.
	if rerr := Remove(path); rerr != nil {
		return nil, false, sentence.Errorf("the index %s is damaged (%w) and cannot be removed: %w", path, err, rerr)
	}
	d, _, err = open(ctx, path)
	if err != nil {
		return nil, false, sentence.Errorf("the index %s cannot be made: %w", path, err)
	}
	return d, true, nil
}

// Remove deletes an index that is not open, with its companions.
func Remove(path string) error {
	var errs []error
	for _, p := range []string{path, path + "-wal", path + "-shm"} {
		if err := os.RemoveAll(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func dsn(path string) string {
	q := url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(NORMAL)", "temp_store(MEMORY)"}, "_txlock": {"immediate"}}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

func open(ctx context.Context, path string) (_ *DB, fresh bool, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		fresh = true
		// A leftover journal of a deleted index must not be replayed into a new one.
		if err := Remove(path); err != nil {
			return nil, false, err
		}
	}
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	db.SetMaxOpenConns(5)
	d := &DB{path: path, db: db}
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return nil, false, err
	}
	if version > len(migrations) {
		return nil, false, sentence.Errorf("the index has format %d, newer than %d", version, len(migrations))
	}
	if version > 0 {
		if err := d.checkUnlessClean(ctx); err != nil {
			return nil, false, err
		}
	}
	for v := version; v < len(migrations); v++ {
		err := d.tx(ctx, func(tx *sql.Tx) error {
			var now int
			if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&now); err != nil || now > v {
				return err // another process was first
			}
			if _, err := tx.ExecContext(ctx, migrations[v]); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version=%d", v+1))
			return err
		})
		if err != nil {
			return nil, false, err
		}
	}
	if err := d.SetMeta(ctx, "clean", "no"); err != nil {
		return nil, false, err
	}
	filled, err := d.Meta(ctx, "filled")
	if err != nil {
		return nil, false, err
	}
	return d, fresh || filled != "yes", nil
}

// checkUnlessClean looks for damage when the last one to have the index open did not close it.
func (d *DB) checkUnlessClean(ctx context.Context) error {
	clean, err := d.Meta(ctx, "clean")
	if err != nil || clean == "yes" {
		return err
	}
	var verdict string
	if err := d.db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return errors.New(verdict)
	}
	return nil
}

// Changed reports whether anything was written to the index, by this process or another, since it was last asked.
func (d *DB) Changed(ctx context.Context) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watch == nil {
		conn, err := d.db.Conn(ctx)
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

// Close marks the index as whole and closes it.
func (d *DB) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := d.SetMeta(ctx, "clean", "yes")
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watch != nil {
		err = errors.Join(err, d.watch.Close())
		d.watch = nil
	}
	return errors.Join(err, d.db.Close())
}

// Path is the index's file.
func (d *DB) Path() string { return d.path }

// Meta reads a note about the index itself; a missing one is "".
func (d *DB) Meta(ctx context.Context, key string) (string, error) {
	var v string
	err := d.db.QueryRowContext(ctx, "SELECT value FROM meta WHERE key=?", key).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return v, err
}

// SetMeta writes a note about the index itself.
func (d *DB) SetMeta(ctx context.Context, key, value string) error {
	_, err := d.db.ExecContext(ctx, "INSERT INTO meta VALUES (?,?) ON CONFLICT (key) DO UPDATE SET value=excluded.value", key, value)
	return err
}

// Filled notes that the index holds everything the folders do, so that Open does not call it fresh again.
func (d *DB) Filled(ctx context.Context) error { return d.SetMeta(ctx, "filled", "yes") }

// Clear empties the index, which is then fresh until Filled is called.
func (d *DB) Clear(ctx context.Context) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM runs; DELETE FROM galleries; DELETE FROM images; DELETE FROM datasets; DELETE FROM meta WHERE key='filled'")
		return err
	})
}

func (d *DB) tx(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	return tx.Commit()
}

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
	rows, err := d.db.QueryContext(ctx, "SELECT id, stamp FROM "+table)
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
	rows, err := d.db.QueryContext(ctx, query, args...)
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
