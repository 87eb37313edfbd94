"""Early warnings from the records of a training: each said once, and again only after it was clearly over."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from critaudit.report.wording import count, number, plural
from critaudit.training.edges import boundary, excess
from critaudit.training.followed import Followed
from critaudit.training.records import Growth, Interval, LayerNow, Notice, Record


@dataclass(frozen=True, slots=True)
class Limits:
    """When something is said, and when it is over.

    A layer crosses its edge when J is `edge` (1 %) beyond it, after having been as far on the other side. A signal or
    gradient vanishes or explodes when it changes over the whole depth by more than `depth`, and is well again within
    the square root of that. A tail changes when the interval of α leaves the earlier one and α moved by `tail`. Units
    are dead when more than `dead` of a layer's are, and this is over at 0.8 of that.
    """

    edge: float = 0.01
    depth: float = 1e3
    tail: float = 0.1
    dead: float = 0.5


def notices(records: Iterable[Record], layers: Sequence[Followed], limits: Limits | None = None) -> tuple[Notice, ...]:
    """All that is to be said of a training, in the order of its records."""
    alarms = Alarms(layers, limits)
    return tuple(one for record in records for one in alarms.look(record))


class Alarms:
    """The same, record by record."""

    def __init__(self, layers: Sequence[Followed], limits: Limits | None = None) -> None:
        self._layers, self._limits = tuple(layers), limits or Limits()
        self._on: set[tuple[str, str]] = set()
        self._side: dict[int, int] = {}
        self._tail: dict[int, Interval] = {}
        self._starved: dict[int, int] = {}

    def look(self, record: Record) -> list[Notice]:
        """What this record gives reason to say, worst first."""
        said = [
            *self._non_finite(record),
            *self.look_at_loss(record),
            *self._growth(record),
            *self._dead(record),
            *self._edges(record),
            *self._tails(record),
        ]
        order = ("problem", "warning", "info")
        return sorted(said, key=lambda notice: order.index(notice.severity))

    def look_at_loss(self, record: Record) -> list[Notice]:
        """What the record's loss gives reason to say; it may become known after the rest of the record."""
        broken = ("loss", -1) in record.non_finite
        if not self._once("training.non_finite", "loss", broken, record.loss is not None):
            return []
        text = f"{_at(record)}: the loss is NaN or infinite."
        return [Notice("training.non_finite", "problem", record.step, None, None, text)]

    def _once(self, rule: str, what: str, starts: bool, ends: bool) -> bool:
        """Whether this is the moment to say it: it starts now, and was not on before."""
        key = (rule, what)
        if starts and key not in self._on:
            self._on.add(key)
            return True
        if ends:
            self._on.discard(key)
        return False

    def _edges(self, record: Record) -> Iterator[Notice]:
        for place, (layer, now) in enumerate(zip(self._layers, record.layers, strict=True)):
            beyond = excess(layer, now)
            if beyond is None or abs(beyond) < self._limits.edge:
                continue
            side = 1 if beyond > 0 else -1
            before = self._side.get(place)
            self._side[place] = side
            if before is not None and before != side:
                yield self._crossed(record, layer, now, side)

    @staticmethod
    def _crossed(record: Record, layer: Followed, now: LayerNow, side: int) -> Notice:
        j, where = number(now.j or 0.0), edge_in_words(layer, now)
        if side > 0:
            text = (
                f"{_at(record)}: {layer.name} crossed its edge of chaos (J = {j}, {where}); from here on small "
                "differences grow through such layers. More weight decay holds it at the edge."
            )
            return Notice("training.edge", "warning", record.step, layer.name, now.j, text)
        text = (
            f"{_at(record)}: {layer.name} fell back behind its edge of chaos, into order (J = {j}, {where}); "
            "small differences fade through such layers."
        )
        return Notice("training.edge", "info", record.step, layer.name, now.j, text)

    def _growth(self, record: Record) -> Iterator[Notice]:
        for name in ("signal", "gradient"):
            found = (record.growth or {}).get(name)
            if found is None:
                continue
            total, limit = over_depth(found), math.log(self._limits.depth)
            for sign, verb in ((-1, "vanishes"), (1, "explodes")):
                starts, ends = sign * total > limit, sign * total < limit / 2
                if self._once(f"training.{name}_{verb}", "", starts, ends):
                    yield self._changed(record, name, verb, found)

    @staticmethod
    def _changed(record: Record, name: str, verb: str, found: Growth) -> Notice:
        total, way = over_depth(found), "first layer to the last" if name == "signal" else "last layer to the first"
        word = "grows" if total > 0 else "shrinks"
        effect = {
            ("signal", "vanishes"): "the last layers see little of the input",
            ("signal", "explodes"): "the last layers saturate or overflow",
            ("gradient", "vanishes"): "the first layers barely learn",
            ("gradient", "explodes"): "the first layers' steps are erratic",
        }[name, verb]
        text = (
            f"{_at(record)}: the {name} {verb} over the depth: it {word} by a factor of "
            f"{number(math.exp(min(abs(total), 700.0)))} from the {way} ({number(math.exp(found[0]))} per layer, "
            f"{found[2]} layers); {effect}."
        )
        return Notice(f"training.{name}_{verb}", "warning", record.step, None, math.exp(found[0]), text)

    def _tails(self, record: Record) -> Iterator[Notice]:
        for place, (layer, now) in enumerate(zip(self._layers, record.layers, strict=True)):
            if now.alpha is None:
                continue
            before = self._tail.setdefault(place, now.alpha)
            apart = now.alpha[1] > before[2] or now.alpha[2] < before[1]
            if apart and abs(now.alpha[0] - before[0]) >= self._limits.tail:
                self._tail[place] = now.alpha
                word = "heavier" if now.alpha[0] < before[0] else "lighter"
                text = (
                    f"{_at(record)}: the tails of {layer.name} became {word}: stable α = "
                    f"{number(now.alpha[0])} ({number(now.alpha[1])} – {number(now.alpha[2])}), after "
                    f"{number(before[0])} ({number(before[1])} – {number(before[2])})."
                )
                yield Notice("training.tails", "info", record.step, layer.name, now.alpha[0], text)

    def _non_finite(self, record: Record) -> Iterator[Notice]:
        for what, word in {"weights": "weights", "signal": "output", "gradient": "gradient"}.items():
            broken = [place for kind, place in record.non_finite if kind == what]
            if not self._once("training.non_finite", what, bool(broken), not broken):
                continue
            first = self._layers[broken[0]].name
            more = f" (and in {plural(len(broken) - 1, 'more layer')})" if len(broken) > 1 else ""
            text = f"{_at(record)}: the {word} of {first} {_are(what)} NaN or infinite{more}."
            severity = "warning" if what == "gradient" else "problem"
            yield Notice("training.non_finite", severity, record.step, first, None, text)  # type: ignore[arg-type]

    def _dead(self, record: Record) -> Iterator[Notice]:
        some = any(now.gradient for now in record.layers)
        for place, (layer, now) in enumerate(zip(self._layers, record.layers, strict=True)):
            if now.dead is not None:
                starts, ends = now.dead > self._limits.dead, now.dead < 0.8 * self._limits.dead
                if self._once("training.dead_units", layer.name, starts, ends):
                    text = (
                        f"{_at(record)}: {now.dead:.0%} of the units of {layer.name} are not activated by any "
                        "sample of the batch; such units do not learn."
                    )
                    yield Notice("training.dead_units", "warning", record.step, layer.name, now.dead, text)
            if now.j_squared is not None:
                constant = now.j_squared <= 0.0
                if self._once("training.constant", layer.name, constant, not constant):
                    text = f"{_at(record)}: all weights of {layer.name} are equal; it tells no inputs apart."
                    yield Notice("training.constant", "warning", record.step, layer.name, 0.0, text)
            if now.gradient is not None:
                # Twice in a row: one batch may leave a branch out.
                times = self._starved.get(place, 0) + 1 if now.gradient == 0.0 and some else 0
                self._starved[place] = times
                if self._once("training.no_gradient", layer.name, times >= 2, times == 0):
                    text = (
                        f"{_at(record)}: no gradient reaches {layer.name} (it is exactly 0), while others have "
                        "one; the layer does not learn."
                    )
                    yield Notice("training.no_gradient", "warning", record.step, layer.name, 0.0, text)


def edge_in_words(layer: Followed, now: LayerNow) -> str:
    """Where the layer's edge is, in the terms in which it is judged (see `edges.excess`)."""
    edge = boundary(layer, now)
    if edge is not None:
        return f"its edge is at J = {number(edge)}"
    return f"χ₁ = {number(now.chi1 or 0.0)}; 1 is the edge"


def over_depth(found: Growth) -> float:
    """ln of the change over the whole depth: exponent per layer times the number of steps from layer to layer."""
    return found[0] * (found[2] - 1)


def _at(record: Record) -> str:
    return f"Step {count(record.step)}"


def _are(what: str) -> str:
    return "are" if what == "weights" else "is"
