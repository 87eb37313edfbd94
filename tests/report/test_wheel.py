"""What is installed from the wheel renders the page too: the templates travel inside the package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_RENDER = """
import sys
from pathlib import Path
import critaudit
from critaudit.report import Report, html
installed = Path(sys.argv[1])
assert Path(critaudit.__file__).is_relative_to(installed), critaudit.__file__
assert html.templates_folder() == installed / "critaudit" / "_templates"
assert (installed / "critaudit" / "report" / "schema.json").is_file()
assert (installed / "critaudit" / "py.typed").is_file()
Report.load(sys.argv[2]).to_html(sys.argv[3])
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, installed without dependencies into a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    run = [sys.executable, "-m"]
    quiet = {"check": True, "capture_output": True, "text": True, "timeout": 120}
    subprocess.run([*run, "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT], **quiet)  # type: ignore[call-overload]
    (wheel,) = folder.glob("critaudit-*.whl")
    target = folder / "site"
    subprocess.run([*run, "pip", "install", "--quiet", "--no-deps", "--target", target, wheel], **quiet)  # type: ignore[call-overload]
    return target


def test_given_an_installed_wheel_then_it_renders_the_same_page_as_the_checkout(
    installed: Path, tmp_path: Path
) -> None:
    from tests.report.make import small_report

    report = small_report(3)
    source, target = report.to_json(tmp_path / "report.json"), tmp_path / "report.html"

    environment = {**os.environ, "PYTHONPATH": str(installed)}
    subprocess.run(
        [sys.executable, "-W", "error", "-c", _RENDER, installed, source, target],
        check=True,
        cwd=tmp_path,
        env=environment,
        timeout=120,
    )

    expected = report.to_html(tmp_path / "expected.html")
    assert target.read_bytes() == expected.read_bytes()
