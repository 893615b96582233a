"""The tables are what the schema declares, and agree with each other."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import correlator
from correlator.dataset.schema import TABLES


def test_columns_and_dtypes(recorded: Path) -> None:
    """Every table has exactly the declared columns, in order, with the declared dtypes."""
    analysis = correlator.load(recorded)
    for name, columns in TABLES.items():
        frame = getattr(analysis, name)
        assert [(column, str(dtype)) for column, dtype in frame.dtypes.items()] == [
            (c, d) for c, (d, _) in columns.items()
        ]


def test_tables_agree(recorded: Path) -> None:
    """Hits add up to what rules explain; connections own all packets that have one; paths own all
    hits."""
    analysis = correlator.load(recorded)
    inside = analysis.rules.groupby(["table", "chain", "rule"], observed=True)[
        "explained_packets"
    ].sum()
    hits = analysis.hits.groupby(["table", "chain", "rule"], observed=True)["packets"].sum()
    assert (hits.sub(inside, fill_value=0) >= 0).all()
    owned = (
        analysis.packets[analysis.packets["connection"] > 0]
        .groupby("connection")["crossing"]
        .nunique()
    )
    table = analysis.connections.set_index("connection")
    untracked = (
        analysis.packets[analysis.packets["direction"] == "untracked"]
        .groupby("connection")["crossing"]
        .nunique()
    )
    counted = (table["packets_original"] + table["packets_reply"]).add(untracked, fill_value=0)
    assert (owned == counted.reindex(owned.index)).all()
    for number in table.index[:5]:
        steps = sum(
            path.packets * sum(s.kind in ("rule", "policy") for s in path.steps)
            for path in analysis.paths(number)
        )
        assert steps == analysis.hits[analysis.hits["connection"] == number]["packets"].sum()


def test_paths_are_as_certain_as_their_connection(recorded: Path, tmp_path: Path) -> None:
    """A connection is exact where all of its paths are; where it is not, a path of its says so,
    with the reason."""
    shutil.copytree(recorded, tmp_path / "c", ignore=shutil.ignore_patterns("truth"))
    log = (tmp_path / "c" / "counters.log").read_text()
    last = log[log.rindex("# sample") :]
    rules = re.finditer(r"^\[(\d+):(\d+)\] (-A .*)$", last, re.MULTILINE)
    busiest = max(rules, key=lambda rule: int(rule[1]))
    fewer = f"[{max(int(busiest[1]) - 3, 0)}:{busiest[2]}] {busiest[3]}"
    (tmp_path / "c" / "counters.log").write_text(log.replace(busiest[0], fewer))
    for folder in (recorded, tmp_path / "c"):
        analysis = correlator.load(folder)
        for row in analysis.connections.itertuples():
            paths = analysis.paths(row.connection)
            assert (row.status == "exact") <= all(path.status == "exact" for path in paths)
            assert (row.status == "ambiguous") <= any(
                path.status == "ambiguous" and path.reason for path in paths
            )
