"""Colours hold: text at 4.5:1 and marks at 3:1 on their backgrounds, in both themes (WCAG 2.2 AA)."""

from __future__ import annotations

import re

import pytest

from critaudit.report.figures import style
from critaudit.report.html import templates_folder

KINDS = ("linear", "conv", "attention", "depthwise_conv", "transposed_conv", "embedding", "recurrent", "other")


def luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def palettes() -> dict[str, dict[str, str]]:
    css = (templates_folder() / "report.css").read_text(encoding="utf-8")
    blocks = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in re.findall(r"\{([^{}]*)\}", css)]
    light, system_dark, chosen_dark = [block for block in blocks if "paper" in block][:3]
    assert system_dark == chosen_dark
    return {"light": light, "dark": chosen_dark}


def test_given_black_and_white_then_the_contrast_is_21() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_given_a_theme_then_all_text_can_be_read(theme: str) -> None:
    palette = palettes()[theme]

    for background in ("paper", "panel", "soft"):
        for text in ("ink", "muted", "accent", "problem", "warning", "info"):
            assert contrast(palette[text], palette[background]) >= 4.5, (text, background)
    for severity in ("problem", "warning", "info"):
        assert contrast(palette[severity], palette[f"{severity}-soft"]) >= 4.5
        assert contrast(palette["ink"], palette[f"{severity}-soft"]) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_given_a_theme_then_marks_and_guides_can_be_seen(theme: str) -> None:
    panel = palettes()[theme]["panel"]

    for kind in KINDS:
        assert contrast(style.kind_style(kind)[0], panel) >= 3.0, kind
    assert contrast(style.GUIDE, panel) >= 3.0
    assert contrast(style.template(dark=theme == "dark")["layout"]["font"]["color"], panel) >= 4.5


def test_given_kinds_then_no_two_share_a_symbol_or_a_colour() -> None:
    assert len({style.kind_style(kind)[0] for kind in KINDS}) == len(KINDS)
    assert len({style.kind_style(kind)[1] for kind in KINDS}) == len(KINDS)
