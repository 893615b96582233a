"""The one judge: what makes a hit, a packet's way or a connection exact, ambiguous or unverified,
and the reason that is given.

Terminology. A *fact* is one thing that is known of what is judged: what the wire shows, what the
counters say, what was not captured, what else fits. Whoever learns a fact sets its bit; facts of
several things together are the union of theirs, so that every fact is worded to hold for all as
soon as it holds for one. A *ground* is a reason for doubt: facts that must be there, and facts that
must not. The first ground of :data:`GROUNDS` that holds is the reason; where none does, what is
judged is exact.

To add a ground is to add a line to :data:`GROUNDS`, and to :class:`Fact` where it needs to know
what nobody told before."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag, auto
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt

    Facts = npt.NDArray[np.uint32]
    Grounds = npt.NDArray[np.int8]

STATUSES = ("exact", "ambiguous", "unverified")
EXACT, AMBIGUOUS, UNVERIFIED = range(3)
EVIDENCE = ("rules", "rules,wire", "rules,counters", "rules,wire,counters")


class Fact(IntFlag):
    """What is known of a hit, of a packet, or of several."""

    UNCONFIRMED = auto()
    """Of some hit no counter confirms that it was made."""
    FEWER = auto()
    """A rule that it hit counted fewer packets than seem to have hit it."""
    COVERED = auto()
    """Some hit lies between two readings of the counters."""
    UNCOUNTED = auto()
    """No counters were read, or only once."""
    UNSHOWN = auto()
    """The wire does not show how some packet ended."""
    ONE_SIDED = auto()
    """An interface was not captured by which NAT may happen, and some packet of the connection was
    seen on one side of the host only."""
    DIALLED_GUESSED = auto()
    """The same, and what was dialled is a guess that the counters contradict elsewhere."""
    DIFFERS = auto()
    """What is left to choose from differs in this."""
    CAPPED = auto()
    """There is more to choose from than could be listed."""
    NO_WAY = auto()
    """No way through the rules fits what was seen."""
    CROWDED = auto()
    """So many rules have unknown conditions that their ways were not told apart."""
    RESIDUAL = auto()
    """A rule on the packet's way counted otherwise than packets explain, in the interval in which
    it came."""
    REJECTED = auto()
    """A rule that a rejected reading of the packet hits counted otherwise than packets explain
    then."""
    LABELS = auto()
    """What conntrack made of the connection's packets rests on a way that is not sure."""
    CONTRADICTED = auto()
    """Another packet of the connection fits no way through the rules, or no rule makes the
    translation that its packets show."""
    NAT_UNLISTED = auto()
    """No tap saw what was dialled, and nobody listed the nat that may have rewritten it."""
    AHEAD = auto()
    """A rule ahead of conntrack ended an answer: to the kernel it is of no connection."""
    SAME_TUPLE = auto()
    """Another connection is taken to have had its original tuple at the same time."""
    CHOSEN = auto()
    """Its reading was chosen among several, and some packet of the connection is in doubt."""
    RULE_OPEN = auto()
    """What is left to choose from hits other rules, or other than as often."""
    DIRECTION_OPEN = auto()
    """It differs in the direction, or in whether conntrack followed it at all."""
    SRC_OPEN = auto()
    """It differs in the client."""
    DST_OPEN = auto()
    """It differs in what was dialled."""
    REPLY_SRC_OPEN = auto()
    """It differs in the server."""
    REPLY_DST_OPEN = auto()
    """It differs in what the server saw of the client."""
    COUNTERLESS = auto()
    """Some hit is one on a rule or a policy that has no counter."""
    LOST = auto()
    """Some packet should have left, and was not seen leaving."""
    TIED = auto()
    """Some packet ended in one of several chains that have one priority."""
    UNANSWERED = auto()
    """Some packet is taken to have been delivered here, and nothing answered it."""
    REOPENED = auto()
    """Tried again, it seems to have walked nat again."""


NOTHING = Fact(0)
FIELDS = {
    "rule": Fact.RULE_OPEN,
    "direction": Fact.DIRECTION_OPEN,
    "src": Fact.SRC_OPEN,
    "dst": Fact.DST_OPEN,
    "reply_src": Fact.REPLY_SRC_OPEN,
    "reply_dst": Fact.REPLY_DST_OPEN,
}
"""What tables call that which is open, in the order in which they do."""
_NAMED = Fact(sum(FIELDS.values()))
UNDECIDED = Fact.DIFFERS | Fact.CAPPED | Fact.NO_WAY | Fact.CROWDED | _NAMED
"""What is open of a packet, whatever the counters say of its hits."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A doubt: ``status`` (number in :data:`STATUSES`) where all facts of ``needs`` hold and none
    of ``lacks``. ``reason``: in words; with the placeholder ``{candidates}`` where whoever asks
    can name them. ``opens``: the fields that it leaves open, beside those that are told by facts
    of their own."""

    status: int
    needs: Fact
    lacks: Fact
    reason: str
    opens: Fact = Fact.RULE_OPEN


REOPENED = (  # findings look for it
    "tried again, it seems to have walked nat again, as what conntrack never confirmed: it may "
    "have been dropped by a table that was not recorded"
)
GROUNDS = (
    Ground(
        AMBIGUOUS,
        Fact.CROWDED,
        NOTHING,
        "more ways through the rules, or rules on one, than are followed",
    ),
    Ground(AMBIGUOUS, Fact.NO_WAY, NOTHING, "no way through the rules fits what was seen"),
    Ground(AMBIGUOUS, Fact.DIFFERS, NOTHING, "{candidates}", NOTHING),
    Ground(AMBIGUOUS, Fact.CAPPED, NOTHING, "{candidates}"),
    Ground(
        AMBIGUOUS,
        Fact.ONE_SIDED | Fact.UNCONFIRMED,
        NOTHING,
        "an interface was not captured, and no counter confirms what its packets seem to have hit",
        Fact.RULE_OPEN | Fact.SRC_OPEN | Fact.DST_OPEN,
    ),
    Ground(
        AMBIGUOUS,
        Fact.DIALLED_GUESSED,
        NOTHING,
        "an interface was not captured, and no counter confirms what its packets seem to have hit",
        Fact.RULE_OPEN | Fact.DST_OPEN,
    ),
    Ground(
        AMBIGUOUS, Fact.FEWER, NOTHING, "its rules counted fewer hits than it seems to have made"
    ),
    Ground(
        AMBIGUOUS,
        Fact.RESIDUAL,
        NOTHING,
        "a rule on its way counted otherwise than packets explain just then",
    ),
    Ground(AMBIGUOUS, Fact.REOPENED, NOTHING, REOPENED),
    Ground(
        AMBIGUOUS,
        Fact.REJECTED,
        NOTHING,
        "a rule that its packets hit under another reading counted otherwise than they explain",
    ),
    Ground(
        AMBIGUOUS,
        Fact.CHOSEN,
        NOTHING,
        "its packets can be read in several ways, and the counters do not agree with the one taken",
        Fact.RULE_OPEN | Fact.DIRECTION_OPEN | Fact.SRC_OPEN | Fact.DST_OPEN,
    ),
    Ground(
        AMBIGUOUS,
        Fact.LABELS,
        NOTHING,
        "what conntrack made of its packets depends on a choice that is open",
        Fact.RULE_OPEN | Fact.DIRECTION_OPEN,
    ),
    Ground(
        AMBIGUOUS,
        Fact.CONTRADICTED,
        NOTHING,
        "no way through the rules fits its packets as a whole",
    ),
    Ground(
        AMBIGUOUS,
        Fact.NAT_UNLISTED,
        NOTHING,
        "what it dialled was not seen, and the table nat was not listed",
        Fact.DST_OPEN,
    ),
    Ground(
        AMBIGUOUS,
        Fact.AHEAD,
        NOTHING,
        "a rule ahead of conntrack ended packets that answer it, which are of no connection",
        Fact.DIRECTION_OPEN,
    ),
    Ground(
        AMBIGUOUS,
        Fact.SAME_TUPLE,
        NOTHING,
        "another connection seems to have had its addresses and ports at the same time",
        Fact.RULE_OPEN | Fact.DIRECTION_OPEN,
    ),
    Ground(
        AMBIGUOUS,
        Fact.COUNTERLESS | Fact.LOST,
        NOTHING,
        "a rule on its way has no counter, and it should have left and was not seen leaving",
    ),
    Ground(
        AMBIGUOUS,
        Fact.COUNTERLESS | Fact.TIED,
        NOTHING,
        "a rule on its way has no counter, and another chain of that priority may come before it",
    ),
    Ground(UNVERIFIED, Fact.UNCOUNTED, NOTHING, "no counters", NOTHING),
    Ground(
        UNVERIFIED,
        Fact.COUNTERLESS | Fact.UNSHOWN,
        NOTHING,
        "a rule on its way has no counter, and the wire does not show how it ended",
        NOTHING,
    ),
    Ground(
        UNVERIFIED,
        Fact.COUNTERLESS | Fact.UNANSWERED,
        NOTHING,
        "a rule on its way has no counter, and the wire does not show how it ended",
        NOTHING,
    ),
    Ground(UNVERIFIED, Fact.UNCONFIRMED, Fact.COVERED, "outside of the counter log", NOTHING),
)
"""Worst first."""
NO_DOUBT = len(GROUNDS)
RESIDUAL = next(number for number, one in enumerate(GROUNDS) if one.needs is Fact.RESIDUAL)
"""The ground of which the number can be told."""
_STATUS = np.array([*(ground.status for ground in GROUNDS), EXACT], dtype=np.int8)
_REASON = np.array([*(ground.reason for ground in GROUNDS), ""], dtype=object)


def grounds_of(facts: Facts) -> Grounds:
    """The number of the first ground in :data:`GROUNDS` that holds for each, :data:`NO_DOUBT` where
    none does; (n,)."""
    result = np.full(len(facts), NO_DOUBT, dtype=np.int8)
    for number in reversed(range(NO_DOUBT)):
        needs, lacks = (np.uint32(part) for part in (GROUNDS[number].needs, GROUNDS[number].lacks))
        result[facts & (needs | lacks) == needs] = number
    return result


def statuses_of(grounds: Grounds) -> npt.NDArray[np.int8]:
    """Numbers in :data:`STATUSES`; (n,)."""
    result: npt.NDArray[np.int8] = _STATUS[grounds]
    return result


def reasons_of(grounds: Grounds) -> npt.NDArray[np.object_]:
    """In words, empty where there is no doubt; (n,)."""
    result: npt.NDArray[np.object_] = _REASON[grounds]
    return result


def open_of(facts: Facts) -> Facts:
    """The facts of :data:`FIELDS` that tell what is open of each; (n,)."""
    result = facts & np.uint32(_NAMED)
    for ground in GROUNDS:
        needs, lacks = np.uint32(ground.needs), np.uint32(ground.lacks)
        result |= where(facts & (needs | lacks) == needs, ground.opens)
    return result


def open_in_words(facts: int) -> str:
    """The names of the fields that facts of :data:`FIELDS` tell to be open."""
    return ",".join(name for name, fact in FIELDS.items() if facts & fact)


def judge(facts: int, candidates: str = "") -> tuple[str, str]:
    """(status, reason) of one thing."""
    grounds = grounds_of(np.array([facts], dtype=np.uint32))
    reason: str = reasons_of(grounds)[0]
    return STATUSES[int(statuses_of(grounds)[0])], reason.format(candidates=candidates)


def evidence_of(facts: Facts) -> npt.NDArray[np.int8]:
    """Numbers in :data:`EVIDENCE`: what bears witness to all of it; (n,)."""
    wire = facts & np.uint32(Fact.UNSHOWN) == 0
    counters = facts & np.uint32(Fact.UNCONFIRMED | Fact.UNCOUNTED) == 0
    result: npt.NDArray[np.int8] = wire.astype(np.int8) + np.int8(2) * counters.astype(np.int8)
    return result


def evidence_in_words(facts: int) -> str:
    """The same of one thing, as :data:`EVIDENCE` names it."""
    return EVIDENCE[int(evidence_of(np.array([facts], dtype=np.uint32))[0])]


def where(holds: npt.NDArray[np.bool_], fact: Fact) -> Facts:
    """A fact of those of which it ``holds``, as facts; (n,)."""
    return np.where(holds, np.uint32(fact), np.uint32(0))


def together(facts: Facts, owner: npt.NDArray[np.integer[Any]], count: int) -> Facts:
    """The facts of every one of ``count`` owners: the union of what its parts (n,) bear."""
    result = np.zeros(count, dtype=np.uint32)
    add_facts(result, owner, facts)
    return result


def add_facts(into: Facts, owner: npt.NDArray[np.integer[Any]], facts: Facts) -> None:
    """Add the facts of parts (n,) to those of their owners."""
    borne = int(np.bitwise_or.reduce(facts, initial=0))
    for fact in Fact:
        if borne & fact:
            into[owner[facts & np.uint32(fact) > 0]] |= np.uint32(fact)


def worst(grounds: Grounds, owner: npt.NDArray[np.integer[Any]], count: int) -> Grounds:
    """The worst ground against any part of every one of ``count`` owners."""
    result = np.full(count, NO_DOUBT, dtype=np.int8)
    np.minimum.at(result, owner, grounds)
    return result
