package ortlib

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"unnoise/runtime/sentence"
)

// verify checks the runtime at path, and the libraries that must lie beside it, against their pins.
func (p platform) verify(ctx context.Context, path string) error {
	return p.verifyWith(ctx, path, openPlain)
}

func (p platform) verifyWith(ctx context.Context, path string, open opener) error {
	for i, want := range p.files {
		file := path
		if i > 0 {
			file = filepath.Join(filepath.Dir(path), want.name)
		}
		if err := want.verify(ctx, file, open); err != nil {
			return err
		}
	}
	return nil
}

func (want pin) verify(ctx context.Context, path string, open opener) error {
	done, f, err := open(path, want.size)
	if err != nil {
		return err
	}
	defer done.Close()
	fi, err := f.Stat()
	if err != nil {
		return sentence.Errorf("read %s: %w", path, err)
	}
	switch {
	case fi.Size() < want.size:
		return sentence.Errorf("%s is not the %s of ONNX Runtime %s, or is truncated: %d bytes of %d", path, want.name, Version, fi.Size(), want.size)
	case fi.Size() > want.size:
		return sentence.Errorf("%s is not the %s of ONNX Runtime %s: %d bytes instead of %d", path, want.name, Version, fi.Size(), want.size)
	}
	h := sha256.New()
	if _, err := io.Copy(h, readerWithContext{ctx, f}); err != nil {
		return sentence.Errorf("read %s: %w", path, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want.sha256 {
		return sentence.Errorf("%s is damaged or altered: SHA-256 %s… instead of %s…", path, got[:12], want.sha256[:12])
	}
	return nil
}

// checkOtherBuild accepts a whole library of this platform and of Version that is not the pinned build.
func (p platform) checkOtherBuild(ctx context.Context, path, goos, goarch string, open opener) error {
	size := int64(-1)
	if len(p.files) > 0 {
		size = p.files[0].size
	}
	done, f, err := open(path, size)
	if err != nil {
		return err
	}
	defer done.Close()
	fi, err := f.Stat()
	if err != nil {
		return sentence.Errorf("read %s: %w", path, err)
	}
	// As long as the pinned build and yet different: that build with flipped bytes, which the checks below would miss.
	if fi.Size() == size {
		return p.verifyWith(ctx, path, open)
	}
	version, err := inspect(ctx, f, fi.Size(), goos, goarch)
	if err != nil {
		return fmt.Errorf("%s %w", path, err)
	}
	if version != Version {
		return sentence.Errorf("%s is ONNX Runtime %s, not %s", path, version, Version)
	}
	return nil
}

// openRegular opens a file that is one: opening a pipe or a device could block for ever.
func openRegular(path string) (*os.File, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, sentence.Errorf("read %s: %w", path, err)
	}
	if !fi.Mode().IsRegular() {
		return nil, sentence.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, sentence.Errorf("read %s: %w", path, err)
	}
	return f, nil
}

// inspect tells the version of the ONNX Runtime library in r (size bytes) without loading it. The error completes a
// sentence that begins with the file's name. The content may be hostile.
func inspect(ctx context.Context, r io.ReaderAt, size int64, goos, goarch string) (version string, err error) {
	defer func() {
		// The debug packages do not promise to be safe on hostile files.
		if p := recover(); p != nil {
			err = sentence.Errorf("is not a readable shared library (%v)", p)
		}
	}()
	switch goos {
	case "darwin":
		err = checkMachO(r, size, goarch)
	case "windows":
		err = checkPE(r, size, goarch)
	default:
		err = checkELF(r, size, goarch)
	}
	if err != nil {
		return "", err
	}
	return scanVersion(readerWithContext{ctx, io.NewSectionReader(r, 0, size)})
}

var errTruncated = sentence.Errorf("is truncated: fetch or copy it again")

func beyond(offset, length uint64, size int64) bool {
	return offset > uint64(size) || length > uint64(size)-offset
}

func checkELF(r io.ReaderAt, size int64, goarch string) error {
	if !hasMagic(r, "\x7fELF") {
		return sentence.Errorf("is not a shared library of Linux (ELF)")
	}
	// The section headers are at the end of the file, so a cut file fails here.
	f, err := elf.NewFile(r)
	if err != nil {
		return errTruncated
	}
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[goarch]
	if f.Machine != machine {
		return sentence.Errorf("is for another processor (%v)", f.Machine)
	}
	if f.Type != elf.ET_DYN {
		return sentence.Errorf("is not a shared library")
	}
	for _, p := range f.Progs {
		if beyond(p.Off, p.Filesz, size) {
			return errTruncated
		}
	}
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NOBITS && beyond(s.Offset, s.FileSize, size) {
			return errTruncated
		}
	}
	return nil
}

func checkMachO(r io.ReaderAt, size int64, goarch string) error {
	cpu := map[string]macho.Cpu{"amd64": macho.CpuAmd64, "arm64": macho.CpuArm64}[goarch]
	fat, err := macho.NewFatFile(r)
	if err == nil { // a universal library
		for _, a := range fat.Arches {
			if a.Cpu == cpu {
				if beyond(uint64(a.Offset), uint64(a.Size), size) {
					return errTruncated
				}
				return checkThinMachO(a.File, int64(a.Size), cpu)
			}
		}
		return sentence.Errorf("is for another processor")
	}
	if !hasMagic(r, "\xcf\xfa\xed\xfe") {
		return sentence.Errorf("is not a shared library of macOS (Mach-O)")
	}
	f, err := macho.NewFile(r)
	if err != nil {
		return errTruncated
	}
	return checkThinMachO(f, size, cpu)
}

func checkThinMachO(f *macho.File, size int64, cpu macho.Cpu) error {
	if f.Cpu != cpu {
		return sentence.Errorf("is for another processor (%v)", f.Cpu)
	}
	if f.Type != macho.TypeDylib {
		return sentence.Errorf("is not a shared library")
	}
	for _, l := range f.Loads {
		if s, ok := l.(*macho.Segment); ok && beyond(s.Offset, s.Filesz, size) {
			return errTruncated
		}
	}
	return nil
}

func checkPE(r io.ReaderAt, size int64, goarch string) error {
	if !hasMagic(r, "MZ") {
		return sentence.Errorf("is not a shared library of Windows (DLL)")
	}
	f, err := pe.NewFile(r)
	if err != nil {
		return errTruncated
	}
	machine := map[string]uint16{"amd64": pe.IMAGE_FILE_MACHINE_AMD64, "arm64": pe.IMAGE_FILE_MACHINE_ARM64}[goarch]
	if f.Machine != machine {
		return sentence.Errorf("is for another processor (machine %#x)", f.Machine)
	}
	if f.Characteristics&pe.IMAGE_FILE_DLL == 0 {
		return sentence.Errorf("is not a shared library")
	}
	for _, s := range f.Sections {
		if beyond(uint64(s.Offset), uint64(s.Size), size) {
			return errTruncated
		}
	}
	return nil
}

func hasMagic(r io.ReaderAt, magic string) bool {
	b := make([]byte, len(magic))
	_, err := r.ReadAt(b, 0)
	return err == nil && string(b) == magic
}

// How a build holds its version: on Linux as the version of the exported symbols, everywhere as the C string that
// OrtApiBase.GetVersionString answers.
const (
	symbolMark = "\x00VERS_"
	stringMark = "\x00"
)

var versionNumber = regexp.MustCompile(`^1\.[0-9]{1,3}\.[0-9]{1,3}\x00`)

// versions calls yield for each version number in b that follows mark.
func versions(b []byte, mark string, yield func(string)) {
	prefix := []byte(mark + "1.")
	for i := bytes.Index(b, prefix); i >= 0; {
		b = b[i+len(mark):]
		if m := versionNumber.Find(b[:min(len(b), 16)]); m != nil {
			yield(string(m[:len(m)-1]))
		}
		i = bytes.Index(b, prefix)
	}
}

// scanVersion searches a library for the marks of ONNX Runtime.
func scanVersion(r io.Reader) (string, error) {
	const chunk, overlap = 1 << 20, 64 // the overlap holds every mark that a chunk's end may cut
	buf := make([]byte, 0, chunk+overlap)
	entry, plain, named := false, false, ""
	for {
		n, err := io.ReadFull(r, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		entry = entry || bytes.Contains(buf, []byte("OrtGetApiBase"))
		versions(buf, symbolMark, func(v string) { named = v })
		versions(buf, stringMark, func(v string) { plain = plain || v == Version })
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return "", sentence.Errorf("cannot be read: %w", err)
		}
		buf = append(buf[:0], buf[len(buf)-overlap:]...)
	}
	switch {
	case !entry:
		return "", sentence.Errorf("is not an ONNX Runtime library")
	case named != "":
		return named, nil
	case plain:
		return Version, nil
	}
	return "", sentence.Errorf("is not version %s of ONNX Runtime", Version)
}

// readerWithContext ends a long read when the context does.
type readerWithContext struct {
	ctx context.Context
	r   io.Reader
}

func (r readerWithContext) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}
