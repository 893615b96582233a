"""The pictures that are compared, and how: ``python -m tests.unit.report.plot.pictures`` draws the
baseline anew.

Words are left out: they are tested as words, and their rendering differs between versions of
matplotlib. What remains is drawn small."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text

import correlator
from correlator.reconcile.analysis import Analysis
from correlator.report.plot import plot
from tests.altered import altered
from tests.unit.report.sessions import load, lossy, samples, tiled, with_log, without_counters

BASELINE = Path(__file__).parent / "baseline"
DPI = 56

Make = Callable[[Path], Figure]


def draw(analysis: Analysis, **chosen: Any) -> Figure:
    """A picture whose layout does not depend on how long the path of a temporary folder is."""
    return plot(altered(analysis, source="session"), **chosen)


PICTURES: dict[str, Make] = {
    "few": lambda folder: draw(load("published"), client="172.31.40.9"),
    "published": lambda folder: draw(load("published")),
    "published-dark": lambda folder: draw(load("published"), theme="dark"),
    "published-print": lambda folder: draw(load("published"), theme="print"),
    "lanes": lambda folder: draw(tiled(70), end="+140s"),
    "many": lambda folder: draw(tiled(70)),
    "many-print": lambda folder: draw(tiled(70), theme="print"),
    "gap": lambda folder: draw(correlator.load(lossy(folder / "gap"))),
    "replaced": lambda folder: draw(load("replaced")),
    "zeroed": lambda folder: draw(load("zeroed"), rules=["nat/DOCKER:2", "filter/DOCKER-USER:1"]),
    "late": lambda folder: draw(
        correlator.load(with_log(folder / "late", lambda text: "".join(samples(text)[4:22])))
    ),
    "no-counters": lambda folder: draw(correlator.load(without_counters(folder / "rules"))),
}


def render(figure: Figure, path: Path) -> Path:
    """Draw a figure without its words."""
    for text in figure.findobj(Text):
        text.set_visible(False)
    scale = 13 / figure.get_figwidth()  # the print theme is smaller on paper, and as large here
    figure.savefig(path, dpi=DPI * scale, facecolor=figure.get_facecolor())
    return path


def main() -> None:
    """Draw the baseline anew: to be looked at before it is committed."""
    from PIL import Image

    for name, make in PICTURES.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        with TemporaryDirectory() as folder:
            drawn = render(make(Path(folder)), Path(folder) / "picture.png")
            Image.open(drawn).convert("RGB").quantize(128).save(
                BASELINE / f"{name}.png", optimize=True
            )
            print(BASELINE / f"{name}.png", (BASELINE / f"{name}.png").stat().st_size)


if __name__ == "__main__":
    main()
