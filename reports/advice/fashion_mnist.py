"""Fashion-MNIST from the gzipped IDX files of Debian's `dataset-fashion-mnist`, or of the folder FASHION_MNIST."""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

_MEAN, _DEVIATION = 0.2860, 0.3530


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Standardised images (n, 784) and their labels (n,), for training and for testing."""

    train: torch.Tensor
    train_labels: torch.Tensor
    test: torch.Tensor
    test_labels: torch.Tensor


@cache
def images(train: int = 60_000) -> Images:
    """The first `train` training images and all 10,000 test images. Exits with a line where there are none."""
    folder = Path(os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
    if not (folder / "train-images-idx3-ubyte.gz").is_file():
        raise SystemExit(
            f"{folder}: Fashion-MNIST is not there; install Debian's dataset-fashion-mnist, or name the folder of its "
            "IDX files in FASHION_MNIST"
        )
    return Images(
        _pixels(folder / "train-images-idx3-ubyte.gz")[:train],
        _labels(folder / "train-labels-idx1-ubyte.gz")[:train],
        _pixels(folder / "t10k-images-idx3-ubyte.gz"),
        _labels(folder / "t10k-labels-idx1-ubyte.gz"),
    )


def _pixels(path: Path) -> torch.Tensor:
    raw = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16)
    return torch.from_numpy(((raw.reshape(-1, 784) / 255 - _MEAN) / _DEVIATION).astype(np.float32))


def _labels(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=8).astype(np.int64))
