package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestVisible(t *testing.T) {
	for _, c := range []struct{ text, shown string }{
		{"plain ä 数据 🐱 e\u0301", "plain ä 数据 🐱 e\u0301"},
		{"\x1b[2J\a\r\n\t\x7f", `\x1b[2J\x07\r\n\t\x7f`},
		{"\u009b31m\u0085", `\u009b31m\u0085`},                                       // C1: CSI and NEL
		{"cat\u202egnp.exe\u2066\u200e\u061c", `cat\u202egnp.exe\u2066\u200e\u061c`}, // bidirectional controls
		{"one\u2028two\u2029", `one\u2028two\u2029`},                                 // Unicode's line breaks
		{"caf\xe9 \x9b2J \xe6\x95", `caf\xe9 \x9b2J \xe6\x95`},                       // no UTF-8
		{"caf\ufffde9", `caf\xe9`},                                                   // as names keep it
		{"lost \ufffd", "lost \ufffd"},                                               // a character like others
		{"\x00", `\x00`},
	} {
		require.Equal(t, c.shown, visible(c.text), "%q", c.text)
		require.Equal(t, c.shown, visible(c.shown), "what is shown stays")
	}
}

func FuzzScreen(f *testing.F) {
	f.Add("a\x1b[2J数据\u202e\n\xff", 2)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		var whole, parts bytes.Buffer
		w, p := &screen{to: &whole}, &screen{to: &parts}
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
		w.flush()
		cut = max(1, cut%7)
		for b := []byte(text); len(b) > 0; b = b[min(cut, len(b)):] {
			n, err := p.Write(b[:min(cut, len(b))])
			require.NoError(t, err)
			require.Equal(t, min(cut, len(b)), n)
		}
		p.flush()
		require.Equal(t, whole.String(), parts.String(), "however it is cut up")
		require.True(t, utf8.Valid(whole.Bytes()))
		for _, r := range strings.NewReplacer("\n", "", "\t", "").Replace(whole.String()) {
			require.False(t, acts(r), "%q", r)
		}
	})
}

// Whatever a name holds, and whichever way it comes to be printed, none of it acts on the terminal or forges a line.
func TestNamesDoNotReachTheTerminalRaw(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such names")
	}
	const evil = "e\x1b[31m\a\u009b2J\u202e\n9 usable pictures.png\r"
	dir := filepath.Join(t.TempDir(), "d"+evil)
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8))))
	for _, class := range []string{"a" + evil, "b"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, class), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, class, "x"+evil+".png"), b.Bytes(), 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(dir, class, "y"+evil+".png"), []byte("none"), 0o644))
	}
	ws := filepath.Join(t.TempDir(), "workspace")
	for _, args := range [][]string{
		{"scan", dir},
		{"scan", dir + "/nothing"},
		{"scan", "--x" + evil, dir},
		{"scan", dir, evil},
		{evil},
		{"train", "--data", dir, "--run", dir + "/run", "--preset", evil},
		{"train", "--data", dir + "/none", "--run", filepath.Join(t.TempDir(), evil)},
		{"train", "--resume", "--run", dir},
		{"sample", "--run", dir, "--out", evil},
		{"export", "--run", dir, "--format", evil, "--out", evil},
		{"eval", "--run", dir, "--data", evil},
		{"datasets", "import", dir, "--name", "tame", "--workspace", ws},
		{"datasets", "--workspace", ws},
		{"datasets", "delete", evil, "--workspace", ws},
		{"datasets", "import", evil, "--workspace", ws},
		{"runs", "note", evil, "hm", "--workspace", ws},
		{"help", evil},
	} {
		var out, problems bytes.Buffer
		run(args, nil, &out, &problems)
		got := out.String() + problems.String()
		require.NotEmpty(t, got, "%q", args)
		require.False(t, strings.ContainsFunc(got, func(r rune) bool { return r != '\n' && r != '\t' && acts(r) }), "%q: %q", args, got)
		for line := range strings.Lines(got) {
			require.False(t, strings.HasPrefix(line, "9 usable pictures"), "%q: %q", args, got)
		}
	}
	var out, problems bytes.Buffer
	require.Equal(t, exitDone, run([]string{"scan", dir, "--json"}, nil, &out, &problems), problems.String())
	require.False(t, strings.ContainsFunc(out.String(), func(r rune) bool { return r != '\n' && acts(r) }), "%q", out.String())
	var rep struct {
		Items []struct{ Name string }
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &rep))
	require.Equal(t, "a"+evil+"/x"+evil+".png", rep.Items[0].Name, "JSON says what is there")
}

func TestQuotedPathsComeBackFromAShell(t *testing.T) {
	sh, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	for _, path := range []string{"/plain", "/with space", "/it's", "/\x1b[2J\n'\\x41", "/caf\xe9", "/\u202ea"} {
		q := quote(path)
		require.Equal(t, q, visible(q))
		cmd := exec.Command(sh, "-c", "printf %s "+q)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		got, err := cmd.Output()
		require.NoError(t, err)
		require.Equal(t, path, string(got), q)
	}
}
