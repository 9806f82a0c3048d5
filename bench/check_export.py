"""Checks that diffusers opens what `unnoise export --format diffusers` wrote: every weight is there and none too many,
pictures can be sampled, and, if given, one forward pass gives the same numbers as ours.

    python bench/check_export.py FOLDER [--forward FILE] [--steps N] [--out GRID.png]

FILE is a safetensors file with our network's inputs and output: sample (N,C,H,W), timestep (N), out_sample (N,C,H,W)
and, for a model with classes, class_labels (N). Versions are pinned in bench/requirements.txt.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import torch
from diffusers import DDPMPipeline, DDPMScheduler, EDMEulerScheduler, UNet2DModel
from PIL import Image
from safetensors.torch import load_file


def fail(why: str) -> None:
    print("FAILED:", why)
    sys.exit(1)


def main() -> None:
    ap = argparse.ArgumentParser(description="Open an exported model with diffusers.")
    ap.add_argument("folder", type=pathlib.Path)
    ap.add_argument("--forward", type=pathlib.Path, help="our network's inputs and output")
    ap.add_argument("--steps", type=int, default=50)
    ap.add_argument("--out", type=pathlib.Path, help="where to put the four pictures, side by side")
    a = ap.parse_args()
    torch.manual_seed(0)

    unet, info = UNet2DModel.from_pretrained(a.folder, subfolder="unet", output_loading_info=True)
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if info[what]:
            fail(f"{what}: {info[what]}")
    unet.eval()
    stored = load_file(a.folder / "unet" / "diffusion_pytorch_model.safetensors")
    for k, v in unet.state_dict().items():
        if not torch.equal(v, stored[k]):
            fail(f"{k} was changed while loading")
    print(f"weights: {sum(p.numel() for p in unet.parameters())} in {len(stored)} tensors, all there")

    if a.forward:
        f = load_file(a.forward)
        with torch.no_grad():
            ours, labels = f["out_sample"], f.get("class_labels")
            theirs = unet(f["sample"], f["timestep"], class_labels=None if labels is None else labels.long()).sample
        err = ((ours - theirs).abs().max() / theirs.abs().max()).item()
        print(f"forward pass: largest difference {err:.2e} of the largest output")
        if not err < 1e-4:
            fail("the forward pass differs by more than 1e-4")

    config = json.loads((a.folder / "scheduler" / "scheduler_config.json").read_text())
    cls = {"DDPMScheduler": DDPMScheduler, "EDMEulerScheduler": EDMEulerScheduler}[config["_class_name"]]
    scheduler = cls.from_pretrained(a.folder, subfolder="scheduler")
    if (a.folder / "model_index.json").exists():
        pipe = DDPMPipeline.from_pretrained(a.folder)
        pipe.set_progress_bar_config(disable=True)
        print("pipeline:", type(pipe).__name__, type(pipe.scheduler).__name__, pipe.scheduler.config.beta_schedule, pipe.scheduler.config.prediction_type)
    if unet.config.num_class_embeds is None and cls is DDPMScheduler:
        images = [np.asarray(i) for i in pipe(batch_size=4, num_inference_steps=a.steps).images]
    else:  # as the exported README.md has it
        size = unet.config.sample_size
        h, w = (size, size) if isinstance(size, int) else size
        labels = None
        if unet.config.num_class_embeds is not None:
            labels = torch.arange(4) * (unet.config.num_class_embeds // 4)
        scheduler.set_timesteps(a.steps)
        x = torch.randn(4, unet.config.in_channels, h, w) * scheduler.init_noise_sigma
        with torch.no_grad():
            for t in scheduler.timesteps:
                out = unet(scheduler.scale_model_input(x, t), t, class_labels=labels).sample
                x = scheduler.step(out, t, x).prev_sample
        if not torch.isfinite(x).all():
            fail("the samples are not finite")
        images = list(((x / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).squeeze(-1).numpy())
    grid = np.concatenate(images, axis=1)
    print(f"samples: 4 pictures of shape {images[0].shape}, mean {grid.mean():.1f}, standard deviation {grid.std():.1f}")
    if a.out:
        Image.fromarray(grid).save(a.out)
    print("PASSED")


if __name__ == "__main__":
    main()
