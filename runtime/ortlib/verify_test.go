package ortlib

import (
	"bytes"
	"context"
	"debug/macho"
	"debug/pe"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPinsAreWellFormed(t *testing.T) {
	for name, p := range platforms {
		require.NotEmpty(t, p.npmDir, name)
		require.Equal(t, p.files[0].name, p.names[0], name)
		for _, f := range p.files {
			sum, err := hex.DecodeString(f.sha256)
			require.NoError(t, err, name)
			require.Len(t, sum, 32, name)
			require.Equal(t, strings.ToLower(f.sha256), f.sha256, name)
			require.Greater(t, f.size, int64(1<<20), name)
		}
	}
}

func TestTheRealLibraryVerifies(t *testing.T) {
	lib := realLibrary(t)
	require.NoError(t, here(t).verify(t.Context(), lib))
	f, err := os.Open(lib)
	require.NoError(t, err)
	defer f.Close()
	version, err := inspect(t.Context(), f, here(t).files[0].size, runtime.GOOS, runtime.GOARCH)
	require.NoError(t, err)
	require.Equal(t, Version, version)
}

func TestANamedLibraryIsRefusedInOneSentence(t *testing.T) {
	replace := func(old, with string) func([]byte) []byte {
		return func(b []byte) []byte {
			require.Contains(t, string(b), old)
			return append(bytes.ReplaceAll(b, []byte(old), []byte(with)), 0) // another length: another build
		}
	}
	exe, err := os.Executable()
	require.NoError(t, err)
	for name, c := range map[string]struct{ path, says string }{
		"missing":         {filepath.Join(t.TempDir(), "gone.so"), "no such file"},
		"empty folder":    {t.TempDir(), "holds no ONNX Runtime library"},
		"empty file":      {text(t, t.TempDir(), ""), "is not a shared library"},
		"text":            {text(t, t.TempDir(), "version https://git-lfs.github.com/spec/v1\n"), "is not a shared library"},
		"half":            {altered(t, func(b []byte) []byte { return b[:len(b)/2] }), "truncated"},
		"one byte short":  {altered(t, func(b []byte) []byte { return b[:len(b)-1] }), "truncated"},
		"a flipped bit":   {altered(t, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }), "damaged or altered"},
		"an old version":  {altered(t, replace(Version, "1.18.1")), "is ONNX Runtime 1.18.1, not " + Version},
		"another library": {altered(t, replace("OrtGetApiBase", "NotThisSymbol")), "is not an ONNX Runtime library"},
		"a program":       {exe, "is not"},
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS != "linux" && name == "an old version" {
				t.Skip("only on Linux does a library name its version in its symbols")
			}
			f := emptyFinder(t)
			f.explicit = c.path
			_, err := f.find(t.Context())
			require.ErrorIs(t, err, ErrRefused)
			require.ErrorContains(t, err, c.path)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestAnotherBuildOfTheVersionMayBeNamed(t *testing.T) {
	f := emptyFinder(t)
	f.explicit = altered(t, func(b []byte) []byte { return append(b, 0) })
	lib, err := f.find(t.Context())
	require.NoError(t, err)
	require.Equal(t, f.explicit, lib.Path)
}

func TestEveryCutOfTheRealLibraryIsRefused(t *testing.T) {
	b, err := os.ReadFile(realLibrary(t))
	require.NoError(t, err)
	for n := range 200 {
		cut := b[:len(b)*n/200]
		_, err := inspect(t.Context(), bytes.NewReader(cut), int64(len(cut)), runtime.GOOS, runtime.GOARCH)
		require.Error(t, err, "%d of %d bytes", len(cut), len(b))
	}
}

// machO is the smallest library of macOS: a header and one segment that spans content.
func machO(cpu macho.Cpu, kind macho.Type, content string) []byte {
	var b bytes.Buffer
	write(&b, macho.FileHeader{Magic: macho.Magic64, Cpu: cpu, Type: kind, Ncmd: 1, Cmdsz: 72}, uint32(0))
	write(&b, macho.Segment64{Cmd: macho.LoadCmdSegment64, Len: 72, Offset: 32 + 72, Filesz: uint64(len(content))})
	b.WriteString(content)
	return b.Bytes()
}

// dll is the smallest library of Windows: headers and one section that spans content.
func dll(machine, flags uint16, content string) []byte {
	var b bytes.Buffer
	dos := make([]byte, 96)
	copy(dos, "MZ")
	binary.LittleEndian.PutUint32(dos[0x3c:], 96)
	write(&b, dos, []byte("PE\x00\x00"), pe.FileHeader{Machine: machine, NumberOfSections: 1, Characteristics: flags})
	write(&b, pe.SectionHeader32{PointerToRawData: 96 + 4 + 20 + 40, SizeOfRawData: uint32(len(content))})
	b.WriteString(content)
	return b.Bytes()
}

func write(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		if err := binary.Write(b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
}

const marks = "\x001.2.11\x00" + Version + "\x00OrtGetApiBase\x00"

func TestInspectOnOtherSystems(t *testing.T) {
	good := machO(macho.CpuArm64, macho.TypeDylib, marks)
	goodDLL := dll(pe.IMAGE_FILE_MACHINE_AMD64, pe.IMAGE_FILE_DLL, marks)
	for name, c := range map[string]struct {
		b            []byte
		goos, goarch string
		says         string // "" if it is accepted
	}{
		"macos":               {good, "darwin", "arm64", ""},
		"macos cut":           {good[:len(good)-1], "darwin", "arm64", "truncated"},
		"macos header cut":    {good[:40], "darwin", "arm64", "truncated"},
		"macos processor":     {good, "darwin", "amd64", "another processor"},
		"macos program":       {machO(macho.CpuArm64, macho.TypeExec, marks), "darwin", "arm64", "not a shared library"},
		"macos other library": {machO(macho.CpuArm64, macho.TypeDylib, "nothing"), "darwin", "arm64", "not an ONNX Runtime"},
		"macos other version": {machO(macho.CpuArm64, macho.TypeDylib, "\x001.9.0\x00OrtGetApiBase"), "darwin", "arm64", "not version"},
		"windows":             {goodDLL, "windows", "amd64", ""},
		"windows cut":         {goodDLL[:len(goodDLL)-1], "windows", "amd64", "truncated"},
		"windows processor":   {goodDLL, "windows", "arm64", "another processor"},
		"windows program":     {dll(pe.IMAGE_FILE_MACHINE_AMD64, 0, marks), "windows", "amd64", "not a shared library"},
		"linux on windows":    {[]byte("\x7fELF"), "windows", "amd64", "not a shared library of Windows"},
		"windows on macos":    {goodDLL, "darwin", "arm64", "not a shared library of macOS"},
		"macos on linux":      {good, "linux", "arm64", "not a shared library of Linux"},
	} {
		t.Run(name, func(t *testing.T) {
			version, err := inspect(t.Context(), bytes.NewReader(c.b), int64(len(c.b)), c.goos, c.goarch)
			if c.says == "" {
				require.NoError(t, err)
				require.Equal(t, Version, version)
				return
			}
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestTheMarksAreFoundAcrossChunks(t *testing.T) {
	for at := (1 << 20) - 2; at < (1<<20)+80; at++ {
		b := strings.Repeat("x", at) + marks
		version, err := scanVersion(strings.NewReader(b))
		require.NoError(t, err, at)
		require.Equal(t, Version, version)
	}
}

func FuzzInspect(f *testing.F) {
	lib, err := os.ReadFile(realLibrary(f))
	require.NoError(f, err)
	f.Add(lib[:1<<16], byte(0))
	f.Add(append(append([]byte{}, lib[:4096]...), lib[len(lib)-4096:]...), byte(0))
	f.Add(machO(macho.CpuArm64, macho.TypeDylib, marks), byte(1))
	f.Add(dll(pe.IMAGE_FILE_MACHINE_AMD64, pe.IMAGE_FILE_DLL, marks), byte(2))
	f.Fuzz(func(t *testing.T, b []byte, system byte) {
		target := [][2]string{{"linux", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}}[system%3]
		version, err := inspect(context.Background(), bytes.NewReader(b), int64(len(b)), target[0], target[1])
		if err == nil && (version == "" || !bytes.Contains(b, []byte("OrtGetApiBase"))) {
			t.Fatalf("accepted as version %q", version)
		}
	})
}
