"""Advice: which settings of a training to change, by how much, and what that rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from critaudit.advice.decaying.advising import WeightDecayAdvice as WeightDecayAdvice
    from critaudit.advice.decaying.advising import weight_decay as weight_decay
    from critaudit.advice.initial import InitialisationAdvice as InitialisationAdvice
    from critaudit.advice.initial import initialisation as initialisation

# Loaded on first use: importing this package loads neither torch nor scipy.
_HOMES = {
    "initialisation": "critaudit.advice.initial",
    "InitialisationAdvice": "critaudit.advice.initial",
    "weight_decay": "critaudit.advice.decaying.advising",
    "WeightDecayAdvice": "critaudit.advice.decaying.advising",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'critaudit.advice' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
