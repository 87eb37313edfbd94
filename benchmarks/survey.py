"""What a survey costs beyond its audits, and whether the parent's memory stays flat.

    python benchmarks/survey.py [--models 100] [--tiny 1000]

Overhead: the wall time of a survey with one worker over the seconds that its workers spent on audits, reports and
pages: what is left is starting and ending processes, keeping results and telling of progress. On models of a second or
two, after the first one (whose worker waits for the imports). Memory: the
parent's resident size while 1,000 tiny models pass. Page: 1,000 models × 200 layers in headless Chromium, from opening
to ready, and a filter with its layout. Exits with 1 where a limit (5 %, 50 MB, 3 s, 200 ms) is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from critaudit.surveying import Progress, survey

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for tests.browser

_OVERHEAD, _GROWTH, _READY, _FILTER = 0.05, 50e6, 3000.0, 200.0
_FILTERING = """(() => { const field = document.querySelector('#layer-filter');
  return Math.max(...['9', '99', '', 'model'].map((text) => { const start = performance.now(); field.value = text;
    field.dispatchEvent(new Event('input')); document.body.offsetHeight; return performance.now() - start; })); })()"""


def _zoo(folder: Path, count: int, sides: tuple[int, ...]) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        layers = {
            f"{place}.weight": rng.standard_normal((side, side), dtype=np.float32) for place, side in enumerate(sides)
        }
        np.savez(folder / f"{index:05d}.npz", **layers)
    return folder


def _resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmRSS in /proc/self/status")


def overhead(scratch: Path, models: int) -> float:
    """(wall − work) / work over all models but the first."""
    folder = _zoo(scratch / "medium", models, (1024,) * 6)
    times: list[float] = []
    worked: list[float] = []

    def watch(progress: Progress) -> None:
        times.append(time.perf_counter())
        if progress.latest is not None:
            worked.append(progress.latest.worked)

    survey(folder, output=scratch / "medium-out", workers=1, progress=watch)
    work, wall = sum(worked[1:]), times[-1] - times[1]
    print(
        f"{models} models of {work / (models - 1):.2f} s: wall {wall:.1f} s, work {work:.1f} s, "
        f"{1e3 * (wall - work) / (models - 1):.0f} ms each beyond it"
    )
    return (wall - work) / work


def growth(scratch: Path, models: int) -> float:
    """Largest minus smallest resident size of this process after the first tenth of the models, in bytes."""
    sizes: list[int] = []

    def watch(progress: Progress) -> None:
        if progress.done >= models // 10:
            sizes.append(_resident())

    started = time.perf_counter()
    folder = _zoo(scratch / "tiny", models, (6, 5))
    found = survey(folder, output=scratch / "tiny-out", only=["edge"], progress=watch)
    sizes.append(_resident())
    seconds = time.perf_counter() - started
    print(f"{len(found)} tiny models: {seconds:.0f} s, {1e3 * seconds / models:.0f} ms each with 1 worker per core")
    return max(sizes) - min(sizes)


def page(scratch: Path) -> tuple[float, float]:
    """Milliseconds until the large page is ready, and of its slowest filter."""
    from critaudit.report import html
    from critaudit.surveying.page import render
    from tests.browser.chromium import chromium, find_chromium
    from tests.surveying.large import large

    executable = find_chromium()
    if executable is None:
        raise SystemExit("no Chromium was found: the page cannot be timed (--no-page leaves it out)")
    (scratch / "assets").mkdir()
    for name, text in html.assets().items():
        (scratch / "assets" / name).write_text(text, encoding="utf-8")
    (scratch / "index.html").write_text(render(large(), name="large"), encoding="utf-8")
    with chromium(executable) as browser:
        browser.size(1280, 900)
        browser.open(scratch / "index.html")
        ready = browser.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
        return float(ready), float(browser.evaluate(_FILTERING))


def main() -> int:
    """Run both and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--tiny", type=int, default=1000)
    parser.add_argument("--no-page", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        share = overhead(Path(scratch), options.models)
        more = growth(Path(scratch), options.tiny)
        ready, filtering = (0.0, 0.0) if options.no_page else page(Path(scratch))
    print(f"overhead {share:.1%} of the work (limit {_OVERHEAD:.0%})")
    print(f"parent's memory: {more / 1e6:.0f} MB between its extremes (limit {_GROWTH / 1e6:.0f} MB)")
    if not options.no_page:
        print(
            f"page of 1,000 models: ready after {ready:.0f} ms (limit {_READY:.0f}), filter {filtering:.0f} ms "
            f"(limit {_FILTER:.0f})"
        )
    return int(share > _OVERHEAD or more > _GROWTH or ready > _READY or filtering > _FILTER)


if __name__ == "__main__":
    raise SystemExit(main())
