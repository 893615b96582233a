"""The data of the page: small, whole, and unable to leave its script element."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import correlator
from correlator.report.page.answer import headline, rest_of_it, spelled
from correlator.report.page.embed import json_text
from correlator.report.page.entries import Catalogue, catalogue
from correlator.report.page.ledger import balance, ledger_columns, residuals
from correlator.report.page.table import choose, connection_columns, way_columns
from tests.conftest import CAPTURES

SIDES = {
    "c": ("src", "sport"),
    "d": ("dst", "dport"),
    "s": ("reply_src", "reply_sport"),
    "n": ("reply_dst", "reply_dport"),
}


def test_templates_and_tokens_give_every_path_back(recorded: Path) -> None:
    """Undone as the page's script undoes them, the templates are analysis.paths() of every
    connection."""
    analysis = correlator.load(recorded)
    known = catalogue(analysis.rules)
    ways = json.loads(json_text(way_columns(analysis, analysis.connections, known, 0)))
    for row, flat in zip(analysis.connections.itertuples(), ways["views"], strict=True):
        ends = {
            side: f"{getattr(row, host)}:{getattr(row, port)}"
            for side, (host, port) in SIDES.items()
        }
        paths = analysis.paths(int(row.connection))
        assert len(flat) == 5 * len(paths)
        for at, path in enumerate(paths):
            number, packets, size, first, last = flat[5 * at : 5 * at + 5]
            template = ways["templates"][number]
            assert (packets, size, first, last) == (
                path.packets,
                path.bytes,
                path.first_seen // 1000,
                path.last_seen // 1000,
            )
            assert [
                template[name] for name in ("direction", "state", "in", "out", "evidence", "status")
            ] == [
                path.direction,
                path.state,
                path.in_interface,
                path.out_interface,
                path.evidence,
                path.status,
            ]
            assert [told(step, ends, known) for step in template["steps"]] == [
                (
                    s.hook,
                    f"{s.table}/{s.chain}:{s.rule_number or 'policy'} {s.text}"
                    if s.kind in ("rule", "policy")
                    else s.text,
                )
                for s in path.steps
            ]


def told(step: list[Any], ends: dict[str, str], known: Catalogue) -> tuple[str, str]:
    """(hook, words) of a step as the page shows it."""
    if isinstance(step[1], int):
        entry = known.entries[step[1]]
        return step[0], f"{entry.name} {entry.text}"
    return step[0], re.sub(r"\{([cdsn])\}", lambda found: ends[found[1]], step[2])


def test_connection_columns_are_the_table() -> None:
    """Words and numbers of every row come back from the columns."""
    table = correlator.load(CAPTURES / "published").connections
    columns = connection_columns(table, 0)
    for i, row in enumerate(table.itertuples()):
        for name in ("protocol", "src", "outcome", "rule", "status"):
            assert columns[name]["words"][columns[name]["at"][i]] == str(getattr(row, name))
        assert columns["first"][i] == row.first_seen // 1000
        assert columns["bytes_reply"][i] == row.bytes_reply


def test_a_bounded_page_keeps_what_matters() -> None:
    """With more connections than fit, those of findings, those that failed and those in doubt stay;
    a kind is not left out."""
    size = 1000
    table = pd.DataFrame(
        {
            "connection": range(1, size + 1),
            "outcome": ["DNAT"] * 990 + ["local"] * 10,
            "rule": [""] * size,
            "status": ["exact"] * size,
        }
    )
    table.loc[700, "outcome"], table.loc[800, "status"] = "dropped", "ambiguous"
    shown = choose(table, named=[901], limit=100)
    kept = set(shown.rows["connection"])
    assert {701, 801, 901} <= kept
    assert kept & set(range(991, 1001))
    assert all(kept & set(range(first, first + 100)) for first in range(1, size, 100))
    assert (len(kept), shown.left_out) == (100, 900)
    assert list(shown.rows["connection"]) == sorted(kept)
    assert choose(table, limit=size).left_out == 0


@pytest.mark.parametrize(
    "text", ["</script><script>alert(1)</script>", "<!-- <script>", "a & b", '"\\']
)
def test_json_cannot_end_its_element(text: str) -> None:
    """Whatever a string holds, the JSON has no markup in it and reads back as it was."""
    written = json_text({"comment": text, text: 1})
    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written) == {"comment": text, text: 1}


def test_json_shows_what_is_not_seen() -> None:
    """Marks of direction and line ends of Unicode reach the page as their escapes, to be read."""
    assert json.loads(json_text({"\u2028": "a\u202eb"})) == {"\\u2028": "a\\u202eb"}


def test_the_answer_is_one_sentence_that_names_the_rule() -> None:
    """What was dropped and by which rule comes first; what went well is summed up behind it."""
    analysis = correlator.load(CAPTURES / "published")
    assert (
        "".join(phrase.text for phrase in headline(analysis))
        == "1 of 19 connections was dropped by filter/DOCKER-USER:1."
    )
    assert rest_of_it(analysis) == (
        "9 reached a container through DNAT, 5 were to or from this host and 4 left with this "
        "host's address (MASQUERADE)."
    )
    user = "".join(phrase.text for phrase in headline(correlator.load(CAPTURES / "user")))
    assert re.fullmatch(
        r"2 of 11 connections were dropped by \S+( and \S+)? and 4 were rejected by \S+( and "
        r"\S+)?\.",
        user,
    )
    good = correlator.load(CAPTURES / "balance")
    assert (
        "".join(phrase.text for phrase in headline(good)) == "None of 36 connections was dropped."
    )


def test_the_chart_holds_the_sums_of_the_ledger(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merged into few intervals or not, explained hits and residuals over time add up to the
    ledger's."""
    ledger = correlator.load(recorded).balances
    kept = ledger[ledger["note"].astype(str) != "not counted"]
    for bins in (3000, 5):
        monkeypatch.setattr("correlator.report.page.ledger.BINS", bins)
        sums = balance(ledger, 0)
        assert sum(sums["explained"]) == int(kept["explained_packets"].sum())
        assert sum(sums["gap"]) == int(kept["residual_packets"].abs().sum())
        assert len(sums["begin"]) <= bins + 1
        assert sums["begin"] == sorted(sums["begin"])


def test_residuals_come_first_and_lines_that_do_not_balance_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The largest residual is first, and a page that cannot hold all lines holds those that do not
    balance."""
    analysis = correlator.load(CAPTURES / "published")
    known = catalogue(analysis.rules)
    ledger = analysis.ledger.copy()
    ledger.loc[[30, 60], "residual_packets"] = [2, -5]
    found, number = residuals(ledger, lambda lines: lines, known)
    assert ([line.residual for line in found], number) == ([-5, 2], 2)
    monkeypatch.setattr("correlator.report.page.ledger.LINES_SHOWN", 10)
    columns = ledger_columns(ledger, known, 0)
    assert len(columns["lane"]) == 10
    assert {2, -5} <= set(columns["residual"])


def test_rules_are_numbered_in_the_order_of_traversal() -> None:
    """A jump is followed by the rules of the chain it leads to; a rule whose number shifted between
    generations is one lane."""
    rows = [
        (0, "filter", "FORWARD", 1, "-j USER", "USER"),
        (0, "filter", "FORWARD", 0, "policy", "DROP"),
        (0, "filter", "USER", 1, "-s 10.0.0.1/32 -j DROP", "DROP"),
        (1, "filter", "FORWARD", 1, "-j USER", "USER"),
        (1, "filter", "FORWARD", 0, "policy", "DROP"),
        (1, "filter", "USER", 1, "-i eth1 -j ACCEPT", "ACCEPT"),
        (1, "filter", "USER", 2, "-s 10.0.0.1/32 -j DROP", "DROP"),
    ]
    rules = pd.DataFrame(
        rows, columns=["generation", "table", "chain", "rule_number", "rule", "target"]
    )
    known = catalogue(rules)
    met = [
        (known.entries[known.lanes[lane]].name, depth)
        for lane, depth in known.met[("FORWARD", "filter")]
    ]
    assert met == [
        ("filter/FORWARD:1", 0),
        ("filter/USER:1", 1),
        ("filter/USER:2", 1),
        ("filter/FORWARD:policy", 0),
    ]
    lanes = {(entry.name, entry.text): entry.lane for entry in known.entries}
    assert (
        lanes[("filter/USER:1", "-s 10.0.0.1/32 -j DROP")]
        == lanes[("filter/USER:2", "-s 10.0.0.1/32 -j DROP")]
    )
    assert (
        lanes[("filter/USER:1", "-i eth1 -j ACCEPT")]
        != lanes[("filter/USER:1", "-s 10.0.0.1/32 -j DROP")]
    )


def test_a_finding_is_spelled_with_links_and_code() -> None:
    """Names of its rules become links, whole names only; what stands in backticks becomes code; no
    letter is lost."""
    text = (
        "Dropped by nat/DOCKER:2 and nat/DOCKER:21, not by xnat/DOCKER:2: add `-j ACCEPT` to "
        "nat/DOCKER:2."
    )
    phrases = spelled(text, ("nat/DOCKER:2",))
    assert "".join(phrase.text for phrase in phrases) == text.replace("`", "")
    assert [phrase.rule for phrase in phrases if phrase.rule] == ["nat/DOCKER:2", "nat/DOCKER:2"]
    assert [phrase.text for phrase in phrases if phrase.tone == "code"] == ["-j ACCEPT"]
    assert [phrase.text for phrase in spelled("no rule", ())] == ["no rule"]
