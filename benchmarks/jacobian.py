"""What Jacobians cost, one thread, processor seconds: `python benchmarks/jacobian.py [dense] [blocks]`, two minutes.

`dense`: eigenvalues with left and right eigenvectors of layers of Qu22's ensemble, width 784.

- `geev`: scipy.linalg.lapack.dgeev of W·D as it is, left and right vectors; the unit
- `eigenmodes`: critaudit's, with the residual of every vector (limit 1.5 geev)
- `wrong`: vectors with |λ| > 0.01 whose relative residual is 1e-6 and more: what each of them returns without a word
- and the measurements of a whole network, 784-784-784-10

`blocks`: norms, growth and spectra of all blocks of untrained networks at their own image size, as the audit does it
(limit 60 s for ResNet-50 and ViT-S/16), in units of a forward pass; and what a tangent through the network costs beside
PyTorch's own ways, `torch.func.jvp` and the second derivative without critaudit's linear maps.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import itertools
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from critaudit.laws.eigenvectors import LARGEST_RESIDUAL, eigenmodes
from critaudit.laws.nulls import stable_sample
from critaudit.theory.activations import named_activation
from critaudit.theory.levy import fixed_point

WIDTH, RUNS, LIMIT, BLOCK_LIMIT = 784, 3, 1.5, 60.0
POINTS = ((2.0, 0.75), (2.0, 1.5), (1.8, 1.5), (1.5, 1.5), (1.2, 1.5), (1.2, 3.0))


def main(parts: list[str]) -> None:
    """Run the parts asked for, all without arguments."""
    known = {"dense": dense, "blocks": blocks}
    for name in parts or list(known):
        known[name]()


def dense() -> None:
    """Print the table of eigen-analyses, and what a network's dense layers take."""
    print(f"eigenvalues, left and right vectors, {WIDTH}×{WIDTH}; shortest of {RUNS} runs")
    print(f"{'α':>5}{'g':>6}{'geev':>9}{'eigenmodes':>12}{'ratio':>8}{'wrong: geev':>13}{'eigenmodes':>12}")
    ratios = []
    for alpha, g in POINTS:
        W, D = random_layer(alpha, g)
        unit = _shortest(lambda J=W * D: lapack.dgeev(J))
        ours = _shortest(lambda W=W, D=D: eigenmodes(W, D))
        ratios.append(ours / unit)
        modes = eigenmodes(W, D)
        large = np.abs(modes.eigenvalues) > 0.01
        wrong = int(modes.multiplicity[large & (modes.residuals >= LARGEST_RESIDUAL)].sum())
        print(f"{alpha:5.1f}{g:6.2f}{unit:9.2f}{ours:12.2f}{ratios[-1]:8.2f}{_wrong_by_geev(W * D):13d}{wrong:12d}")
    print(f"largest ratio {max(ratios):.2f} (limit {LIMIT}): {'within' if max(ratios) <= LIMIT else 'BEYOND'}")
    seconds = network_seconds()
    print(f"784-784-784-10, tanh: dense jacobian.* {seconds[0]:.2f} s, then multifractal.* {seconds[1]:.2f} s more")


def blocks() -> None:
    """Print what the block Jacobians of common networks cost."""
    import timm
    import torch

    from critaudit.contents import Preprocessing, Runnable
    from critaudit.dynamics.jacobian import block_jacobians
    from critaudit.dynamics.running import running

    torch.set_num_threads(1)
    print(f"{'block Jacobians':26}{'seconds':>9}{'forward':>9}{'of limit':>10}{'tangent':>9}{'jvp':>7}{'plain':>7}")
    for name in ("resnet18", "resnet50", "vit_small_patch16_224", "tf_efficientnet_lite0"):
        module = timm.create_model(name).eval()
        _untidy(module)
        source = Runnable(lambda module=module: module, Preprocessing(module.default_cfg["input_size"]), {})
        with running(source) as network:
            sample = next(iter(network.samples()))
            forward = _shortest(lambda module=module, sample=sample: module(sample))
            tangents = _tangent_seconds(module, sample)
            seconds = _seconds(lambda network=network: block_jacobians(network))
        shares = "".join(f"{value / forward:{width}.1f}" for value, width in zip(tangents, (9, 7, 7), strict=True))
        print(f"{name:26}{seconds:9.1f}{forward:9.3f}{seconds / BLOCK_LIMIT:10.2f}{shares}", flush=True)


def _untidy(module: Any) -> None:
    """Weights as after training: timm starts the last normalisation of each branch at zero, which spares work."""
    import torch

    torch.manual_seed(0)
    for name, parameter in module.named_parameters():
        if name.endswith("weight") and parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, 0.5, 1.0)


def _tangent_seconds(module: Any, x: Any) -> tuple[float, float, float]:
    """One Jv through the whole network: critaudit's operator, torch.func.jvp, PyTorch's own second derivative."""
    import torch

    from critaudit.dynamics.jacobian import differentiable, frozen, operator
    from critaudit.dynamics.jacobian.operators import JacobianOperator

    v = np.random.default_rng(0).standard_normal(x.numel())
    with differentiable(module), frozen(module):
        ours = operator(module, x)
        first = _shortest(lambda: ours.matvec(v))
    tangent = torch.from_numpy(v.astype(np.float32)).reshape(x.shape)
    with frozen(module), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        # Fused attention has neither forward mode nor a second derivative.
        second = _shortest(lambda: torch.func.jvp(module, (x,), (tangent,)))
        with torch.enable_grad():
            start = x.clone().requires_grad_(True)
            plain = JacobianOperator(start, module(start))
            third = _shortest(lambda: plain.matvec(v))
    return first, second, third


def random_layer(alpha: float, g: float, seed: int = 2) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Stable weights, and slopes of tanh at pre-activations of the fixed point."""
    rng = np.random.default_rng(seed)
    weight = g * (2 * WIDTH) ** (-1 / alpha) * stable_sample(alpha, 0.0, (WIDTH, WIDTH), rng)
    h = fixed_point(alpha, g).scale * stable_sample(alpha, 0.0, (WIDTH,), rng)
    return weight, named_activation("tanh").derivative(h)


def network_seconds() -> tuple[float, float]:
    """Processor seconds for both analyses of the dense layers of a random 784-784-784-10."""
    import torch
    from torch import nn

    import critaudit
    from critaudit.dynamics.jacobian.dense import dense_layers
    from critaudit.dynamics.multifractal import layer_dimensions
    from critaudit.dynamics.running import running
    from critaudit.report.record import Layer

    torch.set_num_threads(1)
    torch.manual_seed(0)
    widths = (WIDTH, WIDTH, WIDTH, 10)
    steps = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), nn.Tanh())]
    view = critaudit.load(nn.Sequential(*steps[:-1]))
    layers = [Layer(matrix.name, matrix.kind, matrix.shape, {}) for matrix in view.matrices]
    assert view.runnable is not None
    with running(view.runnable) as network:
        first = _seconds(lambda: dense_layers(network, view, layers))
        return first, _seconds(lambda: list(layer_dimensions(network, view)))


def _wrong_by_geev(J: NDArray[np.float64]) -> int:
    """Right vectors of `numpy.linalg.eig` (which is geev) with |λ| > 0.01 that do not solve their equation."""
    values, vectors = np.linalg.eig(J)
    large = np.abs(values) > 0.01
    error = np.linalg.norm(J @ vectors[:, large] - vectors[:, large] * values[large], axis=0)
    return int(np.count_nonzero(error >= LARGEST_RESIDUAL * np.abs(values[large])))


def _shortest(call: Callable[[], Any]) -> float:
    return min(_seconds(call) for _ in range(RUNS))


def _seconds(call: Callable[[], Any]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


if __name__ == "__main__":
    main(sys.argv[1:])
