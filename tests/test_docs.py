"""Docs say what the code says: their commands print what they show, their tables are the code's,
their links lead somewhere."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.examples import agrees, differences, examples, run, workplace
from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


def build(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build the docs of ``folder`` as `make docs` does."""
    options = ["--strict", "--config-file", str(folder / "mkdocs.yml"), "--site-dir", str(site)]
    command = [sys.executable, "-m", "mkdocs", "build", *options]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The docs in a folder of their own, to be spoiled."""
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize(
    ("page", "script"), [("tables.md", "make_tables.py"), ("cli.md", "make_cli.py")]
)
def test_reference_pages_are_made_from_the_code(page: str, script: str) -> None:
    """docs/tables.md and docs/cli.md are what their scripts write: run the script where this
    fails."""
    render = runpy.run_path(str(DOCS / script))["render"]
    assert (DOCS / page).read_text() == render()


@pytest.mark.parametrize("page", PAGES)
def test_commands_print_what_the_page_shows(page: str) -> None:
    """Every command of a page, run on the shipped captures, prints what stands below it."""
    wrong = differences(DOCS / page)
    assert not wrong, "\n".join(
        f"{page}:{example.line}: $ {example.command}\nprints\n{text}" for example, text in wrong
    )


@pytest.mark.parametrize(
    ("page", "least"), [("tutorial.md", 6), ("cookbook.md", 20), ("attribution.md", 6)]
)
def test_pages_for_people_show_real_commands(page: str, least: int) -> None:
    """The pages that promise real output hold that many commands, and none of them shows nothing
    but dots."""
    found = examples((DOCS / page).read_text())
    assert len(found) >= least
    assert not [example for example in found if set(example.said.split()) == {"..."}]


def test_output_that_differs_is_noticed() -> None:
    """One changed number, a missing line, a line too many or a shown line that is not printed do
    not agree."""
    printed = "a 1\nb 2\nc 3\n"
    assert agrees(printed, printed)
    assert agrees("...\nb 2\n...\n", printed)
    assert agrees("a ...\nb 2\nc 3\n", printed)
    assert agrees("...\n", printed)
    for said in (
        "a 1\nb 3\nc 3\n",
        "a 1\nc 3\n",
        "a 1\nb 2\n",
        "...\nd 4\n...\n",
        "",
        "b 2\n...\n",
        "...\nc 3\nb 2\n...\n",
    ):
        assert not agrees(said, printed)


def test_commands_and_their_output_are_told_apart() -> None:
    """A command goes on behind a backslash and within quotes; the rest up to the next one is
    output; other blocks are left."""
    text = "x\n```console\n$ one \\\n  two\nout\n$ echo 'a\nb'\na\nb\n```\n```sh\n$ false\n```\n"
    assert [(e.line, e.command, e.said) for e in examples(text)] == [
        (3, "one \\\n  two", "out\n"),
        (6, "echo 'a\nb'", "a\nb\n"),
    ]
    with pytest.raises(ValueError, match="line 2"):
        examples("```console\nout\n```\n")


def test_what_goes_wrong_is_printed_too() -> None:
    """The error line of a command is its output, in this process and in a shell."""
    with workplace():
        assert (
            run("correlator replay nowhere") == run("correlator replay nowhere | cat; true") != ""
        )
        assert run("correlator replay nowhere").startswith("correlator: nowhere: ")


def test_the_site_builds(tmp_path: Path) -> None:
    """`make docs` finds no broken link, no anchor that is not there, and no page that the
    navigation lacks."""
    done = build(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    assert "captures/published" in (tmp_path / "site" / "tutorial.html").read_text()


@pytest.mark.parametrize(
    "spoiled",
    ["[x](nowhere.md)", "[x](cookbook.md#no-such)", "[x](#nothing)", "![x](images/no.png)"],
)
def test_a_broken_link_fails_the_build(copy: Path, spoiled: str) -> None:
    """A link to a page, an anchor or a picture that is not there stops `make docs`."""
    page = copy / "docs" / "index.md"
    page.write_text(f"{page.read_text()}\n{spoiled}\n")
    assert build(copy, copy / "site").returncode != 0


def test_a_page_outside_of_the_navigation_fails_the_build(copy: Path) -> None:
    """A page that nobody would find stops `make docs`: add it to the nav of mkdocs.yml."""
    (copy / "docs" / "lonely.md").write_text("# Lonely\n")
    assert build(copy, copy / "site").returncode != 0


def test_links_of_the_readme_lead_somewhere() -> None:
    """What README.md links to in this repository is there."""
    targets = [
        target for target in LINK.findall((ROOT / "README.md").read_text()) if "://" not in target
    ]
    assert targets
    assert not [target for target in targets if not (ROOT / target).exists()]
