"""How long the whole command takes: `python benchmarks/whole_command.py`.

Prints wall time, processor time and peak memory of `critaudit --help` (limit 0.3 s), of a weights-only audit of a 20 MB
state dict (limit 5 s on two cores), and of `critaudit demo` (limit 20 s); each the median of five runs in processes of
their own, and beside each its share of the limit. `python -c pass` stands beside them as the floor.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RUNS = 5


def main() -> None:
    """Measure and print the table."""
    command = str(Path(sys.executable).with_name("critaudit"))
    with tempfile.TemporaryDirectory() as folder:
        state_dict = Path(folder) / "20MB.npz"
        rng = np.random.default_rng(0)
        layers = {f"layer{k}.weight": rng.standard_normal((512, 512)).astype(np.float32) for k in range(16)}
        layers |= {f"conv{k}.weight": rng.standard_normal((128, 64, 3, 3)).astype(np.float32) for k in range(8)}
        np.savez(state_dict, **layers)
        rows = [
            ("python -c pass", [sys.executable, "-c", "pass"], None),
            ("critaudit --help", [command, "--help"], 0.3),
            (f"critaudit {state_dict.stat().st_size / 1e6:.0f} MB", [command, str(state_dict), "-q"], 5.0),
            ("critaudit demo", [command, "demo", "-q"], 20.0),
        ]
        print(f"{'command':24} {'wall s':>8} {'cpu s':>8} {'peak MB':>8} {'of limit':>9}   ({os.cpu_count()} cores)")
        for name, arguments, limit in rows:
            wall, cpu, peak = _measure(arguments, folder)
            share = "" if limit is None else f"{wall / limit:9.2f}"
            print(f"{name:24} {wall:8.3f} {cpu:8.3f} {peak:8.0f} {share:>9}", flush=True)


def _measure(arguments: list[str], folder: str) -> tuple[float, float, float]:
    """Median wall seconds, processor seconds and peak megabytes."""
    found = []
    for _ in range(RUNS):
        started = time.perf_counter()
        process = subprocess.Popen(arguments, cwd=folder, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{arguments} ended with status {status}")
        found.append((time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024))
    wall, cpu, peak = zip(*found, strict=True)
    return statistics.median(wall), statistics.median(cpu), statistics.median(peak)


if __name__ == "__main__":
    main()
