"""PyTorch's side of bench/bench.py: does a piece of work again and again when it is told to. bench/peer/main.go is the
other side and speaks the same lines; here, a job has the exported model's folder as "model" instead of "run", and
"compile" and "channels_last".

    python bench/torch_peer.py THREADS
"""

import json
import os
import re
import sys
import time
import types

OUT = os.fdopen(os.dup(1), "w")  # whatever libraries print shall not disturb the lines
os.dup2(2, 1)

import numpy as np
import torch
from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel
from diffusers.utils import logging

logging.set_verbosity_error()


def say(**what):
    print(json.dumps(what), file=OUT, flush=True)


def wave(n, phase):
    return torch.from_numpy(np.sin(0.1 * np.arange(n, dtype=np.float64) + phase).astype(np.float32))


def conds(n):
    return torch.tensor([float(1000 * i // n) for i in range(n)])


def load(a, training):
    net = UNet2DModel.from_pretrained(a.model, subfolder="unet")
    net.train(training)
    return net


def shape(net):
    size = net.config.sample_size
    h, w = (size, size) if isinstance(size, int) else size
    return net.config.in_channels, h, w


def train(a):
    """Forward, backward, clipping, AdamW and one moving average, each in the fastest form PyTorch has for it here."""
    net = load(a, True)
    params = list(net.parameters())
    ema = [p.detach().clone() for p in params]
    opt = torch.optim.AdamW(params, lr=1e-4, betas=(0.9, 0.99), eps=1e-8, weight_decay=0, fused=True)
    c, h, w = shape(net)
    x = wave(a.batch * c * h * w, 0).reshape(a.batch, c, h, w)
    target = wave(a.batch * c * h * w, 1).reshape(a.batch, c, h, w)
    cond, weight = conds(a.batch), torch.ones(a.batch)
    if a.channels_last:
        net = net.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    forward = torch.compile(net, dynamic=False) if a.compile else net

    def step(answer):
        opt.zero_grad(set_to_none=True)
        out = forward(x, cond, return_dict=False)[0]
        loss = (weight * (out - target).square().mean(dim=(1, 2, 3))).mean()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(params, 1.0, foreach=True)
        opt.step()
        with torch.no_grad():
            torch._foreach_lerp_(ema, [p.detach() for p in params], 1e-3)
        answer.setdefault("loss", []).append(loss.item())
        answer.setdefault("grad_norm", []).append(norm.item())

    return step


def call(a):
    net = load(a, False)
    c, h, w = shape(net)
    x, cond = wave(a.batch * c * h * w, 0).reshape(a.batch, c, h, w), conds(a.batch)
    if a.channels_last:
        net = net.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    forward = torch.compile(net, dynamic=False) if a.compile else net

    def once(answer):
        with torch.inference_mode():
            answer["out"] = forward(x, cond, return_dict=False)[0][0].flatten()

    return once


def images(a):
    """diffusers' DDIMPipeline; all pictures in as many calls as --batch says."""
    net = load(a, False)
    if a.channels_last:
        net = net.to(memory_format=torch.channels_last)
    if a.compile:
        net = torch.compile(net, dynamic=False)
    pipe = DDIMPipeline(unet=net, scheduler=DDIMScheduler.from_pretrained(a.model, subfolder="scheduler"))
    pipe.set_progress_bar_config(disable=True)

    def once(answer):
        done = 0
        while done < a.n:
            k = min(a.batch, a.n - done)
            pics = pipe(batch_size=k, num_inference_steps=a.steps, eta=0.0, generator=torch.manual_seed(done)).images
            assert len(pics) == k
            done += k

    return once


def sgemm(a):
    """The best of 20 products of two 1024×1024 matrices, as in pipeline/bench."""
    n = 1024
    x, y, z = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)

    def once(answer):
        best = float("inf")
        for _ in range(20):
            began = time.perf_counter()
            torch.mm(x, y, out=z)
            best = min(best, time.perf_counter() - began)
        answer["gflops"] = 2 * n**3 / best / 1e9

    return once


def flops(a):
    from torch.utils.flop_counter import FlopCounterMode

    net = load(a, False)
    c, h, w = shape(net)

    def once(answer):
        with FlopCounterMode(display=False) as count, torch.no_grad():
            net(torch.zeros(1, c, h, w), torch.zeros(1))
        answer["flops"] = count.get_total_flops()

    return once


TASKS = {"train": train, "call": call, "images": images, "sgemm": sgemm, "flops": flops}


def main():
    torch.set_num_threads(int(sys.argv[1]))
    torch.manual_seed(0)
    torch._dynamo.config.recompile_limit = 64  # one for each model and batch
    workers = {}
    say(ready=True)
    for line in sys.stdin:
        job = {"compile": False, "channels_last": False} | json.loads(line)
        times, key = job.pop("times"), json.dumps(job, sort_keys=True)
        answer, seconds = {}, []
        try:
            if key not in workers:
                workers[key] = TASKS[job["task"]](types.SimpleNamespace(**job))
            for _ in range(times):
                began = time.perf_counter()
                workers[key](answer)
                seconds.append(time.perf_counter() - began)
        except Exception as e:  # torch.compile may not work everywhere; bench.py tells it
            say(error=f"{type(e).__name__}: {e}".splitlines()[0])
            continue
        if "out" in answer:
            answer["out"] = answer["out"].tolist()
        say(seconds=seconds, **answer)
    with open("/proc/self/status") as f:
        say(peak=1024 * int(re.search(r"VmHWM:\s*(\d+) kB", f.read())[1]))


main()
