"""What a model folder's config.json says: plain values for the report, and the nonlinearity of the hidden layers."""

from __future__ import annotations

import math
from pathlib import Path

from critaudit.contents import LeftOut
from critaudit.errors import SourceError
from critaudit.sources.folders.beside import open_beside
from critaudit.sources.folders.json_file import read_json_object
from critaudit.text import printable

MAX_CONFIG_BYTES = 4_000_000
_MAX_ITEMS = 200
_ACTIVATION_KEYS = ("hidden_act", "hidden_activation", "activation_function", "activation", "act_fn", "ffn_activation")
_INNER_CONFIGS = ("text_config", "vision_config", "encoder", "decoder", "audio_config")
# transformers' names → those of torch.nn.functional, where they differ.
_ACTIVATIONS = {
    "swish": "silu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_python": "gelu",
    "leakyrelu": "leaky_relu",
    "linear": "identity",
}


def read_config(folder: Path) -> tuple[dict[str, object], LeftOut | None]:
    """The configuration's plain values (with "activation" where one is named); a note where it cannot be read.

    An adapter's folder has an adapter_config.json instead (the scale of LoRA: lora_alpha, r).
    """
    name = next((name for name in ("config.json", "adapter_config.json") if (folder / name).exists()), None)
    if name is None:
        return {}, None
    try:
        config = read_json_object(open_beside(folder, name), limit=MAX_CONFIG_BYTES)
    except SourceError as error:
        return {}, LeftOut(name, (), "file", str(error))
    metadata: dict[str, object] = {}
    for key, value in list(config.items())[:_MAX_ITEMS]:
        if isinstance(value, str):
            metadata[printable(key, limit=80)] = printable(value, limit=200)
        elif isinstance(value, bool) or (
            isinstance(value, (int, float)) and abs(value) < 1e300 and math.isfinite(value)
        ):
            metadata[printable(key, limit=80)] = value
    alphas = config.get("alpha_pattern")  # LoRA's scale where a layer has its own
    for layer, value in list(alphas.items())[:_MAX_ITEMS] if isinstance(alphas, dict) else ():
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300:
            metadata[printable(f"alpha_pattern.{layer}", limit=400)] = value
    named = config.get("architectures")
    if isinstance(named, list) and named and isinstance(named[0], str):
        metadata["architecture"] = printable(named[0], limit=80)
    metadata.pop("activation", None)
    if (activation := activation_in(config)) is not None:
        metadata["activation"] = activation
    return metadata, None


def activation_in(config: dict[str, object]) -> str | None:
    """The hidden layers' nonlinearity in the words of torch.nn.functional, where the configuration names one."""
    for source in (config, *(config.get(key) for key in _INNER_CONFIGS)):
        if not isinstance(source, dict):
            continue
        for key in _ACTIVATION_KEYS:
            named = source.get(key)
            if isinstance(named, str) and len(named) <= 40 and named.isascii() and named.replace("_", "").isalnum():
                return _ACTIVATIONS.get(named.lower(), named.lower())
    return None
