package data

import (
	"bytes"
	"context"
	"encoding/binary"
	"image"
	"image/jpeg"
	"io"
	"runtime"
	"slices"

	"unnoise/runtime/sentence"
)

// The standard library decodes the blocks of a JPEG. What is done here is around it: its header is read first, so that
// kinds it cannot decode are told by name and the work is known beforehand, and its planes are put together as libjpeg
// does, the chroma enlarged linearly instead of repeated.

// Bounds for the work that a JPEG may ask for. A progressive one may go over all its blocks in each of many scans, which
// take only a few bytes each.
const (
	maxScans      = 500
	maxScanBlocks = 100 << 20
)

// jpegHead is what the markers of a JPEG say (ITU-T T.81, annex B).
type jpegHead struct {
	width, height int
	ids, h, v     []byte // of the components: identifiers and sampling factors
	progressive   bool
	jfif, adobe   bool
	transform     byte // Adobe's: 0 is RGB or CMYK, 1 YCbCr, 2 YCCK
	transformAt   int  // where it stands in the file
	scans         int
	blocks        int  // of all scans together
	open          bool // there is no end marker
}

// readJPEG reads all markers up to the end of the picture. work is what may still be spent on scans, in blocks.
func readJPEG(b []byte, work int) (h jpegHead, err error) {
	at := 2
	for {
		for at < len(b) && b[at] != 0xff { // what is left of a scan, or does not belong here
			next := bytes.IndexByte(b[at:], 0xff)
			if next < 0 {
				at = len(b)
				break
			}
			at += next
		}
		for at+1 < len(b) && b[at+1] == 0xff {
			at++
		}
		if at+1 >= len(b) {
			break
		}
		kind := b[at+1]
		at += 2
		switch {
		case kind == 0 || kind == 1 || kind >= 0xd0 && kind <= 0xd8: // a byte of a scan, or a marker without a body
			continue
		case kind == 0xd9:
			return h, h.check()
		}
		if at+2 > len(b) {
			break
		}
		size := int(binary.BigEndian.Uint16(b[at:]))
		if size < 2 || at+size > len(b) {
			break
		}
		body := b[at+2 : at+size]
		if err := h.segment(kind, body, at+2); err != nil {
			return h, err
		}
		repeated := h.ids != nil && !h.progressive && h.scans > len(h.ids) // each component has one at most (T.81, section 4.8)
		if h.scans > maxScans || h.blocks > work || repeated {
			return h, refuse("it has too many scans for a picture of its size (%d): save it anew", h.scans)
		}
		at += size
	}
	h.open = true
	return h, h.check() // mostly cut off, as the decoder will say; what stands before it may be another reason
}

func (h *jpegHead) segment(kind byte, body []byte, at int) error {
	switch kind {
	case 0xc0, 0xc1, 0xc2:
		if len(body) < 6 || len(body) != 6+3*int(body[5]) || h.ids != nil {
			return errSizes
		}
		if body[0] != 8 {
			return unsupported("JPEG", sentence.T("{{.N}} bits per channel", "N", body[0]))
		}
		h.progressive = kind == 0xc2
		h.height, h.width = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
		for c := range slices.Chunk(body[6:], 3) {
			h.ids, h.h, h.v = append(h.ids, c[0]), append(h.h, c[1]>>4), append(h.v, c[1]&15)
		}
	case 0xc3, 0xc7, 0xcb, 0xcf:
		return unsupported("JPEG", sentence.T("lossless"))
	case 0xc5, 0xc6, 0xcd, 0xce:
		return unsupported("JPEG", sentence.T("hierarchical"))
	case 0xc9, 0xca:
		return unsupported("JPEG", sentence.T("arithmetic coding"))
	case 0xe0:
		h.jfif = h.jfif || bytes.HasPrefix(body, []byte("JFIF\x00"))
	case 0xee:
		if bytes.HasPrefix(body, []byte("Adobe")) && len(body) >= 12 {
			h.adobe, h.transform, h.transformAt = true, body[11], at+11
		}
	case 0xda:
		h.scans++
		if h.ids == nil || len(body) < 1 {
			return nil // the decoder says what is wrong
		}
		for _, id := range body[1:min(len(body), 1+2*int(body[0]))] {
			if i := bytes.IndexByte(h.ids, id); i >= 0 {
				h.blocks += h.blocksOf(i)
			}
		}
	}
	return nil
}

// blocksOf is how many blocks of 8 × 8 samples a component has.
func (h *jpegHead) blocksOf(i int) int {
	hm, vm := int(slices.Max(h.h)), int(slices.Max(h.v))
	across := (h.width + 8*max(hm, 1) - 1) / (8 * max(hm, 1))
	down := (h.height + 8*max(vm, 1) - 1) / (8 * max(vm, 1))
	return across * down * int(h.h[i]) * int(h.v[i])
}

// check refuses what the decoder cannot read, each with its reason.
func (h *jpegHead) check() error {
	n := len(h.ids)
	if n == 0 {
		return nil // damaged, as the decoder will say
	}
	if n == 2 || n > 4 {
		return unsupported("JPEG", sentence.T("{{.N}} channels", "N", n))
	}
	if h.height == 0 && h.width > 0 {
		return unsupported("JPEG", sentence.T("a height that is told after the pixels"))
	}
	if n == 1 {
		return nil
	}
	fine := true
	for i := range n {
		a, b := h.h[i], h.v[i]
		if a < 1 || a > 4 || b < 1 || b > 4 {
			return refuse("it is damaged (%v)", jpeg.FormatError("luma/chroma subsampling ratio"))
		}
		same := a == h.h[0] && b == h.v[0]
		switch {
		case a == 3 || b == 3:
			fine = false
		case n == 3 && i == 0:
			fine = fine && b != 4
		case n == 3 && i == 1:
			fine = fine && h.h[0]%a == 0 && h.v[0]%b == 0
		case n == 3:
			fine = fine && a == h.h[1] && b == h.v[1]
		case i == 0:
			fine = fine && a == b && a <= 2
		case i < 3:
			fine = fine && a == 1 && b == 1
		default:
			fine = fine && same
		}
	}
	if !fine {
		ratio := make([]byte, 0, 4*n)
		for i := range n {
			ratio = append(ratio, ' ', '0'+h.h[i], 'x', '0'+h.v[i])
		}
		return unsupported("JPEG", sentence.T("the sampling factors{{.Factors}}", "Factors", string(ratio)))
	}
	return nil
}

// rgb says that three components are red, green and blue, as libjpeg tells it.
func (h *jpegHead) rgb() bool {
	switch {
	case h.jfif:
		return false
	case h.adobe:
		return h.transform == 0
	}
	return string(h.ids) == "RGB"
}

// memory is what the decoder takes besides the pixels that it hands out: its planes, and the coefficients of a progressive
// picture, 4 bytes each.
func (h *jpegHead) memory() int64 {
	n := int64(0)
	for i := range h.ids {
		n += int64(h.blocksOf(i)) * 64
	}
	if h.progressive {
		n *= 5
	}
	return n
}

func jpegInfo(b []byte) (in info, err error) {
	h, err := readJPEG(b, maxScanBlocks)
	if err != nil {
		return in, err
	}
	if len(h.ids) == 0 {
		_, err := jpeg.DecodeConfig(bytes.NewReader(b)) // says what is wrong
		if err == nil {
			err = errSizes
		}
		return in, err
	}
	in = info{width: h.width, height: h.height, channels: 3, bits: 8, memory: h.memory()}
	if len(h.ids) == 1 {
		in.channels = 1
	}
	return in, nil
}

func decodeJPEG(ctx context.Context, b []byte, _ info) (image.Image, error) {
	h, err := readJPEG(b, maxScanBlocks)
	if err != nil {
		return nil, err
	}
	p, err := h.decode(ctx, b)
	if err != nil {
		return nil, err
	}
	if h.memory() > largePicture {
		runtime.GC() // the coefficients
	}
	n := len(p.planes)
	if n == 1 {
		return &image.Gray{Pix: p.planes[0].pix, Stride: p.planes[0].stride, Rect: image.Rect(0, 0, h.width, h.height)}, nil
	}
	ycc := n == 3 && !h.rgb() || n == 4 && h.adobe && h.transform != 0
	out := image.NewNRGBA(image.Rect(0, 0, h.width, h.height))
	row := make([]uint8, n*h.width)
	for y := range h.height {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		dst := out.Pix[y*out.Stride:]
		if n == 3 && ycc { // nearly all of them
			rows := p.rows(y)
			ys, cb, cr := rows[0], rows[1], rows[2]
			for x := range ys {
				d := dst[4*x : 4*x+4 : 4*x+4]
				d[0], d[1], d[2] = fromYCbCr(ys[x], cb[x], cr[x])
				d[3] = 255
			}
			continue
		}
		p.row(y, ycc, row)
		for x := range h.width {
			s, d := row[n*x:n*x+n], dst[4*x:4*x+4]
			if n == 4 { // Adobe's, the only ones there are, hold how little ink there is
				key := 255 - s[3]
				if h.adobe && h.transform != 0 { // converted like RGB, of which CMY is the inverse
					d[0], d[1], d[2] = inked(s[0], key), inked(s[1], key), inked(s[2], key)
				} else {
					d[0], d[1], d[2] = inked(255-s[0], key), inked(255-s[1], key), inked(255-s[2], key)
				}
			} else {
				d[0], d[1], d[2] = s[0], s[1], s[2]
			}
			d[3] = 255
		}
	}
	return out, nil
}

// inked is the light that an ink and black leave.
func inked(ink, key uint8) uint8 {
	left := 255 - int(key)
	return uint8(left - (left*int(ink)+127)/255)
}

// jpegPlanes is a decoded JPEG, its components as they are stored.
type jpegPlanes struct {
	width  int
	planes []plane
	wide   [][]uint8 // a row of each that was enlarged
	full   [][]uint8
}

// decode decodes b, whose head is h. An Adobe marker is set, or added, that has four components handed out as they are
// stored: converted ones would have their chroma repeated.
func (h *jpegHead) decode(ctx context.Context, b []byte) (*jpegPlanes, error) {
	if n := len(h.ids); n == 4 {
		if h.adobe {
			b = bytes.Clone(b)
			b[h.transformAt] = 0
		} else {
			b = slices.Concat(b[:2], []byte("\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"), b[2:])
		}
	}
	few := 4096
	if h.scans > 1 { // each byte may stand for a long way
		few = 128
	}
	whole := h.open && !h.progressive && h.scans == 1 // if all blocks are there; some programs leave out the marker
	if whole {
		b = append(bytes.Clone(b), 0xff, 0xd9)
	}
	img, err := jpeg.Decode(&contextReader{ctx: ctx, b: b, few: few})
	if err != nil {
		if whole && ctx.Err() == nil {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if img.Bounds() != image.Rect(0, 0, h.width, h.height) {
		return nil, errSizes
	}
	p := &jpegPlanes{width: h.width}
	full := func(pix []uint8, stride int) plane {
		return plane{pix: pix, stride: stride, w: h.width, h: h.height, fx: 1, fy: 1}
	}
	switch m := img.(type) {
	case *image.Gray:
		p.planes = []plane{full(m.Pix, m.Stride)}
	case *image.YCbCr:
		fx, fy := int(h.h[0]/h.h[1]), int(h.v[0]/h.v[1])
		c := plane{stride: m.CStride, w: (h.width + fx - 1) / fx, h: (h.height + fy - 1) / fy, fx: fx, fy: fy}
		cb, cr := c, c
		cb.pix, cr.pix = m.Cb, m.Cr
		p.planes = []plane{full(m.Y, m.YStride), cb, cr}
	case *image.RGBA:
		p.planes = split(m.Pix, m.Stride, h.width, h.height, []int{1, 1, 1}, 0)
	case *image.CMYK:
		f := int(h.h[0] / h.h[1])
		p.planes = split(m.Pix, m.Stride, h.width, h.height, []int{1, f, f, 1}, 255)
	default:
		return nil, errSizes
	}
	return p, nil
}

// split takes a picture of four bytes a pixel apart; every is how often a component repeats its samples in each direction.
func split(pix []uint8, stride, w, h int, every []int, invert uint8) []plane {
	out := make([]plane, len(every))
	for c, f := range every {
		p := plane{w: (w + f - 1) / f, h: (h + f - 1) / f, fx: f, fy: f}
		p.stride = p.w
		p.pix = make([]uint8, p.w*p.h)
		for y := range p.h {
			for x := range p.w {
				p.pix[y*p.w+x] = pix[y*f*stride+4*x*f+c] ^ invert
			}
		}
		out[c] = p
	}
	return out
}

// rows gives row y of each component, in the picture's width; they are valid until the next call.
func (p *jpegPlanes) rows(y int) [][]uint8 {
	if p.wide == nil {
		p.wide, p.full = make([][]uint8, len(p.planes)), make([][]uint8, len(p.planes))
	}
	for c := range p.planes {
		pl := &p.planes[c]
		if pl.fx == 1 && pl.fy == 1 {
			p.full[c] = pl.pix[y*pl.stride:][:p.width]
			continue
		}
		if p.wide[c] == nil {
			p.wide[c] = make([]uint8, p.width)
		}
		pl.row(y, p.wide[c])
		p.full[c] = p.wide[c]
	}
	return p.full
}

// row writes row y with its samples side by side; ycc converts the first three to red, green and blue.
func (p *jpegPlanes) row(y int, ycc bool, dst []uint8) {
	n := len(p.planes)
	for c, src := range p.rows(y) {
		for x, v := range src {
			dst[n*x+c] = v
		}
	}
	if !ycc {
		return
	}
	for i := 0; i+n <= len(dst); i += n {
		dst[i], dst[i+1], dst[i+2] = fromYCbCr(dst[i], dst[i+1], dst[i+2])
	}
}

// fromYCbCr converts as JFIF says (version 1.02, page 3), rounding to the nearest.
func fromYCbCr(y, cb, cr uint8) (r, g, b uint8) {
	const half = 1 << 15
	l, u, v := int32(y)<<16+half, int32(cb)-128, int32(cr)-128
	return clip8((l + 91881*v) >> 16), clip8((l - 22554*u - 46802*v) >> 16), clip8((l + 116130*u) >> 16)
}

func clip8(v int32) uint8 { return uint8(min(max(v, 0), 255)) }

// plane is a component of a picture, maybe with fewer samples than pixels.
type plane struct {
	pix    []uint8
	stride int
	w, h   int // samples
	fx, fy int // pixels a sample
	webp   bool
}

// row writes row y of the picture. Where a sample stands for two pixels in a direction, they lie a quarter of a sample
// before and behind it, so that its neighbour there has a quarter of the weight; the rounding is that of libjpeg's “fancy
// upsampling” (jdsample.c), which keeps narrow pictures and other factors as they are, or that of libwebp, which rounds twice.
func (p *plane) row(y int, dst []uint8) {
	near := p.pix[(y/p.fy)*p.stride:][:p.w]
	if p.fx > 2 || p.fy > 2 || p.fx == 2 && p.w <= 2 && !p.webp {
		for x := range dst {
			dst[x] = near[x/p.fx]
		}
		return
	}
	other := y/2 - 1 + y%2*2
	far := p.pix[min(max(other, 0), p.h-1)*p.stride:][:p.w]
	if p.fx == 1 { // above and below
		bias := 1 + y%2
		for x := range dst {
			dst[x] = uint8((3*int(near[x]) + int(far[x]) + bias) >> 2)
		}
		return
	}
	// At the edges, a sample is its own neighbour.
	prev := 0
	for i := range near {
		next := min(i+1, p.w-1)
		var left, right uint8
		switch {
		case p.webp:
			left, right = webpChroma(near, far, i, prev), webpChroma(near, far, i, next)
		case p.fy == 1:
			v := 3 * int(near[i])
			left, right = uint8((v+int(near[prev])+1)>>2), uint8((v+int(near[next])+2)>>2)
		default:
			v := 3 * (3*int(near[i]) + int(far[i]))
			left = uint8((v + 3*int(near[prev]) + int(far[prev]) + 8) >> 4)
			right = uint8((v + 3*int(near[next]) + int(far[next]) + 7) >> 4)
		}
		dst[2*i] = left
		if 2*i+1 < len(dst) {
			dst[2*i+1] = right
		}
		prev = i
	}
}

func webpChroma(near, far []uint8, own, other int) uint8 {
	a, c := int(near[own]), int(far[own])
	if own == other {
		return uint8((3*a + c + 2) >> 2)
	}
	b, d := int(near[other]), int(far[other])
	return uint8(((a+3*b+3*c+d+8)>>3 + a) >> 1)
}
