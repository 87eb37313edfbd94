"""Networks with weights of their own on a CUDA device: as `quenched`, with weights drawn and multiplied there.

The numbers differ from those of the CPU, whose generator is another one; the statistics do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from critaudit.dynamics.avalanches.quenched import Path, Recipe, counts_of
from critaudit.dynamics.avalanches.tracking import LARGEST
from critaudit.errors import UsageError
from critaudit.laws.crackling.records import AvalancheCounts

if TYPE_CHECKING:
    import torch

# Activity of 2²⁸ numbers (1 GB, twice) at a time; weights are drawn again for more.
_NUMBERS_AT_ONCE = 2**28
_FINITE = float(np.finfo(np.float32).max)


def place(device: str) -> torch.device:
    """The device by its name. Raises UsageError for no such name, or where it is not there."""
    import torch

    try:
        found = torch.device(device)
    except RuntimeError:
        raise UsageError(f"{device!r} is no device; give cpu, cuda or cuda:N") from None
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        there = torch.cuda.device_count()
        raise UsageError(f"{device} was asked for, but PyTorch sees {there} CUDA devices; cpu always works")
    return found


def run(recipe: Recipe, count: int, seeds: Sequence[np.random.SeedSequence], device: torch.device) -> AvalancheCounts:
    """Networks with these seeds on `count` inputs each, one cluster per network. float32 throughout, TF32 off."""
    import torch

    paths = [Path(recipe, count) for _ in seeds]
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        for path, seed in zip(paths, seeds, strict=True):
            follow(recipe, path, count, seed, device)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed
    return counts_of(recipe, paths)


def follow(recipe: Recipe, path: Path, count: int, seed: np.random.SeedSequence, device: torch.device) -> None:
    """Run one network on `count` inputs and record on `path` what becomes of them."""
    import torch

    phi = torch_activation(recipe.activation.name)
    for_weights, for_inputs = (int(word) for word in seed.generate_state(2, np.uint64) >> np.uint64(1))
    drawn = torch.Generator(device).manual_seed(for_inputs)
    step = max(1, _NUMBERS_AT_ONCE // recipe.width)
    for first in range(0, count, step):
        alive = np.arange(first, min(first + step, count))
        x = torch.randn((alive.size, recipe.width), generator=drawn, device=device)
        x *= recipe.strength / _strengths(x)[:, None]
        layers = _Layers(recipe, torch.Generator(device).manual_seed(for_weights), device)
        for layer in range(1, recipe.depth + 1):
            weights, biases = layers.next()
            h = torch.matmul(x, weights) + biases
            s = _strengths(h)
            h *= (LARGEST / s.clamp_min(LARGEST))[:, None]
            stay = path.record(layer, alive, s.clamp_max_(LARGEST).cpu().numpy())
            alive = alive[stay]
            if not alive.size:
                break
            x = phi(h[torch.from_numpy(stay).to(device)])


def _strengths(x: torch.Tensor) -> torch.Tensor:
    """‖x‖₂/√N of each row, of finite numbers whose squares need not be so."""
    top = x.abs().amax(dim=1, keepdim=True).clamp_(1e-30, _FINITE)
    return ((x / top).nan_to_num_(0.0, 1.0, -1.0).square().mean(dim=1).sqrt() * top[:, 0]).clamp_max_(_FINITE)


class _Layers:
    """Weights (to be applied as x @ W) and biases of one layer after the other."""

    def __init__(self, recipe: Recipe, rng: torch.Generator, device: torch.device) -> None:
        self._recipe, self._rng, self._device = recipe, rng, device
        self._last: tuple[torch.Tensor, torch.Tensor] | None = None

    def next(self) -> tuple[torch.Tensor, torch.Tensor]:
        recipe, n = self._recipe, self._recipe.width
        if self._last is None or not recipe.recurrent:
            gaussian = recipe.alpha == 2.0
            fan = n if gaussian else 2.0 * n
            weights = self._draw((n, n)) * (recipe.sigma_w * fan ** (-1.0 / recipe.alpha))
            unit = 1.0 if gaussian else 0.5 ** (1.0 / recipe.alpha)
            self._last = weights, self._draw((n,)) * (recipe.sigma_b * unit)
        return self._last

    def _draw(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Standard normal numbers, or standard symmetric stable ones (Chambers, Mallows & Stuck 1976)."""
        import torch

        alpha = self._recipe.alpha
        if alpha == 2.0:
            return torch.randn(shape, generator=self._rng, device=self._device)
        angle = torch.pi * (torch.rand(shape, generator=self._rng, device=self._device) - (0.5 - 2.0**-25))
        if alpha == 1.0:
            return angle.tan()
        waiting = torch.empty(shape, device=self._device).exponential_(generator=self._rng).clamp_min_(1e-30)
        power = ((1.0 - alpha) * angle).cos().div_(waiting).log_().mul_((1.0 - alpha) / alpha)
        return (alpha * angle).sin() * power.sub_(angle.cos().log_(), alpha=1.0 / alpha).exp_()


def torch_activation(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """PyTorch's function for an activation of `critaudit.theory.activations`. Raises UsageError where it has none."""
    import torch
    from torch.nn import functional

    family = re.fullmatch(r"(leaky_relu|elu)\((\S+)\)", name)
    if family is not None:
        parameter = float(family.group(2))
        if family.group(1) == "elu":
            return lambda x: functional.elu(x, parameter)
        return lambda x: functional.leaky_relu(x, parameter)
    known: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "tanh": torch.tanh,
        "erf": torch.erf,
        "identity": lambda x: x,
        "relu": functional.relu,
        "gelu": functional.gelu,
        "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
        "silu": functional.silu,
        "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
        "mish": functional.mish,
        "softplus": functional.softplus,
        "sigmoid": torch.sigmoid,
        "log_sigmoid": functional.logsigmoid,
        "tanhshrink": functional.tanhshrink,
        "softsign": functional.softsign,
        "selu": functional.selu,
        "hardtanh": functional.hardtanh,
        "hardsigmoid": functional.hardsigmoid,
        "relu6": functional.relu6,
        "hardswish": functional.hardswish,
    }
    if name not in known:
        raise UsageError(f"on a GPU an activation is given by name; {name!r:.80} has none there, so use device='cpu'")
    return known[name]
