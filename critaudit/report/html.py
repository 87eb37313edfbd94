"""The report as one self-contained HTML page under a strict Content-Security-Policy."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from critaudit.errors import CritauditError
from critaudit.report import measures, page, verdict, wording
from critaudit.report.record import Report
from critaudit.report.writing import plain, to_dict
from critaudit.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment

# What could end a <script> element or start a comment in it. U+2028 and U+2029 are escaped as all that is not ASCII.
_SCRIPT_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
# plotly adds an empty <style> and fills it through the CSSOM; a policy by hash lets exactly the empty one in.
_EMPTY = ""
# plotly brings styles for maps along, unless an element of this name says that they are there. We draw no maps.
_STYLE_ID = re.compile(r'getElementById\("([0-9a-f]{64})"\)')


def render(report: Report, *, shared: str | None = None) -> str:
    """The whole page as text. Equal reports give equal pages. Raises CritauditError if the templates are missing.

    A page is complete in itself unless `shared` names the folder, relative to it, that holds `assets()`.
    """
    return framed(
        "report.html.j2",
        title=report.source.name,
        version=report.provenance.versions.get("critaudit", ""),
        figures=_figures(report),
        data=to_dict(report),
        shared=shared,
        report=report,
        view=page.view(report),
        sentences=verdict.sentences(report),
        counts=verdict.counts(report),
        parameters_noun=verdict.parameters_noun(report.coverage),
        findings=verdict.by_severity(report),
        guides=_guides(report),
        file_name=page.file_name(report),
    )


def framed(
    template: str, *, figures: list[dict[str, Any]], data: object, shared: str | None = None, **content: object
) -> str:
    """A page made of one of our templates in the common frame: policy, style, scripts, figures and data to save."""
    style, script, plotly = _asset("report.css"), _asset("report.js"), _plotly()
    names = dict(zip(("style_name", "script_name", "plotly_name"), assets(), strict=True))
    return (
        _environment()
        .get_template(template)
        .render(
            policy=_policy(
                styles=[_digest(text) for text in (style, _EMPTY)] if shared is None else ["'self'", _digest(_EMPTY)],
                scripts=[_digest(text) for text in (script, plotly)] if shared is None else ["'self'"],
            ),
            style=_markup(style),
            script=_markup(script),
            plotly=_markup(plotly),
            plotly_style_ids=_STYLE_ID.findall(plotly),
            figures=figures,
            figure_data=_json_for_script({"templates": _templates(), "figures": figures}),
            report_data=_json_for_script(data),
            shared=shared,
            **names,
            **content,
        )
    )


def assets() -> dict[str, str]:
    """Style, script and plotly's script, by file names that hold their digests: what many pages share."""
    return {
        f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}{ending}": text
        for stem, ending, text in (
            ("report", ".css", _asset("report.css")),
            ("report", ".js", _asset("report.js")),
            ("plotly", ".js", _plotly()),
        )
    }


def templates_folder() -> Path:
    """Where the page's templates are: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_templates", package.parent / "templates"):
        if (folder / "report.html.j2").is_file():
            return folder
    raise CritauditError(f"{package}: the report's templates are missing; install critaudit anew")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    """Autoescape on, undefined names are errors, and every string made printable on its way into the page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def finalize(value: object) -> object:
        return printable(value, limit=600) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=FileSystemLoader(templates_folder()),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=wording.number,
        count=wording.count,
        amount=wording.amount,
        size=wording.size,
        share=wording.share,
        dimensions=wording.shape,
        status=wording.status,
        shown=wording.value,
        interval=wording.interval,
        within=wording.within,
        with_interval=wording.with_interval,
        setting=_setting,
        breakable=_breakable,
        paragraph=_paragraph,
        code=_code,
        measure=measures.describe,
        analyzer=measures.analyzer,
    )
    environment.globals["plural"] = wording.plural
    return environment


def _setting(value: object) -> str:
    """A setting as text: strings as they are, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)


def _breakable(name: str) -> Any:
    """An identifier that wraps after its dots and underscores, and within a word only where it must."""
    from markupsafe import escape

    escaped = str(escape(printable(name, limit=600)))
    return _markup(re.sub(r"([._]+)(?=[^._])", r"\1<wbr>", escaped))


def _paragraph(text: str) -> Any:
    """A longer text of ours, such as a figure's caption, with what it quotes made printable."""
    from markupsafe import escape

    return escape(printable(text, limit=2000))


def _code(lines: object) -> Any:
    """Lines of code, each made printable: what is copied is what is seen."""
    from markupsafe import escape

    whole = lines if isinstance(lines, tuple) else (lines,)
    return escape("\n".join(printable(str(line), limit=2000) for line in whole))


def _guides(report: Report) -> list[tuple[str, str | None]]:
    """The analyzers in the report, each with its "how to read this" template, or None where it has none."""
    written = {path.name.removesuffix(".html.j2") for path in (templates_folder() / "analyzers").glob("*.html.j2")}
    return [(name, f"analyzers/{name}.html.j2" if name in written else None) for name in measures.analyzers(report)]


def _figures(report: Report) -> list[dict[str, Any]]:
    """Every figure without its template, which the page holds once; the title is the page's heading."""
    drawn = []
    for name in report.figures:
        spec = report.figures.spec(name)
        layout = {key: part for key, part in spec["layout"].items() if key not in ("title", "meta")}
        drawn.append({"name": name, "data": spec["data"], "layout": layout, **spec["layout"]["meta"]})
    return drawn


def _templates() -> dict[str, Any]:
    from critaudit.report.figures.style import template

    return {"light": template(dark=False), "dark": template(dark=True)}


def _json_for_script(data: object) -> Any:
    """`data` as JSON that no HTML parser takes for markup, whatever strings it holds."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return _markup(text.translate(_SCRIPT_ESCAPES))


def _policy(*, styles: list[str], scripts: list[str]) -> str:
    """Nothing may load or run but these texts or files; plotly's image export passes through blob: images."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(scripts)}",
            f"style-src {' '.join(styles)}",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return (templates_folder() / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _plotly() -> str:
    """The installed plotly's script. Line ends as the HTML parser sees them, or the policy's hash would not match."""
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script.replace("\r\n", "\n").replace("\r", "\n")


def _markup(text: str) -> Any:
    """`text` as is. Only for our own files and for what has been escaped."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704
