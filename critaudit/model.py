"""The model as the analyzers see it: weight matrices read one at a time, and a ledger of every tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.tensors import TensorRef

if TYPE_CHECKING:
    from critaudit.contents import Runnable

Kind: TypeAlias = Literal[
    "linear", "conv", "depthwise_conv", "transposed_conv", "embedding", "attention", "recurrent", "other"
]
How: TypeAlias = Literal["recognised", "given", "chain", "none"]


@dataclass(frozen=True, slots=True, eq=False)
class WeightMatrix:
    """One weight matrix: `groups` blocks of rows (outputs) × columns (inputs, convolution kernels unrolled).

    `shape` is the tensor's own shape, or its part's where several matrices are packed in one tensor. `kernel` is ()
    for a dense matrix and the spatial kernel size for a convolution; the columns of a convolution's blocks run over
    (input channel, *kernel) in C order. `fan_in` and `fan_out` count what one output (input) unit is connected to:
    fan_in = columns. `read` fetches the blocks from the source, shape (groups, rows, columns), in the stored floating
    type (float32 where the stored type is none of NumPy's).
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    dtype: str
    groups: int
    rows: int
    columns: int
    kernel: tuple[int, ...]
    activation: str | None
    tensor: str
    note: str | None
    _read: Callable[[], NDArray[np.generic]] = field(repr=False)

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.groups * self.rows * self.columns

    @property
    def fan_in(self) -> int:
        """Inputs that one output unit sums over: c_in·k_h·k_w / groups for a convolution."""
        return self.columns

    @property
    def fan_out(self) -> int:
        """Outputs that one input unit feeds: c_out·k_h·k_w / groups for a convolution."""
        kernel_size = int(np.prod(self.kernel)) if self.kernel else 1
        return self.rows * kernel_size

    def read(self) -> NDArray[np.generic]:
        """The blocks, shape (groups, rows, columns). Raises SourceError where the bytes cannot be had."""
        return self._read()


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What became of one tensor of the source.

    `parameters` counts its elements where they are trainable parameters that are not counted elsewhere already (0 for
    buffers, optimizer state and the second of two tied tensors).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    status: Literal["analysed", "skipped", "lost"]
    reason: str | None
    parameters: int


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Where the model came from. `path` is the file or folder, None for hub names and live models."""

    name: str
    format: str
    path: Path | None
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Architecture:
    """Which network this is and how we know: recognised by names and shapes, given, a chain of layers, or none.

    `detail` says in words what was matched and what differs ("same shapes, other names"; "another number of classes").
    """

    name: str | None
    how: How
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class ModelView:
    """Everything that the analyzers may ask about a model. Iterating yields its weight matrices.

    `biases` holds, by the name of the weight tensor, the bias vector beside it.
    """

    source: SourceInfo
    architecture: Architecture
    matrices: tuple[WeightMatrix, ...]
    ledger: tuple[LedgerEntry, ...]
    problems: tuple[str, ...]
    metadata: Mapping[str, object]
    runnable: Runnable | None
    biases: Mapping[str, TensorRef]

    def __iter__(self) -> Iterator[WeightMatrix]:
        return iter(self.matrices)

    @property
    def parameters(self) -> int:
        """Trainable parameters, tied ones counted once."""
        return sum(entry.parameters for entry in self.ledger)

    @property
    def analysed(self) -> int:
        """Parameters in weight matrices that the analyzers see."""
        return sum(entry.parameters for entry in self.ledger if entry.status == "analysed")
