"""Weight decay from a checkpoint that holds its optimizer's state: what one moment of a training tells, in an audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from critaudit.errors import CritauditError
from critaudit.measurement import Measurement, undetermined
from critaudit.model import ModelView
from critaudit.report import Advice, Finding
from critaudit.report.wording import number, plural, with_interval

_NO_DECAY = (
    "one checkpoint of a training without weight decay does not say how fast J² grows; give several to critaudit advise"
)


@dataclass(frozen=True, slots=True)
class SavedDecay:
    """What the optimizer's state in a checkpoint tells of weight decay; empty where there is none.

    `layers` are measurements by the name of the layer. Nothing is determined more often than not: then `model` holds
    the reason, and so does a finding.
    """

    model: dict[str, Measurement] = field(default_factory=dict)
    layers: dict[str, dict[str, Measurement]] = field(default_factory=dict)
    advice: tuple[Advice, ...] = ()
    findings: tuple[Finding, ...] = ()


def saved_decay(view: ModelView, *, activation: str | None) -> SavedDecay:
    """Advice from the checkpoint's own optimizer. Never raises: an audit does not fail for what is beside the weights.

    The weights are read once more only where the state could decide: one moment says something of a training in which
    weight decay acted for long enough.
    """
    path = view.source.path
    if path is None:
        return SavedDecay()
    try:
        groups = _groups(view, path)
        if not groups:
            return SavedDecay()
        if not any(_positive(group.get("weight_decay")) for group in groups):
            return _undetermined(_NO_DECAY)
        return _advised(view, activation)
    except (CritauditError, MemoryError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        # The optimizer's part of a file is anyone's: whatever is wrong with it is its reason, and no more.
        return _undetermined(f"the optimizer's state cannot be used: {str(error) or type(error).__name__}")


def _advised(view: ModelView, activation: str | None) -> SavedDecay:
    from critaudit.advice import weight_decay
    from critaudit.advice.decaying.checkpoints import Told, course_of_view

    found = weight_decay(course_of_view(view, Told(activation=activation)), activation=activation)
    value = found.weight_decay.number
    if value is None:
        return _undetermined(found.weight_decay.reason or "it is not determined")
    measurements = found.measurements()
    text = (
        f"A weight decay of {with_interval(found.weight_decay)} would hold {plural(len(found.determined), 'layer')} at "
        f"the edge of chaos; now it is {number(found.determined[0].present)}."
    )
    caveat = "From one moment: J² is taken to be balanced, and learning rate and decay to have been as they are now."
    finding = Finding("decay.advised", "info", None, text, ("decay.weight_decay",), caveat)
    model = {"decay.weight_decay": found.weight_decay, "decay.lambda": found.lambda_}
    return SavedDecay(model, measurements, found.advice_items(), (finding,))


def _undetermined(reason: str) -> SavedDecay:
    text = f"No weight decay is advised from the checkpoint's optimizer: {reason.rstrip('.')}."
    finding = Finding("decay.undetermined", "info", None, text, ("decay.weight_decay",))
    return SavedDecay({"decay.weight_decay": undetermined(reason)}, findings=(finding,))


def _groups(view: ModelView, path: Path) -> Sequence[Mapping[str, object]]:
    """The parameter groups that the checkpoint mentions, or those in an optimizer's file beside it in its folder."""
    told = view.metadata.get("param_groups")
    if isinstance(told, Sequence) and not isinstance(told, str):
        return [group for group in told if isinstance(group, Mapping)]
    if not path.is_dir():
        return ()
    from critaudit.sources.pytorch.optimizer_state import read_optimizer

    saved = read_optimizer(path)
    return () if saved is None else saved.groups


def _positive(value: object) -> bool:
    return isinstance(value, (int, float)) and value > 0
