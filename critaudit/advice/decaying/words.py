"""Advice on weight decay as rows of a report, as code to copy, and in sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from critaudit.advice.course import OptimizerSetting
from critaudit.advice.decaying.layer_decay import LayerDecay
from critaudit.advice.optimizers import family
from critaudit.measurement import Measurement
from critaudit.report import Advice
from critaudit.report.wording import interval, number, plural, within

if TYPE_CHECKING:
    from critaudit.advice.decaying.advising import WeightDecayAdvice

_KIND = "weight_decay"
_EFFECT_LIMITS = "In this project's study (reports/advice) it lowered the test loss and changed accuracy little."


def rows(advice: WeightDecayAdvice) -> tuple[Advice, ...]:
    """One row for the optimizer and, where layers differ, one for each; none where nothing is determined."""
    value = advice.weight_decay.number
    if value is None:
        return ()
    found = advice.determined
    whole = Advice(
        kind=_KIND,
        layer=None,
        setting=_setting_name(found[0]),
        value=value,
        interval=advice.weight_decay.interval,
        expected_effect=f"{_effect(found)}{_others(advice)}",
        basis=advice.weight_decay.method or "",
    )
    return (whole, *(_row(layer) for layer in found)) if advice.differ else (whole,)


def _row(layer: LayerDecay) -> Advice:
    return Advice(
        kind=_KIND,
        layer=layer.layer,
        setting=_setting_name(layer),
        value=layer.weight_decay.number or 0.0,
        interval=layer.weight_decay.interval,
        expected_effect=_effect([layer]),
        basis=layer.method or "",
    )


def _others(advice: WeightDecayAdvice) -> str:
    """What happens to weights that the advice cannot tell of; begins with a space, empty where there are none."""
    others = len(advice.layers) - len(advice.determined)
    if not others:
        return ""
    if advice.differ:
        return f" The present decay stays for {plural(others, 'layer')} without advice."
    return f" It acts on all parameters, also on {plural(others, 'layer')} of which nothing could be told."


def _setting_name(layer: LayerDecay) -> str:
    return "weight_decay" if layer.setting is None else f"weight_decay of {layer.setting.name}"


def _effect(layers: Sequence[LayerDecay]) -> str:
    """What happens to J² with the advised decay, and what would without."""
    first = layers[0]
    goals = sorted(layer.target.number or 0.0 for layer in layers)
    at = number(goals[0]) if goals[0] == goals[-1] else f"{number(goals[0])} to {number(goals[-1])}"
    who = first.layer if len(layers) == 1 else plural(len(layers), "layer")
    soon = min((n for layer in layers if (n := layer.edge_epochs.number) is not None), default=None)
    beyond = f"; with the present decay the first passes it in about {number(soon)} epochs" if soon is not None else ""
    return f"J² of {who} settles at the edge of chaos, J*² = {at}{beyond}. {_EFFECT_LIMITS}"


def snippet(advice: WeightDecayAdvice) -> str:
    """Python to copy: one decay for the optimizer, or parameter groups where layers differ."""
    value = advice.weight_decay.number
    if value is None:
        return f"# no weight decay is advised: {advice.weight_decay.reason}"
    layers = advice.determined
    setting = layers[0].setting
    name = "torch.optim.SGD" if setting is None else _class(setting)
    options = "lr=lr" if setting is None else _options(setting)
    if not advice.differ:
        said = _others(advice)
        comment = f"  #{said}" if said else ""
        return f"optimizer = {name}(model.parameters(), {options}, weight_decay={value:.3g}){comment}"
    # Names may come from a file of anyone's: quoted, they stay names in the code that is copied.
    held = [f"    {json.dumps(layer.layer)}: {layer.weight_decay.number:.3g}," for layer in layers]
    rest = next((layer.present for layer in advice.layers if layer.weight_decay.number is None), layers[0].present)
    return "\n".join(
        [
            "decays = {",
            *held,
            "}",
            "groups = [",
            f'    {{"params": [parameter], "weight_decay": decays.get(name, {rest:.3g})}}',
            "    for name, parameter in model.named_parameters()",
            "]",
            f"optimizer = {name}(groups, {options})",
        ]
    )


def _class(setting: OptimizerSetting) -> str:
    known = family(setting) != "other" and setting.name.isidentifier()
    return f"torch.optim.{setting.name}" if known else setting.name


def _options(setting: OptimizerSetting) -> str:
    parts = [f"lr={setting.lr:.6g}"]
    if setting.momentum:
        parts.append(f"momentum={setting.momentum:.6g}")
    if setting.dampening:
        parts.append(f"dampening={setting.dampening:.6g}")
    if setting.nesterov:
        parts.append("nesterov=True")
    if setting.betas is not None and setting.betas != (0.9, 0.999):
        parts.append(f"betas=({setting.betas[0]:.6g}, {setting.betas[1]:.6g})")
    if setting.decoupled and setting.name in ("Adam", "NAdam", "RAdam"):
        parts.append("decoupled_weight_decay=True")
    return ", ".join(parts)


def sentences(advice: WeightDecayAdvice) -> Iterator[str]:
    """What is advised, what it rests on, what is assumed, and what could not be told."""
    found = advice.determined
    if advice.weight_decay.number is None:
        yield f"{advice.source}: no weight decay is advised: {advice.weight_decay.reason}."
    else:
        yield (
            f"{advice.source}: weight_decay = {_shown(advice.weight_decay)} for {_setting_name(found[0]).split()[-1]}"
            f"{_lambda(advice)} holds {plural(len(found), 'layer')} at the edge of chaos.{_others(advice)}"
        )
    for layer in found:
        yield _layer(layer)
    for layer in advice.layers:
        if layer.weight_decay.number is None:
            yield f"{layer.layer}: {(layer.reason or 'not determined').rstrip('.')}."
    if found:
        yield from _assumptions(advice)
    yield from (f"{note.rstrip('.')}." for note in advice.notes)


def _lambda(advice: WeightDecayAdvice) -> str:
    return f" (λ = {_shown(advice.lambda_)} of a loss with λ|w|²)" if advice.lambda_.number is not None else ""


def _shown(one: Measurement) -> str:
    ends = "" if one.interval is None else f" ({interval(one.interval)})"
    return f"{within(one.number or 0.0, one.interval)}{ends}"


def _layer(layer: LayerDecay) -> str:
    parts = [f"{layer.layer}: J² = {number(layer.j_squared)}, at the edge {number(layer.target.number or 0.0)}"]
    if layer.growth_per_epoch.number is not None:
        parts.append(f"grows by {_shown(layer.growth_per_epoch)} per epoch without decay")
    elif layer.growth.number is not None:
        parts.append(f"grows by {_shown(layer.growth)} per step without decay")
    if layer.constant.number is not None:
        parts.append(f"D = {_shown(layer.constant)}")
    if layer.edge_epochs.number is not None:
        parts.append(f"{_shown(layer.edge_epochs)} epochs to the edge as it is")
    parts.append(f"weight_decay {_shown(layer.weight_decay)}, now {number(layer.present)}")
    note = f" ({layer.reason})" if layer.reason else ""
    return f"{'; '.join(parts)}{note}."


def _assumptions(advice: WeightDecayAdvice) -> Iterator[str]:
    yield (
        "Assumed: growth stays as it is but for what the interval allows on the way to the edge, and goes with the "
        "step size where the learning rate changes; other settings stay."
    )
    names = {layer.setting.name for layer in advice.determined if layer.setting is not None}
    if any(family(layer.setting) == "adaptive" for layer in advice.determined if layer.setting is not None):
        yield f"For {', '.join(sorted(names))} the gradients' fluctuations are taken to outweigh their mean."
    if advice.differ:
        yield "Layers differ by more than their intervals: parameter groups serve them better than one value."
