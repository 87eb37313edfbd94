"""Advice on initialisation as measurements: of the whole network, and of each weight before and after."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from critaudit.measurement import Measurement, measured, not_applicable, undetermined

if TYPE_CHECKING:
    from torch import nn

    from critaudit.advice.initial import Candidate, InitialisationAdvice
    from critaudit.advice.initial.passes import LayerPass, Passes
    from critaudit.advice.initial.theory import Prediction
    from critaudit.advice.initial.trials import Trial

_NO_SHARPNESS = "it was not measured, or an operation of the network has no second derivative"
_TOO_FEW = "fewer than two hidden weights that the signal passes, or a signal or gradient of zero"


def of_network(advice: InitialisationAdvice) -> dict[str, Measurement]:
    """What was weighed, tried and predicted, by measurement ID (`init.…`)."""
    found = {
        "init.choice": measured(advice.chosen.name, method=_CHOICE_ON_STAND_IN if advice.stand_in else _CHOICE),
        "init.optimizer": measured(advice.setting.name),
        "init.lr": measured(advice.setting.lr, method="learning rate of the trials"),
        "init.task": measured(advice.task),
        "init.samples": measured(advice.samples),
        "init.batch_size": measured(advice.batch_size),
        "init.steps": measured(advice.steps, method="optimizer steps of each trial"),
    }
    found |= _beside("before", advice.present)
    if advice.chosen is not advice.present:
        found |= _beside("after", advice.chosen)
    return found | _all_candidates(advice) | _rates(advice) | _theory(advice)


_CHOICE = (
    "lowest mean trial loss over the second half of the steps; of those within two standard errors of it, the least "
    "sharp one"
)
_CHOICE_ON_STAND_IN = (
    "without targets: of those whose trial loss comes at least half as far down as the lowest, the present weights "
    "unless they are too sharp for this learning rate, else the least sharp one"
)


def _beside(when: str, candidate: Candidate) -> dict[str, Measurement]:
    """The numbers that stand side by side before and after."""
    seen, sharp = candidate.passes, candidate.sharpness
    found = {
        f"init.signal_change_{when}": _factor(seen, None if seen is None else seen.signal_total, candidate.failed),
        f"init.gradient_change_{when}": _factor(seen, None if seen is None else seen.gradient_total, candidate.failed),
        f"init.loss_{when}": loss_of(candidate),
    }
    if sharp is None:
        found[f"init.sharpness_{when}"] = undetermined(candidate.failed or _NO_SHARPNESS)
        return found
    how = f"largest eigenvalue of the loss's Gauss–Newton matrix, Lanczos; residual {sharp.residual:.2g}"
    found[f"init.sharpness_{when}"] = measured(sharp.value, n=sharp.samples, method=how)
    if sharp.value > 0.0:
        found[f"init.largest_lr_{when}"] = measured(
            2.0 / sharp.value, n=sharp.samples, method="2/λ: beyond it plain gradient descent is unstable there"
        )
    return found


def _factor(seen: Passes | None, total: float | None, failed: str) -> Measurement:
    """e^(total/2): what becomes of a strength when ln of its square changes by `total`."""
    if seen is None or total is None:
        return undetermined(failed or _TOO_FEW)
    if abs(total) > 1200.0:
        return undetermined(f"its logarithm changes by {total / 2.0:.3g}, which no number holds")
    between = max(len(seen.layers) - 2, 1)
    return measured(math.exp(total / 2.0), method=f"from the first hidden weight to the last, over {between} layers")


def loss_of(candidate: Candidate) -> Measurement:
    """The loss over the second half of the trial, or that it diverged."""
    tried = candidate.trial
    if tried is None:
        return undetermined(candidate.failed or "it was not tried")
    if not math.isfinite(tried.score):
        return undetermined(f"the loss diverged after {_steps_before(tried)} steps at learning rate {tried.lr:.3g}")
    half = len(tried.losses) - len(tried.losses) // 2
    ends = (tried.score - 1.96 * tried.error, tried.score + 1.96 * tried.error)
    how = f"mean over the last {half} of {len(tried.losses)} steps, interval from batch to batch"
    return measured(tried.score, interval=ends, n=half, method=how)


def _steps_before(tried: Trial) -> int:
    return next((place for place, loss in enumerate(tried.losses) if not math.isfinite(loss)), len(tried.losses))


def _all_candidates(advice: InitialisationAdvice) -> dict[str, Measurement]:
    """Series for figures; a candidate's number counts from 1 in `init.candidates`."""
    found = {
        "init.candidates": measured(tuple(one.name for one in advice.candidates)),
        "init.chosen_number": measured(advice.candidates.index(advice.chosen) + 1),
        "init.layers": measured(tuple(layer.name for layer in _longest(advice))),
    }
    diverged, failed = [], []
    for place, one in enumerate(advice.candidates, start=1):
        found |= dict(_series(place, one))
        if one.failed:
            failed.append(f"{one.name}: {one.failed}")
        elif one.trial is not None and not math.isfinite(one.trial.score):
            diverged.append(one.name)
    tried = [one for one in advice.candidates if one.trial is not None and math.isfinite(one.trial.score)]
    found["init.scores"] = measured(tuple(one.trial.score for one in tried if one.trial is not None))
    found["init.score_errors"] = measured(tuple(one.trial.error for one in tried if one.trial is not None))
    found["init.score_names"] = measured(tuple(one.name for one in tried))
    limits = [one for one in tried if one.sharpness is not None and one.sharpness.value > 0.0]
    found["init.largest_lrs"] = measured(
        tuple(2.0 / one.sharpness.value for one in limits if one.sharpness is not None)
    )
    found["init.largest_lr_names"] = measured(tuple(one.name for one in limits))
    found["init.diverged"] = measured(tuple(diverged))
    found["init.not_made"] = measured(tuple(failed))
    return found


def _longest(advice: InitialisationAdvice) -> tuple[LayerPass, ...]:
    return max((one.passes.layers for one in advice.candidates if one.passes is not None), key=len, default=())


def _series(place: int, one: Candidate) -> Iterator[tuple[str, Measurement]]:
    """Losses by step; signal and gradient by place of the weight, where they are above zero."""
    if one.trial is not None:
        losses = one.trial.losses[: _steps_before(one.trial)]
        if losses:
            yield f"init.losses.{place}", measured(losses)
    for name in ("signal", "gradient"):
        values = [] if one.passes is None else [getattr(layer, name) for layer in one.passes.layers]
        known = [(k, v) for k, v in enumerate(values, start=1) if v is not None and math.isfinite(v) and v > 0.0]
        if known:
            yield f"init.{name}s.{place}", measured(tuple(v for _, v in known))
            yield f"init.{name}_places.{place}", measured(tuple(float(k) for k, _ in known))


def _rates(advice: InitialisationAdvice) -> dict[str, Measurement]:
    rates = advice.rates
    finite = [one for one in rates.trials if math.isfinite(one.score)]
    found = {
        "init.rate_lrs": measured(tuple(one.lr for one in finite)),
        "init.rate_losses": measured(tuple(one.score for one in finite)),
        "init.rate_errors": measured(tuple(one.error for one in finite)),
        "init.rates_diverged": measured(tuple(one.lr for one in rates.trials if not math.isfinite(one.score))),
    }
    if rates.confirmations:
        longer = f"trials of {len(rates.confirmations[0].losses)} steps, from the largest rate down"
        found["init.rates_lost"] = measured(rates.lost, method=longer)
    if rates.good is None or rates.best is None:
        missing = undetermined(
            "at every learning rate that brought the loss down it was lost again in more steps"
            if rates.lost
            else "no learning rate that was tried brought the loss down by more than its noise"
        )
        return {**found, "init.best_lr": missing, "init.good_lrs": missing}
    found["init.best_lr"] = measured(
        rates.best, method=f"of {len(rates.trials)} rates from a tenth to ten times the given"
    )
    found["init.good_lrs"] = measured(
        rates.good,
        method="smallest and largest rate that brings the loss at least half as far down as the best; at the largest "
        f"it stays down over {len(rates.confirmations[-1].losses)} steps",
    )
    return found


def _theory(advice: InitialisationAdvice) -> dict[str, Measurement]:
    """Mean field at the operating point of the chain, where there is one."""
    known: dict[str, Measurement] = {}
    for prediction in advice.predictions[:1]:
        point, how = prediction.point, f"Gaussian mean field, {prediction.activation}, no bias"
        known |= {
            "init.activation": measured(prediction.activation),
            "init.depth": measured(prediction.depth, method="layers of the longest chain without a way around them"),
            "init.operating_strength": measured(point.strength, method=f"s = √q; {how}"),
            "init.operating_sigma_w": measured(point.sigma_w, method=how),
            "init.operating_chi1": measured(point.chi1, method=how),
            "init.depth_scale": _predicted(prediction, prediction.depth_scale, how, "infinite: the edge itself"),
            "init.susceptibility": _predicted(prediction, prediction.susceptibility, how, "it diverges here"),
            "init.edge_sigma_w": _predicted(prediction, prediction.edge, how, "there is none at this σ_b"),
            "init.widom_sigma_w": _predicted(prediction, prediction.widom, how, "there is none at this σ_b"),
        }
    heavy = [one for one in advice.candidates if one.recipe is not None and one.recipe.family == "stable"]
    activation = advice.predictions[0].activation if advice.predictions else None
    places = [f"α = {one.recipe.alpha}: {_place(one, activation)}" for one in heavy if one.recipe]
    if places:
        known["init.heavy_tails"] = measured(tuple(places), method="phase diagram of Qu et al. 2022 for i.i.d. weights")
    return known


def _predicted(prediction: Prediction, value: float | None, how: str, otherwise: str) -> Measurement:
    if value is None:
        return not_applicable(next(iter(prediction.notes), otherwise))
    return measured(value, method=how)


def _place(one: Candidate, activation: str | None) -> str:
    from critaudit.advice.initial.theory import heavy_tails

    assert one.recipe is not None
    if one.critical is None or one.recipe.alpha is None:
        return one.failed or "it could not be made"
    scales = [layer.scale for layer in one.critical.layers if layer.role == "chain" and layer.scale is not None]
    if not scales:
        return heavy_tails(None, one.recipe.alpha, 1.0)
    return heavy_tails(activation, one.recipe.alpha, sorted(scales)[len(scales) // 2])


def of_layers(advice: InitialisationAdvice, module: nn.Module) -> dict[str, dict[str, Measurement]]:
    """By parameter name: signal, gradient and σ_w before and after, and the weight's place in the network."""
    found: dict[str, dict[str, Measurement]] = {}
    for when, candidate in (("before", advice.present), ("after", advice.chosen)):
        if candidate.passes is None or (when == "after" and candidate is advice.present):
            continue
        for layer in candidate.passes.layers:
            held = found.setdefault(layer.name, {})
            held[f"init.signal_{when}"] = measured(layer.signal, method="‖h‖/√n behind the weight, one batch")
            held[f"init.gradient_{when}"] = (
                undetermined("no gradient arrives")
                if layer.gradient is None
                else measured(layer.gradient, method="‖∂loss/∂h‖ over one batch")
            )
    for name, value in _sizes(module).items():
        found.setdefault(name, {})["init.sigma_w_before"] = measured(value, method="√(fan_in · mean w²)")
    _recommended(advice, found)
    return found


def _recommended(advice: InitialisationAdvice, found: Mapping[str, dict[str, Measurement]]) -> None:
    """Add what the recommendation makes of each weight; roles are known also where nothing is to change."""
    made = advice.chosen.critical or next((one.critical for one in advice.candidates if one.critical), None)
    for layer in () if made is None else made.layers:
        held = found.get(layer.name)
        if held is None:
            continue
        held["init.role"] = measured(layer.role, reason=layer.reason or None)
        if advice.chosen.critical is None:
            continue
        if layer.sigma_w is not None:
            held["init.sigma_w"] = measured(layer.sigma_w, method="√(fan_in · mean w²) as recommended")
        held["init.strength_target"] = (
            not_applicable(layer.reason or "no strength is aimed at here")
            if layer.strength is None
            else measured(layer.strength, method="‖x‖/√n that the weight was scaled for")
        )


def _sizes(module: nn.Module) -> dict[str, float]:
    """σ_w = √(fan_in·mean w²) of every weight of at least two axes."""
    return {
        name: math.sqrt(weight[0].numel() * float(weight.detach().double().square().mean()))
        for name, weight in module.named_parameters(remove_duplicate=False)
        if weight.ndim >= 2 and weight.numel() and weight.is_floating_point()
    }
