"""Measures Unnoise against PyTorch and diffusers and writes docs/benchmarks.md's tables and bench/results/*.json.

    make bench                     (bench/run: makes bench/.venv, builds, and starts this)
    bench/run --quick              (few repetitions and the small network alone, to see that everything works)

Both sides compute with the same exported weights and the same inputs in fp32 on the same number of threads. Each side of
a comparison is a process of its own that lives through all rounds; in each round every side has its turn, in an order
that is reversed from round to round, so that all of them meet the same states of the machine. Ratios are taken within
a round. What is compiled is compiled before the first round.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOC = ROOT / "docs/benchmarks.md"
RESULTS = ROOT / "bench/results"
UNNOISE, PEER = ROOT / "bin/unnoise", ROOT / "bin/bench-peer"
BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
SIDES = {"ours": "Unnoise", "eager": "PyTorch eager", "compiled": "torch.compile"}


class Peer:
    """A process that does the jobs it is told to: see bench/peer/main.go and bench/torch_peer.py."""

    def __init__(self, ours, threads):
        cmd = [PEER, "work", "--threads", threads] if ours else [sys.executable, ROOT / "bench/torch_peer.py", threads]
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([str(c) for c in cmd], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, bufsize=1)

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            self.process.wait()
            self.log.seek(0)
            raise SystemExit("a side of the comparison ended early:\n" + self.log.read()[-2000:])
        return json.loads(text)

    def ready(self):
        self.line()
        return self

    def run(self, job, times=1):
        self.process.stdin.write(json.dumps(job | {"times": times}) + "\n")
        self.process.stdin.flush()
        return self.line()

    def end(self):
        """Returns the peak of the memory."""
        self.process.stdin.close()
        peak = self.line()["peak"]
        self.process.wait()
        return peak


def job_of(side, task, model, **more):
    if side == "ours":
        return {"task": task, "run": str(model / "run")} | more
    return {"task": task, "model": str(model / "diffusers"), "compile": side == "compiled"} | more


def median(v):
    return statistics.median(v)


def spread(v):
    """Median, quartiles and ends."""
    q = np.percentile(v, [0, 25, 50, 75, 100])
    return dict(zip(("min", "q1", "median", "q3", "max"), map(float, q)))


def compare(what, peers, jobs, rounds, times):
    """Runs one comparison: each side's job in its process. Returns seconds per side and round."""
    note(what)
    failed, answers = {}, {}
    for s in jobs:
        began = time.time()
        a = peers[s].run(jobs[s])
        if "error" in a:
            if s != "compiled":
                raise SystemExit(f"{what}: {SIDES[s]}: {a['error']}")
            failed[s] = a["error"]
            note(f"  {SIDES[s]} does not work: {failed[s]}")
            continue
        note(f"  {SIDES[s]} ready after {time.time() - began:.1f} s")
        answers[s] = [a, peers[s].run(jobs[s])]
    seconds = {s: [] for s in answers}
    for r in range(rounds):
        for s in list(answers)[:: -1 if r % 2 else 1]:
            a = peers[s].run(jobs[s], times)
            answers[s].append(a)
            seconds[s].append(median(a["seconds"]))
        note(f"  round {r + 1}: " + ", ".join(f"{SIDES[s]} {1e3 * seconds[s][-1]:.1f} ms" for s in answers))
    return {"what": what, "seconds": seconds, "failed": failed, "agreement": agreement(answers)}


def agreement(answers):
    """The largest relative difference of the sides' results: losses and gradient norms of all steps, or a call's output."""
    worst = {}
    for key in ("loss", "grad_norm", "out"):
        if key not in answers["ours"][0]:
            continue
        ours = np.array([v for a in answers["ours"] for v in a[key]])
        for s in answers:
            if s != "ours":
                theirs = np.array([v for a in answers[s] for v in a[key]])
                n = min(len(ours), len(theirs))
                if key == "out":
                    d = np.abs(ours[:n] - theirs[:n]).max() / np.abs(theirs).max()
                else:  # the first steps: later ones amplify rounding
                    d = (np.abs(ours - theirs) / np.abs(theirs))[:2].max()
                worst[key] = max(worst.get(key, 0), float(d))
    return worst


def ratios(c):
    """Our time by that of the faster of the others, in each round."""
    others = {s: median(v) for s, v in c["seconds"].items() if s != "ours"}
    best = min(others, key=others.get)
    return best, spread([a / b for a, b in zip(c["seconds"]["ours"], c["seconds"][best])])


def note(text):
    print(text, file=sys.stderr, flush=True)


def command(*cmd):
    done = subprocess.run([str(c) for c in cmd], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, cmd))}\nfailed: {done.stderr.strip()}")
    return done.stdout


def pictures(folder):
    """64 smooth colour patterns: something to open, decode and train one step on."""
    folder.mkdir()
    r = np.random.default_rng(0)
    for i in range(64):
        grain = r.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(grain).resize((32, 32), Image.BICUBIC).save(folder / f"{i:02d}.png")


def models(work, presets):
    """Makes an untrained network of each preset and exports it, so that both sides have the same one."""
    out = {}
    for p in presets:
        note(f"making {p}")
        out[p] = work / p
        command(PEER, "make", "--preset", p, "--run", work / p / "run")
        command(UNNOISE, "export", "--run", work / p / "run", "--format", "diffusers", "--out", work / p / "diffusers")
    return out


def until_line(cmd, text):
    """Seconds from the start of a process until it prints text, by text; the process is let finish."""
    began = time.perf_counter()
    p = subprocess.Popen([str(c) for c in cmd], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    at = {}
    for line in p.stderr:
        for t in text:
            if t in line:
                at[t] = time.perf_counter() - began
    if p.wait() or len(at) != len(text):
        raise SystemExit(f"{' '.join(map(str, cmd))} did not print {text}")
    return [at[t] for t in text]


def until_file(cmd, folder):
    """Seconds from the start of a process until a finished picture lies in a folder; the process is let finish."""
    began = time.perf_counter()
    p = subprocess.Popen([str(c) for c in cmd], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    at = None
    while at is None and p.poll() is None:
        if folder.is_dir() and any(f.suffix == ".png" and not f.name.startswith(".") for f in folder.iterdir()):
            at = time.perf_counter() - began
        time.sleep(0.002)
    if p.wait() or at is None:
        raise SystemExit(f"{' '.join(map(str, cmd))} wrote no picture")
    return at


def start_times(work, model, rounds):
    note("time to the first step and the first picture")
    pictures(work / "pictures")
    out = {"step begins": [], "step done": [], "one picture": [], "first of 16 pictures": []}
    for r in range(rounds):
        run = work / f"start{r}"
        a, b = until_line(
            [UNNOISE, "train", "--data", work / "pictures", "--run", run, "--preset", "small", "--steps", 1],
            ["Training on ", " s a step,"],
        )
        out["step begins"].append(a)
        out["step done"].append(b)
        for what, n in (("one picture", 1), ("first of 16 pictures", 16)):
            to = work / f"sample{r}-{n}"
            out[what].append(until_file([UNNOISE, "sample", "--run", model / "run", "--n", n, "--out", to], to))
    for what, v in out.items():
        note(f"  {what}: " + ", ".join(f"{s:.2f} s" for s in v))
    return out


def speed(peers, rounds):
    """The speed of plain matrix products in both libraries, GFLOPS, taking turns; the best counts."""
    note("matrix products")
    rates = {"ours": [], "eager": []}
    for _ in range(rounds):
        for s, v in rates.items():
            v.append(peers[s].run({"task": "sgemm"})["gflops"])
    return {s: max(v) for s, v in rates.items()}


def flops(peers, model):
    """FLOPs of one picture's forward pass, as PyTorch counts them and as pipeline/bench does."""
    return peers["eager"].run(job_of("eager", "flops", model))["flops"], 2 * peers["ours"].run(job_of("ours", "flops", model))["macs"]


def machine(threads):
    cpu = platform.processor()
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "cpu": cpu, "cores": os.cpu_count(), "avx512": "avx512f" in flags, "threads": threads,
        "load": os.getloadavg()[0], "torch": metadata.version("torch"), "diffusers": metadata.version("diffusers"),
        "commit": command("git", "-C", ROOT, "rev-parse", "--short", "HEAD").strip(),
        "changed": bool(command("git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no", "runtime", "pipeline").strip()),
    }


def ms(v):
    return f"{1e3 * median(v):,.0f}" if median(v) >= 0.1 else f"{1e3 * median(v):.1f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(r) + " |" for r in rows]) + "\n"


def row(c, scale=1.0):
    best, r = ratios(c)
    cells = [c["what"]]
    for s in SIDES:
        cells.append(ms([v / scale for v in c["seconds"][s]]) if s in c["seconds"] else "–")
    cells.append(f"**{r['median']:.2f}** ({SIDES[best]})")
    cells.append(f"{r['q1']:.2f}–{r['q3']:.2f}; {r['min']:.2f}–{r['max']:.2f}")
    return cells


def markdown(res):
    m, gemm, fl = res["machine"], res["sgemm"], res["flops"]
    mb = lambda b: f"{b / 1e6:,.0f} MB"
    out = [
        f"{m['cpu']}, {m['cores']} cores{', AVX-512' if m['avx512'] else ''}, {m['threads']} threads; PyTorch {m['torch']}, diffusers {m['diffusers']}; "
        f"commit {m['commit']}{' with local changes' if m['changed'] else ''}; {m['date'][:16].replace('T', ' ')}; "
        f"{res['rounds']} rounds; load average before the start {m['load']:.1f}.\n",
    ]
    head = ["ms, medians of rounds", *SIDES.values(), "ours ÷ fastest other", "quartiles; ends"]
    out += ["### Training step\n", table(head, [row(c) for c in res["train"]])]
    rows = []
    for c in res["train"]:
        others = {s: p for s, p in c["peak"].items() if s != "ours"}
        low = min(others, key=others.get)
        rows.append([c["what"], *(mb(c["peak"][s]) if s in c["peak"] else "–" for s in SIDES), f"**{c['peak']['ours'] / others[low]:.2f}** ({SIDES[low]})"])
    out += ["### Peak memory of the training process\n", table(["VmHWM", *SIDES.values(), "ours ÷ smallest other"], rows)]
    out += ["### One call of the network\n", table(head, [row(c) for c in res["call"]])]
    out += ["### One finished picture\n", table(head, [row(c, c["batch"]) for c in res["images"]])]
    if res.get("start"):
        s = {k: spread(v) for k, v in res["start"].items()}
        line = lambda k: f"{s[k]['median']:.2f} s ({s[k]['min']:.2f}–{s[k]['max']:.2f})"
        out += [
            "### From the start of the process (`small`)\n",
            table(["", "median (ends)"], [
                ["`unnoise train` on 64 pictures: first step begins", line("step begins")],
                ["`unnoise train` on 64 pictures: first step of 32 done", line("step done")],
                ["`unnoise sample --n 1` (20 steps): the picture is on disk", line("one picture")],
                ["`unnoise sample --n 16` (20 steps): the first picture is on disk", line("first of 16 pictures")],
            ]),
        ]
    out += [
        "### Share of the machine's matrix-product speed\n",
        f"The best 1024×1024×1024 SGEMM of the same run: ONNX Runtime {gemm['ours']:.0f} GFLOPS, PyTorch {gemm['eager']:.0f} GFLOPS.\n",
    ]
    rows = []
    for c in res["train"] + res["call"]:
        work = 2 * c["macs"] * c["batch"] * (3 if c in res["train"] else 1)
        rows.append([c["what"], f"{work / 1e9:.1f}"] + [
            f"{work / median(c['seconds'][s]) / 1e9:.0f} ({100 * work / median(c['seconds'][s]) / 1e9 / gemm['ours' if s == 'ours' else 'eager']:.0f} %)"
            if s in c["seconds"] else "–" for s in SIDES])
    out.append(table(["", "GFLOP", *(f"{v}, GFLOPS (share)" for v in SIDES.values())], rows))
    out.append("One picture's forward pass: " + "; ".join(
        f"`{p}` {a / 1e9:.3f} GFLOP by `torch.utils.flop_counter`, {b / 1e9:.3f} by `pipeline/bench`" for p, (a, b) in fl.items())
        + ". A training step takes three times that.\n")
    agree = [f"{c['what']}: " + ", ".join(f"{k} {v:.0e}" for k, v in c["agreement"].items()) for c in res["train"] + res["call"] if c["agreement"]]
    out.append("Largest relative difference between the sides' results (losses and gradient norms of the first two steps; outputs): " + "; ".join(agree) + ".\n")
    failed = [f"{c['what']}: {SIDES[s]}: {why}" for k in ("train", "call", "images") for c in res[k] for s, why in c["failed"].items()]
    if failed:
        out.append("Did not work: " + "; ".join(failed) + ".\n")
    return "\n".join(out)


def main():
    p = argparse.ArgumentParser(description="Compare Unnoise with PyTorch and diffusers.")
    p.add_argument("--quick", action="store_true", help="few repetitions, small alone; writes no docs")
    p.add_argument("--rounds", type=int, help="rounds of each comparison (default 7; quick 2)")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--no-compile", action="store_true", help="leave torch.compile out: it takes minutes to compile")
    a = p.parse_args()
    rounds = a.rounds or (2 if a.quick else 7)
    sides = ["ours", "eager"] + ([] if a.no_compile else ["compiled"])
    if not a.no_compile and not (shutil.which("g++") or shutil.which("clang++")):
        note("torch.compile is left out: it needs a C++ compiler (g++)")
        sides.remove("compiled")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(ROOT / "bench/.venv/inductor"))
    few = a.quick
    presets = ["small"] if few else ["small", "ddpm-cifar10"]
    # All processes are started at once: most of the start of PyTorch's is reading its libraries. Sampling is done by
    # one process a library, training by one a side and preset, whose memory is measured.
    sampling = {"ours": Peer(True, a.threads), "eager": Peer(False, a.threads)}
    training = {p: {s: Peer(s == "ours", a.threads) for s in sides} for p in presets}
    for peer in [*sampling.values(), *(p for t in training.values() for p in t.values())]:
        peer.ready()
    if "compiled" in sides:
        sampling["compiled"] = sampling["eager"]
    with tempfile.TemporaryDirectory() as tmp:
        work = pathlib.Path(tmp)
        res = {"machine": machine(a.threads), "rounds": rounds, "train": [], "call": [], "images": [], "flops": {}}
        made = models(work, presets)
        res["sgemm"] = speed(sampling, rounds)
        for preset, model in made.items():
            res["flops"][preset] = count = flops(sampling, model)
            small = preset == "small"

            def add(kind, peers, what, task, rounds, times, samples, **more):
                jobs = {s: job_of(s, task, model, **(more.get(s) or more)) for s in sides}
                c = compare(f"`{preset}`, {what}", peers, jobs, rounds, 1 if few else times)
                res[kind].append(c | {"batch": samples, "macs": count[0] / 2})

            batch = 32 if small else 8
            add("train", training[preset], f"batch {batch}", "train", rounds, 3 if small else 2, batch, batch=batch)
            res["train"][-1]["peak"] = {s: p.end() for s, p in training[preset].items() if s in res["train"][-1]["seconds"]}
            for n in (1, 4, 16):
                add("call", sampling, f"batch {n}", "call", rounds, max(1, (24 if small else 8) // n), n, batch=n)
            n, steps = (4, 3) if few else (16, 20) if small else (16, 5)
            args = {s: {"n": n, "steps": steps} for s in sides}
            for s in sides[1:]:  # the others make the pictures in the batches that suit them best; we choose ours ourselves
                per = {c["batch"]: median(c["seconds"][s]) / c["batch"] for c in res["call"][-3:] if s in c["seconds"] and c["batch"] <= n}
                args[s]["batch"] = min(per, key=per.get, default=n)
            add("images", sampling, f"{n} pictures, {steps} steps of DDIM", "images", rounds, 1, n, **args)
            if small:
                res["start"] = start_times(work, model, min(rounds, 3))
            write(res, few)
        for p in (sampling["ours"], sampling["eager"]):
            p.end()
    print(markdown(res))


def write(res, quick):
    """Writes what is there; called after each preset, so that a run that is stopped leaves something."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / ("quick.json" if quick else "bench.json")).write_text(json.dumps(res, indent=1))
    if not quick:
        before, _, rest = DOC.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        DOC.write_text(f"{before}{BEGIN}\n\n{markdown(res)}\n{END}{after}")


if __name__ == "__main__":
    main()
