// Package datasets turns a person's folder into pictures decoded for training, and suggests how to decode them.
package datasets

import (
	"context"
	"path/filepath"

	"unnoise/app/disk"
	"unnoise/pipeline/data"
	"unnoise/runtime/sentence"
)

// FileName is the file in a dataset's folder that holds what its owner decided about it.
const FileName = "dataset.json"

// Suggestion is a size and a channel count that suit a data set.
type Suggestion struct{ Width, Height, Channels int }

// Sizes that are suggested: small pictures keep theirs, rounded to what every preset's levels divide; larger ones are
// brought to defaultSide, which trains on any computer.
const (
	defaultSide  = 32
	largestKept  = 64
	smallestSide = 8
	multiple     = 8
)

// Suggest looks at what most pictures are.
func Suggest(rep *data.Report) Suggestion {
	s := Suggestion{Width: defaultSide, Height: defaultSide, Channels: 3}
	if len(rep.Sizes) > 0 {
		top := rep.Sizes[0]
		if 2*top.Count > len(rep.Items) && max(top.Width, top.Height) <= largestKept {
			s.Width, s.Height = up(top.Width), up(top.Height)
		}
	}
	var count [5]int
	for _, it := range rep.Items {
		if it.Channels >= 1 && it.Channels <= 4 {
			count[it.Channels]++
		}
	}
	switch n := len(rep.Items); {
	case 10*count[1] > 9*n: // one coloured picture in ten would be a pity to lose
		s.Channels = 1
	case 2*count[4] > n:
		s.Channels = 4
	}
	return s
}

func up(n int) int { return max(smallestSide, (n+multiple-1)/multiple*multiple) }

// Decode decodes the pictures of a report, without the excluded ones, into dir, or opens what is there already if it
// still fits. It first checks that the disk has room. free is disk.Free, or a test's own.
func Decode(ctx context.Context, rep *data.Report, pp data.Preprocess, exclude []string, dir string,
	free func(string) (uint64, error), progress func(data.Progress),
) (*data.Cache, error) {
	if err := disk.Require(free, filepath.Dir(dir), data.CacheBytes(rep, pp), sentence.T("the decoded pictures")); err != nil {
		return nil, err
	}
	c, err := data.BuildCacheExcluding(ctx, "", rep, pp, exclude, dir, progress)
	if err != nil {
		return nil, sentence.Errorf("the pictures could not be decoded: %w", err)
	}
	return c, nil
}
