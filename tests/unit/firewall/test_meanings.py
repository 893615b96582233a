"""What iptables' words mean: conditions and effects, and unknown where nobody knows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlator.firewall import parse_iptables_save
from correlator.firewall.conditions.headers import Field
from correlator.firewall.conditions.ternary import Reads
from correlator.firewall.docker import bridge_nets, internal_bridge, shielded_bridge
from correlator.firewall.effects.fields import ALL_BITS, CopyMark, WriteBits
from correlator.firewall.effects.verdicts import Jump, OutOfSight, Verdict
from correlator.firewall.languages.iptables_save import parse_rule
from correlator.firewall.published import doors, publication, servers
from correlator.firewall.view import Host, View

HOST = Host(frozenset({0x0A000001, 0xAC110001}))


def holds(text: str, **seen: object) -> bool | None:
    """What a rule's conditions say of a packet together."""
    view = View(6, 0x0A000009, 0xAC110002, 40000, 80, in_interface="eth0", tcp_flags=2)
    for name, value in seen.items():
        setattr(view, name, value)
    answers = [c.compile(Reads())(view, HOST) for c in parse_rule("t", "c", 1, text).conditions]
    return False if False in answers else None if None in answers else True


@pytest.mark.parametrize(
    "text",
    [
        "-p tcp -m tcp --frob 3",
        "-m mark ! --mark 0x1 --frob",
        "-m mark --mark hello",
        "-m frobnicate",
        "-m set --match-set nobody src",
        "-m addrtype ! --dst-type LOCAL --frob",
        "-m ttl --ttl-eq many",
        "-m multiport --frobs 80",
        "-m icmp --icmp-type frob",
    ],
)
def test_what_nobody_knows_is_unknown(text: str) -> None:
    """An extension, an option or a value that no reader knows leaves the rule undecided: neither
    hit nor passed over."""
    assert holds(text, icmp_type=8, icmp_code=0) is None


def test_what_is_false_for_certain_stays_false_beside_the_unknown() -> None:
    """Kleene's and: one condition that fails decides, whatever the others are."""
    assert holds("-p udp -m frobnicate") is False


def test_unknown_marks_are_known_again_once_written_whole() -> None:
    """A mark of which nothing is kept is what was written (xt_mark.c)."""
    view = View(6, 1, 2, mark=None)
    WriteBits(Field.MARK, 0, 5).write(view)
    assert view.mark == 5


@given(old=st.integers(0, ALL_BITS), value=st.integers(0, ALL_BITS), mask=st.integers(0, ALL_BITS))
def test_marks_are_written_as_the_manual_tells(old: int, value: int, mask: int) -> None:
    """Each verb of MARK, as iptables-extensions(8) explains it in words."""
    told = {
        f"--set-xmark {value:#x}/{mask:#x}": (old & ~mask) ^ value,
        f"--set-mark {value:#x}/{mask:#x}": (old & ~mask) | value,
        f"--set-mark {value:#x}": value,
        f"--and-mark {value:#x}": old & value,
        f"--or-mark {value:#x}": old | value,
        f"--xor-mark {value:#x}": old ^ value,
    }
    for option, new in told.items():
        (effect,) = parse_rule("mangle", "c", 1, f"-j MARK {option}").effects
        view = View(6, 1, 2, mark=old)
        assert isinstance(effect, WriteBits)
        effect.write(view)
        assert view.mark == new & ALL_BITS, option


def test_connmark_saves_and_restores_under_its_masks() -> None:
    """``--nfmask`` is of the packet's mark and ``--ctmask`` of the connection's, either way."""
    text = "-j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xf"
    assert parse_rule("mangle", "c", 1, text).effects == (CopyMark(True, 0xFF, 0xF),)


def test_a_chain_that_is_called_like_a_target_is_what_its_name_leads_to() -> None:
    """iptables(8) warns of it and then uses the chain."""
    ruleset = parse_iptables_save("*filter\n:INPUT ACCEPT\n:LOG -\n-A INPUT -j LOG\nCOMMIT\n")
    (rule,) = ruleset.by_name["filter", "INPUT"].rules
    assert rule.effects == (Jump("LOG"),)


@pytest.mark.parametrize(
    ("text", "effects"),
    [
        ("-j DNAT --to-destination nowhere", (OutOfSight("DNAT"),)),
        ("-j NFQUEUE --queue-num 0", (OutOfSight("NFQUEUE"),)),
        ("-j TTL --ttl-frob 3", (OutOfSight("TTL"),)),
        ("-j ACCEPT", (Verdict.ACCEPT,)),
        ("-j LOG --log-prefix x", ()),
        ("-p tcp", ()),
    ],
)
def test_what_a_target_cannot_be_read_to_do_is_out_of_sight(
    text: str, effects: tuple[object, ...]
) -> None:
    """Options that make no sense do not make a verdict."""
    assert parse_rule("nat", "c", 1, text).effects == effects


PUBLISHED = """*nat
:PREROUTING ACCEPT
:OUTPUT ACCEPT
:DOCKER -
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
-A DOCKER -d 10.0.0.1/32 -p udp -m udp --dport 53 -j DNAT --to-destination 172.17.0.3:53
COMMIT
"""


def test_a_door_tells_what_was_dialled_to_come_to_a_server() -> None:
    """The port that the rule asks for, on the address that it names, or any own address; 127.0.0.1
    only where route_localnet may let it out."""
    ruleset = parse_iptables_save(PUBLISHED)
    shut, unknown = replace(HOST, localnet=frozenset()), replace(HOST, localnet=None)
    web = [end for door in doors([ruleset]) for end in door.dialled((0xAC110002, 80), shut)]
    name = [end for door in doors([ruleset]) for end in door.dialled((0xAC110003, 53), shut)]
    perhaps = [end for door in doors([ruleset]) for end in door.dialled((0xAC110002, 80), unknown)]
    assert set(perhaps) - set(web) == {(0x7F000001, 8080)}
    assert set(web) == {(0x0A000001, 8080), (0xAC110001, 8080)}
    assert set(name) == {(0x0A000001, 53)}
    assert servers(ruleset.rules) == {(0xAC110002, 80), (0xAC110003, 53)}


def test_a_netmap_is_a_door_to_the_same_place_in_another_net() -> None:
    """Who comes to 172.17.0.5 by it has dialled the 5th address of the net that it maps."""
    rule = "-A PREROUTING -d 10.9.0.0/16 -j NETMAP --to 172.17.0.0/16"
    (door,) = doors([parse_iptables_save(f"*nat\n:PREROUTING ACCEPT [0:0]\n{rule}\nCOMMIT\n")])
    assert list(door.dialled((0xAC110005, 80), HOST)) == [(0x0A090005, 80)]


def test_a_publication_names_its_port_or_is_none() -> None:
    """Only a rule with one port or one range of ports publishes what can be named."""
    told = publication(next(r for r in parse_iptables_save(PUBLISHED).rules if r.nat))
    assert told is not None
    assert (told.protocol, told.ports, told.server) == (6, (8080, 8080), (0xAC110002, 80))
    for text in (
        "-p tcp -m multiport --dports 80,443 -j DNAT --to-destination 172.17.0.2",
        "-p tcp -m tcp ! --dport 80 -j DNAT --to-destination 172.17.0.2",
        "-p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080",
    ):
        assert publication(parse_rule("nat", "c", 1, text)) is None


def test_dockers_rules_are_known_by_what_they_ask() -> None:
    """Its masquerading names a bridge's subnet, its raw drops shield a container, its isolation
    rules tell an internal network."""
    text = "*nat\n:POSTROUTING ACCEPT\n-A POSTROUTING -s 172.18.0.0/16 ! -o br-1 -j MASQUERADE\n"
    nets = bridge_nets([parse_iptables_save(text + "COMMIT\n")])
    assert nets == {"br-1": (0xAC120000, 0xAC12FFFF)}
    shields = parse_rule("raw", "c", 1, "-d 172.17.0.2/32 ! -i docker0 -j DROP")
    inside = parse_rule("filter", "c", 1, "! -s 172.19.0.0/16 -o br-2 -j DROP")
    assert (shielded_bridge(shields), shielded_bridge(inside)) == ("docker0", "")
    assert (internal_bridge(inside), internal_bridge(shields)) == ("br-2", "")
