/* One connection hook by hook, or one rule with its ledger, opened beside the page. */
(function (page) {
  "use strict";
  const { el, $, data } = page;
  const c = data.connections;
  const drawer = $("drawer");
  const LINES = 200;
  let back = null;
  page.opened = null;

  const rule = (lane, name) => el("a.rule", { href: `#rule=${encodeURIComponent(name)}`, data: { lane } }, name);
  /* The rule of that name that this connection hit: names are told apart by the generation. */
  const ruleOf = (i, name) => {
    const views = data.views[i];
    for (let v = 0; v < views.length; v += 5) {
      const step = data.templates[views[v]].steps.find((s) => typeof s[1] === "number" && page.entryName(s[1]) === name);
      if (step) return rule(data.entries[step[1]][5], name);
    }
    return el("span.rule", {}, name);
  };
  const link = (n, text) => el("a.chip", { href: `#connection=${n}`, data: { connection: n } }, text || `#${n}`);

  const top = (title, tools) => el("div.top", {}, el("h2", { id: "drawer-title", tabindex: -1 }, title), ...tools,
    el("button", { type: "button", id: "drawer-close", "aria-label": "Close", on: { click: () => page.close() } }, "Close"));

  const STOPS = /^(dropped|rejected|ignored)/;
  const told = (text, i) => text.replace(/\{([cdsn])\}/g, (_, side) => page.end(i, side).plain);
  const steps = (template, i) => {
    const list = el("ol.steps");
    let hook = "";
    for (const step of template.steps) {
      const first = step[0] !== hook;
      hook = step[0];
      const label = el("span.hook", {}, first ? hook : "");
      const item = el(`li${first ? ".first-of-hook" : ""}`, {}, label);
      if (typeof step[1] === "number") {
        const [e, depth, certain] = step.slice(1);
        const what = el("span.what", {}, rule(data.entries[e][5], page.entryName(e)), certain ? "" : el("span.unsure", {}, " perhaps"), el("span.text", {}, page.entryText(e)));
        what.style.marginLeft = `${Math.min(depth, 3) * 14}px`;
        if (["DROP", "REJECT"].includes(data.entries[e][4])) item.classList.add("stop");
        item.append(what);
      } else {
        const [kind, text] = step.slice(1);
        item.classList.add(kind);
        if (kind === "end" && STOPS.test(text)) item.classList.add("stop");
        item.append(el("span.what", {}, { nat: "NAT: ", route: "route: " }[kind] || "", told(text, i)));
      }
      list.append(item);
    }
    return template.steps.length ? list : el("p.reason", {}, "No way through the rules fits what was seen of these packets.");
  };
  const evidence = (template) => {
    const seen = template.evidence.split(",");
    return el("p.evidence", {}, "Evidence:", ...["rules", "wire", "counters"].map((w) => el(`span.${seen.includes(w) ? "yes" : "no"}`, { "aria-label": `${w}: ${seen.includes(w) ? "agree" : "do not tell"}` }, w)),
      el(`span.status.${template.status}`, {}, template.status));
  };
  const view = (i, at) => {
    const [t, packets, bytes, first, last] = data.views[i].slice(at, at + 5);
    const template = data.templates[t];
    const when = packets > 1 ? `${page.moment(first)} to ${page.moment(last)}` : page.moment(first, 6);
    return el("div.view", { role: "group", "aria-label": `${template.direction} ${template.state}` },
      el("p.when", {}, el("b", {}, `${template.direction}, ${template.state}: ${page.plural(packets, "packet")}`),
        el("span", {}, `${page.number(bytes)} bytes · ${when} · from ${template.in || "this host"}`)),
      steps(template, i), evidence(template));
  };
  const pairs = (...items) => el("dl.pairs", {}, ...items.filter(([, value]) => value !== "" && value !== null).flatMap(([what, value]) => [el("dt", {}, what), el("dd", {}, ...[value].flat())]));

  const connection = (n) => {
    const i = page.at.get(n);
    const outcome = page.word("outcome", i), by = page.word("rule", i), reason = page.word("reason", i);
    const [client, dialled, server, seen] = ["c", "d", "s", "n"].map((side) => page.end(i, side));
    const go = (by, text) => {
      const next = page.step(n, by);
      return el("button", { type: "button", disabled: next === null, "aria-label": by < 0 ? "Previous connection" : "Next connection", on: { click: () => page.open("connection", next, true) } }, text);
    };
    const parts = [
      top(`Connection ${page.number(n)}`, [go(-1, "↑"), go(1, "↓")]),
      el(`p.lead${page.isBad(i) ? ".bad" : ""}`, {}, el(`span.dot.o-${outcome}`, { "aria-hidden": "true" }), outcome, ...(by ? [" by ", ruleOf(i, by)] : [])),
      el("p.tuple", {}, `${page.word("protocol", i)}  ${client.full} `, el("span.arrow", {}, "→"), ` ${dialled.full}`),
      pairs(
        [c.packets_reply[i] ? "Answered by" : "Translated to", server.plain === dialled.plain ? "" : server.full],
        ["Server sees", seen.plain === client.plain ? "" : seen.full],
        ["State", page.word("state", i)],
        ["First seen", `${page.moment(c.first[i], 6)}, for ${page.span(c.last[i] - c.first[i])}`],
        ["Packets", `${page.number(c.packets_original[i])} original, ${page.number(c.packets_reply[i])} reply (${page.number(c.bytes_original[i])} + ${page.number(c.bytes_reply[i])} bytes)`],
        ["docker-proxy", c.linked[i] ? ["carries it: its other half is ", link(c.linked[i])] : ""],
        ["Status", page.word("status", i)]),
    ];
    if (reason) parts.push(el("p.reason", {}, reason));
    const maybe = data.candidates[n];
    if (maybe) parts.push(el("p.evidence", {}, "Candidates, of which some are true:"), el("p.backed", {}, ...maybe.map((e) => rule(data.entries[e][5], page.entryName(e)))));
    parts.push(el("h3", {}, "Its path, hook by hook"));
    for (let at = 0; at < data.views[i].length; at += 5) parts.push(view(i, at));
    return parts;
  };

  const aRule = (lane) => {
    const [counted, explained, residual, countedBytes, explainedBytes] = data.lane_totals[lane];
    const mine = page.byLane[lane];
    const l = data.ledger;
    const lines = [];
    for (let at = 0; at < l.lane.length; at++) if (l.lane[at] === lane) lines.push(at);
    lines.sort((a, b) => Math.abs(l.residual[b]) - Math.abs(l.residual[a]) || l.begin[a] - l.begin[b]);
    const parts = [
      top(page.laneName(lane), []),
      el("p.rule-text", {}, page.laneText(lane)),
      ...(page.bearers(lane).length > 1 ? [el("p.evidence", {}, "In another generation of the rules, another one bore this name: ", ...page.bearers(lane).filter((l) => l !== lane).map((l) => rule(l, page.laneName(l))))] : []),
      pairs(["First met in", data.lane_hooks[lane] || "no hook leads to it"],
        ["Counted", counted < 0 ? "not counted" : `${page.plural(counted, "packet")}, ${page.number(countedBytes)} bytes`],
        ["Explained", `${page.plural(explained, "packet")}, ${page.number(explainedBytes)} bytes`],
        ["Residual", data.counted ? String(residual) : ""]),
      el("p.tools", {}, el("button", { type: "button", id: "rule-filter", disabled: !mine.length, on: { click: () => page.onlyLane(lane) } }, `Show its ${page.plural(mine.length, "connection")}`)),
    ];
    if (mine.length) parts.push(el("p.backed", {}, ...mine.slice(0, 24).map((i) => link(c.connection[i])), mine.length > 24 ? `and ${page.number(mine.length - 24)} more` : ""));
    if (lines.length) {
      parts.push(el("h3", {}, "Its ledger"), el("table.plain", {},
        el("thead", {}, el("tr", {}, el("th", {}, "From"), el("th", {}, "Until"), ...["Counted", "Explained", "Residual"].map((w) => el("th.num", {}, w)), el("th", {}, ""))),
        el("tbody", {}, ...lines.slice(0, LINES).map((at) => el("tr", {}, el("td.time", {}, page.moment(l.begin[at])), el("td.time", {}, page.moment(l.end[at])),
          el("td.num", {}, page.number(l.counted[at])), el("td.num", {}, page.number(l.explained[at])), el(`td.num${l.residual[at] ? ".off" : ""}`, {}, String(l.residual[at])), el("td", {}, l.notes[at] || ""))))));
      if (lines.length > LINES) parts.push(el("p.remark", {}, `${page.number(lines.length - LINES)} more lines, in order of time.`));
    }
    return parts;
  };

  page.open = (kind, which, stay) => {
    const at = kind === "connection" ? page.at.get(which) : which;
    if (kind === "connection" && at === undefined) { page.absent(which); return; }
    const focused = document.activeElement && document.activeElement.getAttribute("aria-label");
    if (drawer.hidden) back = document.activeElement;
    page.opened = kind === "connection" ? which : null;
    drawer.replaceChildren(...(kind === "connection" ? connection(which) : aRule(which)));
    drawer.hidden = false;
    drawer.scrollTop = 0;
    page.marked(page.opened);
    history.replaceState(null, "", kind === "connection" ? `#connection=${which}` : `#rule=${encodeURIComponent(page.laneName(which))}`);
    if (!stay) $("drawer-title").focus();
    else (drawer.querySelector(`button[aria-label="${focused}"]:not([disabled])`) || $("drawer-title")).focus();
  };
  page.close = () => {
    if (drawer.hidden) return;
    const n = page.opened;
    drawer.hidden = true;
    page.opened = null;
    history.replaceState(null, "", location.pathname + location.search);
    page.marked(null);
    const inTable = !back || !document.contains(back) || back.closest("#grid");
    if (inTable && n !== null) page.focusConnection(n);
    else if (back && document.contains(back)) back.focus();
    back = null;
  };
  drawer.addEventListener("keydown", (event) => {
    if (event.target.closest("button, a") && event.key === "Enter") return;
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by && event.altKey && page.opened !== null) {
      const next = page.step(page.opened, by);
      if (next !== null) { event.preventDefault(); page.open("connection", next); }
    }
  });
})(page);
