"""Facts of the host, in the form in which `ip -j`, `sysctl` and `ipset save` print them."""

from __future__ import annotations

import contextlib
import json
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from correlator.capturing.programs import find_program, run_program

PROC_SYS = Path("/proc/sys")
SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/conf/*/forwarding",
    "net/ipv4/conf/*/rp_filter",
    "net/ipv4/conf/*/route_localnet",
    "net/ipv4/conf/*/accept_local",
    "net/bridge/bridge-nf-*",
    "net/netfilter/nf_conntrack_*",
)
FEATURES = (
    "rx-gro",
    "rx-lro",
    "tx-tcp-segmentation",
    "tx-generic-segmentation",
    "tx-udp-segmentation",
    "rx-checksum",
    "tx-checksum-ip-generic",
    "tx-checksum-ipv4",
    "rx-vlan-hw-parse",
)
"""Offloads that change what a tap shows of a packet."""
STATISTICS = ("stats", "stats64")
TIMEOUT = 10
_SETS = re.compile(r"--(?:match-set|add-set|del-set|map-set) (\S+)")


def kernel() -> str:
    """The running kernel's release."""
    return platform.release()


def sets_named(texts: Iterable[str]) -> tuple[str, ...]:
    """The ipsets that rules name, in order of their names."""
    return tuple(sorted({name for text in texts for name in _SETS.findall(text)}))


def collect(sets: tuple[str, ...] = ()) -> tuple[dict[str, str], list[str]]:
    """(file name -> text of every fact that can be had, what could not be had and why)."""
    facts: dict[str, str] = {}
    missing: list[str] = []
    ip = find_program("ip")
    if ip is None:
        missing.append("`ip` (iproute2) is not installed: addresses and routes will be inferred")
    else:
        for name, words in (
            ("addr", ["addr"]),
            ("link", ["-d", "link"]),
            ("route", ["route", "show", "table", "all"]),
        ):
            text = _output([ip, "-j", *words])
            if text is None:
                missing.append(f"`ip -j {' '.join(words)}` failed: that fact will be inferred")
            else:
                facts[f"{name}.json"] = _stable(text)
    facts["sysctl.txt"] = read_sysctls()
    offload = read_offload()
    if offload:
        facts["offload.json"] = json.dumps(offload, indent=1) + "\n"
    if sets:
        text = _read_sets(sets)
        if text is None:
            missing.append(
                "the rules name ipsets, and `ipset save` cannot list them: whether they match is "
                "unknown"
            )
        else:
            facts["ipsets.txt"] = text
    return facts, missing


def _stable(text: str) -> str:
    """JSON of ip without what changes by itself."""
    return json.dumps(_settled(json.loads(text or "[]")), indent=1) + "\n"


def _settled(item: Any) -> Any:
    if isinstance(item, list):
        return [_settled(one) for one in item]
    if isinstance(item, dict):
        return {
            key: _settled(value)
            for key, value in item.items()
            if not key.endswith(("_timer", "_life_time")) and key not in STATISTICS
        }
    return item


def _output(command: list[str]) -> str | None:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = run_program(command, TIMEOUT)
        if done.returncode == 0:
            return done.stdout
    return None


def read_sysctls() -> str:
    """``key = value`` lines as sysctl(8) prints them; what cannot be read is left out."""
    lines = []
    for pattern in SYSCTLS:
        for path in sorted(PROC_SYS.glob(pattern)):
            with contextlib.suppress(OSError):
                value = path.read_text().strip().replace("\n", " ")
                parts = [part.replace(".", "/") for part in path.relative_to(PROC_SYS).parts]
                lines.append(f"{'.'.join(parts)} = {value}")
    return "\n".join(lines) + "\n"


def read_offload() -> dict[str, dict[str, bool]]:
    """interface -> offload -> whether it is on; empty where the kernel does not tell."""
    from pyroute2 import Ethtool
    from pyroute2.netlink.exceptions import NetlinkError

    from correlator.capturing.interfaces import links

    found: dict[str, dict[str, bool]] = {}
    with contextlib.suppress(OSError, NetlinkError), Ethtool() as ethtool:
        for name in sorted(links()):
            with contextlib.suppress(OSError, NetlinkError, KeyError, AttributeError):
                features = ethtool.get_features(name).features
                found[name] = {
                    feature: bool(features[feature].enable)
                    for feature in FEATURES
                    if feature in features
                }
    return found


def _read_sets(sets: tuple[str, ...]) -> str | None:
    ipset = find_program("ipset")
    if ipset is None:
        return None
    texts = [_output([ipset, "save", name]) for name in sets]
    if any(text is None for text in texts):
        return None
    # entries with timeouts count down by themselves
    return "".join(
        re.sub(r" (timeout|packets|bytes) \d+(?= |$)", "", text or "", flags=re.MULTILINE)
        for text in texts
    )
