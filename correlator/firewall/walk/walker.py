"""The walk of one packet through the hooks: every path that the rules and the wire allow.

The flow follows the kernel: ip_rcv -> PREROUTING -> routing -> INPUT, or FORWARD -> POSTROUTING;
ip_local_out -> OUTPUT -> POSTROUTING. A condition that is unknown forks the walk; what the wire saw
(the destination and source after NAT, whether the packet left) prunes it. A walk that comes back
with one path is decided.

Facts (verified by kernel trace, see docs/attribution.md): nat sees only packets that are NEW; TTL
runs out after PREROUTING and before FORWARD; loopback walks nat at OUTPUT and POSTROUTING only."""

from __future__ import annotations

from dataclasses import replace

from correlator.addresses import is_ipv6, is_link_local, is_multicast, is_no_source
from correlator.firewall.effects.nat import Rewrite
from correlator.firewall.hooks import Hook
from correlator.firewall.view import INVALID, NEW, UNKNOWN_ADDRESS, UNKNOWN_PORT, UNTRACKED, Host
from correlator.firewall.walk.chains import ANYTHING, Outcome, through_base
from correlator.firewall.walk.path import End, Passage, Path
from correlator.firewall.walk.program import MAX_PATHS, Program, Station
from correlator.firewall.walk.state import State, TooManyPathsError

Ended = tuple[State, End | None]
"""How a state came out of a hook: None, it goes on."""


class Walker:
    """Walks passages through one program on one host; what leaves by ``watched`` interfaces was
    seen."""

    def __init__(self, program: Program, host: Host, watched: frozenset[str] = frozenset()) -> None:
        self.program = program
        self.host = host
        self.watched = watched

    def walk(self, passage: Passage) -> list[Path]:
        """Every path that rules and wire allow; empty where they contradict each other.

        Raises :class:`~correlator.firewall.walk.state.TooManyPathsError` where unknown conditions
        leave more than ``MAX_PATHS``, or chains that fan out call for more than the program's
        patience."""
        state = State(passage.view.clone())
        if passage.flooded:
            ways = self._forward(passage, state, passage.out_interface)
            return self._prefer(passage, self._told_apart(passage, ways))
        if passage.enters:
            nat = passage.walks_destination_nat
            return self._prefer(
                passage, self._told_apart(passage, self._incoming(passage, state, nat))
            )
        paths: list[Path] = []
        for sent, end in self._outgoing(passage, state):
            if passage.loops:
                if end is End.SENT:  # else it was not seen on loopback
                    paths += self._looped(passage, sent)
            else:
                paths.append(sent.finish(end))
        return self._prefer(passage, self._told_apart(passage, paths))

    def _looped(self, passage: Passage, state: State) -> list[Path]:
        """What was sent on loopback comes in again, past nat."""
        state.view.in_interface, state.view.out_interface = "lo", ""
        again = replace(
            passage,
            walks_destination_nat=False,
            walks_source_nat=False,
            leaves=None,
            destination=None,
            source=None,
        )
        return self._incoming(again, state, False)

    def _told_apart(self, passage: Passage, paths: list[Path]) -> list[Path]:
        """Without those that hit like one of which more is known: where it was led, how it ended.
        That a chain which nobody listed ended it is kept where nothing else did, and it was not
        seen leaving."""
        ended = [path for path in paths if path.end is End.UNLISTED]
        known = {(p.hits, p.end) for p in paths if p.destination[0] != UNKNOWN_ADDRESS}
        others = [
            path
            for path in paths
            if path.end is not End.UNLISTED
            and (path.destination[0] != UNKNOWN_ADDRESS or (path.hits, path.end) not in known)
        ]
        if not ended or passage.leaves is not False or not all(map(self._is_lost, others)):
            return others
        hits = {path.hits for path in others}
        kept = {path.hits: path for path in ended if path.hits not in hits}
        return [replace(path, forked=True) for path in (*others, *kept.values())]

    def _is_lost(self, path: Path) -> bool:
        """Whether it should have been seen leaving."""
        return path.end is End.SENT and path.out_interface in self.watched

    def _prefer(self, passage: Passage, paths: list[Path]) -> list[Path]:
        """Paths that agree with what was seen leaving; seen is proof, not seen is only
        preferred."""
        if passage.leaves is True:
            return [path for path in paths if path.end in (End.SENT, End.UNKNOWN_TARGET)]
        if passage.leaves is False:
            stayed = [p for p in paths if not self._is_lost(p) and p.end is not End.UNLISTED]
            return stayed or paths
        return paths

    # ---- from hook to hook

    def _incoming(self, passage: Passage, state: State, nat: bool) -> list[Path]:
        paths: list[Path] = []
        for after, end in self._hook(state, Hook.PREROUTING, passage, nat, False):
            if end is not None:
                paths.append(after.finish(end))
                continue
            if not nat and not passage.loops:
                if not passage.leaves and self._may_be_translated(after):
                    led = after.fork()
                    led.forked = after.forked = led.view.dnat = True
                    led.translate(destination=(UNKNOWN_ADDRESS, UNKNOWN_PORT))
                    paths.extend(self._route(passage, led))
                if passage.destination is not None:
                    after.translate(destination=passage.destination)
            paths.extend(self._route(passage, after))
        return paths

    def _may_be_translated(self, state: State) -> bool:
        """Whether an earlier packet's translation, which nothing tells, may be applied to what is
        still NEW: nobody listed nat."""
        return state.view.state == NEW and self.program.nat_unlisted

    def _route(self, passage: Passage, state: State) -> list[Path]:
        view = state.view
        if passage.leaves:
            return self._forward(passage, state, passage.out_interface)
        if view.dst == UNKNOWN_ADDRESS:
            return self._anywhere(passage, state)
        routed = not (passage.loops or passage.bridged)
        if routed and self.host.keeps_out(view.dst, view.in_interface):
            return [state.finish(End.MARTIAN_DESTINATION)]
        if routed and is_no_source(view.src):
            return [state.finish(End.MARTIAN)]
        kind = self.host.address_type(view.dst)
        refused = None
        if routed:
            word = self.host.turned_away(view.src, view.in_interface)
            refused = End(word) if word else None
        if kind == "LOCAL" and refused:
            return [state.finish(refused)]
        if passage.loops or kind in ("LOCAL", "BROADCAST", "ANYCAST"):
            return self._input(passage, state)
        if kind == "MULTICAST":
            return self._group(passage, state)
        route = self.host.route(view.dst)
        if route is None or route.blackhole:
            if self.host.certain:
                return [state.finish(End.NO_ROUTE)]
            return self._forward(passage, state, None)
        if routed and not self.host.forwards(view.in_interface):
            return [state.finish(End.NOT_FORWARDED)]
        if routed and is_link_local(view.src):
            return [state.finish(End.LINK_LOCAL)]
        if refused:
            return [state.finish(refused)]
        return self._forward(passage, state, route.device)

    def _anywhere(self, passage: Passage, state: State) -> list[Path]:
        """What was led nobody knows where: to the host itself, or out of any interface that a route
        names."""
        named = {route.device for route in self.host.routes if route.device and not route.local}
        paths = self._input(passage, state.fork())
        out: list[str | None] = [*sorted(named)]
        for device in out or [None]:
            paths += self._forward(passage, state.fork(), device)
        return paths

    def _group(self, passage: Passage, state: State) -> list[Path]:
        """Multicast: the host takes it where it is a member of the group."""
        if passage.joined is False:
            return [state.finish(End.NOT_FOR_US)]
        if passage.joined:
            return self._input(passage, state)
        ignored = state.fork()
        ignored.forked = state.forked = True
        return [*self._input(passage, state), ignored.finish(End.NOT_FOR_US)]

    def _forward(self, passage: Passage, state: State, device: str | None) -> list[Path]:
        if state.view.ttl <= 1 and not passage.bridged:
            return [state.finish(End.TTL)]
        paths: list[Path] = []
        too_big = self.host.exceeds_mtu(state.view.indivisible, device) and not passage.bridged
        if too_big and passage.leaves is False:  # else it was seen leaving, or nobody looked
            state.forked = True
            paths.append(state.fork().finish(End.TOO_BIG))
        if not passage.bridged:
            state.view.ttl -= 1
        state.view.out_interface = device
        state.route(device or "")
        for after, end in self._hook(state, Hook.FORWARD, passage, False, False):
            if end is not None:
                paths.append(after.finish(end))
            else:
                paths.extend(s.finish(e) for s, e in self._postrouting(passage, after))
        return paths

    def _input(self, passage: Passage, state: State) -> list[Path]:
        state.view.out_interface = ""
        state.route(None)
        nat = passage.walks_source_nat and not passage.loops
        return [
            after.finish(end or End.DELIVERED)
            for after, end in self._hook(state, Hook.INPUT, passage, False, nat)
        ]

    def _outgoing(self, passage: Passage, state: State) -> list[tuple[State, End]]:
        results: list[tuple[State, End]] = []
        first = self.host.route(state.view.dst)
        if is_ipv6(state.view.dst) and (
            is_multicast(state.view.dst) or is_link_local(state.view.dst)
        ):
            first = None  # whoever sends it says by which interface
        state.view.in_interface = ""
        state.view.out_interface = first.device if first is not None else passage.out_interface
        nat = passage.walks_destination_nat
        for after, end in self._hook(state, Hook.OUTPUT, passage, nat, False):
            if end is not None:
                results.append((after, end))
                continue
            if not nat and passage.destination is not None:
                after.translate(destination=passage.destination)
            after.view.out_interface = passage.out_interface
            results.extend(self._postrouting(passage, after))
        return results

    def _postrouting(self, passage: Passage, state: State) -> list[tuple[State, End]]:
        """What is forwarded still has the interface that it came in by (ip_output), what a bridge
        passes on has none (br_nf_post_routing)."""
        if passage.bridged or not passage.enters:
            state.view.in_interface = ""
        results: list[tuple[State, End]] = []
        nat = passage.walks_source_nat
        for after, end in self._hook(state, Hook.POSTROUTING, passage, False, nat):
            if end is None and not nat and passage.source is not None:
                after.translate(source=passage.source)
            results.append((after, end or End.SENT))
        return results

    # ---- within a hook

    def _hook(
        self, state: State, hook: Hook, passage: Passage, destination_nat: bool, source_nat: bool
    ) -> list[Ended]:
        """All stations of a hook in order; a fork goes through the later ones on its own."""
        running = [state]
        ended: list[Ended] = []
        state.enter(hook)
        for station in self.program.stations[hook]:
            after: list[State] = []
            if not station.nat:
                for current in running:
                    for done in self._filter(current, station, passage):
                        if done.end is None:
                            after.append(done.state)
                        else:
                            done.state.tied = station.tied
                            ended.append((done.state, done.end))
            elif destination_nat or source_nat:
                after = [s for s in running if s.view.state in (INVALID, UNTRACKED)]
                for current in running:
                    if current.view.state in (INVALID, UNTRACKED):
                        continue
                    for done in self._translated(current, station):
                        if done.end is not None:
                            ended.append((done.state, done.end))
                        elif self._agrees(done, passage, destination_nat, source_nat):
                            after.append(done.state)
            else:  # nat translates without its chains what belongs to a translated connection
                if hook is Hook.OUTPUT and passage.destination is not None:
                    for current in running:
                        current.translate(destination=passage.destination)
                continue
            running = after
            if len(running) + len(ended) > MAX_PATHS:
                raise TooManyPathsError
        return [*ended, *((s, None) for s in running)]

    def _filter(self, state: State, station: Station, passage: Passage) -> list[Outcome]:
        """A base chain; ahead of conntrack a packet belongs to no connection (xt_conntrack.c finds
        none there), unless it has been through OUTPUT and loops back, or was made with one."""
        (chain,) = station.chains
        if chain.device and chain.device != state.view.in_interface:
            return [Outcome(state)]
        if not chain.listed:
            state.unseen = True
            ended = [] if passage.leaves else [Outcome(state.fork(), End.UNLISTED)]
            return [Outcome(state), *ended]
        tracked = state.view.state
        known = passage.attached if state.hook is Hook.OUTPUT else passage.loops
        told = tracked == UNTRACKED and not passage.aside
        if station.before_conntrack and not told and not known:
            state.view.state = INVALID
        outcomes = through_base(self.program, self.host, state, chain)
        for outcome in outcomes:
            outcome.state.ahead = station.before_conntrack and outcome.end is not None and not known
            if station.before_conntrack and outcome.state.view.state == INVALID:
                outcome.state.view.state = tracked
        return outcomes

    def _translated(self, state: State, station: Station) -> list[Outcome]:
        """The chains of type nat, until one of them translates (nf_nat_inet_fn). One that nobody
        listed may write anything, or nothing."""
        outcomes = [Outcome(state)]
        for chain in station.chains:
            after: list[Outcome] = []
            for one in outcomes:
                if one.end is not None or one.rewrite is not None:
                    after.append(one)
                elif chain.listed:
                    after += through_base(self.program, self.host, one.state, chain)
                else:
                    after += [one, Outcome(one.state.fork(), rewrite=(-1, ANYTHING))]
            outcomes = after
        return outcomes

    def _agrees(
        self, outcome: Outcome, passage: Passage, destination_nat: bool, source_nat: bool
    ) -> bool:
        """Whether the wire agrees with what nat decided; rewrites the view if so."""
        state, rewrite = outcome.state, outcome.rewrite
        if destination_nat and not _to_destination(state, passage, rewrite):
            return False
        return not source_nat or _to_source(state, passage, rewrite)


def _to_destination(state: State, passage: Passage, rewrite: tuple[int, Rewrite] | None) -> bool:
    view, seen = state.view, passage.destination
    if rewrite is None:
        return seen is None or seen == (view.dst, view.dport)
    entry, allowed = rewrite
    if allowed is ANYTHING:
        if seen == (view.dst, view.dport):
            return False  # as where nothing is written
        view.dnat, state.forked = True, state.forked or seen is None
        state.translate(destination=seen or (UNKNOWN_ADDRESS, UNKNOWN_PORT))
        return True
    state.dnat_entry = entry
    view.dnat = True
    if seen is not None:
        if not allowed.allows(seen[0], seen[1], view.dport):
            return False
        state.translate(destination=seen)
        return True
    single = allowed.single
    address = single[0] if single else allowed.addresses[0][0]
    low, high = allowed.ports or (view.dport, view.dport)
    state.forked = state.forked or single is None
    state.translate(destination=(address, view.dport if low <= view.dport <= high else low))
    return True


def _to_source(state: State, passage: Passage, rewrite: tuple[int, Rewrite] | None) -> bool:
    view, seen = state.view, passage.source
    if rewrite is None:
        if seen is not None:
            if seen[0] != view.src:
                return False
            state.translate(source=seen)
        return True
    entry, allowed = rewrite
    if allowed is ANYTHING:
        if seen is None or seen[0] == view.src:
            return False  # as where nothing is written
        view.snat = True
        state.translate(source=seen)
        return True
    state.snat_entry = entry
    view.snat = True
    if seen is None:
        return True
    if not allowed.allows(seen[0], seen[1], view.sport):
        return False
    state.translate(source=seen)
    return True
