"""Logs of nft list ruleset."""

from __future__ import annotations

import json

import pytest

from correlator.errors import InputError
from correlator.firewall.samples.log import CounterLog
from correlator.firewall.samples.read import parse_counter_log

TEXT = """table inet t {{
	set bad {{
		type ipv4_addr
		elements = {{ {elements} }}
	}}
	chain f {{ # handle 1
		type filter hook forward priority filter; policy accept;
		ip saddr @bad drop # handle 4
		tcp dport 80 counter packets {packets} bytes {size} accept # handle 5
	}}
}}
"""


def text(*packets: int, elements: str = "10.0.0.1") -> str:
    """A log with a snapshot a second."""
    return "".join(
        f"# sample begin={1795511734 + at}.1 end={1795511734 + at}.2\n"
        + TEXT.format(packets=one, size=60 * one, elements=elements)
        for at, one in enumerate(packets)
    )


def objects(packets: int) -> str:
    """The same of nft -j."""
    expr = [
        {
            "match": {
                "op": "==",
                "left": {"payload": {"protocol": "tcp", "field": "dport"}},
                "right": 80,
            }
        },
        {"counter": {"packets": packets, "bytes": 60 * packets}},
        {"accept": None},
    ]
    bad = {
        "match": {
            "op": "==",
            "left": {"payload": {"protocol": "ip", "field": "saddr"}},
            "right": "@bad",
        }
    }
    place = {"family": "inet", "table": "t", "chain": "f"}
    chain = {"family": "inet", "table": "t", "name": "f", "handle": 1, "type": "filter"}
    found = [
        {"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "inet", "name": "t", "handle": 1}},
        {
            "set": {
                "family": "inet",
                "table": "t",
                "name": "bad",
                "type": "ipv4_addr",
                "elem": ["10.0.0.1"],
            }
        },
        {"chain": {**chain, "hook": "forward", "prio": 0, "policy": "accept"}},
        {"rule": {**place, "handle": 4, "expr": [bad, {"drop": None}]}},
        {"rule": {**place, "handle": 5, "expr": expr}},
    ]
    return json.dumps({"nftables": found})


def counted(log: CounterLog) -> list[int]:
    """What the second rule counted, in every sample."""
    numbers: list[int] = log.packets[0][:, 1].tolist()
    return numbers


def test_snapshots_of_both_notations_are_one_log() -> None:
    """Text and JSON behind the same times: equal rulesets, times and numbers; policies and rules
    without a counter are no entry that counts."""
    json_log = "".join(
        f"# sample begin={1795511734 + at}.1 end={1795511734 + at}.2\n{objects(one)}\n"
        for at, one in enumerate((3, 5))
    )
    logs = [parse_counter_log(one, "log") for one in (text(3, 5), json_log)]
    assert [counted(log) for log in logs] == [[3, 5]] * 2
    assert logs[0].rulesets == logs[1].rulesets
    assert (logs[0].begin == logs[1].begin).all()
    assert [entry.counted for entry in logs[0].rulesets[0].entries] == [False, True, False]
    assert [entry.handle for entry in logs[0].rulesets[0].entries] == [4, 5, 0]


def test_a_listing_may_bear_its_own_times() -> None:
    """`begin` and `end` in seconds beside the list of objects, one object a line."""
    lines = [
        json.dumps(
            {"begin": 1795511734.5 + at, "end": 1795511734.6 + at, **json.loads(objects(one))}
        )
        for at, one in enumerate((3, 5))
    ]
    log = parse_counter_log("\n".join(lines), "log")
    assert counted(log) == [3, 5]
    assert abs(int(log.begin[0]) - 1795511734_500_000_000) <= 1_000
    assert abs(int(log.end[0]) - 1795511734_600_000_000) <= 1_000


def test_what_a_set_held_part_of_the_time_may_be_in_it() -> None:
    """Elements that come and go between snapshots make no new generation: membership is unknown."""
    log = parse_counter_log(
        text(3) + text(5, elements="10.0.0.1, 10.0.0.2").replace("1795511734", "1795511735"), "log"
    )
    assert len(log.rulesets) == 1
    (condition,) = (
        c for c in log.rulesets[0].chains[0].rules[0].conditions if hasattr(c, "perhaps")
    )
    assert (len(condition.rows), len(condition.perhaps), condition.open_ended) == (1, 1, True)


def test_a_rule_that_comes_is_a_generation() -> None:
    """Rules are told apart by what they say."""
    more = text(5).replace("1795511734", "1795511735").replace("drop", "accept")
    assert len(parse_counter_log(text(3) + more, "log").rulesets) == 2


def test_a_last_snapshot_that_is_cut_is_left_out() -> None:
    """With a warning; one that is damaged before is refused."""
    log = parse_counter_log(text(3, 5, 7)[:-40], "log")
    assert counted(log) == [3, 5]
    assert any("cut short" in warning for warning in log.warnings)
    with pytest.raises(InputError, match="snapshot at line 1"):
        parse_counter_log(text(3, 5).replace("}\n}\n", "", 1), "log")


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (TEXT.format(packets=1, size=60, elements="10.0.0.1"), "has no times"),
        ("# sample begin=1.0 end=1.1\n" + '{"nftables": [{"chain": 3}]}\n', "nft does not print"),
        ("# sample begin=1.0 end=1.1\n" + '{"nftables": [3]}\n', "no list of objects"),
        ("# sample begin=1.0 end=1.1\n" + "table ip t {\n}\n", "lists no rule"),
        (text(9).replace("packets 9", f"packets {1 << 70}"), "broken counters"),
    ],
)
def test_what_is_wrong_is_said(log: str, said: str) -> None:
    """One line that names it."""
    with pytest.raises(InputError, match=said):
        parse_counter_log(log, "log")
