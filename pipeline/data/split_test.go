package data

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The report must name as held out just those images that a cache made from it holds out.
func TestReportHeldOutAgreesWithTheCache(t *testing.T) {
	rep := &Report{Duplicates: [][]string{{"003.png", "004.png"}, {"010.png", "011.png", "012.png"}}}
	for i := range 60 {
		rep.Items = append(rep.Items, Item{Name: fmt.Sprintf("%03d.png", i), Width: 1, Height: 1, Content: contentKey([]byte{byte(i)})})
	}
	for _, exclude := range [][]string{nil, {"000.png", "010.png"}} {
		for _, fraction := range []float64{0, 0.001, 0.05, 0.3, 1} {
			for _, h := range []Holdout{{Fraction: fraction}, {Fraction: fraction, ByName: true}, {Fraction: fraction, ByName: true, Seed: 1}} {
				s := &Source{kind: Folder, path: t.TempDir()}
				m := newManifest(s, rep, Preprocess{Width: 1, Height: 1, Channels: 1}, exclude)
				for i := range m.Images { // as decoding does
					k := slices.IndexFunc(rep.Items, func(it Item) bool { return it.Name == m.Images[i].Name })
					m.Images[i].Content = rep.Items[k].Content
				}
				c := &Cache{m: m}
				want := map[string]bool{}
				_, held := c.Split(h)
				for _, i := range held {
					want[c.Name(i)] = true
				}
				got := map[string]bool{}
				for i, out := range rep.HeldOut(h, exclude) {
					if out {
						got[rep.Items[i].Name] = true
					}
				}
				require.Equal(t, want, got, "%+v exclude %v", h, exclude)
			}
		}
	}
}

// Runs of older versions go on with the pictures they held out. The expected names are from the rule's definition, computed with
// Python's hashlib: the first 53 bits of SHA-256("unnoise/split/1\0" + name + "\0" + seed as 8 bytes, little-endian).
func TestSplitByNameIsThatOfOlderVersions(t *testing.T) {
	_, rep := folder(t, 40)
	for i := range rep.Items {
		rep.Items[i].Name = fmt.Sprintf("%02d.png", i)
	}
	rep.Duplicates = nil
	for seed, want := range map[uint64][]string{
		7: {"02.png", "15.png", "17.png", "33.png"},
		0: {"02.png", "03.png", "06.png", "09.png", "14.png", "16.png", "26.png", "32.png", "38.png"},
	} {
		var got []string
		for i, h := range rep.HeldOut(Holdout{Fraction: 0.2, ByName: true, Seed: seed}, nil) {
			if h {
				got = append(got, rep.Items[i].Name)
			}
		}
		require.Equal(t, want, got)
	}
}

// A cache of version 1 is opened, and is still the one that its runs were begun with once it has been built anew.
func TestCacheOfVersion1(t *testing.T) {
	_, rep := folder(t, 20)
	dir := t.TempDir()
	c := build(t, rep, small, dir)
	stamp := c.m.Stamp
	was := c.m
	was.Version, was.Fingerprint, was.Stamp = 1, stamp, ""
	was.Images = slices.Clone(was.Images)
	for i := range was.Images {
		was.Images[i].Content, was.Images[i].Part = "", ""
	}
	js, err := json.Marshal(was)
	require.NoError(t, err)
	write(t, filepath.Join(dir, cacheJSON), js)
	old, err := OpenCache(dir)
	require.NoError(t, err)
	require.True(t, old.Is(stamp))
	h := Holdout{Fraction: 0.3, ByName: true, Seed: 3}
	train, held := old.Split(h)
	anew := build(t, rep, small, dir)
	require.Equal(t, cacheVersion, anew.m.Version, "a new run needs what is in the files")
	require.True(t, anew.Is(stamp))
	trainAgain, heldAgain := anew.Split(h)
	require.Equal(t, train, trainAgain)
	require.Equal(t, held, heldAgain)
}

// Where a picture lies, what it is called, when it was written and what is beside it say nothing about its side.
func TestSplitHangsOnContentAlone(t *testing.T) {
	dir, rep := folder(t, 120)
	contents := func(rep *Report) (train, held map[string]bool) {
		train, held = map[string]bool{}, map[string]bool{}
		c := build(t, rep, small, t.TempDir())
		tr, he := c.Split(Holdout{Fraction: 0.1})
		for _, i := range tr {
			train[c.Content(i)] = true
		}
		for _, i := range he {
			held[c.Content(i)] = true
		}
		return train, held
	}
	scan := func(path string) *Report {
		rep, err := Scan(t.Context(), path, nil)
		require.NoError(t, err)
		return rep
	}
	train, held := contents(rep)
	require.NotEmpty(t, held)
	before := build(t, rep, small, t.TempDir()).Fingerprint()

	later := time.Now().Add(time.Hour)
	files := map[string][]byte{}
	moved := t.TempDir()
	for i, it := range rep.Items {
		path := filepath.Join(dir, filepath.FromSlash(it.Name))
		require.NoError(t, os.Chtimes(path, later, later))
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		files["photos/"+it.Name] = b
		write(t, filepath.Join(moved, fmt.Sprintf("%03d.png", (i*77)%1000)), b)
	}
	touched := scan(dir)
	require.Equal(t, before, build(t, touched, small, t.TempDir()).Fingerprint(), "a date changes no content")
	zipped := filepath.Join(t.TempDir(), "p.zip")
	writeZip(t, zipped, files)
	for name, rep := range map[string]*Report{"touched": touched, "zipped": scan(zipped), "renamed": scan(moved)} {
		tr, he := contents(rep)
		require.Equal(t, train, tr, name)
		require.Equal(t, held, he, name)
	}
	writeImage(t, filepath.Join(moved, "another.png"), noise(8, 8, 4711))
	tr, he := contents(scan(moved))
	for c := range train {
		require.True(t, tr[c])
	}
	for c := range held {
		require.True(t, he[c])
	}
}
