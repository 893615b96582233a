"""Draw docs/images/plot-*.png from the shipped recordings: ``python docs/make_plots.py``. To be
looked at."""

from __future__ import annotations

import dataclasses
import io
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import correlator
from correlator.reconcile.analysis import Analysis
from correlator.report.plot import plot
from tests.unit.report.sessions import load, lossy, shift, tiled, with_log

IMAGES = Path(__file__).parent / "images"
COLOURS = 192


def draw(name: str, analysis: Analysis, source: str, dpi: int | None = None, **chosen: Any) -> None:
    """One picture, of few colours: what a page can carry."""
    data = io.BytesIO()
    figure = plot(dataclasses.replace(analysis, source=source), **chosen)
    figure.savefig(data, dpi=dpi or "figure", facecolor=figure.get_facecolor())
    path = IMAGES / f"plot-{name}.png"
    Image.open(data).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
        path, optimize=True
    )
    print(f"{path} {path.stat().st_size:,}")


def main() -> None:
    """All of them."""
    IMAGES.mkdir(exist_ok=True)
    published = load("published")
    draw("3", published, "captures/published", begin="+0.365s", end="+1.9s")
    draw("19", published, "captures/published")
    draw("dark", load("user"), "captures/user", theme="dark")
    draw("print", load("user"), "captures/user", dpi=200, theme="print")
    draw("300", tiled(16), "16 copies of captures/published")
    draw("3000", tiled(160), "160 copies of captures/published")
    draw("replaced", load("replaced"), "captures/replaced")
    draw("zeroed", load("zeroed"), "captures/zeroed", rules=["nat/DOCKER:2", "filter/FORWARD:3"])
    draw("client", published, "captures/published", client="172.31.40.9")
    with TemporaryDirectory() as folder:
        draw(
            "loss",
            correlator.load(lossy(Path(folder) / "loss")),
            "captures/published without 0.2 s of its packets",
        )
        ahead = with_log(Path(folder) / "ahead", lambda text: shift(text, 3_217_000_000))
        draw(
            "clock",
            correlator.load(ahead),
            "captures/published, counters 3.217 s ahead",
            rules=["filter/DOCKER-USER:1"],
        )


if __name__ == "__main__":
    main()
