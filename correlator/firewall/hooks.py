"""Where chains stand: hooks, priorities and types, told once (include/uapi/linux/netfilter_ipv4.h).

At a hook, base chains run in order of priority, whatever table they stand in. Conntrack runs at
-200: what comes before ("raw") sees packets that belong to no connection yet. Chains of type nat
are run together where the kernel's nat stands, each at its own priority among them only
(net/netfilter/nf_nat_proto.c), and see the first packet of a connection::

    PREROUTING    raw -300 | conntrack -200 | mangle -150 | nat -100
    INPUT                                     mangle -150 | filter 0 | security 50 | nat 100
    FORWARD                                   mangle -150 | filter 0 | security 50
    OUTPUT        raw -300 | conntrack -200 | mangle -150 | nat -100 | filter 0 | security 50
    POSTROUTING                               mangle -150 | nat 100
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Hook(StrEnum):
    """A place in a packet's way at which chains are run; in the order in which iptables lists
    them."""

    PREROUTING = "PREROUTING"
    INPUT = "INPUT"
    FORWARD = "FORWARD"
    OUTPUT = "OUTPUT"
    POSTROUTING = "POSTROUTING"


class ChainType(StrEnum):
    """What a base chain is for; ``nat`` chains see the first packet of a connection only."""

    FILTER = "filter"
    NAT = "nat"
    ROUTE = "route"


CONNTRACK = -200
NAT_AT = {Hook.PREROUTING: -100, Hook.OUTPUT: -100, Hook.INPUT: 100, Hook.POSTROUTING: 100}
"""Where the kernel's nat stands at each hook that has it."""


@dataclass(frozen=True, slots=True)
class Base:
    """Where a base chain stands."""

    hook: Hook
    priority: int
    type: ChainType = ChainType.FILTER

    @property
    def before_conntrack(self) -> bool:
        """Whether its packets belong to no connection yet (``raw``): conntrack looks at them where
        they come in or are sent (ipv4_conntrack_ops, net/netfilter/nf_conntrack_proto.c)."""
        return self.hook in (Hook.PREROUTING, Hook.OUTPUT) and self.priority < CONNTRACK

    @property
    def is_nat(self) -> bool:
        """Whether it sees the first packet of a connection only."""
        return self.type is ChainType.NAT

    @property
    def order(self) -> tuple[int, int]:
        """What base chains of one hook are sorted by."""
        return (NAT_AT[self.hook] if self.is_nat else self.priority, self.priority)


_PRIORITIES: dict[str, tuple[int, tuple[Hook, ...]]] = {
    "raw": (-300, (Hook.PREROUTING, Hook.OUTPUT)),
    "mangle": (-150, tuple(Hook)),
    "nat": (-100, (Hook.PREROUTING, Hook.INPUT, Hook.OUTPUT, Hook.POSTROUTING)),
    "filter": (0, (Hook.INPUT, Hook.FORWARD, Hook.OUTPUT)),
    "security": (50, (Hook.INPUT, Hook.FORWARD, Hook.OUTPUT)),
}


def _base(table: str, hook: Hook) -> Base:
    if table == "nat":
        return Base(hook, NAT_AT[hook], ChainType.NAT)
    routes = table == "mangle" and hook is Hook.OUTPUT
    return Base(hook, _PRIORITIES[table][0], ChainType.ROUTE if routes else ChainType.FILTER)


IPTABLES: dict[str, dict[str, Base]] = {
    table: {hook.value: _base(table, hook) for hook in hooks}
    for table, (_, hooks) in _PRIORITIES.items()
}
"""table -> base chain -> where it stands, for the tables that iptables has; both in the order in
which it lists them."""
TABLES = tuple(IPTABLES)
TABLES_AT: dict[Hook, tuple[str, ...]] = {
    hook: tuple(
        sorted(
            (table for table, chains in IPTABLES.items() if hook in chains),
            key=lambda table: IPTABLES[table][hook].order,
        )
    )
    for hook in Hook
}
"""iptables' tables at each hook, in the order in which packets meet them."""


USUAL = ("raw", "mangle", "nat", "filter")
"""Tables that any host may have; ``security`` is for SELinux alone."""
EXPECTED = ("nat", "filter")
"""Those that hosts with containers do have."""


def iptables_base(table: str, chain: str) -> Base | None:
    """Where a chain of iptables stands; None for a user's chain."""
    return IPTABLES.get(table, {}).get(chain)
