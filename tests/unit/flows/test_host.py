"""The host as facts tell it, or frames."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from correlator.addresses import text
from correlator.dataset.facts import read_facts
from correlator.firewall import parse_iptables_save
from correlator.flows.host import NOTHING_SHOWN, Shown, build_host

RULES = """*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
COMMIT
"""
WAN, BRIDGE, PEER = 0xC0000205, 0xAC110001, 0xC6336401


def test_addresses_that_were_saved_are_the_hosts(tmp_path: Path) -> None:
    """addr.json tells own addresses and broadcasts; nothing is inferred then."""
    info = [{"family": "inet", "local": "192.0.2.5", "prefixlen": 24}]
    (tmp_path / "addr.json").write_text(json.dumps([{"ifname": "eth0", "addr_info": info}]))
    host, inferred = build_host(read_facts(tmp_path), NOTHING_SHOWN, ("eth0",), [])
    assert {text(address) for address in host.local} == {"192.0.2.5"}
    assert {text(address) for address in host.broadcast} == {"192.0.2.255"}
    assert inferred == ()


def test_what_the_host_sends_bears_its_addresses() -> None:
    """Without facts: sources of what left without having come in; a bridge's first address, as
    Docker's rule names its subnet; and what was reached at an outside interface's own MAC."""
    shown = Shown({"eth0": (WAN,), "docker0": (BRIDGE,)}, {"eth0": (WAN, WAN + 1)})
    ruleset = parse_iptables_save(RULES)
    host, inferred = build_host(read_facts(None), shown, ("eth0", "docker0"), [ruleset])
    assert host.local == {WAN, WAN + 1, BRIDGE}
    assert not host.certain
    assert inferred
    way = host.route(PEER)
    assert way is not None
    assert way.device == "eth0"


def test_a_container_is_not_the_host() -> None:
    """Who is inside a bridge's subnet is reached through the host, not at it."""
    shown = Shown({}, {"eth0": (WAN, BRIDGE + 1)})
    host, _ = build_host(read_facts(None), shown, ("eth0",), [parse_iptables_save(RULES)])
    assert host.local == {WAN, BRIDGE}


@pytest.mark.parametrize(
    ("line", "seconds"), [("= 30", 30), ("= 7200", 7_200), ("= -1", 432_000), ("= ", 432_000)]
)
def test_conntracks_settings_are_the_hosts(line: str, seconds: int, tmp_path: Path) -> None:
    """sysctl.txt tells them; the kernel's default stands for what was not saved or is no number."""
    name = "net.netfilter.nf_conntrack_tcp_timeout_established"
    (tmp_path / "sysctl.txt").write_text(f"{name} {line}\n")
    host, _ = build_host(read_facts(tmp_path), NOTHING_SHOWN, (), [])
    assert host.conntrack.tcp_timeout_established == seconds
