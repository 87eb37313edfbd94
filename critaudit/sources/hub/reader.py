"""Models by name: timm's, torchvision's and the Hugging Face hub's, from the hub's own cache or downloaded.

Only registered architectures of the installed packages are built, and only weights, indices and configurations are
downloaded: no code from a hub ever runs.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from critaudit.contents import Contents, Preprocessing
from critaudit.errors import SourceError, UnavailableError, UsageError
from critaudit.sources.hub.network import from_cache, hub_within_reach, quiet, reachable
from critaudit.sources.live.reader import read_live
from critaudit.sources.recognition.installed import known_names, surely_unknown

if TYPE_CHECKING:
    from torch import nn

_ADVICE = "try --random-weights to audit the untrained architecture, or give a file"


def read_timm(name: str, *, random_weights: bool = False, seed: int = 0) -> Contents:
    """timm's model `name` ("resnet18", "resnet18.a1_in1k"), pretrained, or untrained and seeded by `seed`.

    Raises UsageError where timm has no such model, UnavailableError where its weights cannot be had. The global random
    state is untouched.
    """
    label = f"timm:{name}"
    _check_name("timm", name, name.partition(".")[0])
    timm = _package("timm", label)
    with quiet():
        known = name.isascii() and "/" not in name and ":" not in name and timm.is_model(name)
    if not known:
        raise UsageError(f"{label}: timm has no such model; {_close(name, timm.list_models())}")
    weights, cached = ("random", False) if random_weights else _timm_weights(timm, name, label)
    with from_cache() if cached else nullcontext():
        module = _build(lambda: timm.create_model(name, pretrained=not random_weights), label, seed)
    return _described(module, name, "timm", weights, seed)


def _timm_weights(timm: Any, name: str, label: str) -> tuple[str, bool]:
    """The tag of the pretrained weights and whether they are cached, after making sure that they can be had quickly."""
    architecture, _, tag = name.partition(".")
    tags = [full.partition(".")[2] for full in timm.list_models(f"{architecture}.*", pretrained=True)]
    if tag and tag not in tags:
        raise UsageError(f"{label}: timm has no such weights; {_close(tag, tags, whole=True)}")
    config = timm.get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url or config.file):
        raise UnavailableError(f"{label}: timm has no pretrained weights for it; {_ADVICE}")
    cached = _timm_cached(config)
    if not cached and not (hub_within_reach() if config.hf_hub_id else reachable(str(config.url))):
        raise _offline(label)
    return str(config.tag or tag or "default"), cached


def _timm_cached(config: Any) -> bool:
    if config.file:
        return True
    if config.hf_hub_id:
        from huggingface_hub import try_to_load_from_cache

        repository, _, revision = str(config.hf_hub_id).partition("@")
        names = (config.hf_hub_filename, "model.safetensors", "pytorch_model.bin")
        return any(
            isinstance(try_to_load_from_cache(repository, name, revision=revision or None), str)
            for name in names
            if name
        )
    return _in_torch_cache(str(config.url))


def read_torchvision(name: str, *, random_weights: bool = False, seed: int = 0) -> Contents:
    """torchvision's model `name` ("resnet18"), with its default weights, or untrained and seeded by `seed`.

    Raises UsageError where torchvision has no such model, UnavailableError where its weights cannot be had or where the
    installed torchvision does not fit the installed torch.
    """
    label = f"torchvision:{name}"
    _check_name("torchvision", name, name)
    models = _package("torchvision.models", label)
    known = models.list_models()
    if name not in known:
        raise UsageError(f"{label}: torchvision has no such model; {_close(name, known)}")
    options = list(models.get_model_weights(name))
    default = models.get_model_weights(name).DEFAULT if options else None
    if not random_weights:
        if default is None:
            raise UnavailableError(f"{label}: torchvision has no weights for it; {_ADVICE}")
        if not _in_torch_cache(default.url) and not reachable(default.url):
            raise _offline(label)
        module = _build(lambda: models.get_model(name, weights=default, progress=False), label, seed)
        weights = str(default)
    else:
        # A detector's untrained body would otherwise bring a pretrained backbone of its own.
        takes = inspect.signature(models.get_model_builder(name)).parameters
        extra: dict[str, object] = {"weights_backbone": None} if "weights_backbone" in takes else {}
        if "init_weights" in takes:
            extra["init_weights"] = True
        module = _build(lambda: models.get_model(name, weights=None, **extra), label, seed)
        weights = "random"
    contents = _described(module, name, "torchvision", weights, seed)
    return _with_input(contents, None if default is None else _torchvision_input(default))


def _torchvision_input(weights: Any) -> Preprocessing | None:
    """The preprocessing of the weights' own transforms, for image classifiers."""
    with quiet():
        transform = weights.transforms()
    crop, resize = getattr(transform, "crop_size", None), getattr(transform, "resize_size", None)
    if not crop or not resize or not hasattr(transform, "mean"):
        return None
    interpolation = getattr(transform.interpolation, "value", "bilinear")
    return Preprocessing(
        shape=(3, int(crop[0]), int(crop[0])),
        mean=tuple(float(x) for x in transform.mean),
        std=tuple(float(x) for x in transform.std),
        interpolation=str(interpolation),
        crop=float(crop[0]) / float(resize[0]),
    )


def read_huggingface(name: str) -> Contents:
    """The repository `ORG/NAME` (or `ORG/NAME@REVISION`) of the Hugging Face hub, from its cache or downloaded.

    Only safetensors (or, where there are none, pickled weights for our inert reader), indices and configurations are
    fetched. Raises UsageError for a malformed name, UnavailableError where it cannot be had.
    """
    from critaudit.sources.folders.folder import read_folder
    from critaudit.sources.hub.repository import snapshot

    if not name:
        raise UsageError("no name after hf:; a name such as hf:ORG/NAME or hf:ORG/NAME@REVISION is expected")
    folder: Path = snapshot(name)
    contents = read_folder(folder)
    return replace(contents, format=f"Hugging Face hub, {contents.format}", metadata={**contents.metadata, "hub": name})


def _check_name(library: str, name: str, architecture: str) -> None:
    """Raise UsageError where there is no name or surely no such architecture, before the library is imported."""
    if not name:
        raise UsageError(f"no name after {library}:; a name such as {library}:resnet18 is expected")
    if surely_unknown(library, architecture):
        raise UsageError(f"{library}:{name}: {library} has no such model; {_close(name, known_names(library))}")


def _package(name: str, label: str) -> Any:
    """The installed package, or one line that says why it cannot be used."""
    try:
        with quiet():
            return importlib.import_module(name)
    except ImportError as error:
        raise UnavailableError(f"{label}: {name} cannot be imported ({error}); install it") from None
    except (RuntimeError, AttributeError, OSError) as error:  # what a torchvision built for another torch raises
        raise UnavailableError(
            f"{label}: the installed torchvision does not fit the installed torch ({error!s:.120}); "
            "install matching versions of both"
        ) from None


def _build(make: Any, label: str, seed: int) -> nn.Module:
    """Build a network without disturbing the caller's random state; library output is swallowed."""
    import torch

    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module: nn.Module = make()
            return module.eval()
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, ImportError, AssertionError) as error:
        # huggingface_hub's and urllib's errors are OSErrors or, by version, ValueErrors and RuntimeErrors.
        text = " ".join(str(error).split())[:200]
        raise UnavailableError(
            f"{label}: it cannot be built or its weights cannot be had ({type(error).__name__}: {text}); {_ADVICE}"
        ) from None


def _described(module: nn.Module, name: str, package: str, weights: str, seed: int) -> Contents:
    contents = read_live(module, name=f"{package}:{name}")
    said = f"{weights} (seed {seed})" if weights == "random" else weights
    return replace(
        contents,
        format=f"{package} model, {'untrained' if weights == 'random' else 'pretrained'}",
        architecture=name,
        metadata={**contents.metadata, "weights": said},
    )


def _with_input(contents: Contents, wanted: Preprocessing | None) -> Contents:
    if contents.runnable is None or wanted is None:
        return contents
    return replace(contents, runnable=replace(contents.runnable, input=wanted))


def _in_torch_cache(url: str) -> bool:
    from torch import hub

    return (Path(hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]).is_file()


def _offline(label: str) -> SourceError:
    return UnavailableError(
        f"{label}: the pretrained weights are not in the cache and the hub cannot be reached; {_ADVICE}"
    )


def _close(name: str, known: Sequence[str], *, whole: bool = False) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name[:80], known, n=4, cutoff=0.5) or (list(known[:6]) if whole else [])
    return f"did you mean {', '.join(close)}?" if close else "see its documentation for the names"
