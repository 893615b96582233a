/* What is pressed, chosen, linked to and printed. */
(function (page) {
  "use strict";
  const { el, $, data, filters } = page;
  const root = document.documentElement;

  /* Colours: as the system, light, dark; remembered where the browser lets a page from disk remember. */
  const NAMES = { "": "Auto", light: "Light", dark: "Dark" };
  const themed = (theme) => {
    if (theme) root.dataset.theme = theme; else delete root.dataset.theme;
    $("theme").textContent = NAMES[theme];
    $("theme").setAttribute("aria-label", `Colours: ${theme || "as the system"}`);
    page.redraw();
  };
  const remembered = () => { try { return localStorage.getItem("correlator-theme") || ""; } catch { return ""; } };
  const remember = (theme) => { try { localStorage.setItem("correlator-theme", theme); } catch { /* not allowed: not remembered */ } };
  $("theme").addEventListener("click", () => {
    const order = ["", "light", "dark"], theme = order[(order.indexOf(root.dataset.theme || "") + 1) % 3];
    remember(theme);
    themed(theme);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => page.redraw());

  /* Filters. */
  const choices = $("outcome-choices");
  const counts = data.connections.outcome.words.map((word, at) => [word, data.connections.outcome.at.reduce((n, x) => n + (x === at), 0)]);
  for (const [outcome, n] of counts.sort((a, b) => b[1] - a[1])) {
    const button = el("button", { type: "button", "aria-pressed": "false", data: { choice: outcome } }, el(`span.dot.o-${outcome}`, { "aria-hidden": "true" }), `${outcome} ${page.number(n)}`);
    button.addEventListener("click", () => { if (!filters.outcomes.delete(outcome)) filters.outcomes.add(outcome); page.apply(); });
    choices.append(button);
  }
  page.showFilters = () => {
    for (const button of choices.children) button.setAttribute("aria-pressed", String(filters.outcomes.has(button.dataset.choice)));
    $("text").value = document.activeElement === $("text") ? $("text").value : filters.text;
    $("inexact").checked = filters.inexact;
    $("inwindow").checked = filters.inwindow;
    $("clear").hidden = !page.filtered();
    const active = [];
    const chip = (text, drop) => el("button", { type: "button", "aria-label": `Remove filter: ${text}`, on: { click: () => { drop(); page.apply(); } } }, `${text} ✕`);
    if (filters.lane !== null) active.push(chip(page.laneName(filters.lane), () => { filters.lane = null; }));
    if (filters.numbers !== null) active.push(chip(`${filters.numbers.length} of a finding`, () => { filters.numbers = null; }));
    $("active").replaceChildren(...active);
  };
  let typing = 0;
  $("text").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => { filters.text = $("text").value.trim(); page.apply(); }, 60); });
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && page.shown.length) { event.preventDefault(); page.focusConnection(data.connections.connection[page.shown[0]]); }
    if (event.key === "Escape" && $("text").value) { event.stopPropagation(); $("text").value = ""; filters.text = ""; page.apply(); }
  });
  $("inexact").addEventListener("change", (event) => { filters.inexact = event.target.checked; page.apply(); });
  $("inwindow").addEventListener("change", (event) => { filters.inwindow = event.target.checked; page.apply(); });
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("reset", () => { page.clear(); setTimeout(page.apply); });
  const only = (change) => { page.clear(); change(); page.apply(); $("connections").scrollIntoView(); };
  page.onlyLane = (lane) => { page.close(); only(() => { filters.lane = lane; }); };
  page.absent = (n) => {
    $("count").textContent = `Connection ${n} is not on this page: correlator show ${data.source} --connection ${n}`;
    $("connections").scrollIntoView();
  };

  /* Links to rules and connections, wherever they stand. */
  document.addEventListener("click", (event) => {
    const a = event.target.closest("a[data-lane], a[data-connection], a[data-outcome], a[data-numbers]");
    if (!a || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    if (a.dataset.lane !== undefined) page.open("rule", Number(a.dataset.lane));
    else if (a.dataset.connection !== undefined) page.open("connection", Number(a.dataset.connection));
    else if (a.dataset.outcome !== undefined) only(() => { filters.outcomes.add(a.dataset.outcome); });
    else only(() => { filters.numbers = a.dataset.numbers.split(" ").map(Number); });
  });
  const routed = () => {
    const [kind, value] = decodeURIComponent(location.hash.slice(1)).split("=");
    if (kind === "connection" && value) page.open("connection", Number(value));
    if (kind === "rule" && value) { const lane = data.lanes.findIndex((_, at) => page.laneName(at) === value); if (lane >= 0) page.open("rule", lane); }
  };
  addEventListener("hashchange", routed);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") page.close();
    if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) { event.preventDefault(); $("text").focus(); $("text").select(); }
  });

  $("only-hit").addEventListener("change", (event) => $("ruleset").classList.toggle("hits", event.target.checked));

  /* Paper: light, all that is folded open, the table without its window. */
  let folded = [], theme = "";
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    if (folded.length < 400) for (const fold of folded) fold.open = true; else folded = [];
    theme = root.dataset.theme || "";
    root.dataset.theme = "light";
    page.printTable();
    page.redraw();
  });
  addEventListener("afterprint", () => {
    for (const fold of folded) fold.open = false;
    if (theme) root.dataset.theme = theme; else delete root.dataset.theme;
    page.drawTable();
    page.redraw();
  });

  themed(remembered());
  page.apply();
  routed();
})(page);
