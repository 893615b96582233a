"""The live row."""

from __future__ import annotations

from correlator.capturing.panel import _fit


def test_parts_are_shown_whole() -> None:
    """A row that is too long loses whole parts at its end, and is never longer than the
    terminal."""
    text = "  1.4 s  340 packets  filter/FORWARD:1 37/s  nat/DOCKER:2 5/s"
    assert _fit(text, 100) == text
    assert _fit(text, len(text)) == text
    assert _fit(text, len(text) - 1) == "  1.4 s  340 packets  filter/FORWARD:1 37/s"
    assert _fit(text, 43) == "  1.4 s  340 packets  filter/FORWARD:1 37/s"
    assert all(len(_fit(text, width)) <= width for width in range(1, 80))
