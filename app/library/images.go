package library

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"

	"unnoise/runtime/sentence"
)

// Gallery is a row of the index of galleries; Images, Starred and the cover are counted.
type Gallery struct {
	ID      string
	Stamp   string
	Name    string
	Run     string
	Created time.Time
	Updated time.Time
	Images  int
	Starred int
	First   string // name of the first image
}

// Image is a row of the index of images.
type Image struct {
	Gallery    string
	Name       string
	Starred    bool
	ModTime    int64 // nanoseconds
	Bytes      int64
	Width      int
	Height     int
	Seed       uint64
	Index      int
	Model      string
	Checkpoint int64
	Weights    string
	Sampler    string
	Steps      int
	Eta        float64
	Schedule   string
	Class      string
}

// ImageKey is what a grid needs of each image.
type ImageKey struct {
	Gallery, Name string
	Starred       bool
}

// ImageQuery chooses and sorts images. Search holds words that must all match: plain ones
// anywhere in the text, pairs such as sampler:ddim or steps:>20 in their field.
type ImageQuery struct {
	Gallery string
	Search  string
	Starred bool
	Newest  bool
}

// imageText and imageNumbers are the fields a search may name, and their columns.
var (
	imageText = map[string]string{
		"sampler": "sampler", "class": "class", "model": "model", "run": "model", "weights": "weights",
		"schedule": "schedule", "gallery": "gallery", "name": "name",
	}
	imageNumbers = map[string]string{
		"steps": "steps", "eta": "eta", "step": "checkpoint", "checkpoint": "checkpoint",
		"width": "width", "height": "height", "index": "idx",
	}
)

func (q ImageQuery) where() (string, []any, error) {
	var conds []string
	var args []any
	add := func(cond string, arg ...any) { conds, args = append(conds, cond), append(args, arg...) }
	if q.Gallery != "" {
		add("gallery = ?", q.Gallery)
	}
	if q.Starred {
		add("starred = 1")
	}
	for _, w := range words(q.Search) {
		key, value, pair := strings.Cut(w, ":")
		switch {
		case !pair:
			add("instr(search, ?) > 0", w)
		case key == "is" && strings.HasPrefix("starred", value) && value != "":
			add("starred = 1")
		case imageText[key] != "":
			add("instr(lower("+imageText[key]+"), ?) > 0", value)
		case key == "seed":
			seed, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return "", nil, sentence.Errorf("the search %q needs a whole number: write for instance seed:42", w)
			}
			add("seed = ?", int64(seed))
		case imageNumbers[key] != "":
			op := "="
			for _, o := range []string{">=", "<=", ">", "<", "="} {
				if strings.HasPrefix(value, o) {
					op, value = o, value[len(o):]
					break
				}
			}
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return "", nil, sentence.Errorf("the search %q needs a number: write for instance %s:20 or %s:>20", w, key, key)
			}
			add(imageNumbers[key]+" "+op+" ?", n)
		default:
			add("instr(search, ?) > 0", w)
		}
	}
	if len(conds) == 0 {
		return "", nil, nil
	}
	return " WHERE " + strings.Join(conds, " AND "), args, nil
}

// ImageKeys reads the keys of the images that q chooses.
func (d *DB) ImageKeys(ctx context.Context, q ImageQuery) (_ []ImageKey, err error) {
	defer d.saw(&err)
	where, args, err := q.where()
	if err != nil {
		return nil, err
	}
	order := " ORDER BY gallery, name"
	if q.Newest {
		order = " ORDER BY mtime DESC, gallery, name DESC"
	}
	rows, err := d.db.Load().QueryContext(ctx, "SELECT gallery, name, starred FROM images"+where+order, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var out []ImageKey
	for rows.Next() {
		var k ImageKey
		if err := rows.Scan(&k.Gallery, &k.Name, &k.Starred); err != nil {
			return nil, err
		}
		if n := len(out); n > 0 && out[n-1].Gallery == k.Gallery {
			k.Gallery = out[n-1].Gallery // one string for all of a gallery
		}
		out = append(out, k)
	}
	return out, rows.Err()
}

const galleryQuery = `SELECT g.id, g.stamp, g.name, g.run, g.created, g.updated, count(i.id), coalesce(sum(i.starred), 0), coalesce(min(i.name), '')
	FROM galleries g LEFT JOIN images i ON i.gallery = g.id`

// Galleries reads every gallery, newest first.
func (d *DB) Galleries(ctx context.Context) ([]Gallery, error) {
	return d.galleries(ctx, galleryQuery+" GROUP BY g.id ORDER BY g.created DESC, g.id")
}

// Gallery reads one; ok is false if the index has none of that ID.
func (d *DB) Gallery(ctx context.Context, id string) (g Gallery, ok bool, err error) {
	defer d.saw(&err)
	gs, err := d.galleries(ctx, galleryQuery+" WHERE g.id = ? GROUP BY g.id", id)
	if err != nil || len(gs) == 0 {
		return Gallery{}, false, err
	}
	return gs[0], true, nil
}

func (d *DB) galleries(ctx context.Context, query string, args ...any) (_ []Gallery, err error) {
	rows, err := d.db.Load().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var out []Gallery
	for rows.Next() {
		var g Gallery
		var created, updated int64
		if err := rows.Scan(&g.ID, &g.Stamp, &g.Name, &g.Run, &created, &updated, &g.Images, &g.Starred, &g.First); err != nil {
			return nil, err
		}
		g.Created, g.Updated = time.Unix(0, created), time.Unix(0, updated)
		out = append(out, g)
	}
	return out, rows.Err()
}

// GalleryStamps is the stamp of every gallery in the index.
func (d *DB) GalleryStamps(ctx context.Context) (map[string]string, error) {
	return d.stamps(ctx, "galleries")
}

// GalleryFiles is what the index knows of a gallery's files: modification time by name.
func (d *DB) GalleryFiles(ctx context.Context, id string) (_ map[string]int64, err error) {
	defer d.saw(&err)
	rows, err := d.db.Load().QueryContext(ctx, "SELECT name, mtime FROM images WHERE gallery=?", id)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out := make(map[string]int64)
	for rows.Next() {
		var name string
		var mtime int64
		if err := rows.Scan(&name, &mtime); err != nil {
			return nil, err
		}
		out[name] = mtime
	}
	return out, rows.Err()
}

// PutGallery adds or replaces a gallery's row, adds or replaces images, takes the gone ones
// out, and sets which are starred when stars is not nil, all in one transaction.
func (d *DB) PutGallery(ctx context.Context, g Gallery, images []Image, gone []string, stars map[string]bool) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO galleries VALUES (?,?,?,?,?,?)", g.ID, g.Stamp, g.Name, g.Run, nano(g.Created), nano(g.Updated)); err != nil {
			return err
		}
		for _, name := range gone {
			if _, err := tx.ExecContext(ctx, "DELETE FROM images WHERE gallery=? AND name=?", g.ID, name); err != nil {
				return err
			}
		}
		if err := putImages(ctx, tx, images); err != nil {
			return err
		}
		if stars == nil {
			return nil
		}
		if _, err := tx.ExecContext(ctx, "UPDATE images SET starred=0 WHERE gallery=? AND starred=1", g.ID); err != nil {
			return err
		}
		for name, on := range stars {
			if !on {
				continue
			}
			if _, err := tx.ExecContext(ctx, "UPDATE images SET starred=1 WHERE gallery=? AND name=?", g.ID, name); err != nil {
				return err
			}
		}
		return nil
	})
}

func putImages(ctx context.Context, tx *sql.Tx, images []Image) error {
	if len(images) == 0 {
		return nil
	}
	st, err := tx.PrepareContext(ctx, "INSERT OR REPLACE INTO images (gallery, name, starred, mtime, bytes, width, height, seed, idx, model, checkpoint, weights, sampler, steps, eta, schedule, class, search) VALUES ("+marks(18)+")")
	if err != nil {
		return err
	}
	for _, m := range images {
		search := strings.ToLower(strings.Join([]string{m.Name, m.Gallery, m.Model, m.Weights, m.Sampler, m.Schedule, m.Class, strconv.FormatUint(m.Seed, 10)}, "\n"))
		if _, err := st.ExecContext(ctx, m.Gallery, m.Name, m.Starred, m.ModTime, m.Bytes, m.Width, m.Height, int64(m.Seed), m.Index,
			m.Model, m.Checkpoint, m.Weights, m.Sampler, m.Steps, m.Eta, m.Schedule, m.Class, search); err != nil {
			return errors.Join(err, st.Close())
		}
	}
	return st.Close()
}

// DeleteGalleries takes galleries and their images out of the index.
func (d *DB) DeleteGalleries(ctx context.Context, ids ...string) error {
	return d.deleteIDs(ctx, []string{"DELETE FROM images WHERE gallery=?", "DELETE FROM galleries WHERE id=?"}, ids)
}

// Dataset is a row of the index of datasets; Summary is the caller's JSON.
type Dataset struct {
	ID, Stamp string
	Added     time.Time
	Summary   string
}

// Datasets reads every dataset, newest first.
func (d *DB) Datasets(ctx context.Context) (_ []Dataset, err error) {
	defer d.saw(&err)
	rows, err := d.db.Load().QueryContext(ctx, "SELECT id, stamp, added, summary FROM datasets ORDER BY added DESC, id")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var out []Dataset
	for rows.Next() {
		var s Dataset
		var added int64
		if err := rows.Scan(&s.ID, &s.Stamp, &added, &s.Summary); err != nil {
			return nil, err
		}
		s.Added = time.Unix(0, added)
		out = append(out, s)
	}
	return out, rows.Err()
}

// PutDataset adds or replaces a dataset.
func (d *DB) PutDataset(ctx context.Context, s Dataset) error {
	_, err := d.db.Load().ExecContext(ctx, "INSERT OR REPLACE INTO datasets VALUES (?,?,?,?)", s.ID, s.Stamp, nano(s.Added), s.Summary)
	return err
}

// DeleteDatasets takes datasets out of the index.
func (d *DB) DeleteDatasets(ctx context.Context, ids ...string) error {
	return d.deleteIDs(ctx, []string{"DELETE FROM datasets WHERE id=?"}, ids)
}

// DatasetStamps is the stamp of every dataset in the index.
func (d *DB) DatasetStamps(ctx context.Context) (map[string]string, error) {
	return d.stamps(ctx, "datasets")
}

// GalleriesSince is the galleries that got an image since then.
func (d *DB) GalleriesSince(ctx context.Context, since time.Time) ([]string, error) {
	return d.ids(ctx, "SELECT id FROM galleries WHERE updated >= ?", since.UnixNano())
}
