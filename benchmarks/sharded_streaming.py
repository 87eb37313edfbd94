"""Peak memory of reading a sharded model one tensor at a time: at most 3 times the largest matrix over the baseline.

Makes a safetensors folder of the given size (2 GB: matrices of 4096×4096 float32, 64 MiB each, and smaller ones, in
shards with an index) in a temporary folder, and measures fresh processes: resident memory after the imports against the
peak at the end.

- `read`: every tensor through `read_folder` and `TensorRef.read`, one by one. Limit: 1.5.
- `audit` (with --audit): the static audit, entries and spectra of every matrix. Limit: 3.0 over a process that has
  audited a tiny model before, and so has imported the same packages.

Run: `python benchmarks/sharded_streaming.py [--gigabytes 2] [--audit]`. Exits 1 where a limit is exceeded.
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
    "report = audit(FOLDER, only=['entries', 'spectrum'])\ncount = len(report.layers)",
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


def write_safetensors(path: Path, tensors: dict[str, tuple[int, ...]], rng: np.random.Generator) -> None:
    """Random normal float32 tensors, written one after the other."""
    header: dict[str, object] = {}
    position = 0
    for name, shape in tensors.items():
        stop = position + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [position, stop]}
        position = stop
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        for shape in tensors.values():
            file.write(rng.standard_normal(shape, dtype=np.float32))


def measure(folder: Path, imports: str, work: str) -> dict[str, float]:
    """Baseline and peak resident bytes of a fresh process that does `work`."""
    tiny = repr(str(folder / "tiny" / "model.safetensors"))
    script = MEASURE.format(imports=imports.replace("TINY", tiny), work=work.replace("FOLDER", repr(str(folder))))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the measured process failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--audit", action="store_true", help="also measure the whole audit (minutes)")
    options = parser.parse_args()
    passed = True
    with tempfile.TemporaryDirectory(prefix="critaudit-") as place:
        folder = Path(place)
        start = time.perf_counter()
        count = make_folder(folder, options.gigabytes)
        size = sum(file.stat().st_size for file in folder.iterdir())
        (folder / "tiny").mkdir()
        write_safetensors(folder / "tiny" / "model.safetensors", {"weight": (64, 32)}, np.random.default_rng(0))
        seconds = time.perf_counter() - start
        print(f"made {size / 1e9:.2f} GB in {count} tensors, largest {LARGEST / 2**20:.0f} MiB, {seconds:.0f} s")
        print(f"{'what':8}{'tensors':>8}{'seconds':>9}{'baseline':>11}{'peak':>11}{'over':>11}{'ratio':>8}{'limit':>8}")
        for name, (imports, work) in {"read": READ, **({"audit": AUDIT} if options.audit else {})}.items():
            found = measure(folder, imports, work)
            over = found["peak"] - found["baseline"]
            ratio = over / LARGEST
            passed &= ratio <= LIMITS[name]
            print(
                f"{name:8}{found['count']:8.0f}{found['seconds']:9.1f}{found['baseline'] / 2**20:7.0f} MiB"
                f"{found['peak'] / 2**20:7.0f} MiB{over / 2**20:7.0f} MiB{ratio:8.2f}{LIMITS[name]:8.1f}"
            )
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
