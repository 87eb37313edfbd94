"""What following a training costs: `python benchmarks/monitor.py [--seconds 120] [mlp resnet18 transformer]`.

The same training runs twice in one process, with a Monitor at its default interval and without, in alternating short
blocks of steps; CPU time of one thread is compared block by block, so that whatever else the machine does meets both
alike. At half time the other one is followed: where a network lies in memory alone makes some per cent. Prints the
ratio with an interval (bootstrap over pairs of blocks) over all blocks and over the second halves, when the first
records are paid back. Beside it: by how much recorded steps exceed the steps around them (less noisy, since no second
training is needed), what the monitor says of itself, and whether both trainings ended in the same weights.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

import critaudit

Array = NDArray[np.float64]
LIMIT = 0.02
_BLOCK = 0.4  # seconds of training in a block


@dataclass(frozen=True)
class Case:
    """A network, its optimizer and its batches."""

    network: Callable[[], nn.Module]
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    batch: Callable[[torch.Generator], tuple[Tensor, Tensor]]
    size: int


def mlp() -> nn.Module:
    """Zhang21's 784-784-784-10 with tanh."""
    return nn.Sequential(nn.Linear(784, 784), nn.Tanh(), nn.Linear(784, 784), nn.Tanh(), nn.Linear(784, 10))


def resnet18() -> nn.Module:
    """torchvision's, for ten classes."""
    from torchvision.models import resnet18

    network: nn.Module = resnet18(num_classes=10)
    return network


class Transformer(nn.Module):
    """Four encoder layers of width 128 on sequences of 64 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(1000, 128)
        layer = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.1, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.out = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Classes from the mean over the sequence."""
        logits: Tensor = self.out(self.encoder(self.tokens(x)).mean(1))
        return logits


def _images(*shape: int) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    return lambda source: (
        torch.randn(*shape, generator=source),
        torch.randint(0, 10, (shape[0],), generator=source),
    )


CASES = {
    "mlp": Case(mlp, lambda net: torch.optim.SGD(net.parameters(), lr=0.01), _images(128, 784), 128),
    "resnet18": Case(
        resnet18, lambda net: torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9), _images(16, 3, 64, 64), 16
    ),
    "transformer": Case(
        Transformer,
        lambda net: torch.optim.AdamW(net.parameters(), lr=1e-4),
        lambda source: (
            torch.randint(0, 1000, (16, 64), generator=source),
            torch.randint(0, 10, (16,), generator=source),
        ),
        16,
    ),
}


class Training:
    """A training that goes on when asked to, followed or not."""

    def __init__(self, case: Case) -> None:
        torch.manual_seed(0)
        self._size = case.size
        self.network = case.network()
        self._optimizer = case.optimizer(self.network)
        self._steps = self._run(case.batch, torch.Generator().manual_seed(1))
        # Dropout draws from the global random state: each training has its own.
        self._random = torch.Generator().manual_seed(2).get_state()
        self.monitor: critaudit.Monitor | None = None
        self.times: list[float] = []

    def follow(self) -> critaudit.Monitor:
        """Begin to follow it, with a monitor's defaults."""
        self.times = []
        self.monitor = critaudit.Monitor(
            self.network, self._optimizer, dataset_size=100 * self._size, batch_size=self._size, quiet=True
        )
        return self.monitor

    def leave(self) -> None:
        """Follow it no longer."""
        assert self.monitor is not None
        self.monitor.close()
        self.monitor = None

    def go(self, steps: int) -> float:
        """CPU time of so many more steps, in seconds."""
        if self.monitor is not None:
            self.monitor._following._left = None  # the other training's block is no time of this one
        torch.set_rng_state(self._random)
        times = [time.process_time()]
        for _ in range(steps):
            next(self._steps)
            times.append(time.process_time())
        self._random = torch.get_rng_state()
        self.times += np.diff(times).tolist()
        return times[-1] - times[0]

    def excess(self, since: int) -> float:
        """What recorded steps from `since` on took beyond the median of those around them, over all others' time."""
        assert self.monitor is not None
        first = self.monitor.records[0].step  # of the weights as they were when it began
        places = {record.step - first - 1 for record in self.monitor.records}
        recorded = {place for place in places if since <= place < len(self.times)}
        extra = 0.0
        for place in recorded:
            around = range(max(place - 12, 0), min(place + 13, len(self.times)))
            beside = [self.times[at] for at in around if at not in recorded]
            extra += self.times[place] - float(np.median(beside or [self.times[place]]))
        return extra / (sum(self.times[since:]) - extra)

    def _run(
        self, batch: Callable[[torch.Generator], tuple[Tensor, Tensor]], source: torch.Generator
    ) -> Iterator[None]:
        while True:
            inputs, labels = batch(source)
            self._optimizer.zero_grad()
            nn.functional.cross_entropy(self.network(inputs), labels).backward()
            self._optimizer.step()
            yield


@dataclass(frozen=True)
class Half:
    """One of the two trainings followed beside the other: CPU times of pairs of blocks, and the monitor's account."""

    pairs: Array  # (pairs, 2): followed, not followed
    excess: tuple[float, float]  # of recorded steps, over all and over the second half
    own: float
    records: int
    steps: int


def half(followed: Training, plain: Training, block: int, seconds: float) -> Half:
    """Alternate short blocks of both for so long."""
    monitor = followed.follow()
    pairs: list[tuple[float, float]] = []
    while sum(map(sum, pairs)) < seconds or len(pairs) < 8:
        first, second = (plain, followed) if len(pairs) % 2 else (followed, plain)
        spent = {id(training): training.go(block) for training in (first, second)}
        pairs.append((spent[id(followed)], spent[id(plain)]))
    own, excess = monitor.overhead, (followed.excess(0), followed.excess(len(followed.times) // 2))
    followed.leave()
    return Half(np.array(pairs), excess, own.share or 0.0, own.records, len(followed.times))


def compare(name: str, seconds: float) -> bool:
    """Run one case and print its line; whether recorded steps keep the limit, and the pairs do not contradict that."""
    case = CASES[name]
    one, other = Training(case), Training(case)
    block = max(5, round(_BLOCK * 5 / one.go(5)))
    other.go(5)
    halves = [half(one, other, block, seconds / 2.0), half(other, one, block, seconds / 2.0)]
    same = all(map(torch.equal, one.network.state_dict().values(), other.network.state_dict().values()))
    late = [found.pairs[len(found.pairs) // 2 :] for found in halves]
    plain = sum(float(found.pairs[:, 1].sum()) for found in halves)
    steps = sum(found.steps for found in halves)
    everywhere, lately = (float(np.mean([found.excess[which] for found in halves])) for which in (0, 1))
    print(
        f"{name:12s} {1e3 * plain / steps:7.1f} ms a step  "
        f"all {_shown([found.pairs for found in halves])}  second halves {_shown(late)}  "
        f"recorded steps {100 * everywhere:.2f} %, second halves {100 * lately:.2f} %  "
        f"its own account {100 * float(np.mean([found.own for found in halves])):.2f} %  "
        f"{sum(found.records for found in halves)} records in {steps} steps  "
        f"{'same weights' if same else 'OTHER WEIGHTS'}",
        flush=True,
    )
    return same and lately <= LIMIT and _interval(late)[0] <= 1.0 + LIMIT


def _ratio(halves: Sequence[Array]) -> float:
    """Geometric mean over both halves: where the two networks lie in memory makes one of them faster, and cancels."""
    return float(np.sqrt(np.prod([pairs[:, 0].sum() / pairs[:, 1].sum() for pairs in halves])))


def _interval(halves: Sequence[Array]) -> tuple[float, float]:
    source = np.random.default_rng(0)
    logs = np.zeros(2000)
    for pairs in halves:
        drawn = pairs[source.integers(0, len(pairs), (2000, len(pairs)))].sum(1)
        logs += 0.5 * np.log(drawn[:, 0] / drawn[:, 1])
    low, high = np.quantile(np.exp(logs), [0.025, 0.975])
    return float(low), float(high)


def _shown(halves: Sequence[Array]) -> str:
    low, high = _interval(halves)
    return f"{_ratio(halves):.4f} ({low:.4f} – {high:.4f})"


def main() -> None:
    """Run the cases and say whether the limit is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], help="mlp, resnet18, transformer; all without")
    parser.add_argument("--seconds", type=float, default=120.0, help="CPU time of both trainings together, by case")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):  # NumPy's threads would count twice in CPU time
        kept = [compare(name, arguments.seconds) for name in arguments.cases or CASES]
    print(f"limit {1 + LIMIT:.2f}: {'kept' if all(kept) else 'NOT KEPT'}")


if __name__ == "__main__":
    main()
