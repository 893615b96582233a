"""What each packet may have been: hypotheses and walks refined together until they agree.

Whether a packet was dropped tells conntrack's view of the next one (a dropped SYN leaves no entry
behind), and that tells its walk: so label, walk, and label again with what the walk showed, until
nothing changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from correlator.endpoints import NOWHERE, address_of, pack
from correlator.firewall.effects.fields import touches_connmark
from correlator.firewall.published import doors
from correlator.firewall.walk.path import End, Endpoint
from correlator.flows.conntrack import RELATED_KIND, S_ESTABLISHED, S_INVALID, S_NEW, TCP
from correlator.flows.labels import FRESH, Labels, last_alone, track
from correlator.reconcile.possible.alternatives import (
    Alternatives,
    Hypothesis,
    list_alternatives,
    published_servers,
)
from correlator.reconcile.possible.answers import about_untracked, without_connection
from correlator.reconcile.possible.ends import find_ends
from correlator.reconcile.possible.floods import nat_of_copies
from correlator.reconcile.possible.openings import for_groups, other_openings
from correlator.reconcile.possible.rows import Rows, expand
from correlator.reconcile.possible.walks import Walked, walk_rows

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Bools, Bytes, Ints
    from correlator.reconcile.intake.generations import Stages
    from correlator.reconcile.possible.scene import Scene


ROUNDS = 4


@dataclass(frozen=True)
class Explored:
    """Everything that rules and wire leave possible. ``hints``: what the labels rest on;
    ``unsettled`` bool (pairs,): labels and walks still told each other something new at the end.
    ``groups`` bool (n,): as :func:`for_groups` tells them."""

    hypotheses: tuple[Hypothesis, ...]
    alternatives: Alternatives
    rows: Rows
    walked: Walked
    hints: Hints
    unsettled: Bools
    groups: Bools

    @property
    def agreed(self) -> bool:
        """Whether labels and walks told each other nothing new at the end, anywhere."""
        return not self.unsettled.any()


@dataclass
class Hints:
    """What walks told: packets that conntrack forgot or never saw, where DNAT led, marks of
    connections (n,)."""

    unconfirmed: Bools
    untracked: Bools
    server: Ints
    connmark: Ints


def explore(
    scene: Scene,
    stages: Stages,
    stage_of: Ints,
    opening: npt.NDArray[np.int8],
    witnessed: npt.NDArray[np.int8],
    capture_begin: int,
) -> Explored:
    """Label and walk all crossings; ``stage_of`` (n,), ``opening`` and ``witnessed`` (pairs,) as in
    their modules."""
    crossings = scene.crossings
    ways = cache(lambda: doors(stages.rulesets))
    rewrites = any(
        rule.nat is not None and not rule.nat.of_destination
        for ruleset in stages.rulesets
        for rule in ruleset.rules
    )
    marks = any(
        touches_connmark(effect)
        for ruleset in stages.rulesets
        for rule in ruleset.rules
        for effect in rule.effects
    )
    alone = crossings.entered & ~crossings.sent
    foreign = np.array(
        [not scene.host.is_local(address_of(int(d))) for d in crossings.in_destination], dtype=bool
    )
    n = len(crossings)
    hints = Hints(
        alone & foreign, np.zeros(n, dtype=bool), np.full(n, NOWHERE), np.zeros(n, dtype=np.int64)
    )
    shown = np.where(crossings.entered, crossings.came_in, crossings.left)
    sequence = scene.packets["seq"].to_numpy()[shown].astype(np.int64)
    others = other_openings(
        crossings,
        opening,
        capture_begin,
        sequence,
        published_servers(stages.rulesets),
        witnessed,
        scene.host.conntrack,
    )
    groups = for_groups(scene)
    grouped = np.full(len(opening), -1, dtype=np.int8)
    grouped[crossings.pair[groups]] = opening[crossings.pair[groups]]
    others += [grouped] if groups.any() else []
    assumptions = [Assumption(opening, joined=False)]
    assumptions += [Assumption(other) for other in others]
    assumptions += _of_conntrack(scene, opening, hints)
    known: list[Labels | None] = [None] * len(assumptions)
    changed = np.ones(int(crossings.pair.max()) + 1 if n else 0, dtype=bool)
    used = hints
    for _ in range(ROUNDS):
        used = hints
        # as the first hypothesis takes it, the host has not joined the groups that packets are for;
        # the others say that it has
        joined = replace(hints, unconfirmed=hints.unconfirmed & ~groups)
        hypotheses = [
            _label(scene, one, joined if one.joined else hints, changed, before)
            for one, before in zip(assumptions, known, strict=True)
        ]
        known = [one.labels for one in hypotheses]
        asked = [None, *(one.opening for one in assumptions[1:])]
        alternatives = list_alternatives(crossings, hypotheses, asked, ways, scene.host, rewrites)
        rows = expand(scene, hypotheses, alternatives, stage_of, hints.connmark)
        walked = walk_rows(rows, stages.stages, scene)
        learned = _learn(hints, crossings.pair, hypotheses[0], alternatives, rows, walked, marks)
        unsettled = np.zeros_like(changed)
        unsettled[crossings.pair[_unlike(learned, hints)]] = True
        if not unsettled.any():
            break
        other = (learned.unconfirmed != hints.unconfirmed) | (learned.untracked != hints.untracked)
        changed = np.zeros_like(changed)
        changed[crossings.pair[other]] = True
        hints = learned
    return Explored(tuple(hypotheses), alternatives, rows, walked, used, unsettled, groups)


@dataclass(frozen=True)
class Assumption:
    """What a hypothesis takes for given: how pairs open, int8 (pairs,) (-1: it is not about that
    one); that the host has ``joined`` multicast groups; that conntrack checks neither
    windows nor checksums, and that what acknowledges an answer had one (``liberal``); crossings
    (n,) before which it had ``lost`` their entry; that the capture is ``complete``: what nobody
    captured is no connection to which an ICMP error could belong."""

    opening: Bytes
    joined: bool = True
    liberal: bool = False
    lost: Bools | None = None
    complete: bool = False


def _of_conntrack(scene: Scene, opening: Bytes, hints: Hints) -> list[Assumption]:
    """What else conntrack may have made of connections that it knew.

    A segment that seems out of its window, or to acknowledge nothing, may be one that follows
    others which the capture lost; a checksum may be wrong in the capture only, where hardware has
    seen to it. An entry may be gone before its time (``conntrack -D``, a table that was full): who
    waits for an answer then sends on, and nothing of it leaves. An ICMP error that quotes what
    nobody captured may be about a connection from before, or about none at all: then it is
    INVALID."""
    c = scene.crossings
    found = []
    base = _label(scene, Assumption(opening, joined=False), hints, None, None).labels
    astray = np.zeros(len(opening), dtype=bool)
    astray[c.pair[(base.state == S_INVALID) & (c.protocol == TCP)]] = True
    if c.broken is not None:
        astray[c.pair[c.broken]] = True
    if astray.any():
        asked = Assumption(np.where(astray, opening, -1).astype(np.int8), liberal=True)
        found += [asked]
    lost = last_alone(c) & (base.state == S_ESTABLISHED) & (c.protocol == TCP)
    if lost.any():
        concerned = np.full(len(opening), -1, dtype=np.int8)
        concerned[c.pair[lost]] = opening[c.pair[lost]]
        found += [Assumption(concerned, lost=lost)]
    errors = c.kind == RELATED_KIND
    if errors.any():
        told = np.zeros(len(opening), dtype=bool)
        told[c.pair[errors]] = True
        complete = Assumption(opening, joined=False, complete=True)
        strict = _label(scene, complete, hints, told, base).labels
        unknown = np.zeros(len(opening), dtype=bool)
        unknown[c.pair[errors & (strict.state != base.state)]] = True
        if unknown.any():
            concerned = np.where(unknown, opening, -1).astype(np.int8)
            found += [Assumption(concerned, complete=True)]
    return found


def _label(
    scene: Scene, one: Assumption, hints: Hints, changed: Bools | None, before: Labels | None
) -> Hypothesis:
    """Label the pairs that ``changed`` (pairs,); the others are as they were ``before``."""
    concerned = one.opening >= 0
    settings = scene.host.conntrack
    labels = track(
        scene.crossings,
        np.where(concerned, one.opening, FRESH).astype(np.int8),
        hints.unconfirmed,
        hints.untracked,
        concerned if changed is None else concerned & changed,
        before,
        replace(settings, tcp_be_liberal=1, checksum=0) if one.liberal else settings,
        one.lost,
        one.complete,
        one.liberal,
    )
    errors = about_untracked(scene.crossings, scene.packets, hints.untracked)
    labels = nat_of_copies(without_connection(labels, errors), scene)
    ends = find_ends(
        scene.crossings, labels, scene.in_code, scene.out_code, hints.server, scene.witness
    )
    return Hypothesis(labels, ends, one.joined)


def _learn(
    hints: Hints,
    pair: Ints,
    base: Hypothesis,
    alternatives: Alternatives,
    rows: Rows,
    walked: Walked,
    marks: bool,
) -> Hints:
    """What the walks of each pair's first alternative show."""
    likeliest = np.zeros(len(alternatives.pair), dtype=bool)
    _, first = np.unique(alternatives.pair, return_index=True)
    likeliest[first] = True
    likeliest &= alternatives.hypothesis == 0
    at = np.flatnonzero(likeliest[rows.alternative])
    crossing, kind = rows.crossing[at], walked.kind[at]
    facts = [_facts(ways) for ways in walked.ways]
    forgotten = np.array([f.forgotten for f in facts], dtype=bool)
    untracked = np.array([f.untracked for f in facts], dtype=bool)
    result = Hints(
        np.zeros_like(hints.unconfirmed),
        np.zeros_like(hints.untracked),
        hints.server.copy(),
        np.zeros_like(hints.connmark),
    )
    opened = base.labels.destination_nat[crossing] | (base.labels.state[crossing] == S_NEW)
    result.unconfirmed[crossing] = forgotten[kind] & opened
    # A request that ends ahead of conntrack opens nothing, and is told as the connection that it
    # would have been; an answer belongs to none.
    ahead = np.array([f.ahead for f in facts], dtype=bool)
    answers = (rows.columns["reply"][at] == 1) | hints.untracked[crossing]
    result.untracked[crossing] = untracked[kind] | (ahead[kind] & answers)
    _learn_servers(result, rows, walked, at, facts)
    if marks:
        _learn_marks(result, rows, walked, at, pair << 20 | base.labels.connection)
    return result


class Agreed(NamedTuple):
    """What all ways of a kind have in common: they end before conntrack confirms (``forgotten``),
    are ``untracked``, or end ``ahead`` of conntrack; the one destination that they lead to."""

    forgotten: bool = False
    untracked: bool = False
    ahead: bool = False
    target: Endpoint | None = None


def _facts(ways: tuple[object, ...]) -> Agreed:
    paths = [way.path for way in ways]  # type: ignore[attr-defined]
    if not paths:
        return Agreed()
    # where a chain that nobody listed may have ended it, it leads where the others lead
    onward = [path for path in paths if path.end is not End.UNLISTED]
    targets = {path.destination for path in onward if path.dnat_entry >= 0}
    single = (
        targets.pop()
        if len(targets) == 1 and all(path.dnat_entry >= 0 for path in onward)
        else None
    )
    return Agreed(
        all(p.end.forgotten for p in paths),
        all(p.untracked for p in paths),
        all(p.ahead for p in paths),
        single,
    )


def _learn_servers(
    result: Hints, rows: Rows, walked: Walked, at: Ints, facts: list[Agreed]
) -> None:
    """Where DNAT led packets that no tap saw behind it."""
    v = rows.columns
    unseen = at[(v["to"][at] < 0) & (v["destination_nat"][at] == 1)]
    for row in unseen.tolist():
        kind = int(walked.kind[row])
        target = facts[kind].target
        if target is None:
            continue
        example = int(walked.example[kind])
        port = int(v["dport"][row]) if target[1] == int(v["dport"][example]) else target[1]
        result.server[rows.crossing[row]] = pack(target[0], port)


def _learn_marks(result: Hints, rows: Rows, walked: Walked, at: Ints, connection: Ints) -> None:
    """The connection mark that each packet finds: what the packet before it left (-1 where ways
    differ). One that left what it found passes on what is learnt of those before it.
    ``connection`` (n,): a number for each crossing's, that of an ICMP error's too."""
    left = []
    for ways in walked.ways:
        marks = {way.path.connmark for way in ways}
        mark = marks.pop() if len(marks) == 1 else None
        left.append(-1 if mark is None else mark)
    after = np.array(left, dtype=np.int64)[walked.kind[at]]
    crossing = rows.crossing[at]
    codes = connection[crossing]
    order = np.lexsort((crossing, codes))
    begins = np.r_[True, np.diff(codes[order]) != 0]
    writes = (after != rows.columns["connmark"][at])[order]
    last = np.maximum.accumulate(np.where(begins | writes, np.arange(len(order)), 0))
    shifted = np.r_[0, np.where(writes, after[order], 0)[last][:-1]]
    result.connmark[crossing[order]] = np.where(begins, 0, shifted)


def _unlike(a: Hints, b: Hints) -> Bools:
    """The crossings of which two rounds told something different, (n,)."""
    result: Bools = (
        (a.unconfirmed != b.unconfirmed)
        | (a.untracked != b.untracked)
        | (a.server != b.server)
        | (a.connmark != b.connmark)
    )
    return result
