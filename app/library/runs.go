package library

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"unnoise/runtime/sentence"
)

// Run is a row of the index of runs.
type Run struct {
	ID         string
	Stamp      string // of the files it was read from
	Number     int
	Name       string
	State      string
	Error      sentence.Text
	Dataset    string
	Preset     string
	Step       int64
	Steps      int64
	Loss       float64 // NaN is none
	HeldOut    float64 // NaN is none
	Params     int64
	Width      int
	Height     int
	Channels   int
	Created    time.Time
	Updated    time.Time
	Elapsed    time.Duration
	Bytes      int64
	Notes      string
	Tags       []string
	Starred    bool
	Grid       int64  // step of the newest sample grid; −1 is none
	GridName   string // its file name
	Checkpoint int64  // step of the newest checkpoint; −1 is none
}

// RunQuery chooses and sorts runs.
type RunQuery struct {
	Search        string
	Tag           string
	Starred       bool
	State         string
	HasCheckpoint bool
	IDs           []string // nil is all
	Order         string   // number, name, updated, loss, heldout, step or state; "" is number
	Reverse       bool
	Limit, Offset int
}

const runColumns = "id, stamp, number, name, state, error, dataset, preset, step, steps, loss, heldout, params, width, height, channels, created, updated, elapsed, bytes, notes, tags, starred, grid, grid_name, checkpoint"

// runOrders is the usual direction of each order and its opposite.
var runOrders = map[string][2]string{
	"":        {"number DESC, created DESC, id", "number, created, id"},
	"number":  {"number DESC, created DESC, id", "number, created, id"},
	"name":    {"name COLLATE NOCASE, id", "name COLLATE NOCASE DESC, id"},
	"updated": {"updated DESC, id", "updated, id"},
	"loss":    {"loss IS NULL, loss, id", "loss IS NULL, loss DESC, id"},
	"heldout": {"heldout IS NULL, heldout, id", "heldout IS NULL, heldout DESC, id"},
	"step":    {"step DESC, id", "step, id"},
	"state":   {"state, number DESC, id", "state DESC, number DESC, id"},
}

func (q RunQuery) where() (string, []any) {
	var conds []string
	var args []any
	for _, w := range words(q.Search) {
		conds, args = append(conds, "instr(search, ?) > 0"), append(args, w)
	}
	if q.Tag != "" {
		conds, args = append(conds, "instr(tags, ?) > 0"), append(args, "\n"+q.Tag+"\n")
	}
	if q.Starred {
		conds = append(conds, "starred = 1")
	}
	if q.State != "" {
		conds, args = append(conds, "state = ?"), append(args, q.State)
	}
	if q.HasCheckpoint {
		conds = append(conds, "checkpoint >= 0")
	}
	if q.IDs != nil {
		conds = append(conds, "id IN ("+marks(len(q.IDs))+")")
		for _, id := range q.IDs {
			args = append(args, id)
		}
	}
	if len(conds) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(conds, " AND "), args
}

// Runs reads the runs that q chooses.
func (d *DB) Runs(ctx context.Context, q RunQuery) (_ []Run, err error) {
	defer d.saw(&err)
	order, ok := runOrders[q.Order]
	if !ok {
		return nil, sentence.Errorf("runs cannot be sorted by %q", q.Order)
	}
	by := order[0]
	if q.Reverse {
		by = order[1]
	}
	where, args := q.where()
	query := "SELECT " + runColumns + " FROM runs" + where + " ORDER BY " + by
	if q.Limit > 0 || q.Offset > 0 {
		limit := q.Limit
		if limit <= 0 {
			limit = -1
		}
		query, args = query+" LIMIT ? OFFSET ?", append(args, limit, q.Offset)
	}
	rows, err := d.db.Load().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var out []Run
	for rows.Next() {
		var r Run
		var loss, held sql.NullFloat64
		var created, updated, elapsed int64
		var tags, failure string
		if err := rows.Scan(&r.ID, &r.Stamp, &r.Number, &r.Name, &r.State, &failure, &r.Dataset, &r.Preset, &r.Step, &r.Steps, &loss, &held,
			&r.Params, &r.Width, &r.Height, &r.Channels, &created, &updated, &elapsed, &r.Bytes, &r.Notes, &tags, &r.Starred, &r.Grid, &r.GridName, &r.Checkpoint); err != nil {
			return nil, err
		}
		r.Loss, r.HeldOut = fromNull(loss), fromNull(held)
		r.Created, r.Updated, r.Elapsed = time.Unix(0, created), time.Unix(0, updated), time.Duration(elapsed)
		r.Tags = splitTags(tags)
		if failure != "" && json.Unmarshal([]byte(failure), &r.Error) != nil {
			r.Error = sentence.T(failure) // as older versions kept it
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// CountRuns is how many runs q chooses, limit and offset aside.
func (d *DB) CountRuns(ctx context.Context, q RunQuery) (n int, err error) {
	defer d.saw(&err)
	where, args := q.where()
	err = d.db.Load().QueryRowContext(ctx, "SELECT count(*) FROM runs"+where, args...).Scan(&n)
	return n, err
}

// Run reads one run; ok is false if the index has none of that ID.
func (d *DB) Run(ctx context.Context, id string) (r Run, ok bool, err error) {
	defer d.saw(&err)
	rs, err := d.Runs(ctx, RunQuery{IDs: []string{id}})
	if err != nil || len(rs) == 0 {
		return Run{}, false, err
	}
	return rs[0], true, nil
}

// PutRuns adds or replaces runs in one transaction.
func (d *DB) PutRuns(ctx context.Context, runs ...Run) error {
	if len(runs) == 0 {
		return nil
	}
	return d.tx(ctx, func(tx *sql.Tx) error {
		st, err := tx.PrepareContext(ctx, "INSERT OR REPLACE INTO runs ("+runColumns+", search) VALUES ("+marks(27)+")")
		if err != nil {
			return err
		}
		for _, r := range runs {
			search := strings.ToLower(strings.Join(append([]string{r.ID, r.Name, r.Notes, r.Dataset, r.Preset, r.State}, r.Tags...), "\n"))
			var failure []byte
			if r.Error.Template != "" {
				if failure, err = json.Marshal(r.Error); err != nil {
					return errors.Join(err, st.Close())
				}
			}
			if _, err := st.ExecContext(ctx, r.ID, r.Stamp, r.Number, r.Name, r.State, string(failure), r.Dataset, r.Preset, r.Step, r.Steps, toNull(r.Loss), toNull(r.HeldOut),
				r.Params, r.Width, r.Height, r.Channels, nano(r.Created), nano(r.Updated), int64(r.Elapsed), r.Bytes, r.Notes, joinTags(r.Tags), r.Starred, r.Grid, r.GridName, r.Checkpoint, search); err != nil {
				return errors.Join(err, st.Close())
			}
		}
		return st.Close()
	})
}

// DeleteRuns takes runs out of the index.
func (d *DB) DeleteRuns(ctx context.Context, ids ...string) error {
	return d.deleteIDs(ctx, []string{"DELETE FROM runs WHERE id=?"}, ids)
}

func (d *DB) deleteIDs(ctx context.Context, statements, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	return d.tx(ctx, func(tx *sql.Tx) error {
		for _, id := range ids {
			for _, s := range statements {
				if _, err := tx.ExecContext(ctx, s, id); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// RunStamps is the stamp of every run in the index.
func (d *DB) RunStamps(ctx context.Context) (map[string]string, error) { return d.stamps(ctx, "runs") }

// Tags is every tag in use, sorted.
func (d *DB) Tags(ctx context.Context) (_ []string, err error) {
	defer d.saw(&err)
	rows, err := d.db.Load().QueryContext(ctx, "SELECT DISTINCT tags FROM runs WHERE tags <> ''")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	seen := make(map[string]bool)
	for rows.Next() {
		var t string
		if err := rows.Scan(&t); err != nil {
			return nil, err
		}
		for _, tag := range splitTags(t) {
			seen[tag] = true
		}
	}
	var out []string
	for t := range seen {
		out = append(out, t)
	}
	slices.Sort(out)
	return out, rows.Err()
}

// Tags are stored one a line with a line break at both ends, so that a whole one can be found.
func joinTags(tags []string) string {
	if len(tags) == 0 {
		return ""
	}
	return "\n" + strings.Join(tags, "\n") + "\n"
}

func splitTags(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.Trim(s, "\n"), "\n")
}

func toNull(v float64) sql.NullFloat64 {
	return sql.NullFloat64{Float64: v, Valid: !math.IsNaN(v) && !math.IsInf(v, 0)}
}

func fromNull(v sql.NullFloat64) float64 {
	if !v.Valid {
		return math.NaN()
	}
	return v.Float64
}

// nano keeps the zero time zero: UnixNano is undefined for it.
func nano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// ActiveRuns is the runs that some process may be training, and those that are new.
func (d *DB) ActiveRuns(ctx context.Context) ([]string, error) {
	return d.ids(ctx, "SELECT id FROM runs WHERE state IN ('running', 'new')")
}
