"""Model folders: Hugging Face's (one file, shards, adapters), diffusers' (a folder per component), or one plain file.

Only weights, indices and configurations are opened. Code in the folder (`modeling_*.py`) is not imported, read or run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from critaudit.contents import Contents, LayerHint, LeftOut
from critaudit.errors import LimitExceededError, NotAModelError, SourceError
from critaudit.sources.folders.beside import open_beside
from critaudit.sources.folders.config import read_config
from critaudit.sources.folders.json_file import read_json_object
from critaudit.sources.folders.shards import numbered_shards, read_indexed, read_model_file, read_numbered
from critaudit.tensors import TensorRef
from critaudit.text import printable

MAX_ENTRIES = 10_000
_MODEL_ENDINGS = (
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".th",
    ".ckpt",
    ".tar",
    ".onnx",
    ".npz",
    ".npy",
    ".pt2",
    ".jit",
)
# In the order of preference: safetensors before pickles, whole files before shards.
_PREFERRED = (
    "model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors.index.json",
    "pytorch_model.bin",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.bin.index.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
)
# Components of a pipeline that have no weights.
_WEIGHTLESS = re.compile(r"Tokenizer|Scheduler|Processor|Extractor")
_NO_MODEL = {
    re.compile(r"training_args\.(bin|pt)"): "settings of the training run, not weights",
    re.compile(r"(optimizer|optim)[\w.-]*\.(pt|bin|pth)"): "optimizer state, not weights",
    re.compile(r"(scheduler|scaler)[\w.-]*\.(pt|bin|pth)"): "training state, not weights",
    re.compile(r"(rng_state|random_states)[\w.-]*\.(pth|pt|pkl)"): "state of random generators, not weights",
}


@dataclass(frozen=True, slots=True)
class _Listing:
    """The entries of a folder that matter."""

    files: tuple[str, ...]
    folders: tuple[str, ...]

    @property
    def models(self) -> list[str]:
        """Files that may hold weights: model files and indices, without training state."""
        return [name for name in self.files if _may_hold_weights(name) and _no_model(name) is None]


def read_folder(path: Path) -> Contents:
    """Describe the model in a folder.

    Of the same weights in two formats, safetensors are read and the others left out. Missing shards and tensors make a
    partial audit. Raises NotAModelError where the folder holds no weights, SourceError where it holds several models.
    """
    listing = _list(path)
    config, note = read_config(path)
    if "model_index.json" in listing.files:
        contents = _components(path, _named_components(path), listing)
    else:
        contents = _one_model(path, listing)
    left_out = contents.left_out if note is None else (*contents.left_out, note)
    kind = "Hugging Face folder" if config or "model_index.json" in listing.files else "folder"
    return replace(
        contents,
        format=f"{kind} ({contents.format})",
        left_out=left_out,
        metadata={**contents.metadata, **config},
    )


def _one_model(path: Path, listing: _Listing) -> Contents:
    models = listing.models
    chosen: str | tuple[list[str], list[str]] | None = next((name for name in _PREFERRED if name in models), None)
    if chosen is None:
        chosen = _only_choice(path, models)
    if chosen is None:
        contents = _in_subfolder(path, listing)
        used: set[str] = set()
    elif isinstance(chosen, tuple):
        contents, used = read_numbered(path, *chosen), set(chosen[0])
    elif chosen.endswith(".index.json"):
        contents = read_indexed(path, chosen)
        used = {chosen, *(name for name in models if _is_shard(name))}
    else:
        contents, used = read_model_file(open_beside(path, chosen)), {chosen}
    others = [*_others(listing, used, chosen if isinstance(chosen, str) else "the shards")]
    return replace(contents, left_out=(*contents.left_out, *others))


def _only_choice(path: Path, models: list[str]) -> str | tuple[list[str], list[str]] | None:
    """The one model file or the one set of numbered shards; None where there is none at this level."""
    whole = [name for name in models if not name.endswith(".index.json")]
    indices = [name for name in models if name.endswith(".index.json")]
    if len(indices) == 1:
        return indices[0]
    for ending in (".safetensors", ".bin"):
        shards = numbered_shards([name for name in whole if name.endswith(ending)])
        if shards is not None:
            return shards
    # Files that differ in their endings only are one model in several formats.
    if whole and len({name.rpartition(".")[0] for name in whole}) == 1:
        return min(whole, key=lambda name: (not name.endswith(".safetensors"), name))
    if whole:
        raise SourceError(
            f"{path.name or path}: {len(whole)} model files are in this folder ({_some(whole)}); give one of them, "
            f"for example {path / whole[0]}"
        )
    return None


def _others(listing: _Listing, used: set[str], chosen: str) -> Iterator[LeftOut]:
    """Why the folder's other model files were not read."""
    for name in listing.files:
        reason = _no_model(name)
        if reason is None and _may_hold_weights(name) and name not in used:
            safe = chosen.endswith((".safetensors", ".safetensors.index.json")) and not name.endswith(".safetensors")
            preferred = "safetensors are preferred" if safe and not name.endswith(".json") else f"{chosen} was read"
            reason = f"another model file: {preferred}"
        if reason is not None and name not in used:
            yield LeftOut(name, (), "file", reason)


def _in_subfolder(path: Path, listing: _Listing) -> Contents:
    """The model in the only sub-folder with weights."""
    found = [name for name in listing.folders if _list(path / name).models]
    if len(found) == 1:
        return _prefixed(path, found, missing=[])
    if found:
        raise SourceError(
            f"{path.name or path}: {len(found)} sub-folders hold models ({_some(found)}); give one of them, "
            f"for example {path / found[0]}"
        )
    seen = f"it has {_some(list(listing.files))}" if listing.files else "it is empty"
    raise NotAModelError(f"{path.name or path}: no model file is in this folder; {seen}")


def _named_components(path: Path) -> dict[str, str]:
    """The components that a diffusers pipeline lists, with their classes: model_index.json has [library, class]."""
    index = read_json_object(open_beside(path, "model_index.json"), limit=4_000_000)
    return {
        name: value[1]
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)
    }


def _components(path: Path, named: dict[str, str], listing: _Listing) -> Contents:
    missing = [name for name, kind in named.items() if name not in listing.folders and not _WEIGHTLESS.search(kind)]
    contents = _prefixed(path, [name for name in named if name in listing.folders], missing=missing)
    others = _others(listing, set(), "the components")
    return replace(contents, left_out=(*contents.left_out, *others))


def _prefixed(path: Path, components: list[str], *, missing: list[str]) -> Contents:
    """The models in sub-folders, their tensors' names with the sub-folder in front; `missing` are absent components."""
    tensors: dict[str, TensorRef] = {}
    left_out: list[LeftOut] = []
    hints: dict[str, LayerHint] = {}
    metadata: dict[str, object] = {}
    problems = [f"{printable(name, limit=80)}: this component's folder is missing" for name in missing]
    left_out += [LeftOut(name, (), "folder", "this component is missing", lost=True) for name in missing]
    formats: set[str] = set()
    for name in components:
        folder = path / name
        inner = _list(folder)
        if not inner.models:
            if "config.json" in inner.files:  # tokenizers and schedulers have configurations of other names
                problems.append(f"{printable(name, limit=80)}: this component has no weights")
                left_out.append(LeftOut(name, (), "folder", "this component has no weights", lost=True))
            continue
        try:
            contents = _one_model(folder, inner)
        except SourceError as error:
            problems.append(f"{printable(name, limit=80)}: {error}")
            left_out.append(LeftOut(name, (), "folder", str(error), lost=True))
            continue
        config, note = read_config(folder)
        tensors |= {f"{name}.{key}": ref for key, ref in contents.tensors.items()}
        hints |= {f"{name}.{key}": hint for key, hint in contents.hints.items()}
        metadata |= {f"{name}.{key}": value for key, value in {**contents.metadata, **config}.items()}
        items = contents.left_out if note is None else (*contents.left_out, note)
        left_out += [replace(item, name=f"{name}.{item.name}") for item in items]
        problems += [f"{name}: {problem}" for problem in contents.problems]
        formats.add(contents.format)
        if len(components) == 1 and "activation" in config:
            metadata["activation"] = config["activation"]
    if not tensors:
        raise NotAModelError(f"{path.name or path}: no weights are in its sub-folders; {'; '.join(problems[:3])}")
    kind = f"{' and '.join(sorted(formats))}, {len(components)} sub-folders"
    return Contents(kind, tensors, tuple(left_out), tuple(problems), hints, metadata)


def _list(path: Path) -> _Listing:
    files: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(path) as entries:
            for count, entry in enumerate(entries):
                if count >= MAX_ENTRIES:
                    raise LimitExceededError(
                        f"{path.name}: more than {MAX_ENTRIES} entries; give the model file itself"
                    )
                if entry.name.startswith("."):
                    continue
                (folders if entry.is_dir(follow_symlinks=False) else files).append(entry.name)
    except OSError as error:
        raise SourceError(f"{path}: this folder cannot be read: {error.strerror}") from None
    return _Listing(tuple(sorted(files)), tuple(sorted(folders)))


def may_be_a_model(name: str) -> bool:
    """Whether a file of this name may hold a model of its own, as far as its name tells."""
    return name.endswith(_MODEL_ENDINGS) and _no_model(name) is None


def holds_one_model(files: list[str]) -> bool:
    """Whether a folder with these files is one model (Hugging Face's, diffusers', shards), not a place of many."""
    if "model_index.json" in files or any(name in _PREFERRED or name.endswith(".index.json") for name in files):
        return True
    models = [name for name in files if may_be_a_model(name)]
    if "config.json" in files and len(models) == 1:
        return True
    return bool(models) and numbered_shards(models) is not None


def _may_hold_weights(name: str) -> bool:
    return name.endswith((*_MODEL_ENDINGS, ".safetensors.index.json", ".bin.index.json"))


def _no_model(name: str) -> str | None:
    return next((reason for pattern, reason in _NO_MODEL.items() if pattern.fullmatch(name)), None)


def _is_shard(name: str) -> bool:
    return re.search(r"-\d{5}-of-\d{5}\.\w+$", name) is not None


def _some(names: list[str]) -> str:
    shown = ", ".join(printable(name, limit=60) for name in names[:6])
    return shown + (f" and {len(names) - 6} more" if len(names) > 6 else "")
