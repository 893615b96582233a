"""The page, rendered and written: templates with autoescape, scripts and styles inlined, no
network."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from correlator.errors import InputError
from correlator.plain import one_line
from correlator.report.findings import Finding, find
from correlator.report.machine import write_whole
from correlator.report.page.about import bounds, facts
from correlator.report.page.answer import BAD, headline, proofs, rest_of_it, spelled
from correlator.report.page.diagram import both
from correlator.report.page.embed import fingerprint, json_text, source
from correlator.report.page.entries import Catalogue, catalogue
from correlator.report.page.flow import flow
from correlator.report.page.ledger import balance, ledger_columns, residuals, totals
from correlator.report.page.ruleset import rulesets
from correlator.report.page.table import Shown, candidates, choose, connection_columns, way_columns
from correlator.report.summary import Summary, summarise
from correlator.report.units import brief, clock_line, moment
from correlator.version import __version__

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis

SCRIPTS = ("core", "filter", "table", "drawer", "lanes", "timeline", "main")
STYLES = ("theme", "page", "flow", "table", "drawer", "print")
GENERATION_LINES = 200
ENDINGS = (".html", ".htm")


def write_page(analysis: Analysis, path: Path) -> None:
    """Write the page, whole or not at all. Raises :class:`~correlator.errors.InputError`."""
    if path.suffix not in ENDINGS:
        raise InputError(f"{path}: unknown ending {path.suffix!r}: expected {' or '.join(ENDINGS)}")
    text = render_page(analysis)
    write_whole(path, lambda file: void(file.write_text(text, encoding="utf-8")))


def _shown(value: object) -> object:
    """What a template shows: text from elsewhere on one line, and nothing in it unseen."""
    return one_line(value) if type(value) is str else value


def void(_: object) -> None:
    """A result that nobody asks for."""


def render_page(analysis: Analysis) -> str:
    """The whole page as one string of HTML."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    found = find(analysis)
    known = catalogue(analysis.rules)
    summary = summarise(analysis)
    shown = choose(analysis.connections, [n for finding in found for n in finding.connections])
    chart = source("vendor/uPlot.iife.min.js")
    licence = source("vendor/uPlot.LICENSE")
    script = "\n".join(source(f"assets/{name}.js") for name in SCRIPTS)
    environment = Environment(
        autoescape=True,
        finalize=_shown,
        loader=FunctionLoader(lambda name: source(f"templates/{name}")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "n": "{:,}".format,
        "signed": "{:+,}".format,
        "moment": moment,
        "brief": brief,
    }
    return environment.get_template("page.html.j2").render(
        **_context(analysis, found, known, summary, shown),
        css=Markup(
            "\n".join(
                [source("vendor/uPlot.min.css"), *(source(f"assets/{name}.css") for name in STYLES)]
            )
        ),
        chart=Markup(chart),
        licence=licence,
        script=Markup(script),
        policies=(fingerprint(chart), fingerprint(script)),
        data=Markup(json_text(page_data(analysis, known, shown, found))),
    )


def _context(
    analysis: Analysis, found: tuple[Finding, ...], known: Catalogue, summary: Summary, shown: Shown
) -> dict[str, Any]:
    """What the templates show by themselves, without a script."""
    off, all_off = residuals(analysis.balances, analysis.explained, known)
    generations, older = rulesets(analysis.rules, analysis.balances, known)
    moves = flow(analysis.ways(), known)
    outcomes = analysis.connections["outcome"].astype(str).value_counts()
    return {
        "analysis": analysis,
        "version": __version__,
        "headline": headline(analysis),
        "rest": rest_of_it(analysis),
        "proofs": proofs(analysis, summary, clock_line(analysis.clock)),
        "summary": summary,
        "findings": [(finding, spelled(finding.text, finding.rules)) for finding in found],
        "outcomes": [
            (str(what), int(n), 100 * int(n) / len(analysis.connections))
            for what, n in outcomes.items()
            if n
        ],
        "bad": BAD,
        "diagrams": both(moves, known),
        "flow": moves,
        "residuals": off,
        "residuals_all": all_off,
        "ledger_rules": totals(analysis.rules, known),
        "generations": generations,
        "generations_left_out": older,
        "facts": facts(analysis, summary),
        "shown": shown,
        "lane_of": named_lanes(analysis, known),
        "generation_lines": GENERATION_LINES,
    }


def named_lanes(analysis: Analysis, known: Catalogue) -> dict[str, int]:
    """Name of a rule -> its lane: where several generations gave the name to several rules, the one
    that was hit most."""
    hits = [total[1] for total in _totals(analysis, known)]
    return {
        entry.name: entry.lane
        for entry in sorted(known.entries, key=lambda entry: hits[entry.lane])
    }


def page_data(
    analysis: Analysis, known: Catalogue, shown: Shown, found: tuple[Finding, ...]
) -> dict[str, Any]:
    """What the page's scripts work on. Times are us after ``origin`` (epoch ms with its
    fraction)."""
    first, last = bounds(analysis)
    origin = first // 1000 * 1000
    changes = analysis.balances.groupby("generation")["begin"].min()
    since = {
        str(number): (int(begin) - origin) // 1000 for number, begin in changes.items() if number
    }
    return {
        "origin": origin / 1e6,
        "end": (last - origin) // 1000,
        "all": shown.all,
        "source": analysis.source,
        "containers": analysis.containers,
        "counted": bool(analysis.samples),
        "bad": list(BAD),
        "entries": [[e.table, e.chain, e.number, e.text, e.target, e.lane] for e in known.entries],
        "lanes": list(known.lanes),
        "lane_last": list(known.last),
        "lane_totals": _totals(analysis, known),
        "lane_hooks": _hooks(known),
        "connections": connection_columns(shown.rows, origin),
        **way_columns(analysis, shown.rows, known, origin),
        "candidates": candidates(analysis, shown.rows, known),
        "ledger": ledger_columns(analysis.balances, known, origin),
        "balance": balance(analysis.balances, origin),
        "changes": since,
        "findings": [asdict(finding) for finding in found],
    }


def _totals(analysis: Analysis, known: Catalogue) -> list[list[int]]:
    """Per lane: counted (-1: not), explained, residual packets; counted, explained bytes;
    connections (an upper bound where generations share some)."""
    find = known.find()
    totals = [[-1, 0, 0, -1, 0, 0] for _ in known.lanes]
    for row in analysis.rules.itertuples():
        mine = totals[
            known.entries[
                find[(str(row.table), str(row.chain), int(row.rule_number), str(row.rule))]
            ].lane
        ]
        for at, value in ((0, int(row.counted_packets)), (3, int(row.counted_bytes))):
            if value >= 0:
                mine[at] = max(mine[at], 0) + value
        mine[1] += int(row.explained_packets)
        mine[2] += int(row.residual_packets)
        mine[4] += int(row.explained_bytes)
        mine[5] += int(row.connections)
    return totals


def _hooks(known: Catalogue) -> list[str]:
    """The hook in which each lane is first met; empty where no hook leads to it."""
    hooks = [""] * len(known.lanes)
    for (hook, _), lines in known.met.items():
        for lane, _ in lines:
            hooks[lane] = hooks[lane] or hook
    return hooks
