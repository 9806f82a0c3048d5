package data

import (
	"cmp"
	"context"
	"errors"
	"image"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"unnoise/runtime/sentence"
)

// unsorted is the class of pictures that lie beside class folders instead of in one.
const unsorted = "unsorted"

// Scan looks at every picture of a folder, a .zip or an IDX file and reports what is there. A picture that cannot be used
// is set aside with its reason, and never ends the scan. Classes are the first-level folders, below the folders that all
// pictures share; with less than two of those there are no classes. The error wraps [ErrNoImages], beside a report, when nothing is usable. Progress may be nil.
func Scan(ctx context.Context, path string, progress func(Progress)) (*Report, error) {
	return scan(ctx, path, defaultLimits, progress)
}

func scan(ctx context.Context, path string, lim limits, progress func(Progress)) (rep *Report, err error) {
	s, err := openSource(path, lim)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	found, bad, ignored, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	rep = &Report{Path: path, Kind: s.kind, Bad: bad, Ignored: ignored}
	seen, err := s.lookAt(ctx, found, progress)
	if err != nil {
		return nil, err
	}
	var prints []*fingerprint
	for i, e := range found {
		if seen[i].reason.Template != "" {
			rep.Bad = append(rep.Bad, badFile(e.name, seen[i].reason))
			continue
		}
		rep.Items = append(rep.Items, seen[i].item)
		prints = append(prints, seen[i].print)
	}
	slices.SortFunc(rep.Bad, func(a, b BadFile) int { return strings.Compare(a.Name, b.Name) })
	if len(rep.Items) == 0 {
		return rep, nothingUsable(rep)
	}
	if s.kind == IDX {
		rep.Classes = labelClasses(rep.Items, s.idx.labels)
	} else {
		rep.Classes = folderClasses(rep.Items)
	}
	rep.Sizes = sizes(rep.Items)
	rep.Background = background(prints)
	newMeter(progress, "Looking for near-duplicates", 0)
	groups, err := duplicates(ctx, prints)
	if err != nil {
		return nil, err
	}
	for _, group := range groups {
		names := make([]string, len(group))
		for i, k := range group {
			names[i] = rep.Items[k].Name
		}
		rep.Duplicates = append(rep.Duplicates, names)
	}
	return rep, nil
}

// sight is what a look at one file found: an item, or the reason why it is none.
type sight struct {
	item   Item
	print  *fingerprint
	reason sentence.Text
}

func (s *Source) lookAt(ctx context.Context, found []entry, progress func(Progress)) ([]sight, error) {
	seen := make([]sight, len(found))
	m := newMeter(progress, "Looking at the pictures", len(found))
	err := forEach(ctx, len(found), func(ctx context.Context, i int) error {
		defer m.step()
		err := s.with(ctx, found[i].name, func(img image.Image, in info) error {
			b := img.Bounds()
			seen[i].item = Item{
				Name: found[i].name, Width: b.Dx(), Height: b.Dy(),
				Format: in.format, Channels: in.channels, Bits: in.bits,
			}
			seen[i].print = newFingerprint(img)
			return nil
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			seen[i].reason = why(err)
		}
		return nil
	})
	return seen, err
}

// forEach calls do for 0…n-1 on all cores, until the first error.
func forEach(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		if inner.Err() != nil {
			break
		}
		g.Go(func() error { return do(inner, i) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

func nothingUsable(rep *Report) error {
	if len(rep.Bad) > 0 {
		return sentence.T("no usable pictures in {{.Path}}: all {{.N}} pictures were set aside, the first ({{.Name}}) because {{.Reason}}",
			"Path", rep.Path, "N", len(rep.Bad), "Name", rep.Bad[0].Name, "Reason", rep.Bad[0].Why()).Because(ErrNoImages)
	}
	return sentence.T("no usable pictures in {{.Path}}: PNG, JPEG, GIF, BMP, TIFF and WebP files are looked for in all its folders", "Path", rep.Path).Because(ErrNoImages)
}

// folderClasses sets each item's class to its first-level folder, below the folders that all items share.
func folderClasses(items []Item) []ClassCount {
	shared := path.Dir(items[0].Name)
	for _, it := range items {
		for shared != "." && !strings.HasPrefix(it.Name, shared+"/") {
			shared = path.Dir(shared)
		}
	}
	skip := 0
	if shared != "." {
		skip = len(shared) + 1
	}
	class := func(it Item) string {
		if first, _, ok := strings.Cut(it.Name[skip:], "/"); ok {
			return first
		}
		return unsorted
	}
	count := map[string]int{}
	for _, it := range items {
		count[class(it)]++
	}
	if len(count) < 2 {
		return nil
	}
	for i := range items {
		items[i].Class = class(items[i])
	}
	return classCounts(count, strings.Compare)
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

// sizes is the histogram of sizes, the most frequent first.
func sizes(items []Item) []SizeCount {
	count := map[[2]int]int{}
	for _, it := range items {
		count[[2]int{it.Width, it.Height}]++
	}
	out := make([]SizeCount, 0, len(count))
	for k, n := range count {
		out = append(out, SizeCount{Width: k[0], Height: k[1], Count: n})
	}
	slices.SortFunc(out, func(a, b SizeCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Width, b.Width), cmp.Compare(a.Height, b.Height))
	})
	return out
}
