/* Which connections are shown, and in which order. */
(function (page) {
  "use strict";
  const { data } = page;
  const c = data.connections;
  const state = page.filters = { text: "", outcomes: new Set(), inexact: false, inwindow: false, lane: null, numbers: null, sort: "number", down: false };

  const texts = Array.from({ length: page.size }, (_, i) => {
    const ends = ["c", "d", "s", "n"].map((side) => page.end(i, side).full + " " + page.end(i, side).plain);
    return [`#${c.connection[i]}`, page.word("protocol", i), ...ends, page.word("in_interface", i), page.word("out_interface", i),
      page.word("outcome", i), page.word("rule", i), page.word("state", i), page.word("status", i)].join(" ").toLowerCase();
  });
  const address = (text) => text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  const rank = (column, key) => {
    const order = [...c[column].words].map((word, at) => [key(word), at]).sort((a, b) => (a[0] > b[0]) - (a[0] < b[0]));
    const place = new Array(order.length);
    order.forEach(([, at], i) => { place[at] = i; });
    return (i) => place[c[column].at[i]];
  };
  const end = (host, port) => { const by = rank(host, address); return (i) => by(i) * 65536 + c[port][i]; };
  const natural = (text) => text.replace(/\d+/g, (n) => n.padStart(6, "0"));
  const words = (column) => rank(column, natural);
  const keys = {
    number: (i) => c.connection[i], first: (i) => c.first[i], protocol: words("protocol"), client: end("src", "sport"),
    dialled: end("dst", "dport"), server: end("reply_src", "reply_sport"), way: (() => { const a = words("in_interface"), b = words("out_interface"); return (i) => a(i) * 1000 + b(i); })(),
    packets: (i) => c.packets_original[i] + c.packets_reply[i], bytes: (i) => c.bytes_original[i] + c.bytes_reply[i],
    outcome: words("outcome"), rule: words("rule"), status: words("status"),
  };

  page.shown = [];
  page.apply = () => {
    const wanted = state.text.toLowerCase().split(/\s+/).filter(Boolean);
    const pool = state.lane !== null ? page.byLane[state.lane] : state.numbers !== null ? state.numbers.map((n) => page.at.get(n)).filter((i) => i !== undefined) : null;
    const [from, until] = state.inwindow && page.window ? page.window() : [-Infinity, Infinity];
    const kept = [];
    const fits = (i) => (!state.outcomes.size || state.outcomes.has(page.word("outcome", i)))
      && (!state.inexact || page.word("status", i) !== "exact")
      && c.last[i] >= from && c.first[i] <= until
      && wanted.every((word) => /^#\d+$/.test(word) ? word === `#${c.connection[i]}` : texts[i].includes(word));
    if (pool) { for (const i of pool) if (fits(i)) kept.push(i); } else for (let i = 0; i < page.size; i++) if (fits(i)) kept.push(i);
    const key = keys[state.sort], sign = state.down ? -1 : 1;
    const values = new Map(kept.map((i) => [i, key(i)]));
    kept.sort((a, b) => sign * (values.get(a) - values.get(b)) || a - b);
    page.shown = kept;
    page.onFilter();
  };
  page.filtered = () => state.text || state.outcomes.size || state.inexact || state.inwindow || state.lane !== null || state.numbers !== null;
  page.clear = () => {
    Object.assign(state, { text: "", inexact: false, inwindow: false, lane: null, numbers: null });
    state.outcomes.clear();
  };
})(page);
