"""Inner products of a layer's outputs at many points, summed in float64 over pieces of the layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from critaudit.dynamics.manifold.geometry import Curve

if TYPE_CHECKING:
    import torch

# Values that are held in float64 at a time: 32 MB.
_PIECE = 1 << 22


class GramSum:
    """Adds up the Gram matrix of M points over parts of their coordinates: pieces of a layer, calls of a shared one."""

    def __init__(self) -> None:
        self._gram: torch.Tensor | None = None
        self._squares = 0.0
        self._size = 0
        self._epsilon = 0.0

    def add(self, values: torch.Tensor) -> None:
        """Take in `values` of shape (M, n): n more coordinates of the same M points."""
        import torch

        plain = torch.view_as_real(values).flatten(1) if values.is_complex() else values
        points, size = plain.shape
        width = max(1, _PIECE // points)
        for start in range(0, size, width):
            piece = plain[:, start : start + width]
            # Apple's devices know no float64.
            piece = (piece.cpu() if piece.device.type == "mps" else piece).to(torch.float64)
            self._squares += float(torch.sum(torch.square(piece)))
            piece = piece - piece.mean(dim=0)
            product = piece @ piece.T
            self._gram = product if self._gram is None else self._gram.add_(product)
        self._size += size
        self._epsilon = max(self._epsilon, torch.finfo(plain.dtype).eps)

    def curve(self) -> Curve:
        """The curve through the points, with all coordinates taken in so far."""
        if self._gram is None:
            return Curve(np.zeros((0, 0)), 0.0, 0)
        gram = self._gram.cpu().numpy()
        return Curve(gram, self._squares / (len(gram) * max(self._size, 1)), self._size, self._epsilon)
