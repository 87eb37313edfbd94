"""What to feed a network when nobody gave inputs: calibrated Gaussian samples or token ids, in a shape that fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from critaudit.contents import Preprocessing

if TYPE_CHECKING:
    from torch import nn

_IMAGE_SIDES = (224, 64, 32, 28, 128, 96, 160, 256, 299, 384, 48, 16, 8)
_SIGNAL_LENGTHS = (16000, 1024, 256, 128, 64, 32, 16)
_VIDEO_SIZES = ((16, 112, 112), (16, 224, 224), (8, 64, 64), (32, 32, 32), (8, 8, 8))
_TOKENS = 32
_STEPS = 16


@dataclass(frozen=True, slots=True)
class SampleKind:
    """One way to feed a network: samples of `shape`, token ids below `vocabulary`, or Gaussians mean + std·z.

    `mean` and `std` are per channel and stay 0 and 1 unless the network itself normalises its images (torchvision's
    detectors do): then a Gaussian with the images' own mean and deviation has unit variance behind that step.
    """

    shape: tuple[int, ...]
    vocabulary: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def method(self) -> str:
        """How such samples are drawn, in words."""
        size = "×".join(map(str, self.shape))
        if self.vocabulary is not None:
            return f"uniformly random token ids below {self.vocabulary}, {size} per sample"
        return (
            f"calibrated Gaussian inputs {size}: standard normal per value, the variance that inputs have after "
            "normalisation with their mean and standard deviation"
        )

    def draw(self, samples: int, seed: int) -> Iterator[NDArray[np.float32] | NDArray[np.int64]]:
        """`samples` batches of one sample each, the same for the same seed on every machine with this NumPy."""
        rng = np.random.default_rng(seed)
        for _ in range(samples):
            if self.vocabulary is not None:
                yield rng.integers(0, self.vocabulary, size=(1, *self.shape), dtype=np.int64)
                continue
            values = rng.standard_normal((1, *self.shape), dtype=np.float32)
            if self.mean is not None and self.std is not None:
                along = (1, -1) + (1,) * (len(self.shape) - 1)
                scale, shift = np.reshape(self.std, along), np.reshape(self.mean, along)
                values = (values * scale + shift).astype(np.float32)
            yield values


def sample_kinds(module: nn.Module, preprocessing: Preprocessing | None) -> list[SampleKind]:
    """The ways to feed `module` worth trying, best first; empty where its first layer does not tell.

    A known input (`preprocessing`) is the only one. Otherwise the first weight layer, in the order of definition, says
    what it takes: features (Linear), channels with usual sizes (convolutions), steps (recurrent, attention), token ids.
    """
    vocabulary = _vocabulary(module)
    if preprocessing is not None:
        mean, std = _own_normalisation(module, preprocessing)
        return [SampleKind(preprocessing.shape, vocabulary if len(preprocessing.shape) == 1 else None, mean, std)]
    if vocabulary is not None:
        return [SampleKind((length,), vocabulary) for length in (_TOKENS, 8, 1)]
    return _from_first_layer(module)


def takes_tokens(module: nn.Module) -> bool:
    """Whether the first weight layer is an embedding, so that inputs are token ids."""
    return _vocabulary(module) is not None


def _weight_layers(module: nn.Module) -> Iterator[nn.Module]:
    from torch import nn

    kinds = (
        nn.Linear,
        nn.modules.conv._ConvNd,
        nn.Embedding,
        nn.EmbeddingBag,
        nn.RNNBase,
        nn.RNNCellBase,
        nn.MultiheadAttention,
    )
    for layer in module.modules():
        if isinstance(layer, kinds):
            yield layer


def token_table(module: nn.Module) -> nn.Embedding | nn.EmbeddingBag | None:
    """The table that token ids are looked up in: the largest of those defined before any other layer, None without.

    A transformer's first embeddings are words, positions and segments in varying order; words have the largest table.
    """
    from torch import nn

    largest: nn.Embedding | nn.EmbeddingBag | None = None
    for layer in _weight_layers(module):
        if not isinstance(layer, (nn.Embedding, nn.EmbeddingBag)):
            break
        if largest is None or layer.num_embeddings > largest.num_embeddings:
            largest = layer
    return largest


def _vocabulary(module: nn.Module) -> int | None:
    """The number of token ids, where the network takes such."""
    table = token_table(module)
    return None if table is None else table.num_embeddings


def _own_normalisation(
    module: nn.Module, preprocessing: Preprocessing
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    transform = getattr(module, "transform", None)
    mean, std = getattr(transform, "image_mean", None), getattr(transform, "image_std", None)
    if preprocessing.mean is not None or not isinstance(mean, (list, tuple)) or not isinstance(std, (list, tuple)):
        return None, None
    if not len(mean) == len(std) == preprocessing.shape[0]:
        return None, None
    return tuple(map(float, mean)), tuple(map(float, std))


def _from_first_layer(module: nn.Module) -> list[SampleKind]:
    from torch import nn

    first = next(_weight_layers(module), None)
    if isinstance(first, nn.Linear):
        return [SampleKind((first.in_features,)), SampleKind((_STEPS, first.in_features))]
    if isinstance(first, nn.modules.conv._ConvNd):
        channels, axes = first.in_channels, len(first.kernel_size)
        if axes == 1:
            return [SampleKind((channels, length)) for length in _SIGNAL_LENGTHS]
        if axes == 2:
            return [SampleKind((channels, side, side)) for side in _IMAGE_SIDES]
        return [SampleKind((channels, *size)) for size in _VIDEO_SIZES]
    if isinstance(first, nn.RNNBase):
        return [SampleKind((_STEPS, first.input_size))]
    if isinstance(first, nn.RNNCellBase):
        return [SampleKind((first.input_size,))]
    if isinstance(first, nn.MultiheadAttention):
        return [SampleKind((_STEPS, first.embed_dim))]
    return []
