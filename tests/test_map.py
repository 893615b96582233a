"""What documentation and docstrings point to is there: a name that moved is found here."""

from __future__ import annotations

import ast
import contextlib
import importlib
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "correlator"
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
NAMED = re.compile(r"`([\w./*-]+(?:\.py|/))(?:::?[\w.]+)?`")
"""A file or a folder, in backticks."""
ROLE = re.compile(r":(?:mod|func|class|data|attr|meth):`~?([\w.]+)`")
MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    """A path of the project, or of the package without its name. What users save is no such
    path."""
    missing = [
        name
        for name in NAMED.findall(page.read_text())
        if name.split("/")[0] in {path.name for path in (*ROOT.iterdir(), *PACKAGE.iterdir())}
        and not any(root.glob(name) and list(root.glob(name)) for root in (ROOT, PACKAGE))
    ]
    assert missing == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_names_that_docstrings_refer_to_are_there(module: Path) -> None:
    """``:func:`correlator.x.y``` is a y of correlator.x; a name without dots is of its module."""
    dotted = ".".join(module.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    tree = ast.parse(module.read_text())
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    names = [name for text in texts for name in ROLE.findall(text)]
    assert [name for name in names if not _is_there(name, dotted)] == []


def _is_there(name: str, module: str) -> bool:
    if not name.startswith("correlator"):
        name = f"{module}.{name}"
    found: object = importlib.import_module("correlator")
    path = "correlator"
    for part in name.split(".")[1:]:
        path = f"{path}.{part}"
        if part in getattr(found, "__dataclass_fields__", {}):
            return True
        if not hasattr(found, part) and (PACKAGE.parent / path.replace(".", "/")).parent.is_dir():
            with contextlib.suppress(ImportError):
                importlib.import_module(path)
        if not hasattr(found, part):
            return _inside(found, part)
        found = getattr(found, part)
    return True


def _inside(module: object, part: str) -> bool:
    """A method or a field of one of the module's classes."""
    kinds = [value for value in vars(module).values() if isinstance(value, type)]
    return any(
        hasattr(kind, part) or part in getattr(kind, "__annotations__", {}) for kind in kinds
    )
