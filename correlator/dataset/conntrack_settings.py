"""What the host's sysctls say of conntrack; the kernel's defaults where they were not saved.

Kernel documentation: Documentation/networking/nf_conntrack-sysctl.rst."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "net.netfilter.nf_conntrack_"


@dataclass(frozen=True, slots=True)
class ConntrackSettings:
    """``net.netfilter.nf_conntrack_*``, each field by its name there: timeouts in seconds, else 0
    or 1."""

    tcp_timeout_syn_sent: int = 120
    tcp_timeout_syn_recv: int = 60
    tcp_timeout_established: int = 432_000
    tcp_timeout_fin_wait: int = 120
    tcp_timeout_close_wait: int = 60
    tcp_timeout_last_ack: int = 30
    tcp_timeout_time_wait: int = 120
    tcp_timeout_close: int = 10
    tcp_timeout_unacknowledged: int = 300
    tcp_timeout_max_retrans: int = 300
    udp_timeout: int = 30
    udp_timeout_stream: int = 120
    icmp_timeout: int = 30
    generic_timeout: int = 600
    tcp_loose: int = 1
    tcp_be_liberal: int = 0
    tcp_ignore_invalid_rst: int = 0
    checksum: int = 1


DEFAULT_SETTINGS = ConntrackSettings()


def read_conntrack_settings(sysctls: Mapping[str, str]) -> ConntrackSettings:
    """The settings among a host's sysctls; what is not a number there counts as not saved."""
    saved = {one.name: sysctls.get(PREFIX + one.name, "") for one in fields(ConntrackSettings)}
    return ConntrackSettings(
        **{name: int(value) for name, value in saved.items() if value.isascii() and value.isdigit()}
    )
