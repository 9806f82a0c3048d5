package data

import (
	"cmp"
	"context"
	"errors"
	"image"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// Scan looks at every picture of a folder, a .zip or an IDX file and reports what is there. A picture that cannot be used
// is set aside with its reason, and never ends the scan. Classes are the first-level folders, below the folders that all
// pictures share and below those that divide them into parts such as train and test; with less than two of those there are no
// classes. The error wraps [ErrNoImages], beside a report, when nothing is usable. Progress may be nil.
func Scan(ctx context.Context, path string, progress func(Progress)) (*Report, error) {
	return scan(ctx, path, defaultLimits, progress)
}

func scan(ctx context.Context, path string, lim limits, progress func(Progress)) (rep *Report, err error) {
	s, err := openSource(path, lim)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	found, bad, passed, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	rep = &Report{Path: durable.Path(path), Kind: s.kind, Bad: bad}
	seen, err := s.lookAt(ctx, found, progress)
	if err != nil {
		return nil, err
	}
	found, seen = s.dropOurs(found, seen, &passed)
	rep.Passed = passed.sorted()
	for _, p := range passed {
		rep.Ignored += p.Count
	}
	var prints []*fingerprint
	for i, e := range found {
		if seen[i].reason.Template != "" {
			b := badFile(e.name, seen[i].reason)
			b.Unread = seen[i].unread
			rep.Bad = append(rep.Bad, b)
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
		rep.Classes = sortInto(rep.Items)
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
	item         Item
	print        *fingerprint
	reason       sentence.Text
	unread       bool // the reason lies outside the file
	ours, single bool // drawn by Unnoise; and not a sheet of several
}

func (s *Source) lookAt(ctx context.Context, found []entry, progress func(Progress)) ([]sight, error) {
	seen := make([]sight, len(found))
	m := newMeter(progress, "Looking at the pictures", len(found))
	err := forEach(ctx, len(found), func(ctx context.Context, i int) error {
		defer m.step()
		err := s.with(ctx, found[i].name, func(img image.Image, in info, file []byte) error {
			b := img.Bounds()
			seen[i].item = Item{
				Name: found[i].name, Width: b.Dx(), Height: b.Dy(),
				Format: in.format, Channels: in.channels, Bits: in.bits, Content: contentKey(file),
			}
			seen[i].print = newFingerprint(img)
			seen[i].ours, seen[i].single = drawn(file)
			return nil
		})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case short(err):
			return sentence.T("the pictures in {{.Path}} could not be read: {{.Problem}}; close other programs and try again", "Path", s.path, "Problem", err).Because(err)
		case err != nil:
			seen[i].reason, seen[i].unread = whyNot(err), unread(err)
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
	for _, p := range rep.Passed {
		if p.Kind != PassedUnknown && p.Kind != PassedSystem {
			return sentence.T("no usable pictures in {{.Path}}: it has {{.What}}", "Path", rep.Path, "What", p.Text()).Because(ErrNoImages)
		}
	}
	return sentence.T("no usable pictures in {{.Path}}: PNG, JPEG, GIF, BMP, TIFF and WebP files are looked for in all its folders", "Path", rep.Path).Because(ErrNoImages)
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
