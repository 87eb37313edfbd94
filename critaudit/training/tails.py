"""The slower measurements on a matrix in training: the law of its entries, its norm and stable rank."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from critaudit.errors import CritauditError
from critaudit.training.followed import Live
from critaudit.training.records import Interval

if TYPE_CHECKING:
    import torch

_EXACT_UP_TO = 256
_WIDTH, _ROUNDS = 8, 4


def tail(one: Live) -> tuple[Interval, float] | None:
    """(α with its interval, g = (2·fan_in)^{1/α}·σ) of a stable law fitted to all entries (Qu22, Fig. 1).

    None where none can be fitted: few entries, few levels, entries that are all equal.
    """
    import numpy as np

    from critaudit.laws.stable import fit_stable

    values = one.values()
    try:
        # On the CPU the entries are binned by NumPy, elsewhere on their device: only counts leave it.
        plain = values.device.type == "cpu" and str(values.dtype) in ("torch.float32", "torch.float64")
        fit = fit_stable(np.asarray(values.numpy()) if plain else values)  # type: ignore[arg-type]
    except CritauditError:
        return None
    low, high = fit.alpha_interval
    return (fit.alpha, low, high), (2.0 * one.followed.fan_in) ** (1.0 / fit.alpha) * fit.sigma


class Norms:
    """Spectral norms along a training: each starts from the directions that the last one found.

    `start` is where the first one starts from; nothing is drawn from the global random state.
    """

    def __init__(self, seed: int = 0) -> None:
        self._known: dict[str, torch.Tensor] = {}
        self._seed = seed

    def measure(self, one: Live) -> tuple[float, float] | None:
        """(spectral norm, stable rank ‖W‖²_F/‖W‖²); of groups, the largest norm. None where it is zero or not finite.

        Small matrices by their singular values; others by subspace iteration with Rayleigh–Ritz values, a lower bound
        that is good to about 1e-3 from the second record on.
        """
        import torch

        blocks = one.blocks()
        if blocks is None:
            return None
        with torch.no_grad():
            plain = blocks.float() if blocks.dtype != torch.float64 else blocks
            frobenius = float(torch.linalg.vector_norm(torch.linalg.vector_norm(plain, dim=(1, 2)).double()))
            if not math.isfinite(frobenius) or frobenius == 0.0:
                return None
            if min(plain.shape[1:]) <= _EXACT_UP_TO:
                norm = math.sqrt(max(float(torch.linalg.eigvalsh(_gram(plain)).amax()), 0.0))
            else:
                norm = self._iterate(one.followed.name, plain)
        return (norm, (frobenius / norm) ** 2) if norm > 0.0 else None

    def _iterate(self, name: str, blocks: torch.Tensor) -> float:
        import torch

        columns = blocks.shape[2]
        known = self._known.get(name)
        rounds = _ROUNDS
        if known is None or known.shape[:2] != (blocks.shape[0], columns) or known.device != blocks.device:
            source = torch.Generator().manual_seed(self._seed)
            known = torch.randn(blocks.shape[0], columns, _WIDTH, generator=source).to(blocks)
            rounds = 5 * _ROUNDS
        vectors = torch.linalg.qr(known.to(blocks.dtype))[0]
        for _ in range(rounds):
            vectors = torch.linalg.qr(blocks.mT @ (blocks @ vectors))[0]
        self._known[name] = vectors
        return float(torch.linalg.matrix_norm(blocks @ vectors, 2).amax())


def _gram(blocks: torch.Tensor) -> torch.Tensor:
    import torch

    smaller = blocks if blocks.shape[1] <= blocks.shape[2] else blocks.mT
    return torch.matmul(smaller, smaller.mT).to(torch.float32 if blocks.device.type == "mps" else torch.float64)
