package library

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// mark is SQLite's application_id of an index, at this place of the file: “unno”.
const (
	mark       = 0x756e6e6f
	markOffset = 68
)

// maxSize is more than the index of any workspace takes.
const maxSize = 4 << 30

var (
	// ErrForeign says that a file is not, or not for certain, this program's: it is left alone.
	ErrForeign = sentence.Errorf("it is not an index of this program")
	// errUnusable says that an index is damaged, of another version, or not made as this program makes it.
	errUnusable = sentence.Errorf("the index is damaged")
)

// companions are the files that SQLite keeps beside an index.
func companions(path string) []string {
	return []string{path + "-wal", path + "-shm", path + "-journal"}
}

// Remove deletes an index that is not open, with its companions. Another program's file is left alone, which is an error.
func Remove(path string) error {
	certain, err := inspect(path)
	if err == nil && !certain || err != nil && !errors.Is(err, fs.ErrNotExist) && !damaged(err) {
		return sentence.Errorf("the file %s is not an index of this program and is left alone", path)
	}
	return discard(path)
}

// discard deletes an index that inspect called this program's.
func discard(path string) error {
	var errs []error
	for _, p := range append([]string{path}, companions(path)...) {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// inspect looks at the file, without SQLite, whether it is this program's, which is not certain while it is being made. The
// error wraps fs.ErrNotExist when there is none, ErrForeign when it is another's, and errUnusable when it is ours and
// cannot be used.
func inspect(path string) (certain bool, err error) {
	for _, p := range companions(path) {
		if st, err := os.Lstat(p); err == nil && !st.Mode().IsRegular() {
			return false, ErrForeign
		}
	}
	st, err := os.Lstat(path)
	switch {
	case err != nil:
		return false, err
	case !st.Mode().IsRegular(): // a link, too, leads to what is not ours
		return false, ErrForeign
	case st.Size() == 0:
		return true, nil // what a process leaves that dies at once
	}
	f, err := durable.Open(path)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 1<<16)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	head = head[:n]
	// One that is just being made has nothing in it yet: its first page is an empty list of what is defined.
	empty := n >= 108 && bytes.HasPrefix(head, []byte("SQLite format 3\x00")) && head[100] == 0x0d && head[103] == 0 && head[104] == 0
	marked := n >= markOffset+4 && binary.BigEndian.Uint32(head[markOffset:]) == mark
	// Versions before set no mark; the schema is there in plain text.
	former := n >= markOffset+4 && binary.BigEndian.Uint32(head[markOffset:]) == 0 &&
		bytes.Contains(head, []byte("CREATE TABLE galleries (")) && bytes.Contains(head, []byte("CREATE TABLE images ("))
	switch {
	case !marked && !former && !empty:
		return false, ErrForeign
	case st.Size() > maxSize:
		return true, errUnusable
	}
	return marked || former, nil
}

// damaged tells what calls for a new index in the place of this one from what lies in the disk, or belongs to others.
func damaged(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return slices.Contains([]int{lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB, lib.SQLITE_FORMAT, lib.SQLITE_ERROR, lib.SQLITE_SCHEMA, lib.SQLITE_MISMATCH, lib.SQLITE_TOOBIG, lib.SQLITE_CONSTRAINT}, e.Code()&0xff)
	}
	return errors.Is(err, errUnusable)
}

// An index may come from elsewhere with its workspace: nothing in it is run (https://www.sqlite.org/security.html).
var cautious = []string{"trusted_schema(OFF)", "cell_size_check(ON)", "mmap_size(0)", "busy_timeout(10000)", "temp_store(MEMORY)"}

func dsn(path string, more url.Values, pragmas ...string) string {
	q := url.Values{"_pragma": append(slices.Clone(cautious), pragmas...), "_txlock": {"immediate"}, "_defensive": {"1"}}
	for k, v := range more {
		q[k] = v
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

// connections is how many statements run at once.
const connections = 5

// open opens the index at path or makes one there.
func open(ctx context.Context, path string) (_ *sql.DB, fresh bool, err error) {
	if _, err := inspect(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	db, err := sql.Open("sqlite", dsn(path, nil, "journal_mode(WAL)", "synchronous(NORMAL)"))
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	db.SetMaxOpenConns(connections)
	// A hostile or damaged file may keep SQLite busy for ever.
	limit := 20 * time.Second
	if st, err := os.Stat(path); err == nil {
		limit += time.Duration(st.Size()/(10<<20)) * time.Second
	}
	brief, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	fresh, err = prepare(brief, db)
	if err != nil && ctx.Err() == nil && brief.Err() != nil {
		err = errors.Join(errUnusable, err)
	}
	return db, fresh, err
}

// prepare checks an index and brings its schema up to date.
func prepare(ctx context.Context, db *sql.DB) (fresh bool, err error) {
	version, id, now, err := describe(ctx, db)
	if err != nil {
		return false, err
	}
	if version < 0 || version > len(migrations) {
		return false, errors.Join(errUnusable, sentence.Errorf("it has format %d, newer than %d", version, len(migrations)))
	}
	// What is not exactly as this program makes it is not looked into: a view may be endless, a trigger do anything.
	want, err := expected(version)
	if err != nil {
		return false, err
	}
	if !slices.Equal(now, want) {
		if id != mark && !slices.ContainsFunc(now, func(d string) bool { return strings.HasPrefix(d, "table\x00galleries\x00") }) {
			return false, ErrForeign
		}
		return false, errors.Join(errUnusable, sentence.Errorf("it is not made as this program makes it"))
	}
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return false, err
	}
	if verdict != "ok" {
		return false, errors.Join(errUnusable, errors.New(verdict))
	}
	if id != mark || version < len(migrations) {
		if err := migrate(ctx, db); err != nil {
			return false, err
		}
	}
	var filled string
	err = db.QueryRowContext(ctx, "SELECT value FROM meta WHERE key='filled'").Scan(&filled)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return filled != "yes", err
}

// migrate brings the schema to the newest version, and marks the index as this program's.
func migrate(ctx context.Context, db *sql.DB) error {
	return inTx(ctx, db, func(tx *sql.Tx) error {
		var version int // another process may have been first
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
			return err
		}
		for v := version; v < len(migrations); v++ {
			if _, err := tx.ExecContext(ctx, migrations[v]); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version=%d; PRAGMA application_id=%d", max(version, len(migrations)), mark))
		return err
	})
}

// describe reads version, mark and schema at one moment: another process may be making the index.
func describe(ctx context.Context, db *sql.DB) (version, id int, defined []string, err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return 0, 0, nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, "BEGIN"); err != nil {
		return 0, 0, nil, err
	}
	defer func() {
		_, end := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		err = errors.Join(err, end)
	}()
	if defined, err = schema(ctx, conn); err != nil {
		return 0, 0, nil, err
	}
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return 0, 0, nil, err
	}
	err = conn.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id)
	return version, id, defined, err
}

// schema lists what is defined in an index.
func schema(ctx context.Context, conn *sql.Conn) (_ []string, err error) {
	rows, err := conn.QueryContext(ctx, "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema LIMIT 1000")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var out []string
	for rows.Next() {
		var what, name, table, text string
		if err := rows.Scan(&what, &name, &table, &text); err != nil {
			return nil, err
		}
		out = append(out, strings.Join([]string{what, name, table, text}, "\x00"))
	}
	slices.Sort(out)
	return out, rows.Err()
}

var schemas = sync.OnceValues(func() ([][]string, error) {
	ctx := context.Background()
	db, hold, err := memory(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _, _ = hold.Close(), db.Close() }()
	out := make([][]string, len(migrations)+1)
	for v, m := range migrations {
		if _, err := hold.ExecContext(ctx, m); err != nil {
			return nil, err
		}
		if out[v+1], err = schema(ctx, hold); err != nil {
			return nil, err
		}
	}
	return out, nil
})

// expected is the schema that this program makes for a version.
func expected(version int) ([]string, error) {
	all, err := schemas()
	if err != nil {
		return nil, err
	}
	return all[version], nil
}

var memories atomic.Int64

// memory makes an index in memory, which lives as long as hold is open.
func memory(ctx context.Context) (db *sql.DB, hold *sql.Conn, err error) {
	name := fmt.Sprintf("/unnoise-%d", memories.Add(1))
	if db, err = sql.Open("sqlite", dsn(name, url.Values{"vfs": {"memdb"}})); err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(connections)
	if hold, err = db.Conn(ctx); err == nil {
		err = hold.PingContext(ctx)
	}
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, hold, nil
}

// openMemory makes the index in memory where there can be none on the disk, for which cause is the reason.
func openMemory(ctx context.Context, cause error) (*sql.DB, *sql.Conn, error) {
	db, hold, err := memory(ctx)
	if err == nil {
		err = migrate(ctx, db)
	}
	if err != nil {
		return nil, nil, sentence.Errorf("the index cannot be made: %w", errors.Join(cause, err))
	}
	return db, hold, nil
}

func inTx(ctx context.Context, db *sql.DB, do func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	return tx.Commit()
}
