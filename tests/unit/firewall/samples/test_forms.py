"""Logs as people make them: dates of their language, terminals, headings, other commands."""

from __future__ import annotations

import numpy as np
import pytest

from correlator.errors import InputError
from correlator.firewall.samples.read import parse_counter_log
from correlator.firewall.samples.stamps import parse_stamp

MOMENT = 1_795_511_734_000_000_000
"""2026-11-24 09:15:34 UTC."""
FILTER = """Chain INPUT (policy ACCEPT {n} packets, {b} bytes)
 pkts bytes target     prot opt in     out     source               destination

Chain FORWARD (policy DROP 0 packets, 0 bytes)
 pkts bytes target     prot opt in     out     source               destination
    {n}    {b} ACCEPT     6    --  *      *       0.0.0.0/0            0.0.0.0/0

Chain OUTPUT (policy ACCEPT 0 packets, 0 bytes)
 pkts bytes target     prot opt in     out     source               destination
"""
NAT = """Chain PREROUTING (policy ACCEPT {n} packets, {b} bytes)
 pkts bytes target     prot opt in     out     source               destination

Chain INPUT (policy ACCEPT 0 packets, 0 bytes)
 pkts bytes target     prot opt in     out     source               destination

Chain OUTPUT (policy ACCEPT 0 packets, 0 bytes)
 pkts bytes target     prot opt in     out     source               destination

Chain POSTROUTING (policy ACCEPT 0 packets, 0 bytes)
 pkts bytes target     prot opt in     out     source               destination
"""
SIX = """Chain INPUT (policy ACCEPT 138 packets, 103K bytes)
 pkts bytes target     prot opt in     out     source               destination
    0     0 ACCEPT     all      lo     *       ::/0                 ::/0
"""


def listed(n: int, form: str = FILTER + NAT) -> str:
    """A listing with so many packets counted."""
    return form.format(n=n, b=n * 60)


def counted(text: str) -> list[list[int]]:
    """Packets of every entry in every reading."""
    log = parse_counter_log(text.encode())
    assert len(log.rulesets) == 1
    return np.asarray(log.packets[0]).tolist()


PLAIN = counted(f"1795511734\n{listed(0)}1795511738\n{listed(7)}")


@pytest.mark.parametrize(
    "line",
    [
        "---- 2026-11-24 09:15:34 ----",
        "=== Tue Nov 24 09:15:34 UTC 2026 ===",
        "Tue 24 Nov 09:15:34 GMT 2026",
        "Di 24. Nov 10:15:34 CET 2026",
        "mar 24 nov 2026 10:15:34 CET",
        "mar. 24 nov. 2026 10:15:34 CET",
        "ter 24 nov 2026 06:15:34 -03",
        "Вт 24 ноя 2026 12:15:34 MSK",
        "2026年 11月 24日 火曜日 18:15:34 JST",
        "2026年 11月 24日 星期二 17:15:34 CST",
        "Tue Nov 24 06:15:34 -03 2026",
    ],
)
def test_dates_of_date_in_other_languages(line: str) -> None:
    """What date(1) prints under each locale is one moment."""
    stamp = parse_stamp(line)
    assert stamp is not None
    assert stamp.begin == MOMENT
    assert counted(f"{line}\n{listed(0)}1795511738\n{listed(7)}") == PLAIN


def test_a_time_that_is_not_understood_is_quoted() -> None:
    """A clock without a day names no moment."""
    with pytest.raises(InputError, match="not understood: '09:15:34'"):
        parse_counter_log(f"09:15:34\n{listed(0)}")


@pytest.mark.parametrize("escape", ["\x1b[H\x1b[2J\x1b[3J", "\x1b[?1049h\x1b[22;0;0t\x1b(B"])
def test_what_clears_a_screen_is_no_part_of_a_line(escape: str) -> None:
    """`clear; iptables -L` and `watch` put escape sequences before the first chain, which would be
    left out silently (a policy of DROP with it)."""
    text = f"1795511734\n{escape}{listed(0)}1795511738\n{escape}{listed(7)}"
    assert counted(text) == counted(text.replace(escape, "")) == PLAIN


@pytest.mark.parametrize(
    "heading",
    [
        "$ sudo iptables -nvL",
        "root@dockerhost:~# iptables -nvL",
        "*** iptables filter table ***",
        "Table: filter",
        "Another app is currently holding the xtables lock; still 9s 0us time ahead",
        "Zeroing chain `INPUT'",
    ],
)
def test_lines_that_cannot_be_rules_are_left_out_and_said(heading: str) -> None:
    """Prompts, headings and what iptables says beside its listing."""
    text = f"1795511734\n{heading}\n{listed(0)}{heading}\n1795511738\n{listed(7)}"
    assert counted(text) == PLAIN
    assert any(heading[:20] in warning for warning in parse_counter_log(text).warnings)


def test_a_line_that_begins_like_a_rule_is_never_left_out() -> None:
    """A damaged rule shifts the numbers of all behind it: the log is refused."""
    damaged = listed(0).replace("    0    0 ACCEPT     6", "    0    0K0 ACCEPT     6")
    with pytest.raises(InputError, match="not a line of"):
        parse_counter_log(f"1795511734\n{damaged}1795511738\n{listed(7)}")


def test_a_quoted_log_is_indented() -> None:
    """Four blanks before every line, as pasted."""
    text = f"1795511734\n{listed(0)}1795511738\n{listed(7)}"
    quoted = "".join(
        line if line[0].isdigit() else f"    {line}" for line in text.splitlines(keepends=True)
    )
    assert counted(quoted) == PLAIN


def test_rules_listed_as_commands_carry_their_counters() -> None:
    """`iptables -S -v` prints -c; its tables are told as a listing's are."""
    snapshots = "".join(
        f"{1795511734 + 4 * (n > 0)}\n-P INPUT ACCEPT -c {n} {n * 60}\n-P FORWARD DROP -c 0 0\n"
        f"-P OUTPUT ACCEPT -c 0 0\n-A FORWARD -p tcp -c {n} {n * 60} -j ACCEPT\n"
        f"-P PREROUTING ACCEPT -c {n} {n * 60}\n-P INPUT ACCEPT -c 0 0\n-P OUTPUT ACCEPT -c 0 0\n"
        "-P POSTROUTING ACCEPT -c 0 0\n"
        for n in (0, 7)
    )
    assert counted(snapshots) == PLAIN
    entries = parse_counter_log(snapshots).rulesets[0].entries
    assert [entry.name for entry in entries][-4:] == [
        "filter/INPUT:policy",
        "filter/FORWARD:1",
        "filter/FORWARD:policy",
        "filter/OUTPUT:policy",
    ]


def test_chains_of_ip6tables_are_left_out_with_a_warning() -> None:
    """`iptables -nvL; ip6tables -nvL`, as bug forms ask for."""
    text = f"1795511734\n{listed(0)}{SIX}1795511738\n{listed(7)}{SIX}"
    assert counted(text) == PLAIN
    assert any("ip6tables" in warning for warning in parse_counter_log(text).warnings)


def test_flags_by_name_are_flags() -> None:
    """Without -n, iptables prints the names of TCP flags (libxt_tcp.c, print_flags)."""
    rule = "    0     0 DROP       tcp  --  any    any     anywhere             anywhere"
    flags = [" tcp flags:FIN,SYN,RST,ACK/SYN\n", " tcp flags:0x17/0x02\n"]
    texts = [
        f"1795511734\n{listed(0)}".replace("Chain OUTPUT", f"{rule}{one}\nChain OUTPUT", 1)
        for one in flags
    ]
    named, plain = (parse_counter_log(text).rulesets[0] for text in texts)
    conditions = [
        rules.by_name["filter", "FORWARD"].rules[1].conditions for rules in (named, plain)
    ]
    assert conditions[0] == conditions[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n" * 2, "declares filter/INPUT a second time")],
)
def test_what_is_not_read_is_named(text: str, said: str) -> None:
    """Both backends in one snapshot are refused by name."""
    with pytest.raises(InputError, match=said):
        parse_counter_log(f"1795511734\n{text}")
