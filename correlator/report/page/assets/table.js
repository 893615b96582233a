/* The connection table: only the rows in sight exist, so that any number of connections scrolls. */
(function (page) {
  "use strict";
  const { el, $, data, filters } = page;
  const c = data.connections;
  const ROW = 33, SPARE = 8, PRINTED = 200;
  const grid = $("grid"), body = grid.tBodies[0], scroller = $("scroller");
  const COLUMNS = [
    ["number", "#", "4.4%", "num"], ["first", "First seen", "8%"], ["protocol", "", "4.6%"], ["client", "Client", "12.6%", "end"],
    ["dialled", "Dialled", "12%", "end"], ["server", "Server", "10.6%", "end"], ["way", "In › out", "9%"], ["packets", "Packets", "5.4%", "num"],
    ["bytes", "Bytes", "6%", "num"], ["outcome", "Outcome", "9.6%"], ["rule", "Decided by", "12.6%"], ["status", "Status", "5.4%"],
  ];
  const head = grid.tHead.rows[0];
  for (const [name, title, width, kind] of COLUMNS) {
    const button = el("button", { type: "button", "aria-label": `Sort by ${title || "protocol"}` }, title || "Proto");
    button.addEventListener("click", () => sortBy(name));
    head.append(el(`th.c-${name}${kind === "num" ? ".num" : ""}`, { scope: "col", role: "columnheader", style: `--w:${width}`, data: { name, title: title || "Proto" } }, button));
  }
  const sortBy = (name) => {
    filters.down = filters.sort === name ? !filters.down : ["packets", "bytes"].includes(name);
    filters.sort = name;
    page.apply();
  };

  let current = 0; /* place in page.shown of the row that has the focus, or would get it */
  const rowOf = (place) => {
    const i = page.shown[place];
    const n = c.connection[i], outcome = page.word("outcome", i), status = page.word("status", i), reason = page.word("reason", i);
    const dialled = page.end(i, "d"), server = page.end(i, "s"), client = page.end(i, "c");
    const link = c.linked[i] ? ` with #${c.linked[i]}` : "";
    const cells = [
      ["number", page.number(n), ""], ["first", page.moment(c.first[i]), page.moment(c.first[i], 6)], ["protocol", page.word("protocol", i), ""],
      ["client", client.short, client.full], ["dialled", dialled.short, dialled.full],
      ["server", server.plain === dialled.plain ? "" : server.short, server.full], ["way", page.way(i), ""],
      ["packets", `${page.number(c.packets_original[i])}+${page.number(c.packets_reply[i])}`, "original + reply"],
      ["bytes", page.bytes(c.bytes_original[i] + c.bytes_reply[i]), `${page.number(c.bytes_original[i])} + ${page.number(c.bytes_reply[i])} bytes`],
      ["outcome", outcome + link, ""], ["rule", page.word("rule", i), page.word("rule", i)], ["status", status, reason],
    ];
    const row = el(`tr.row${page.isBad(i) ? ".bad" : ""}`, { role: "row", tabindex: place === current ? 0 : -1, "aria-rowindex": place + 2, "aria-selected": String(page.opened === n), data: { place, connection: n } });
    for (const [name, text, title] of cells) {
      const end = ["client", "dialled", "server"].includes(name) ? ".end" : ["number", "packets", "bytes"].includes(name) ? ".num" : "";
      const cell = el(`td.c-${name}${end}${name === "status" ? "." + status : ""}`, { role: "gridcell", title: title && title !== text ? title : undefined });
      if (name === "outcome") cell.append(el(`span.dot.o-${outcome}`, { "aria-hidden": "true" }));
      cell.append(text);
      if (name === "outcome" && status !== "exact") cell.append(el("span.flag", { title: reason || status }, " ?"));
      row.append(cell);
    }
    return row;
  };
  const spacer = (rows) => {
    const row = el("tr.spacer", { "aria-hidden": "true" }, el("td", { colspan: [...head.cells].filter((th) => th.offsetWidth).length || 1 }));
    row.firstChild.style.height = `${rows * ROW}px`;
    return row;
  };
  let drawn = [0, 0];
  const draw = (force) => {
    const total = page.shown.length;
    const first = Math.max(0, Math.floor(scroller.scrollTop / ROW) - SPARE);
    const last = Math.min(total, first + Math.ceil((scroller.clientHeight || 600) / ROW) + 2 * SPARE);
    if (!force && drawn[0] === first && drawn[1] === last) return;
    const kept = document.activeElement && body.contains(document.activeElement) ? Number(document.activeElement.dataset.place) : -1;
    drawn = [first, last];
    const rows = [];
    for (let place = first; place < last; place++) rows.push(rowOf(place));
    body.replaceChildren(spacer(first), ...rows, spacer(total - last));
    if (kept >= first && kept < last && !force) focusPlace(kept, true);
  };
  const element = (place) => body.querySelector(`tr.row[data-place="${place}"]`);
  const focusPlace = (place, still) => {
    const total = page.shown.length;
    if (!total) return;
    current = Math.max(0, Math.min(total - 1, place));
    const top = current * ROW, height = scroller.clientHeight - head.offsetHeight;
    if (!still && top < scroller.scrollTop) scroller.scrollTop = top;
    if (!still && top + ROW > scroller.scrollTop + height) scroller.scrollTop = top + ROW - height;
    draw(!still);
    const row = element(current);
    if (row) { row.tabIndex = 0; row.focus({ preventScroll: true }); }
  };
  page.focusConnection = (n) => {
    const place = page.shown.findIndex((i) => c.connection[i] === n);
    if (place >= 0) focusPlace(place);
  };
  page.step = (n, by) => {
    const place = page.shown.findIndex((i) => c.connection[i] === n) + by;
    return place >= 0 && place < page.shown.length ? c.connection[page.shown[place]] : null;
  };
  page.marked = (n) => {
    const place = page.shown.findIndex((i) => c.connection[i] === n);
    if (place >= 0) current = place;
    draw(true);
  };
  scroller.addEventListener("scroll", () => draw(false), { passive: true });
  addEventListener("resize", () => draw(true));
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr.row");
    if (row) { current = Number(row.dataset.place); page.open("connection", Number(row.dataset.connection)); }
  });
  body.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr.row");
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const place = Number(row.dataset.place), leap = Math.max(1, Math.floor(scroller.clientHeight / ROW) - 2);
    const to = { ArrowDown: place + 1, ArrowUp: place - 1, PageDown: place + leap, PageUp: place - leap, Home: 0, End: page.shown.length - 1 }[event.key];
    if (to !== undefined) { event.preventDefault(); focusPlace(to); }
    else if (event.key === "Enter" || event.key === " ") { event.preventDefault(); page.open("connection", Number(row.dataset.connection)); }
  });

  page.onFilter = () => {
    current = 0;
    scroller.scrollTop = 0;
    for (const th of head.cells) {
      if (th.dataset.name === filters.sort) th.setAttribute("aria-sort", filters.down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    }
    const total = page.shown.length;
    grid.setAttribute("aria-rowcount", total + 1);
    grid.setAttribute("aria-colcount", COLUMNS.length);
    $("count").textContent = page.filtered() ? `${page.number(total)} of ${page.number(page.size)} shown` : page.plural(total, "connection") + (page.size < data.all ? ` of ${page.number(data.all)}` : "");
    $("nothing").hidden = total > 0;
    draw(true);
    page.showFilters();
  };
  page.printTable = () => {
    const shown = Math.min(PRINTED, page.shown.length);
    body.replaceChildren(...Array.from({ length: shown }, (_, place) => rowOf(place)));
    $("print-note").textContent = shown < page.shown.length ? `The first ${page.number(shown)} of ${page.plural(page.shown.length, "connection")}, as filtered and sorted.` : "";
  };
  page.drawTable = () => draw(true);
})(page);
