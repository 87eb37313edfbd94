"""`critaudit phase`, as its users meet it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from critaudit.cli import main


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["phase", *arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def test_given_a_diagram_when_drawn_then_page_json_and_image_are_written_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, data, image = (tmp_path / name for name in ("p.html", "p.json", "p.png"))
    where = ("-o", str(page), "--json", str(data), "--png", str(image))

    status, out, err = run("--diagram", "spin-glass", "--points", "10", *where, "-q", capsys=capsys)

    assert (status, err) == (0, "")
    assert out.split() == [str(data), str(page), str(image)]
    document = json.loads(data.read_text())
    assert (document["source"]["format"], document["layers"]) == ("theory", [])
    assert "Square tanh layers" in page.read_text()
    assert image.read_bytes().startswith(b"\x89PNG")


def test_given_a_terminal_when_drawn_then_the_summary_has_the_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run("--diagram", "spin-glass", "--points", "10", "-o", str(tmp_path / "p.html"), capsys=capsys)

    assert status == 0
    assert "edge of chaos at J₀ = 2 J  1.73" in out
    assert "wrote" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--diagram", "alpha-g", "--activation", "relu"), "no alpha-g diagram for relu"),
        (("--png", "x.jpg"), ".png"),
        (("--diagram", "other"), "other"),
        (("--activation", "nothing"), "not known"),
        (("-o", "/no/such/p.html"), "no folder"),
    ],
)
def test_given_what_cannot_be_drawn_when_asked_then_one_line_says_so(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(*arguments, capsys=capsys)

    assert status == 2
    assert words in err
    assert err.count("\n") == 1
