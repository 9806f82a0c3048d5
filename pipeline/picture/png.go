package picture

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// MetaFormat is the version of the `unnoise` chunk's JSON that this program writes.
const MetaFormat = 1

// Meta says where a picture came from: enough to draw it again.
type Meta struct {
	Format     int     `json:"format"`            // MetaFormat; WritePNG fills it in
	Version    string  `json:"version,omitempty"` // of Unnoise
	Run        string  `json:"run,omitempty"`
	Checkpoint int64   `json:"checkpoint"` // training step
	EMA        string  `json:"ema,omitempty"`
	Objective  string  `json:"objective,omitempty"`
	Schedule   string  `json:"schedule,omitempty"`
	Sampler    string  `json:"sampler,omitempty"`
	Steps      int     `json:"steps,omitempty"`
	Spacing    string  `json:"spacing,omitempty"` // of the steps; empty is the sampler's own
	Start      float64 `json:"start,omitempty"`   // highest σ/α, where the sampler started lower than it usually does
	Eta        float64 `json:"eta"`
	NoClip     bool    `json:"no_clip,omitempty"` // x̂0 was not limited to the range of pixels at each step
	Seed       uint64  `json:"seed"`
	Index      int     `json:"index"`           // of the picture under this seed; of a grid's first
	Count      int     `json:"count,omitempty"` // of pictures, where this is a grid or an animation
	Class      string  `json:"class,omitempty"`
	Width      int     `json:"width,omitempty"` // as sampled, before any enlargement; 0: as the picture is
	Height     int     `json:"height,omitempty"`
	// Pixels is the hash of the picture's pixels, see Digest; of an animation, of its first frame. EncodePNG fills it in;
	// earlier versions did not.
	Pixels string `json:"pixels,omitempty"`

	// Parameters is the `parameters` text as read; it is made afresh from the other fields when writing.
	Parameters string `json:"-"`
}

// SameOrigin reports whether two pictures were drawn by the same request, by whatever version of the program.
func (m Meta) SameOrigin(o Meta) bool {
	m.Format, m.Version, m.Pixels, m.Parameters = o.Format, o.Version, o.Pixels, o.Parameters
	return m == o
}

// ErrCut says that a PNG ends before its end.
var ErrCut = sentence.Errorf("it is cut short")

// ErrNoMeta is returned by ReadMeta for a sound PNG without an `unnoise` chunk.
var ErrNoMeta = sentence.Errorf("the picture carries no Unnoise metadata")

// parameters is the text that image browsers read: the prompt, if any, on its own line (here the class), then
// "Key: value" pairs; values with a comma, colon or line break are quoted as JSON. This is the form that
// AUTOMATIC1111's web UI established (modules/infotext_utils.py).
func (m Meta) parameters() string {
	var b strings.Builder
	if m.Class != "" {
		b.WriteString(strings.Join(strings.Fields(m.Class), " ") + "\n")
	}
	put := func(key, value string) {
		if strings.ContainsAny(value, ",:\n") {
			q, _ := json.Marshal(value) // a string always marshals
			value = string(q)
		}
		if key != "Steps" {
			b.WriteString(", ")
		}
		b.WriteString(key + ": " + value)
	}
	put("Steps", strconv.Itoa(m.Steps))
	put("Sampler", m.Sampler)
	put("Seed", strconv.FormatUint(m.Seed, 10))
	put("Size", fmt.Sprintf("%dx%d", m.Width, m.Height))
	put("Model", m.Run)
	return b.String()
}

// EncodePNG writes a PNG. With meta it carries two text chunks before the pixels, `parameters` (tEXt, or iTXt where
// Latin-1 is not enough) and `unnoise` (iTXt, JSON); with nil it carries none.
func EncodePNG(w io.Writer, img image.Image, meta *Meta) error {
	var chunks []byte
	if meta != nil {
		m := *meta
		m.Format, m.Pixels = MetaFormat, Digest(img)
		if m.Width == 0 || m.Height == 0 {
			m.Width, m.Height = img.Bounds().Dx(), img.Bounds().Dy()
		}
		js, err := json.Marshal(m)
		if err != nil {
			return sentence.Errorf("encode picture metadata: %w", err)
		}
		chunks = appendText(chunks, "parameters", m.parameters())
		chunks = appendChunk(chunks, "iTXt", international("unnoise", string(js)))
	}
	// image/png writes no text chunks: they are slipped in behind the signature and IHDR, which have a fixed length.
	if err := png.Encode(&insert{w: w, at: len(pngSignature) + 25, extra: chunks}, img); err != nil {
		return sentence.Errorf("encode PNG: %w", err)
	}
	return nil
}

// WritePNG writes a new PNG file with EncodePNG, atomically. Nothing is replaced: the error wraps fs.ErrExist where there is
// something.
func WritePNG(path string, img image.Image, meta *Meta) error {
	return durable.WriteNew(path, pngFile(img, meta))
}

// ReplacePNG is WritePNG, on a disk, that may replace a picture that this program has written and nobody has changed since.
func ReplacePNG(d durable.Disk, path string, img image.Image, meta *Meta) error {
	return d.WriteOver(path, func(f *os.File) error { _, err := verify(f); return err }, pngFile(img, meta))
}

// MendPNG is WritePNG that may replace the beginning of the very file it writes: a picture that was cut short.
func MendPNG(path string, img image.Image, meta *Meta) error {
	var whole bytes.Buffer
	if err := EncodePNG(&whole, img, meta); err != nil {
		return err
	}
	mine := func(f *os.File) error {
		b, err := io.ReadAll(io.LimitReader(f, int64(whole.Len())+1))
		if err == nil && !bytes.HasPrefix(whole.Bytes(), b) {
			err = ErrChanged
		}
		return err
	}
	return durable.Disk{}.WriteOver(path, mine, func(w io.Writer) error { _, err := w.Write(whole.Bytes()); return err })
}

func pngFile(img image.Image, meta *Meta) func(io.Writer) error {
	return func(w io.Writer) error {
		b := bufio.NewWriter(w)
		if err := EncodePNG(b, img, meta); err != nil {
			return err
		}
		return b.Flush()
	}
}

// insert writes extra after the first at bytes of what is written to it.
type insert struct {
	w     io.Writer
	at    int
	extra []byte
}

func (i *insert) Write(p []byte) (int, error) {
	done := 0
	if len(i.extra) > 0 && len(p) >= i.at {
		n, err := i.w.Write(p[:i.at])
		if err != nil {
			return n, err
		}
		if _, err := i.w.Write(i.extra); err != nil {
			return n, err
		}
		done, i.extra = n, nil
	}
	n, err := i.w.Write(p[done:])
	i.at -= n
	return done + n, err
}

const pngSignature = "\x89PNG\r\n\x1a\n"

func appendChunk(b []byte, kind string, data []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	start := len(b)
	b = append(append(b, kind...), data...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[start:]))
}

// appendText appends a tEXt chunk, or an iTXt one where the text is not Latin-1 (PNG 3rd edition, 11.3.3).
func appendText(b []byte, key, text string) []byte {
	data := append([]byte(key), 0)
	for _, r := range text {
		if r > 0xff {
			return appendChunk(b, "iTXt", international(key, text))
		}
		data = append(data, byte(r))
	}
	return appendChunk(b, "tEXt", data)
}

// international is an iTXt chunk's data, uncompressed, with no language and no translated keyword.
func international(key, text string) []byte {
	return append(append([]byte(key), 0, 0, 0, 0, 0), text...)
}

const (
	maxText  = 1 << 20 // bytes of one text chunk, also when uncompressed
	maxTexts = 64
)

// ReadText returns the text chunks (tEXt, zTXt, iTXt) of a PNG by keyword; of several with one keyword, the first.
func ReadText(r io.Reader) (map[string]string, error) {
	texts := map[string]string{}
	n := 0
	c := chunks{r: bufio.NewReader(r)}
	for {
		kind, size, err := c.next()
		if err != nil {
			return nil, err
		}
		if kind == "IEND" {
			return texts, c.skip()
		}
		if kind != "tEXt" && kind != "zTXt" && kind != "iTXt" {
			continue
		}
		if n++; n > maxTexts || size > maxText {
			return nil, sentence.Errorf("it holds more text than a picture has use for")
		}
		raw, err := c.read()
		if err != nil {
			return nil, err
		}
		key, text, err := parseText(kind, raw)
		if err != nil {
			return nil, sentence.Errorf("its %s chunk is broken: %w", kind, err)
		}
		if _, ok := texts[key]; !ok {
			texts[key] = text
		}
	}
}

// ReadMeta returns the provenance that a PNG written by WritePNG carries; ErrNoMeta if it carries none.
func ReadMeta(path string) (Meta, error) {
	f, err := durable.Open(path)
	if err != nil {
		return Meta{}, err
	}
	defer func() { _ = f.Close() }()
	m, err := DecodeMeta(f)
	if err != nil {
		return Meta{}, sentence.Errorf("read metadata of %s: %w", path, err)
	}
	return m, nil
}

// DecodeMeta is ReadMeta on a stream.
func DecodeMeta(r io.Reader) (Meta, error) {
	texts, err := ReadText(r)
	if err != nil {
		return Meta{}, err
	}
	js, ok := texts["unnoise"]
	if !ok {
		return Meta{}, ErrNoMeta
	}
	var m Meta
	if err := json.Unmarshal([]byte(js), &m); err != nil {
		return Meta{}, sentence.Errorf("its Unnoise metadata is broken: %w", err)
	}
	if m.Format > MetaFormat {
		return Meta{}, sentence.Errorf("its metadata has format %d and this Unnoise knows up to %d: update Unnoise", m.Format, MetaFormat)
	}
	m.Parameters = texts["parameters"]
	return m, nil
}

// StripPNG copies a PNG without the chunks that say where it came from: text, EXIF and time. The pixels are untouched.
func StripPNG(w io.Writer, r io.Reader) error {
	if _, err := io.WriteString(w, pngSignature); err != nil {
		return err
	}
	c := chunks{r: bufio.NewReader(r)}
	for {
		kind, _, err := c.next()
		if err != nil {
			return err
		}
		switch kind {
		case "tEXt", "zTXt", "iTXt", "eXIf", "tIME":
			continue
		}
		if err := c.copyTo(w); err != nil || kind == "IEND" {
			return err
		}
	}
}

// chunks walks the chunks of a PNG.
type chunks struct {
	r       *bufio.Reader
	head    [8]byte // length and kind of the current chunk
	left    int64   // bytes of the current chunk not read yet, its checksum included
	started bool
}

// next goes to the next chunk and returns its kind and the length of its data.
func (c *chunks) next() (kind string, size int64, err error) {
	if !c.started {
		var sig [len(pngSignature)]byte
		switch n, err := io.ReadFull(c.r, sig[:]); {
		case !strings.HasPrefix(pngSignature, string(sig[:n])):
			return "", 0, sentence.Errorf("it is not a PNG")
		case err != nil:
			return "", 0, cutShort(err)
		}
	}
	if err := c.skip(); err != nil {
		return "", 0, err
	}
	if _, err := io.ReadFull(c.r, c.head[:]); err != nil {
		return "", 0, cutShort(err)
	}
	n := binary.BigEndian.Uint32(c.head[:])
	kind = string(c.head[4:])
	if n > 1<<31-1 || kind == "IEND" && n != 0 {
		return "", 0, sentence.Errorf("its chunk %q claims %d bytes", kind, n)
	}
	if !c.started && (kind != "IHDR" || n != 13) {
		return "", 0, sentence.Errorf("it is not a PNG: its first chunk is not IHDR")
	}
	c.started, c.left = true, int64(n)+4
	return kind, int64(n), nil
}

// skip passes over what is left of the current chunk.
func (c *chunks) skip() error {
	_, err := io.CopyN(io.Discard, c.r, c.left)
	c.left = 0
	return cutShort(err)
}

// read returns the current chunk's data and checks its checksum.
func (c *chunks) read() ([]byte, error) {
	raw := make([]byte, c.left)
	if _, err := io.ReadFull(c.r, raw); err != nil {
		return nil, cutShort(err)
	}
	c.left = 0
	data, sum := raw[:len(raw)-4], binary.BigEndian.Uint32(raw[len(raw)-4:])
	if crc32.Update(crc32.ChecksumIEEE(c.head[4:]), crc32.IEEETable, data) != sum {
		return nil, sentence.Errorf("its %s chunk is damaged: the checksum is wrong", c.head[4:])
	}
	return data, nil
}

// copyTo copies the current chunk as it is.
func (c *chunks) copyTo(w io.Writer) error {
	if _, err := w.Write(c.head[:]); err != nil {
		return err
	}
	_, err := io.CopyN(w, c.r, c.left)
	c.left = 0
	return cutShort(err)
}

func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCut
	}
	return err
}

// parseText takes a text chunk's data apart (PNG 3rd edition, 11.3.3).
func parseText(kind string, data []byte) (key, text string, err error) {
	k, rest, ok := bytes.Cut(data, []byte{0})
	if !ok || len(k) < 1 || len(k) > 79 {
		return "", "", sentence.Errorf("it has no keyword")
	}
	key = latin1(k)
	compressed := false
	switch kind {
	case "zTXt":
		if len(rest) < 1 || rest[0] != 0 {
			return "", "", sentence.Errorf("unknown compression")
		}
		rest, compressed = rest[1:], true
	case "iTXt":
		if len(rest) < 2 || rest[0] > 1 || rest[1] != 0 {
			return "", "", sentence.Errorf("unknown compression")
		}
		compressed = rest[0] == 1
		rest = rest[2:]
		for range 2 { // language, translated keyword
			if _, rest, ok = bytes.Cut(rest, []byte{0}); !ok {
				return "", "", sentence.Errorf("it ends in its keyword")
			}
		}
	}
	if compressed {
		z, err := zlib.NewReader(bytes.NewReader(rest))
		if err != nil {
			return "", "", err
		}
		if rest, err = io.ReadAll(io.LimitReader(z, maxText+1)); err != nil {
			return "", "", err
		}
		if len(rest) > maxText {
			return "", "", sentence.Errorf("it grows too large when unpacked")
		}
	}
	if kind != "iTXt" {
		return key, latin1(rest), nil
	}
	if !utf8.Valid(rest) {
		return "", "", sentence.Errorf("it is not UTF-8")
	}
	return key, string(rest), nil
}

func latin1(b []byte) string {
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}
