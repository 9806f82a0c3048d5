"""Sums a profile that ONNX Runtime wrote by operator, and prints a Markdown table.

    echo '{"task": "train", "run": "RUN", "batch": 32, "times": 5}' | bin/bench-peer work --threads 2 --profile step
    python bench/opprofile.py step*.json [--runs N]

--runs N skips all but the last N runs of the session, so that warming up does not count.
"""

import argparse
import collections
import json


def main():
    p = argparse.ArgumentParser(description="Sum an ONNX Runtime profile by operator.")
    p.add_argument("file")
    p.add_argument("--runs", type=int, help="count the last N runs of the session only")
    p.add_argument("--rows", type=int, default=12, help="operators to list; the others are added up")
    a = p.parse_args()
    with open(a.file) as f:
        events = json.load(f)
    runs = sorted((e for e in events if e["name"] == "model_run"), key=lambda e: e["ts"])[-(a.runs or 0) :]
    ops, calls = collections.Counter(), collections.Counter()
    for e in events:
        if e.get("cat") == "Node" and e["name"].endswith("_kernel_time") and e["ts"] >= runs[0]["ts"]:
            ops[e["args"]["op_name"]] += e["dur"]
            calls[e["args"]["op_name"]] += 1
    total, whole, n = sum(ops.values()), sum(e["dur"] for e in runs), len(runs)
    print(f"{n} runs, {whole / n / 1e3:.1f} ms each, of which operators {total / n / 1e3:.1f} ms\n")
    print("| operator | per run | ms per run | share |\n| --- | --- | --- | --- |")
    listed = ops.most_common(a.rows)
    for op, us in listed:
        print(f"| {op} | {calls[op] / n:.0f} | {us / n / 1e3:.2f} | {100 * us / total:.1f} % |")
    rest = total - sum(us for _, us in listed)
    if len(ops) > a.rows:
        print(f"| {len(ops) - a.rows} others | | {rest / n / 1e3:.2f} | {100 * rest / total:.1f} % |")


main()
