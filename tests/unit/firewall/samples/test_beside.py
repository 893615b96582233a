"""Logs of iptables-save and of nft's listing, taken together."""

from __future__ import annotations

import numpy as np

from correlator.firewall.samples.beside import beside
from correlator.firewall.samples.read import parse_counter_log

SAVE = "*filter\n:FORWARD DROP [{0}:{1}]\n[{0}:{1}] -A FORWARD -i docker0 -j ACCEPT\nCOMMIT\n"
LISTED = """table ip filter {{
	chain FORWARD {{
		type filter hook forward priority filter; policy drop;
		iifname "docker0" counter packets {0} bytes {1} accept # handle 2
	}}
}}
table inet site {{
	chain forward {{
		type filter hook forward priority filter + 10; policy accept;
		counter packets {0} bytes {1} # handle 5
	}}
}}
"""


def log(text: str, times: list[float], counts: list[int]) -> str:
    """Snapshots that count so many packets of 60 bytes, each read in 10 ms."""
    return "".join(
        f"# sample begin={at:.9f} end={at + 0.01:.9f}\n{text.format(n, 60 * n)}"
        for at, n in zip(times, counts, strict=True)
    )


def test_the_nearest_snapshots_are_one_reading() -> None:
    """Each with the one that lies nearest it, from the first's begin to the last's end; tables that
    iptables printed are not there twice, and what has no partner is left out and said."""
    save = parse_counter_log(log(SAVE, [1, 2, 3, 3.4], [0, 2, 5, 6]))
    nft = parse_counter_log(log(LISTED, [1.1, 2.1, 3.1], [0, 3, 6]))
    found = beside(save, nft)
    (ruleset,) = found.rulesets
    assert ruleset.tables == ("filter", "inet site")
    assert (found.begin / 1e9).round(3).tolist() == [1.0, 2.0, 3.0]
    assert (found.end / 1e9).round(2).tolist() == [1.11, 2.11, 3.11]
    at = {entry.name: i for i, entry in enumerate(ruleset.entries)}
    packets = np.asarray(found.packets[0])
    assert packets[:, at["filter/FORWARD:1"]].tolist() == [0, 2, 5]
    assert packets[:, at["inet site/forward:1"]].tolist() == [0, 3, 6]
    assert ["left out" in one for one in found.warnings] == [True]


def test_a_listing_of_the_same_tables_adds_nothing() -> None:
    """Where nft lists what iptables printed, and nothing else, the log stays as it is."""
    save = parse_counter_log(log(SAVE, [1, 2], [0, 2]))
    nft = parse_counter_log(log(LISTED.partition("table inet")[0], [1.1, 2.1], [0, 2]))
    assert beside(save, nft) is save
