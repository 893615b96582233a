"""The report page in a real browser: from the disk, without a network, by mouse and by keyboard, on
a screen and on paper."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import correlator
from benchmarks.tile import tile_log, tile_pcap
from correlator.reconcile.analysis import Analysis, PathView
from correlator.report.page.render import write_page
from tests.browser import browser, complaints, open_page, printed, requested, why_no_browser
from tests.conftest import CAPTURES

in_browser = pytest.mark.skipif(bool(why_no_browser()), reason=why_no_browser())
EVIL = "</script><script>window.owned=1</script><img src=x onerror=window.owned=1>"
COPIES = 275


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One browser for all tests here."""
    with browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    """What is on the page."""
    return correlator.load(CAPTURES / "published")


@pytest.fixture(scope="module")
def page(analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a shipped recording."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(analysis, path)
    return path


@pytest.fixture
def opened(driver: Any, page: Path) -> Any:
    """The page, opened; whatever a test does, the console stays silent and nothing is asked from a
    network."""
    open_page(driver, page)
    yield driver
    assert complaints(driver) == []
    assert [url for url in requested(driver) if not url.startswith(("file:", "data:"))] == []


def one(driver: Any, css: str) -> Any:
    """The element that a selector finds."""
    return driver.find_element("css selector", css)


def texts(driver: Any, css: str) -> list[str]:
    """The texts of all elements that a selector finds."""
    return [element.text for element in driver.find_elements("css selector", css)]


def keys(driver: Any, *strokes: str) -> None:
    """Press keys, wherever the focus is."""
    from selenium.webdriver import ActionChains

    for stroke in strokes:
        ActionChains(driver).send_keys(stroke).perform()


def focused(driver: Any) -> str:
    """The element that has the focus, as tag#id.class."""
    parts = driver.execute_script(
        "const e = document.activeElement;"
        " return [e.tagName.toLowerCase(), e.id && '#' + e.id, e.className && '.' + e.className]"
    )
    return "".join(parts)


def rules_of(paths: tuple[PathView, ...]) -> list[str]:
    """The rules and policies of some ways, in order."""
    steps = [step for path in paths for step in path.steps if step.kind in ("rule", "policy")]
    return [f"{step.table}/{step.chain}:{step.rule_number or 'policy'}" for step in steps]


def wait(driver: Any, script: str) -> None:
    """Until a script says true: filters wait for the typing to end, scrolling for a frame."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 10, poll_frequency=0.02).until(
        lambda d: d.execute_script(f"return {script}")
    )


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The installed command, as a user runs it."""
    command = [str(Path(sys.executable).with_name("correlator")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_report_writes_one_file_that_needs_no_other(tmp_path: Path) -> None:
    """`correlator report` writes a page that refers to nothing outside of itself, the chart
    library's licence with it."""
    path = tmp_path / "report.html"
    assert run("report", CAPTURES / "published", "-o", path).stdout == f"wrote {path}\n"
    assert list(tmp_path.iterdir()) == [path]
    text = path.read_text()
    assert re.findall(
        r"""<(?:script|link|img|iframe|source)[^>]*\s(?:src|href)=["']?([^"'\s>]*)""", text
    ) == ["data:,"]
    assert not re.search(r"@import|url\((?!#)", text)
    assert "Permission is hereby granted, free of charge" in text


def test_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """What cannot be written is refused in one line, and nothing is left behind."""
    for words, path in (
        ("unknown ending '.txt'", tmp_path / "r.txt"),
        ("does not exist", tmp_path / "no" / "r.html"),
    ):
        done = run("report", CAPTURES / "ttl", "-o", path)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
    done = run("report", tmp_path / "nowhere", "-o", tmp_path / "r.html")
    assert (done.returncode, "no such folder" in done.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


@in_browser
def test_it_opens_with_the_answer_first(opened: Any) -> None:
    """The first words are the answer, with a link to the rule; proofs, flow, timeline, table,
    ledger, rules and facts follow."""
    assert one(opened, "main h1").text == "1 of 19 connections was dropped by filter/DOCKER-USER:1."
    assert one(opened, "main").text.startswith("1 of 19 connections was dropped")
    assert texts(opened, "main h2") == [
        "What stands out",
        "Packet flow",
        "Timeline",
        "Connections",
        "Ledger",
        "Ruleset",
        "Session",
    ]
    assert texts(opened, ".proofs dd:not(.note)")[:3] == ["19 of 19", "100 %", "0"]
    assert one(opened, "#ledger .verdict").text.startswith("No residual. In 90 ledger lines")
    assert "captures/published" in one(opened, "#session").text


@in_browser
def test_findings_link_to_their_connections_and_rules(
    driver: Any, analysis: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finding stands below the answer; its chips open a connection, open a rule, and show all its
    connections."""
    from correlator.report.findings import Finding

    finding = Finding(
        "dropped", "A <b>finding</b> of this test.", tuple(range(2, 11)), ("filter/DOCKER-USER:1",)
    )
    monkeypatch.setattr("correlator.report.page.render.find", lambda _: (finding,))
    write_page(analysis, tmp_path / "report.html")
    open_page(driver, tmp_path / "report.html")
    assert one(driver, ".findings li p").text == "A <b>finding</b> of this test."
    one(driver, ".findings .chip[data-connection='3']").click()
    assert one(driver, "#drawer-title").text == "Connection 3"
    one(driver, "#drawer-close").click()
    one(driver, ".findings .rule").click()
    assert one(driver, "#drawer-title").text == "filter/DOCKER-USER:1"
    one(driver, "#drawer-close").click()
    one(driver, ".findings .chip.more").click()
    assert texts(driver, "#grid tbody .c-number") == [str(n) for n in finding.connections]


@in_browser
def test_the_flow_shows_hits_in_hooks(opened: Any, analysis: Analysis) -> None:
    """The diagram draws the hooks with the rules that were hit there, drops in their own colour,
    and opens a rule."""
    names = texts(opened, "svg.flow-wide .box.hook .name")
    assert sorted(names) == ["FORWARD", "INPUT", "OUTPUT", "POSTROUTING", "PREROUTING"]
    rules = analysis.rules
    drop = rules[(rules["chain"] == "DOCKER-USER") & (rules["rule_number"] == 1)].iloc[0]
    line = one(opened, "svg.flow-wide a.bad")
    assert texts(opened, "svg.flow-wide a.bad text") == [
        "DOCKER-USER:1 DROP",
        str(drop["explained_packets"]),
    ]
    assert texts(opened, "svg.flow-wide .pill text") == ["2 dropped"]
    line.click()
    assert one(opened, "#drawer-title").text == "filter/DOCKER-USER:1"
    assert str(drop["rule"]) in one(opened, "#drawer").text
    one(opened, "#rule-filter").click()
    assert one(opened, "#count").text == f"{drop['connections']} of 19 shown"
    assert texts(opened, "#grid tbody .c-outcome") == ["dropped"]


@in_browser
def test_headings_sort_by_mouse_and_by_key(opened: Any, analysis: Analysis) -> None:
    """A heading sorts, again the other way; it says so to a screen reader, and Enter does what a
    click does."""
    size = analysis.connections["bytes_original"] + analysis.connections["bytes_reply"]
    order = analysis.connections.assign(size=size)
    one(opened, "#grid th[data-name=bytes] button").click()
    down = order.sort_values(["size", "connection"], ascending=[False, True])["connection"]
    assert texts(opened, "#grid tbody .c-number") == [str(n) for n in down]
    assert one(opened, "#grid th[data-name=bytes]").get_attribute("aria-sort") == "descending"
    opened.execute_script("arguments[0].focus()", one(opened, "#grid th[data-name=bytes] button"))
    keys(opened, "\ue007")
    up = order.sort_values(["size", "connection"])["connection"]
    assert texts(opened, "#grid tbody .c-number") == [str(n) for n in up]
    assert one(opened, "#grid th[data-name=bytes]").get_attribute("aria-sort") == "ascending"


@in_browser
def test_addresses_sort_as_numbers(opened: Any) -> None:
    """172.17.0.2 comes before 172.31.32.1, and a port of 41636 before 41646."""
    one(opened, "#grid th[data-name=client] button").click()
    clients = texts(opened, "#grid tbody .c-client")

    def number(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in re.split(r"[.:]", text))

    assert [number(text)[:4] for text in clients] == sorted(number(text)[:4] for text in clients)
    assert [number(text) for text in clients if ":" in text] == sorted(
        number(text) for text in clients if ":" in text
    )


@in_browser
def test_the_filter_takes_words_numbers_and_outcomes(opened: Any) -> None:
    """Words narrow, #9 names one, an outcome is a button, all can be cleared; the count is said."""
    assert one(opened, "#count").text == "19 connections"
    keys(opened, "/")
    assert focused(opened) == "input#text"
    keys(opened, *"udp 172.31.40.9")
    wait(opened, "document.querySelectorAll('#grid tbody tr.row').length === 1")
    assert texts(opened, "#grid tbody .c-number") == ["19"]
    assert one(opened, "#count").text == "1 of 19 shown"
    one(opened, "#clear").click()
    wait(opened, "document.querySelectorAll('#grid tbody tr.row').length === 19")
    one(opened, "[data-choice=MASQUERADE]").click()
    assert set(texts(opened, "#grid tbody .c-outcome")) == {"MASQUERADE"}
    assert one(opened, "[data-choice=MASQUERADE]").get_attribute("aria-pressed") == "true"
    one(opened, "[data-choice=dropped]").click()
    assert set(texts(opened, "#grid tbody .c-outcome")) == {"MASQUERADE", "dropped"}
    one(opened, "#inexact").click()
    assert one(opened, "#nothing").is_displayed()


@in_browser
def test_a_row_opens_its_path_hook_by_hook(opened: Any, analysis: Analysis) -> None:
    """A click opens the connection: every rule of every way in order, what NAT did, the evidence,
    the status."""
    one(opened, "#grid tbody tr[data-connection='2']").click()
    assert one(opened, "#drawer-title").text == "Connection 2"
    paths = analysis.paths(2)
    assert texts(opened, "#drawer .steps .rule") == rules_of(paths)
    nat = [step.text for path in paths for step in path.steps if step.kind == "nat"]
    assert texts(opened, "#drawer .steps .nat .what") == [f"NAT: {text}" for text in nat]
    assert len(texts(opened, "#drawer .view")) == len(paths)
    assert texts(opened, "#drawer .view .evidence .yes") == ["rules", "wire", "counters"] * len(
        paths
    )
    assert (
        one(opened, "#grid tbody tr[data-connection='2']").get_attribute("aria-selected") == "true"
    )


@in_browser
def test_the_keyboard_does_it_all(opened: Any) -> None:
    """Tab meets the skip link first; arrows move, Enter opens, Escape closes and gives the focus
    back to the row."""
    keys(opened, "\ue004")
    assert focused(opened) == "a.skip"
    keys(opened, "\ue007")
    opened.execute_script("document.querySelector('#grid tbody tr.row[tabindex=\"0\"]').focus()")
    keys(opened, "\ue015", "\ue015", "\ue013")
    assert opened.execute_script("return document.activeElement.dataset.connection") == "2"
    keys(opened, "\ue010")
    assert opened.execute_script("return document.activeElement.dataset.connection") == "19"
    keys(opened, "\ue011", *["\ue015"] * 8, "\ue007")
    assert focused(opened) == "h2#drawer-title"
    assert one(opened, "#drawer-title").text == "Connection 9"
    assert "filter/DOCKER-USER:1" in one(opened, "#drawer .lead").text
    keys(opened, "\ue00c")
    assert not one(opened, "#drawer").is_displayed()
    assert opened.execute_script("return document.activeElement.dataset.connection") == "9"
    outline = opened.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


@in_browser
def test_what_takes_the_focus_has_a_name(opened: Any) -> None:
    """Every link, button and field says what it is to who does not see it; the table and the drawer
    have their roles."""
    nameless = opened.execute_script(
        "const named = (e) => e.getAttribute('aria-label') || e.textContent.trim() || "
        "e.labels?.[0]?.textContent.trim();"
        "const all = [...document.querySelectorAll('a[href], button, input, [tabindex=\"0\"]')];"
        "return all.filter((e) => !named(e)).map((e) => e.outerHTML)"
    )
    assert nameless == []
    assert one(opened, "#grid").get_attribute("role") == "grid"
    assert one(opened, "#drawer").get_attribute("role") == "dialog"
    assert opened.execute_script("return document.documentElement.lang") == "en"


@in_browser
def test_a_link_opens_a_connection(driver: Any, page: Path) -> None:
    """The address of an open connection can be sent to somebody."""
    open_page(driver, page, fragment="#connection=9")
    assert one(driver, "#drawer-title").text == "Connection 9"
    open_page(driver, page, fragment="#rule=nat/DOCKER:2")
    assert one(driver, "#drawer-title").text == "nat/DOCKER:2"


def window(driver: Any) -> tuple[float, float]:
    """The timeline's window in us after the origin."""
    low, high = driver.execute_script("return page.window()")
    return float(low), float(high)


@in_browser
def test_the_timeline_zooms_and_tells(opened: Any, analysis: Analysis) -> None:
    """Dragging zooms all charts, a double click shows everything; hovering names the rule, its text
    and the connection."""
    from selenium.webdriver import ActionChains

    lanes = one(opened, "#chart-lanes .u-over")
    opened.execute_script("document.getElementById('charts').scrollIntoView()")
    whole = window(opened)
    at = opened.execute_script(
        "const lane = page.rows.findIndex((r) => r.lane !== undefined && page.laneStops(r.lane));"
        "const [i, first] = page.marks[page.rows[lane].lane][0]; const [low, high] = page.window();"
        "return [(first - low) / (high - low), lane * 18 + 9]"
    )
    width, height = lanes.size["width"], lanes.size["height"]
    ActionChains(opened).move_to_element_with_offset(
        lanes, round(at[0] * width - width / 2), round(at[1] - height / 2)
    ).perform()
    tip = one(opened, "#tip").text
    rule = analysis.rules[
        (analysis.rules["chain"] == "DOCKER-USER") & (analysis.rules["rule_number"] == 1)
    ].iloc[0]
    assert "filter/DOCKER-USER:1" in tip
    assert str(rule["rule"]) in tip
    assert "#9 tcp 172.31.40.9:44721" in tip
    ActionChains(opened).click().perform()
    assert one(opened, "#drawer-title").text == "Connection 9"
    one(opened, "#drawer-close").click()
    ActionChains(opened).move_to_element_with_offset(
        lanes, -200, 0
    ).click_and_hold().move_by_offset(200, 0).release().perform()
    near = window(opened)
    assert near[1] - near[0] == pytest.approx((whole[1] - whole[0]) * 200 / width, rel=0.02)
    one(opened, "#inwindow").click()
    table = analysis.connections
    origin = int(table["first_seen"].min()) // 1000 * 1000
    inside = table[
        ((table["last_seen"] - origin) / 1000 >= near[0])
        & ((table["first_seen"] - origin) / 1000 <= near[1])
    ]
    assert texts(opened, "#grid tbody .c-number") == [str(n) for n in inside["connection"]]
    assert 0 < len(inside) < len(table)
    opened.execute_script("document.getElementById('charts').scrollIntoView()")
    ActionChains(opened).move_to_element_with_offset(
        lanes, 0, -height // 2 + 4
    ).double_click().perform()
    assert window(opened) == pytest.approx(whole)
    ActionChains(opened).move_to_element_with_offset(
        lanes, -width // 2 - 60, round(at[1] - height / 2)
    ).click().perform()
    assert one(opened, "#drawer-title").text == "filter/DOCKER-USER:1"


@in_browser
def test_the_timeline_listens_to_keys(opened: Any) -> None:
    """+ zooms, arrows move and choose a rule, N goes to its next hit and says it, Enter opens that
    connection."""
    opened.execute_script("document.getElementById('charts').focus()")
    whole = window(opened)
    keys(opened, "+")
    assert window(opened)[1] - window(opened)[0] == pytest.approx((whole[1] - whole[0]) / 2)
    before = window(opened)
    keys(opened, "\ue012")
    assert window(opened)[0] < before[0]
    keys(opened, "0")
    assert window(opened) == pytest.approx(whole)
    lane = opened.execute_script(
        "return page.rows.filter((r) => r.lane !== undefined).findIndex((r) => "
        "page.laneName(r.lane) === 'nat/DOCKER:3')"
    )
    keys(opened, *["\ue015"] * lane)
    assert (
        one(opened, "#timeline-says")
        .get_attribute("textContent")
        .startswith("nat/DOCKER:3: ! -i docker0 -p udp")
    )
    keys(opened, "n")
    assert "#8 udp 172.31.32.1:46627" in one(opened, "#timeline-says").get_attribute("textContent")
    keys(opened, "\ue007")
    assert one(opened, "#drawer-title").text == "Connection 8"
    keys(opened, "\ue00c")
    assert focused(opened) == "div#charts"


@in_browser
def test_light_dark_and_the_switch(driver: Any, page: Path) -> None:
    """The page follows the system, and the switch overrules it and is remembered."""
    script = (
        "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, "
        "3).reduce((a, b) => a + Number(b), 0)"
    )
    open_page(driver, page)
    assert driver.execute_script(script) > 600
    open_page(driver, page, dark=True)
    assert driver.execute_script(script) < 150
    switch = one(driver, "#theme")
    switch.click()
    assert (switch.text, driver.execute_script(script) > 600) == ("Light", True)
    driver.refresh()
    assert (one(driver, "#theme").text, driver.execute_script(script) > 600) == ("Light", True)
    one(driver, "#theme").click()
    assert (one(driver, "#theme").text, driver.execute_script(script) < 150) == ("Dark", True)
    one(driver, "#theme").click()
    assert one(driver, "#theme").text == "Auto"
    assert complaints(driver) == []


@in_browser
@pytest.mark.parametrize("dark", [False, True])
def test_words_can_be_read_on_their_ground(driver: Any, page: Path, dark: bool) -> None:
    """Text has the contrast that WCAG asks for (4.5), in both colours."""
    open_page(driver, page, dark=dark)
    pairs = driver.execute_script(
        "return ['ink', 'soft', 'faint', 'accent', 'bad', 'doubt', 'good'].flatMap((c) => "
        "['paper', 'raised', 'sunk'].map((g) =>"
        " [c, g, page.colour(c), page.colour(g)]))"
    )
    weak = [(c, g) for c, g, front, ground in pairs if contrast(front, ground) < 4.5]
    assert weak == []


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two rgb() colours, as WCAG 2 defines it."""

    def light(colour: str) -> float:
        parts = [int(n) / 255 for n in re.findall(r"\d+", colour)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@in_browser
@pytest.mark.parametrize("width", [1400, 1000, 700, 400])
def test_it_fits_windows_of_all_widths(driver: Any, page: Path, width: int) -> None:
    """Nothing makes the page wider than its window, and one of the flow's layouts is shown."""
    open_page(driver, page, width=width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    shown = [one(driver, f"svg.flow-{name}").is_displayed() for name in ("wide", "narrow")]
    assert shown == [width > 1000, width <= 1000]
    assert complaints(driver) == []


@in_browser
def test_it_prints(driver: Any, page: Path) -> None:
    """On paper: the answer, every connection, the ledger, every rule and the facts; no buttons;
    afterwards all is as before."""
    from pypdf import PdfReader

    open_page(driver, page, dark=True)
    text = "\n".join(sheet.extract_text() for sheet in PdfReader(io.BytesIO(printed(driver))).pages)
    words = re.sub(r"\s+", " ", text)
    assert "1 of 19 connections was dropped by" in words
    assert "No residual." in words
    assert "-s 172.31.40.9/32 -i eth0 -p tcp -m tcp --dport 80 -j DROP" in words
    assert "172.31.40.9:44721" in words
    assert "172.17.0.2:41654" in words
    for control in (
        "Whole session",
        "Clear all filters",
        "Skip to the connections",
        "only rules that were hit",
    ):
        assert control not in words
    assert len(texts(driver, "#grid tbody tr.row")) == 19
    assert one(driver, "#theme").text == "Auto"


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a session whose names and comments are markup."""
    folder = Path(
        shutil.copytree(
            CAPTURES / "published",
            tmp_path_factory.mktemp("evil") / "<img src=x onerror=window.owned=1>",
        )
    )
    log = folder / "counters.log"
    plain = "-p tcp -m tcp --dport 80 -j DROP"
    text = log.read_text()
    assert plain in text
    log.write_text(
        text.replace(plain, f'-p tcp -m tcp --dport 80 -m comment --comment "{EVIL}" -j DROP')
    )
    (folder / "docker.json").write_text(
        json.dumps([{"name": EVIL, "networks": {"bridge": "172.17.0.2"}}])
    )
    path = folder.parent / "evil.html"
    write_page(correlator.load(folder), path)
    return path


@in_browser
def test_markup_in_names_stays_text(driver: Any, evil: Path) -> None:
    """A comment or a container's name that is a script is shown as it is, everywhere, and runs
    nowhere."""
    open_page(driver, evil, fragment="#connection=9")
    assert EVIL in one(driver, "#drawer").text
    one(driver, "#drawer-close").click()
    assert EVIL in one(driver, "#ledger").text
    assert EVIL in one(driver, "#ruleset").text
    assert EVIL in one(driver, "#session").text
    assert EVIL in texts(driver, "#grid tbody tr[data-connection='2'] .c-server")[0]
    assert "<img src=x onerror=window.owned=1>" in one(driver, ".source").text
    one(driver, "svg.flow-wide a.bad").click()
    assert EVIL in one(driver, "#drawer .rule-text").text
    assert driver.execute_script(
        "return window.owned === undefined && document.images.length === 0"
    )
    assert complaints(driver) == []
    assert [url for url in requested(driver) if not url.startswith(("file:", "data:"))] == []


@in_browser
def test_a_script_that_slipped_in_would_not_run(driver: Any, page: Path) -> None:
    """The page's own policy lets only its own scripts run and nothing be fetched."""
    open_page(driver, page)
    driver.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.owned = 1'; "
        "document.body.append(s)"
    )
    assert driver.execute_script("return window.owned === undefined")
    driver.execute_script(
        "const i = new Image(); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i)"
    )
    assert len([line for line in complaints(driver) if "Content Security Policy" in line]) == 2


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Analysis]:
    """A page of some 5,000 connections: a recording laid end to end."""
    folder = Path(
        shutil.copytree(CAPTURES / "published", tmp_path_factory.mktemp("many") / "session")
    )
    (folder / "listing.log").unlink()
    for pcap in folder.glob("*.pcap"):
        pcap.write_bytes(tile_pcap(pcap.read_bytes(), COPIES, 10**10))
    log = folder / "counters.log"
    log.write_text(tile_log(log.read_text(), COPIES, 10**10))
    analysis = correlator.load(folder)
    write_page(analysis, folder / "report.html")
    return folder / "report.html", analysis


@in_browser
def test_five_thousand_connections(driver: Any, many: tuple[Path, Analysis]) -> None:
    """All are there to be reached, though few rows exist; the last one opens, doubts and losses are
    said at the top."""
    path, analysis = many
    total = len(analysis.connections)
    assert total > 4900
    assert path.stat().st_size < 5_000_000
    open_page(driver, path)
    assert one(driver, "#grid").get_attribute("aria-rowcount") == str(total + 1)
    assert one(driver, "#count").text == f"{total:,} connections"
    assert len(driver.find_elements("css selector", "#grid tbody tr.row")) < 100
    driver.execute_script("document.querySelector('#grid tbody tr.row').focus()")
    keys(driver, "\ue010", "\ue007")
    assert one(driver, "#drawer-title").text == f"Connection {total:,}"
    assert texts(driver, "#drawer .steps .rule") == rules_of(analysis.paths(total))
    keys(driver, "\ue00c")
    assert texts(driver, ".warnings li") == list(analysis.warnings)
    assert one(driver, ".warnings").location["y"] < 400
    one(driver, "#inexact").click()
    doubtful = int((analysis.connections["status"] != "exact").sum())
    assert doubtful > 0
    assert one(driver, "#count").text == f"{doubtful:,} of {total:,} shown"
    assert complaints(driver) == []


@in_browser
def test_an_ambiguous_connection_says_why_and_between_what(
    driver: Any, many: tuple[Path, Analysis]
) -> None:
    """The reason and the candidates of the hits table are shown, and nothing calls it exact."""
    path, analysis = many
    doubtful = analysis.connections[analysis.connections["status"] == "ambiguous"].iloc[0]
    number = int(doubtful["connection"])
    hits = analysis.hits[
        (analysis.hits["connection"] == number) & (analysis.hits["status"] == "ambiguous")
    ]
    names = {f"{row.table}/{row.chain}:{row.rule_number or 'policy'}" for row in hits.itertuples()}
    open_page(driver, path, fragment=f"#connection={number}")
    assert doubtful["reason"] in texts(driver, "#drawer .reason")
    assert set(texts(driver, "#drawer .backed .rule")) == names
    assert "ambiguous" in one(driver, "#drawer .pairs").text


@in_browser
def test_a_bounded_page_says_what_is_left_out(
    driver: Any, analysis: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more connections than a page holds, it says how many are missing and how to get them;
    sums stay whole."""
    import correlator.report.page.render as render

    monkeypatch.setattr(render, "choose", lambda table, named: choose(table, named, limit=5))
    write_page(analysis, tmp_path / "report.html")
    open_page(driver, tmp_path / "report.html")
    remark = one(driver, "#connections .remark").text
    assert remark.startswith("5 of 19 connections are on this page")
    assert "correlator export captures/published connections -o connections.csv" in remark.replace(
        f"{CAPTURES.parent}/", ""
    )
    assert "9" in texts(driver, "#grid tbody .c-number")
    assert one(driver, "main h1").text.startswith("1 of 19 connections")
    gone = next(
        number
        for number in map(str, range(1, 20))
        if number not in texts(driver, "#grid tbody .c-number")
    )
    open_page(driver, tmp_path / "report.html", fragment=f"#connection={gone}")
    assert "correlator show" in one(driver, "#count").text
    assert complaints(driver) == []


@in_browser
def test_rules_that_changed_are_shown_in_their_generations(driver: Any, tmp_path: Path) -> None:
    """Each generation of the rules is listed, and a name that two rules bore leads to the one that
    was hit."""
    analysis = correlator.load(CAPTURES / "replaced")
    write_page(analysis, tmp_path / "report.html")
    open_page(driver, tmp_path / "report.html")
    assert len(driver.find_elements("css selector", "#ruleset details.generation")) == 2
    dnat = analysis.connections[analysis.connections["outcome"] == "DNAT"]
    for number in (int(dnat["connection"].iloc[0]), int(dnat["connection"].iloc[-1])):
        open_page(driver, tmp_path / "report.html", fragment=f"#connection={number}")
        row = dnat.set_index("connection").loc[number]
        server = f"{row['reply_src']}:{row['reply_sport']}"
        one(driver, "#drawer .lead .rule").click()
        assert f"--to-destination {server}" in one(driver, "#drawer .rule-text").text
    assert complaints(driver) == []


@in_browser
def test_a_session_without_counters_or_packets_has_its_page(driver: Any, tmp_path: Path) -> None:
    """Without counters nothing is called verified; without a packet all that was counted is a
    residual."""
    folder = Path(shutil.copytree(CAPTURES / "published", tmp_path / "session"))
    sample = re.split(r"(?=^# sample)", (folder / "counters.log").read_text(), flags=re.MULTILINE)[
        1
    ]
    (folder / "rules.v4").write_text(
        "\n".join(re.sub(r"^\[\d+:\d+\] ", "", line) for line in sample.splitlines()[1:]) + "\n"
    )
    (folder / "counters.log").rename(folder / "kept")
    (folder / "listing.log").unlink()
    write_page(correlator.load(folder), tmp_path / "rules.html")
    open_page(driver, tmp_path / "rules.html")
    assert texts(driver, ".proofs dd:not(.note)") == ["0 of 19", "none"]
    assert "Nothing was counted" in one(driver, "#ledger").text
    assert complaints(driver) == []
    full = correlator.load(CAPTURES / "published")
    lines = full.balances.assign(
        explained_packets=0, residual_packets=full.balances["counted_packets"]
    )
    warnings = ("no IPv4 packet was recorded: whatever the counters counted is a residual",)
    rules = full.rules.assign(
        explained_packets=0, residual_packets=full.rules["counted_packets"], connections=0
    )
    nothing = SimpleNamespace(
        balances=lambda: lines,
        hits=lambda: full.hits.iloc[:0],
        packets=lambda: full.packets.iloc[:0],
        ways=tuple,
        hits_of=lambda *_: full.hits.iloc[:0],
        errors_of=lambda *_: full.packets.iloc[:0].assign(icmp_type=0, icmp_code=0),
        packets_of=lambda _: full.packets.iloc[:0],
        explain=lambda numbers: [""] * len(numbers),
        paths_of=lambda _: iter(()),
    )
    empty = replace(
        full, connections=full.connections.iloc[:0], rules=rules, warnings=warnings, tables=nothing
    )
    write_page(empty, tmp_path / "empty.html")
    open_page(driver, tmp_path / "empty.html")
    assert one(driver, "main h1").text.startswith("No connection was seen")
    assert "no IPv4 packet was recorded" in one(driver, ".warnings").text
    assert "ledger lines do not balance" in one(driver, "#ledger .verdict").text
    assert complaints(driver) == []


def choose(table: Any, named: Any, limit: int) -> Any:
    """The real choice, with a small page."""
    from correlator.report.page import table as real

    return real.choose(table, named, limit)
