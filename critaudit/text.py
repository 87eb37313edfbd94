"""Names from files made safe to show: one gate for terminal, HTML, JSON and error messages."""

from __future__ import annotations

import hashlib
import unicodedata

# Cc control, Cf format (bidi, zero width), Cs surrogates, Co private use, Cn unassigned, Zl/Zp line separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def kind_of(value: object) -> str:
    """The name of the value's type with its indefinite article: "an int", "a dict", "an ndarray"."""
    name = type(value).__name__
    return f"{'an' if name == 'ndarray' or name[:1].lower() in tuple('aeio') else 'a'} {printable(name, limit=80)}"


def printable(text: str, *, limit: int = 200) -> str:
    r"""Return `text` with every invisible or control character as a visible escape, at most `limit` long.

    Escapes are Python's (`\x1b`, `\u202e`), so an ANSI sequence or a bidi override is shown, never obeyed. A text
    over the limit keeps its head and tail around a short digest, so that two long names stay distinguishable.

    >>> printable("evil\x1b[31m")
    'evil\\x1b[31m'
    """
    if text.isascii() and text.isprintable():
        shown = text
    else:
        shown = "".join(
            character.encode("unicode_escape").decode("ascii")
            if unicodedata.category(character) in _HIDDEN
            else character
            for character in text[: limit * 8]
        )
    if len(shown) <= limit and len(text) <= limit * 8:
        return shown
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    half = (limit - 12) // 2
    return f"{shown[:half]}…{digest}…{shown[-half:]}"
