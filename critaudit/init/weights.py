"""Random weights of one tensor in place, in the style of `torch.nn.init`: stable, Gaussian and orthogonal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from critaudit.errors import UsageError

if TYPE_CHECKING:
    import torch

# From this size on the QR decomposition of a random matrix takes seconds to minutes.
_LARGE = 1024
_AT_ONCE = 128


def fan_in_of(tensor: torch.Tensor) -> int:
    """Number of inputs per output of a weight in PyTorch's layout (outputs first): columns times kernel size."""
    if tensor.ndim < 2:
        raise UsageError(
            f"a tensor of shape {tuple(tensor.shape)} was given; a weight of at least two axes is expected"
        )
    return math.prod(tensor.shape[1:])


def stable_(
    tensor: torch.Tensor,
    alpha: float,
    g: float,
    *,
    fan_in: int | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Fill `tensor` with independent symmetric α-stable weights of scale σ = g·(2N)^(−1/α), and return it.

    N is `fan_in` (by default inputs per output, kernel included): the convention of `entries.g_forward` and of Qu22's
    mean field (Eq. 5), with D_w = 2Nσ^α = g^α. At α = 2 these are Gaussians of variance g²/N, so that g = σ_w. Drawn by
    the method of Chambers, Mallows & Stuck (1976) in float64. Raises UsageError unless 0 < α ≤ 2, g ≥ 0 and the tensor
    is a real floating-point one of at least two axes.

    >>> import torch
    >>> _ = critaudit.init.stable_(torch.empty(256, 256), alpha=1.5, g=1.0)   # doctest: +SKIP
    """
    import torch

    if not 0.0 < alpha <= 2.0:
        raise UsageError(f"alpha = {alpha} was given; a tail exponent from above 0 to 2 is expected")
    size = _checked(tensor, g, "g", fan_in)
    with torch.no_grad():
        sigma = g * (2.0 * size) ** (-1.0 / alpha)
        place = tensor.device if generator is None else generator.device
        if alpha == 2.0:
            drawn = tensor if place == tensor.device else torch.empty_like(tensor, device=place)
            drawn.normal_(0.0, math.sqrt(2.0) * sigma, generator=generator)
            return tensor if drawn is tensor else tensor.copy_(drawn)
        wide = torch.float32 if place.type == "mps" else torch.float64
        angle = (torch.rand(tensor.shape, generator=generator, dtype=wide, device=place) - 0.5) * math.pi
        # Never zero: the power below would be infinite.
        wait = -torch.log1p(-torch.rand(tensor.shape, generator=generator, dtype=wide, device=place)) + 1e-300
        drawn = torch.sin(alpha * angle) / torch.cos(angle) ** (1.0 / alpha)
        if alpha != 1.0:
            drawn *= (torch.cos((1.0 - alpha) * angle) / wait) ** ((1.0 - alpha) / alpha)
        largest = torch.finfo(tensor.dtype).max
        return tensor.copy_((sigma * drawn).clamp_(-largest, largest))


def gaussian_(
    tensor: torch.Tensor, sigma_w: float, *, fan_in: int | None = None, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Fill `tensor` with independent Gaussian weights of variance σ_w²/fan_in (Poole 2016), and return it.

    Raises UsageError for a negative σ_w or a tensor that is no weight.
    """
    return stable_(tensor, 2.0, sigma_w, fan_in=fan_in, generator=generator)


def orthogonal_(
    tensor: torch.Tensor, sigma_w: float, *, groups: int = 1, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Fill `tensor` with a random (semi-)orthogonal matrix of the same mean square as Gaussian weights of scale σ_w.

    The matrix is outputs × inputs·kernel. All its singular values are alike (σ_w for a square one), which keeps the
    spectrum of deep products together (dynamical isometry; Saxe 2014, Pennington 2017); the variance of its entries is
    σ_w²/fan_in, so that signals of a random direction keep the strength that mean-field theory gives them. It differs
    from `torch.nn.init.orthogonal_` by that normalisation where outputs are more than inputs.
    With `groups`, equal blocks of outputs are matrices of their own: the groups of a convolution, or projections that
    are packed into one tensor. Raises UsageError as `gaussian_`, or where groups do not divide the outputs.
    """
    import torch

    size = _checked(tensor, sigma_w, "sigma_w", None)
    if groups < 1 or tensor.shape[0] % groups:
        raise UsageError(f"{groups} groups do not divide {tensor.shape[0]} outputs")
    rows = tensor.shape[0] // groups
    place = tensor.device if generator is None else generator.device
    with torch.no_grad():
        if min(rows, size) >= _LARGE:
            flat = torch.stack([_mixed(rows, size, place, generator) for _ in range(groups)])
        else:
            normal = torch.empty(groups, rows, size, dtype=torch.float32, device=place).normal_(generator=generator)
            q, r = torch.linalg.qr(normal.mT if rows < size else normal)
            # Signs that make the distribution uniform (Mezzadri 2007).
            q *= torch.diagonal(r, dim1=-2, dim2=-1).sign()[:, None, :]
            flat = q.mT if rows < size else q
        # Σw² is min(rows, size) in a block; it should be rows.
        return tensor.copy_((flat * (sigma_w * math.sqrt(rows / min(rows, size)))).reshape(tensor.shape))


def _mixed(rows: int, size: int, place: torch.device, generator: torch.Generator | None) -> torch.Tensor:
    """(Semi-)orthogonal rows × size without a QR decomposition: random signs and Hartley transforms in turn.

    Three rounds of random signs and an orthogonal transform mix any direction over all others, as good as uniformly
    random ones (Yu 2016, Orthogonal random features); m² log m operations where a decomposition takes m³.
    """
    import torch

    short, long = min(rows, size), max(rows, size)
    chosen = torch.randperm(long, generator=generator, device=place)[:short]
    signs = torch.randint(0, 2, (4, long), generator=generator, device=place).float().mul_(2.0).sub_(1.0)
    found = torch.empty(short, long, device=place)
    for start in range(0, short, _AT_ONCE):
        part = found[start : start + _AT_ONCE].zero_()
        part.scatter_(1, chosen[start : start + _AT_ONCE, None], 1.0)
        for one in signs[:-1]:
            moved = torch.fft.fft(part * one, norm="ortho")
            part.copy_(moved.real - moved.imag)
        part *= signs[-1]
    return found if rows <= size else found.mT


def _checked(tensor: torch.Tensor, scale: float, name: str, fan_in: int | None) -> int:
    if not tensor.is_floating_point():
        raise UsageError(f"a tensor of {tensor.dtype} was given; floating-point weights are expected")
    if not 0.0 <= scale < math.inf:
        raise UsageError(f"{name} = {scale} was given; a finite number from 0 is expected")
    size = fan_in_of(tensor) if fan_in is None else fan_in
    if size < 1:
        raise UsageError(f"a weight of shape {tuple(tensor.shape)} has no inputs; there is nothing to fill")
    return size
