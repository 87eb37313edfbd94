"""What following a training costs: `python benchmarks/monitor.py [--seconds 120] [mlp resnet18 transformer]`.

The same training runs twice in one process, with a Monitor at its default interval and without, in alternating short
blocks of steps; CPU time of one thread is compared block by block, so that whatever else the machine does meets both
alike. Prints the ratio with an interval (bootstrap over pairs of blocks) over all blocks and over the second half, when
the first records are paid back. Beside it: by how much recorded steps exceed the steps around them (less noisy, since
no second training is needed), what the monitor says of itself, and whether both trainings ended in the same weights.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

import critaudit

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
    """A training that goes on when asked to."""

    def __init__(self, case: Case, *, followed: bool) -> None:
        torch.manual_seed(0)
        self.network = case.network()
        self._optimizer = case.optimizer(self.network)
        self._steps = self._run(case.batch, torch.Generator().manual_seed(1))
        self.monitor = None
        self.times: list[float] = []
        if followed:
            self.monitor = critaudit.Monitor(
                self.network, self._optimizer, dataset_size=100 * case.size, batch_size=case.size, quiet=True
            )

    def go(self, steps: int) -> float:
        """CPU time of so many more steps, in seconds."""
        if self.monitor is not None:
            self.monitor._following._left = None  # the other training's block is no time of this one
        times = [time.process_time()]
        for _ in range(steps):
            next(self._steps)
            times.append(time.process_time())
        self.times += np.diff(times).tolist()
        return times[-1] - times[0]

    def excess(self, since: int) -> float:
        """What recorded steps from `since` on took beyond the median of those around them, over all others' time."""
        assert self.monitor is not None
        recorded = {record.step - 1 for record in self.monitor.records if since < record.step <= len(self.times)}
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


def compare(name: str, seconds: float) -> bool:
    """Run one case and print its line; whether recorded steps keep the limit, and the pairs do not contradict that."""
    case = CASES[name]
    plain, followed = Training(case, followed=False), Training(case, followed=True)
    states = {}

    def go(training: Training, steps: int) -> float:
        # Dropout draws from the global random state: each training has its own.
        torch.set_rng_state(states.get(id(training), torch.Generator().manual_seed(2).get_state()))
        spent = training.go(steps)
        states[id(training)] = torch.get_rng_state()
        return spent

    block = max(5, round(_BLOCK * 5 / (go(plain, 5))))
    go(followed, 5)
    pairs: list[tuple[float, float]] = []
    while sum(map(sum, pairs)) < seconds or len(pairs) < 8:
        first, second = (plain, followed) if len(pairs) % 2 else (followed, plain)
        spent = {id(training): go(training, block) for training in (first, second)}
        pairs.append((spent[id(followed)], spent[id(plain)]))
    same = all(
        torch.equal(one, other)
        for one, other in zip(plain.network.state_dict().values(), followed.network.state_dict().values(), strict=True)
    )
    monitor = followed.monitor
    assert monitor is not None
    own = monitor.overhead
    late = pairs[len(pairs) // 2 :]
    print(
        f"{name:12s} {1e3 * sum(b for _, b in pairs) / (len(pairs) * block):7.1f} ms a step  "
        f"all {_shown(pairs)}  second half {_shown(late)}  recorded steps {100 * followed.excess(0):.2f} %, "
        f"second half {100 * followed.excess(len(followed.times) // 2):.2f} %  "
        f"its own account {100 * (own.share or 0):.2f} %  "
        f"{own.records} records in {monitor.steps} steps, one in {own.interval}  "
        f"{'same weights' if same else 'OTHER WEIGHTS'}",
        flush=True,
    )
    monitor.close()
    return same and followed.excess(len(followed.times) // 2) <= LIMIT and _low(late) <= 1.0 + LIMIT


def _ratio(pairs: list[tuple[float, float]]) -> float:
    return sum(a for a, _ in pairs) / sum(b for _, b in pairs)


def _interval(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    source, array = np.random.default_rng(0), np.array(pairs)
    drawn = array[source.integers(0, len(array), (2000, len(array)))].sum(1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return float(low), float(high)


def _low(pairs: list[tuple[float, float]]) -> float:
    return _interval(pairs)[0]


def _shown(pairs: list[tuple[float, float]]) -> str:
    low, high = _interval(pairs)
    return f"{_ratio(pairs):.4f} ({low:.4f} – {high:.4f})"


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
