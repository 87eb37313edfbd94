"""Tiny networks whose initialisation matters, and what short trainings of them leave behind."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from unittest import mock

import torch
from torch import nn

import critaudit

WIDTH = 16


def deep(layers: int = 9) -> nn.Sequential:
    """A tanh chain so small in its weights that gradients vanish."""
    torch.manual_seed(0)
    net = nn.Sequential(*[part for _ in range(layers) for part in (nn.Linear(WIDTH, WIDTH), nn.Tanh())])
    net.append(nn.Linear(WIDTH, 4))
    with torch.no_grad():
        for part in net[:-1]:
            if isinstance(part, nn.Linear):
                part.weight.mul_(0.5)
    return net


def shallow() -> nn.Sequential:
    """A network for factories and checkpoints."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 4))


def trained(place: Path, *, decay: float, steps: int, every: int | None = None, state: bool = True) -> list[Path]:
    """Checkpoints of a training of `shallow` with AdamW: every so many steps, or the last alone."""
    net = shallow()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=decay)
    x = torch.randn(128, WIDTH)
    y = (x @ torch.randn(WIDTH, 4)).argmax(-1)
    written = []
    for step in range(1, steps + 1):
        batch = torch.randint(0, 128, (32,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
        optimizer.step()
        if step == steps or (every is not None and step % every == 0):
            held = {"model": net.state_dict(), "step": step}
            written.append(place / f"step_{step}.pt")
            torch.save(held | ({"optimizer": optimizer.state_dict()} if state else {}), written[-1])
    return written


@cache
def advised_report() -> critaudit.Report:
    """A report with both kinds of advice and all their figures, for views of it."""
    import tempfile

    with tempfile.TemporaryDirectory() as place, mock.patch("critaudit.advising.sizing.WORK", 1e10):
        trained(Path(place), decay=0.0, steps=60, every=10)
        return critaudit.advise(place, activation="tanh", lr=0.05, steps=12, dataset_size=128, batch_size=32).report
