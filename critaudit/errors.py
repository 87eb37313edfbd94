"""The errors that critaudit raises on purpose.

Each message is one line: what was found, what was expected, what to try.
"""

from __future__ import annotations

from critaudit.text import printable


class CritauditError(Exception):
    """Base of every error that critaudit raises on purpose.

    The message is made printable here, so that no name out of a hostile file can reach a terminal raw.
    `exit_code` is the command line's exit status when the error ends the run.
    """

    exit_code = 3

    def __init__(self, message: str) -> None:
        super().__init__(printable(message, limit=600))


class UsageError(CritauditError):
    """The request cannot be understood: an unknown option value, a name that does not exist."""

    exit_code = 2


class SourceError(CritauditError):
    """The source cannot be audited: missing, unreadable, no model, damaged, hostile or out of reach."""


class NotAModelError(SourceError):
    """The file is intact as far as we can see, but holds no weights that critaudit knows how to read."""


class CorruptFileError(SourceError):
    """The file contradicts itself: truncated, bad checksum, offsets that point outside, cyclic structure."""


class LimitExceededError(SourceError):
    """Reading on would take more memory or time than a file of this size can honestly ask for."""


class UnavailableError(SourceError):
    """Something that the source needs is not here: a hub without network, an optional package."""
