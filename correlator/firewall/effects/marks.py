"""What targets write into a packet: marks, TOS, TTL, and whether conntrack follows it
(iptables-extensions(8))."""

from __future__ import annotations

from correlator.firewall.model import Target
from correlator.firewall.values import parse_mark
from correlator.firewall.view import UNTRACKED, View


def write_fields(target: Target, view: View) -> None:
    """What MARK, CONNMARK, TOS, DSCP, TTL, CT and NOTRACK write (iptables-extensions(8))."""
    for option in target.options:
        name, value = option.name, option.value
        if target.name == "MARK":
            view.mark = _written(view.mark, name, value)
        elif target.name == "CONNMARK":
            if name == "--save-mark":
                view.connmark = _merge(target, view.connmark, view.mark, "--ctmask", "--nfmask")
            elif name == "--restore-mark":
                view.mark = _merge(target, view.mark, view.connmark, "--nfmask", "--ctmask")
            elif name.endswith("mark") and name not in ("--ctmask", "--nfmask"):
                view.connmark = _written(view.connmark, name, value)
        elif target.name == "TOS" and name == "--set-tos":
            bits, mask = parse_mark(value)
            view.tos = (view.tos & ~(mask & 0xFF) | bits) & 0xFF if "/" in value else bits
        elif target.name == "DSCP" and name == "--set-dscp":
            view.tos = (view.tos & 3) | int(value, 0) << 2
        elif target.name == "TTL":
            change = {
                "--ttl-set": int(value),
                "--ttl-inc": view.ttl + int(value),
                "--ttl-dec": view.ttl - int(value),
            }
            view.ttl = change.get(name, view.ttl)
    if target.name == "NOTRACK" or target.option("--notrack") is not None:
        view.state = UNTRACKED


def _written(mark: int | None, option: str, text: str) -> int | None:
    value, mask = parse_mark(text)
    if option == "--set-mark" and "/" not in text:
        return value
    if mark is None:
        return None
    if option == "--set-mark":
        return mark & ~mask & 0xFFFFFFFF | value
    if option == "--set-xmark":
        return (mark & ~mask & 0xFFFFFFFF) ^ value
    if option == "--and-mark":
        return mark & value
    if option == "--or-mark":
        return mark | value
    if option == "--xor-mark":
        return mark ^ value
    return None


def _merge(
    target: Target, into: int | None, source: int | None, keep: str, take: str
) -> int | None:
    """xt_connmark.c: new = (into & ~keep) ^ (source & take); the masks default to all bits."""
    kept, taken = target.option(keep), target.option(take)
    keep_mask = int(kept.value, 0) if kept else 0xFFFFFFFF
    take_mask = int(taken.value, 0) if taken else 0xFFFFFFFF
    if source is None or (into is None and keep_mask != 0xFFFFFFFF):
        return None
    return ((into or 0) & ~keep_mask & 0xFFFFFFFF) ^ (source & take_mask)
