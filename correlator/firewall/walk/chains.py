"""A packet through one base chain and the chains that it leads to: every way that the rules leave.

Facts (verified by kernel trace, see docs/attribution.md): a jump is a hit; ACCEPT and NAT end a
base chain; policies count packets that fell off the end, also after RETURN."""

from __future__ import annotations

from typing import NamedTuple

from correlator.firewall.conditions.ternary import conjunction
from correlator.firewall.effects.dispatch import Dispatch
from correlator.firewall.effects.nat import Nat, Rewrite
from correlator.firewall.effects.verdicts import ChangeSet, Jump, OutOfSight, Reject, Verdict
from correlator.firewall.model import Effect
from correlator.firewall.view import Host
from correlator.firewall.walk.path import End
from correlator.firewall.walk.program import MAX_PATHS, CompiledChain, Instruction, Program
from correlator.firewall.walk.state import State, TooManyPathsError

MAX_DEPTH = 64
ANYTHING = Rewrite(())
"""What a nat that nobody listed may write."""


class Outcome(NamedTuple):
    """A way through a chain: ``end`` where the packet goes no further, ``returned`` where it came
    back from the chain (never from a base chain), else the chain accepted it. ``rewrite``: what a
    NAT may write, with its entry."""

    state: State
    end: End | None = None
    returned: bool = False
    rewrite: tuple[int, Rewrite] | None = None


def through_base(program: Program, host: Host, state: State, chain: CompiledChain) -> list[Outcome]:
    """Every way through a base chain that was listed, its policy included."""
    outcomes: list[Outcome] = []
    for outcome in _through(program, host, state, chain, 0):
        outcomes += _policy(outcome.state, chain) if outcome.returned else [outcome]
    return outcomes


def _policy(state: State, chain: CompiledChain) -> list[Outcome]:
    """What a policy does; either where it was not told."""
    state.hit(chain.policy_entry, 0, policy=True)
    if chain.policy == "ACCEPT":
        return [Outcome(state)]
    dropped = state if chain.policy is not None else state.fork()
    dropped.decider = chain.policy_entry
    if dropped is state:
        return [Outcome(dropped, End.DROPPED)]
    state.forked = dropped.forked = True
    return [Outcome(state), Outcome(dropped, End.DROPPED)]


def _through(
    program: Program, host: Host, state: State, chain: CompiledChain, depth: int
) -> list[Outcome]:
    state.effort.read += len(chain.rules)
    if depth > MAX_DEPTH or state.effort.read > program.patience:
        raise TooManyPathsError
    if not chain.listed:
        return _through_unlisted(state, chain)
    outcomes: list[Outcome] = []
    pending = [(state, 0)]
    while pending:
        current, index = pending.pop()
        while index < len(chain.rules):
            rule = chain.rules[index]
            index += 1
            hit = conjunction(rule.predicates, current.view, host)
            if hit is not False and rule.entry in program.maybe:
                hit = None
            if hit is False:
                continue
            if hit is None:
                if len(pending) + len(outcomes) > MAX_PATHS:
                    raise TooManyPathsError
                current.forked = True
                other = current.fork()  # the path on which it did not match
                other.miss(rule.entry)
                pending.append((other, index))
            current.hit(rule.entry, depth)
            onward, ended = _apply(program, host, current, chain.table, rule, depth)
            outcomes += ended
            if not onward:
                break
            current = onward[0]
            pending.extend((other, index) for other in onward[1:])
        else:
            outcomes.append(Outcome(current, returned=True))
    return outcomes


def _through_unlisted(state: State, chain: CompiledChain) -> list[Outcome]:
    """A chain that is jumped to and was not listed: it returns, accepts, ends the packet, or
    translates it."""
    state.forked = state.unseen = True
    ways = [Outcome(state, returned=True), Outcome(state.fork())]
    if chain.nat:
        return [*ways, Outcome(state.fork(), rewrite=(-1, ANYTHING))]
    return [*ways, Outcome(state.fork(), End.UNLISTED)]


def _apply(
    program: Program, host: Host, state: State, table: str, rule: Instruction, depth: int
) -> tuple[list[State], list[Outcome]]:
    """(states that go on behind the rule, ways that ended in it)."""
    going, ended = [state], list[Outcome]()
    for effect in rule.effects:
        after: list[State] = []
        for current in going:
            for one in _possible(effect, current, host):
                taken = current if one.last else current.fork()
                onward, ways = _done(program, host, taken, table, rule.entry, one.effect, depth)
                after += onward
                ended += ways
        going = after
        if not going:
            break
    return going, ended


class _Possible(NamedTuple):
    """One thing that an effect may do; ``last`` of them."""

    effect: Effect | None
    last: bool


def _possible(effect: Effect, state: State, host: Host) -> list[_Possible]:
    """What an effect may do to a packet: one thing, or what any row of a map says that it may
    meet."""
    if not isinstance(effect, Dispatch):
        return [_Possible(effect, True)]
    choices = effect.possible(state.view, host)
    state.forked = state.forked or len(choices) > 1
    return [_Possible(one, at == len(choices) - 1) for at, one in enumerate(choices)]


def _done(
    program: Program,
    host: Host,
    state: State,
    table: str,
    entry: int,
    effect: Effect | None,
    depth: int,
) -> tuple[list[State], list[Outcome]]:
    """(states that go on behind one effect, ways that ended in it)."""
    match effect:
        case Verdict.ACCEPT:
            return [], [Outcome(state)]
        case Verdict.RETURN:
            return [], [Outcome(state, returned=True)]
        case Verdict.DROP | Reject():
            state.decider = entry
            rejected = isinstance(effect, Reject)
            return [], [Outcome(state, End.REJECTED if rejected else End.DROPPED)]
        case Jump():
            found = _through(program, host, state, program.chains[table, effect.chain], depth + 1)
            back = [one.state for one in found if one.returned and not effect.goto]
            ended = [one for one in found if effect.goto or not one.returned]
            return back, ended
        case Nat(foreign=True):
            pass  # of another family's packets: a hit that translates nothing
        case Nat():
            rewrite = effect.rewrite(state.view, host)
            named = (entry, rewrite) if rewrite is not None else None
            return [], [Outcome(state, rewrite=named)]
        case OutOfSight():
            state.decider = entry
            state.forked = True
            return [], [Outcome(state, End.UNKNOWN_TARGET)]
        case None | ChangeSet() | Dispatch():
            pass
        case _:
            effect.write(state.view)
    return [state], []
