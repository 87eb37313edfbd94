"""Courses with known answers: the equation of growth solved exactly, with noise, and recorded runs of the study."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from critaudit.advice.course import Course, LayerCourse, OptimizerSetting

SGD = OptimizerSetting("SGD", lr=0.01)
GOLDEN = Path(__file__).parent.parent / "golden" / "weight_decay.json"


def solution(
    times: NDArray[np.float64], growth: float, rate: float, start: float, *, transient: float = 0.0
) -> NDArray[np.float64]:
    """J² of dJ²/dt = growth·(1 + transient·e^{−t}) − rate·J², in closed form."""
    extra = transient * growth
    if rate == 0.0:
        return start + growth * times - extra * np.expm1(-times)
    settled = growth / rate
    beside = extra / (rate - 1.0)
    return settled + (start - settled - beside) * np.exp(-rate * times) + beside * np.exp(-times)


def noise(rng: np.random.Generator, kind: str, n: int, size: float, *, rate: float = 0.0) -> NDArray[np.float64]:
    """Independent errors of each value, errors with an autocorrelation of 0.6, or a random walk under decay from 0."""
    draws = size * rng.standard_normal(n)
    if kind == "white":
        return draws
    kept, new = (math.exp(-rate), 1.0) if kind == "walk" else (0.6, 0.8)
    draws[0] *= kind != "walk"
    for place in range(1, n):
        draws[place] = kept * draws[place - 1] + new * draws[place]
    return draws


def layer(
    steps: Sequence[float],
    j_squared: Sequence[float],
    setting: OptimizerSetting | Sequence[OptimizerSetting] = SGD,
    **changes: Any,
) -> LayerCourse:
    """A square tanh layer without a bias and a mean."""
    settings = (setting,) * len(steps) if isinstance(setting, OptimizerSetting) else tuple(setting)
    made = LayerCourse(
        name="hidden.weight",
        shape=(100, 100),
        fan_in=100,
        steps=tuple(steps),
        j_squared=tuple(j_squared),
        j0=(0.0,) * len(steps),
        settings=settings,
        activation="tanh",
    )
    return replace(made, **changes)


def course(
    *layers: LayerCourse, dataset_size: int | None = 3200, batch_size: int | None = 32, **changes: Any
) -> Course:
    """A training of 100 steps per epoch."""
    return replace(Course(tuple(layers), dataset_size, batch_size, source="test"), **changes)


@cache
def recorded() -> list[dict[str, Any]]:
    """Runs of the study: J² of the hidden layer by epoch, with the plan of each run."""
    runs: list[dict[str, Any]] = json.loads(GOLDEN.read_text())["runs"]
    return runs


def recorded_course(run: dict[str, Any], *, until: int | None = None) -> Course:
    """One of the study's runs, up to the epoch `until`."""
    per_epoch = run["samples"] / run["batch"]
    kept = [(e, j) for e, j in zip(run["epochs"], run["j_squared"], strict=True) if until is None or e <= until]
    setting = OptimizerSetting(
        run["optimizer"],
        lr=run["lr"],
        momentum=run["momentum"],
        weight_decay=run["decay"],
        decoupled=run["optimizer"] == "AdamW",
    )
    made = layer([e * per_epoch for e, _ in kept], [j for _, j in kept], setting, shape=(784, 784), fan_in=784)
    return course(made, dataset_size=run["samples"], batch_size=run["batch"])
