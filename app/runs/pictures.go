package runs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"unnoise/app/disk"
	"unnoise/pipeline/data"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// PicturesName is the file in a run's folder that names the pictures it was trained on and those it held out.
const PicturesName = "pictures.json"

const (
	picturesVersion = 1
	maxPictures     = 1 << 30
)

// pictures is pictures.json. It names pictures by what is in them, so that they are known again in any place, and stays when
// the decoded pictures are dropped.
type pictures struct {
	Version int       `json:"version"`
	SHA256  string    `json:"sha256"` // of the file with this one empty
	Trained []picture `json:"trained"`
	Held    []picture `json:"held_out"`
}

// picture is what is in a picture's file, and what the network sees of it: the same where the file was only saved in another format.
type picture struct {
	Content string `json:"content,omitempty"`
	Pixels  string `json:"pixels"`
	Name    string `json:"name,omitempty"` // where the content is not known, as in what older versions decoded
}

// picturesOf lists the pictures of a cache by the run's split.
func picturesOf(c *data.Cache, h data.Holdout) (p pictures, err error) {
	list := func(idx []int) ([]picture, error) {
		out := make([]picture, len(idx))
		for k, i := range idx {
			pixels, err := c.Pixels(i)
			if err != nil {
				return nil, err
			}
			out[k] = picture{Content: c.Content(i), Pixels: pixels}
			if out[k].Content == "" {
				out[k].Name = c.Name(i)
			}
		}
		return out, nil
	}
	train, held := c.Split(h)
	p.Version = picturesVersion
	if p.Trained, err = list(train); err != nil {
		return p, err
	}
	p.Held, err = list(held)
	return p, err
}

// remember notes the pictures that the run is about to be trained on. Those of before, where others were there, stay noted.
func (r *Run) remember(c *data.Cache) error {
	now, err := picturesOf(c, r.Info().Train.Holdout())
	if err != nil {
		return err
	}
	before, err := readPictures(r.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errPictures) { // what is damaged is of no use
		return err
	}
	have := make(map[picture]bool, len(now.Trained))
	for _, p := range now.Trained {
		have[p] = true
	}
	for _, p := range before.Trained {
		if !have[p] {
			have[p] = true
			now.Trained = append(now.Trained, p)
		}
	}
	held := now.Held
	now.Held = nil
	for _, p := range append(held, before.Held...) {
		if !have[p] {
			have[p] = true
			now.Held = append(now.Held, p)
		}
	}
	return now.write(r.Dir)
}

// errPictures marks a list of pictures that is damaged.
var errPictures = sentence.Errorf("the run's list of pictures is damaged")

func (p pictures) bytes() ([]byte, error) {
	p.SHA256 = ""
	b, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	p.SHA256 = hex.EncodeToString(sum[:])
	return json.Marshal(p)
}

func (p pictures) write(dir string) error {
	b, err := p.bytes()
	if err == nil {
		err = durable.WriteFile(filepath.Join(dir, PicturesName), func(w io.Writer) error {
			_, err := w.Write(b)
			return err
		})
	}
	if err != nil {
		return sentence.Errorf("the run's list of pictures cannot be written: %w", err)
	}
	return nil
}

// readPictures reads the list of a run's pictures. The error is fs.ErrNotExist where there is none, as with runs of older versions.
func readPictures(dir string) (p pictures, err error) {
	path := filepath.Join(dir, PicturesName)
	b, err := durable.ReadFile(path, maxPictures)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(b, &p); err != nil || p.Version < 1 {
		return pictures{}, fmt.Errorf("%w: %s", errPictures, path)
	}
	if p.Version > picturesVersion {
		return p, sentence.T("{{.Path}} has version {{.Version}}, and this program reads up to {{.Known}}: use a newer Unnoise",
			"Path", path, "Version", p.Version, "Known", picturesVersion).Because(disk.ErrNewer)
	}
	if want, err := p.bytes(); err != nil || !bytes.Equal(b, want) {
		return pictures{}, fmt.Errorf("%w: %s", errPictures, path)
	}
	return p, nil
}

// CheckPictures says what is wrong with the list of a run's pictures; nothing is, where there is none.
func CheckPictures(dir string) error {
	_, err := readPictures(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// WritePictures lists the pictures of a run anew, by those that were decoded for it.
func WritePictures(dir string) error {
	r, err := Open(dir)
	if err != nil {
		return err
	}
	c, err := r.trainedOn(r.Info().Data)
	if err != nil {
		return err
	}
	if c == nil {
		return sentence.Errorf("the pictures that were decoded for the run %s are not there any more", dir)
	}
	p, err := picturesOf(c, r.Info().Train.Holdout())
	if err := errors.Join(err, c.Close()); err != nil {
		return err
	}
	return p.write(dir)
}

// past is what is known of the pictures that the run was trained on: as it noted them, else as they were decoded for it; nil where
// both are gone.
func (r *Run) past() (*pictures, error) {
	p, err := readPictures(r.Dir)
	switch {
	case err == nil:
		return &p, nil
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errPictures):
		return nil, err
	}
	c, err := r.trainedOn(r.Info().Data)
	if c == nil || err != nil {
		return nil, err
	}
	p, err = picturesOf(c, r.Info().Train.Holdout())
	return &p, errors.Join(err, c.Close())
}

// parted is which of a cache's pictures can be measured on.
type parted struct {
	use     []int // those that the run was not trained on
	trained int   // how many it was trained on
	fresh   int   // how many of those to use the run never had, neither to train on nor held out
	known   bool  // that is certain
}

// part finds the pictures in a cache that the run was not trained on.
func (r *Run) part(c *data.Cache) (out parted, err error) {
	p, err := r.past()
	if err != nil {
		return out, err
	}
	if p == nil { // the rule is all that is left
		train, held := c.Split(r.Info().Train.Holdout())
		return parted{use: held, trained: len(train)}, nil
	}
	type known struct{ content, pixels, name map[string]bool }
	index := func(all []picture) known {
		k := known{map[string]bool{}, map[string]bool{}, map[string]bool{}}
		for _, p := range all {
			k.content[p.Content], k.pixels[p.Pixels], k.name[p.Name] = true, true, true
		}
		delete(k.content, "")
		delete(k.name, "")
		return k
	}
	trained, held := index(p.Trained), index(p.Held)
	out.known = true
	for i := range c.Len() {
		pixels, err := c.Pixels(i)
		if err != nil {
			return out, err
		}
		content, name := c.Content(i), c.Name(i)
		switch {
		case held.content[content], held.name[name] && held.pixels[pixels]:
			out.use = append(out.use, i)
		case trained.content[content], trained.pixels[pixels], trained.name[name]:
			out.trained++
		case held.pixels[pixels], held.name[name]:
			out.use = append(out.use, i)
		default:
			out.use = append(out.use, i)
			out.fresh++
		}
	}
	return out, nil
}
