/* The timeline: connections opened, hits rule by rule, counted against explained; one window of time for all three. */
(function (page) {
  "use strict";
  const { el, $, data } = page;
  const c = data.connections;
  const host = $("charts"), tip = $("tip"), says = $("timeline-says");
  const LANE = 18, OPENED = 108, BALANCE = 118, SPANS = 90;
  const end = Math.max(data.end, 1), pad = Math.max(end * 0.02, 500);
  /* x counts seconds from midnight before the session, so that ticks fall on round times. */
  const base = (data.origin % 86400000) / 1000;
  const toX = (us) => us / 1e6 + base, toUs = (x) => (x - base) * 1e6;
  const whole = [toX(-pad), toX(end + pad)], LEAST = 50e-6;
  const ROUND = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 172800, 432000];
  const rows = page.rows;
  const charts = [];
  let chosen = rows.findIndex((row) => row.lane !== undefined), mark = null;
  const outcomes = [...new Set([...c.outcome.words])];

  if (!page.size && !data.balance.begin.length) { $("timeline").hidden = true; page.redraw = () => {}; page.window = () => [-Infinity, Infinity]; return; }

  const gutter = () => Math.round(Math.min(310, Math.max(140, host.clientWidth * 0.34)));
  const ratio = () => devicePixelRatio || 1;
  const clock = (seconds, step) => {
    const us = Math.round(toUs(seconds));
    return step >= 1 ? page.moment(us, 0) : step >= 0.001 ? page.moment(us) : page.moment(us, 6);
  };
  const axis = (side) => ({
    side, size: 28, gap: 4, font: `11px ${getComputedStyle(document.body).fontFamily}`, stroke: () => page.colour("soft"), space: 110, incrs: ROUND,
    grid: { stroke: () => page.colour("line"), width: 1 }, ticks: { show: false },
    values: (u, splits) => splits.map((at) => clock(at, splits.length > 1 ? splits[1] - splits[0] : 1)),
  });
  const bare = (grid) => ({ side: 0, space: 110, incrs: ROUND, size: 0, gap: 0, values: (u, splits) => splits.map(() => ""), ticks: { show: false }, grid: grid ? { stroke: () => page.colour("line"), width: 1 } : { show: false } });
  const side = { side: 3, size: gutter, gap: 0, values: () => [], ticks: { show: false }, grid: { show: false } };

  let range = whole, moving = false;
  const setRange = (from, until) => {
    let width = Math.min(Math.max(until - from, LEAST), whole[1] - whole[0]);
    from = Math.min(Math.max(from, whole[0]), whole[1] - width);
    range = [from, from + width];
    moving = true;
    for (const u of charts) u.setScale("x", { min: range[0], max: range[1] });
    moving = false;
    if (page.filters.inwindow) page.apply();
  };
  page.window = () => range.map(toUs);
  page.zoomWhole = () => setRange(...whole);

  const make = (into, height, y, axes, series, values, draw, extra) => {
    const u = new uPlot({
      width: host.clientWidth, height, legend: { show: false }, padding: [0, 8, 0, 0], scales: { x: { time: false, min: range[0], max: range[1], auto: false }, y: { range: y } },
      axes, series: [{}, ...series], ...extra,
      cursor: { y: false, points: { show: false }, sync: { key: "time", setSeries: false }, drag: { x: true, y: false, setScale: true }, bind: { dblclick: () => () => { setRange(...whole); return null; } } },
      hooks: { draw: [draw], setScale: [(u, key) => { if (key === "x" && !moving && u.scales.x.min !== null) setRange(u.scales.x.min, u.scales.x.max); }] },
    }, values, into);
    charts.push(u);
    return u;
  };
  const empty = [[whole[0], whole[1]], [null, null]];
  const hidden = { stroke: "transparent", points: { show: false } };

  const text = (ctx, words, x, y, colour, font, align, room) => {
    ctx.fillStyle = colour; ctx.font = font; ctx.textAlign = align; ctx.textBaseline = "middle";
    let shown = words;
    if (room && ctx.measureText(shown).width > room) {
      const keep = Math.max(4, Math.floor(words.length * room / ctx.measureText(words).width) - 1), tail = Math.floor(keep * 0.55);
      shown = `${words.slice(0, keep - tail)}…${words.slice(-tail)}`;
    }
    ctx.fillText(shown, x, y);
  };
  const fonts = () => {
    const style = getComputedStyle(document.documentElement), r = ratio();
    return { sans: (size, weight = 400) => `${weight} ${size * r}px ${style.getPropertyValue("--sans")}`, mono: (size, weight = 400) => `${weight} ${size * r}px ${style.getPropertyValue("--mono")}` };
  };
  const clip = (u, run) => {
    const { ctx } = u, b = u.bbox;
    ctx.save(); ctx.beginPath(); ctx.rect(b.left, b.top, b.width, b.height); ctx.clip();
    run(ctx, b, (us) => u.valToPos(toX(us), "x", true), (pixel) => toUs(u.scales.x.min + (pixel - b.left) / b.width * (u.scales.x.max - u.scales.x.min)));
    ctx.restore();
  };
  const changes = (u, named) => clip(u, (ctx, b, place) => {
    const r = ratio();
    for (const us of Object.values(data.changes)) {
      const x = place(us);
      ctx.strokeStyle = page.colour("doubt"); ctx.lineWidth = 1.5 * r; ctx.setLineDash([5 * r, 4 * r]);
      ctx.beginPath(); ctx.moveTo(x, b.top); ctx.lineTo(x, b.top + b.height); ctx.stroke(); ctx.setLineDash([]);
      if (named) text(ctx, "rules changed", x + 5 * r, b.top + 9 * r, page.colour("doubt"), fonts().sans(11, 600), "left");
    }
  });

  /* Connections: as spans where few are in the window, else how many were opened, by what became of them. */
  const drawOpened = (u) => {
    const f = fonts(), r = ratio();
    let note = "";
    clip(u, (ctx, b, place, unplace) => {
      const from = unplace(b.left), until = unplace(b.left + b.width);
      const seen = [];
      for (let i = 0; i < page.size; i++) if (c.last[i] >= from && c.first[i] <= until) seen.push(i);
      const some = page.size < data.all ? ", of those on this page" : "";
      note = `${page.number(seen.length)} in this window${some}`;
      const colours = Object.fromEntries(outcomes.map((o) => [o, page.outcomeColour(o)]));
      spans.length = 0;
      if (seen.length <= SPANS) {
        const free = [];
        for (const i of seen) {
          const x = place(c.first[i]), e = Math.max(place(c.last[i]), x + 5 * r);
          let row = free.findIndex((taken) => taken < x - 2 * r);
          if (row < 0) { row = free.length; free.push(0); }
          free[row] = e;
          spans.push({ i, x, e, row });
        }
        const tall = Math.min(14 * r, (b.height - 4 * r) / Math.max(free.length, 1));
        for (const s of spans) {
          s.y = b.top + 2 * r + s.row * tall; s.h = Math.max(tall - 2 * r, 1.5 * r);
          ctx.fillStyle = colours[page.word("outcome", s.i)];
          ctx.beginPath(); ctx.roundRect(s.x, s.y, s.e - s.x, s.h, Math.min(3 * r, s.h / 2)); ctx.fill();
        }
      } else {
        const wide = 5 * r, bins = Math.max(1, Math.ceil(b.width / wide));
        const piles = outcomes.map(() => new Float64Array(bins)), sum = new Float64Array(bins);
        for (const i of seen) {
          const x = Math.floor((place(c.first[i]) - b.left) / wide);
          if (x >= 0 && x < bins) { piles[c.outcome.at[i]][x]++; sum[x]++; }
        }
        const most = sum.reduce((a, b) => Math.max(a, b), 1), bottom = b.top + b.height;
        note = `opened, up to ${page.number(most)} per bar${some}`;
        const base = new Float64Array(bins);
        const order = outcomes.map((_, o) => o).sort((p, q) => data.bad.includes(outcomes[q]) - data.bad.includes(outcomes[p]));
        for (const o of order) {
          ctx.fillStyle = colours[outcomes[o]];
          for (let x = 0; x < bins; x++) {
            if (!piles[o][x]) continue;
            const h = piles[o][x] / most * (b.height - 6 * r);
            ctx.fillRect(b.left + x * wide, bottom - base[x] - h, wide - r, h);
            base[x] += h;
          }
        }
      }
    });
    changes(u, false);
    const b = u.bbox;
    text(u.ctx, "Connections", 2 * r, b.top + 12 * r, page.colour("ink"), f.sans(13, 650), "left");
    text(u.ctx, note, 2 * r, b.top + 30 * r, page.colour("soft"), f.sans(11.5), "left", b.left - 8 * r);
  };
  const spans = [];

  const drawLanes = (u) => {
    const f = fonts(), r = ratio();
    clip(u, (ctx, b, place, unplace) => {
      rows.forEach((row, at) => {
        const top = b.top + at * LANE * r;
        if (row.lane === undefined) { ctx.fillStyle = page.colour("sunk"); ctx.fillRect(b.left, top, b.width, LANE * r); return; }
        if (at === chosen && document.activeElement === host) { ctx.fillStyle = page.colour("accent-soft"); ctx.fillRect(b.left, top, b.width, LANE * r); }
        ctx.fillStyle = page.colour("line"); ctx.fillRect(b.left, top + LANE * r - r, b.width, r);
        page.drawLane(ctx, row.lane, { left: b.left, width: b.width, top: top + 3 * r, height: (LANE - 7) * r }, place, unplace, page.colour(page.laneStops(row.lane) ? "bad" : "accent"), r);
      });
      if (mark) {
        const at = rows.findIndex((row) => row.lane === mark.lane), x = place(mark.mark[1]), e = Math.max(place(mark.mark[2]), x);
        ctx.strokeStyle = page.colour("ink"); ctx.lineWidth = 1.5 * r;
        ctx.strokeRect(x - 3 * r, b.top + at * LANE * r + r, e - x + 6 * r, (LANE - 3) * r);
      }
    });
    changes(u, true);
    const b = u.bbox, room = b.left - 12 * r;
    rows.forEach((row, at) => {
      const y = b.top + (at + 0.5) * LANE * r;
      if (row.lane === undefined) { text(u.ctx, row.hook, 2 * r, y, page.colour("ink"), f.sans(12, 650), "left"); return; }
      const stops = page.laneStops(row.lane), total = page.number(data.lane_totals[row.lane][1]);
      text(u.ctx, total, room, y, page.colour(stops ? "bad" : "soft"), f.sans(11.5, 600), "right");
      const taken = u.ctx.measureText(total).width + 10 * r;
      u.ctx.font = f.mono(11, stops ? 650 : 400);
      const space = room - taken - 10 * r, full = page.laneName(row.lane);
      text(u.ctx, u.ctx.measureText(full).width <= space ? full : full.slice(full.indexOf("/") + 1).replace("generation ", "gen "), 10 * r, y, page.colour(stops ? "bad" : "ink"), f.mono(11, stops ? 650 : 400), "left", space);
    });
  };

  const drawBalance = (u) => {
    changes(u, false);
    const f = fonts(), r = ratio(), b = u.bbox;
    clip(u, (ctx, box, place) => { /* a gap shows however short it is */
      ctx.fillStyle = page.colour("bad");
      let drawn = -Infinity;
      data.balance.gap.forEach((gap, i) => {
        const left = place(data.balance.begin[i]), right = Math.max(place(data.balance.end[i]), left + 2 * r);
        if (!gap || right <= drawn) return;
        const x = Math.max(left, drawn), wide = right - x;
        drawn = right;
        ctx.globalAlpha = 0.22; ctx.fillRect(x, box.top, wide, box.height);
        ctx.globalAlpha = 1; ctx.fillRect(x, box.top, wide, 4 * r);
      });
    });
    const off = data.balance.gap.reduce((a, b) => a + b, 0);
    text(u.ctx, "Counted and explained", 2 * r, b.top + 12 * r, page.colour("ink"), f.sans(13, 650), "left", b.left - 8 * r);
    text(u.ctx, off ? `${page.number(off)} hits apart: red` : "they agree throughout", 2 * r, b.top + 30 * r, page.colour(off ? "bad" : "soft"), f.sans(11.5), "left", b.left - 8 * r);
    text(u.ctx, `${page.number(Math.round(u.scales.y.max / 1.12))} hits/s`, b.left - 8 * r, b.top + b.height * 0.12 / 1.12 + 36 * r, page.colour("faint"), f.sans(11), "right");
  };
  const steps = () => {
    const b = data.balance, x = [], explained = [], counted = [];
    const push = (at, e, n) => { x.push(toX(at)); explained.push(e); counted.push(n); };
    let last = null;
    b.begin.forEach((begin, i) => {
      const seconds = Math.max(b.end[i] - begin, 1) / 1e6;
      if (last !== null && begin > last) push(last, 0, 0);
      else if (last === null) push(begin - 1, 0, 0);
      push(begin, b.explained[i] / seconds, (b.explained[i] + b.residual[i]) / seconds);
      last = b.end[i];
    });
    if (last !== null) push(last, 0, 0);
    return [x, counted, explained];
  };

  const reveal = (u, left, top) => {
    const us = toUs(u.posToVal(left, "x")), near = Math.max((u.scales.x.max - u.scales.x.min) * 1e6 / u.over.clientWidth * 6, 1);
    if (u === lanes) {
      const row = rows[Math.floor(top / LANE)];
      if (!row || row.lane === undefined) return null;
      const found = page.nearest(row.lane, us, near);
      return { lane: row.lane, mark: found };
    }
    if (u === balance) {
      const at = data.balance.begin.findIndex((begin, i) => begin <= us && us < data.balance.end[i]);
      return at < 0 ? null : { interval: at };
    }
    const r = ratio(), x = left * r + u.bbox.left, y = top * r + u.bbox.top;
    const span = spans.find((s) => x >= s.x - 3 * r && x <= s.e + 3 * r && y >= s.y - r && y <= s.y + s.h + r);
    return span ? { span } : null;
  };
  const connectionLine = (i) => `#${c.connection[i]} ${page.word("protocol", i)} ${page.end(i, "c").full} → ${page.end(i, "d").full}, ${page.word("outcome", i)}`;
  const describe = (found) => {
    if (found.interval !== undefined) {
      const b = data.balance, at = found.interval;
      return [el("b", {}, `${page.plural(b.explained[at], "hit")} explained, ${page.number(b.explained[at] + b.residual[at])} counted`), el("span.text", {}, `between ${b.merged ? "" : "the readings at "}${page.moment(b.begin[at])} and ${page.moment(b.end[at])}${b.gap[at] ? `: ${page.number(b.gap[at])} apart` : ""}`)];
    }
    if (found.span) return [el("b", {}, connectionLine(found.span.i)), el("span.text", {}, `${page.moment(c.first[found.span.i], 6)}, for ${page.span(c.last[found.span.i] - c.first[found.span.i])}${page.word("rule", found.span.i) ? ", by " + page.word("rule", found.span.i) : ""}`)];
    const parts = [el("b", {}, page.laneName(found.lane)), el("span.text", {}, page.laneText(found.lane))];
    if (found.mark) {
      const [i, first, last, packets] = found.mark;
      parts.push(el("div", {}, connectionLine(i)), el("span.text", {}, `${page.plural(packets, "packet")}, ${page.moment(first, 6)}${packets > 1 ? ` to ${page.moment(last, 6)}` : ""}`));
    }
    return parts;
  };
  const place = (found, x, y) => {
    tip.replaceChildren(...describe(found));
    tip.hidden = false;
    const w = tip.offsetWidth, h = tip.offsetHeight;
    tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - w - 8))}px`;
    tip.style.top = `${y + 18 + h > innerHeight ? y - h - 12 : y + 18}px`;
  };
  const hover = (u) => {
    let down = null;
    u.over.addEventListener("mousemove", (event) => {
      const found = reveal(u, event.offsetX, event.offsetY);
      u.over.style.cursor = found && (found.mark || found.span) ? "pointer" : "crosshair";
      if (found) place(found, event.clientX, event.clientY); else tip.hidden = true;
    });
    u.over.addEventListener("mouseleave", () => { tip.hidden = true; });
    u.over.addEventListener("mousedown", (event) => { down = event.clientX; });
    u.over.addEventListener("click", (event) => {
      if (down === null || Math.abs(event.clientX - down) > 3) return;
      const found = reveal(u, event.offsetX, event.offsetY);
      tip.hidden = true;
      if (found && found.span) page.open("connection", c.connection[found.span.i]);
      else if (found && found.mark) page.open("connection", c.connection[found.mark[0]]);
    });
  };
  /* The names beside the lanes open their rules. */
  const names = (u) => {
    const row = (event) => {
      const box = u.over.getBoundingClientRect();
      return event.clientX < box.left ? rows[Math.floor((event.clientY - box.top) / LANE)] : undefined;
    };
    u.root.addEventListener("mousemove", (event) => {
      const named = row(event), rule = named && named.lane !== undefined;
      u.root.style.cursor = rule ? "pointer" : "";
      if (rule) place({ lane: named.lane }, event.clientX, event.clientY); else if (!u.over.contains(event.target)) tip.hidden = true;
    });
    u.root.addEventListener("mouseleave", () => { tip.hidden = true; });
    u.root.addEventListener("click", (event) => { const named = row(event); if (named && named.lane !== undefined) { tip.hidden = true; page.open("rule", named.lane); } });
  };

  const opened = page.size ? make($("chart-opened"), OPENED, [0, 1], [axis(0), side], [hidden], empty, drawOpened) : null;
  const lanes = rows.length ? make($("chart-lanes"), rows.length * LANE + (data.counted ? 0 : 28), [0, 1], [data.counted ? bare(true) : axis(2), side], [hidden], empty, drawLanes) : null;
  let balance = null;
  if (data.balance.begin.length) {
    const stepped = uPlot.paths.stepped({ align: 1 });
    balance = make($("chart-balance"), BALANCE, (u, min, max) => [0, Math.max(max, 1) * 1.12], [axis(2), side], [
      { paths: stepped, stroke: () => page.colour("bad"), width: 1, points: { show: false } },
      { paths: stepped, stroke: () => page.colour("good"), width: 1.5, fill: () => page.colour("good-soft"), points: { show: false } },
    ], steps(), drawBalance, { bands: [{ series: [1, 2], fill: () => page.colour("bad"), dir: -1 }, { series: [2, 1], fill: () => page.colour("bad"), dir: -1 }] });
  }
  if (opened) hover(opened);
  if (lanes) { hover(lanes); names(lanes); }
  if (balance) hover(balance);

  const legend = $("timeline-legend");
  for (const o of outcomes) legend.append(el("span", {}, el(`i.dot.o-${o}`, { "aria-hidden": "true" }), o));
  if (page.lanesHit > rows.filter((row) => row.lane !== undefined).length) legend.append(el("span", {}, `The busiest ${rows.filter((row) => row.lane !== undefined).length} of ${page.lanesHit} rules that were hit, drops first; the ruleset below has all.`));
  if (page.size < data.all) legend.append(el("span", {}, `Hits of the ${page.number(page.size)} connections on this page; counted and explained are of all.`));

  page.redraw = () => { for (const u of charts) u.redraw(false, true); };
  page.resize = (width) => { for (const u of charts) u.setSize({ width: width || host.clientWidth, height: u.height }); };
  let pending = 0;
  addEventListener("resize", () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(() => page.resize()); });

  const zoom = (factor) => {
    const centre = mark && toX(mark.mark[1]) >= range[0] && toX(mark.mark[1]) <= range[1] ? toX(mark.mark[1]) : (range[0] + range[1]) / 2;
    const width = (range[1] - range[0]) * factor, share = (centre - range[0]) / (range[1] - range[0]);
    setRange(centre - width * share, centre + width * (1 - share));
  };
  $("zoom-in").addEventListener("click", () => zoom(0.4));
  $("zoom-out").addEventListener("click", () => zoom(2.5));
  $("zoom-all").addEventListener("click", () => setRange(...whole));
  const choose = (by) => {
    for (let at = chosen + by; at >= 0 && at < rows.length; at += by) if (rows[at].lane !== undefined) { chosen = at; break; }
    mark = null;
    const row = rows[chosen];
    says.textContent = row ? `${page.laneName(row.lane)}: ${page.laneText(row.lane)}, ${page.plural(data.lane_totals[row.lane][1], "packet")}` : "";
    page.redraw();
  };
  const next = (back) => {
    const row = rows[chosen];
    if (!row) return;
    const found = page.nextMark(row.lane, mark && mark.lane === row.lane ? mark.mark[1] : toUs(back ? range[1] : range[0]), back);
    if (!found) { says.textContent = "no further hit"; return; }
    mark = { lane: row.lane, mark: found };
    const at = toX(found[1]);
    if (at < range[0] || at > range[1]) { const half = (range[1] - range[0]) / 2; setRange(at - half, at + half); }
    page.redraw();
    const box = lanes.over.getBoundingClientRect();
    place(mark, box.left + lanes.valToPos(at, "x"), box.top + (chosen + 1) * LANE);
    says.textContent = tip.textContent;
  };
  host.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== host) return;
    const width = range[1] - range[0];
    const does = {
      ArrowLeft: () => setRange(range[0] - width / 5, range[1] - width / 5), ArrowRight: () => setRange(range[0] + width / 5, range[1] + width / 5),
      "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => setRange(...whole), ArrowUp: () => choose(-1), ArrowDown: () => choose(1),
      n: () => next(false), p: () => next(true), N: () => next(false), P: () => next(true),
      Enter: () => { if (mark) page.open("connection", c.connection[mark.mark[0]]); else if (rows[chosen]) page.open("rule", rows[chosen].lane); },
    }[event.key];
    if (does) { event.preventDefault(); does(); }
  });
  host.addEventListener("focus", () => page.redraw());
  host.addEventListener("blur", () => { tip.hidden = true; page.redraw(); });
})(page);
