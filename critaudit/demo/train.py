"""Trains the demo network: `python -m critaudit.demo.train FOLDER_WITH_FASHION_MNIST`.

The set-up of Zhang21 in a size that fits into a package: a tanh network with square layers (196-196-196-10), Gaussian
weights with J(0) = 0.5, plain SGD without weight decay, on Fashion-MNIST averaged over 2×2 pixels. J² = N·var(W) grows
with the epochs towards the edge of chaos; five checkpoints of that run are packaged. About two minutes on one core.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

WIDTH = 196
KEPT_EPOCHS = (0, 1, 3, 6, 12)
HYPERPARAMETERS: dict[str, float] = {"lr": 0.01, "batch_size": 32, "dataset_size": 60_000, "j_initial": 0.5, "seed": 7}


def main(folder: Path, output: Path) -> None:
    """Train, print J² and the test accuracy by epoch, and write the checkpoints `epoch_NN.pt` into `output`."""
    torch.manual_seed(int(HYPERPARAMETERS["seed"]))
    torch.set_num_threads(1)
    images, labels = _images(folder / "train-images-idx3-ubyte.gz"), _labels(folder / "train-labels-idx1-ubyte.gz")
    test = _images(folder / "t10k-images-idx3-ubyte.gz"), _labels(folder / "t10k-labels-idx1-ubyte.gz")
    network = _network()
    hidden = [layer for layer in network if isinstance(layer, nn.Linear)][:2]
    optimizer = torch.optim.SGD(network.parameters(), lr=HYPERPARAMETERS["lr"])
    for epoch in range(max(KEPT_EPOCHS) + 1):
        if epoch > 0:
            _train_one_epoch(network, optimizer, images, labels)
        accuracy = _accuracy(network, *test)
        squares = [WIDTH * layer.weight.detach().var().item() for layer in hidden]
        print(f"epoch {epoch:2d}  test accuracy {accuracy:.4f}  J² {squares[0]:.4f} {squares[1]:.4f}", flush=True)
        if epoch in KEPT_EPOCHS:
            checkpoint = {
                "model_state_dict": network.state_dict(),
                "optimizer_state_dict": optimizer.state_dict(),
                "epoch": epoch,
                "test_accuracy": accuracy,
                "activation": "tanh",
                "hyper_parameters": HYPERPARAMETERS,
            }
            torch.save(checkpoint, output / f"epoch_{epoch:02d}.pt")


def _network() -> nn.Sequential:
    network = nn.Sequential(
        nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 10)
    )
    for layer in network:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=HYPERPARAMETERS["j_initial"] / WIDTH**0.5)
            nn.init.zeros_(layer.bias)
    return network


def _train_one_epoch(network: nn.Sequential, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    loss = nn.CrossEntropyLoss()
    for batch in torch.split(torch.randperm(len(images)), int(HYPERPARAMETERS["batch_size"])):
        optimizer.zero_grad()
        loss(network(images[batch]), labels[batch]).backward()
        optimizer.step()


@torch.no_grad()
def _accuracy(network: nn.Sequential, images: Tensor, labels: Tensor) -> float:
    return float((network(images).argmax(1) == labels).double().mean())


def _images(path: Path) -> Tensor:
    """Images of a gzipped IDX file, averaged over 2×2 pixels, zero mean and unit variance: (n, 196) float32."""
    pixels = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16).reshape(-1, 14, 2, 14, 2)
    return torch.from_numpy(((pixels.mean((2, 4)) / 255 - 0.2860) / 0.3240).reshape(-1, WIDTH).astype(np.float32))


def _labels(path: Path) -> Tensor:
    return torch.from_numpy(np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=8).astype(np.int64))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent)
