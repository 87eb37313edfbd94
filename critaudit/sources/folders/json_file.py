"""Small JSON files beside a model, read with bounds: size, nesting, and one-line errors."""

from __future__ import annotations

import json
from typing import Any

from critaudit.errors import CorruptFileError, LimitExceededError
from critaudit.tensors import RegularFile
from critaudit.text import kind_of


def read_json_object(file: RegularFile, *, limit: int) -> dict[str, Any]:
    """The JSON object in `file`, which may have up to `limit` bytes.

    Raises LimitExceededError where it is longer or nested too deeply, CorruptFileError where it is no JSON object.
    """
    shown = file.path.name
    if file.size > limit:
        raise LimitExceededError(f"{shown}: {file.size} bytes, where at most {limit} can be expected")
    try:
        found = json.loads(bytes(file.read(0, file.size)).decode())
    except RecursionError:
        raise LimitExceededError(f"{shown}: it is nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, an integer with thousands of digits
        raise CorruptFileError(f"{shown}: it is not valid JSON: {error!s:.120}") from None
    if not isinstance(found, dict):
        raise CorruptFileError(f"{shown}: it holds {kind_of(found)}, where a JSON object is expected")
    return found
