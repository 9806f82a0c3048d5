package runs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/gif"
	"os"
	"path/filepath"
	"testing"

	"fyne.io/fyne/v2/test"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/page/pagetest"
	"unnoise/ui/runs"
)

// From the inspector of a real run, its grids become animations frame by frame, and its weights a diffusers folder that
// can be imported again and an ONNX file with the inputs that are promised.
func TestExportsOfARun(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a real network")
	}
	b := pagetest.Open(t, runs.New)
	ctx := context.Background()
	r := b.Request(b.Dataset(8).ID, 3)
	r.SampleEvery = 1
	run := b.TrainAs(r)
	b.WaitText("short")
	inspector := b.Page.(page.Inspected).Inspector()
	tap := func(label string) {
		o := pagetest.ButtonIn(inspector, label)
		require.NotNil(t, o, label)
		require.False(t, o.Disabled(), label)
		test.Tap(o)
	}
	b.Wait("the run in the inspector", func() bool {
		o := pagetest.ButtonIn(inspector, "Export the model…")
		return o != nil && !o.Disabled()
	})
	dir, err := b.S.Studio.Runs.Path(ctx, run.ID)
	require.NoError(t, err)
	grid := func(step int, weights string) image.Image {
		return pagetest.PNG(t, filepath.Join(dir, "samples", fmt.Sprintf("%06d-%s.png", step, weights)))
	}
	out := t.TempDir()

	tap("Export a time-lapse…")
	b.WaitText("Export the training as a time-lapse")
	b.Type("Frames per second", "4")
	b.Type("Hold the last frame", "1")
	b.Type("Enlarge", "3")
	lapse := filepath.Join(out, "lapse ñ 进度.gif")
	b.Export("", lapse)
	f, err := os.Open(lapse)
	require.NoError(t, err)
	g, err := gif.DecodeAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	size := grid(1, "ema").Bounds().Size().Mul(3)
	require.Equal(t, size, image.Pt(g.Config.Width, g.Config.Height))
	require.Len(t, g.Image, 3)
	require.Equal(t, []int{25, 25, 125}, g.Delay, "hundredths of a second")
	require.Zero(t, g.LoopCount, "for ever")

	tap("Export a time-lapse…")
	b.WaitText("Export the training as a time-lapse")
	weights := pagetest.Find(b, func(s *kit.Select) bool { return s.Selected == "EMA" })
	require.NotNil(t, weights)
	weights.SetSelected("Raw weights")
	b.Type("Enlarge", "2")
	apng := filepath.Join(out, "lapse.png")
	b.Export("APNG", apng)
	frames, delays := pagetest.APNG(t, apng)
	require.Len(t, frames, 3)
	for i, frame := range frames {
		require.True(t, pagetest.Same(grid(i+1, "raw"), frame, 2), "frame %d is the grid of step %d, pixel by pixel", i, i+1)
	}
	require.Greater(t, delays[2], delays[0])

	// The model, for diffusers: it can be imported again.
	tap("Export the model…")
	b.WaitText("Export the model short")
	folder := filepath.Join(out, "for diffusers")
	b.Export("", folder)
	var index map[string]any
	raw, err := os.ReadFile(filepath.Join(folder, "model_index.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &index))
	require.Contains(t, fmt.Sprint(index["unet"]), "UNet2DModel")
	require.FileExists(t, filepath.Join(folder, "scheduler", "scheduler_config.json"))
	st, err := os.Stat(filepath.Join(folder, "unet", "diffusion_pytorch_model.safetensors"))
	require.NoError(t, err)
	require.Greater(t, st.Size(), 4*run.Params, "four bytes a weight, and the header")
	again, err := b.S.Studio.Models.Import(ctx, folder, "again", nil)
	require.NoError(t, err)
	require.Equal(t, run.Params, again.Params)

	// What is there is not written over.
	tap("Export the model…")
	b.WaitText("Export the model short")
	path := pagetest.Find(b, func(e *page.Entry) bool { return filepath.IsAbs(e.Text) })
	path.SetText(folder)
	b.Tap("Export")
	b.Wait("the refusal", func() bool { return len(b.S.Messages()) > 0 && len(b.S.Tasks()) == 0 })
	require.Contains(t, fmt.Sprint(b.S.Messages()), folder)
	now, err := os.Stat(filepath.Join(folder, "model_index.json"))
	require.NoError(t, err)
	require.EqualValues(t, len(raw), now.Size())

	// And as ONNX.
	tap("Export the model…")
	b.WaitText("Export the model short")
	file := filepath.Join(out, "model.onnx")
	b.Export("ONNX", file)
	raw, err = os.ReadFile(file)
	require.NoError(t, err)
	require.Greater(t, int64(len(raw)), 4*run.Params)
	graph := field(t, raw, 7)
	require.Equal(t, []string{"sample", "timestep"}, names(t, graph, 11))
	require.Equal(t, []string{"out_sample"}, names(t, graph, 12))
}

// field is the first length-delimited field of a number in a protobuf message (ONNX's onnx.proto numbers them).
func field(t *testing.T, b []byte, num protowire.Number) []byte {
	t.Helper()
	all := fields(t, b, num)
	require.NotEmpty(t, all)
	return all[0]
}

func fields(t *testing.T, b []byte, num protowire.Number) (out [][]byte) {
	t.Helper()
	for len(b) > 0 {
		n, typ, l := protowire.ConsumeTag(b)
		require.Positive(t, l)
		b = b[l:]
		if typ == protowire.BytesType && n == num {
			v, m := protowire.ConsumeBytes(b)
			require.GreaterOrEqual(t, m, 0)
			out = append(out, v)
		}
		l = protowire.ConsumeFieldValue(n, typ, b)
		require.GreaterOrEqual(t, l, 0)
		b = b[l:]
	}
	return out
}

// names are the names of a graph's inputs (11) or outputs (12).
func names(t *testing.T, graph []byte, num protowire.Number) (out []string) {
	t.Helper()
	for _, v := range fields(t, graph, num) {
		out = append(out, string(field(t, v, 1)))
	}
	return out
}
