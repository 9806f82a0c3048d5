package export

import (
	"fmt"
	"strings"

	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/model"
)

// readme tells how the exported folder is sampled in Python.
func readme(spec model.Spec, scheduler string) string {
	c, h, w := spec.Shape()
	var b strings.Builder
	say := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	say("# A diffusion model trained with Unnoise\n")
	say("It draws pictures of %d × %d pixels with %d channel(s): a `UNet2DModel` of %d parameters, objective %s, noise schedule %s.",
		w, h, c, spec.UNet.NumParams(), spec.Objective, spec.ScheduleName())
	say("The files are those of [diffusers](https://github.com/huggingface/diffusers) %s: `pip install torch diffusers`.", diffusersVersion)
	if spec.Objective != diffusion.ObjectiveEDM && !spec.Conditional() {
		say("\n```python")
		say("from diffusers import DDPMPipeline\n")
		say("pipe = DDPMPipeline.from_pretrained(\".\")  # this folder")
		say("for i, image in enumerate(pipe(batch_size=4).images):")
		say("    image.save(f\"{i}.png\")")
		say("```\n")
		say("Fewer steps do with another scheduler:\n")
		say("```python")
		say("from diffusers import DPMSolverMultistepScheduler\n")
		say("pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)")
		say("images = pipe(batch_size=4, num_inference_steps=20).images")
		say("```")
		return b.String()
	}
	if spec.Conditional() {
		say("\nThe network wants a class label for each picture, which diffusers' ready-made pipelines do not pass on, so the loop is written out.")
	} else {
		say("\ndiffusers has no ready-made pipeline for EDM's preconditioning, so the loop is written out.")
	}
	say("\n```python")
	say("import torch")
	say("from diffusers import %s, UNet2DModel", scheduler)
	say("from PIL import Image\n")
	say("unet = UNet2DModel.from_pretrained(\".\", subfolder=\"unet\")  # this folder")
	say("scheduler = %s.from_pretrained(\".\", subfolder=\"scheduler\")", scheduler)
	say("n = 4")
	labels := "None"
	if spec.Conditional() {
		labels = fmt.Sprintf("torch.full((n,), %d)  # see below", spec.Label(0))
	}
	say("labels = %s", labels)
	say("scheduler.set_timesteps(50)")
	say("x = torch.randn(n, %d, %d, %d) * scheduler.init_noise_sigma", c, h, w)
	say("with torch.no_grad():")
	say("    for t in scheduler.timesteps:")
	say("        out = unet(scheduler.scale_model_input(x, t), t, class_labels=labels).sample")
	say("        x = scheduler.step(out, t, x).prev_sample")
	say("pixels = ((x / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()")
	say("for i, p in enumerate(pixels):")
	say("    Image.fromarray(p.squeeze()).save(f\"{i}.png\")")
	say("```")
	if !spec.Conditional() {
		return b.String()
	}
	say("\n| label | class |\n| --- | --- |")
	if len(spec.Classes) == 0 {
		say("| %d | (all pictures) |", spec.Label(0))
	}
	for i, name := range spec.Classes {
		say("| %d | %s |", spec.Label(i), strings.NewReplacer("|", "\\|", "\n", " ", "`", "'").Replace(name))
	}
	if t := spec.Preprocess.Transforms(); t > 1 {
		say("\nThe labels between stand for the mirrored and turned pictures that the training was augmented with; ask for those above.")
	}
	return b.String()
}
