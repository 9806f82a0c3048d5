"""Checks that diffusers opens what `unnoise export --format diffusers` wrote: every weight is there and none too many,
pictures can be sampled, and, given what `--format onnx` wrote, both give the same numbers at several noise levels.

    python bench/check_export.py FOLDER [--onnx FILE] [--steps N] [--out GRID.png]

Versions are pinned in bench/requirements.txt.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import onnxruntime
import torch
from diffusers import DDPMPipeline, DDPMScheduler, EDMEulerScheduler, UNet2DModel
from diffusers.utils import logging
from PIL import Image
from safetensors.torch import load_file


def fail(why: str) -> None:
    print("FAILED:", why)
    sys.exit(1)


def main() -> None:
    ap = argparse.ArgumentParser(description="Open an exported model with diffusers.")
    ap.add_argument("folder", type=pathlib.Path)
    ap.add_argument("--onnx", type=pathlib.Path, help="the same model, exported to ONNX")
    ap.add_argument("--steps", type=int, default=50)
    ap.add_argument("--out", type=pathlib.Path, help="where to put the four pictures, side by side")
    a = ap.parse_args()
    torch.manual_seed(0)
    logging.set_verbosity_error()
    logging.disable_progress_bar()

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

    size = unet.config.sample_size
    h, w = (size, size) if isinstance(size, int) else size
    shape = (4, unet.config.in_channels, h, w)
    labels = None
    if unet.config.num_class_embeds is not None:
        labels = torch.arange(4) % unet.config.num_class_embeds

    if a.onnx:
        session = onnxruntime.InferenceSession(a.onnx, providers=["CPUExecutionProvider"])
        worst = 0.0
        for i, levels in enumerate([[0, 0, 0, 0], [999, 999, 999, 999], [3, 250, 500, 750], [-1.5, -0.5, 0.1, 1.05]]):
            x, t = torch.randn(shape)[: 4 - i], torch.tensor(levels, dtype=torch.float32)[: 4 - i]  # batches of 4, 3, 2, 1
            feed = {"sample": x.numpy(), "timestep": t.numpy()}
            if labels is not None:
                feed["class_labels"] = labels[: 4 - i].numpy()
            with torch.no_grad():
                theirs = unet(x, t, class_labels=None if labels is None else labels[: 4 - i]).sample
            ours = torch.from_numpy(session.run(["out_sample"], feed)[0])
            worst = max(worst, ((ours - theirs).abs().max() / theirs.abs().max()).item())
        print(f"forward pass: the ONNX file differs from diffusers by at most {worst:.1e} of the largest output")
        if not worst < 1e-4:
            fail("that is more than 1e-4")

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
        scheduler.set_timesteps(a.steps)
        x = torch.randn(shape) * scheduler.init_noise_sigma
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
