package i18n

import (
	"archive/zip"
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"fyne.io/fyne/v2/lang"
	"github.com/stretchr/testify/require"

	"unnoise/app/studio"
	"unnoise/runtime/sentence"
)

var update = flag.Bool("update", false, "add missing keys to the translation files, empty where a human must translate, and drop keys no longer used")

const dir = "../../resources/translations/"

// texts finds the keys in the sources: the arguments of lang.L, N, X and XN in ui, and the templates of the
// sentences made below. The value says whether the key has plural forms.
func texts(t *testing.T) map[string]bool {
	t.Helper()
	t.Setenv("UNNOISE_CONFIG", filepath.Join(t.TempDir(), "settings.json"))
	described, err := studio.Open(t.Context(), filepath.Join(t.TempDir(), "workspace"))
	require.NoError(t, err)
	defer func() { require.NoError(t, described.Close(context.Background())) }()
	found := map[string]bool{}
	walk := func(root string, visit func(pkg string, n ast.Node)) { walkSources(t, root, visit) }
	walk("..", func(_ string, n ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return
		}
		if x, ok := sel.X.(*ast.Ident); !ok || x.Name != "lang" {
			return
		}
		switch sel.Sel.Name {
		case "L", "X":
			if k, ok := literal(call.Args[0]); ok {
				found[k] = found[k] || false
			}
		case "N", "XN":
			if k, ok := literal(call.Args[0]); ok {
				found[k] = true
			}
		}
	})
	sentences := func(pkg string, n ast.Node) {
		switch n := n.(type) {
		case *ast.CallExpr:
			if len(n.Args) == 0 {
				return
			}
			name, of := "", ""
			switch f := n.Fun.(type) {
			case *ast.SelectorExpr:
				if x, ok := f.X.(*ast.Ident); ok {
					name, of = f.Sel.Name, x.Name
				}
			case *ast.Ident:
				name, of = f.Name, pkg
			}
			switch of + "." + name {
			case "events.T", "studio.T", "sentence.T":
				if k, ok := literal(n.Args[0]); ok {
					found[k] = found[k] || false
				}
			case "sentence.Errorf", "data.refuse", "data.stale", "unet.bad", "model.Unusable":
				k, ok := literal(n.Args[map[string]int{"Unusable": 1}[name]])
				if k = sentence.Template(k); ok && k != "{{.A}}" {
					found[k] = found[k] || false
				}
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Template" {
				if k, ok := literal(n.Value); ok {
					found[k] = found[k] || false
				}
			}
		}
	}
	for _, root := range []string{"..", "../../app", "../../pipeline", "../../runtime"} {
		walk(root, sentences)
	}
	// What systems and libraries say.
	for _, err := range elsewhere() {
		k := sentence.Of(err).Template
		found[k] = found[k] || false
	}
	// What a service says it is doing comes from the pipeline as plain words.
	for _, root := range []string{"../../pipeline", "../../runtime/ortlib"} {
		walk(root, func(_ string, n ast.Node) {
			switch n := n.(type) {
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "newMeter" && len(n.Args) > 1 || f.Name == "progress" && len(n.Args) == 3) {
					if k, ok := literal(n.Args[len(n.Args)-map[string]int{"newMeter": 2, "progress": 1}[f.Name]]); ok {
						found[k] = found[k] || false
					}
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "What" {
					if k, ok := literal(n.Value); ok {
						found[k] = found[k] || false
					}
				}
			}
		})
	}
	// The forms are made from lists that the studio hands out.
	add := func(all ...studio.Text) {
		for _, t := range all {
			found[t.Template] = found[t.Template] || false
		}
	}
	for _, f := range described.Training.Fields() {
		add(f.Label, f.Help)
		for _, c := range f.Choices {
			add(c.Label)
		}
	}
	for _, p := range described.Training.Presets() {
		add(p.Label, p.Help)
	}
	for _, s := range described.Galleries.Samplers() {
		add(s.Label, s.Help)
	}
	delete(found, "")
	return found
}

// walkSources visits every node of the sources below root, without the tests.
func walkSources(t *testing.T, root string, visit func(pkg string, n ast.Node)) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), "_") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			visit(f.Name.Name, n)
			return true
		})
		return nil
	}))
}

// What goes wrong below the window can reach it, so it is told through package sentence. Mistakes of the program itself
// begin with their package's name, and stay English.
func TestErrorsCanBeTranslated(t *testing.T) {
	verbs := regexp.MustCompile(`%[^a-zA-Z]*[a-zA-Z]`)
	seen := 0
	for _, root := range []string{"../../app", "../../pipeline", "../../runtime/unet", "../../runtime/safetensors", "../../runtime/durable", "../../runtime/ortlib"} {
		walkSources(t, root, func(pkg string, n ast.Node) {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return
			}
			x, ok := sel.X.(*ast.Ident)
			if !ok {
				return
			}
			k, ok := literal(call.Args[0])
			switch name := x.Name + "." + sel.Sel.Name; {
			case name == "sentence.Errorf":
				seen++
			case name != "fmt.Errorf" && name != "errors.New", !ok, strings.HasPrefix(k, pkg+": "):
			case k == "unusable choice": // model.ErrOption, which is taken off before people are told
			case strings.ContainsFunc(verbs.ReplaceAllString(k, ""), unicode.IsLetter):
				t.Errorf("%s: %s(%q) cannot be translated: use sentence.Errorf", root, name, k)
			}
		})
	}
	require.Greater(t, seen, 200, "the sources were not found")
}

// elsewhere are the errors of systems and libraries that people may meet: they fill places in the program's sentences.
func elsewhere() []error {
	out := []error{
		fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, io.EOF, io.ErrUnexpectedEOF, context.Canceled, context.DeadlineExceeded,
		zip.ErrFormat, image.ErrFormat, gzip.ErrHeader,
		syscall.ENOENT, syscall.EEXIST, syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT, syscall.EIO,
		syscall.ENOTDIR, syscall.EISDIR, syscall.ENOTEMPTY, syscall.EMFILE, syscall.ENODEV, syscall.EBUSY, syscall.EINVAL,
		syscall.ENAMETOOLONG, syscall.EXDEV, syscall.ESTALE, syscall.ETIMEDOUT, syscall.ENOTCONN, syscall.EFBIG, syscall.ENOMEM,
	}
	for _, op := range []string{"open", "read", "write", "close", "sync", "stat", "lstat", "mkdir", "remove", "chmod", "readdirent", "fdopendir"} {
		out = append(out, &fs.PathError{Op: op, Err: io.EOF})
	}
	return append(out, &os.LinkError{Op: "rename", Err: io.EOF})
}

// literal is the value of a string literal, or of several added together.
func literal(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		s, err := strconv.Unquote(e.Value)
		return s, err == nil
	case *ast.BinaryExpr:
		a, okA := literal(e.X)
		b, okB := literal(e.Y)
		return a + b, okA && okB && e.Op == token.ADD
	case *ast.ParenExpr:
		return literal(e.X)
	}
	return "", false
}

func read(t *testing.T, file string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(dir + file)
	require.NoError(t, err)
	m := map[string]any{}
	require.NoError(t, json.Unmarshal(b, &m))
	return m
}

func write(t *testing.T, file string, m map[string]any) {
	t.Helper()
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	require.NoError(t, enc.Encode(m)) // keys come out sorted
	require.NoError(t, os.WriteFile(dir+file, []byte(b.String()), 0o644))
}

// forms are the texts of an entry.
func forms(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case map[string]any:
		var out []string
		for _, s := range v {
			out = append(out, s.(string))
		}
		return out
	}
	return nil
}

var place = regexp.MustCompile(`{{\s*\.(\w+)[^}]*}}`)

func places(s string) []string {
	var out []string
	for _, m := range place.FindAllStringSubmatch(s, -1) {
		if !slices.Contains(out, m[1]) {
			out = append(out, m[1])
		}
	}
	sort.Strings(out)
	return out
}

func TestEveryTextIsTranslated(t *testing.T) {
	keys := texts(t)
	require.Greater(t, len(keys), 100, "the sources were not found")
	en, zh := read(t, "en.json"), read(t, "zh-Hans.json")
	if *update {
		for k, plural := range keys {
			if _, ok := en[k]; !ok {
				if plural {
					en[k] = map[string]any{"one": k, "other": k}
				} else {
					en[k] = k
				}
			}
			if _, ok := zh[k]; !ok {
				if plural {
					zh[k] = map[string]any{"other": ""}
				} else {
					zh[k] = ""
				}
			}
		}
		for _, m := range []map[string]any{en, zh} {
			for k := range m {
				if _, ok := keys[k]; !ok {
					delete(m, k)
				}
			}
		}
		write(t, "en.json", en)
		write(t, "zh-Hans.json", zh)
	}
	for k, plural := range keys {
		for file, m := range map[string]map[string]any{"en.json": en, "zh-Hans.json": zh} {
			v, ok := m[k]
			if !ok {
				t.Errorf("%s lacks %q; run go test ./ui/i18n -update and translate it", file, k)
				continue
			}
			_, isPlural := v.(map[string]any)
			if isPlural != plural {
				t.Errorf("%s: %q has the wrong form: plural is %v", file, k, plural)
			}
			if len(forms(v)) == 0 {
				t.Errorf("%s: %q has no text", file, k)
			}
			for _, s := range forms(v) {
				if s == "" {
					t.Errorf("%s: %q is not translated", file, k)
				} else if len(places(k)) > 0 || len(places(s)) > 0 {
					for _, p := range places(s) {
						if !slices.Contains(places(k), p) {
							t.Errorf("%s: %q uses {{.%s}}, which its key does not have", file, k, p)
						}
					}
					for _, p := range places(k) {
						if !slices.Contains(places(s), p) && !plural {
							t.Errorf("%s: %q leaves out {{.%s}}", file, k, p)
						}
					}
				}
			}
		}
	}
	for file, m := range map[string]map[string]any{"en.json": en, "zh-Hans.json": zh} {
		for k := range m {
			if _, ok := keys[k]; !ok {
				t.Errorf("%s: nothing uses %q", file, k)
			}
		}
	}
}

// A Chinese text without Chinese is one that was forgotten, save for names and symbols.
func TestChineseIsChinese(t *testing.T) {
	same := regexp.MustCompile(`^[\w\s{}.,:;×·/%()+\-–…'"]*$`)
	for k, v := range read(t, "zh-Hans.json") {
		for _, s := range forms(v) {
			han := strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Han, r) })
			plain := place.ReplaceAllString(k, "")
			if !han && strings.ContainsFunc(place.ReplaceAllString(s, ""), unicode.IsLetter) && s != k {
				t.Errorf("%q is translated as %q", k, s)
			}
			if !han && s == k && len(strings.Fields(plain)) > 3 && same.MatchString(s) {
				t.Errorf("%q is not translated", k)
			}
		}
	}
}

func TestApplyChangesTheLanguage(t *testing.T) {
	t.Cleanup(func() { require.NoError(t, Apply("")) })
	require.NoError(t, Apply("zh"))
	require.Equal(t, "设置", lang.L("Settings"))
	require.NoError(t, Apply("en"))
	require.Equal(t, "Settings", lang.L("Settings"))
	require.Equal(t, "1 image", lang.N("{{.N}} image", 1, map[string]any{"N": 1}))
	require.Equal(t, "3 images", lang.N("{{.N}} image", 3, map[string]any{"N": 3}))
	require.NoError(t, Apply("zh"))
	require.Equal(t, "3 张图片", lang.N("{{.N}} image", 3, map[string]any{"N": 3}))
	require.ErrorContains(t, Apply("xx"), "no translation")
}

// One thing has one name, and is written in one way: what else people might call it is not in our texts.
func TestGlossary(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "resources", "translations", "en.json"))
	require.NoError(t, err)
	for name, other := range map[string]string{
		"DPM-Solver++":   `(?i)\bDPM(\+\+|-?solver([^+]|$))`,
		"gray":           `(?i)\bgrey`,
		"held-out":       `(?i)\bheld out loss|\bvalidation loss|\btest loss`,
		"checkpoint":     `(?i)\bcheck point|\bsnapshot`,
		"dataset":        `(?i)\bdata set`,
		"33 × 64":        `[0-9}]×|×[0-9{]|[0-9}] ?x ?[0-9{]`,
		"run, training":  `(?i)\bexperiment`,
		"gallery":        `(?i)\balbum`,
		"moving average": `(?i)\brunning average`,
	} {
		require.Empty(t, regexp.MustCompile(other).FindAllString(string(raw), -1), "our word is %q", name)
	}
}
