"""One record of a training: everything that is measured at a step, and what each kind of it cost."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from critaudit.advice.course import OptimizerSetting
from critaudit.training.edges import boundary, chi1
from critaudit.training.followed import Network
from critaudit.training.optimizers import groups_by_parameter, settings_now
from critaudit.training.records import LayerNow, Record
from critaudit.training.signals import Passed, Watch, growth_of_passes
from critaudit.training.tails import Norms, tail
from critaudit.training.weights import Spread, spreads

if TYPE_CHECKING:
    import torch

KINDS = ("weights", "tails", "spectra")


class Recorder:
    """Measures a network in training. `seconds` says what the last record cost, by kind, waiting for the device aside.

    `scaler` is the loss scaler of mixed precision, if there is one: gradients are divided by its scale.
    """

    def __init__(self, network: Network, optimizer: torch.optim.Optimizer, *, scaler: Any = None) -> None:
        self.network = network
        self._optimizer, self._scaler = optimizer, scaler
        # Hooks inside a compiled program would change it, so there are none.
        self.watch = None if network.compiled else Watch(network.module, network.matrices)
        self._norms = Norms()
        self._frozen: dict[int, Spread] = {}
        self.order: tuple[str, ...] = ()
        self.seconds: dict[str, float] = {}
        self.waited = 0.0

    def arm(self) -> None:
        """Watch the passes of the coming step."""
        if self.watch is not None:
            self.watch.arm()

    def disarm(self) -> None:
        """Watch no longer."""
        if self.watch is not None:
            self.watch.disarm()

    @property
    def watched(self) -> float:
        """Seconds spent in the watch's hooks since it was armed, 0 while it is not."""
        return self.watch.seconds if self.watch is not None and self.watch.armed else 0.0

    def record(self, step: int, *, kinds: frozenset[str], signals: bool, loss: float | None = None) -> Record:
        """The record of `step`, with the slower kinds that are asked for; `signals`: of the pass just watched."""
        self.seconds = dict.fromkeys(KINDS, 0.0)
        self.waited = self._wait()
        with self._timed("weights"):
            layers, settings = self._weights()
            passed = self.watch.collect() if signals and self.watch is not None else {}
            layers = [self._with_signals(layer, path, passed) for layer, path in zip(layers, self._paths, strict=True)]
            if passed:
                self.order = tuple(passed)
        if "tails" in kinds:
            with self._timed("tails"):
                layers = [self._with_tail(layer, place) for place, layer in enumerate(layers)]
        if "spectra" in kinds:
            with self._timed("spectra"):
                layers = [self._with_norm(layer, place) for place, layer in enumerate(layers)]
        return Record(
            step=step,
            time=round(time.time(), 3),
            layers=tuple(layers),
            settings=tuple(settings),
            loss=loss if loss is not None and math.isfinite(loss) else None,
            growth=growth_of_passes(passed, self.order) if passed else None,
            non_finite=tuple(self._broken(layers, passed, loss)),
        )

    def warm_up(self) -> None:
        """Load what records need, so that the first one costs what they all do."""
        import torch

        from critaudit.laws.stable import fit_stable

        with torch.no_grad():
            ramp = torch.linspace(-2.0, 2.0, 64)
            fit_stable((ramp + 0.1 * ramp.pow(3)).numpy())
        for one in self.network.matrices:
            chi1(one.followed, 1.0, 0.0)
            boundary(one.followed, LayerNow(j0=1.5, sigma_b=0.1))

    @property
    def _paths(self) -> Iterator[str | None]:
        return (one.followed.module for one in self.network.matrices)

    def _weights(self) -> tuple[list[LayerNow], list[OptimizerSetting]]:
        matrices, groups = self.network.matrices, groups_by_parameter(self._optimizer)
        places = [None if one.weight is None else groups.get(id(one.weight)) for one in matrices]
        wanted = [index for index, place in enumerate(places) if place is not None or index not in self._frozen]
        found = dict(zip(wanted, spreads([matrices[index] for index in wanted], self._optimizer), strict=True))
        self._frozen = {
            index: found.get(index, self._frozen.get(index, Spread(None, None, None, None)))
            for index, place in enumerate(places)
            if place is None
        }
        settings = settings_now(self._optimizer)
        kept = list(dict.fromkeys(setting for setting in settings if setting is not None))
        numbers = [None if setting is None else kept.index(setting) for setting in settings]
        layers = []
        for index, (one, place) in enumerate(zip(matrices, places, strict=True)):
            spread = found[index] if index in found else self._frozen[index]
            squared = spread.j_squared
            layers.append(
                LayerNow(
                    j0=spread.j0,
                    j_squared=squared,
                    sigma_b=spread.sigma_b,
                    chi1=None if squared is None else chi1(one.followed, math.sqrt(squared), spread.sigma_b),
                    adaptivity=spread.adaptivity,
                    setting=None if place is None else numbers[place],
                )
            )
        return layers, kept

    def _with_signals(self, layer: LayerNow, path: str | None, passed: dict[str, Passed]) -> LayerNow:
        found = passed.get(path) if path is not None else None
        if found is None:
            return layer
        gradient = found.gradient
        if gradient is not None and self._scaler is not None:
            gradient /= float(self._scaler.get_scale())
        return replace(layer, signal=found.signal, gradient=gradient, dead=found.dead)

    def _with_tail(self, layer: LayerNow, place: int) -> LayerNow:
        found = tail(self.network.matrices[place]) if layer.j_squared is not None else None
        return layer if found is None else replace(layer, alpha=found[0], g=found[1])

    def _with_norm(self, layer: LayerNow, place: int) -> LayerNow:
        found = self._norms.measure(self.network.matrices[place]) if layer.j_squared is not None else None
        return layer if found is None else replace(layer, norm=found[0], stable_rank=found[1])

    def _broken(
        self, layers: list[LayerNow], passed: dict[str, Passed], loss: float | None
    ) -> Iterator[tuple[str, int]]:
        for place, (layer, path) in enumerate(zip(layers, self._paths, strict=True)):
            if layer.j_squared is None:
                yield "weights", place
            for what in passed[path].broken if path in passed else ():
                yield what, place
        if loss is not None and not math.isfinite(loss):
            yield "loss", -1

    def _wait(self) -> float:
        """Wait for the device to finish the training's own work, so that it is not counted as ours."""
        import torch

        started = time.perf_counter()
        for device in {one.weight.device for one in self.network.matrices if one.weight is not None}:
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            elif device.type == "mps":
                torch.mps.synchronize()
        return time.perf_counter() - started

    @contextmanager
    def _timed(self, kind: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[kind] += time.perf_counter() - started
