package data

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPartOf(t *testing.T) {
	for name, want := range map[string]string{
		"train": TrainPart, "Training": TrainPart, "TRAIN": TrainPart, "training_set": TrainPart, "seg_train": TrainPart, "train2017": TrainPart, "train-images": TrainPart,
		"test": TestPart, "Testing": TestPart, "test_set": TestPart, "TestSet": TestPart, "val": ValPart, "valid": ValPart, "Validation": ValPart, "validation-data": ValPart,
		"dev": ValPart, "held-out": ValPart, "holdout": ValPart, "eval": ValPart,
		"trains": "", "trainer": "", "cat": "", "train station": "", "test pilots": "", "images": "", "": "", "1": "", "train_test": "", "developers": "", "contest": "",
	} {
		require.Equal(t, want, partOf(name), name)
	}
}

func TestPartsOfADataset(t *testing.T) {
	for _, c := range []struct {
		name    string
		files   []string
		classes []ClassCount
		parts   []ClassCount
		held    []int
	}{
		{
			"parts above classes",
			[]string{"test/cat/3.png", "train/cat/1.png", "train/dog/2.png", "val/dog/4.png"},
			[]ClassCount{{"cat", 2}, {"dog", 2}},
			[]ClassCount{{TrainPart, 2}, {ValPart, 1}, {TestPart, 1}},
			[]int{0, 3},
		},
		{
			"in any case, below a shared folder",
			[]string{"pets/Testing/cat/3.png", "pets/Training/cat/1.png", "pets/Training/dog/2.png"},
			[]ClassCount{{"cat", 2}, {"dog", 1}},
			[]ClassCount{{TrainPart, 2}, {TestPart, 1}},
			[]int{0},
		},
		{
			"parts within classes",
			[]string{"cat/test/3.png", "cat/train/1.png", "dog/train/2.png", "dog/valid/4.png"},
			[]ClassCount{{"cat", 2}, {"dog", 2}},
			[]ClassCount{{TrainPart, 2}, {ValPart, 1}, {TestPart, 1}},
			[]int{0, 3},
		},
		{
			"twice the same name",
			[]string{"seg_test/seg_test/sea/1.png", "seg_train/seg_train/ice/2.png", "seg_train/seg_train/sea/3.png"},
			[]ClassCount{{"ice", 1}, {"sea", 2}},
			[]ClassCount{{TrainPart, 2}, {TestPart, 1}},
			[]int{0},
		},
		{
			"no classes",
			[]string{"images/train2017/1.png", "images/val2017/2.png"},
			nil,
			[]ClassCount{{TrainPart, 1}, {ValPart, 1}},
			[]int{1},
		},
		{
			"beside pictures of no part",
			[]string{"cover.png", "test/cat/1.png", "train/cat/2.png", "train/dog/3.png"},
			[]ClassCount{{"cat", 2}, {"dog", 1}, {"unsorted", 1}},
			[]ClassCount{{TrainPart, 3}, {TestPart, 1}},
			[]int{1},
		},
		{
			"beside others",
			[]string{"extra/1.png", "test/cat/1.png", "train/cat/2.png", "train/dog/3.png"},
			[]ClassCount{{"cat", 2}, {"dog", 1}, {"extra", 1}},
			[]ClassCount{{TrainPart, 3}, {TestPart, 1}},
			[]int{1},
		},
		{
			"pictures of trains",
			[]string{"car/1.png", "plane/2.png", "train/3.png"},
			[]ClassCount{{"car", 1}, {"plane", 1}, {"train", 1}},
			nil, nil,
		},
		{
			"a class with a folder of that name",
			[]string{"car/1.png", "train/test/2.png", "train/x/3.png"},
			[]ClassCount{{"car", 1}, {"train", 2}},
			nil, nil,
		},
		{
			"nothing held out",
			[]string{"train/cat/1.png", "train/dog/2.png"},
			[]ClassCount{{"cat", 1}, {"dog", 1}},
			nil, nil,
		},
		{
			"nothing to train on",
			[]string{"test/cat/1.png", "val/dog/2.png"},
			[]ClassCount{{"cat", 1}, {"dog", 1}},
			nil, nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			rep := &Report{}
			for i, f := range c.files {
				rep.Items = append(rep.Items, Item{Name: f, Content: contentKey([]byte{byte(i)})})
			}
			require.Equal(t, c.classes, sortInto(rep.Items))
			require.Equal(t, c.parts, rep.Parts())
			if c.parts == nil {
				return
			}
			for _, fraction := range []float64{0, 0.05, 0.5} {
				var held []int
				for i, h := range rep.HeldOut(Holdout{Fraction: fraction}, nil) {
					if h {
						held = append(held, i)
					}
				}
				require.Equal(t, c.held, held)
			}
		})
	}
}

// The parts that folders make are held out all the way to a run, and the excluded ones are not.
func TestPartsAreHeldOutByTheCache(t *testing.T) {
	dir := t.TempDir()
	k := uint64(0)
	for _, part := range []string{"train", "test", "val"} {
		for _, class := range []string{"cat", "dog"} {
			for range 3 {
				k++
				writeImage(t, filepath.Join(dir, part, class, string(rune('a'+k))+".png"), noise(8, 8, k))
			}
		}
	}
	rep, err := Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Equal(t, []ClassCount{{"cat", 9}, {"dog", 9}}, rep.Classes)
	out := rep.Items[0].Name
	c := build(t, rep, small, t.TempDir(), out)
	train, held := c.Split(Holdout{Fraction: 0.05})
	require.Len(t, train, 6)
	require.Len(t, held, 11)
	for _, i := range train {
		require.Equal(t, "train", filepath.Base(filepath.Dir(filepath.Dir(c.Name(i)))))
	}
	for i, h := range rep.HeldOut(Holdout{}, []string{out}) {
		require.Equal(t, h, rep.Items[i].Part != TrainPart && rep.Items[i].Name != out)
	}
}
