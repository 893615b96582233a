"""One self-contained HTML page of an analysis: what it says is built as plain data, then rendered.

``answer``, ``entries``, ``flow``, ``ruleset``, ``ledger`` and ``table`` turn the analysis into
frozen dataclasses and columns; ``diagram`` lays the flow out; ``render`` writes the page, with
scripts, styles and the vendored chart library inlined."""
