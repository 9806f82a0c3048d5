package data

import (
	"archive/zip"
	"encoding/binary"
	"hash/crc32"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"

	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// extensions are those of files that are meant to be pictures. What a file really is, its content says.
var extensions = set(".png .apng .jpg .jpeg .jpe .jfif .jif .jfi .pjpeg .pjp .mpo .gif .bmp .dib .rle .tif .tiff .btf .tf8 .webp")

// foreignPictures are the kinds of picture that are not read, by their extensions. Whoever has them is told.
var foreignPictures = byExtension(map[string]string{
	"HEIC": ".heic .heif .heics .heifs .hif .hei", "AVIF": ".avif .avifs .avci .avcs", "JPEG XL": ".jxl",
	"JPEG 2000": ".jp2 .j2k .jpf .jpx .jpm .j2c .jpc .jph .jhc", "JPEG XR": ".jxr .hdp .wdp",
	"camera raw": ".dng .raw .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .orf .rw2 .rwl .raf .pef .ptx .srw .x3f .3fr .fff .iiq .cap .mos .mrw .mef .erf .kdc .dcr .k25 .gpr .ari .bay",
	"PSD":        ".psd .psb", "XCF": ".xcf", "Krita": ".kra .ora", "SVG": ".svg .svgz", "PDF or PostScript": ".eps .ai .ps",
	"ICO": ".ico .cur .ani .icns", "TGA": ".tga .icb .vda .vst", "PCX": ".pcx .dcx", "Netpbm": ".ppm .pgm .pbm .pnm .pam .pfm",
	"OpenEXR": ".exr", "Radiance HDR": ".hdr .rgbe", "DDS": ".dds", "KTX": ".ktx .ktx2", "QOI": ".qoi", "FITS": ".fits .fit .fts",
	"DICOM": ".dcm .dicom", "DjVu": ".djvu .djv", "Aseprite": ".ase .aseprite", "WMF": ".wmf .emf", "XBM or XPM": ".xbm .xpm",
	"Sun raster": ".ras .sun", "SGI": ".sgi .rgb .rgba .bw", "FLIF": ".flif", "BPG": ".bpg",
})

func set(words string) map[string]bool {
	out := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		out[w] = true
	}
	return out
}

func byExtension(kinds map[string]string) map[string]string {
	out := map[string]string{}
	for kind, exts := range kinds {
		for ext := range strings.FieldsSeq(exts) {
			out[ext] = kind
		}
	}
	return out
}

// systemFolders are made by systems, network drives and programs for themselves: copies, thumbnails and what was deleted.
// Besides them, whatever begins with a dot is hidden.
var systemFolders = set("__macosx @eadir #recycle @recycle $recycle.bin recycler recycled found.000 lost+found #snapshot @recently-snapshot @snapshots " +
	"@tmp @sharebin @synoresource desktop.ini thumbs.db picasaoriginals")

// systemPhrases are those whose names have blanks.
var systemPhrases = []string{"system volume information", "network trash folder", "temporary items", "appledb", "apple double"}

// hidden says whether a file or folder of this name is a system's own, not a person's.
func hidden(part string) bool {
	low := strings.ToLower(part)
	if strings.HasPrefix(low, ".") && low != "." && low != ".." || systemFolders[low] {
		return true
	}
	for _, p := range systemPhrases {
		if low == p {
			return true
		}
	}
	return false
}

// wanted says whether a file is meant to be a picture that is read.
func wanted(name string) bool { return extensions[strings.ToLower(path.Ext(name))] }

// PassedOver is a kind of files that were passed over, and how many there are.
type PassedOver struct {
	Kind  string `json:"kind"` // one of the Passed… or, for pictures that are not read, the name of their format
	Count int    `json:"count"`
	First string `json:"first"` // the name of one of them
}

// What is passed over besides pictures of formats that are not read.
const (
	PassedSystem  = "system" // folders that a system or program keeps for itself
	PassedOurs    = "ours"   // pictures that Unnoise drew, runs and workspaces
	PassedUnknown = "other"  // hidden files and files that are not pictures
)

// Text says what was passed over, why, and what can be done.
func (p PassedOver) Text() sentence.Text {
	switch p.Kind {
	case PassedSystem:
		return sentence.T("Hidden folders and folders of the system: {{.N}}", "N", p.Count)
	case PassedOurs:
		return sentence.T("Pictures, runs and workspaces of Unnoise itself: {{.N}}, such as {{.Name}}. To train on a gallery, give its folder alone", "N", p.Count, "Name", p.First)
	case PassedUnknown:
		return sentence.T("Other files: {{.N}}, such as {{.Name}}", "N", p.Count, "Name", p.First)
	}
	return sentence.T("{{.Format}} pictures, which cannot be read: {{.N}}, such as {{.Name}}. Save them as PNG or JPEG", "N", p.Count, "Format", p.Kind, "Name", p.First)
}

// kindOf is the kind of a file that is not wanted.
func kindOf(name string) string {
	if kind := foreignPictures[strings.ToLower(path.Ext(name))]; kind != "" {
		return kind
	}
	return PassedUnknown
}

// zipNames gives an archive's entries the names they have as paths, with forward slashes. A name is UTF-8 where the archive says so or where it
// is; others are what the computer that made the archive used, which the archive does not say: the encodings that were
// common are tried on all the names at once. A name only has to be told from the others, for no path is made of it.
func zipNames(files []*zip.File) []string {
	out := make([]string, len(files))
	var raw []string
	var unsure, at []int // what may be UTF-8 by chance; and where raw comes from
	for i, f := range files {
		name, ok := unicodeName(f)
		if !ok {
			name = f.Name
		}
		out[i] = name
		switch {
		case ok:
		case !utf8.ValidString(name):
			raw, at = append(raw, name), append(at, i)
		case f.Flags&0x800 == 0 && mayBeChance(name):
			unsure = append(unsure, i)
		}
	}
	if len(raw) > 0 {
		for _, i := range unsure {
			raw, at = append(raw, out[i]), append(at, i)
		}
		read := guess(raw)
		for k, i := range at {
			out[i] = read(raw[k])
		}
	}
	for i, name := range out { // after decoding: in Shift-JIS and GBK a backslash may be the second half of a character
		out[i] = strings.ReplaceAll(name, `\`, "/") // as some Windows programs write them
	}
	return out
}

// mayBeChance says of UTF-8 that it has pairs of bytes beyond ASCII and nothing longer, as other encodings have.
func mayBeChance(name string) bool {
	pairs := false
	for _, r := range name {
		if r >= 0x800 {
			return false
		}
		pairs = pairs || r >= 0x80
	}
	return pairs
}

// unicodeName is the name in the extra field that Info-ZIP writes beside a name in another encoding (APPNOTE 4.6.9).
func unicodeName(f *zip.File) (string, bool) {
	for b := f.Extra; len(b) >= 4; {
		id, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		if b = b[4:]; n > len(b) {
			break
		}
		if field := b[:n]; id == 0x7075 && n > 5 && field[0] == 1 && binary.LittleEndian.Uint32(field[1:]) == crc32.ChecksumIEEE([]byte(f.Name)) && utf8.Valid(field[5:]) {
			return string(field[5:]), true
		}
		b = b[n:]
	}
	return "", false
}

// guess chooses the encoding in which names make the most sense, and returns what reads them.
func guess(names []string) func(string) string {
	candidates := []encoding.Encoding{
		simplifiedchinese.GBK, japanese.ShiftJIS, korean.EUCKR, traditionalchinese.Big5, charmap.CodePage437, charmap.CodePage866, charmap.Windows1251, charmap.Windows1252,
	}
	read := durable.Plain // byte by byte, where nothing fits
	best := -1.0
	for _, e := range candidates {
		total, n := 0.0, 0
		for _, name := range names {
			s, m, ok := sense(e, name)
			if !ok {
				n = 0
				break
			}
			total, n = total+s, n+m
		}
		if n == 0 {
			continue
		}
		mean := total / float64(n)
		if e == korean.EUCKR && n >= 12 { // Chinese would rarely stay within the part of GBK that has Hangul here for so long
			mean *= 1.05
		}
		if mean > best {
			best = mean
			read = func(name string) string {
				s, err := e.NewDecoder().String(name)
				if err != nil {
					return durable.Plain(name)
				}
				return s
			}
		}
	}
	return read
}

// sense adds up how plausible the characters are that a name's bytes beyond ASCII make in an encoding, and over how many of those bytes. ok is
// false where they make none.
func sense(e encoding.Encoding, name string) (sum float64, n int, ok bool) {
	d := e.NewDecoder()
	multi := e == simplifiedchinese.GBK || e == japanese.ShiftJIS || e == korean.EUCKR || e == traditionalchinese.Big5
	var before rune
	for i := 0; i < len(name); {
		if name[i] < 0x80 {
			before = rune(name[i])
			i++
			continue
		}
		width := 1
		if multi && !(e == japanese.ShiftJIS && name[i] >= 0xa1 && name[i] <= 0xdf) {
			width = 2
		}
		if i+width > len(name) {
			return 0, 0, false
		}
		s, err := d.String(name[i : i+width])
		r, size := utf8.DecodeRuneInString(s)
		if err != nil || size != len(s) || r == utf8.RuneError || unicode.IsControl(r) {
			return 0, 0, false
		}
		sum += float64(width) * plausible(e, name[i:i+width], r, before)
		n += width
		i += width
		before = r
	}
	return sum, n, true
}

// plausible is how likely a character is in a file's name, from 0 to 1: the multi-byte encodings keep their frequent
// characters together, and words are letters of one kind.
func plausible(e encoding.Encoding, b string, r, before rune) float64 {
	switch e {
	case simplifiedchinese.GBK:
		switch {
		case b[0] >= 0xb0 && b[0] <= 0xd7 && b[1] >= 0xa1: // GB 2312's level of frequent characters
			return 1
		case b[0] >= 0xd8 && b[0] <= 0xf7 && b[1] >= 0xa1:
			return 0.5
		}
		return 0.2
	case japanese.ShiftJIS:
		switch {
		case unicode.In(r, unicode.Hiragana, unicode.Katakana) && len(b) == 2:
			return 1
		case len(b) == 1: // half-width katakana
			return 0.3
		case b[0] >= 0x88 && b[0] <= 0x97: // level 1 of JIS X 0208
			return 0.95
		case unicode.Is(unicode.Han, r):
			return 0.4
		}
		return 0.3
	case korean.EUCKR:
		if b[0] >= 0xb0 && b[0] <= 0xc8 && b[1] >= 0xa1 && unicode.Is(unicode.Hangul, r) {
			return 0.98
		}
		return 0.1
	case traditionalchinese.Big5:
		if b[0] >= 0xa4 && b[0] <= 0xc6 { // level 1
			return 0.9
		}
		return 0.3
	}
	switch {
	case !unicode.IsLetter(r): // box drawing in a name: the wrong code page
		return 0.05
	case unicode.IsLetter(before) && unicode.Is(unicode.Cyrillic, r) != unicode.Is(unicode.Cyrillic, before):
		return 0.2
	case unicode.IsLower(before) && unicode.IsUpper(r):
		return 0.3
	}
	return map[encoding.Encoding]float64{charmap.CodePage437: 0.8, charmap.CodePage866: 0.82, charmap.Windows1251: 0.78, charmap.Windows1252: 0.75}[e]
}

// within is the name's place in an archive, or a reason why it has none: names are only names here, and those that were made to lead
// out of the folder they are unpacked into show what the archive is.
func within(name string) (string, error) {
	switch clean := path.Clean(name); {
	case clean == "..", strings.HasPrefix(clean, "../"), strings.HasPrefix(name, "/"),
		len(name) > 2 && name[1] == ':' && name[2] == '/' && unicode.IsLetter(rune(name[0])): // a drive's letter
		return "", refuse("its path leads out of the archive")
	case clean == ".":
		return "", refuse("it has no name")
	default:
		return clean, nil
	}
}
