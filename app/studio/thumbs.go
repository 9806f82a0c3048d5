package studio

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"os"
	"path/filepath"

	"unnoise/app/thumbs"
	"unnoise/app/workspace"
	"unnoise/pipeline/data"
	"unnoise/pipeline/picture"
	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// loader finds whole pictures.
type loader struct{ *core }

// errNoCover is the answer for a run or gallery that has no picture yet.
var errNoCover = sentence.Errorf("there is no picture yet")

// file is the path of a picture that is a file of the workspace.
func (c *core) file(ctx context.Context, ref Ref) (string, error) {
	e, err := c.use()
	if err != nil {
		return "", err
	}
	switch ref.Kind {
	case GalleryImage:
		dir, err := workspace.Child(e.ws.Galleries(), ref.Owner)
		if err != nil {
			return "", err
		}
		return workspace.Child(dir, ref.Name)
	case SampleGrid:
		dir, err := workspace.Child(e.ws.Runs(), ref.Owner)
		if err != nil {
			return "", err
		}
		return workspace.Child(filepath.Join(dir, sampleDir), ref.Name)
	case RunCover:
		r, ok, err := e.lib.Run(ctx, ref.Owner)
		if err != nil {
			return "", err
		}
		if !ok || r.Grid < 0 {
			return "", errNoCover
		}
		return c.file(ctx, Ref{Kind: SampleGrid, Owner: ref.Owner, Name: r.GridName})
	default:
		return "", sentence.Errorf("the picture %+v is not a file", ref)
	}
}

// Load reads a picture as it is.
func (l loader) Load(ctx context.Context, ref Ref) (image.Image, error) {
	switch ref.Kind {
	case DatasetItem:
		return l.itemImage(ctx, ref.Owner, ref.Index)
	case DatasetCover, GalleryCover:
		return l.cover(ctx, ref)
	}
	path, err := l.file(ctx, ref)
	if err != nil {
		return nil, err
	}
	return picture.Read(path)
}

// shown reads a picture as the window shows it.
func (l loader) shown(ctx context.Context, ref Ref) (image.Image, error) {
	if ref.Kind != SampleGrid && ref.Kind != RunCover {
		return l.Load(ctx, ref)
	}
	path, err := l.file(ctx, ref)
	if err != nil {
		return nil, err
	}
	return l.sheet(ctx, ref, path)
}

// Stamp names a picture's content. Covers change and are cheap: they are not kept.
func (l loader) Stamp(ref Ref) string {
	switch ref.Kind {
	case DatasetItem:
		return l.itemStamp(ref.Owner, ref.Index)
	case GalleryImage, SampleGrid:
		path, err := l.file(context.Background(), ref)
		if err != nil {
			return ""
		}
		st, err := os.Stat(path)
		if err != nil {
			return ""
		}
		return fmt.Sprintf("%d/%s/%s/%d/%d", ref.Kind, ref.Owner, ref.Name, st.Size(), st.ModTime().UnixNano())
	}
	return ""
}

// coverImages is how many images a cover shows; the sheet is two by two.
const coverImages = 4

// cover is a sheet of the first images of a dataset or gallery.
func (l loader) cover(ctx context.Context, ref Ref) (image.Image, error) {
	var refs []Ref
	switch ref.Kind {
	case DatasetCover:
		items, err := datasetService{l.core}.Items(ctx, ref.Owner, ItemFilter{})
		if err != nil {
			return nil, err
		}
		for i := range min(coverImages, len(items)) { // from all over, so that several classes show
			refs = append(refs, Ref{Kind: DatasetItem, Owner: ref.Owner, Index: int(items[i*len(items)/coverImages%len(items)])})
		}
	default:
		keys, err := galleryService{core: l.core}.Images(ctx, ImageFilter{Gallery: ref.Owner})
		if err != nil {
			return nil, err
		}
		for i := range min(coverImages, len(keys)) {
			refs = append(refs, keys[i].Ref)
		}
	}
	if len(refs) == 0 {
		return nil, errNoCover
	}
	var imgs []image.Image
	for _, r := range refs {
		img, err := thumbLoader{l}.Load(ctx, r)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			continue
		}
		if b := img.Bounds(); max(b.Dx(), b.Dy()) > 128 {
			img = thumbs.Scale(img, 128)
		}
		imgs = append(imgs, img)
	}
	if len(imgs) == 0 {
		return nil, errNoCover
	}
	return picture.Grid(ctx, picture.FramesOf(imgs), picture.GridOptions{Background: image.Transparent.C})
}

// itemImage decodes an image of a dataset's source.
func (c *core) itemImage(ctx context.Context, id string, index int) (image.Image, error) {
	sc, err := c.scan(ctx, id)
	if err != nil {
		return nil, err
	}
	defer sc.release()
	if index < 0 || index >= len(sc.rep.Items) {
		return nil, sentence.Errorf("the dataset has %d images and none of number %d", len(sc.rep.Items), index)
	}
	src, err := sc.source()
	if err != nil {
		return nil, err
	}
	return src.Image(ctx, sc.rep.Items[index].Name)
}

// itemStamp names the content of an image of a dataset.
func (c *core) itemStamp(id string, index int) string {
	sc, err := c.scan(context.Background(), id)
	if err != nil {
		return ""
	}
	defer sc.release()
	if index < 0 || index >= len(sc.rep.Items) {
		return ""
	}
	it := sc.rep.Items[index]
	if it.Width*it.Height < 256*256 { // not kept on disk anyway: save the look at the file
		return ""
	}
	path := string(sc.info.Source)
	if sc.rep.Kind == data.Folder {
		path = filepath.Join(path, filepath.FromSlash(durable.Exact(it.Name)))
	}
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("item2/%s/%s/%d/%d", path, it.Name, st.Size(), st.ModTime().UnixNano())
}

type thumbService struct{ *core }

func (s thumbService) Cached(ref Ref, px int) *image.RGBA { return s.thumbs.Cached(ref, px) }

func (s thumbService) Request(ref Ref, px int, done func(*image.RGBA, error)) (cancel func()) {
	return s.thumbs.Request(ref, px, done)
}

func (s thumbService) Image(ctx context.Context, ref Ref) (*image.RGBA, error) {
	img, err := loader(s).shown(ctx, ref)
	if errors.Is(err, fs.ErrNotExist) {
		if gone := s.there(); gone != nil {
			err = gone
		}
	}
	if err != nil {
		return nil, err
	}
	return thumbs.ToRGBA(img), nil
}

func (s thumbService) Forget(owner string) {
	s.thumbs.Forget(func(r Ref) bool { return r.Owner == owner })
}

func (s thumbService) Memory() int64 { return s.thumbs.Memory() }
