"""Host facts over a session: taken at the start, and again when links, addresses, routes, sets or
containers change.

What takes long (Docker's API, forked tools) runs in a thread of its own, never in the way of
packets and counters."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from correlator.capturing.containers import Containers
from correlator.capturing.facts import collect, sets_named
from correlator.dataset.writer import Folder

SETTLE_NS = 200_000_000
"""A container's start is many changes: look once they have settled."""
SETS_NS = 1_000_000_000
"""How often the members of ipsets that rules name are read."""
Found = tuple[dict[str, str], list[str]]


class FactVersions:
    """Writes versions of the facts as ``facts/N``; ``now`` is the session's clock, ``rulesets``
    tells the rules' texts, ``containers`` Docker's (None: there is no Docker)."""

    def __init__(
        self,
        folder: Folder,
        now: Callable[[], int],
        rulesets: Callable[[], Iterable[str]],
        containers: Containers | None,
    ) -> None:
        self.folder, self.now, self.rulesets, self.containers = folder, now, rulesets, containers
        self.pool = ThreadPoolExecutor(max_workers=1)
        self.pending: Future[Found] | None = None
        self.versions = 0
        self.last: dict[str, str] = {}
        self.due: int | None = None
        self.sets_due = 0
        self.warnings: dict[str, None] = {}

    def start(self) -> None:
        """Save what is quickly had now, and ask for the rest."""
        facts, missing = collect(sets_named(self.rulesets()))
        self._save(facts, missing)
        self.due = self.now()

    def note_change(self) -> None:
        """Something changed: look again soon."""
        if self.due is None:
            self.due = self.now() + SETTLE_NS

    def tick(self) -> None:
        """Save what a look found, begin the next one where it is due."""
        if self.pending is not None:
            if not self.pending.done():
                return
            self._save(*self.pending.result())
            self.pending = None
        now = self.now()
        names_sets = bool(sets_named(self.rulesets())) and now >= self.sets_due
        if names_sets or (self.due is not None and now >= self.due):
            self.due, self.sets_due = None, now + SETS_NS
            self.pending = self.pool.submit(self._look, sets_named(self.rulesets()))

    def finish(self, timeout: float) -> None:
        """Wait for a look that is under way, at most ``timeout`` seconds."""
        if self.due is not None and self.pending is None:
            self.due = self.now()
            self.tick()
        if self.pending is not None:
            try:
                self._save(*self.pending.result(timeout))
            except TimeoutError:
                self.warnings["the last look at the host's facts did not end in time"] = None
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _look(self, sets: tuple[str, ...]) -> Found:
        facts, missing = collect(sets)
        if self.containers is not None:
            containers, problem = self.containers.read()
            if containers is None:
                missing.append(
                    f"Docker's API does not answer ({problem}): containers are not named"
                )
            else:
                facts["docker.json"] = containers
        return facts, missing

    def _save(self, facts: dict[str, str], missing: list[str]) -> None:
        self.warnings.update(dict.fromkeys(missing))
        facts = {**{k: v for k, v in self.last.items() if k == "docker.json"}, **facts}
        if facts == self.last:
            return
        self.versions += 1
        told = {"time.json": json.dumps({"time": self.now()}) + "\n"}
        self.folder.write_facts(self.versions, {**facts, **told})
        self.last = facts
