"""A packet on its way, and what happened to it so far; copied where the walk forks."""

from __future__ import annotations

from dataclasses import dataclass, field

from correlator.firewall.hooks import Hook
from correlator.firewall.view import UNTRACKED, View
from correlator.firewall.walk.path import (
    Absent,
    End,
    Endpoint,
    Event,
    Hit,
    Path,
    Routing,
    Translation,
)


class TooManyPathsError(Exception):
    """More unknown conditions than can be told apart, or more rules on the way than are read."""


@dataclass(slots=True)
class Effort:
    """Rules that one walk has read, on all its ways."""

    read: int = 0


@dataclass(slots=True)
class State:
    """``view`` is what the next rule sees; ``forked``: some condition on the way was unknown;
    ``unseen``: a chain that nobody listed may have stopped it, and no rule behind counted it;
    ``ahead``: a rule ahead of conntrack ended it; ``tied``: one of a chain that another one of its
    priority may come before."""

    view: View
    hook: Hook = Hook.PREROUTING
    events: list[Event] = field(default_factory=list)
    dnat_entry: int = -1
    snat_entry: int = -1
    forked: bool = False
    decider: int = -1
    unseen: bool = False
    ahead: bool = False
    tied: bool = False
    effort: Effort = field(default_factory=Effort)

    def fork(self) -> State:
        """A copy that goes another way."""
        return State(
            self.view.clone(),
            self.hook,
            list(self.events),
            self.dnat_entry,
            self.snat_entry,
            self.forked,
            self.decider,
            self.unseen,
            self.ahead,
            self.tied,
            self.effort,
        )

    def enter(self, hook: Hook) -> None:
        """It comes to a hook."""
        self.hook = self.view.hook = hook

    def hit(self, entry: int, depth: int, policy: bool = False) -> None:
        """A rule or policy counts it."""
        self.unseen = self.unseen and entry < 0
        self.events.append(Hit(self.hook, entry, depth, policy))

    def miss(self, entry: int) -> None:
        """A rule that might have matched did not."""
        self.events.append(Absent(entry))

    def route(self, device: str | None) -> None:
        """It is routed to a device, or (None) to this host."""
        self.events.append(Routing(self.hook, device))

    def translate(
        self, destination: Endpoint | None = None, source: Endpoint | None = None
    ) -> None:
        """NAT rewrites its destination or source."""
        view, hook = self.view, self.hook
        before = (view.dst, view.dport)
        if destination is not None and destination != before:
            self.events.append(Translation(hook, True, before, destination))
            view.dst, view.dport = destination
        before = (view.src, view.sport)
        if source is not None and source != before:
            self.events.append(Translation(hook, False, before, source))
            view.src, view.sport = source

    def finish(self, end: End) -> Path:
        """Its whole way."""
        view = self.view
        return Path(
            tuple(e.entry for e in self.events if isinstance(e, Hit) and e.entry >= 0),
            end,
            self.decider,
            tuple(self.events),
            (view.dst, view.dport),
            (view.src, view.sport),
            self.dnat_entry,
            self.snat_entry,
            view.connmark,
            view.state == UNTRACKED,
            self.forked,
            view.out_interface or "",
            self.hook,
            self.unseen,
            self.ahead,
            self.tied,
        )
