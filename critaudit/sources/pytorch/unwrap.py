"""From the object tree of a checkpoint to its model: which tensors are weights, what they are called, what is left out.

Three steps: `object_tree.find_groups` collects the tensors that lie side by side; here each group gets a role (model,
averaged copy, optimizer, …) from its place in the tree; the model groups are named, prefixes of wrappers stripped, and
every tensor is resolved, so that one with a missing storage is reported as lost instead of ending the audit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from critaudit.contents import Contents, LayerHint, LeftOut
from critaudit.errors import NotAModelError
from critaudit.sources.pickles.inert import Inert
from critaudit.sources.pytorch.names import NameBudget
from critaudit.sources.pytorch.object_tree import WRAPPERS, Group, find_groups, role_of
from critaudit.sources.pytorch.pickled_modules import is_module
from critaudit.sources.pytorch.plain_values import optimizer_settings, plain_values
from critaudit.sources.pytorch.stored_tensors import Refused, TensorLike
from critaudit.tensors import DTYPES, TensorRef

_OTHER_LIBRARIES = frozenset({"sklearn", "xgboost", "lightgbm", "catboost", "pandas", "statsmodels", "keras", "joblib"})
_AVERAGED = re.compile(r"(^|_)ema(_|$)|^averaged|^shadow|^swa(_|$)|^teacher$")
_ARTEFACTS = re.compile(r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_LOST = "cannot be read"
_LISTED_LOST = 10_000
_LISTED = 100  # tensors of one kind that are listed one by one
_MAX_PROBLEMS = 20
# Views and expanded tensors may claim more elements than are stored, but only so many more: a spectrum of 4096² takes
# ten seconds, and the file that asks for it has two hundred bytes.
_FREE_ELEMENTS = 2**22
_BESIDE = "a value beside the model's own weights"
_ATTRIBUTE = "an attribute of the module, no parameter or buffer of its state dict"
_COPY = "an averaged copy (EMA) of the weights; the model itself is audited"
_TOO_MANY = "the tensors claim far more elements than the file holds"


@dataclass(slots=True)
class _Outcome:
    """What becomes of the tensors, in the order of the file."""

    tensors: dict[str, TensorRef] = field(default_factory=dict)
    hints: dict[str, LayerHint] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    counts: Counter[tuple[str, bool]] = field(default_factory=Counter)
    uses: Counter[str] = field(default_factory=Counter)
    stored: set[Hashable] = field(default_factory=set)

    def free(self, name: str) -> str:
        """`name`, numbered where the file uses it again (the keys 0 and "0")."""
        while True:
            self.uses[name] += 1
            if self.uses[name] == 1:
                return name
            name = f"{name}#{self.uses[name]}"


def unwrap(root: object, format_name: str, label: str, size: int, problems: Iterable[str] = ()) -> Contents:
    """The model in the object tree `root` of a file of `size` bytes.

    Raises NotAModelError where the tree holds no tensor at all, or belongs to a library for other models.
    """
    if isinstance(root, Inert) and root.name.partition(".")[0] in _OTHER_LIBRARIES:
        raise NotAModelError(f"{label}: {_what(root)}, which is no neural network of PyTorch; expected a state dict")
    names = NameBudget(label)
    tree_problems: list[str] = []
    groups = find_groups(root, names, tree_problems)
    if not any(group.tensors for group in groups):
        raise NotAModelError(f"{label}: {_what(root)} without a single tensor; expected a state dict or a saved module")
    reasons = _reasons(groups)
    kept = [group for group, reason in zip(groups, reasons, strict=True) if reason is None]
    prefixes = dict(zip(map(id, kept), _prefixes(kept, names), strict=True))
    lightning = type(root) is dict and "pytorch-lightning_version" in root
    outcome = _Outcome()
    budget = _FREE_ELEMENTS + size
    for group, reason in zip(groups, reasons, strict=True):
        if reason is None:
            budget = _keep(group, prefixes[id(group)], lightning, budget, outcome, names)
        elif reason == _BESIDE:
            for key, tensor in group.tensors.items():
                _leave_out(group.prefix, {key: tensor}, role_of(key) or reason, outcome)
        else:
            _leave_out(group.prefix, group.tensors, reason, outcome)
        _leave_out(prefixes.get(id(group), group.prefix), group.attributes, _ATTRIBUTE, outcome, meant=True)
    return Contents(
        format=format_name,
        tensors=outcome.tensors,
        left_out=(*outcome.left_out, *_counted(outcome)),
        problems=(*problems, *tree_problems[:_MAX_PROBLEMS], *_shortened(outcome)),
        hints=outcome.hints,
        metadata=_metadata(root, kept),
    )


def _what(root: object) -> str:
    if isinstance(root, Inert):
        return f"a saved object of the class {root.name[:100]}"
    return f"a saved {type(root).__name__}"


def _reasons(groups: list[Group]) -> list[str | None]:
    """For each group why it is not the model; None for the model."""
    reasons: list[str | None] = [group.reason for group in groups]
    inner = {group.path[:-1] for group, reason in zip(groups, reasons, strict=True) if reason is None and group.wrapped}
    for at, group in enumerate(groups):
        if reasons[at] is None and group.path in inner and not group.module:
            reasons[at] = _BESIDE
    model = [at for at, reason in enumerate(reasons) if reason is None]
    averaged = [at for at in model if any(map(_is_averaged, groups[at].path))]
    if averaged and len(averaged) < len(model):
        for at in averaged:
            reasons[at] = _COPY
    return reasons


@lru_cache(maxsize=4096)
def _is_averaged(key: str) -> bool:
    return _AVERAGED.search(key.lower()) is not None


def _prefixes(groups: list[Group], names: NameBudget) -> list[str]:
    """A prefix for the names of each group: what tells its place from the others', without words like `state_dict`."""
    paths = [group.path for group in groups]
    if len(paths) < 2:
        return [""] * len(paths)
    common = 0
    while all(len(path) > common and path[common] == paths[0][common] for path in paths):
        common += 1
    full = [path[common:] for path in paths]
    short = [tuple(part for part in path if part not in WRAPPERS) for path in full]
    chosen = short if len(set(short)) == len(short) else full
    return [names.add("".join(f"{part}." for part in path)) for path in chosen]


def _keep(group: Group, prefix: str, lightning: bool, budget: int, outcome: _Outcome, names: NameBudget) -> int:
    """Resolve a model group's tensors into the outcome; what remains of `budget` elements."""
    new_names = _stripped(list(group.tensors), lightning)
    copies = {name for name in new_names if name.startswith(("model_ema.", "ema_model."))}
    if len(copies) == len(new_names):
        copies = set()
    counted = set()
    for (old, tensor), stripped in zip(group.tensors.items(), new_names, strict=True):
        names.spend(len(prefix))
        name = outcome.free(prefix + stripped)
        if stripped in copies:
            _leave_out("", {name: tensor}, _COPY, outcome)
            continue
        found = tensor.resolve()
        if isinstance(found, TensorRef):
            if found.storage.key not in outcome.stored:
                outcome.stored.add(found.storage.key)
                budget += found.storage.nbytes // DTYPES[found.dtype][0]
            # A tied tensor costs nothing, unless it is expanded: then it is counted as often as it is claimed.
            cost = 0 if found.key in counted and found.nbytes <= found.storage.nbytes else found.numel
            counted.add(found.key)
            if cost > budget:
                found = Refused(found.shape, found.dtype, _TOO_MANY, lost=True)
            else:
                budget -= cost
        if isinstance(found, Refused):
            _refuse(name, found, outcome)
            continue
        outcome.tensors[name] = found
        if old in group.hints:
            outcome.hints[name] = group.hints[old]
    return budget


def _refuse(name: str, refused: Refused, outcome: _Outcome) -> None:
    """List a tensor that cannot be read; where there are very many the rest is only counted."""
    outcome.counts[_LOST, True] += refused.lost
    if outcome.counts[_LOST, True] > _LISTED_LOST and refused.lost:
        return
    outcome.left_out.append(LeftOut(name, refused.shape, refused.dtype, refused.reason, refused.lost))
    if refused.lost and len(outcome.problems) < _MAX_PROBLEMS:
        outcome.problems.append(f"{name}: {refused.reason}")


def _stripped(names: list[str], lightning: bool) -> list[str]:
    """Names without the prefixes of DataParallel, compilation and, for Lightning, the attribute that all share."""
    plain = [_ARTEFACTS.sub("", name) for name in names]
    if len(set(plain)) == len(names):
        names = plain
    for prefix, applies in (("module.", True), ("model.", lightning), ("net.", lightning)):
        if applies and names and all(name.startswith(prefix) and len(name) > len(prefix) for name in names):
            names = [name.removeprefix(prefix) for name in names]
    return names


def _leave_out(
    prefix: str, tensors: Mapping[str, TensorLike], reason: str, outcome: _Outcome, *, meant: bool = False
) -> None:
    """List tensors that are no weights of the model; from some number on they are only counted.

    `meant`: they may still matter to the model, so that one which cannot be read is lost.
    """
    for name, tensor in tensors.items():
        if meant and isinstance(refused := tensor.resolve(), Refused) and refused.lost:
            _refuse(prefix + name, refused, outcome)
            continue
        outcome.counts[reason, False] += 1
        if outcome.counts[reason, False] <= _LISTED:
            found = tensor.resolve()
            outcome.left_out.append(LeftOut(prefix + name, found.shape, found.dtype, reason))


def _counted(outcome: _Outcome) -> list[LeftOut]:
    """One line for those that were not listed."""
    return [
        LeftOut(f"({count - listed} more tensors)", (), "various", reason, lost)
        for (reason, lost), count in outcome.counts.items()
        if count > (listed := _LISTED_LOST if lost else _LISTED)
    ]


def _shortened(outcome: _Outcome) -> list[str]:
    more = outcome.counts[_LOST, True] - len(outcome.problems)
    return [*outcome.problems, *([f"{more} more tensors cannot be read"] if more > 0 else [])]


def _metadata(root: object, kept: list[Group]) -> dict[str, object]:
    """Plain values beside the weights, and the settings of optimizers."""
    if isinstance(root, Inert):
        return {"class": root.name} if is_module(root) else plain_values(root.attributes, frozenset())
    if type(root) is not dict:
        return {}
    containers = frozenset(group.path[0] for group in kept if group.path)
    values = {key: value for key, value in root.items() if not isinstance(value, TensorLike)}
    states = {key for key in values if type(key) is str and role_of(key) is not None}
    found = plain_values(values, containers | states)
    settings = []
    for key in values:
        if key in states and role_of(key) == "optimizer state":
            for state in root[key] if type(root[key]) is list else [root[key]]:
                settings.extend(optimizer_settings(state))
    if settings:
        found["param_groups"] = settings
    return found
