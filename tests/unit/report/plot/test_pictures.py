"""The pictures themselves: as they were looked at, legible, the same every time, and safe from what
names hold."""

from __future__ import annotations

import base64
import itertools
import warnings
from pathlib import Path

import nbformat
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.testing.compare import compare_images
from matplotlib.testing.exceptions import ImageComparisonFailure
from matplotlib.text import Text
from nbclient import NotebookClient

from correlator.errors import InputError
from correlator.report.plot import plot, save
from correlator.report.plot.theme import MARKERS, THEMES
from tests.altered import altered
from tests.conftest import CAPTURES
from tests.unit.report.plot.pictures import BASELINE, PICTURES, render
from tests.unit.report.sessions import load

TOLERANCE = 2.0
"""Root mean square of the difference of 8-bit pixels. Between matplotlib 3.7 and 3.11 it is at most
0.7; the pictures are mostly paper, so that even a small part that is missing is more: see the tests
that the comparison can fail."""


@pytest.mark.parametrize("name", list(PICTURES))
def test_pictures_look_as_they_did(name: str, tmp_path: Path) -> None:
    """Every kind of picture equals the one that was looked at when it was committed."""
    drawn = render(PICTURES[name](tmp_path), tmp_path / f"{name}.png")
    assert compare_images(str(BASELINE / f"{name}.png"), str(drawn), TOLERANCE) is None


@pytest.mark.parametrize(
    ("name", "other"), [("gap", "published"), ("published", "published-dark"), ("lanes", "many")]
)
def test_the_comparison_would_notice(name: str, other: str, tmp_path: Path) -> None:
    """Another theme, another form, or another height is no match: the comparison can fail."""
    drawn = render(PICTURES[name](tmp_path), tmp_path / "drawn.png")
    try:
        found = compare_images(str(BASELINE / f"{other}.png"), str(drawn), TOLERANCE)
    except ImageComparisonFailure as error:  # pictures of different sizes
        found = str(error)
    assert found is not None


def test_the_comparison_would_notice_a_hidden_gap(tmp_path: Path) -> None:
    """The picture of a loss without its red is no match, though nothing else changed."""
    figure = PICTURES["gap"](tmp_path)
    red = [
        artist
        for artist in figure.axes[0].collections
        if artist.get_hatch() or artist.get_alpha() == 0.16
    ]
    assert red
    for artist in red:
        artist.set_visible(False)
    drawn = render(figure, tmp_path / "drawn.png")
    assert compare_images(str(BASELINE / "gap.png"), str(drawn), TOLERANCE) is not None


def boxes(figure: Figure) -> list[tuple[str, float, float, float, float]]:
    """(text, left, bottom, right, top) in inches of every word of a figure."""
    figure.set_dpi(min(figure.dpi, 200))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    found = []
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip():
            box = text.get_window_extent(canvas.get_renderer())
            found.append(
                (
                    text.get_text(),
                    *(float(edge) / figure.dpi for edge in (box.x0, box.y0, box.x1, box.y1)),
                )
            )
    return found


@pytest.mark.parametrize("theme", ["light", "print"])
@pytest.mark.parametrize(
    "name", ["few", "published", "gap", "replaced", "late", "many", "user", "balance"]
)
def test_no_words_overlap_or_are_cut(
    name: str, theme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the screen and on paper all words lie on the sheet, no two of them over one another (dark
    is laid out as light is)."""
    monkeypatch.setattr(
        "tests.unit.report.plot.pictures.plot",
        lambda analysis, **chosen: plot(analysis, **{**chosen, "theme": theme}),
    )
    figure = PICTURES[name](tmp_path) if name in PICTURES else plot(load(name), theme=theme)
    words = boxes(figure)
    assert len(words) > 20
    wide, tall = figure.get_size_inches()
    for text, left, bottom, right, top in words:
        assert (left >= 0, bottom >= 0, right <= wide + 0.02, top <= tall) == (True,) * 4, text
    slack = 0.02  # the box of a line holds room for letters that it does not have
    for (a, *one), (b, *two) in itertools.combinations(words, 2):
        across = min(one[2], two[2]) - max(one[0], two[0])
        along = min(one[3], two[3]) - max(one[1], two[1])
        assert across <= slack or along <= slack, (a, b)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_same_session_gives_the_same_bytes(ending: str, tmp_path: Path) -> None:
    """Drawn twice, a picture is the same file: no dates, no random names."""
    for name in ("one", "two"):
        save(plot(load("published")), tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()


def test_names_stay_text(tmp_path: Path) -> None:
    """A container's name, a rule's comment and a warning may hold what matplotlib or a font cannot
    take: it is drawn as text, or as a box, without a warning of ours on the terminal."""
    whole = load("published")
    odd = 'a $x^2$ \\frac{1}{0} <script> % _ {} 日本語 "\n\tb'
    rules = {
        str(rule): f'-m comment --comment "{odd}" {rule}'
        for rule in whole.rules["rule"].cat.categories
        if rule != "policy"
    }
    tables = {
        name: getattr(whole, name).assign(
            rule=getattr(whole, name)["rule"].cat.rename_categories(
                lambda rule: rules.get(str(rule), str(rule))
            )
        )
        for name in ("rules", "hits", "ledger")
    }
    strange = altered(
        whole,
        containers={"172.17.0.2": odd, "172.31.32.1": odd},
        warnings=(odd, "lost " * 300),
        source=odd,
        **tables,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plot(strange)
        save(figure, tmp_path / "odd.svg")
        save(figure, tmp_path / "odd.pdf")
    assert any("$x^2$" in text and "□" in text for text, *_ in boxes(figure))
    wide = figure.get_size_inches()[0]
    assert all(right <= wide for _, _, _, right, _ in boxes(figure))


def test_losses_are_said_in_the_picture() -> None:
    """Warnings stand in the picture, and of many how many more there are."""
    whole = load("published")
    few = altered(whole, warnings=("eth0 lost 312 frames: their hits are residuals",))
    assert any(
        text == "Warning: eth0 lost 312 frames: their hits are residuals"
        for text, *_ in boxes(plot(few))
    )
    many = altered(whole, warnings=tuple(f"loss {i}" for i in range(40)))
    words = [text for text, *_ in boxes(plot(many))]
    assert "Warning: loss 0" in words
    assert any("34 more warnings" in text for text in words)


def test_the_clock_is_said_in_the_picture() -> None:
    """The offset and its bounds stand below every picture."""
    assert any(
        text.startswith("Clock: counters and packets agree (offset 0; between ")
        for text, *_ in boxes(plot(load("user")))
    )


def test_outcomes_differ_in_shape_as_in_colour() -> None:
    """Colours are no channel of their own: of any two outcomes of one colour, the shapes differ;
    and of all, the shapes do."""
    assert len(set(MARKERS.values())) == len(MARKERS)
    for theme in THEMES.values():
        assert set(theme.outcomes) == set(MARKERS)


@pytest.mark.parametrize("theme", list(THEMES))
def test_colours_are_told_apart_without_red_or_green(theme: str) -> None:
    """DNAT, MASQUERADE, docker-proxy, local, dropped and the gap's red differ for people who do not
    see red or green (simulated after Viénot, Brettel and Mollon 1999), but for drop and gap, which
    differ by shape and pattern."""
    chosen = THEMES[theme]
    names = ("DNAT", "MASQUERADE", "docker-proxy", "local", "dropped")
    for blind in (PROTANOPIA, DEUTERANOPIA):
        seen = {name: _seen(chosen.outcomes[name], blind) for name in names}
        for a, b in itertools.combinations(names, 2):
            assert sum((x - y) ** 2 for x, y in zip(seen[a], seen[b], strict=True)) ** 0.5 > 24, (
                a,
                b,
            )


PROTANOPIA = ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0))
DEUTERANOPIA = ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0))
"""Linear RGB to linear RGB, rows of the published matrices."""


def _seen(colour: str, matrix: tuple[tuple[float, ...], ...]) -> list[float]:
    """8-bit sRGB as such a person sees it."""
    linear = [(int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5)]
    return [
        255 * max(sum(m * c for m, c in zip(row, linear, strict=True)), 0.0) ** (1 / 2.2)
        for row in matrix
    ]


def test_a_theme_that_is_none_is_refused() -> None:
    """Unknown themes are refused with what there is."""
    with pytest.raises(
        InputError, match="--theme neon: is no theme: expected one of light, dark, print"
    ):
        plot(load("published"), theme="neon")


def test_a_notebook_shows_the_figure() -> None:
    """The last value of a cell is shown as a picture, without pyplot and without a magic
    command."""
    code = (
        f"import correlator\nfrom correlator.report.plot import plot\n"
        f"plot(correlator.load({str(CAPTURES / 'ttl')!r}))"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [
        output["data"]
        for output in notebook.cells[0].outputs
        if output.output_type == "execute_result"
    ]
    assert base64.b64decode(shown[0]["image/png"]).startswith(b"\x89PNG")


def test_a_figure_leaves_nothing_behind() -> None:
    """Drawing for a notebook neither opens a window's figure nor changes matplotlib's settings."""
    import matplotlib
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    assert isinstance(plot(load("published")), Figure)
    assert pyplot.get_fignums() == []
    assert dict(matplotlib.rcParams) == before
