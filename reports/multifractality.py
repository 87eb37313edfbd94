"""How localised the modes of layers are: `python reports/multifractality.py [FOLDER_WITH_FASHION_MNIST]`, two minutes.

Qu22's Figs 3 and S2 in small. Random layers of width 784 over the tail exponent α; and the demo network over its
training: left and right dimensions D₂ and D_q of its layers at five epochs, beside the same weights in random places
and Gaussian vectors of the same length. Inputs are test images of Fashion-MNIST where the folder is given, else
Gaussian. Writes `multifractality.md` beside this file.
"""

from __future__ import annotations

import datetime
import gzip
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import critaudit
from critaudit import __version__
from critaudit.demo import CHECKPOINTS
from critaudit.laws.eigenvectors import eigenmodes
from critaudit.laws.multifractal import ORDERS, gaussian_dimensions, probability_dimensions
from critaudit.laws.nulls import stable_sample
from critaudit.theory.activations import named_activation
from critaudit.theory.levy import fixed_point

WIDTH, G, SEEDS = 784, 1.5, 6
ALPHAS = (2.0, 1.9, 1.8, 1.5, 1.2)
SHOWN = (0.5, 1.0, 2.0, 4.0, 8.0)
INPUTS = 16


def main(arguments: Sequence[str]) -> None:
    """Measure, and write the tables."""
    inputs, what = _inputs(arguments)
    with threadpool_limits(1):
        parts = [_head(what), *_random_layers(), *_training(inputs)]
    Path(__file__).with_suffix(".md").write_text("\n".join(parts) + "\n", encoding="utf-8")


def _inputs(arguments: Sequence[str]) -> tuple[NDArray[np.float32] | None, str]:
    """Test images averaged over 2×2 pixels as the demo was trained on, or None for Gaussian inputs."""
    if not arguments:
        return None, f"{INPUTS} Gaussian inputs"
    packed = (Path(arguments[0]) / "t10k-images-idx3-ubyte.gz").read_bytes()
    pixels = np.frombuffer(gzip.decompress(packed), np.uint8, offset=16).reshape(-1, 14, 2, 14, 2)
    images = ((pixels.mean((2, 4)) / 255 - 0.2860) / 0.3240).reshape(-1, 196).astype(np.float32)
    return images[:INPUTS], f"the first {INPUTS} test images of Fashion-MNIST"


def _head(what: str) -> str:
    return f"""# Multifractality of layers

Written by `python reports/multifractality.py [FOLDER_WITH_FASHION_MNIST]`, critaudit {__version__},
{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}; inputs of the trained network: {what}.

D_q = ln Σp^q / ((1 − q) ln N) of the eigenvectors of J = W·diag φ′(h) (square layers) or its singular vectors: 1 for a
mode spread evenly over the neurons, 0 for one on a single neuron. What a number means shows beside Gaussian vectors of
the same length."""


def _random_layers() -> list[str]:
    """Independent stable weights, slopes of tanh at the fixed point: D₂ over α."""
    reference = float(gaussian_dimensions(WIDTH, 2.0)[0])
    lines = [
        f"\n## Random layers (Qu22, Fig 3)\n\nN = {WIDTH}, g = {G}, tanh at the fixed point, {SEEDS} networks; ± is "
        f"the standard deviation over networks. Gaussian vectors: D₂ = {reference:.3f}. Vectors with |λ| > 0.01.\n",
        "| α | left D₂ | right D₂ | " + " | ".join(f"left D_q, q = {q:g}" for q in SHOWN) + " | worst residual |",
        "|---|---|---|" + "---|" * (len(SHOWN) + 1),
    ]
    for alpha in ALPHAS:
        left, right, residuals = [], [], []
        for seed in range(SEEDS):
            modes = eigenmodes(*_random_layer(alpha, seed))
            large = (np.abs(modes.eigenvalues) > 0.01)[modes.trusted]
            weights = modes.multiplicity[modes.trusted][large]
            for side, into in (("left", left), ("right", right)):
                curves = probability_dimensions(modes.probabilities(side)[:, large])  # type: ignore[arg-type]
                into.append(np.average(curves, axis=1, weights=weights))
            residuals.append(float(modes.residuals[modes.trusted][large].max()))
        d2 = ORDERS.index(2.0)
        curve = " | ".join(f"{np.mean([one[ORDERS.index(q)] for one in left]):.3f}" for q in SHOWN)
        lines.append(
            f"| {alpha:g} | {_spread(one[d2] for one in left)} | {_spread(one[d2] for one in right)} | {curve} | "
            f"{max(residuals):.0e} |"
        )
    lines.append(
        "\nThe right vectors of heavy-tailed layers differ widely from network to network, the left ones do not: "
        "judge on the left. For α = 1.2 the left D₂ should be 0.688 ± 0.013."
    )
    return lines


def _random_layer(alpha: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng([seed, round(100 * alpha)])
    weight = G * (2 * WIDTH) ** (-1 / alpha) * stable_sample(alpha, 0.0, (WIDTH, WIDTH), rng)
    h = fixed_point(alpha, G).scale * stable_sample(alpha, 0.0, (WIDTH,), rng)
    return weight, named_activation("tanh").derivative(h)


def _spread(values: object) -> str:
    numbers = np.fromiter(values, dtype=np.float64)  # type: ignore[call-overload]
    return f"{numbers.mean():.3f} ± {numbers.std(ddof=1):.3f}"


def _training(inputs: NDArray[np.float32] | None) -> list[str]:
    """The demo network's layers over its training."""
    lines = [
        "\n## Training (Qu22, Fig S2)\n\nThe demo network (196-196-196-10, tanh, Gaussian start with J = 0.5, SGD on "
        "Fashion-MNIST) at five epochs. In brackets: the same weights in random places with the same slopes (one "
        "draw). The first layer has no nonlinearity before it: J = W.\n",
        "| layer | epoch | vectors | left D₂ | right D₂ | Gaussian left | Gaussian right | "
        + " | ".join(f"left D_q, q = {q:g}" for q in SHOWN)
        + " | worst residual |",
        "|---|---|---|---|---|---|---|" + "---|" * (len(SHOWN) + 1),
    ]
    rows: dict[str, list[str]] = {}
    hidden: list[tuple[float, float]] = []
    for checkpoint in CHECKPOINTS:
        report = critaudit.audit(
            str(checkpoint), only=["multifractal"], inputs=inputs, samples=INPUTS, device="cpu", jobs=1
        )
        for layer in report.layer_records:
            rows.setdefault(layer.name, []).append(_row(layer, int(checkpoint.stem.removeprefix("epoch_"))))
        second = report.layer_records[1]
        hidden.append((_number(second, "d2_left"), _number(second, "d2_left_shuffled")))
    lines += [row for held in rows.values() for row in held]
    (start, start_shuffled), (end, end_shuffled) = hidden[0], hidden[-1]
    lines.append(
        f"\nOver the training the left D₂ of the second hidden layer changes by {end - start:+.3f}, that of its "
        f"weights in random places by {end_shuffled - start_shuffled:+.3f}: the latter is what growing weights and "
        "saturating neurons do (draws scatter by 0.01), the rest is where training puts the weights."
    )
    return lines


def _row(layer: critaudit.report.Layer, epoch: int) -> str:
    def pair(side: str) -> str:
        return f"{_number(layer, f'd2_{side}'):.3f} ({_number(layer, f'd2_{side}_shuffled'):.3f})"

    values = layer.measurements["multifractal.dq_left"].value
    assert isinstance(values, tuple)
    curve = " | ".join(f"{values[ORDERS.index(q)]:.3f}" for q in SHOWN)
    kind = "eigen" if layer.shape[0] == layer.shape[1] else "singular"
    references = " | ".join(f"{_number(layer, f'd2_{side}_reference'):.3f}" for side in ("left", "right"))
    return (
        f"| `{layer.name}` {'×'.join(map(str, layer.shape))} | {epoch} | {kind} | {pair('left')} | {pair('right')} | "
        f"{references} | {curve} | {_number(layer, 'residual'):.0e} |"
    )


def _number(layer: critaudit.report.Layer, name: str) -> float:
    found = layer.measurements[f"multifractal.{name}"].number
    return math.nan if found is None else found


if __name__ == "__main__":
    main(sys.argv[1:])
