"""The rules that each packet traversed, as one line of text: the comment that Wireshark shows.

``nat/PREROUTING:1 > nat/DOCKER:2 DNAT 172.17.0.2:80 | filter/FORWARD:4 > filter/DOCKER:1 ACCEPT``:
every hit in order, base chains separated by `` | ``, hits within one by `` > ``, what a rule or
policy did behind its name unless it jumped. A line begins with ``ambiguous: `` or ``unverified: ``
where it is not exact. Texts are made once a way, not once a packet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from correlator.firewall.walk.path import End, Hit
from correlator.flows.keys import mix
from correlator.reconcile.analysis import PacketPaths
from correlator.reconcile.possible.walks import NO_WAY
from correlator.reconcile.settle.judge import AMBIGUOUS as AMBIGUOUS_STATUS
from correlator.reconcile.settle.judge import GROUNDS, NO_DOUBT, STATUSES, grounds_of
from correlator.reconcile.tables.attribution import Attribution, facts_of_packets, option_tuples
from correlator.reconcile.tables.columns import address
from correlator.reconcile.tables.rule_numbers import RuleNumbers

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Bools, Ints
    from correlator.reconcile.possible.walks import Way
    from correlator.reconcile.settle.judge import Grounds
    from correlator.reconcile.verdict import Verdict

NO_RULE = "no rule"
AMBIGUOUS = "ambiguous: "
OR, SHOWN = " or ", 4
ENDS = {
    End.TTL: "time to live ran out",
    End.NO_ROUTE: "no route",
    End.NOT_FOR_US: "not for this host",
    End.UNKNOWN_TARGET: "goes on out of sight",
}
UNSEEN = "not seen leaving"


@dataclass(frozen=True)
class _Writer:
    """Writes the text of ways under one verdict, each once."""

    verdict: Verdict
    numbers: RuleNumbers
    written: dict[tuple[object, ...], str] = field(default_factory=dict)

    def text(self, stage_number: int, way: Way, onto: dict[int, str], unseen: bool) -> str:
        """One way; ``onto`` says for entries that translate what they translated to."""
        stage = self.verdict.stages.stages[stage_number]
        chains: list[str] = []
        hits: list[str] = []
        where: tuple[str, str] | None = None
        for event in way.path.events:
            if not isinstance(event, Hit) or event.entry < 0:
                continue
            entry = event.entry
            known = stage.program.ruleset.entries[entry]
            if hits and where != (event.hook, known.table):
                chains.append(" > ".join(hits))
                hits = []
            where = (event.hook, known.table)
            jump = not event.policy and (known.table, known.target) in stage.program.chains
            done = "" if jump or not known.target else f" {known.target}{onto.get(entry, '')}"
            hits.append(f"{self.numbers.name(stage_number, entry)}{done}")
        chains += [" > ".join(hits)] if hits else [NO_RULE]
        end = ENDS.get(way.path.end, UNSEEN if unseen else "")
        return " | ".join([*chains, end] if end else chains)

    def of_row(self, row: int, number: int, unseen: bool) -> str:
        """The text of a row going the way of that number."""
        walked, v = self.verdict.decided.explored.walked, self.verdict.decided.explored.rows.columns
        ways = walked.ways[int(walked.kind[row])]
        if number >= len(ways):
            return NO_RULE
        way = ways[number]
        onto: dict[int, str] = {}
        flat = int(v["protocol"][row]) == 1
        if way.path.dnat_entry >= 0 and v["to"][row] >= 0:
            onto[way.path.dnat_entry] = _onto(
                int(v["to"][row]), 0 if flat else int(v["to_port"][row])
            )
        if way.path.snat_entry >= 0 and v["from"][row] >= 0:
            moved = not flat and v["from_port"][row] != v["sport"][row]
            onto[way.path.snat_entry] = _onto(
                int(v["from"][row]), int(v["from_port"][row]) if moved else 0
            )
        key = (int(walked.kind[row]), number, *onto.items(), unseen)
        if key not in self.written:
            self.written[key] = self.text(
                int(self.verdict.decided.explored.rows.program[row]), way, onto, unseen
            )
        return self.written[key]


def _onto(value: int, port: int) -> str:
    return f" {address(value)}" + (f":{port}" if port else "")


def _doubt(number: int) -> str:
    """What a text begins with where that ground holds."""
    ground = GROUNDS[number]
    status = f"{STATUSES[ground.status]}: "
    return f"{status}{ground.reason}: " if ground.status == AMBIGUOUS_STATUS else status


def packet_paths(verdict: Verdict, attribution: Attribution) -> PacketPaths:
    """The text of every row of the packets table."""
    writer = _Writer(verdict, RuleNumbers.of(verdict.stages))
    texts: dict[str, int] = {}
    code = np.full(len(attribution), -1, dtype=np.int64)
    unseen = _unseen(verdict, attribution)
    decided = np.flatnonzero(~attribution.open & (attribution.way != NO_WAY))
    grounds = grounds_of(facts_of_packets(verdict, attribution))
    doubts = [*map(_doubt, range(NO_DOUBT)), ""]
    _, first, inverse = np.unique(
        _keys(verdict, attribution, unseen, grounds, decided),
        return_index=True,
        return_inverse=True,
    )
    words = []
    for at in decided[first].tolist():
        text = writer.of_row(int(attribution.row[at]), int(attribution.way[at]), bool(unseen[at]))
        words.append(texts.setdefault(doubts[grounds[at]] + text, len(texts)))
    if len(decided):
        code[decided] = np.array(words, dtype=np.int64)[inverse]
    for at in np.flatnonzero(attribution.way == NO_WAY).tolist():
        text = f"{AMBIGUOUS}{GROUNDS[grounds[at]].reason}"
        code[at] = texts.setdefault(text, len(texts))
    for at, text in _open(verdict, attribution, writer, unseen):
        text = text if text.startswith(AMBIGUOUS) else doubts[grounds[at]] + text
        code[at] = texts.setdefault(text, len(texts))
    result = np.full(len(verdict.decided.scene.packets), -1, dtype=np.int64)
    for sights in (verdict.decided.scene.crossings.came_in, verdict.decided.scene.crossings.left):
        seen = sights[attribution.crossing]
        result[seen[seen >= 0]] = code[seen >= 0]
    return PacketPaths(result, tuple(texts))


def _unseen(verdict: Verdict, attribution: Attribution) -> Bools:
    """Packets that should have been seen leaving a watched interface, and were not; (k,)."""
    walked, watched = verdict.decided.explored.walked, verdict.decided.scene.watched
    must = np.zeros((len(walked.ways), max(int(walked.forks.max(initial=1)), 1)), dtype=bool)
    for kind, ways in enumerate(walked.ways):
        must[kind, : len(ways)] = [
            way.path.end is End.SENT and way.path.out_interface in watched for way in ways
        ]
    found: Bools = must[walked.kind[attribution.row], np.maximum(attribution.way, 0)]
    return found & ~verdict.decided.scene.crossings.sent[attribution.crossing]


def _keys(
    verdict: Verdict, attribution: Attribution, unseen: Bools, grounds: Grounds, at: Ints
) -> npt.NDArray[np.uint64]:
    """Equal where the text is: the way, and what its NAT rules translated to."""
    walked, v = verdict.decided.explored.walked, verdict.decided.explored.rows.columns
    row, way = attribution.row[at], attribution.way[at]
    shape = (len(walked.ways), max(int(walked.forks.max(initial=1)), 1))
    dnat, snat = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for number, ways in enumerate(walked.ways):
        dnat[number, : len(ways)] = [one.path.dnat_entry >= 0 for one in ways]
        snat[number, : len(ways)] = [one.path.snat_entry >= 0 for one in ways]
    kind = walked.kind[row]
    to, source = dnat[kind, way], snat[kind, way]
    moved = source & (v["from_port"][row] != v["sport"][row])
    return mix(
        kind,
        way,
        unseen[at],
        grounds[at].astype(np.int64),
        np.where(to, v["to"][row], -1),
        np.where(to, v["to_port"][row], -1),
        np.where(source, v["from"][row], -1),
        np.where(moved, v["from_port"][row], -1),
    )


def _open(
    verdict: Verdict, attribution: Attribution, writer: _Writer, unseen: Bools
) -> list[tuple[int, str]]:
    """(row of the attribution, text) of packets that are open."""
    found = []
    place = {int(attribution.crossing[at]): at for at in np.flatnonzero(attribution.open).tolist()}
    for unit in verdict.decided.open:
        candidates: dict[int, list[tuple[object, str]]] = {}
        for option in unit.options:
            for (row, way), (key, *_) in zip(
                option, option_tuples(verdict.decided, option), strict=True
            ):
                at = place.get(int(verdict.decided.explored.rows.crossing[row]), -1)
                text = writer.of_row(row, way, bool(unseen[at]))
                candidates.setdefault(at, []).append((key, text))
        for at, several in candidates.items():
            if at >= 0 and attribution.way[at] != NO_WAY:
                found.append((at, _either(several, unit.capped)))
    return found


def _either(candidates: list[tuple[object, str]], capped: bool) -> str:
    """What one packet may have traversed; without a doubt where all options of its unit agree on
    it."""
    texts = list(dict.fromkeys(text for _, text in candidates))
    if len(set(candidates)) == 1 and not capped:
        return texts[0]
    more = [f"{len(texts) - SHOWN} other ways"] if len(texts) > SHOWN else []
    more += ["ways that are too many to list"] if capped else []
    return AMBIGUOUS + OR.join([*texts[:SHOWN], *more])
