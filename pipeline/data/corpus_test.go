package data

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"
)

// Pillow's own test pictures (bench/fixtures/corpus.py takes them; their licence lies beside them): those that Pillow opens are
// read, with pixels within 2 of Pillow's, or they are named here, each with its reason.

// corpusRefused are files that Pillow opens and this program does not, with what it says.
var corpusRefused = map[string]string{
	"10ct_32bit_128.tiff":                "TIFF (it does not say what its values mean)",
	"16_bit_binary_pgm.tiff":             "TIFF (values with a sign",
	"16bit.s.tif":                        "TIFF (values with a sign",
	"8bit.s.tif":                         "TIFF (values with a sign",
	"separate_planar_extra_samples.tiff": "TIFF (values with a sign",
	"compression.tif":                    "TIFF (compression CCITT RLE)",
	"total-pages-zero.tif":               "TIFF (fax compression of group 3 with fill bits)",
	"hopper_lzma.tif":                    "TIFF (compression LZMA)",
	"no_palette.gif":                     "GIF (no table of colours)",
	"hopper.Lab.tif":                     "TIFF (L*a*b* colours)",
	"lab.tif":                            "TIFF (L*a*b* colours)",
	"lab-green.tif":                      "TIFF (L*a*b* colours)",
	"lab-red.tif":                        "TIFF (L*a*b* colours)",
	// Damaged, whatever Pillow makes of them.
	"issue_2811.gif":      "damaged", // codes of 11 bits for colours of 8
	"mmap_error.bmp":      "damaged", // its pixels begin within its header
	"hopper_bad_exif.jpg": "damaged", // a scan with codes that no table has: libjpeg warns and goes on
}

// corpusRead are files that Pillow refuses and this program reads.
var corpusRead = map[string]string{
	"apng/chunk_no_fctl.png":       "what is wrong with the animation does not concern its first picture",
	"png_decompression_dos.png":    "the text that would unpack to gigabytes is not read",
	"tiff_tiled_jpeg_oob_read.tif": "its tiles say what they are",
	"bmp/g/rgb32bf.bmp":            "bit fields of any place and width",
	"bmp/q/pal2.bmp":               "2 bits",
	"bmp/q/pal8os2v2-16.bmp":       "a short header of OS/2",
	"bmp/q/pal8oversizepal.bmp":    "more colours than it can use",
	"bmp/q/rgb16-231.bmp":          "bit fields of any place and width",
	"bmp/q/rgb32-111110.bmp":       "bit fields of any place and width",
	"bmp/q/rgba16-4444.bmp":        "bit fields of any place and width",
}

// corpusDiffers are files whose pixels differ from Pillow's by more than 2.
var corpusDiffers = map[string]string{
	"1_trns.png":                                        "Pillow leaves out the transparency of black and white pictures",
	"i_trns.png":                                        "Pillow leaves out the transparency of gray pictures with 16 bits",
	"bmp/b/badrle.bmp":                                  "damaged: what was read before the fault is shown",
	"bmp/b/pal8badindex.bmp":                            "damaged: numbers of colours that its table does not have",
	"exif_imagemagick_orientation.png":                  "its orientation stands in a text, which is not read",
	"xmp_tags_orientation.png":                          "its orientation stands in XMP, which is not read",
	"xmp_tags_orientation_exiftool.png":                 "its orientation stands in XMP, which is not read",
	"tiff_16bit_RGBa.tiff":                              "Pillow cuts 16 bits to 8 before it divides by the opacity",
	"tiff_strip_planar_16bit_RGBa.tiff":                 "Pillow cuts 16 bits to 8 before it divides by the opacity",
	"tiff_tiled_planar_16bit_RGBa.tiff":                 "Pillow cuts 16 bits to 8 before it divides by the opacity",
	"old-style-jpeg-compression.tif":                    "libtiff repeats the chroma of old-style JPEG",
	"old-style-jpeg-compression-no-samplesperpixel.tif": "libtiff repeats the chroma of old-style JPEG",
}

// corpusOneMore is by how much the pixels of a JPEG may differ beyond 2: the library's inverse cosine transform rounds some samples to
// the other neighbour than libjpeg's does, and the conversion to colours makes up to 1.8 of that. It is met in a few pixels of a thousand.
const corpusOneMore = 1

type corpusFile struct {
	name, sum, size, cells, pixels string
	kept                           bool
}

func corpus(t *testing.T) (files []corpusFile) {
	b, err := os.ReadFile("testdata/pillow/corpus.tsv")
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		require.Len(t, f, 6)
		files = append(files, corpusFile{name: f[0], sum: f[1], kept: f[2] == "kept", size: f[3], cells: f[4], pixels: f[5]})
	}
	return files
}

func TestPillowCorpus(t *testing.T) {
	dir, all := "testdata/pillow/images", false
	if d := os.Getenv("UNNOISE_CORPUS"); d != "" {
		dir, all = d, true
	}
	type counts struct{ read, refused, passed int }
	var got counts
	for _, f := range corpus(t) {
		if !all && !f.kept {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.name)))
		require.NoError(t, err)
		sum := sha256.Sum256(b)
		require.Equal(t, f.sum, hex.EncodeToString(sum[:]), f.name)
		img, err := decodeAll(t, b)
		_, known := formatOf(b)
		switch {
		case err != nil && known != nil:
			got.passed++
			require.NotContains(t, why(err).String(), "damaged", f.name)
		case err != nil:
			got.refused++
			said := why(err).String()
			if want := corpusRefused[f.name]; want != "" {
				require.Contains(t, said, want, f.name)
			} else {
				require.Equal(t, "-", f.size, "%s: Pillow reads what is refused here: %s", f.name, said)
			}
		case f.size == "-" && corpusRead[f.name] == "":
			t.Errorf("%s is read, while Pillow refuses it", f.name)
		default:
			got.read++
			if f.size != "-" {
				compareWithPillow(t, f, b, img)
			}
		}
	}
	if all {
		require.Equal(t, counts{read: 669, refused: 43, passed: 348}, got)
	} else {
		require.Equal(t, counts{read: 318, refused: 28, passed: 2}, got)
	}
}

func decodeAll(t *testing.T, b []byte) (image.Image, error) {
	t.Helper()
	in, err := readInfo(b, defaultLimits)
	if err != nil {
		return nil, err
	}
	return decodePixels(t.Context(), b, in)
}

// compareWithPillow compares every pixel where they are kept here, and the means of the cells of every file.
func compareWithPillow(t *testing.T, f corpusFile, b []byte, img image.Image) {
	t.Helper()
	pix := imaging.Clone(to8(img))
	size := pix.Rect.Size()
	require.Equal(t, f.size, strings.ReplaceAll(strings.Trim(size.String(), "()"), ",", "x"), f.name)
	within := 2
	if kind, _ := formatOf(b); kind.name == "jpeg" || strings.Contains(f.name, "jpeg") {
		within += corpusOneMore
	}
	most, far := 0, 0
	if f.pixels != "-" {
		ref, err := os.ReadFile("testdata/pillow/pixels/" + f.pixels)
		require.NoError(t, err)
		m, err := png.Decode(bytes.NewReader(ref))
		require.NoError(t, err)
		want := imaging.Clone(m)
		for i := range want.Pix {
			if i%4 < 3 && want.Pix[i|3] == 0 && pix.Pix[i|3] == 0 {
				continue // there is no colour where nothing is seen
			}
			d := max(int(want.Pix[i])-int(pix.Pix[i]), int(pix.Pix[i])-int(want.Pix[i]))
			if d > 2 {
				far++
			}
			most = max(most, d)
		}
	}
	want, err := hex.DecodeString(f.cells)
	require.NoError(t, err)
	for i, v := range cellMeans(pix) {
		most = max(most, int(v)-int(want[i]), int(want[i])-int(v))
	}
	if corpusDiffers[f.name] != "" {
		require.True(t, most > 2 || f.pixels == "-", "%s does not differ any more", f.name)
		return
	}
	if most > within || far*1000 > 5*len(pix.Pix) {
		t.Errorf("%s differs by up to %d, %d values by more than 2", f.name, most, far)
	}
}

// cellMeans are the means of 4 × 4 cells, premultiplied.
func cellMeans(m *image.NRGBA) (out []byte) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	for y := range 4 {
		for x := range 4 {
			y0, x0 := y*h/4, x*w/4
			y1, x1 := max((y+1)*h/4, y0+1), max((x+1)*w/4, x0+1)
			var sum [4]float64
			for v := y0; v < y1; v++ {
				for u := x0; u < x1; u++ {
					p := m.Pix[v*m.Stride+4*u:][:4]
					for c := range 3 {
						sum[c] += float64(p[c]) * float64(p[3]) / 255
					}
					sum[3] += float64(p[3])
				}
			}
			for _, v := range sum {
				out = append(out, uint8(math.RoundToEven(v/float64((y1-y0)*(x1-x0)))))
			}
		}
	}
	return out
}
