/* Marks of the timeline: per rule, the packets that hit it, by time; and their drawing. */
(function (page) {
  "use strict";
  const { data } = page;
  const MOST = 64, FEW = 500;
  const order = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING", ""];

  /* Marks of a lane: connection, first, last, packets; sorted by first. */
  const marks = data.lanes.map(() => []);
  for (let i = 0; i < page.size; i++) {
    const views = data.views[i];
    for (let v = 0; v < views.length; v += 5) {
      const mark = [i, views[v + 3], views[v + 4], views[v + 1]];
      for (const lane of page.lanesOf[views[v]]) marks[lane].push(mark);
    }
  }
  for (const list of marks) list.sort((a, b) => a[1] - b[1]);
  const sum = (lane) => Math.max(data.lane_totals[lane][1], data.lane_totals[lane][0]);
  let used = data.lanes.map((_, lane) => lane).filter((lane) => marks[lane].length);
  page.lanesHit = used.length;
  if (used.length > MOST) {
    const busiest = new Set([...used].sort((a, b) => page.laneStops(b) - page.laneStops(a) || sum(b) - sum(a)).slice(0, MOST));
    used = used.filter((lane) => busiest.has(lane));
  }
  /* Rows from top to bottom: a hook's name, then its rules. */
  const rows = [];
  for (const hook of order) {
    const mine = used.filter((lane) => data.lane_hooks[lane] === hook);
    if (mine.length) rows.push({ hook: hook || "elsewhere" }, ...mine.map((lane) => ({ lane })));
  }
  page.rows = rows;
  page.marks = marks;

  const lowerBound = (list, value) => {
    let low = 0, high = list.length;
    while (low < high) { const mid = (low + high) >> 1; if (list[mid][1] < value) low = mid + 1; else high = mid; }
    return low;
  };

  /* One lane between pixels: marks where they are few, density where they are many. */
  page.drawLane = (ctx, lane, box, place, unplace, colour, ratio) => {
    const list = marks[lane];
    const from = unplace(box.left), until = unplace(box.left + box.width);
    const seen = list.filter((m) => m[2] >= from && m[1] <= until);
    ctx.fillStyle = colour;
    const stops = page.laneStops(lane);
    if (seen.length <= (stops ? box.width / (14 * ratio) : FEW)) {
      for (const [, first, last, packets] of seen) {
        const x = place(first), end = Math.max(place(last), x);
        if (packets > 1) { ctx.globalAlpha = 0.35; ctx.fillRect(x, box.top + box.height / 2 - ratio, end - x, 2 * ratio); }
        ctx.globalAlpha = 0.85;
        if (stops) cross(ctx, x, box, ratio); else ctx.fillRect(x - ratio, box.top, 2 * ratio, box.height);
        if (packets > 1 && end - x > 2 * ratio) { if (stops) cross(ctx, end, box, ratio); else ctx.fillRect(end - ratio, box.top, 2 * ratio, box.height); }
      }
    } else {
      const wide = Math.max(1, Math.round(2 * ratio)), columns = new Float32Array(Math.ceil(box.width / wide) + 1);
      for (const [, first, last, packets] of seen) {
        const a = Math.max(0, Math.floor((place(first) - box.left) / wide)), b = Math.min(columns.length - 1, Math.floor((place(last) - box.left) / wide));
        const each = packets / Math.max(1, b - a + 1);
        for (let x = a; x <= b; x++) columns[x] += each;
      }
      const most = columns.reduce((a, b) => Math.max(a, b), 1);
      columns.forEach((n, x) => {
        if (n <= 0) return;
        ctx.globalAlpha = 0.25 + 0.75 * Math.log1p(n) / Math.log1p(most);
        ctx.fillRect(box.left + x * wide, box.top, wide, box.height);
      });
    }
    ctx.globalAlpha = 1;
  };
  const cross = (ctx, x, box, ratio) => {
    const r = Math.min(box.height / 2, 5 * ratio), y = box.top + box.height / 2;
    ctx.lineWidth = 2 * ratio;
    ctx.strokeStyle = ctx.fillStyle;
    ctx.beginPath();
    ctx.moveTo(x - r, y - r); ctx.lineTo(x + r, y + r); ctx.moveTo(x + r, y - r); ctx.lineTo(x - r, y + r);
    ctx.stroke();
  };

  /* The mark of a lane nearest to a time, within a distance; null where there is none. */
  page.nearest = (lane, us, within) => {
    let best = null, least = within;
    for (const mark of marks[lane]) {
      if (mark[1] > us + within) break;
      const away = us < mark[1] ? mark[1] - us : us > mark[2] ? us - mark[2] : 0;
      if (away <= least) { best = mark; least = away; }
    }
    return best;
  };
  page.nextMark = (lane, after, back) => {
    const list = marks[lane];
    if (back) return list[lowerBound(list, after) - 1] || null;
    return list[lowerBound(list, after + 1)] || null;
  };
})(page);
