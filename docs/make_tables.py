"""Writes docs/tables.md from the schema: ``python docs/make_tables.py``; a test holds the file
against it."""

from __future__ import annotations

from pathlib import Path

from correlator.dataset.schema import EXPORTS


def render() -> str:
    """The columns of every table, as Markdown."""
    lines = [
        "# Tables",
        "",
        "Made from `correlator/dataset/schema.py` by `docs/make_tables.py`.",
        "",
    ]
    lines += [
        "These are the columns of exports and of `Analysis.table(name)`. `Analysis.connections` "
        "has no Community IDs: they take",
        "a second for half a million connections, so only who asks for them waits.",
        "",
    ]
    for name, columns in EXPORTS.items():
        lines += [f"## {name}", "", "| column | dtype | meaning |", "| --- | --- | --- |"]
        lines += [
            f"| `{column}` | {dtype} | {meaning} |" for column, (dtype, meaning) in columns.items()
        ]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    Path(__file__).with_name("tables.md").write_text(render())
