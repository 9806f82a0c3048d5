package picture

import (
	"archive/zip"
	"bytes"
	"context"
	"hash/crc32"
	"image"
	"io"
	"io/fs"
	"time"

	"unnoise/runtime/sentence"
)

// Entry is one picture of an archive.
type Entry struct {
	Name  string // slash-separated and relative, such as "apples/000017.png"
	Image image.Image
	Meta  *Meta // nil: none
}

// WriteZip writes n pictures as PNGs into a zip archive, atomically and never in the place of something and as they are drawn. They are stored, since PNGs
// do not shrink further, in the order given and with one fixed date: the same pictures give the same bytes.
func WriteZip(ctx context.Context, path string, n int, at func(i int) (Entry, error)) error {
	if n < 1 {
		return errNoFrames
	}
	return writeNew(path, func(w io.Writer) error {
		z := zip.NewWriter(w)
		seen := make(map[string]bool, n)
		for i := range n {
			if err := ctx.Err(); err != nil {
				return err
			}
			e, err := at(i)
			if err != nil {
				return sentence.Errorf("picture %d: %w", i+1, err)
			}
			if !fs.ValidPath(e.Name) || e.Name == "." || seen[e.Name] {
				return sentence.Errorf("picture %d cannot be named %q in the archive", i+1, e.Name)
			}
			seen[e.Name] = true
			var b bytes.Buffer
			if err := EncodePNG(&b, e.Image, e.Meta); err != nil {
				return sentence.Errorf("picture %d: %w", i+1, err)
			}
			size := uint64(b.Len())
			f, err := z.CreateRaw(&zip.FileHeader{
				Name: e.Name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(b.Bytes()),
				CompressedSize64: size, UncompressedSize64: size,
				Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC), // the earliest a zip can hold
			})
			if err != nil {
				return err
			}
			if _, err := b.WriteTo(f); err != nil {
				return err
			}
		}
		return z.Close()
	})
}
