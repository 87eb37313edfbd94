"""Names are refused without importing a library only where that is sure; a fresh process then imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest
import timm
from timm.models import _registry
from torchvision import models

from critaudit.sources.recognition import installed
from critaudit.sources.recognition.architectures import packaged_index
from critaudit.sources.recognition.installed import known_names, surely_unknown

LIBRARIES = ["timm", "torchvision"]


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a fresh process, where neither library is imported, and with an index of the installed versions."""
    versions = {library: metadata.version(library).partition("+")[0] for library in LIBRARIES}
    for library in LIBRARIES:
        monkeypatch.delitem(sys.modules, library)
    monkeypatch.setattr(installed, "indexed_version", versions.get)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["resnet19", "", "../resnet18", "hf_hub:org/name", "r\x1b[31m", "größe", "x" * 5000])
def test_names_that_the_library_does_not_have_are_surely_unknown(library: str, name: str) -> None:
    assert surely_unknown(library, name)


@pytest.mark.usefixtures("fresh")
def test_no_name_that_the_library_builds_is_refused() -> None:
    # GIVEN names of the index, and names that it leaves out: deprecated ones of timm, quantised ones of torchvision
    deprecated = sorted(set(_registry._model_entrypoints) - set(timm.list_models()))[::20]
    quantised = [name for name in models.list_models() if name.startswith("quantized_")]
    assert len(deprecated) > 5
    assert len(quantised) > 5
    # THEN none of them is refused
    assert not [name for name in [*known_names("timm")[::200], *deprecated] if surely_unknown("timm", name)]
    assert not [name for name in [*known_names("torchvision")[::20], *quantised] if surely_unknown("torchvision", name)]


@pytest.mark.usefixtures("fresh")
def test_another_version_than_the_indexs_may_know_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert surely_unknown("timm", "resnet19")
    monkeypatch.setattr(installed, "indexed_version", {"timm": "0.9.0"}.get)
    assert not surely_unknown("timm", "resnet19")
    assert not surely_unknown("torchvision", "resnet19")


@pytest.mark.usefixtures("fresh")
def test_an_imported_library_may_have_got_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", timm)
    assert not surely_unknown("timm", "resnet19")


def test_a_library_that_is_not_installed_is_not_judged() -> None:
    assert "keras_of_nobody" not in packaged_index().versions
    assert not surely_unknown("keras_of_nobody", "resnet19")


FRESH = """
import sys
from importlib import metadata
from critaudit.errors import UsageError
from critaudit.sources.hub.reader import read_timm, read_torchvision
from critaudit.sources.recognition import installed
from critaudit.sources.recognition.recognise import recognise
installed.indexed_version = lambda library: metadata.version(library).partition("+")[0]
for ask in (
    lambda: read_timm("resnet19.a1_in1k"),
    lambda: read_torchvision("resnet19"),
    lambda: recognise({}, arch="resnet19"),
    lambda: recognise({}, arch="timm:resnet19"),
):
    try:
        ask()
    except UsageError as error:
        print(error)
print(sorted({"torch", "timm", "torchvision"} & set(sys.modules)))
"""


def test_a_fresh_process_refuses_unknown_names_without_importing_the_libraries() -> None:
    run = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, timeout=120, check=True)
    *errors, imported = run.stdout.splitlines()
    assert len(errors) == 4
    assert all("did you mean" in error and "resnet1" in error for error in errors)
    assert imported == "[]"
