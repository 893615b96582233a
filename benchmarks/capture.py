"""Recording, side by side with the other ways of doing it, in one run. ``python -m
benchmarks.capture [PART...]``, as root.

PARTs: ``lossless`` (the highest packet rate without a loss), ``sampling`` (cost of one sample of
all counters), ``clients`` (connections a second of a client workload that is watched). All by
default, some ten minutes. Everything happens in namespaces made for it. Ratios, not numbers, are
worth quoting."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.clients import WAYS, client_lab, client_rates
from benchmarks.lossless import TOOLS, flood_lab, highest_lossless
from benchmarks.sampling import BACKENDS, SIZES, sample_cost

SECONDS, CLIENT_SECONDS, ROUNDS = 3.0, 2.0, 3
TOOLS_NEEDED = ("ip", "nft", "iptables-nft-save", "iptables-legacy-save", "tcpdump", "capinfos")


def lossless() -> None:
    """Rates in packets a second, against tcpdump's (the same ring size as ours, and its own
    default)."""
    found = {}
    with flood_lab() as lab:
        for tool in TOOLS:
            found[tool.name] = highest_lossless(lab, tool, SECONDS)
    theirs = max(trial.rate for name, (trial, _) in found.items() if name.startswith("tcpdump"))
    _table(
        f"highest lossless rate ({SECONDS:.0f} s of 60 byte frames on one veth)",
        ("capture", "packets/s", "ratio to tcpdump", "processor"),
        [
            (
                name,
                f"{'>= ' * at_end}{trial.rate:,.0f}",
                f"{trial.rate / theirs:.3f}",
                f"{trial.processor / SECONDS:.2f} of a core",
            )
            for name, (trial, at_end) in found.items()
        ],
    )
    print("  (>=: without a loss as fast as the generator sends)")


def sampling() -> None:
    """Milliseconds a sample, read against forked."""
    costs = [
        sample_cost(backend, rules, times) for backend in BACKENDS for rules, times in SIZES.items()
    ]
    _table(
        "one sample of all counters, median ms (back to back; after a pause of 20 ms)",
        (
            "backend",
            "rules",
            "read",
            "iptables-save -c",
            "ratio",
            "read",
            "iptables-save -c",
            "ratio",
        ),
        [
            (
                c.backend,
                f"{c.rules:,}",
                f"{c.read:.3f}",
                f"{c.forked:.2f}",
                f"1/{c.forked / c.read:.1f}",
                f"{c.late_read:.3f}",
                f"{c.late_forked:.2f}",
                f"1/{c.late_forked / c.late_read:.1f}",
            )
            for c in costs
        ],
    )


def clients() -> None:
    """Connections a second, and what is left of those of the runs beside it that nobody watched."""
    with client_lab() as lab:
        rates = [
            rate for flight in WAYS for rate in client_rates(lab, flight, CLIENT_SECONDS, ROUNDS)
        ]
    _table(
        "a client workload, watched (DNAT to a container, request, answer, close)",
        (
            "connections",
            "observer",
            "per second",
            "left",
            "us each",
            "left",
            "us watching",
            "left of all",
        ),
        [
            (
                WAYS[r.flight],
                r.observer,
                f"{r.run.rate:,.0f}",
                f"{r.left:.2f}",
                f"{r.run.work:.1f}",
                f"{r.work_left:.2f}",
                f"{r.run.watching:.1f}",
                f"{r.all_left:.2f}",
            )
            for r in rates
        ],
    )
    print(
        "  (us: processor time a connection, of client and server, and of the observer; left: "
        "ratio to none beside it)"
    )


PARTS: dict[str, Callable[[], None]] = {
    "lossless": lossless,
    "sampling": sampling,
    "clients": clients,
}


def _table(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    print(f"\n{title}")
    for row in (head, *rows):
        print(
            "  "
            + "  ".join(
                cell.ljust(width) for cell, width in zip(row, widths, strict=True)
            ).rstrip(),
            flush=True,
        )


def _come_first() -> None:
    """Whatever else runs on this machine should disturb no run more than another (sched(7):
    autogroups hide nice values)."""
    os.nice(-20)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text("-20")


def main(parts: list[str]) -> None:
    """Run them in order."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [name for name in TOOLS_NEEDED if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        sys.exit(
            f"bench-capture: "
            f"{'needs ' + ', '.join(missing) if missing else 'needs root: run it with sudo'}"
        )
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        sys.exit(f"bench-capture: no part {unknown[0]!r}: there are {', '.join(PARTS)}")
    _come_first()
    print(
        f"kernel {os.uname().release}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at "
        f"the start"
    )
    for part in parts or list(PARTS):
        PARTS[part]()


if __name__ == "__main__":
    main(sys.argv[1:])
