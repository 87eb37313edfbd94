"""`package.module:factory`: a function that the user names is imported and called. This runs the user's code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from critaudit.contents import Contents
from critaudit.errors import SourceError, UsageError
from critaudit.sources.live.reader import read_live
from critaudit.text import kind_of, printable


def read_factory(source: str) -> Contents:
    """Import `package.module`, call its `factory()` without arguments and describe the module or state dict it returns.

    A module or mapping under that name is taken as it is. The current directory can be imported from while this runs,
    and nowhere else in critaudit. Raises UsageError where the name does not exist, SourceError where the code fails.
    """
    module_name, _, attribute = source.partition(":")
    with _importable_here():
        try:
            found = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
                raise UsageError(
                    f"{source}: no module {error.name} can be imported; run critaudit where it lies, or install it"
                ) from None
            raise SourceError(f"{source}: importing {module_name} failed: {_said(error)}") from None
        except (Exception, SystemExit) as error:  # the user's code ran: anything can come out of it
            raise SourceError(f"{source}: importing {module_name} failed: {_said(error)}") from None
        try:
            factory = getattr(found, attribute)
        except AttributeError:
            raise UsageError(f"{source}: {module_name} has no {attribute}; {_suggest(found, attribute)}") from None
        try:
            made = factory() if callable(factory) and not _is_model(factory) else factory
        except (Exception, SystemExit) as error:  # the user's code ran: anything can come out of it
            raise SourceError(f"{source}: calling {attribute}() failed: {_said(error)}") from None
    if not _is_model(made):
        raise SourceError(
            f"{source}: it gave {kind_of(made)}; a function that returns a module or a state dict is expected"
        )
    contents = read_live(made, name=source)
    return replace(contents, format=f"factory {printable(source, limit=80)} ({contents.format})")


@contextmanager
def _importable_here() -> Iterator[None]:
    """The current directory first in the import path, and the path as it was afterwards."""
    before, here = list(sys.path), str(Path.cwd())
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def _is_model(found: object) -> bool:
    from collections.abc import Mapping

    from torch import nn

    return isinstance(found, (nn.Module, Mapping))


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def _suggest(module: object, attribute: str) -> str:
    from difflib import get_close_matches

    names = [name for name in dir(module) if not name.startswith("_")]
    close = get_close_matches(attribute, names, n=3)
    return f"did you mean {', '.join(close)}?" if close else "check the name of the function"
