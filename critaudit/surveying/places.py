"""Where a survey's files are: a local folder, or any place that fsspec can write (s3://…, gs://…, memory://…)."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from critaudit.errors import CritauditError, UsageError
from critaudit.text import printable


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


_UMASK = _umask()  # once, while there are no threads


class StoreError(CritauditError):
    """The place of a survey's results refuses to be read or written: full, gone, not ours."""


class Place(Protocol):
    """Named files in folders one deep. A write is whole or not there; nothing else is asked of a place."""

    label: str

    def read(self, name: str) -> bytes:
        """The content of `name`. Raises StoreError."""

    def write(self, name: str, content: bytes) -> None:
        """Make `name` hold `content`, atomically. Raises StoreError."""

    def take(self, name: str, local: Path) -> None:
        """Make `name` hold what the local file holds, which may be moved. Raises StoreError."""

    def names(self, folder: str) -> list[str]:
        """The files in `folder`, sorted, without the folder's name; empty where there is none. Raises StoreError."""

    def delete(self, name: str) -> None:
        """Remove `name` if it is there. Raises StoreError."""

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Be the only survey that writes here. Raises UsageError where another one does."""


def place_at(output: str | os.PathLike[str]) -> Place:
    """The place that a path or URL names; the folder is made. Raises StoreError where that fails."""
    text = os.fspath(output)
    return RemotePlace(text) if "://" in text else LocalPlace(Path(text))


class LocalPlace:
    """A folder on this machine. Files are written beside their place and moved there when they are on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.label = printable(str(folder))
        with self._speaking("made"):
            folder.mkdir(parents=True, exist_ok=True)
        self._clear()

    def read(self, name: str) -> bytes:
        """See Place."""
        with self._speaking(f"read ({name})"):
            return (self.folder / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """See Place."""
        target = self.folder / name
        with self._speaking(f"written ({name})"):
            target.parent.mkdir(exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=".part-", dir=target.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).chmod(0o666 & ~_UMASK)  # mkstemp's are for their owner only
                Path(temporary).replace(target)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(temporary).unlink()
                raise

    def take(self, name: str, local: Path) -> None:
        """See Place. The file is moved where both are on one disk."""
        target = self.folder / name
        with self._speaking(f"written ({name})"):
            target.parent.mkdir(exist_ok=True)
            try:
                local.replace(target)
                return
            except OSError:
                pass  # another disk: copied below
        self.write(name, local.read_bytes())

    def names(self, folder: str) -> list[str]:
        """See Place."""
        with self._speaking(f"listed ({folder})"):
            try:
                return sorted(entry.name for entry in os.scandir(self.folder / folder) if entry.name[0] != ".")
            except FileNotFoundError:
                return []

    def delete(self, name: str) -> None:
        """See Place."""
        with self._speaking(f"cleared ({name})"):
            (self.folder / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """See Place. The kernel gives the lock back when the process ends, however it ends."""
        try:
            import fcntl
        except ImportError:  # not on Windows
            yield
            return
        with self._speaking("locked"):
            file = (self.folder / ".lock").open("a+")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                holder = printable(file.read(40).strip() or "?")
                raise UsageError(
                    f"{self.label}: another survey (process {holder}) is writing here; wait for it, or name "
                    "another folder"
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield

    def _clear(self) -> None:
        """Remove what a killed survey was in the middle of writing."""
        for part in (*self.folder.glob(".part-*"), *self.folder.glob("*/.part-*")):
            with contextlib.suppress(OSError):
                part.unlink()

    @contextlib.contextmanager
    def _speaking(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{self.label}: it cannot be {doing}: {error.strerror or error}; what is there already is whole: "
                "mend the place and run the same command again"
            ) from error


class RemotePlace:
    """A folder behind a URL. Object stores put whole objects or nothing; two surveys at once do the work twice.

    Plain file systems behind fsspec (sftp://, a mounted file://) may show a half-written file if they break in the
    middle; results carry their digest in their name, so that such a file is noticed and computed again.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.label = printable(url)
        try:
            self._files, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UsageError(
                f"{self.label}: fsspec cannot open this place ({error}); name a folder or install it"
            ) from None
        self._root = str(root).rstrip("/")
        with self._speaking("made"):
            self._files.makedirs(self._root, exist_ok=True)

    def read(self, name: str) -> bytes:
        """See Place."""
        with self._speaking(f"read ({name})"):
            content: bytes = self._files.cat_file(f"{self._root}/{name}")
            return content

    def write(self, name: str, content: bytes) -> None:
        """See Place."""
        with self._speaking(f"written ({name})"):
            self._parent(name)
            self._files.pipe_file(f"{self._root}/{name}", content)

    def take(self, name: str, local: Path) -> None:
        """See Place."""
        with self._speaking(f"written ({name})"):
            self._parent(name)
            self._files.put_file(os.fspath(local), f"{self._root}/{name}")

    def names(self, folder: str) -> list[str]:
        """See Place."""
        with self._speaking(f"listed ({folder})"):
            self._files.invalidate_cache()
            try:
                entries: list[Any] = self._files.ls(f"{self._root}/{folder}", detail=False)
            except FileNotFoundError:
                return []
            return sorted(str(entry).rpartition("/")[2] for entry in entries)

    def delete(self, name: str) -> None:
        """See Place."""
        with self._speaking(f"cleared ({name})"), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(f"{self._root}/{name}")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """No lock: see the class."""
        yield

    def _parent(self, name: str) -> None:
        if "/" in name:
            self._files.makedirs(f"{self._root}/{name.rpartition('/')[0]}", exist_ok=True)

    @contextlib.contextmanager
    def _speaking(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{self.label}: it cannot be {doing}: {error}; what is there already is whole: "
                "mend the place and run the same command again"
            ) from error
