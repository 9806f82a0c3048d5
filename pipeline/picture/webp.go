package picture

import (
	"bytes"
	"context"
	"encoding/binary"
	"image"
	"io"
	"time"

	"github.com/HugoSmits86/nativewebp"

	"unnoise/runtime/sentence"
)

// WriteWebP writes an animated, lossless WebP, atomically and never in the place of something. The frames are compressed by nativewebp, which writes single
// pictures; the container is put around them here (RFC 9649, section 2.7). The compressed frames are held in memory.
func WriteWebP(ctx context.Context, path string, fr Frames, a Animation) error {
	s, err := look(ctx, fr, a, nil)
	if err != nil {
		return sentence.Errorf("write WebP: %w", err)
	}
	scale := max(a.Scale, 1)
	if s.size.X > 16384/scale || s.size.Y > 16384/scale {
		return sentence.Errorf("write WebP: its frames would have %v times %d pixels, a WebP has at most 16384 a side", s.size, scale)
	}
	size := s.size.Mul(scale)
	flags := byte(0x02) // animation
	if !s.opaque {
		flags |= 0x10 // alpha
	}
	head := uint24(uint24([]byte{flags, 0, 0, 0}, size.X-1), size.Y-1)
	body := riffChunk([]byte("WEBP"), "VP8X", head)
	body = riffChunk(body, "ANIM", make([]byte, 6)) // transparent background, repeated for ever
	for i := range fr.N {
		img, err := frame(ctx, fr, i)
		if err != nil {
			return sentence.Errorf("write WebP: %w", err)
		}
		data, err := encodeVP8L(img, scale)
		if err != nil {
			return sentence.Errorf("write WebP: frame %d: %w", i+1, err)
		}
		h := uint24(uint24(make([]byte, 6), size.X-1), size.Y-1) // at the upper left corner
		h = uint24(h, int(a.delay(i, fr.N)/time.Millisecond))
		h = append(h, 0x02) // replace what was there; leave it
		body = riffChunk(body, "ANMF", append(h, data...))
	}
	if len(body) > 1<<31 {
		return sentence.Errorf("write WebP: the animation takes more than 2 GB")
	}
	return writeNew(path, func(w io.Writer) error {
		if _, err := w.Write(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body)))); err != nil {
			return err
		}
		_, err := w.Write(body)
		return err
	})
}

// encodeVP8L returns a picture's VP8L chunk, header and padding included.
func encodeVP8L(img image.Image, scale int) ([]byte, error) {
	img, err := Scale(img, scale)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := nativewebp.Encode(&b, img, nil); err != nil {
		return nil, err
	}
	const file = 12 // RIFF, length, WEBP
	if b.Len() < file+8 || string(b.Bytes()[file:file+4]) != "VP8L" {
		return nil, sentence.Errorf("the encoder wrote no VP8L chunk")
	}
	return b.Bytes()[file:], nil
}

func riffChunk(b []byte, kind string, data []byte) []byte {
	b = binary.LittleEndian.AppendUint32(append(b, kind...), uint32(len(data)))
	b = append(b, data...)
	if len(data)%2 == 1 {
		b = append(b, 0)
	}
	return b
}

func uint24(b []byte, v int) []byte { return append(b, byte(v), byte(v>>8), byte(v>>16)) }
