"""Which network is this? Names and shapes against the packaged index, else a chain of linear layers, else none.

Recognising needs no torch: layers and inputs of the known networks are in the index. A network is built, and torch
imported, when somebody runs it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from critaudit.contents import LayerHint, Runnable
from critaudit.errors import UsageError
from critaudit.model import Architecture
from critaudit.sources.recognition.architectures import HEAD, OPTIONAL, Index, Known, make_index, packaged_index
from critaudit.sources.recognition.chain import chain_hints, chain_runnable, check_activation, find_chain
from critaudit.sources.recognition.installed import surely_unknown
from critaudit.sources.recognition.instantiate import COUNTER, build_network, described, drop_classifier, load_weights
from critaudit.sources.recognition.matching import Match, Near, differences, match_names, match_order
from critaudit.tensors import FLOATS, TensorRef
from critaudit.text import printable

if TYPE_CHECKING:
    from torch import nn

# Fewer tensors than this are no network of the index; the smallest one has 16.
_MIN_TENSORS = 8
# Names of EfficientNet-PyTorch and its relatives, which hold weights ported from TensorFlow: timm's tf_… networks.
_PORTED_NAMES = ("_conv_stem.", "_bn0.", "_conv_head.")
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True, slots=True)
class Recognition:
    """What was recognised, how to run it, and the layers behind the source's tensors, by the source's names."""

    architecture: Architecture
    runnable: Runnable | None = None
    hints: dict[str, LayerHint] = field(default_factory=dict)


def recognise(
    tensors: Mapping[str, TensorRef], *, arch: str | None = None, activation: str | None = None
) -> Recognition:
    """Find the network that `tensors` belong to.

    `arch` names it ("timm:NAME", "torchvision:NAME" or NAME) where names and shapes do not tell. `activation` is the
    nonlinearity between the layers of a chain. Raises UsageError where `arch` is unknown or does not fit `tensors`, and
    where `activation` is unknown.
    """
    shapes = {
        name: tensor.shape for name, tensor in tensors.items() if tensor.dtype in FLOATS and not name.endswith(COUNTER)
    }
    if arch is not None:
        return _given(tensors, shapes, arch)
    near: Near | None = None
    if len(shapes) >= _MIN_TENSORS:
        index = packaged_index()
        matches, near = match_names(index, shapes)
        matches = matches or match_order(index, shapes)
        if matches:
            return _recognised(index, matches, tensors)
    return _chain_or_none(tensors, activation, near)


def _recognised(index: Index, matches: Sequence[Match], tensors: Mapping[str, TensorRef]) -> Recognition:
    """The best match; the others that fit as well are named in the detail."""

    def misfit(match: Match) -> tuple[int, bool, int]:
        return (len(match.extras), match.classes == 0, -len(match.mapping))

    best = min(map(misfit, matches))
    of_structure = {match.structure: match for match in matches if misfit(match) == best}
    candidates = [known for structure in of_structure for known in index.of_structure(structure)]
    ported = _is_ported(tensors)

    def preference(known: Known) -> tuple[bool, bool, bool, int, str]:
        match = of_structure[known.structure]
        return (
            ported and not known.name.startswith("tf_"),
            match.classes is not None and match.classes != known.classes,
            known.library != "torchvision",
            len(known.name),
            known.name,
        )

    candidates.sort(key=preference)
    chosen = candidates[0]
    match = of_structure[chosen.structure]
    detail = [_fit(index, match, chosen), *_others(candidates)]
    return _recognition(index, chosen, match, tensors, "recognised", detail)


def _is_ported(tensors: Mapping[str, TensorRef]) -> bool:
    return all(any(part in name for name in tensors) for part in _PORTED_NAMES)


def _given(tensors: Mapping[str, TensorRef], shapes: Mapping[str, tuple[int, ...]], arch: str) -> Recognition:
    index = packaged_index()
    known = _find(index, arch)
    if not known:
        index = _described_live(arch)
        known = list(index.networks)
    only = frozenset(one.structure for one in known)
    matches, _ = match_names(index, shapes, only=only)
    matches = matches or match_order(index, shapes, only=only)
    if not matches:
        count, first = differences(index, known[0].structure, shapes)
        total = len(index.tensor_names(known[0].structure))
        raise UsageError(f"--arch {arch} does not fit: {count} of {total} tensors differ; {first}")
    match = min(matches, key=lambda one: (len(one.extras), one.classes == 0))
    chosen = next(one for one in known if one.structure == match.structure)
    return _recognition(index, chosen, match, tensors, "given", [_fit(index, match, chosen)])


def _find(index: Index, arch: str) -> list[Known]:
    """The networks called `arch`, with or without library; the bare name of two libraries' networks means both."""
    return [known for known in index.networks if arch in (known.full_name, known.name)]


def _described_live(arch: str) -> Index:
    """An index of the one network `arch`, from a library newer than the packaged index. Raises UsageError."""
    library, _, name = arch.rpartition(":")
    if any(library in ("", one) and not surely_unknown(one, name) for one in ("timm", "torchvision")):
        from critaudit.sources.recognition.build_index import available, describe

        found = next((one for one in available() if one[1] == name and library in ("", one[0])), None)
        if found is not None:
            try:
                return make_index([describe(*found)], {})
            except (RuntimeError, TypeError, ValueError, AttributeError, KeyError) as error:
                raise UsageError(f"--arch {arch} cannot be built: {described(error)}") from None
    names = [known.full_name for known in packaged_index().networks]
    close = difflib.get_close_matches(arch, [*names, *(one.partition(":")[2] for one in names)], n=3, cutoff=0.6)
    hint = f"did you mean {', '.join(close)}?" if close else "give timm:NAME or torchvision:NAME"
    raise UsageError(f"--arch {arch}: no network is called that; {hint}")


def _recognition(
    index: Index, known: Known, match: Match, tensors: Mapping[str, TensorRef], how: str, detail: Sequence[str]
) -> Recognition:
    names = index.tensor_names(known.structure)
    layers = index.layer_hints(known.structure)
    hints = {match.mapping[name]: hint for name, hint in zip(names, layers, strict=True) if name in match.mapping}
    runnable = None
    words = list(detail)
    wants = known.input
    if wants is not None and _is_ported(tensors):
        # That package's documentation resizes the shorter side to the input size and normalises as for ImageNet.
        wants = replace(wants, mean=_IMAGENET[0], std=_IMAGENET[1], interpolation="bilinear", crop=1.0)
        words.append("images are prepared as documented for EfficientNet-PyTorch, whose names these are")
    if wants is None:
        words.append("it is not run, because it takes more than one input")
    else:
        runnable = Runnable(partial(_build, index, known, match, tensors), wants, dict(match.mapping))
    architecture = Architecture(known.full_name, "given" if how == "given" else "recognised", "; ".join(words))
    return Recognition(architecture, runnable, hints)


def _fit(index: Index, match: Match, known: Known) -> str:
    """What was matched and what differs, in words."""
    left_out = OPTIONAL | (HEAD if match.classes == 0 and known.classes == 0 else 0)
    flags = index.flags[index.entries(match.structure)]
    total = max(int(((flags & left_out) == 0).sum()), len(match.mapping))
    count = f"all {total}" if len(match.mapping) == total else f"{len(match.mapping)} of {total}"
    words = [f"{count} tensors have the same shapes, other names" if match.renamed else f"{count} tensors fit"]
    if match.prefix:
        words.append(f"under the prefix {printable(match.prefix, limit=80)}")
    if match.classes == 0 and known.classes != 0:
        words.append("without its classifier")
    elif match.classes is not None and match.classes != known.classes:
        words.append(f"with {match.classes} classes instead of {known.classes}")
    text = ", ".join(words)
    if match.extras:
        first = printable(match.extras[0], limit=80)
        text += f"; {len(match.extras)} more in the source do not belong to it (first: {first})"
    return text


def _others(candidates: Sequence[Known]) -> list[str]:
    """The networks that fit as well, those that compute the same and those that do not."""
    chosen, rest = candidates[0], candidates[1:]
    same = [one for one in rest if one.function is not None and one.function == chosen.function]
    other = [one for one in rest if one not in same]
    words = []
    if same:
        text = f"the same network is {_listed(same)}"
        if any(one.input != chosen.input for one in same):
            text += ", there with inputs of another size or normalisation"
        words.append(text)
    if other:
        sure = chosen.function is not None and all(one.function is not None for one in other)
        words.append(
            f"caveat: the tensors fit {_listed(other)} as well, which {'' if sure else 'may '}compute something else "
            "from them (activation, stride, padding or epsilon); --arch decides"
        )
    return words


def _listed(networks: Sequence[Known]) -> str:
    names = [one.full_name for one in networks]
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _chain_or_none(tensors: Mapping[str, TensorRef], activation: str | None, near: Near | None) -> Recognition:
    chain = find_chain(tensors)
    name = None if activation is None or chain is None else check_activation(activation)
    if chain is not None:
        text = f"{len(chain.layers)} linear layers {chain.text} that fit together, in the order of the file"
        if len(chain.layers) > 1 and name is None:
            detail = f"{text}; to run them, name the activation between them (--activation tanh)"
            return Recognition(Architecture(None, "chain", detail), None, chain_hints(chain, None))
        between = f", {name} between them" if len(chain.layers) > 1 else ""
        return Recognition(
            Architecture(None, "chain", f"{text}{between}; skip connections would not show in a file"),
            chain_runnable(chain, tensors, name or "identity"),
            chain_hints(chain, name),
        )
    detail = "no network of timm or torchvision has these tensors, and they are no chain of linear layers"
    if near is not None and 2 * near.differ <= near.total:
        closest = packaged_index().of_structure(near.structure)[0].full_name
        detail += f"; closest: {closest}, {near.differ} of {near.total} tensors differ"
    return Recognition(Architecture(None, "none", detail))


def _build(index: Index, known: Known, match: Match, tensors: Mapping[str, TensorRef]) -> nn.Module:
    """The network with the source's weights, in eval mode on the CPU. Raises SourceError where they cannot be had."""
    names = index.tensor_names(known.structure)
    flags = index.flags[index.entries(known.structure)].tolist()
    head = tuple(name for name, flag in zip(names, flags, strict=True) if flag & HEAD)
    optional = frozenset(name for name, flag in zip(names, flags, strict=True) if flag & OPTIONAL)
    headless = match.classes == 0
    if headless and known.library == "torchvision":
        network = build_network(known.library, known.name)
        drop_classifier(network, head)
    else:
        network = build_network(known.library, known.name, classes=match.classes)
    load_weights(network, {name: tensors[source] for name, source in match.mapping.items()}, optional=optional)
    return network
