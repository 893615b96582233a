"""Random rules: targets, chains within chains."""

from __future__ import annotations

from collections.abc import Mapping

from tests.lab.accuracy.conditions import Place, Words, conditions

TARGETS: Mapping[str, dict[str, int]] = {
    "filter": {
        "ACCEPT": 16,
        "DROP": 9,
        "REJECT": 8,
        "RETURN": 22,
        "LOG": 12,
        "": 16,
        "MARK": 8,
        "CONNMARK": 6,
    },
    "mangle": {
        "MARK": 28,
        "CONNMARK": 20,
        "TCPMSS": 8,
        "TTL": 5,
        "TOS": 8,
        "": 14,
        "ACCEPT": 5,
        "RETURN": 6,
        "DROP": 3,
    },
    "raw": {
        "": 30,
        "NOTRACK": 25,
        "MARK": 20,
        "ACCEPT": 8,
        "DROP": 6,
        "CT --zone 1": 4,
        "RETURN": 7,
    },
    "nat": {"": 1, "RETURN": 1, "ACCEPT": 1, "MARK": 1},
}
"""Table -> target -> weight; no target is a rule that only counts."""
MARKS = (
    *(f"--set-xmark {mark}" for mark in ("0x1/0xffffffff", "0x2/0x2", "0x0/0xffffffff")),
    "--set-mark 0x10/0xff",
    "--or-mark 0x2",
    "--xor-mark 0x1",
)
CONNMARKS = (
    "--set-xmark 0x1/0xffffffff",
    "--save-mark",
    "--restore-mark",
    "--set-xmark 0x2/0x2",
    "--save-mark --nfmask 0xf --ctmask 0xf",
    "--restore-mark --nfmask 0xff --ctmask 0xff",
    "--set-mark 0x7",
)
REASONS = tuple(f"icmp-{why}" for why in ("port-unreachable", "host-prohibited", "net-unreachable"))


def target(w: Words, table: str, protocol: str) -> str:
    """What one random rule does."""
    weights = TARGETS[table]
    name = w.r.choices(list(weights), list(weights.values()))[0]
    if name == "REJECT":
        reset = protocol == "tcp" and w.maybe(0.5)
        return f"-j REJECT --reject-with {'tcp-reset' if reset else w.pick(*REASONS)}"
    if name == "LOG":
        return f'-j LOG --log-prefix "{w.pick("drop: ", "x ")}"' + w.pick("", " --log-tcp-options")
    if name == "TCPMSS":
        clamp = "-m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu"
        return clamp if protocol == "tcp" else f"-p tcp {clamp}" if not protocol else ""
    if name == "TTL":
        return f"-j TTL {w.pick('--ttl-set 64', '--ttl-inc 1', '--ttl-dec 1', '--ttl-set 10')}"
    if name == "TOS":
        return w.pick(
            "-j TOS --set-tos 0x10/0x3f", "-j DSCP --set-dscp 0x2e", "-j TOS --set-tos 0x08/0xff"
        )
    if name == "MARK":
        return f"-j MARK {w.pick(*MARKS)}"
    if name == "CONNMARK":
        return f"-j CONNMARK {w.pick(*CONNMARKS)}"
    return f"-j {name}" if name else ""


def random_rules(
    w: Words, place: Place, chain: str, count: int, depth: int, chains: list[str]
) -> list[str]:
    """``count`` random rules for a chain, with chains of their own down to ``depth``, whose names
    are added to ``chains``."""
    made: list[str] = []
    for _ in range(count):
        asked, protocol = conditions(w, place)
        if depth and w.chains < 9 and w.maybe(0.22):
            w.chains += 1
            below = f"U{w.chains}-{w.pick('in', 'web', 'long-name-of-a-chain', 'x')}"
            chains.append(below)
            made.append(f"-A {chain} {asked} {w.pick('-j', '-j', '-j', '-g')} {below}")
            made += random_rules(w, place, below, w.r.randint(1, 3), depth - 1, chains)
        else:
            made.append(f"-A {chain} {asked} {target(w, place.table, protocol)}")
    return [" ".join(line.split(" ")) if '"' in line else " ".join(line.split()) for line in made]
