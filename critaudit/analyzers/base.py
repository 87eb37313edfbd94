"""What an analyzer is: a few functions with a name, a reason, and a list of what they need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.contents import InputArray
from critaudit.laws.comparison import EntryLaws, compare_entry_laws
from critaudit.laws.moments import Moments, moments
from critaudit.laws.stable import StableFit, fit_stable
from critaudit.measurement import Measurement
from critaudit.model import ModelView, WeightMatrix
from critaudit.report.record import Finding, Layer

Measurements: TypeAlias = dict[str, Measurement]
# Called with the stage, the number of things done and their total.
Progress: TypeAlias = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user chose. `inputs` is an array of samples (batch first) or None for calibrated Gaussian ones."""

    seed: int = 0
    device: str = "cpu"
    activation: str | None = None
    inputs: InputArray | None = None
    samples: int = 16


@dataclass(frozen=True, slots=True)
class LayerInput:
    """One weight matrix, read: `blocks` has shape (groups, rows, columns); `finite` says that all entries are.

    `bias` is the layer's bias vector where the source has one that fits. `normalised` says that the network has
    normalisation layers, which undo the scale of the weights before them. What several analyzers want is computed by
    the first one that asks and kept: `moments`, `entry_laws`, `stable_fit`. A layer is seen by one thread at a time.
    """

    matrix: WeightMatrix
    blocks: NDArray[np.generic]
    finite: bool
    bias: NDArray[np.generic] | None
    normalised: bool = False
    _kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def moments(self) -> Moments:
        """Moments of all entries."""
        if "moments" not in self._kept:
            self._kept["moments"] = moments(self.blocks)
        found: Moments = self._kept["moments"]
        return found

    def entry_laws(self) -> EntryLaws:
        """The laws that the entries may follow. Raises CritauditError where there is nothing to fit."""
        if "entry_laws" not in self._kept:
            self._kept["entry_laws"] = compare_entry_laws(self.blocks.reshape(-1, self.matrix.columns))
        found: EntryLaws = self._kept["entry_laws"]
        return found

    def stable_fit(self) -> StableFit:
        """The stable law fitted to the entries. Raises CritauditError where there is nothing to fit."""
        if "entry_laws" in self._kept:
            return self.entry_laws().fit
        if "stable_fit" not in self._kept:
            self._kept["stable_fit"] = fit_stable(self.blocks.reshape(-1))
        found: StableFit = self._kept["stable_fit"]
        return found


@dataclass(frozen=True, slots=True)
class NetworkMeasurements:
    """What a forward pass gave: by layer (the matrix's `tensor`), and for the model as a whole."""

    layers: Mapping[str, Measurements] = field(default_factory=dict)
    model: Measurements = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Analyzer:
    """One analysis. Its measurement IDs start with `id`; `requires` says whether weights suffice or a network must run.

    `layer` measures one matrix, `network` runs the model (it sees the layers as measured so far, one for each of the
    view's matrices), `summary` condenses the layers into model-level measurements,
    `find` turns measurements into findings. All are pure: they print nothing and keep nothing; only one that `spends`
    its layer may leave the entries of `blocks` in other places (to save a copy), and sees each layer last. One that is
    not `usual` takes minutes: it runs where it is asked for.
    """

    id: str
    title: str
    why: str
    requires: Literal["weights", "network"]
    layer: Callable[[LayerInput, Settings], Measurements] | None = None
    network: Callable[[ModelView, Settings, Sequence[Layer]], NetworkMeasurements] | None = None
    summary: Callable[[Sequence[Layer]], Measurements] | None = None
    find: Callable[[Sequence[Layer], Measurements], Iterable[Finding]] | None = None
    spends: bool = False
    usual: bool = True


def numbers(layers: Sequence[Layer], measurement_id: str) -> list[tuple[Layer, float]]:
    """The layers in which `measurement_id` was measured as a number, with that number."""
    found = []
    for layer in layers:
        measurement = layer.measurements.get(measurement_id)
        if measurement is not None and (number := measurement.number) is not None:
            found.append((layer, number))
    return found
