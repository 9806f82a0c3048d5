package data

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"path"
	"strings"

	pictures "unnoise/pipeline/picture"
	"unnoise/runtime/durable"
)

// Unnoise's own folders and pictures lie where a person put them, often among the pictures that it learns from. Trained
// on, its own samples would teach a model its own mistakes: they are neither classes nor pictures to train on, unless a
// person chose a gallery alone.

// Files that tell folders of ours, as app/runs, app/workspace and app/studio write them.
const (
	runFile       = "run.json"
	workspaceFile = "workspace.json"
	galleryFile   = "gallery.json"
	maxOwnFile    = 16 << 20
	maxOwnFiles   = 1000 // in an archive
)

// ownFolder says whether a file tells that its folder is a run or a workspace of ours. Other programs' files may be called so, too.
func ownFolder(name string, content []byte) bool {
	var f struct {
		Format  string          `json:"format"`
		Version int             `json:"version"`
		Model   json.RawMessage `json:"model"`
		Train   json.RawMessage `json:"train"`
		Data    json.RawMessage `json:"data"`
	}
	if json.Unmarshal(content, &f) != nil || f.Version < 1 {
		return false
	}
	object := func(b json.RawMessage) bool { return len(b) > 0 && b[0] == '{' }
	switch name {
	case runFile:
		return object(f.Model) && object(f.Train) && object(f.Data)
	case workspaceFile:
		return f.Format == "unnoise workspace"
	}
	return false
}

// ownFolderAt is ownFolder for a folder on disk.
func ownFolderAt(dir, name string) bool {
	if name != runFile && name != workspaceFile {
		return false
	}
	b, err := durable.ReadFile(dir+"/"+name, maxOwnFile)
	return err == nil && ownFolder(name, b)
}

// ownFolders are the folders of ours in an archive, each with a slash at its end.
func ownFolders(files []*zip.File, names []string) map[string]bool {
	out := map[string]bool{}
	looked := 0
	for i, f := range files {
		dir, base := path.Split(path.Clean(names[i]))
		if base != runFile && base != workspaceFile || dir == "" || f.UncompressedSize64 > maxOwnFile || looked == maxOwnFiles {
			continue
		}
		looked++
		r, err := f.Open()
		if err != nil {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(r, maxOwnFile))
		_ = r.Close()
		if err == nil && ownFolder(base, b) {
			out[dir] = true
		}
	}
	return out
}

// drawn says of a picture's file whether Unnoise drew it, and whether it is one picture rather than a sheet of several.
func drawn(file []byte) (ours, single bool) {
	if !bytes.Contains(file[:min(len(file), 1<<20)], []byte("iTXtunnoise\x00")) { // it comes before the pixels
		return false, false
	}
	m, err := pictures.DecodeMeta(bytes.NewReader(file))
	return err == nil, err == nil && m.Count == 0
}

// dropOurs removes pictures that Unnoise drew from what was seen. They stay where nothing else is there or the folder is a gallery:
// then they were chosen.
func (s *Source) dropOurs(found []entry, seen []sight, p *passing) ([]entry, []sight) {
	chosen := s.gallery
	if !chosen {
		chosen = true
		for i := range seen {
			if !seen[i].ours {
				chosen = false
				break
			}
		}
	}
	keptFound, keptSeen := found[:0], seen[:0]
	for i := range seen {
		if seen[i].ours && !(chosen && seen[i].single && (!s.gallery || !strings.Contains(found[i].name, "/"))) {
			p.add(PassedOurs, found[i].name)
			continue
		}
		keptFound, keptSeen = append(keptFound, found[i]), append(keptSeen, seen[i])
	}
	return keptFound, keptSeen
}
