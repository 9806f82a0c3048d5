package workspace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"unnoise/app/disk"
	"unnoise/runtime/sentence"
)

// MaxName is the most characters a name given by a person may have.
const MaxName = 200

// maxFolder is the most bytes a folder made for a name may have; file systems allow 255,
// and temporary names and numbers are added.
const maxFolder = 80

// CleanName checks what a person calls something: any writing system, no control
// characters, 1 to MaxName characters once trimmed.
func CleanName(name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", sentence.T("a name is needed: type at least one character")
	case !utf8.ValidString(name):
		return "", sentence.T("the name is not valid text: type it again")
	case utf8.RuneCountInString(name) > MaxName:
		return "", sentence.T("the name has {{.N}} characters: {{.Most}} are the most", "N", utf8.RuneCountInString(name), "Most", MaxName)
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return "", sentence.T("the name contains the control character {{.Character}}: remove it", "Character", fmt.Sprintf("%U", r))
		}
	}
	return name, nil
}

// reserved names cannot be files on Windows.
var reserved = map[string]bool{
	"con": true, "prn": true, "aux": true, "nul": true,
	"com1": true, "com2": true, "com3": true, "com4": true, "com5": true, "com6": true, "com7": true, "com8": true, "com9": true,
	"lpt1": true, "lpt2": true, "lpt3": true, "lpt4": true, "lpt5": true, "lpt6": true, "lpt7": true, "lpt8": true, "lpt9": true,
}

// FolderName turns a name into one that every file system takes: letters and digits of any
// script, lower case, runs of anything else as one hyphen, at most 80 bytes, never empty.
func FolderName(name string) string {
	var b strings.Builder
	hyphen := false
	for _, r := range strings.ToLower(name) {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) {
			if hyphen && b.Len() > 0 {
				b.WriteByte('-')
			}
			hyphen = false
			if b.Len()+utf8.RuneLen(r) > maxFolder {
				break
			}
			b.WriteRune(r)
			continue
		}
		hyphen = true
	}
	s := strings.Trim(b.String(), "-")
	if s == "" || reserved[s] {
		s = strings.Trim("untitled-"+s, "-")
	}
	return s
}

// Unique returns base, or base with the smallest number from 2 on that is free in dir.
func Unique(dir, base string) (string, error) {
	for i := 1; i < 100_000; i++ {
		name := base
		if i > 1 {
			name = fmt.Sprintf("%s-%d", base, i)
		}
		_, err := os.Lstat(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", sentence.Errorf("the folder %s cannot be read: %w", dir, disk.Reason(err))
		}
	}
	return "", sentence.Errorf("the folder %s has no free name for %q", dir, base)
}

// MakeUnique makes something in dir under base, or base with a number, that is free. make fails with fs.ErrExist where
// another process was faster: the next free name is tried then.
func MakeUnique(dir, base string, make func(path string) error) (name string, err error) {
	for range 1000 {
		if name, err = Unique(dir, base); err != nil {
			return "", err
		}
		if err = make(filepath.Join(dir, name)); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return name, err
}

// Child joins dir and the name of a thing in it, refusing anything that is not one plain
// name: IDs come from files and from outside.
func Child(dir, id string) (string, error) {
	if hidden(id) || id != filepath.Base(id) || strings.ContainsAny(id, `/\`) || !filepath.IsLocal(id) {
		return "", sentence.Errorf("%q is not the name of a thing in %s", id, dir)
	}
	return filepath.Join(dir, id), nil
}
