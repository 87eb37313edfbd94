"""A repository of the Hugging Face hub as a folder on this machine: weights, indices and configurations only."""

from __future__ import annotations

import glob
import re
from pathlib import Path

from critaudit.errors import SourceError, UnavailableError, UsageError
from critaudit.sources.folders.json_file import read_json_object
from critaudit.sources.folders.shards import MAX_INDEX_BYTES
from critaudit.sources.hub.network import hub_within_reach, quiet
from critaudit.tensors import RegularFile

_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?", re.ASCII)
_REVISION = re.compile(r"[\w.-][\w./-]{0,200}", re.ASCII)
_CONFIGURATIONS = ("config.json", "model_index.json", "adapter_config.json")
_VARIANT = re.compile(r"\.(fp16|bf16|fp32|non_ema|ema_only)[.-]")


def snapshot(name: str) -> Path:
    """The folder in the hub's cache that holds repository `name` ("ORG/NAME[@REVISION]"), downloaded if need be.

    Raises UsageError for a malformed name, UnavailableError where the repository cannot be had.
    """
    repository, revision = _parse(name)
    label = f"hf:{name}"
    try:
        import huggingface_hub
    except ImportError:
        raise UnavailableError(f"{label}: the package huggingface_hub is not installed") from None
    cached = _cached(repository, revision)
    if cached is not None:
        return cached
    if not hub_within_reach():
        raise UnavailableError(
            f"{label}: it is not in the cache and the hub cannot be reached; give a file or a folder"
        )
    try:
        with quiet():
            listed = huggingface_hub.HfApi().list_repo_files(repository, revision=revision)
            wanted = choose_files(listed)
            if not any(file.endswith((".safetensors", ".bin")) for file in wanted):
                raise UnavailableError(f"{label}: no safetensors or PyTorch weights are in this repository")
            patterns = [glob.escape(file) for file in wanted]
            return Path(
                huggingface_hub.snapshot_download(
                    repository, revision=revision, allow_patterns=patterns, etag_timeout=5, max_workers=4
                )
            )
    except (OSError, ValueError, RuntimeError) as error:  # the hub's errors derive from these, by version
        raise UnavailableError(f"{label}: {_explain(error)}") from None


def _parse(name: str) -> tuple[str, str | None]:
    repository, at, revision = name.partition("@")
    parts = repository.split("/")
    fits = 1 <= len(parts) <= 2 and all(
        _NAME.fullmatch(part) and ".." not in part and "--" not in part for part in parts
    )
    if not fits or (at and (not _REVISION.fullmatch(revision) or ".." in revision)):
        raise UsageError(f"hf:{name}: a name such as hf:ORG/NAME or hf:ORG/NAME@REVISION is expected")
    return repository, revision or None


def _cached(repository: str, revision: str | None) -> Path | None:
    """The cached snapshot, where it holds weights."""
    import huggingface_hub

    try:
        with quiet():
            folder = Path(huggingface_hub.snapshot_download(repository, revision=revision, local_files_only=True))
    except (OSError, ValueError, RuntimeError):  # not in the cache; the class differs by version
        return None
    has_weights = any(file.suffix in (".safetensors", ".bin") and file.is_file() for file in folder.rglob("*"))
    return folder if has_weights and not any(map(_lacks_shards, folder.rglob("*.index.json"))) else None


def _lacks_shards(index: Path) -> bool:
    """Whether a download of what the index lists was cut short."""
    try:
        places = read_json_object(RegularFile(index), limit=MAX_INDEX_BYTES).get("weight_map")
    except SourceError:
        return False  # the folder's reader says what is wrong with it
    shards = set(places.values()) if isinstance(places, dict) else set()
    return any(isinstance(shard, str) and not (index.parent / shard).exists() for shard in shards)


def choose_files(listed: list[str]) -> list[str]:
    """Of a repository's files, what is needed to audit it: one set of weights with its indices and configurations.

    >>> choose_files(["model.safetensors", "pytorch_model.bin", "modeling_x.py", "config.json"])
    ['config.json', 'model.safetensors']
    """
    safe = [
        file for file in listed if file.endswith((".safetensors", ".safetensors.index.json")) and file.count("/") <= 1
    ]
    pickled = [
        file
        for file in listed
        if re.fullmatch(
            r"(?:[^/]+/)?(pytorch_model|diffusion_pytorch_model|adapter_model)[\w.-]*\.bin(\.index\.json)?", file
        )
    ]
    chosen = safe or pickled
    top = [file for file in chosen if "/" not in file]
    pipeline = "model_index.json" in listed or not top
    chosen = ([file for file in chosen if "/" in file] or chosen) if pipeline else top
    plain = [file for file in chosen if not _VARIANT.search(file)] or chosen
    for whole in ("model.safetensors", "pytorch_model.bin"):
        if whole in plain:
            plain = [whole]
    if "model.safetensors.index.json" in plain:  # beside it, consolidated.*.safetensors hold the same weights again
        plain = [file for file in plain if file.startswith("model-") or file == "model.safetensors.index.json"]
    folders = {file.rpartition("/")[0] for file in plain} | {""}
    described = [
        file for file in listed if file.rpartition("/")[0] in folders and file.rpartition("/")[2] in _CONFIGURATIONS
    ]
    return sorted({*plain, *described})


def _explain(error: Exception) -> str:
    kind = type(error).__name__
    if kind == "GatedRepoError":
        return "this repository is gated; accept its terms on the hub and log in"
    if kind in ("RepositoryNotFoundError", "RevisionNotFoundError"):
        return "the hub has no such repository or revision, or it is private; check the name, or log in"
    return f"the hub could not deliver it ({kind}: {' '.join(str(error).split())[:200]})"
