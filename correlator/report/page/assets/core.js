/* The session's data, and words for it. All text goes in as text nodes: nothing here is ever parsed as HTML. */
const page = {};
(function (page) {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const c = data.connections;
  page.data = data;
  page.size = c.connection.length;

  page.word = (column, i) => c[column].words[c[column].at[i]];
  page.number = (n) => Number(n).toLocaleString("en-US");
  page.plural = (n, word) => `${page.number(n)} ${word}${n === 1 ? "" : "s"}`;
  page.moment = (us, digits = 3) => {
    const ms = data.origin + us / 1000;
    const whole = Math.floor(ms);
    const text = new Date(whole).toISOString().slice(11, digits > 0 ? 23 : 19);
    return digits > 3 ? text + String(Math.round((ms - whole) * 1000) % 1000).padStart(3, "0") : text;
  };
  page.span = (us) => us < 1000 ? `${us} µs` : us < 1e6 ? `${(us / 1000).toPrecision(3)} ms` : `${(us / 1e6).toPrecision(4)} s`;
  page.bytes = (n) => n < 10000 ? `${page.number(n)} B` : n < 1e7 ? `${(n / 1000).toPrecision(3)} kB` : `${page.number(Math.round(n / 1e6))} MB`;
  const bare = (i) => !["tcp", "udp"].includes(page.word("protocol", i));
  page.end = (i, side) => {
    const [host, port] = { c: ["src", "sport"], d: ["dst", "dport"], s: ["reply_src", "reply_sport"], n: ["reply_dst", "reply_dport"] }[side];
    const address = page.word(host, i);
    const name = data.containers[address];
    const tail = bare(i) ? "" : `:${c[port][i]}`;
    return { short: (name || address) + tail, full: name ? `${name} (${address})${tail}` : address + tail, plain: address + tail };
  };
  page.way = (i) => `${page.word("in_interface", i) || "host"} › ${gone(i) ? "✕" : page.word("out_interface", i) || "host"}`;
  const gone = (i) => page.isBad(i);
  page.isBad = (i) => data.bad.includes(page.word("outcome", i));
  page.entryName = (e) => `${data.entries[e][0]}/${data.entries[e][1]}:${data.entries[e][2] || "policy"}`;
  page.entryText = (e) => data.entries[e][2] ? data.entries[e][3] : `policy ${data.entries[e][4]}`;
  /* Where generations gave one name to several rules, the older ones say so. */
  const bearers = new Map();
  data.lanes.forEach((e, lane) => { const name = page.entryName(e); bearers.set(name, [...bearers.get(name) || [], lane]); });
  page.bearers = (lane) => bearers.get(page.entryName(data.lanes[lane]));
  page.laneName = (lane) => {
    const name = page.entryName(data.lanes[lane]), all = bearers.get(name);
    return all.length > 1 && data.lane_last[lane] < Math.max(...all.map((l) => data.lane_last[l])) ? `${name} (generation ${data.lane_last[lane]})` : name;
  };
  page.laneText = (lane) => page.entryText(data.lanes[lane]);
  page.laneStops = (lane) => ["DROP", "REJECT"].includes(data.entries[data.lanes[lane]][4]);
  page.at = new Map(c.connection.map((n, i) => [n, i]));

  /* An element: tag.class names, properties, children; strings become text. */
  page.el = (tag, properties, ...children) => {
    const [name, ...classes] = tag.split(".");
    const made = document.createElement(name);
    if (classes.length) made.className = classes.join(" ");
    for (const [key, value] of Object.entries(properties || {})) {
      if (key === "on") for (const [event, run] of Object.entries(value)) made.addEventListener(event, run);
      else if (key === "data") Object.assign(made.dataset, value);
      else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== undefined && child !== null && child !== ""));
    return made;
  };
  page.$ = (id) => document.getElementById(id);

  /* Lanes (rules) that each connection hit, and for each lane the connections. */
  const lanesOf = data.templates.map((t) => [...new Set(t.steps.filter((s) => typeof s[1] === "number").map((s) => data.entries[s[1]][5]))]);
  page.lanesOf = lanesOf;
  const byLane = data.lanes.map(() => []);
  for (let i = 0; i < page.size; i++) {
    const mine = new Set();
    const views = data.views[i];
    for (let v = 0; v < views.length; v += 5) for (const lane of lanesOf[views[v]]) mine.add(lane);
    for (const e of data.candidates[c.connection[i]] || []) mine.add(data.entries[e][5]);
    for (const lane of mine) byLane[lane].push(i);
  }
  page.byLane = byLane;

  /* A colour of the theme as the canvas needs it. */
  const probe = document.createElement("span");
  probe.hidden = true;
  document.documentElement.append(probe);
  page.colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const OUTCOMES = { DNAT: "dnat", REDIRECT: "dnat", MASQUERADE: "masquerade", SNAT: "masquerade", "docker-proxy": "proxy", forwarded: "forwarded", local: "local", dropped: "dropped", rejected: "rejected", lost: "lost", expired: "lost" };
  page.outcomeColour = (outcome) => page.colour(`o-${OUTCOMES[outcome] || "unknown"}`);
})(page);
