"""What a client may have dialled where no tap saw it."""

from __future__ import annotations

from ipaddress import IPv4Address

from correlator.endpoints import pack
from correlator.firewall import parse_iptables_save
from correlator.firewall.published import doors
from correlator.firewall.view import Host, Route
from correlator.reconcile.possible.alternatives import candidates, hidden_clients

RULES = """*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
"""
WAYS = doors([parse_iptables_save(RULES)])


def end(address: str, port: int) -> int:
    """An endpoint."""
    return int(pack(int(IPv4Address(address)), port))


def local(address: str, source: str) -> Route:
    """A route of the table ``local``."""
    return Route(int(IPv4Address(address)), 32, "lo", local=True, source=int(IPv4Address(source)))


HOST = Host(
    frozenset(int(IPv4Address(a)) for a in ("10.0.0.1", "10.0.0.2", "172.17.0.1")),
    routes=(
        local("10.0.0.1", "10.0.0.1"),
        local("10.0.0.2", "10.0.0.1"),  # a second address: sent from the first (prefsrc)
        local("172.17.0.1", "172.17.0.1"),
        Route(int(IPv4Address("172.17.0.0")), 16, "docker0", source=int(IPv4Address("172.17.0.1"))),
    ),
    localnet=frozenset({"docker0"}),
)
SERVER = end("172.17.0.2", 80)


def test_who_comes_from_outside_may_have_dialled_any_own_address() -> None:
    """The server itself, or the published port on each of the host's addresses, but not
    loopback."""
    found = candidates(SERVER, end("10.0.0.9", 40000), WAYS, HOST, host_sent=False)
    own = {end(address, 8080) for address in ("10.0.0.1", "10.0.0.2", "172.17.0.1")}
    assert set(found) == {SERVER, *own}


def test_who_sends_from_loopback_dialled_loopback() -> None:
    """A source of 127.0.0.0/8 cannot come from dialling the container, nor another address of the
    host's (fib_result_prefsrc); the identity stays among the candidates, last."""
    found = candidates(SERVER, end("127.0.0.1", 40000), WAYS, HOST, host_sent=True)
    assert found == (end("127.0.0.1", 8080), SERVER)


def test_the_hosts_own_source_tells_what_it_dialled() -> None:
    """Who sends from 172.17.0.1 dialled that address, or the container by its route."""
    found = candidates(SERVER, end("172.17.0.1", 40000), WAYS, HOST, host_sent=True)
    assert set(found) == {SERVER, end("172.17.0.1", 8080)}


def test_the_first_address_may_have_dialled_the_second() -> None:
    """Its own second address is dialled from the first (fib_result_prefsrc)."""
    found = candidates(SERVER, end("10.0.0.1", 40000), WAYS, HOST, host_sent=True)
    assert found == (end("10.0.0.1", 8080), end("10.0.0.2", 8080))


def test_a_rewritten_source_hides_who_dialled_what() -> None:
    """Behind a MASQUERADE as 172.17.0.1 each own address may have been dialled, from the source
    that the kernel gives it: the second address from the first."""
    found = set(hidden_clients(SERVER, end("172.17.0.1", 40000), WAYS, HOST))
    assert found == {
        (end("10.0.0.1", 8080), end("10.0.0.1", 40000)),
        (end("10.0.0.2", 8080), end("10.0.0.1", 40000)),
        (end("127.0.0.1", 8080), end("127.0.0.1", 40000)),  # route_localnet is on
    }
