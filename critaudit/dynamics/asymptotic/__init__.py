"""The asymptotic edge of chaos: layers and blocks applied to their own output (Zhang21)."""

from critaudit.dynamics.asymptotic.blocks import BlockAsymptotics, Iterated, block_asymptotics
from critaudit.dynamics.asymptotic.dense import dense_asymptotics
from critaudit.dynamics.asymptotic.iteration import Asymptotics, Operator, Phase, Step, iterate, mean_error

__all__ = [
    "Asymptotics",
    "BlockAsymptotics",
    "Iterated",
    "Operator",
    "Phase",
    "Step",
    "block_asymptotics",
    "dense_asymptotics",
    "iterate",
    "mean_error",
]
