"""The walk of one packet through the hooks: every path that the rules and the wire allow.

The flow follows the kernel: ip_rcv -> PREROUTING -> routing -> INPUT, or FORWARD -> POSTROUTING;
ip_local_out -> OUTPUT -> POSTROUTING. A condition that is unknown forks the walk; what the wire saw
(the destination and source after NAT, whether the packet left) prunes it. A walk that comes back
with one path is decided.

Facts (verified by kernel trace, see docs/attribution.md): a jump is a hit; ACCEPT and NAT verdicts
end a base chain; policies count packets that fell off the end, also after RETURN; nat sees only
packets that are NEW; TTL runs out after PREROUTING and before FORWARD; loopback walks nat at OUTPUT
and POSTROUTING only."""

from __future__ import annotations

from dataclasses import dataclass, replace

from correlator.firewall.conditions.ternary import conjunction
from correlator.firewall.effects.marks import write_fields
from correlator.firewall.effects.nat import Rewrite, destination_rewrite, source_rewrite
from correlator.firewall.model import Target
from correlator.firewall.view import INVALID, UNTRACKED, Host, View
from correlator.firewall.walk.program import HOOK_TABLES, CompiledChain, Program

MAX_PATHS = 96
CONTINUE_TARGETS = frozenset(
    [
        "LOG",
        "NFLOG",
        "ULOG",
        "TRACE",
        "TCPMSS",
        "CHECKSUM",
        "TEE",
        "SET",
        "AUDIT",
        "IDLETIMER",
        "RATEEST",
        "CLASSIFY",
        "LED",
        "ECN",
        "TCPOPTSTRIP",
        "HL",
        "SECMARK",
        "CONNSECMARK",
    ]
) | {""}
Event = tuple[str, str, str, int, int, str]
"""(kind, hook, table, entry, depth, text): kind is rule, policy, nat, route, end, or absent (a rule
that might have matched and did not)."""


class TooManyPathsError(Exception):
    """More unknown conditions than can be told apart."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One packet's way as the wire saw it.

    ``enters``: it came in on an interface (``view.in_interface``); else the host sent it.
    ``loops``: it was sent and received on loopback. ``walks_destination_nat`` and
    ``walks_source_nat``: conntrack lets it see the nat table (it is NEW and no earlier packet did).
    ``destination``: (address, port) after destination NAT, None unknown; ``source`` the same after
    source NAT. ``leaves``: True it was seen leaving by ``out_interface``, False it was not although
    that would have been seen, None nobody watched. ``joined``: whether the host is a member of the
    multicast group that it is for, None unknown; what is for another group ends behind PREROUTING
    (ip_route_input_rcu)."""

    view: View
    enters: bool
    loops: bool = False
    walks_destination_nat: bool = True
    walks_source_nat: bool = True
    destination: tuple[int, int] | None = None
    source: tuple[int, int] | None = None
    leaves: bool | None = None
    out_interface: str | None = None
    bridged: bool = False
    joined: bool | None = None


@dataclass(frozen=True, slots=True)
class Path:
    """One possible way: the entries hit, in order, and how it ended.

    ``end`` is sent, delivered, dropped, rejected, ttl, no-route, martian or reverse-path (both: its
    source is not believed), not-for-us or unknown-target. ``decider`` is the entry whose verdict
    ended it (-1: none). ``destination`` and ``source`` are (address, port) after NAT as far as it
    got. ``dnat_entry``/``snat_entry``: the rule that translated (-1: none)."""

    hits: tuple[int, ...]
    end: str
    decider: int
    events: tuple[Event, ...]
    destination: tuple[int, int]
    source: tuple[int, int]
    dnat_entry: int = -1
    snat_entry: int = -1
    connmark: int | None = 0
    untracked: bool = False
    forked: bool = False
    out_interface: str = ""


@dataclass(slots=True)
class _State:
    view: View
    events: list[Event]
    dnat_entry: int = -1
    snat_entry: int = -1
    forked: bool = False
    decider: int = -1

    def fork(self) -> _State:
        return _State(
            self.view.clone(),
            list(self.events),
            self.dnat_entry,
            self.snat_entry,
            self.forked,
            self.decider,
        )

    def note(self, kind: str, table: str, entry: int, depth: int, text: str = "") -> None:
        self.events.append((kind, self.view.hook, table, entry, depth, text))


class Walker:
    """Walks passages through one program on one host; what leaves by ``watched`` interfaces was
    seen."""

    def __init__(self, program: Program, host: Host, watched: frozenset[str] = frozenset()) -> None:
        self.program = program
        self.host = host
        self.watched = watched

    def walk(self, passage: Passage) -> list[Path]:
        """Every path that rules and wire allow; empty where they contradict each other.

        Raises :class:`TooManyPathsError` where unknown conditions leave more than ``MAX_PATHS``.
        """
        state = _State(passage.view.clone(), [])
        if passage.enters:
            return self._prefer(
                passage, self._incoming(passage, state, passage.walks_destination_nat)
            )
        paths: list[Path] = []
        for sent, end in self._outgoing(passage, state):
            if passage.loops:
                if end != "sent":
                    continue  # it was seen on loopback
                sent.view.in_interface, sent.view.out_interface = "lo", ""
                looped = replace(
                    passage, walks_destination_nat=False, walks_source_nat=False, leaves=None
                )
                looped = replace(looped, destination=None, source=None)
                paths.extend(self._incoming(looped, sent, False))
            else:
                paths.append(self._finish(sent, end))
        return self._prefer(passage, paths)

    def _prefer(self, passage: Passage, paths: list[Path]) -> list[Path]:
        """Paths that agree with what was seen leaving; seen is proof, not seen is only
        preferred."""
        if passage.leaves is True:
            return [path for path in paths if path.end in ("sent", "unknown-target")]
        if passage.leaves is False:
            stayed = [
                path
                for path in paths
                if path.end != "sent" or path.out_interface not in self.watched
            ]
            return stayed or paths
        return paths

    def _finish(self, state: _State, end: str) -> Path:
        view = state.view
        state.note("end", "", -1, 0, end)
        hits = tuple(
            event[3] for event in state.events if event[0] in ("rule", "policy") and event[3] >= 0
        )
        return Path(
            hits,
            end,
            state.decider,
            tuple(state.events),
            (view.dst, view.dport),
            (view.src, view.sport),
            state.dnat_entry,
            state.snat_entry,
            view.connmark,
            view.state == UNTRACKED,
            state.forked,
            view.out_interface or "",
        )

    # ---- hooks
    # --------------------------------------------------------------------------------

    def _incoming(self, passage: Passage, state: _State, nat: bool) -> list[Path]:
        paths: list[Path] = []
        for after, verdict in self._hook(state, "PREROUTING", passage, nat, False):
            if verdict != "ACCEPT":
                paths.append(self._finish(after, verdict))
                continue
            if not nat and passage.destination is not None and not passage.loops:
                self._translate(after, "nat", destination=passage.destination)
            paths.extend(self._route(passage, after))
        return paths

    def _route(self, passage: Passage, state: _State) -> list[Path]:
        view = state.view
        if passage.leaves:
            return self._forward(passage, state, passage.out_interface)
        kind = self.host.address_type(view.dst)
        turned_away = (
            ""
            if passage.loops or passage.bridged
            else self.host.turned_away(view.src, view.in_interface)
        )
        if kind == "LOCAL" and turned_away:
            return [self._finish(state, turned_away)]
        if passage.loops or kind in ("LOCAL", "BROADCAST"):
            return self._input(passage, state)
        if kind == "MULTICAST":
            if passage.joined is not None:
                return (
                    self._input(passage, state)
                    if passage.joined
                    else [self._finish(state, "not-for-us")]
                )
            ignored = state.fork()
            ignored.forked = state.forked = True
            return [*self._input(passage, state), self._finish(ignored, "not-for-us")]
        route = self.host.route(view.dst)
        if route is None or route.blackhole:
            if self.host.certain:
                return [self._finish(state, "no-route")]
            return self._forward(passage, state, None)
        if turned_away:
            return [self._finish(state, turned_away)]
        return self._forward(passage, state, route.device)

    def _forward(self, passage: Passage, state: _State, device: str | None) -> list[Path]:
        if state.view.ttl <= 1 and not passage.bridged:
            return [self._finish(state, "ttl")]
        if not passage.bridged:
            state.view.ttl -= 1
        state.view.out_interface = device
        state.note("route", "", -1, 0, device or "")
        paths: list[Path] = []
        for after, verdict in self._hook(state, "FORWARD", passage, False, False):
            if verdict != "ACCEPT":
                paths.append(self._finish(after, verdict))
            else:
                paths.extend(self._finish(s, e) for s, e in self._postrouting(passage, after))
        return paths

    def _input(self, passage: Passage, state: _State) -> list[Path]:
        state.view.out_interface = ""
        state.note("route", "", -1, 0, "local")
        nat = passage.walks_source_nat and not passage.loops
        return [
            self._finish(after, "delivered" if verdict == "ACCEPT" else verdict)
            for after, verdict in self._hook(state, "INPUT", passage, False, nat)
        ]

    def _outgoing(self, passage: Passage, state: _State) -> list[tuple[_State, str]]:
        results: list[tuple[_State, str]] = []
        first = self.host.route(state.view.dst)
        state.view.in_interface = ""
        state.view.out_interface = first.device if first is not None else passage.out_interface
        for after, verdict in self._hook(
            state, "OUTPUT", passage, passage.walks_destination_nat, False
        ):
            if verdict != "ACCEPT":
                results.append((after, verdict))
                continue
            if not passage.walks_destination_nat and passage.destination is not None:
                self._translate(after, "nat", destination=passage.destination)
            after.view.out_interface = passage.out_interface
            results.extend(self._postrouting(passage, after))
        return results

    def _postrouting(self, passage: Passage, state: _State) -> list[tuple[_State, str]]:
        state.view.in_interface = ""
        results: list[tuple[_State, str]] = []
        for after, verdict in self._hook(
            state, "POSTROUTING", passage, False, passage.walks_source_nat
        ):
            if verdict != "ACCEPT":
                results.append((after, verdict))
                continue
            if not passage.walks_source_nat and passage.source is not None:
                self._translate(after, "nat", source=passage.source)
            results.append((after, "sent"))
        return results

    def _hook(
        self, state: _State, hook: str, passage: Passage, destination_nat: bool, source_nat: bool
    ) -> list[tuple[_State, str]]:
        """All tables of one hook in order; a fork of a table goes through the later ones on its
        own."""
        running = [state]
        ended: list[tuple[_State, str]] = []
        state.view.hook = hook
        for table in HOOK_TABLES[hook]:
            chain = self.program.base_chain(table, hook)
            if table == "nat":
                if not (destination_nat or source_nat):
                    continue
                untracked = [s for s in running if s.view.state in (INVALID, UNTRACKED)]
                running = [s for s in running if s.view.state not in (INVALID, UNTRACKED)]
            else:
                untracked = []
            after: list[_State] = list(untracked)
            for current in running:
                for done, verdict in self._table(
                    current, table, chain, passage, destination_nat, source_nat
                ):
                    if verdict == "ACCEPT":
                        after.append(done)
                    else:
                        ended.append((done, verdict))
            running = after
            if len(running) + len(ended) > MAX_PATHS:
                raise TooManyPathsError
        return ended + [(s, "ACCEPT") for s in running]

    def _table(
        self,
        state: _State,
        table: str,
        chain: CompiledChain | None,
        passage: Passage,
        destination_nat: bool,
        source_nat: bool,
    ) -> list[tuple[_State, str]]:
        tracked = state.view.state
        if (
            table == "raw"
            and tracked != UNTRACKED
            and not (passage.loops and passage.walks_destination_nat is False)
        ):
            state.view.state = (
                INVALID  # raw runs before conntrack: xt_conntrack.c finds no connection there
            )
        results: list[tuple[_State, str]] = []
        outcomes = [(state, "ACCEPT", None)] if chain is None else self._base(state, table, chain)
        for after, verdict, rewrite in outcomes:
            if table == "raw" and after.view.state == INVALID:
                after.view.state = tracked
            if verdict == "ACCEPT" and table == "nat":
                if destination_nat and not self._check_destination(after, passage, rewrite):
                    continue
                if source_nat and not self._check_source(after, passage, rewrite):
                    continue
            results.append((after, verdict))
        return results

    # ---- translation
    # --------------------------------------------------------------------------------

    def _check_destination(
        self, state: _State, passage: Passage, rewrite: tuple[int, Rewrite] | None
    ) -> bool:
        """Whether the wire agrees with what the nat table decided on the destination; rewrites the
        view if so."""
        view, seen = state.view, passage.destination
        if rewrite is None:
            return seen is None or seen == (view.dst, view.dport)
        entry, allowed = rewrite
        state.dnat_entry = entry
        view.dnat = True
        if seen is not None:
            if not allowed.allows(seen[0], seen[1], view.dport):
                return False
            self._translate(state, "nat", destination=seen)
            return True
        single = allowed.single
        address = single[0] if single else allowed.addresses[0][0]
        port = (
            allowed.ports[0]
            if allowed.ports and view.dport not in range(*allowed.ports)
            else view.dport
        )
        state.forked = state.forked or single is None
        self._translate(state, "nat", destination=(address, port))
        return True

    def _check_source(
        self, state: _State, passage: Passage, rewrite: tuple[int, Rewrite] | None
    ) -> bool:
        view, seen = state.view, passage.source
        if rewrite is None:
            if seen is not None:
                if seen[0] != view.src:
                    return False
                self._translate(state, "nat", source=seen)
            return True
        entry, allowed = rewrite
        state.snat_entry = entry
        view.snat = True
        if seen is None:
            return True
        if not allowed.allows(seen[0], seen[1], view.sport):
            return False
        self._translate(state, "nat", source=seen)
        return True

    def _translate(
        self,
        state: _State,
        table: str,
        destination: tuple[int, int] | None = None,
        source: tuple[int, int] | None = None,
    ) -> None:
        view = state.view
        if destination is not None and destination != (view.dst, view.dport):
            state.note(
                "nat",
                table,
                -1,
                0,
                f"dst {view.dst} {view.dport} {destination[0]} {destination[1]}",
            )
            view.dst, view.dport = destination
        if source is not None and source != (view.src, view.sport):
            state.note("nat", table, -1, 0, f"src {view.src} {view.sport} {source[0]} {source[1]}")
            view.src, view.sport = source

    # ---- chains
    # --------------------------------------------------------------------------------

    def _base(
        self, state: _State, table: str, chain: CompiledChain
    ) -> list[tuple[_State, str, tuple[int, Rewrite] | None]]:
        results: list[tuple[_State, str, tuple[int, Rewrite] | None]] = []
        for after, verdict, rewrite in self._chain(state, table, chain, 0):
            if verdict == "RETURN":
                after.note("policy", table, chain.policy_entry, 0)
                verdict = "ACCEPT" if chain.policy == "ACCEPT" else "dropped"
                if verdict == "dropped":
                    after.decider = chain.policy_entry
            results.append((after, verdict, rewrite))
        return results

    def _chain(
        self, state: _State, table: str, chain: CompiledChain, depth: int
    ) -> list[tuple[_State, str, tuple[int, Rewrite] | None]]:
        results: list[tuple[_State, str, tuple[int, Rewrite] | None]] = []
        if depth > 64:
            raise TooManyPathsError
        pending = [(state, 0)]
        while pending:
            current, index = pending.pop()
            while index < len(chain.rules):
                rule = chain.rules[index]
                index += 1
                hit = conjunction(list(rule.predicates), current.view, self.host)
                if hit is not False and rule.entry in self.program.maybe:
                    hit = None
                if hit is False:
                    continue
                if hit is None:
                    if len(pending) + len(results) > MAX_PATHS:
                        raise TooManyPathsError
                    current.forked = True
                    other = current.fork()  # the path on which it did not match
                    other.note("absent", table, rule.entry, depth)
                    pending.append((other, index))
                current.note("rule", table, rule.entry, depth)
                name = rule.target.name
                jumped = self.program.chains.get((table, name))
                if jumped is not None:
                    onward = self._jump(current, table, jumped, depth, rule.target.goto, results)
                    if not onward:
                        break
                    current = onward[0]
                    pending.extend((other, index) for other in onward[1:])
                    continue
                ended = self._target(current, table, rule.entry, rule.target)
                if ended is not None:
                    results.append((current, *ended))
                    break
            else:
                results.append((current, "RETURN", None))
        return results

    def _jump(
        self,
        state: _State,
        table: str,
        chain: CompiledChain,
        depth: int,
        goto: bool,
        results: list[tuple[_State, str, tuple[int, Rewrite] | None]],
    ) -> list[_State]:
        """States that come back to the rule behind a jump; the others are added to ``results``."""
        back: list[_State] = []
        for after, verdict, rewrite in self._chain(state, table, chain, depth + 1):
            if verdict == "RETURN" and not goto:
                back.append(after)
            else:
                results.append((after, verdict, rewrite))
        return back

    def _target(
        self, state: _State, table: str, entry: int, target: Target
    ) -> tuple[str, tuple[int, Rewrite] | None] | None:
        """(verdict, rewrite) of a target that ends the chain; None where the walk goes on behind
        it."""
        name, view = target.name, state.view
        if name in ("ACCEPT", "RETURN"):
            return name, None
        if name in ("DROP", "REJECT"):
            state.decider = entry
            return ("dropped" if name == "DROP" else "rejected"), None
        if name in CONTINUE_TARGETS:
            return None
        if name in ("MARK", "CONNMARK", "TOS", "DSCP", "TTL", "CT", "NOTRACK"):
            write_fields(target, view)
            return None
        if name in ("DNAT", "REDIRECT", "SNAT", "MASQUERADE", "NETMAP"):
            rewrite = (
                source_rewrite(target, view, self.host)
                if view.hook in ("POSTROUTING", "INPUT")
                else destination_rewrite(target, view, self.host)
            )
            return "ACCEPT", (entry, rewrite) if rewrite is not None else None
        state.decider = entry
        state.forked = True
        return "unknown-target", None
