"""What spectra cost: `python benchmarks/spectra.py [model …]`, several minutes for all three.

For torchvision's resnet18 and resnet50 and timm's vit_small_patch16_224 with random, seeded weights (nothing is
downloaded), processor seconds on one thread, each column in a process of its own and the shortest of its runs:

- `gram`: the raw float32 calls, numpy.linalg.eigvalsh of the smaller of W·Wᵀ and Wᵀ·W for every matrix; the unit
- `spectra`: critaudit's singular values and all scalars of every matrix (limit 1.5 gram)
- `+ shuffle`: and one shuffled copy of every matrix, with distance and traps (limit 2.6 gram)
- `+ ranks`: and the comparison with all arrangements of the entries, with its p-value; the audit needs no shuffle where
  entries are light-tailed, and no ranks where they are Gaussian, as these networks' mostly are
- `audit`: critaudit.audit(model, only=["entries", "spectrum"]), everything: stable fits and their rivals, power laws
  with bootstrap and competing laws, operator norms, nulls and verdicts
- `WeightWatcher`: weightwatcher.WeightWatcher(model=model).analyze(), its defaults (limit: audit must be less)

The last two are timed after each has audited a network of one small layer: importing is not counted.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
import json
import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

MODELS = ("resnet18", "resnet50", "vit_small_patch16_224")
STAGES = ("laws", "audit", "weightwatcher")
_WHOLE_RUNS = 3  # other programs on the machine lengthen single runs by a third
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def main(names: list[str]) -> None:
    """Measure each model and print the table."""
    columns = ("gram", "spectra", "+ shuffle", "+ ranks", "audit", "WeightWatcher")
    print("random weights, one thread, processor seconds")
    print(f"{'model':24}" + "".join(f"{column:>15}" for column in columns) + f"{'audit/WW':>10}")
    for name in names:
        found: dict[str, float] = {}
        for stage in STAGES:
            found |= _in_a_process(name, stage)
        cells = []
        for column in columns:
            seconds = found.get(column)
            ratio = (
                ""
                if seconds is None or column in ("gram", "audit", "WeightWatcher")
                else f" ({seconds / found['gram']:.2f}×)"
            )
            cells.append(f"{'missing' if seconds is None else f'{seconds:.2f}{ratio}':>15}")
        whole = f"{found['audit'] / found['WeightWatcher']:.2f}" if "WeightWatcher" in found else "-"
        print(f"{name:24}" + "".join(cells) + f"{whole:>10}", flush=True)


def _in_a_process(name: str, stage: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--stage", stage, name]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _network(name: str) -> Any:
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    if name.startswith("resnet"):
        import torchvision

        return torchvision.models.get_model(name, weights=None).eval()
    import timm

    return timm.create_model(name, pretrained=False).eval()


def _shortest(function: Callable[[], object], before: float, repeats: int) -> float:
    """The shortest of `repeats` runs, and of the shortest before."""
    for _ in range(repeats):
        started = time.process_time()
        function()
        before = min(before, time.process_time() - started)
    return before


def _laws(name: str) -> dict[str, float]:
    """Raw Gram eigenvalues and critaudit's laws, interleaved, on the very same arrays."""
    import numpy as np

    import critaudit
    from critaudit.laws.spectral_verdict import compare_shuffled, rank_test
    from critaudit.laws.spectrum import spectrum

    arrays = [matrix.read() for matrix in critaudit.load(_network(name))]
    rng = np.random.default_rng(0)

    def gram() -> None:
        for blocks in arrays:
            for block in blocks:
                np.linalg.eigvalsh(block @ block.T if block.shape[0] <= block.shape[1] else block.T @ block)

    def spectra(*, shuffle: bool = False, ranks: bool = False) -> None:
        for blocks in arrays:
            found = spectrum(blocks)
            if shuffle:
                compare_shuffled(blocks, found.singular_values, found.frobenius_norm, rng)
            if ranks:
                rank_test(blocks, rng)

    times = dict.fromkeys(("gram", "spectra", "+ shuffle", "+ ranks"), float("inf"))
    for _ in range(5):
        times["gram"] = _shortest(gram, times["gram"], 1)
        times["spectra"] = _shortest(spectra, times["spectra"], 1)
        times["+ shuffle"] = _shortest(lambda: spectra(shuffle=True), times["+ shuffle"], 1)
        times["+ ranks"] = _shortest(lambda: spectra(shuffle=True, ranks=True), times["+ ranks"], 1)
    return times


def _audit(name: str) -> dict[str, float]:
    from critaudit.auditing import audit

    def run(network: Any) -> None:
        audit(network, only=["entries", "spectrum"], jobs=1)

    run(_warm_up())
    network = _network(name)
    return {"audit": _shortest(lambda: run(network), float("inf"), _WHOLE_RUNS)}


def _warm_up() -> Any:
    """A network of one small layer: whoever audits it has imported all that it needs, before its clock runs."""
    import torch

    return torch.nn.Sequential(torch.nn.Linear(60, 50))


def _weightwatcher(name: str) -> dict[str, float]:
    if importlib.util.find_spec("weightwatcher") is None:
        return {}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import weightwatcher  # type: ignore[import-untyped]

        logging.getLogger("weightwatcher").setLevel(logging.ERROR)
        weightwatcher.WeightWatcher(model=_warm_up()).analyze()
        network = _network(name)
        seconds = _shortest(lambda: weightwatcher.WeightWatcher(model=network).analyze(), float("inf"), _WHOLE_RUNS)
    print(f"weightwatcher {importlib.metadata.version('weightwatcher')}")
    return {"WeightWatcher": seconds}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--stage"]:
        print(json.dumps({"laws": _laws, "audit": _audit, "weightwatcher": _weightwatcher}[sys.argv[2]](sys.argv[3])))
    else:
        main(sys.argv[1:] or list(MODELS))
