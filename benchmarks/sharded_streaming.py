"""Peak memory of reading a sharded model one tensor at a time: at most 3 times the largest matrix over the baseline.

Makes a safetensors folder of the given size (2 GB: matrices of 4096×4096 float32, 64 MiB each, and smaller ones, in
shards with an index) in a temporary folder, and measures fresh processes: resident memory after the imports against the
peak at the end.

- `read`: every tensor through `read_folder` and `TensorRef.read`, one by one. Limit: 1.5.
- `audit` (with --audit): the static audit, entries and spectra of every matrix. Limit: 3.0 over a process that has
  audited a tiny model before, and so has imported the same packages.

- `--grow`: the audit of single square matrices of several sizes, float32 and float16, with the straight line through
  them: its intercept is what the numerical libraries keep for themselves, its slope what a larger matrix adds.
  Limit: a slope of 3.0. Sizes are those in float32, in which products are formed whatever the stored type.

Run: `python benchmarks/sharded_streaming.py [--gigabytes 2] [--audit] [--grow] [--sides 1024 2048 4096]`. Exits 1 where
a limit is exceeded.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIDE = 4096
LARGEST = SIDE * SIDE * 4
LIMITS = {"read": 1.5, "audit": 3.0}

# `{work}` is replaced. Peak and baseline come from the kernel, in KiB; VmHWM is this process's own high-water mark.
MEASURE = """
import json, time
def memory(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) * 1024
{imports}
with open("/proc/self/clear_refs", "w") as peak:
    peak.write("5")  # what importing took for a moment is not the work's
baseline = memory("VmRSS:")
start = time.perf_counter()
{work}
print(json.dumps(dict(baseline=baseline, peak=memory("VmHWM:"), seconds=time.perf_counter() - start, count=count)))
"""
READ = (
    "from pathlib import Path\nfrom critaudit.sources.folders.folder import read_folder\n"
    "import critaudit.sources.safetensors",
    "contents = read_folder(Path(FOLDER))\ncount = 0\n"
    "for name, tensor in contents.tensors.items():\n    array = tensor.read()\n    count += 1\n    del array",
)
AUDIT = (
    "from critaudit import audit\naudit(TINY, only=['entries', 'spectrum'])",
    "report = audit(FOLDER, only=['entries', 'spectrum'])\ncount = len(report.layer_records)",
)


def make_folder(folder: Path, gigabytes: float) -> int:
    """Write the shards without ever holding one in memory; the number of tensors."""
    matrices = max(1, round(gigabytes * 1e9 / (LARGEST * 1.05)))
    rng = np.random.default_rng(0)
    places: dict[str, str] = {}
    total = -(-matrices // 4)
    for shard in range(total):
        name = f"model-{shard + 1:05d}-of-{total:05d}.safetensors"
        tensors = {}
        for number in range(shard * 4, min(matrices, shard * 4 + 4)):
            tensors[f"layers.{number}.weight"] = (SIDE, SIDE)
            tensors[f"layers.{number}.small.weight"] = (SIDE, 200)
            tensors[f"layers.{number}.bias"] = (SIDE,)
        write_safetensors(folder / name, tensors, rng)
        places |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    (folder / "config.json").write_text(json.dumps({"model_type": "benchmark", "hidden_act": "gelu"}))
    return len(places)


def write_safetensors(
    path: Path, tensors: dict[str, tuple[int, ...]], rng: np.random.Generator, *, dtype: str = "F32"
) -> None:
    """Random normal tensors, "F32" or "F16", written one after the other."""
    width = {"F32": 4, "F16": 2}[dtype]
    header: dict[str, object] = {}
    position = 0
    for name, shape in tensors.items():
        stop = position + width * int(np.prod(shape))
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, stop]}
        position = stop
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        for shape in tensors.values():
            file.write(rng.standard_normal(shape, dtype=np.float32).astype(f"f{width}"))


def measure(folder: Path, imports: str, work: str) -> dict[str, float]:
    """Baseline and peak resident bytes of a fresh process that does `work`."""
    tiny = repr(str(folder / "tiny" / "model.safetensors"))
    script = MEASURE.format(imports=imports.replace("TINY", tiny), work=work.replace("FOLDER", repr(str(folder))))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the measured process failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def grow(folder: Path, sides: list[int]) -> bool:
    """Peak memory of auditing one square matrix, by size and type, and whether its growth is within the limit."""
    rng = np.random.default_rng(0)
    passed = True
    print(f"{'type':6}{'side':>7}{'float32 size':>14}{'over':>11}{'ratio':>8}")
    for dtype in ("F32", "F16"):
        sizes, over = [], []
        for side in sides:
            path = folder / f"{dtype}-{side}"
            path.mkdir()
            write_safetensors(path / "model.safetensors", {"layer.weight": (side, side)}, rng, dtype=dtype)
            (path / "tiny").symlink_to(folder / "tiny")
            found = measure(path, AUDIT[0], AUDIT[1].replace("FOLDER", repr(str(path / "model.safetensors"))))
            sizes.append(4 * side**2)
            over.append(found["peak"] - found["baseline"])
            print(
                f"{dtype:6}{side:7}{sizes[-1] / 2**20:10.0f} MiB{over[-1] / 2**20:7.0f} MiB{over[-1] / sizes[-1]:8.2f}",
                flush=True,
            )
        slope, fixed = np.polyfit(sizes, over, 1)
        passed &= slope <= LIMITS["audit"]
        print(f"{dtype}: {slope:.2f} times the float32 size and {fixed / 2**20:.0f} MiB that do not grow; limit 3.0")
    return bool(passed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--audit", action="store_true", help="also measure the whole audit (minutes)")
    parser.add_argument("--grow", action="store_true", help="only the audit of single matrices of several sizes")
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 2048, 4096], help="sides for --grow")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="critaudit-") as place:
        folder = Path(place)
        (folder / "tiny").mkdir()
        write_safetensors(folder / "tiny" / "model.safetensors", {"weight": (64, 32)}, np.random.default_rng(0))
        passed = grow(folder, options.sides) if options.grow else stream(folder, options.gigabytes, audit=options.audit)
    sys.exit(0 if passed else 1)


def stream(folder: Path, gigabytes: float, *, audit: bool) -> bool:
    """Make the sharded model, read it, audit it where asked; whether all is within the limits."""
    start = time.perf_counter()
    count = make_folder(folder, gigabytes)
    size = sum(file.stat().st_size for file in folder.iterdir())
    seconds = time.perf_counter() - start
    print(f"made {size / 1e9:.2f} GB in {count} tensors, largest {LARGEST / 2**20:.0f} MiB, {seconds:.0f} s")
    print(f"{'what':8}{'tensors':>8}{'seconds':>9}{'baseline':>11}{'peak':>11}{'over':>11}{'ratio':>8}{'limit':>8}")
    passed = True
    for name, (imports, work) in {"read": READ, **({"audit": AUDIT} if audit else {})}.items():
        found = measure(folder, imports, work)
        over = found["peak"] - found["baseline"]
        ratio = over / LARGEST
        passed &= ratio <= LIMITS[name]
        print(
            f"{name:8}{found['count']:8.0f}{found['seconds']:9.1f}{found['baseline'] / 2**20:7.0f} MiB"
            f"{found['peak'] / 2**20:7.0f} MiB{over / 2**20:7.0f} MiB{ratio:8.2f}{LIMITS[name]:8.1f}"
        )
    return passed


if __name__ == "__main__":
    main()
