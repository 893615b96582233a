"""Where on a packet's way NAT writes, and what it may write."""

from __future__ import annotations

from correlator.firewall import parse_iptables_save
from correlator.firewall.view import ESTABLISHED, Host, Route, View
from correlator.firewall.walk.path import Passage, Path
from correlator.firewall.walk.program import compile_ruleset
from correlator.firewall.walk.walker import Walker

OWN, BRIDGE, SERVER, LOOPBACK = 0x0A000001, 0xAC110001, 0xAC110002, 0x7F000001
HOST = Host(
    frozenset({OWN, BRIDGE}),
    routes=(Route(0xAC110000, 16, "docker0"), Route(0, 0, "eth0")),
    addresses={"lo": (LOOPBACK,), "eth0": (OWN,), "docker0": (BRIDGE,)},
)
RULES = """*nat
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
COMMIT
*filter
:OUTPUT ACCEPT [0:0]
-A OUTPUT -d 172.17.0.2/32 -j ACCEPT
COMMIT
"""


def walk(passage: Passage) -> list[str]:
    """The rules and policies of the only path."""
    ruleset = parse_iptables_save(RULES)
    path: Path
    (path,) = Walker(compile_ruleset(ruleset), HOST).walk(passage)
    return [ruleset.entries[hit].name for hit in path.hits]


def test_masquerade_on_loopback_writes_another_devices_address() -> None:
    """127.0.0.1 has no scope beyond the host (inet_select_addr): the bridge's own address, dialled
    by the host, leaves as eth0's."""
    view = View(6, BRIDGE, BRIDGE, 40000, 80, tcp_flags=2, length=60)
    passage = Passage(view, enters=False, loops=True, source=(OWN, 40000), out_interface="lo")
    assert "nat/POSTROUTING:1" in walk(passage)


def test_filter_sees_the_destination_that_nat_wrote_in_output() -> None:
    """Also of a connection's later packets, which do not walk nat: it translates at its place among
    the tables (NF_IP_PRI_NAT_DST), ahead of filter."""
    view = View(6, OWN, BRIDGE, 40000, 8080, state=ESTABLISHED, tcp_flags=16, length=52)
    passage = Passage(
        view,
        enters=False,
        walks_destination_nat=False,
        walks_source_nat=False,
        destination=(SERVER, 80),
        leaves=True,
        out_interface="docker0",
    )
    assert walk(passage) == ["filter/OUTPUT:1"]
