"""An analysis for people at a prompt or in a notebook: what reports say, a method away."""

from __future__ import annotations

import html
import ipaddress
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

from correlator.errors import InputError
from correlator.reconcile.analysis import Analysis as Tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from correlator.report.findings import Finding

TIMES = ("time", "first_seen", "last_seen", "begin", "end")
"""Columns that are epoch nanoseconds, on the packets' clock."""


class Text(str):
    """A text that a prompt shows as it reads."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, eq=False, repr=False)
class Analysis(Tables):
    """What a replay found out.

    Tables (DataFrames; :func:`correlator.columns` explains their columns): ``connections``,
    ``hits`` (a row per connection, direction and rule), ``ledger`` (counted against explained, per
    rule and interval), ``packets`` (a row a frame), ``rules``. Large ones are made when they are
    first asked for.

    >>> analysis = correlator.load("captures/published")
    >>> analysis
    <Analysis of captures/published: 19 connections, 19 exact; no residual in 90 ledger lines>
    >>> analysis.findings[0].kind, analysis.findings[0].rules
    ('dropped', ('filter/DOCKER-USER:1',))
    >>> analysis.select(client="172.31.40.0/24").outcome.tolist()
    ['dropped', 'local']
    >>> analysis.table("connections", datetimes=True).first_seen.iloc[0]
    Timestamp('2026-11-24 09:15:34.527353118+0000', tz='UTC')

    Facts about how it came to be: ``warnings`` (losses and doubts, one line each), ``inferred``
    (what of the host was worked out), ``interfaces`` (frames of each), ``clock`` (the counters'
    against the packets', with bounds), ``samples``, ``generations``, ``covered`` (epoch ns that
    the counters cover), ``changes``, ``rulesets``, ``containers`` (address -> name), ``host``,
    ``files``, ``source``.
    """

    @classmethod
    def of(cls, found: Tables) -> Analysis:
        """The same analysis, for people."""
        return cls(**{one.name: getattr(found, one.name) for one in fields(found)})

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Sentences that answer what people ask, most important first; each with the numbers of
        its ``connections`` and the names of its ``rules``."""
        from correlator.report.findings import find

        return find(self)

    def explain(self, connection: int) -> str:
        """One connection hook by hook, as ``correlator show --connection`` prints it. Raises
        :class:`correlator.InputError` for a number that is none."""
        from correlator.report.show import render_connection

        return Text(render_connection(self, connection))

    def plot(
        self,
        *,
        rules: Sequence[str] = (),
        client: str | None = None,
        begin: str | None = None,
        end: str | None = None,
        theme: str = "light",
    ) -> Figure:
        """The timeline as a matplotlib figure: everything, or the ``rules`` so named
        (``nat/DOCKER:2``), one ``client``, or a stretch of time (``09:15:34.8``, ``+3.5s``).
        ``theme``: light, dark or print."""
        from correlator.report.plot import plot

        return plot(self, rules=rules, client=client, begin=begin, end=end, theme=theme)

    def select(
        self, *, client: str | None = None, server: str | None = None, port: int | None = None
    ) -> pd.DataFrame:
        """The connections of a client, to a server (as dialled, or as it answers), to a port (the
        same). Ends are an address, a network (``10.0.0.0/8``) or a container's name. Raises
        :class:`correlator.InputError` for an end that is none of these."""
        table = self.connections
        good = table["connection"] > 0
        if client is not None:
            good &= table["src"].isin(self._addresses(client))
        if server is not None:
            wanted = self._addresses(server)
            good &= table["dst"].isin(wanted) | table["reply_src"].isin(wanted)
        if port is not None:
            good &= (table["dport"] == port) | (table["reply_sport"] == port)
        return table[good]

    def table(self, name: str, *, datetimes: bool = False) -> pd.DataFrame:
        """One table as exports hold it: connections with their Community IDs. With ``datetimes``
        its times are of dtype datetime64[ns, UTC] instead of epoch nanoseconds."""
        import pandas as pd

        frame = super().table(name)
        if not datetimes:
            return frame
        times = [column for column in TIMES if column in frame]
        return frame.assign(**{column: pd.to_datetime(frame[column], utc=True) for column in times})

    def _addresses(self, end: str) -> set[str]:
        """The addresses of this session that an end names."""
        named = {address for address, name in self.containers.items() if name == end}
        if named:
            return named
        try:
            network = ipaddress.ip_network(end, strict=False)
        except ValueError:
            raise InputError(
                f"{end}: is no address, no network and no container of this session"
            ) from None
        seen = {
            str(word)
            for column in ("src", "dst", "reply_src")
            for word in self.connections[column].cat.categories
        }
        return {word for word in seen if ipaddress.ip_address(word) in network}

    def __repr__(self) -> str:
        from correlator.report.summary import summarise
        from correlator.report.units import plural

        summary = summarise(self)
        statuses = ", ".join(f"{number:,} {word}" for word, number in summary.statuses.items())
        proof = f"{plural(summary.residuals, 'residual')} in {summary.lines:,} ledger lines"
        proof = proof.replace("0 residuals", "no residual") if self.samples else "no counters"
        many = plural(len(self.connections), "connection")
        return f"<Analysis of {self.source}: {many}, {statuses or 'nothing to attribute'}; {proof}>"

    def _repr_html_(self) -> str:
        from correlator.report.terminal import render_answer

        return f"<pre>{html.escape(render_answer(self))}</pre>"
