"""What advice on initialisation comes to: findings, the headline, and rows of advice for the report."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from critaudit.advice.initial.passes import LOST
from critaudit.advising.starting import loss_of
from critaudit.report import Advice, Finding
from critaudit.report.wording import number, plural

if TYPE_CHECKING:
    from critaudit.advice.initial import Candidate, InitialisationAdvice
    from critaudit.report.record import Severity

# Networks of up to so many weights have a row each, others one per role.
FEW_LAYERS = 12
# A factor of signal or gradient over the whole depth that is worth a word.
_LARGE = math.log(10.0)
# Shares of what the recommended initialisation brings the loss down by: beneath the first a network counts as not
# training, above the second as training well.
_NONE, _FAIR = 0.2, 0.5


def findings(advice: InitialisationAdvice) -> Iterator[Finding]:
    """Whether the weights that are there train, what does it better, and for which learning rates."""
    yield _choice(advice)
    yield from _rates(advice)
    failed = [one for one in advice.candidates if one.failed]
    if failed:
        first = failed[0]
        text = f"{plural(len(failed), 'candidate')} could not be made; {first.name}: {first.failed.rstrip('.')}."
        yield Finding("init.not_made", "info", None, text, ("init.not_made",))


def caveat(advice: InitialisationAdvice) -> str:
    """What could make it wrong."""
    return (
        f"Trials are short: {plural(advice.steps, 'step')} on {plural(advice.samples, 'sample')}; targets are "
        f"{advice.task}. What trains faster at first need not end better. Heavy-tailed weights are recommended only "
        "where they train better here, not on a paper's word."
    )


def _choice(advice: InitialisationAdvice) -> Finding:
    present, chosen = advice.present, advice.chosen
    evidence = ("init.gradient_change_before", "init.loss_before", "init.loss_after")
    if chosen is present:
        others = [one for one in advice.candidates if one is not present and _finite(one)]
        best = min(others, key=_score, default=None)
        lead = "The present weights train as well as any that were tried"
        if advice.stand_in and best is not None and _score(best) < _score(present):
            lead = "The present weights train, and without targets nothing speaks for others"
        text = f"{lead}: loss {_loss(present)} after {_steps(advice)}"
        text += f"; the best other, {best.name}, {_loss(best)}." if best is not None else "."
        if not _trains(present):
            at = f"in {_steps(advice)} at learning rate {number(advice.setting.lr)}"
            text = f"No initialisation that was tried trains {at}."
            severity: Severity = "problem"
            if advice.stand_in:
                text, severity = f"Random targets are not learnt {at}; give samples and targets.", "warning"
            return Finding("init.none_trains", severity, None, text, evidence[:2], caveat(advice))
        return Finding("init.kept", "info", None, text, evidence[:2], caveat(advice))
    better = f"{chosen.name} reaches a loss of {_loss(chosen)} against {_loss(present)} in {_steps(advice)}"
    severity = "info" if _trains(present, chosen, _FAIR) else "warning"
    lead = "Another initialisation trains faster: "
    if _score(chosen) > _score(present):
        lead = "Another initialisation is less sharp, which larger learning rates need, and trains too: "
    if not _trains(present, chosen, _NONE) and _trains(chosen):
        # Gradients that reach the first layers make up for a loss that moves late: training is slow then.
        severity = "problem" if _is_lost(present) else "warning"
        still = f"the loss hardly moves in {_steps(advice)} at learning rate {number(advice.setting.lr)}"
        lead = f"{_why(present)}{still}. Recommended: "
    return Finding("init.present", severity, None, f"{lead}{better}.", evidence, caveat(advice))


def _is_lost(present: Candidate) -> bool:
    """Whether signals or gradients change over the depth by a factor that no learning rate makes up for."""
    seen = present.passes
    totals = () if seen is None else (seen.gradient_total, seen.signal_total)
    return not _finite(present) or any(total is not None and abs(total) / 2.0 > LOST for total in totals)


def _why(present: Candidate) -> str:
    """What happens to gradients and signals with these weights, as the beginning of a sentence."""
    seen = present.passes
    words = []
    for what, total in (
        ("gradients", None if seen is None else seen.gradient_total),
        ("signals", None if seen is None else seen.signal_total),
    ):
        if total is not None and abs(total) / 2.0 > _LARGE:
            factor = number(math.exp(total / 2.0)) if abs(total) < 1200.0 else f"e^{total / 2.0:.0f}"
            words.append(f"{what} change by a factor of {factor}")
    if not words or seen is None:
        return "With the present weights "
    return f"With the present weights {' and '.join(words)} over {max(len(seen.layers) - 2, 1)} layers: "


def _rates(advice: InitialisationAdvice) -> Iterator[Finding]:
    good, lr, lost = advice.rates.good, advice.setting.lr, advice.rates.lost
    fell = ""
    if lost:
        steps = len(advice.rates.confirmations[0].losses)
        rates = " and ".join(number(one) for one in lost)
        fell = f" At {rates} the loss came down and was lost again within {steps} steps."
    if good is None:
        if lost:
            text = f"No learning rate that was tried holds ({_optimizer(advice)}).{fell}"
            yield Finding("init.rates", "warning", None, text, ("init.rates_lost",))
        return
    evidence = ("init.good_lrs", "init.best_lr")
    held = f"The recommended weights train well at learning rates {_range(good)} ({_optimizer(advice)})"
    if good[0] <= lr <= good[1]:
        yield Finding("init.rates", "info", None, f"{held}; the advice is for {number(lr)}.{fell}", evidence)
        return
    best = number(advice.rates.best or good[0])
    if lr > good[1]:
        yield Finding("init.rates", "warning", None, f"{held}; {number(lr)} is above: take {best}.{fell}", evidence)
        return
    text = f"{held}; in {_steps(advice)} {number(lr)} is slower, and {best} is fastest.{fell}"
    yield Finding("init.rates", "info", None, text, evidence, "In so few steps small learning rates look worse.")


def code(advice: InitialisationAdvice) -> str:
    """The recommendation as Python to copy, with the learning rates that it holds for."""
    good = advice.rates.good
    if good is None:
        return advice.snippet
    return f"{advice.snippet}\n# tried with {_optimizer(advice)}: trains well at learning rates {_range(good)}"


def _range(good: tuple[float, float]) -> str:
    if good[0] == good[1]:
        return f"near {good[0]:.3g}"
    return f"from {good[0]:.3g} to {good[1]:.3g}"


def sentence(advice: InitialisationAdvice) -> str:
    """The headline."""
    if advice.chosen is advice.present:
        return f"Initialisation: keep the weights as they are (trial loss {_loss(advice.present)})."
    return (
        f"Initialisation: {advice.chosen.name} (trial loss {_loss(advice.chosen)}, with the present weights "
        f"{_loss(advice.present)})."
    )


def rows(advice: InitialisationAdvice) -> Iterator[Advice]:
    """The recommendation, the learning rates that it holds for, and gains by layer or by role."""
    basis = f"{plural(len(advice.candidates), 'candidate')} tried for {_steps(advice)} on {advice.task}"
    yield Advice("init", None, "initialisation", advice.chosen.name, None, _effect(advice), basis)
    if advice.rates.good is not None and advice.rates.best is not None:
        yield Advice(
            "learning_rate",
            None,
            f"lr of {advice.setting.name}",
            advice.rates.best,
            advice.rates.good,
            f"The interval holds the rates at which the recommended weights train well; {_beyond(advice)}.",
            f"{len(advice.rates.trials)} rates from a tenth to ten times {number(advice.setting.lr)}",
        )
    if advice.chosen.critical is not None:
        yield from _gains(advice)


def _optimizer(advice: InitialisationAdvice) -> str:
    """The optimizer in words: "SGD, momentum 0.9"."""
    momentum = advice.setting.momentum
    return f"{advice.setting.name}, momentum {number(momentum)}" if momentum else advice.setting.name


def _beyond(advice: InitialisationAdvice) -> str:
    """What is known of larger learning rates than the good ones."""
    rates = advice.rates
    assert rates.good is not None
    return "larger ones were not tried" if rates.good[1] >= rates.trials[-1].lr else "larger ones fail or are slower"


def _effect(advice: InitialisationAdvice) -> str:
    words = [f"trial loss {_loss(advice.chosen)}, with the present weights {_loss(advice.present)}"]
    for what, name in (("signal", "signal_total"), ("gradient", "gradient_total")):
        totals = [None if one.passes is None else getattr(one.passes, name) for one in (advice.chosen, advice.present)]
        shown = ["–" if one is None or abs(one) > 1200.0 else number(math.exp(one / 2.0)) for one in totals]
        words.append(f"{what} changes by {shown[0]} over the depth, before by {shown[1]}")
    if advice.chosen is advice.present:
        words = [f"trial loss {_loss(advice.present)}; no other is advised"]
    return f"{'; '.join(words)}."


def _gains(advice: InitialisationAdvice) -> Iterator[Advice]:
    critical = advice.chosen.critical
    assert critical is not None
    scaled = [layer for layer in critical.layers if layer.sigma_w is not None]
    family = "σ_w of stable weights" if critical.family == "stable" else f"σ_w, {critical.family}"
    basis = "scaled until the signal behind it had the strength that it should have"
    if len(scaled) <= FEW_LAYERS:
        for layer in scaled:
            aim = layer.reason or (
                f"signal of strength {number(layer.strength)} behind it"
                if layer.strength is not None
                else "kept strength"
            )
            yield Advice(
                "init", layer.name, family, layer.sigma_w or 0.0, None, f"{aim} ({_ROLES[layer.role]}).", basis
            )
        return
    by_role: dict[str, list[float]] = defaultdict(list)
    for layer in scaled:
        by_role[layer.role].append(layer.sigma_w or 0.0)
    counts = Counter(layer.role for layer in scaled)
    for role, values in by_role.items():
        ends = (min(values), max(values)) if len(values) > 1 else None
        text = f"{plural(counts[role], 'weight')}: {_ROLES[role]}."
        text += "" if ends is None else " The interval is the smallest and the largest, the value the middle one."
        yield Advice(
            "init", None, f"{family}, {role.replace('_', ' ')}", sorted(values)[len(values) // 2], ends, text, basis
        )


_ROLES = {
    "chain": "in a chain that every signal passes",
    "inside": "within a residual branch",
    "linear": "before products, attention or another weight",
    "normalised": "before a normalisation, which undoes its scale",
    "branch_end": "at the end of a residual branch",
    "skip": "a projection in the place of the identity",
    "readout": "the readout",
    "embedding": "rows that are looked up",
}


def _loss(candidate: Candidate) -> str:
    held = loss_of(candidate)
    if held.number is None or held.interval is None:
        return "diverged" if candidate.trial is not None else "not tried"
    return f"{number(held.number)} ± {number(held.interval[1] - held.number, 2)}"


def _trains(candidate: Candidate, best: Candidate | None = None, share: float = 0.0) -> bool:
    """Whether the loss fell by more than its noise, and by at least a share of what `best` brought about."""
    gain = _gain(candidate)
    if gain is None or candidate.trial is None:
        return False
    least = 0.0 if best is None else share * (_gain(best) or 0.0)
    return gain > max(2.0 * candidate.trial.error, least)


def _gain(candidate: Candidate) -> float | None:
    """By how much the trial brought the loss down."""
    tried = candidate.trial
    return None if tried is None or not math.isfinite(tried.score) else tried.losses[0] - tried.score


def _finite(candidate: Candidate) -> bool:
    return candidate.trial is not None and math.isfinite(candidate.trial.score)


def _score(candidate: Candidate) -> float:
    return math.inf if candidate.trial is None else candidate.trial.score


def _steps(advice: InitialisationAdvice) -> str:
    return plural(advice.steps, "step")
