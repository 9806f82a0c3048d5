package data

import (
	"cmp"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// unsorted is the class of pictures that lie beside class folders instead of in one.
const unsorted = "unsorted"

// The parts that a person divided the pictures into, by folders.
const (
	TrainPart = "train"
	ValPart   = "val"  // held out
	TestPart  = "test" // held out
)

// partWords are the words that name a part; beside them, a folder's name may have words that say nothing, and numbers.
var (
	partWords = map[string]string{
		"train": TrainPart, "training": TrainPart, "trn": TrainPart, "trainset": TrainPart, "trainval": TrainPart, "learn": TrainPart,
		"test": TestPart, "tests": TestPart, "testing": TestPart, "tst": TestPart, "testset": TestPart,
		"val": ValPart, "valid": ValPart, "validation": ValPart, "validate": ValPart, "valset": ValPart, "dev": ValPart, "devel": ValPart,
		"eval": ValPart, "evaluation": ValPart, "holdout": ValPart, "heldout": ValPart,
	}
	emptyWords = set("set data dataset split part seg images image img imgs pictures photos samples folder full final")
)

// partOf is the part that a folder's name stands for, or "".
func partOf(folder string) string {
	part := ""
	low := strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(folder), "held-out", "heldout"), "hold-out", "holdout")
	for w := range strings.FieldsFuncSeq(low, func(r rune) bool { return !unicode.IsLetter(r) }) {
		switch p := partWords[w]; {
		case p != "" && part == "":
			part = p
		case !emptyWords[w]:
			return ""
		}
	}
	return part
}

// sortInto sets each item's class and part by its folders, and counts the classes. Classes are the first-level folders, below the
// folders that all items share. Folders that stand for parts of the dataset (train, test, val, …) are no classes: they are gone through,
// above the class folders as well as within each.
func sortInto(items []Item) []ClassCount {
	rest := make([]string, len(items)) // of each name, below what has been gone through
	for i, it := range items {
		rest[i] = it.Name
	}
	skipShared(rest)
	part := make([]string, len(items))
	for takeParts(rest, part, false) {
		skipShared(rest)
	}
	class := make([]string, len(items))
	count := map[string]int{}
	for i := range items {
		first, below, ok := strings.Cut(rest[i], "/")
		if !ok {
			first = unsorted
		}
		class[i], rest[i] = first, below
		count[first]++
	}
	takeParts(rest, part, true)
	useParts(items, part)
	if len(count) < 2 {
		return nil
	}
	for i := range items {
		items[i].Class = class[i]
	}
	return classCounts(count, strings.Compare)
}

// skipShared goes through the folders that all names share.
func skipShared(rest []string) {
	shared := path.Dir(rest[0])
	for _, name := range rest {
		for shared != "." && !strings.HasPrefix(name, shared+"/") {
			shared = path.Dir(shared)
		}
	}
	if shared != "." {
		for i := range rest {
			rest[i] = rest[i][len(shared)+1:]
		}
	}
}

// takeParts goes through the first folders of the names where they stand for parts: all of them do, or there are one to train on and one
// that is held out among others. A single class called train (there are pictures of trains) is a class. Within classes, all have
// to be parts.
func takeParts(rest, part []string, within bool) bool {
	others, kinds := false, map[string]bool{}
	for _, name := range rest {
		if first, _, ok := strings.Cut(name, "/"); ok {
			p := partOf(first)
			others = others || p == ""
			kinds[p] = true
		}
	}
	trains, held := kinds[TrainPart], kinds[TestPart] || kinds[ValPart]
	if !trains && !held || others && (within || !trains || !held) {
		return false
	}
	for i, name := range rest {
		first, below, ok := strings.Cut(name, "/")
		if p := partOf(first); ok && p != "" {
			rest[i] = below
			if part[i] == "" {
				part[i] = p
			}
		}
	}
	return true
}

// useParts sets the items' parts where some are to be trained on and some are held out.
func useParts(items []Item, part []string) {
	var trains, held bool
	for _, p := range part {
		trains = trains || p == TrainPart || p == ""
		held = held || p == TestPart || p == ValPart
	}
	if !trains || !held {
		return
	}
	for i := range items {
		items[i].Part = cmp.Or(part[i], TrainPart)
	}
}

// Parts counts the pictures of each part that the folders divide the dataset into: to train on first. It is nil where they do not.
func (r *Report) Parts() []ClassCount {
	count := map[string]int{}
	for _, it := range r.Items {
		if it.Part != "" {
			count[it.Part]++
		}
	}
	var out []ClassCount
	for _, p := range []string{TrainPart, ValPart, TestPart} {
		if count[p] > 0 {
			out = append(out, ClassCount{Name: p, Count: count[p]})
		}
	}
	return out
}

func labelClasses(items []Item, labels []byte) []ClassCount {
	if labels == nil {
		return nil
	}
	count := map[string]int{}
	for i := range items {
		k, err := strconv.Atoi(items[i].Name)
		if err != nil || k >= len(labels) {
			return nil
		}
		items[i].Class = strconv.Itoa(int(labels[k]))
		count[items[i].Class]++
	}
	return classCounts(count, func(a, b string) int { // 2 before 10
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	})
}

func classCounts(count map[string]int, order func(a, b string) int) []ClassCount {
	out := make([]ClassCount, 0, len(count))
	for name, n := range count {
		out = append(out, ClassCount{Name: name, Count: n})
	}
	slices.SortFunc(out, func(a, b ClassCount) int { return order(a.Name, b.Name) })
	return out
}
