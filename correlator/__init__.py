"""correlator: which iptables rules did each connection traverse?

    >>> import correlator
    >>> analysis = correlator.load("captures/published")  # a recorded session, or loose files
    >>> analysis.connections.outcome.value_counts().to_dict()
    {'DNAT': 9, 'local': 5, 'MASQUERADE': 4, 'dropped': 1}
    >>> hits = analysis.hits  # one row per connection, direction and rule
    >>> hits[hits.target == "DNAT"].groupby(["chain", "rule_number"], observed=True).packets.sum()
    chain   rule_number
    DOCKER  2              10
            3               1
    Name: packets, dtype: int64

:func:`load` replays what was saved, :func:`capture` records (as root), :func:`columns` says what
the columns of a table mean. A :class:`Session` is what lies on disk, an :class:`Analysis` what was
found out: the DataFrames ``connections``, ``hits``, ``ledger``, ``packets`` and ``rules``. Errors
that a user can cause are :class:`CorrelatorError`, one line each.

The pipeline, in the order of the folders:

1. ``dataset`` finds what was saved; ``decode`` turns pcap and pcapng into one packet table;
2. ``firewall`` turns iptables-save and ``iptables -L`` into rulesets and counters;
3. ``flows`` joins packets into connections as conntrack saw them, across NAT and interfaces;
4. ``reconcile`` walks each kind of packet through the rules and settles what is open by wire and
  counters;
5. ``report`` shows it.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

from correlator.errors import CorrelatorError, InputError
from correlator.session import LEAST_SNAP, MOST_SNAP, SHORTEST_S, Recording, Session, record
from correlator.version import __version__ as __version__

if TYPE_CHECKING:
    import pandas as pd

    from correlator.interactive import Analysis
    from correlator.session import PathLike

__all__ = [
    "Analysis",
    "CorrelatorError",
    "InputError",
    "Recording",
    "Session",
    "capture",
    "columns",
    "load",
]


def load(
    path: PathLike | None = None,
    *,
    pcaps: Sequence[tuple[str | None, PathLike]] = (),
    counters: PathLike | None = None,
    rules: PathLike | None = None,
    facts: PathLike | None = None,
    clock_offset: float | None = None,
    max_memory: int | None = None,
) -> Analysis:
    """Replay what was saved: a recorded session, a folder of loose files, or files one by one.

    Parameters
    ----------
    path: the folder (:class:`Session` says what may be in it).
    pcaps: (interface, or None where the file tells it; pcap or pcapng file) each.
    counters: a log of ``iptables-save -c`` or of ``iptables -L -n -v``, each behind its time.
    rules: output of ``iptables-save``, where nothing was counted: no row is then confirmed.
    facts: folder of ``addr.json``, ``link.json``, ``route.json`` and ``sysctl.txt``.
    clock_offset: the counters' clock minus the packets' in seconds, where it shall not be
        estimated.
    max_memory: bytes that may be taken; beyond it packets wait in a temporary file. Default: half
        of what is free.

    Returns the :class:`Analysis`. Raises :class:`InputError` for input that cannot be used.

    >>> analysis = correlator.load("captures/published")
    >>> analysis.connections.query("outcome == 'dropped'")[["src", "dst", "dport", "rule"]]
               src            dst  dport                  rule
    8  172.31.40.9  172.31.37.164     80  filter/DOCKER-USER:1
    """
    session = Session(path, pcaps=pcaps, counters=counters, rules=rules, facts=facts)
    return session.load(clock_offset=clock_offset, max_memory=max_memory)


@overload
def capture(
    path: PathLike | None = None,
    *,
    interfaces: Sequence[str] = (),
    interval: float = 0.1,
    filter: str = "",
    snaplen: int | None = None,
    bridge_ports: bool = False,
    conntrack: bool = True,
    force: bool = False,
) -> Recording: ...


@overload
def capture(
    path: PathLike | None = None,
    command: str | Sequence[str] = (),
    *,
    duration: float | None = None,
    interfaces: Sequence[str] = (),
    interval: float = 0.1,
    filter: str = "",
    snaplen: int | None = None,
    bridge_ports: bool = False,
    conntrack: bool = True,
    force: bool = False,
) -> Session: ...


def capture(
    path: PathLike | None = None,
    command: str | Sequence[str] = (),
    *,
    duration: float | None = None,
    interfaces: Sequence[str] = (),
    interval: float = 0.1,
    filter: str = "",
    snaplen: int | None = None,
    bridge_ports: bool = False,
    conntrack: bool = True,
    force: bool = False,
) -> Session:
    """Record packets and rule counters of this host into a folder. Needs what ``correlator
    capture`` needs: root, or CAP_NET_RAW and CAP_NET_ADMIN.

    Without ``command`` and ``duration`` it has begun when this returns, and ends with the block::

        with correlator.capture("run1") as session:
            client_tests()
        analysis = session.load()

    With one of them it returns when it has ended::

        session = correlator.capture("run1", ["pytest", "client_tests/"])
        session.exit_status

    Parameters
    ----------
    path: the folder to write; default: named by the time, in the current folder.
    command: the words of what to run and record around; a text is split as a shell does.
    duration: seconds after which it ends, where the command has not ended it.
    interfaces: where to listen; default: the default route's interface and every Docker bridge.
    interval: seconds between two readings of all counters, 0.001 or more.
    filter: record only packets that match, as in pcap-filter(7).
    snaplen: bytes kept of each frame, 64 to 262144, or -1 for all; default: headers only.
    bridge_ports: listen on bridges' ports too: traffic between containers of one bridge.
    conntrack: listen to conntrack's events.
    force: replace a session that is there already.

    Raises :class:`CorrelatorError` where it cannot begin (nothing is left behind then); warns
    where it had to stop early.
    """
    from correlator.capturing.options import Options

    if interval < SHORTEST_S:
        raise InputError(f"interval={interval}: is too short: the shortest is 0.001 seconds")
    if snaplen is not None and snaplen != -1 and not LEAST_SNAP <= snaplen <= MOST_SNAP:
        raise InputError(f"snaplen={snaplen}: expected {LEAST_SNAP} to {MOST_SNAP} bytes, or -1")
    if duration is not None and duration <= 0:
        raise InputError(f"duration={duration}: is no time to record in")
    options = Options(
        Path(time.strftime("correlator-%Y%m%d-%H%M%S") if path is None else path),
        tuple(dict.fromkeys(interfaces)),
        round(interval * 1e9),
        None if duration is None else round(duration * 1e9),
        filter,
        snaplen or 0,
        bridge_ports,
        force,
        tuple(shlex.split(command) if isinstance(command, str) else command),
        conntrack,
    )
    return record(options) if command or duration is not None else Recording(options)


def columns(table: str) -> pd.DataFrame:
    """What the columns of a table are: one row a column, with its ``dtype`` and ``meaning``.

    ``table`` is connections, hits, ledger, packets or rules.

    >>> correlator.columns("hits").loc["status", "meaning"]
    'exact, ambiguous or unverified'
    """
    import pandas as pd

    from correlator.dataset.schema import EXPORTS

    if table not in EXPORTS:
        raise InputError(f"{table}: is no table: expected one of {', '.join(EXPORTS)}")
    return pd.DataFrame.from_dict(EXPORTS[table], orient="index", columns=["dtype", "meaning"])


def __getattr__(name: str) -> object:
    """``Analysis`` is imported when it is asked for: recording does without."""
    if name == "Analysis":
        from correlator.interactive import Analysis

        return Analysis
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
