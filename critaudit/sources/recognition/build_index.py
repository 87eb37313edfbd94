"""Builds the packaged index of networks: `python -m critaudit.sources.recognition.build_index [OUTPUT]`.

Every timm model and every torchvision model that is not quantised is built on the `meta` device, twice with different
numbers of classes and once without a classifier; nothing is downloaded. The whole run takes about half an hour on one
core and gives the same bytes for the same versions of torch, torchvision and timm.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from critaudit.contents import LayerHint, Preprocessing
from critaudit.sources.live.hints import hints_of
from critaudit.sources.recognition.architectures import (
    BUFFER,
    CLASSES,
    FILE,
    HEAD,
    OPTIONAL,
    Description,
    make_index,
    write_index,
)
from critaudit.sources.recognition.instantiate import COUNTER, build_network, described

if TYPE_CHECKING:
    from torch import nn

_ALL, _FEW = 1000, 7
_MADE_BUFFERS = ("relative_position_index", "relative_coords_table", "attention_bias_idxs", "attn_mask")
# Operations that move numbers without changing them; the same function may be written with other ones of these.
_MOVES = frozenset(
    {
        *("view", "reshape", "_reshape_alias", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze"),
        *("permute", "transpose", "t", "numpy_T", "expand", "repeat", "detach", "clone", "copy", "contiguous"),
        *("alias", "slice", "select", "split", "split_with_sizes", "unbind", "chunk", "lift_fresh", "_to_copy"),
        *("arange", "empty", "empty_like", "zeros", "zeros_like", "ones", "ones_like", "full"),
        *("new_zeros", "new_ones", "new_empty"),
    }
)


def available() -> Iterator[tuple[str, str]]:
    """(library, name) of every network that belongs into the index, in its order."""
    import timm
    from torchvision import models

    yield from (("torchvision", name) for name in sorted(models.list_models()) if not name.startswith("quantized_"))
    yield from (("timm", name) for name in sorted(timm.list_models()))


def describe(library: str, name: str) -> Description:
    """Build one network (several times, with different heads) and describe it. Raises what the library raises."""
    full, default_classes = _network(library, name, None), 0
    few = _try_network(library, name, _FEW)
    shapes = _shapes(full)
    if few is not None and set(_shapes(few)) != set(shapes):
        # Features only by default: the entry shows the classifier that other numbers of classes give it.
        full, head_classes = _network(library, name, _ALL), _ALL
        shapes = _shapes(full)
        few_shapes = _shapes(few)
    else:
        few_shapes = _shapes(few) if few is not None else shapes
        head_classes = default_classes = _class_count(shapes, few_shapes, name)
    none = _network(library, name, 0) if library == "timm" else None
    kept = set(_shapes(none)) if none is not None else {key for key in shapes if shapes[key] == few_shapes[key]}
    parameters = {key for key, _ in full.named_parameters(remove_duplicate=False)}
    hints = hints_of(full)
    given = _input_of(library, name, full)
    return Description(
        library=library,
        name=name,
        classes=default_classes,
        head_classes=head_classes,
        input=given,
        function=_function(full, given),
        names=tuple(shapes),
        shapes=tuple(shapes.values()),
        flags=tuple(
            (CLASSES if shape != few_shapes[key] else 0)
            | (HEAD if key not in kept else 0)
            | (OPTIONAL if key.rpartition(".")[2] in _MADE_BUFFERS else 0)
            | (BUFFER if key not in parameters else 0)
            for key, shape in shapes.items()
        ),
        hints=tuple(hints.get(key, LayerHint("Module", key.rpartition(".")[2])) for key in shapes),
    )


def _network(library: str, name: str, classes: int | None) -> nn.Module:
    try:
        return build_network(library, name, classes=classes, device="meta")
    except NotImplementedError:  # Its constructor computes with tensors (torchvision's RegNet).
        return build_network(library, name, classes=classes)


def _try_network(library: str, name: str, classes: int) -> nn.Module | None:
    try:
        return _network(library, name, classes)
    except TypeError:  # A network without classes (optical flow).
        return None


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {
        key: tuple(value.shape)
        for key, value in network.state_dict(keep_vars=True).items()
        if not key.endswith(COUNTER)
    }


def _class_count(shapes: dict[str, tuple[int, ...]], few: dict[str, tuple[int, ...]], name: str) -> int:
    """The default number of classes: each tensor that differs has k·classes rows, with its own k."""
    counts = set()
    for key, shape in shapes.items():
        if shape != few[key]:
            if shape[1:] != few[key][1:] or few[key][0] % _FEW:
                raise ValueError(f"{name}: {key} depends on the number of classes in an unknown way")
            counts.add(shape[0] * _FEW // few[key][0])
    if len(counts) > 1:
        raise ValueError(f"{name}: {sorted(counts)} classes at once")
    return counts.pop() if counts else 0


def _input_of(library: str, name: str, network: nn.Module) -> Preprocessing | None:
    if library == "torchvision":
        given = _torchvision_input(name)
        side = getattr(network, "image_size", None)  # Some weights are for larger images than the plain network.
        return replace(given, shape=(3, side, side)) if given is not None and isinstance(side, int) else given
    config: dict[str, Any] = dict(getattr(network, "pretrained_cfg", None) or {})
    return Preprocessing(
        shape=tuple(config.get("input_size") or (3, 224, 224)),
        mean=tuple(float(value) for value in config.get("mean") or (0.485, 0.456, 0.406)),
        std=tuple(float(value) for value in config.get("std") or (0.229, 0.224, 0.225)),
        interpolation=str(config.get("interpolation") or "bicubic"),
        crop=float(config.get("crop_pct") or 0.875),
        crop_mode=str(config.get("crop_mode") or "center"),
    )


def _torchvision_input(name: str) -> Preprocessing | None:
    """From the transforms of the default weights; detectors take any size and normalise themselves."""
    from torchvision import models

    # The first weights are those that most files in circulation come from.
    weights = next(iter(models.get_model_weights(name)))
    transforms = weights.transforms()
    kind = type(transforms).__name__
    if kind == "OpticalFlow":
        return None
    if kind == "ObjectDetection":
        return Preprocessing((3, 320, 320))
    crop = getattr(transforms, "crop_size", None) or [224]
    resize = getattr(transforms, "resize_size", None) or crop
    if kind == "SemanticSegmentation":
        crop = resize = [224]
    height, width = (crop[0], crop[-1])
    frames = (16,) if kind == "VideoClassification" else ()
    return Preprocessing(
        shape=(3, *frames, int(height), int(width)),
        mean=tuple(float(value) for value in transforms.mean),
        std=tuple(float(value) for value in transforms.std),
        interpolation=transforms.interpolation.value,
        crop=height / resize[0],
    )


def _function(network: nn.Module, given: Preprocessing | None) -> str | None:
    """Digest of the operations, with their numbers but without sizes, of a forward pass on the network's device."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    if given is None:
        return None
    digest = hashlib.sha256()

    class Listening(TorchDispatchMode):  # type: ignore[no-untyped-call]
        """Writes down each operation that changes numbers."""

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            operation = func.overloadpacket.__name__.rstrip("_")
            if operation not in _MOVES:
                digest.update(f"{operation}{_settings(args)}{_settings(tuple((kwargs or {}).values()))}\n".encode())
            return func(*args, **(kwargs or {}))

    if next(network.parameters()).device.type != "meta":
        network = network.to("meta")
    try:
        with torch.no_grad(), Listening():  # type: ignore[no-untyped-call]
            network(torch.zeros(1, *given.shape, device="meta"))
    except Exception:  # Library code on a device that computes nothing: it may raise anything, and None says so.
        return None
    return digest.hexdigest()[:8]


def _settings(values: tuple[Any, ...]) -> list[Any]:
    """The plain numbers among an operation's arguments: strides, paddings, epsilons."""
    found: list[Any] = []
    for value in values:
        if isinstance(value, (bool, int, float, str)):
            found.append(value)
        elif isinstance(value, (list, tuple)) and len(value) <= 3 and all(isinstance(one, int) for one in value):
            found.append(sorted(value))
    return found


def main() -> None:
    """Build the index and say what went in."""
    import timm
    import torch
    import torchvision

    torch.set_num_threads(1)
    target = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).with_name(FILE))
    started, descriptions = time.perf_counter(), []
    for position, (library, name) in enumerate(available()):
        try:
            descriptions.append(describe(library, name))
        except (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError, KeyError) as error:
            print(f"left out {library}:{name}: {described(error)}")
        if position % 50 == 0:
            print(f"{position:5d} {library}:{name} {time.perf_counter() - started:.0f} s", flush=True)
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "timm": timm.__version__}
    write_index(
        make_index(descriptions, {name: version.partition("+")[0] for name, version in versions.items()}), target
    )
    print("not traced:", *(f"{one.library}:{one.name}" for one in descriptions if one.function is None))
    print(f"{len(descriptions)} networks → {target}, {Path(target).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
