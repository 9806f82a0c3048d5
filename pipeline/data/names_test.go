package data

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"image"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"

	pictures "unnoise/pipeline/picture"
)

// rawZip writes an archive whose entries have names of any bytes, without a word about their encoding.
func rawZip(t testing.TB, path string, names ...string) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i, name := range names {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, NonUTF8: true})
		require.NoError(t, err)
		_, err = w.Write(encode(t, ".png", noise(8, 8, uint64(i))))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	write(t, path, b.Bytes())
}

func TestZipNamesInOtherEncodings(t *testing.T) {
	for _, c := range []struct {
		e     encoding.Encoding
		names []string
	}{
		{simplifiedchinese.GBK, []string{"数据/小狗1.png", "数据/小狗2.png", "图片/猫.png"}},
		{simplifiedchinese.GBK, []string{"训练集/苹果.png", "新建文件夹/照片.jpg.png"}},
		{japanese.ShiftJIS, []string{"写真/表示.png", "ねこ/いぬ.png"}}, // 表 ends in a backslash
		{japanese.ShiftJIS, []string{"新しいフォルダー/猫の写真1.png"}},
		{korean.EUCKR, []string{"사진/고양이.png", "사진/강아지.png"}},
		{traditionalchinese.Big5, []string{"圖片/貓的照片.png", "圖片/狗的照片.png"}},
		{charmap.CodePage437, []string{"Bücher/grün.png", "Bücher/café.png"}},
		{charmap.CodePage866, []string{"Фото/кошка.png", "Фото/собака.png"}},
	} {
		path := filepath.Join(t.TempDir(), "a.zip")
		var raw []string
		for _, n := range c.names {
			s, err := c.e.NewEncoder().String(n)
			require.NoError(t, err)
			raw = append(raw, s)
		}
		rawZip(t, path, raw...)
		rep, err := Scan(t.Context(), path, nil)
		require.NoError(t, err)
		require.Empty(t, rep.Bad)
		require.ElementsMatch(t, c.names, names(rep), "%v", c.e)
		for i := range rep.Items {
			_, err := Decode(t.Context(), rep, i)
			require.NoError(t, err)
		}
	}
}

// Whatever the names are, the pictures are read; and a name that the archive tells in UTF-8 beside it is taken.
func TestZipNamesOfNoEncoding(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.zip")
	rawZip(t, path, "\xff\xfe\x80/\x81\xff.png", "\xff\xfe\x80/2.png", "3\xe9.png", "数据/ok.png")
	rep, err := Scan(t.Context(), path, nil)
	require.NoError(t, err)
	require.Empty(t, rep.Bad)
	require.Len(t, rep.Items, 4)
	require.Contains(t, names(rep), "数据/ok.png")
	js, err := json.Marshal(rep)
	require.NoError(t, err)
	var again Report
	require.NoError(t, json.Unmarshal(js, &again))
	require.Equal(t, names(rep), names(&again))
	for i := range again.Items {
		_, err := Decode(t.Context(), &again, i)
		require.NoError(t, err)
	}

	f := &zip.File{FileHeader: zip.FileHeader{Name: "\x8e.png"}}
	field := binary.LittleEndian.AppendUint32([]byte{1}, crc32.ChecksumIEEE([]byte(f.Name)))
	field = append(field, "猫.png"...)
	f.Extra = append([]byte{0x55, 0x54, 1, 0, 7, 0x75, 0x70, byte(len(field)), 0}, field...)
	require.Equal(t, []string{"猫.png"}, zipNames([]*zip.File{f}))
}

func TestPathsInArchives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.zip")
	rawZip(t, path, "./a/1.png", "a//2.png", "a/./3.png", "b/../a/4.png", `a\5.png`, "../6.png", "a/../../7.png", "/8.png", `C:\9.png`, "a/1.png")
	rep, err := Scan(t.Context(), path, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"a/1.png", "a/2.png", "a/3.png", "a/4.png", "a/5.png"}, names(rep))
	require.Equal(t, map[string]string{
		"../6.png":      "its path leads out of the archive",
		"a/../../7.png": "its path leads out of the archive",
		"/8.png":        "its path leads out of the archive",
		"C:/9.png":      "its path leads out of the archive",
		"a/1.png":       "the archive has two files of this name",
	}, reasons(rep))
}

// On most systems names are any bytes: the report keeps them all, and finds the files by them.
func TestNamesOnDiskThatAreNotUTF8(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "caf\xe9")
	if os.Mkdir(dir, 0o755) != nil {
		t.Skip("this file system takes UTF-8 only")
	}
	for i, name := range []string{"caf\xe9.png", "caf\xe8.png", "\xca\xfd\xbe\xdd/x.png", "plain/y.png", "lost\ufffd.png", "\ufffde9.png"} {
		write(t, filepath.Join(dir, name), encode(t, ".png", noise(8, 8, uint64(i))))
	}
	rep, err := Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Empty(t, rep.Bad)
	require.Len(t, rep.Items, 6)
	js, err := json.Marshal(rep)
	require.NoError(t, err)
	var again Report
	require.NoError(t, json.Unmarshal(js, &again))
	require.Equal(t, rep, &again, "nothing is lost on the way through JSON")
	require.Equal(t, dir, string(again.Path))
	for i := range again.Items {
		_, err := Decode(t.Context(), &again, i)
		require.NoError(t, err, again.Items[i].Name)
	}
	c := build(t, &again, small, t.TempDir())
	require.Equal(t, 6, c.Len())
	require.Empty(t, c.Skipped())
}

func TestNamesDoNotLeadOutOfTheFolder(t *testing.T) {
	s := &Source{kind: Folder, path: "/pictures"}
	for _, name := range []string{"", ".", "..", "../a.png", "a/../b.png", "/a.png", "a//b.png", "./a.png", "a/", "\ufffd2e\ufffd2e/a.png"} {
		path, err := s.filePath(name)
		if err == nil {
			require.True(t, strings.HasPrefix(path, filepath.FromSlash("/pictures/")), name)
			require.NotContains(t, path, "..", name)
			continue
		}
		require.ErrorContains(t, err, "leads out", name)
	}
}

func TestPicturesThatAreNotReadAreNamed(t *testing.T) {
	dir := t.TempDir()
	for i, ext := range []string{".png", ".apng", ".jpe", ".jfif", ".mpo", ".dib", ".JPEG"} {
		content := map[string]string{".jpe": ".jpg", ".jfif": ".jpg", ".mpo": ".jpg", ".JPEG": ".jpg", ".dib": ".bmp"}[ext]
		if content == "" {
			content = ".png"
		}
		write(t, filepath.Join(dir, "p"+ext), encode(t, content, noise(8, 8, uint64(i))))
	}
	for _, n := range []string{"IMG_1.HEIC", "b/IMG_2.heic", "x.avif", "y.jxl", "z.CR2", "notes.txt", "film.mp4"} {
		write(t, filepath.Join(dir, n), []byte("not looked at"))
	}
	rep, err := Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Len(t, rep.Items, 7)
	require.Empty(t, rep.Bad)
	require.Equal(t, []PassedOver{
		{"AVIF", 1, "x.avif"}, {"HEIC", 2, "IMG_1.HEIC"}, {"JPEG XL", 1, "y.jxl"}, {"camera raw", 1, "z.CR2"}, {PassedUnknown, 2, "film.mp4"},
	}, rep.Passed)
	require.Equal(t, "HEIC pictures, which cannot be read: 2, such as IMG_1.HEIC. Save them as PNG or JPEG", rep.Passed[1].Text().String())
	only := t.TempDir()
	write(t, filepath.Join(only, "a.heic"), []byte("x"))
	_, err = Scan(t.Context(), only, nil)
	require.ErrorIs(t, err, ErrNoImages)
	require.ErrorContains(t, err, "HEIC")
}

func TestSystemFoldersArePassedOver(t *testing.T) {
	system := []string{"@eaDir/1.png", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__MACOSX", ".thumbnails", "#recycle", "@Recycle"}
	dir := t.TempDir()
	files := map[string][]byte{}
	for i, c := range append([]string{"cat", "dog"}, system...) {
		files[c+"/x.png"] = encode(t, ".png", noise(8, 8, uint64(i)))
	}
	files["cat/@eaDir/x.png"] = files["cat/x.png"]
	for name, b := range files {
		write(t, filepath.Join(dir, "d", filepath.FromSlash(name)), b)
	}
	writeZip(t, filepath.Join(dir, "d.zip"), files)
	for _, src := range []string{"d", "d.zip"} {
		rep, err := Scan(t.Context(), filepath.Join(dir, src), nil)
		require.NoError(t, err)
		require.Equal(t, []ClassCount{{"cat", 1}, {"dog", 1}}, rep.Classes, src)
		require.Len(t, rep.Passed, 1)
		require.Equal(t, PassedSystem, rep.Passed[0].Kind)
		require.Equal(t, len(system)+1, rep.Passed[0].Count, src)
	}
}

func TestIDXNamesInAnyCase(t *testing.T) {
	images := idxBytes(3, 4, 4, func(i, y, x int) byte { return byte(i*40 + y*16 + x) })
	labels := labelBytes(1, 0, 1)
	for _, c := range [][2]string{
		{"TRAIN-IMAGES-IDX3-UBYTE", "TRAIN-LABELS-IDX1-UBYTE"},
		{"Train-Images.idx3-ubyte", "train-labels-idx1-ubyte"},
		{"train-images-idx3-ubyte", "Train-Labels.IDX1-ubyte"},
		{"TRAIN-IMAGES-IDX3-UBYTE.GZ", "TRAIN-LABELS-IDX1-UBYTE.GZ"},
		{"train-images-idx3-ubyte.gz", "TRAIN-LABELS-IDX1-UBYTE"},
	} {
		dir := t.TempDir()
		for i, b := range [][]byte{images, labels} {
			if strings.HasSuffix(strings.ToLower(c[i]), ".gz") {
				b = gz(t, b)
			}
			write(t, filepath.Join(dir, c[i]), b)
		}
		rep, err := Scan(t.Context(), dir, nil)
		require.NoError(t, err, c)
		require.Equal(t, []ClassCount{{"0", 1}, {"1", 2}}, rep.Classes, c)
	}
}

// own is a PNG as Unnoise draws them.
func own(t *testing.T, seed uint64, count int) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, pictures.EncodePNG(&b, noise(8, 8, seed), &pictures.Meta{Run: "r", Sampler: "ddim", Count: count}))
	return b.Bytes()
}

const someRun = `{"version":2,"name":"x","model":{"preset":"tiny"},"train":{"steps":1},"data":{"path":"/p"}}`

func TestOurOwnPicturesAreNotTrainedOn(t *testing.T) {
	png := func(i int) []byte { return encode(t, ".png", noise(8, 8, uint64(i))) }
	files := map[string][]byte{
		"cat/1.png": png(1), "dog/2.png": png(2), "dog/drawn.png": own(t, 3, 0), "sheet.png": own(t, 4, 16),
		"runs/7/run.json": []byte(someRun), "runs/7/samples/000100.png": own(t, 5, 16), "runs/7/preview.png": png(6),
		"ws/workspace.json": []byte(`{"format":"unnoise workspace","version":1}`), "ws/galleries/g/1.png": own(t, 7, 0), "ws/x.png": png(8),
		"tool/run.json": []byte(`{"version":1,"command":"make"}`), "tool/9.png": png(9), // another program's
	}
	dir := t.TempDir()
	for name, b := range files {
		write(t, filepath.Join(dir, "d", name), b)
	}
	writeZip(t, filepath.Join(dir, "d.zip"), files)
	for _, src := range []string{"d", "d.zip"} {
		rep, err := Scan(t.Context(), filepath.Join(dir, src), nil)
		require.NoError(t, err)
		require.Equal(t, []string{"cat/1.png", "dog/2.png", "tool/9.png"}, names(rep), src)
		require.Equal(t, []ClassCount{{"cat", 1}, {"dog", 1}, {"tool", 1}}, rep.Classes)
		require.Equal(t, PassedOurs, rep.Passed[0].Kind)
		require.Equal(t, 4, rep.Passed[0].Count, "two pictures, a run and a workspace")
	}
	_, err := Scan(t.Context(), filepath.Join(dir, "d", "runs", "7"), nil)
	require.ErrorContains(t, err, "is a run or a workspace of Unnoise")
}

// A gallery that a person chose is a dataset like others; its sheet is none of its pictures.
func TestChosenGallery(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		write(t, filepath.Join(dir, string(rune('a'+i))+".png"), own(t, uint64(i), 0))
	}
	write(t, filepath.Join(dir, "sheet.png"), own(t, 9, 3))
	rep, err := Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"a.png", "b.png", "c.png"}, names(rep))
	require.Equal(t, []PassedOver{{PassedOurs, 1, "sheet.png"}}, rep.Passed)
	write(t, filepath.Join(dir, "mine.png"), encode(t, ".png", image.NewGray(image.Rect(0, 0, 8, 8))))
	rep, err = Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"mine.png"}, names(rep), "among others they are not meant")
	write(t, filepath.Join(dir, galleryFile), []byte(`{"version":1}`))
	rep, err = Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"a.png", "b.png", "c.png", "mine.png"}, names(rep), "in a gallery of the window they are")
}

func FuzzZipNames(f *testing.F) {
	f.Add("数据/小狗.png", "\xca\xfd\xbe\xdd/x.png", []byte{0x75, 0x70, 5, 0, 1})
	f.Add("./a//b.png", `..\..\c.png`, []byte(nil))
	f.Add("C:/x", "\x95\x5c.png", []byte{0x75, 0x70})
	f.Fuzz(func(t *testing.T, a, b string, extra []byte) {
		files := []*zip.File{{FileHeader: zip.FileHeader{Name: a, Extra: extra}}, {FileHeader: zip.FileHeader{Name: b}}}
		for _, name := range zipNames(files) {
			require.True(t, utf8.ValidString(name))
			clean, err := within(name)
			if err != nil {
				continue
			}
			require.True(t, filepath.IsLocal(filepath.FromSlash(clean)) || runtime.GOOS == "windows", "%q", clean)
			again, err := within(clean)
			require.NoError(t, err)
			require.Equal(t, clean, again)
			passedFolder(clean, nil)
		}
	})
}
