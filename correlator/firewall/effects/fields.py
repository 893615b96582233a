"""What rules write into a packet or its connection: marks, TOS, TTL, and that conntrack is not to
follow it.

Every way to set, clear and flip bits is one formula, ``new = (old & keep) ^ flip``: to set a value,
keep nothing and flip the value's bits; to or, keep all others and flip these (xt_mark.c,
xt_connmark.c, xt_DSCP.c, nft_bitwise.c)."""

from __future__ import annotations

from dataclasses import dataclass

from correlator.firewall.conditions.conntrack import WITHOUT
from correlator.firewall.conditions.headers import Field
from correlator.firewall.values import ALL_BITS
from correlator.firewall.view import INVALID, UNTRACKED, View


@dataclass(frozen=True, slots=True)
class WriteBits:
    """``new = (old & keep) ^ flip``."""

    field: Field
    keep: int
    flip: int

    def write(self, view: View) -> None:
        """Unknown stays unknown unless nothing of it is kept. What belongs to no connection has no
        connection's mark (xt_connmark.c)."""
        if self.field is Field.CONNMARK and view.state in WITHOUT:
            return
        old: int | None = getattr(view, self.field.value)
        known = 0 if self.keep == 0 else old
        setattr(view, self.field.value, None if known is None else (known & self.keep) ^ self.flip)


@dataclass(frozen=True, slots=True)
class CopyMark:
    """The connection's mark into the packet's (``restore``) or back: ``new = (into & ~cleared) ^
    (source & taken)``."""

    restore: bool
    cleared: int = ALL_BITS
    taken: int = ALL_BITS

    def write(self, view: View) -> None:
        """Unknown where either is, as far as it matters; nothing happens to what belongs to no
        connection (xt_connmark.c)."""
        if view.state in WITHOUT:
            return
        into, source = view.connmark, view.mark
        if self.restore:
            into, source = source, into
        if source is None or (into is None and self.cleared != ALL_BITS):
            result = None
        else:
            result = ((into or 0) & ~self.cleared & ALL_BITS) ^ (source & self.taken)
        if self.restore:
            view.mark = result
        else:
            view.connmark = result


@dataclass(frozen=True, slots=True)
class AddTo:
    """Adds a number to a field."""

    field: Field
    amount: int

    def write(self, view: View) -> None:
        """Unknown stays unknown."""
        old: int | None = getattr(view, self.field.value)
        setattr(view, self.field.value, None if old is None else old + self.amount)


@dataclass(frozen=True, slots=True)
class WriteUnknown:
    """Writes what nobody knows."""

    field: Field

    def write(self, view: View) -> None:
        """Unknown from here on."""
        setattr(view, self.field.value, None)


@dataclass(frozen=True, slots=True)
class NoTrack:
    """Conntrack is not to follow the packet."""

    def write(self, view: View) -> None:
        """Untracked from here on, unless conntrack follows it already: what loops back comes to raw
        a second time with its connection (xt_CT.c, nft_ct.c)."""
        if view.state == INVALID:
            view.state = UNTRACKED


Write = WriteBits | CopyMark | AddTo | WriteUnknown | NoTrack


def touches_connmark(effect: object) -> bool:
    """Whether an effect reads or writes the connection's mark."""
    return isinstance(effect, CopyMark) or getattr(effect, "field", None) is Field.CONNMARK
