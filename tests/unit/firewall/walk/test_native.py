"""The walk through native nft: base chains of one hook, maps of verdicts, translations by
family."""

from __future__ import annotations

import pytest

from correlator.firewall.languages import nft_text
from correlator.firewall.languages.nft_rules import ruleset_of
from correlator.firewall.languages.nft_sets import sets_of
from correlator.firewall.model import Ruleset
from correlator.firewall.view import Host, Route, View
from correlator.firewall.walk.path import Passage, Path
from correlator.firewall.walk.program import compile_ruleset
from correlator.firewall.walk.walker import Walker

HOST = Host(
    frozenset({0x0A000001, 0xAC110001}),
    routes=(Route(0xAC110000, 16, "docker0"), Route(0, 0, "eth0")),
)
CLIENT, SERVER = 0x0A000009, 0xAC110002


def read(text: str) -> Ruleset:
    """A ruleset as nft prints it."""
    objects = nft_text.read_objects(text, "text")
    return ruleset_of(objects, sets_of([objects]))[0]


def walk(ruleset: Ruleset, dport: int = 80, dst: int = SERVER, **more: object) -> list[Path]:
    """Every path of a NEW packet that came in on eth0."""
    view = View(6, CLIENT, dst, 40000, dport, in_interface="eth0", tcp_flags=2, length=60)
    watched = frozenset({"eth0", "docker0"})
    passage = Passage(view, enters=True, **more)  # type: ignore[arg-type]
    return Walker(compile_ruleset(ruleset), HOST, watched).walk(passage)


def hits(text: str, dport: int = 80, **more: object) -> list[str]:
    """What the only path of such a packet hits, by name, and how it ends."""
    ruleset = read(text)
    (path,) = walk(ruleset, dport, **more)  # type: ignore[arg-type]
    return [*(ruleset.entries[hit].name for hit in path.hits), path.end.value]


def base(hook: str, priority: str, lines: str, policy: str = "accept", kind: str = "filter") -> str:
    """The inside of a base chain."""
    return f"\t\ttype {kind} hook {hook} priority {priority}; policy {policy};\n\t\t{lines}\n"


def chain(name: str, inside: str) -> str:
    """A chain."""
    return f"\tchain {name} {{\n{inside}\t}}\n"


def test_accept_ends_its_own_chain_only() -> None:
    """A chain of later priority at the hook sees what one accepted, whatever their families."""
    text = (
        "table ip a {\n" + chain("f", base("forward", "filter - 20", "accept")) + "}\n"
        "table inet b {\n" + chain("f", base("forward", "filter - 10", "tcp dport 80 drop")) + "}\n"
    )
    assert hits(text) == ["a/f:1", "inet b/f:1", "dropped"]


def test_drop_ends_all_and_the_lower_priority_comes_first() -> None:
    """What a chain dropped no later one sees."""
    text = (
        "table ip a {\n" + chain("f", base("forward", "filter", "counter")) + "}\n"
        "table inet b {\n" + chain("f", base("forward", "-1", "drop")) + "}\n"
    )
    assert hits(text) == ["inet b/f:1", "dropped"]


def test_of_one_priority_the_last_one_made_comes_first() -> None:
    """The kernel puts a new chain before those of its priority; which was made last the order of
    tables tells only, so that a drop there is tied."""
    text = (
        "table inet a {\n" + chain("f", base("forward", "filter", "counter")) + "}\n"
        "table inet b {\n" + chain("f", base("forward", "filter", "drop")) + "}\n"
    )
    assert hits(text) == ["inet b/f:1", "dropped"]
    (path,) = walk(read(text))
    assert path.tied


def test_chains_of_ip6_are_there_and_not_walked() -> None:
    """An IPv4 packet meets chains of ip and inet."""
    text = (
        "table ip6 a {\n" + chain("f", base("forward", "filter", "drop")) + "}\n"
        "table inet b {\n" + chain("f", base("forward", "filter", "accept")) + "}\n"
    )
    assert hits(text) == ["inet b/f:1", "sent"]
    assert [one.counted for one in read(text).entries] == [False] * 4


DOORS = (
    "table inet t {\n"
    "\tmap doors {\n\t\ttype inet_service : verdict\n"
    "\t\telements = { 22 : jump ssh, 25 : drop, 80 : continue }\n\t}\n"
    + chain("f", base("forward", "filter", "tcp dport vmap @doors\n\t\taccept"))
    + chain("ssh", "\t\tcounter\n")
    + "}\n"
)


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (22, ["inet t/f:1", "inet t/ssh:1", "inet t/f:2", "sent"]),
        (25, ["inet t/f:1", "dropped"]),
        (80, ["inet t/f:1", "inet t/f:2", "sent"]),
        (81, ["inet t/f:2", "sent"]),
    ],
)
def test_a_map_leads_by_what_it_holds(port: int, expected: list[str]) -> None:
    """An element's verdict is done, `continue` goes on behind the map, and what the map does not
    hold is no hit."""
    assert hits(DOORS, port) == expected


def test_a_map_of_what_is_unknown_may_lead_anywhere() -> None:
    """Each element is a way, and that there is none is one."""
    text = DOORS.replace("tcp dport vmap", "numgen random mod 90 vmap")
    ruleset = read(text)
    found = {tuple(ruleset.entries[hit].name for hit in path.hits) for path in walk(ruleset)}
    assert found == {
        ("inet t/f:1", "inet t/ssh:1", "inet t/f:2"),
        ("inet t/f:1",),
        ("inet t/f:1", "inet t/f:2"),
        ("inet t/f:2",),
    }


def test_a_translation_of_ip6_is_a_hit_that_translates_nothing() -> None:
    """In inet nat a packet of IPv4 goes on behind `dnat ip6 to`, and ends with `dnat ip to`."""
    lines = "tcp dport 80 dnat ip6 to [2001:db8::2]:80\n\t\ttcp dport 80 dnat ip to 172.17.0.2:8080"
    text = "table inet t {\n" + chain("d", base("prerouting", "dstnat", lines, kind="nat")) + "}\n"
    assert hits(text, dst=0x0A000001) == ["inet t/d:1", "inet t/d:2", "sent"]
    (path,) = walk(read(text), dst=0x0A000001)
    assert path.destination == (SERVER, 8080)


def test_a_map_tells_where_a_translation_leads() -> None:
    """The element of what the packet shows is written; without one the rule is no hit."""
    line = "dnat ip to tcp dport map { 80 : 172.17.0.2 . 8080, 81 : 172.17.0.3 . 81 }"
    text = "table ip t {\n" + chain("d", base("prerouting", "dstnat", line, kind="nat")) + "}\n"
    (path,) = walk(read(text), dst=0x0A000001)
    assert path.destination == (SERVER, 8080)
    assert hits(text, 82, dst=0x0A000001) == ["t/d:policy", "delivered"]


def test_postrouting_knows_where_a_forwarded_packet_came_in() -> None:
    """iifname stands in POSTROUTING for what is forwarded (ip_output), for nothing that a bridge
    passes on."""
    line = 'iifname "eth0" accept'
    text = "table ip t {\n" + chain("p", base("postrouting", "srcnat", line, kind="nat")) + "}\n"
    assert hits(text) == ["t/p:1", "sent"]
    assert hits(text, bridged=True, leaves=True, out_interface="docker0")[0] == "t/p:policy"


def test_a_chain_at_a_device_is_met_by_what_comes_in_there() -> None:
    """An ingress chain comes before all of PREROUTING, at its device only."""
    ingress = '\t\ttype filter hook ingress device "{}" priority 0; policy accept;\n\t\tcounter\n'
    for device, expected in (
        ("eth0", ["netdev t/i:1", "netdev t/i:policy", "sent"]),
        ("x", ["sent"]),
    ):
        text = "table netdev t {\n" + chain("i", ingress.format(device)) + "}\n"
        assert hits(text) == expected


def test_what_one_rule_marks_another_table_sees() -> None:
    """Marks are the packet's, whatever table wrote them."""
    first = base("prerouting", "mangle", 'iifname "eth0" meta mark set 0x10')
    second = base("forward", "filter", "meta mark 0x10 drop")
    text = f"table inet a {{\n{chain('m', first)}}}\ntable ip b {{\n{chain('f', second)}}}\n"
    assert hits(text) == ["inet a/m:1", "inet a/m:policy", "b/f:1", "dropped"]
