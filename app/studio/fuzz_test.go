package studio

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/app/workspace"
)

// attached is a studio on a new workspace, for fuzzing.
func attached(f *testing.F) *Studio {
	f.Helper()
	s, err := Attach(f.Context(), filepath.Join(f.TempDir(), "ws"))
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, s.Close(context.Background())) })
	return s
}

// FuzzDataset holds that a dataset from elsewhere is refused or can be looked at from all sides.
func FuzzDataset(f *testing.F) {
	s := attached(f)
	report := `{"path":"/x","kind":"folder","items":[{"name":"a/1.png","class":"a","width":8,"height":8,"format":"png","channels":3,"bits":8},{"name":"a/2.png","class":"a","width":8,"height":9,"format":"png","channels":3,"bits":8}],"classes":[{"name":"a","count":2}],"sizes":[{"width":8,"height":8,"count":1}],"bad":[{"name":"x","reason":"y","text":{"template":"{{.A}}","data":{"A":"b"}}}],"duplicates":[["a/1.png","a/2.png"]]}`
	f.Add([]byte(`{"version":1,"name":"n","source":"/x","held_out":0.1,"excluded":["a/1.png"]}`), []byte(report))
	f.Add([]byte(`{"version":1,"source":"../../x","held_out":0.5,"excluded":["a/1.png","a/1.png",""]}`), []byte(report))
	f.Add([]byte(`{"version":1,"source":"x"}`), []byte(strings.ReplaceAll(report, "a/2.png", "a/1.png")))
	f.Add([]byte(`{"version":1,"source":"x"}`), []byte(`{"items":[{"width":-1,"channels":99}],"duplicates":[[],["?"]],"sizes":[{"count":-1}]}`))
	f.Add([]byte(`{"version":9,"source":"x"}`), []byte(`{}`))
	dir := filepath.Join(s.core.env.ws.Datasets(), "fuzz")
	require.NoError(f, os.Mkdir(dir, 0o777))
	f.Fuzz(func(t *testing.T, info, report []byte) {
		ctx := t.Context()
		require.NoError(t, os.WriteFile(filepath.Join(dir, datasetName), info, 0o666))
		require.NoError(t, os.WriteFile(filepath.Join(dir, reportName), report, 0o666))
		s.core.scans.clear()
		_ = s.core.indexDataset(ctx, s.core.env, "fuzz", time.Now().String())
		d, err := s.Datasets.Get(ctx, "fuzz")
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		items, err := s.Datasets.Items(ctx, "fuzz", ItemFilter{})
		require.NoError(t, err)
		for _, i := range items[:min(len(items), 10)] {
			_, err := s.Datasets.Item(ctx, "fuzz", int(i))
			require.NoError(t, err)
		}
		require.LessOrEqual(t, len(items), d.Items)
		groups, err := s.Datasets.Duplicates(ctx, "fuzz")
		require.NoError(t, err)
		for _, g := range groups {
			require.Greater(t, len(g), 1)
		}
		_, err = s.Datasets.Bad(ctx, "fuzz")
		require.NoError(t, err)
	})
}

// FuzzGallery holds that gallery.json of any bytes, with a picture of any bytes beside it, is refused or listed.
func FuzzGallery(f *testing.F) {
	s := attached(f)
	f.Add([]byte(`{"version":1,"name":"n","created":"2026-01-02T03:04:05Z","stars":["x.png","../y.png"]}`), []byte("\x89PNG\r\n\x1a\n"))
	f.Add([]byte(`{"version":7}`), []byte{})
	f.Add([]byte(`{"stars":[null]}`), []byte("x"))
	dir := filepath.Join(s.core.env.ws.Galleries(), "fuzz")
	require.NoError(f, os.Mkdir(dir, 0o777))
	f.Fuzz(func(t *testing.T, info, img []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, galleryName), info, 0o666))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "x.png"), img, 0o666))
		if err := s.core.indexGallery(t.Context(), s.core.env, "fuzz", time.Now().String()); err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		g, err := s.Galleries.Get(t.Context(), "fuzz")
		require.NoError(t, err)
		keys, err := s.Galleries.Images(t.Context(), ImageFilter{Gallery: "fuzz"})
		require.NoError(t, err)
		require.Len(t, keys, g.Images)
		require.LessOrEqual(t, len(keys), 1)
	})
}

// FuzzModelFile holds that what describes an imported model is refused or describes one that can be used.
func FuzzModelFile(f *testing.F) {
	f.Add([]byte(`{"version":1,"name":"n","source":"/x","spec":{"version":1,"objective":"v","schedule":"cosine","weighting":"simple"}}`))
	f.Add([]byte(`{"version":1,"spec":{"version":1,"unet":{"sample_size":[1,1e9],"block_out_channels":[-1]}}}`))
	f.Add([]byte(`{"version":2}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, modelName), b, 0o666))
		m, err := readModel(dir)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		_, err = m.Spec.Process()
		require.NoError(t, err)
		require.Positive(t, m.Spec.Dim())
		require.Positive(t, m.Spec.UNet.NumParams())
	})
}

// FuzzUnfinished holds that a note of work that was cut short, which came with a workspace from elsewhere, removes nothing but
// temporary files within that workspace.
func FuzzUnfinished(f *testing.F) {
	s := attached(f)
	e := s.core.env
	outside := f.TempDir()
	for _, dir := range []string{outside, filepath.Join(e.ws.Dir(), "..", filepath.Base(e.ws.Dir()), ".."), e.ws.Galleries(), "/", "", "galleries"} {
		b, err := json.Marshal(unfinished{What: Text{Template: "Export"}, Dir: dir, Name: "a.png", Begun: time.Now()})
		require.NoError(f, err)
		f.Add(b)
	}
	f.Add([]byte(`{"what":{"template":"{{.A}}","data":{"A":{"template":"{{.A}}"}}},"name":"../../other","begun":"2026-01-02T03:04:05Z"}`))
	mine := []string{filepath.Join(outside, ".tmp-a.png-12345678"), filepath.Join(filepath.Dir(e.ws.Dir()), ".tmp-a.png-12345678")}
	for _, name := range []string{"a.png", "tmp-a.png-1", ".tmp-notes.txt", ".hidden"} {
		mine = append(mine, filepath.Join(e.ws.Galleries(), name))
	}
	for _, path := range mine {
		require.NoError(f, os.WriteFile(path, nil, 0o666))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		require.NoError(t, os.MkdirAll(e.unfinished(), 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(e.unfinished(), "x.json"), b, 0o666))
		s.core.recoverIn(e, e.unfinished())
		s.Unheard()
		for _, path := range mine {
			require.FileExists(t, path)
		}
		require.NoFileExists(t, filepath.Join(e.unfinished(), "x.json"), "it is told once")
	})
}

// FuzzID holds that no ID leads out of its folder.
func FuzzID(f *testing.F) {
	for _, id := range []string{"0001-x", "..", "../x", "a/b", `a\b`, "", ".", ".x", "a\x00b", "CON", "x."} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		dir := filepath.Join(string(filepath.Separator), "ws", "runs")
		path, err := workspace.Child(dir, id)
		if err == nil {
			require.Equal(t, dir, filepath.Dir(path))
			require.NotEqual(t, dir, path)
		}
	})
}
