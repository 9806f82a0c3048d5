package gallery

import (
	"context"
	"fmt"
	"image"
	"maps"
	"slices"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/lang"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"unnoise/app/studio"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/widgets/runview"
)

// inspector shows the metadata of one picture at the right of the window.
type inspector struct {
	p     *Page
	root  *fyne.Container
	none  *widget.Label
	some  *fyne.Container
	pic   *kit.Picture
	facts *fyne.Container
	line  *widget.Label
	ref   studio.Ref
	info  studio.GalleryImageInfo
	seq   int
}

func newInspector(p *Page) *inspector {
	n := &inspector{p: p, pic: kit.NewPicture(220, 220), facts: kit.Facts()}
	n.none = kit.Muted("")
	n.line = kit.Muted("")
	n.line.Selectable = true
	n.line.SizeName = theme.SizeNameCaptionText
	buttons := container.NewVBox(
		kit.Button(lang.L("Use these settings"), theme.ContentCopyIcon(), widget.MediumImportance, n.reuse),
		kit.Button(lang.L("How it came about"), theme.HistoryIcon(), widget.MediumImportance, func() { p.detail.showTab(p.grid.Current(), 1) }),
		kit.Button(lang.L("Nearest training pictures"), theme.SearchIcon(), widget.MediumImportance, func() { p.detail.showTab(p.grid.Current(), 2) }),
		kit.Button(lang.L("Show in file manager"), theme.FolderOpenIcon(), widget.MediumImportance, n.reveal))
	n.some = container.NewVBox(n.pic, n.facts, n.line, buttons)
	kit.Show(false, n.some)
	n.root = container.NewStack(container.NewVScroll(container.NewVBox(kit.Heading(lang.L("Details")), n.none, n.some)))
	return n
}

// clear says why there is nothing to show.
func (n *inspector) clear(selected int) {
	n.seq++
	n.ref = studio.Ref{}
	text := lang.L("Select a picture to see how it was made.")
	if selected > 1 {
		text = lang.L("{{.N}} pictures selected.", map[string]any{"N": page.Int(selected)})
	}
	n.none.SetText(text)
	kit.Show(true, n.none)
	kit.Show(false, n.some)
	n.root.Refresh()
}

func (n *inspector) show(ref studio.Ref) {
	if ref == n.ref {
		return
	}
	n.ref = ref
	n.seq++
	seq := n.seq
	type result struct {
		info studio.GalleryImageInfo
		img  *image.RGBA
	}
	page.Load(n.p.s, func(ctx context.Context) (result, error) {
		info, err := n.p.s.Studio.Galleries.Info(ctx, ref)
		if err != nil {
			return result{}, err
		}
		img, err := n.p.s.Studio.Thumbs.Image(ctx, ref)
		return result{info, img}, err
	}, func(r result, err error) {
		if seq != n.seq {
			return
		}
		if err != nil {
			n.none.SetText(page.Sentence(err))
			kit.Show(true, n.none)
			kit.Show(false, n.some)
			return
		}
		n.info = r.info
		n.pic.Set(r.img)
		n.fill()
	})
}

func (n *inspector) fill() {
	i := n.info
	n.facts.Objects = nil
	add := func(name, value string) { kit.AddFact(n.facts, name, value) }
	add(lang.L("Model"), i.Model)
	if i.Checkpoint > 0 {
		add(lang.L("Step"), page.Int(i.Checkpoint))
	}
	if i.Weights != "" {
		add(lang.L("Weights"), runview.WeightsName(i.Weights))
	}
	if i.Sampler != "" {
		add(lang.L("Sampler"), fmt.Sprintf("%s, %s", strings.ToUpper(i.Sampler), lang.L("{{.N}} steps", map[string]any{"N": page.Int(i.Steps)})))
		if i.Spacing != "" {
			add(lang.L("Spacing of the steps"), i.Spacing)
		}
		if i.Eta != 0 {
			add("η", page.Number(i.Eta))
		}
		add(lang.L("Seed"), fmt.Sprintf("%d #%d", i.Seed, i.Index))
	}
	add(lang.L("Schedule"), i.Schedule)
	add(lang.L("Class"), i.Class)
	add(lang.L("Size"), fmt.Sprintf("%d × %d", i.Width, i.Height))
	add(lang.L("Made"), page.When(i.Created))
	add(lang.L("Version"), i.Version)
	for _, k := range slices.Sorted(maps.Keys(i.Extra)) {
		add(k, i.Extra[k])
	}
	n.line.SetText(i.Parameters)
	kit.Show(false, n.none)
	kit.Show(true, n.some)
	n.facts.Refresh()
	n.root.Refresh()
}

// reuse opens the dialog of a new gallery with the settings of the picture.
func (n *inspector) reuse() {
	ref := n.ref
	page.Load(n.p.s, func(ctx context.Context) (studio.SampleRequest, error) {
		return n.p.s.Studio.Galleries.UseSettings(ctx, ref)
	},
		func(r studio.SampleRequest, err error) {
			if err != nil {
				n.p.s.Fail(err)
				return
			}
			n.p.create(r)
		})
}

func (n *inspector) reveal() { n.p.revealRef(n.ref) }
