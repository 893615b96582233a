"""The packet flow of netfilter as boxes, arrows and words on a plane: what the template draws as
SVG.

Two layouts of the same flow: ``wide`` from left to right, ``narrow`` from top to bottom. Units are
SVG user units."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from correlator.firewall.hooks import TABLES_AT, Hook
from correlator.report.page.entries import Catalogue, Entry
from correlator.report.page.flow import HOST, WIRE_IN, WIRE_OUT, Flow, totals

if TYPE_CHECKING:
    from collections.abc import Sequence

LINES = 14
"""Rules that a hook shows; those that drop and the busiest, where more were hit."""
HEAD, ROW, PAD, PILL = 34, 21, 10, 24
GLYPH, COUNT = 6.8, 8.6
"""Widths of a letter of a rule and of a digit of its count, in the widest of the fonts that may
come."""
DIAMOND = 24
ENDS = {
    "dropped: its time to live ran out (before FORWARD)": "dropped: TTL ran out",
    "ignored: not for this host": "not for this host",
    "dropped: no route leads there": "dropped: no route",
    "goes on out of sight: the target is unknown": "out of sight: unknown target",
    "dropped: its source is this host's own address, or no single host's (martian)": "dropped: "
    "martian source",
    "dropped: no route back to its source by the interface it came in by (rp_filter)": "dropped: "
    "rp_filter",
}
HARMLESS = ("ignored: not for this host",)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a box: a table's name (``lane`` -1), a rule with its hits, or a remark."""

    y: float
    kind: str
    left: str
    right: str = ""
    lane: int = -1
    title: str = ""
    bar: float = 0.0
    bad: bool = False
    indent: float = 0.0


@dataclass(frozen=True, slots=True)
class Box:
    """A hook, or an end of the way (``kind`` wire or host). ``pills`` say what ended in it, below
    its frame, and whether that is bad."""

    kind: str
    title: str
    x: float
    y: float
    width: float
    height: float
    lines: tuple[Line, ...] = ()
    pills: tuple[tuple[str, bool], ...] = ()
    quiet: bool = False

    @property
    def bottom(self) -> float:
        """Of the frame."""
        return self.y + self.height

    @property
    def reach(self) -> float:
        """Of the frame and the pills below it."""
        return self.bottom + (12 + PILL * len(self.pills) if self.pills else 0)


@dataclass(frozen=True, slots=True)
class Arrow:
    """A path with its packets; ``at`` is where the number stands, ``anchor`` how it is aligned."""

    path: str
    packets: int
    at: tuple[float, float]
    anchor: str = "middle"
    title: str = ""

    @property
    def width(self) -> float:
        """Of the stroke: a packet more shows, a million more does not cover the page."""
        return 1.2 if not self.packets else min(1.4 + len(str(self.packets)) * 0.7, 6.0)


@dataclass(frozen=True)
class Diagram:
    """All of one layout; ``routes`` are the centres of routing decisions."""

    name: str
    width: float
    height: float
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    routes: tuple[tuple[float, float], ...]


@dataclass
class _Plan:
    """Boxes as they are placed."""

    flow: Flow
    known: Catalogue
    boxes: dict[str, Box] = field(default_factory=dict)

    def hook(self, name: str, x: float, y: float, width: float) -> Box:
        lines = _lines(name, self.flow, self.known, width)
        height = HEAD + sum(ROW for _ in lines) + (PAD if lines else 0)
        pills = tuple(
            (f"{n:,} {ENDS.get(what, what)}", what not in HARMLESS)
            for what, n in self.flow.ended.get(name, {}).items()
        )
        quiet = not any(name in pair for pair in self.flow.edges)
        self.boxes[name] = Box("hook", name, x, y, width, height, tuple(lines), pills, quiet)
        return self.boxes[name]

    def end(
        self, key: str, title: str, packets: dict[str, int], place: tuple[float, float, float]
    ) -> Box:
        x, y, width = place
        rows = [
            Line(
                HEAD + i * ROW,
                "port",
                _squeezed(name, int((width - 24) / 7.3) - len(f"{n:,}")),
                f"{n:,}",
                title=name,
            )
            for i, (name, n) in enumerate(totals(packets))
        ]
        self.boxes[key] = Box(
            "wire" if key != HOST else "host",
            title,
            x,
            y,
            width,
            HEAD + ROW * len(rows) + (6 if rows else 0),
            tuple(rows),
        )
        return self.boxes[key]

    def arrow(
        self, start: str, end: str, path: str, at: tuple[float, float], anchor: str = "middle"
    ) -> Arrow:
        n = self.flow.edges.get((start, end), 0)
        names = {WIRE_IN: "the wire", WIRE_OUT: "the wire", HOST: "this host"}
        title = f"{n:,} packets from {names.get(start, start)} to {names.get(end, end)}"
        return Arrow(path, n, at, anchor, title)


def _lines(hook: str, flow: Flow, known: Catalogue, width: float) -> list[Line]:
    """What a hook shows: per table the rules that were hit there, and how many were not."""
    tables = TABLES_AT[Hook(hook)]
    hit = [h for table in tables for h in flow.hits.get((hook, table), ()) if h.packets]
    hit.sort(key=lambda h: (not known.entries[known.lanes[h.lane]].stops, -h.packets))
    kept = {h.lane for h in hit[:LINES]}
    most = max((h.packets for h in hit), default=1)
    lines: list[Line] = []
    y = float(HEAD)

    def add(kind: str, left: str, **more: object) -> None:
        nonlocal y
        lines.append(Line(y, kind, left, **more))  # type: ignore[arg-type]
        y += ROW

    left_out = 0
    for table in tables:
        mine = flow.hits.get((hook, table), ())
        if not mine:
            continue
        shown = [h for h in mine if h.packets and h.lane in kept]
        left_out += sum(1 for h in mine if h.packets) - len(shown)
        unhit = sum(1 for h in mine if not h.packets)
        note = f"{unhit} not hit" if unhit else ""
        add("table", table, right=note)
        for h in shown:
            entry = known.entries[known.lanes[h.lane]]
            number = f"{h.packets:,}"
            indent = 10.0 * min(h.depth, 2)
            room = int((width - 2 * PAD - indent - COUNT * len(number) - 8) / GLYPH)
            add(
                "rule",
                _label(entry, room),
                right=number,
                lane=h.lane,
                title=f"{entry.name}  {entry.text}  ({number} packets)",
                bar=h.packets / most,
                bad=entry.stops,
                indent=indent,
            )
    if left_out:
        add("note", f"and {left_out} more that were hit")
    return lines


def _label(entry: Entry, room: int) -> str:
    """The rule's name and what it does, as far as there is room."""
    name = f"{entry.chain}:{entry.number}" if entry.number else f"{entry.chain} policy"
    for text in (
        f"{name} {entry.short}",
        f"{_squeezed(name, 22)} {entry.short}",
        f"{_squeezed(name, 16)} {entry.short}",
    ):
        if len(text) <= room:
            return text
    return _squeezed(f"{_squeezed(name, 16)} {entry.short}", room)


def _squeezed(text: str, room: int) -> str:
    """The middle left out: both ends of a chain's name tell it from others."""
    if len(text) <= room:
        return text
    tail = max(room // 2 - 1, 4)
    return f"{text[: max(room - tail - 1, 1)]}…{text[-tail:]}"


def wide(flow: Flow, known: Catalogue) -> Diagram:
    """From left to right: the wire, the hooks of what is forwarded, the wire; below them this
    host's own."""
    plan = _Plan(flow, known)
    loop = flow.edges.get(("POSTROUTING", "PREROUTING"), 0)
    top = 44.0 if loop else 8.0
    mid = top + HEAD / 2
    came = plan.end(WIRE_IN, "from the wire", flow.incoming, (0, top, 124))
    pre = plan.hook("PREROUTING", 182, top, 274)
    forward = plan.hook("FORWARD", 618, top, 330)
    post = plan.hook("POSTROUTING", 1012, top, 274)
    left = plan.end(WIRE_OUT, "to the wire", flow.outgoing, (1344, top, 124))
    floor = max(box.reach for box in (pre, forward, post, came, left)) + 62
    inward = plan.hook("INPUT", 408, floor, 274)
    host = plan.end(HOST, "this host", {}, (750, floor, 112))
    output = plan.hook("OUTPUT", 936, floor, 290)
    route = (537.0, mid)
    arrows = [
        plan.arrow(WIRE_IN, "PREROUTING", f"M{came.x + came.width} {mid}H{pre.x}", (152, mid - 9)),
        Arrow(
            f"M{pre.x + pre.width} {mid}H{route[0] - DIAMOND}",
            _out_of(flow, "PREROUTING"),
            (484, mid - 9),
            "middle",
            "routed",
        ),
        plan.arrow(
            "PREROUTING", "FORWARD", f"M{route[0] + DIAMOND} {mid}H{forward.x}", (589, mid - 9)
        ),
        plan.arrow(
            "FORWARD", "POSTROUTING", f"M{forward.x + forward.width} {mid}H{post.x}", (979, mid - 9)
        ),
        plan.arrow(
            "POSTROUTING", WIRE_OUT, f"M{post.x + post.width} {mid}H{left.x}", (1314, mid - 9)
        ),
        plan.arrow(
            "PREROUTING",
            "INPUT",
            f"M{route[0]} {mid + DIAMOND}V{floor}",
            (route[0] + 12, floor - 20),
            "start",
        ),
        plan.arrow(
            "INPUT", HOST, f"M{inward.x + inward.width} {floor + 17}H{host.x}", (715, floor + 8)
        ),
        plan.arrow(
            HOST, "OUTPUT", f"M{host.x + host.width} {floor + 17}H{output.x}", (898, floor + 8)
        ),
        plan.arrow(
            "OUTPUT", "POSTROUTING", f"M1140 {floor}V{post.bottom}", (1152, floor - 20), "start"
        ),
    ]
    if loop:
        arc = f"M{post.x + 60} {top}V{top - 24}H{pre.x + 60}V{top}"
        arrows.append(Arrow(arc, loop, (640, top - 30), "middle", "loopback"))
    height = max(box.reach for box in plan.boxes.values()) + 6
    return Diagram("wide", 1468, height, tuple(plan.boxes.values()), tuple(arrows), (route,))


def narrow(flow: Flow, known: Catalogue) -> Diagram:
    """From top to bottom in two columns: what is forwarded, and this host's own."""
    plan = _Plan(flow, known)
    loop = flow.edges.get(("POSTROUTING", "PREROUTING"), 0)
    x, w, right = (34.0 if loop else 0.0), 316.0, 388.0
    cx = x + 236  # right of the pills
    came = plan.end(WIRE_IN, "from the wire", flow.incoming, (x + 146, 4, 170))
    pre = plan.hook("PREROUTING", x, came.bottom + 40, w)
    route = (cx, pre.reach + 50)
    forward = plan.hook("FORWARD", x, route[1] + 62, w)
    inward = plan.hook("INPUT", right, route[1] - 17, w)
    host = plan.end(HOST, "this host", {}, (right + 96, inward.reach + 44, w - 192))
    output = plan.hook("OUTPUT", right, host.bottom + 44, w)
    post = plan.hook("POSTROUTING", x, max(forward.reach, output.reach) + 62, w)
    left = plan.end(WIRE_OUT, "to the wire", flow.outgoing, (x + 146, post.reach + 44, 170))
    rx = right + w / 2
    turn = post.y + 17
    arrows = [
        plan.arrow(
            WIRE_IN, "PREROUTING", f"M{cx} {came.bottom}V{pre.y}", (cx + 10, pre.y - 16), "start"
        ),
        Arrow(
            f"M{cx} {pre.bottom}V{route[1] - DIAMOND}",
            _out_of(flow, "PREROUTING"),
            (cx + 10, route[1] - 28),
            "start",
            "routed",
        ),
        plan.arrow(
            "PREROUTING",
            "FORWARD",
            f"M{cx} {route[1] + DIAMOND}V{forward.y}",
            (cx + 10, forward.y - 16),
            "start",
        ),
        plan.arrow(
            "PREROUTING",
            "INPUT",
            f"M{cx + DIAMOND} {route[1]}H{right}",
            ((cx + DIAMOND + right) / 2, route[1] - 9),
        ),
        plan.arrow(
            "FORWARD",
            "POSTROUTING",
            f"M{cx} {forward.bottom}V{post.y}",
            (cx + 10, post.y - 20),
            "start",
        ),
        plan.arrow(
            "INPUT", HOST, f"M{rx} {inward.bottom}V{host.y}", (rx + 10, host.y - 16), "start"
        ),
        plan.arrow(
            HOST, "OUTPUT", f"M{rx} {host.bottom}V{output.y}", (rx + 10, output.y - 16), "start"
        ),
        plan.arrow(
            "OUTPUT", "POSTROUTING", f"M{rx} {output.bottom}V{turn}H{x + w}", (rx - 70, turn - 8)
        ),
        plan.arrow(
            "POSTROUTING",
            WIRE_OUT,
            f"M{cx} {post.bottom}V{left.y}",
            (cx + 10, left.y - 16),
            "start",
        ),
    ]
    if loop:
        arrows.append(
            Arrow(
                f"M{x} {turn}H{x - 26}V{pre.y + 17}H{x}", loop, (2, pre.y - 6), "start", "loopback"
            )
        )
    height = max(box.reach for box in plan.boxes.values()) + 6
    return Diagram("narrow", 708, height, tuple(plan.boxes.values()), tuple(arrows), (route,))


def _out_of(flow: Flow, hook: str) -> int:
    return sum(n for (start, _), n in flow.edges.items() if start == hook)


def both(flow: Flow, known: Catalogue) -> Sequence[Diagram]:
    """The layouts, of which the page shows the one that fits."""
    return (wide(flow, known), narrow(flow, known))
