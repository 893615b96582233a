"""Which counters there are to sample: those of nf_tables, iptables-legacy's, or both."""

from __future__ import annotations

import errno
from collections.abc import Callable

from correlator.capturing.counters import ChangingError, Source
from correlator.capturing.iptables_save import SaveSource
from correlator.capturing.legacy import NAMES, LegacySource, TableNames
from correlator.capturing.nft import NftSource
from correlator.capturing.rules_text import Tools
from correlator.errors import CorrelatorError

NOT_THERE = (
    errno.EOPNOTSUPP,
    errno.ENOENT,
    errno.EPROTONOSUPPORT,
    errno.ENOPROTOOPT,
    errno.EINVAL,
    errno.EAFNOSUPPORT,
)
"""What a kernel without nf_tables or ip_tables answers."""


def find_sources(tools: Tools, now: Callable[[], int]) -> tuple[list[Source], list[str]]:
    """(what to sample, what is to be said of it); ``now`` is the session's clock.

    Raises :class:`~correlator.errors.CorrelatorError` where there is no iptables-save to print
    rules with."""
    if tools.nft is None and tools.legacy is None and tools.native is None:
        raise CorrelatorError(
            "neither iptables-save nor nft is here: install iptables or nftables: they print "
            "the rules"
        )
    made: list[tuple[Callable[[], NftSource | LegacySource], str | None, str]] = []
    if tools.nft is not None or tools.native is not None:
        nft = (tools.nft, now, tools.nft6, tools.native)
        made.append((lambda: NftSource(*nft), tools.nft, "nft"))
    if tools.legacy is not None:
        old = tools.legacy
        made.append((lambda: LegacySource(old, now), old, "legacy"))
    found: list[Source] = []
    warnings: list[str] = []
    for make, save_program, backend in made:
        source = _readable(make, save_program, backend, now, warnings)
        if source is not None:
            found.append(source)
    if not found:
        raise CorrelatorError(
            "there are no tables of rules here: nothing would be counted: start Docker first"
        )
    return found, warnings


def _readable(
    make: Callable[[], NftSource | LegacySource],
    save: str | None,
    backend: str,
    now: Callable[[], int],
    warnings: list[str],
) -> Source | None:
    """The source where the kernel has tables of its; iptables-save in its place where the kernel
    does not let us read."""
    source = None
    try:
        source = make()
        if not source.has_rules():
            source.close()
            return None
        source.read()
        return source
    except ChangingError:
        return source
    except (OSError, CorrelatorError) as error:
        if source is not None:
            source.close()
        if isinstance(error, OSError) and error.errno in NOT_THERE:
            return None
        if isinstance(error, PermissionError) and str(error.filename) == str(NAMES):
            warnings.append(f"only root may read {NAMES}: rules of iptables-legacy are not known")
            return None
        if save is None:
            raise CorrelatorError(f"counters of nf_tables cannot be read: {error}") from None
        warnings.append(
            f"counters of iptables-{backend} cannot be read directly ({error}): sampled with "
            f"iptables-save -c"
        )
        names = TableNames() if backend == "legacy" else None
        return SaveSource(save, backend, now, names)
