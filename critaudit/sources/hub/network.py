"""The network, asked quickly and quietly: is a hub within reach, and no library output while one is used."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import ssl
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator

PROBE_SECONDS = 5.0
_TRANSFER_SECONDS = 10.0


def reachable(url: str) -> bool:
    """Whether the server of `url` answers within 5 s (through the proxy that the environment names, if any).

    Asked once before a hub library tries: these retry for half a minute on an unreachable server. A server that
    refuses the request is there; a certificate that Python's own store does not know is left to the library to judge.
    """
    if not url.startswith(("https://", "http://")):
        return False
    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "critaudit"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):  # noqa: S310 - http and https only, see above
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except urllib.error.URLError as error:
        return isinstance(error.reason, ssl.SSLError)
    except (OSError, ValueError):
        return False


def hub_within_reach() -> bool:
    """Whether the Hugging Face hub answers, and the user has not asked its library to stay offline."""
    from huggingface_hub import constants

    return not constants.is_offline_mode() and reachable(constants.ENDPOINT)


@contextlib.contextmanager
def from_cache() -> Iterator[None]:
    """Hugging Face's library uses its cache without asking the network whether there is something newer."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warnings, log lines, progress bars or prints of libraries, and short timeouts; all is restored after."""
    level, timeout = logging.root.manager.disable, socket.getdefaulttimeout()
    logging.disable(logging.CRITICAL)
    socket.setdefaulttimeout(_TRANSFER_SECONDS)
    swallowed = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stderr(swallowed),
            contextlib.redirect_stdout(swallowed),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        socket.setdefaulttimeout(timeout)
