"""Text put into a page so that it stays what it is: JSON inside a script element, sources inlined,
their hashes."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files

from correlator.plain import one_line

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def json_text(value: object) -> str:
    """JSON that cannot end the script element it stands in: ``<``, ``>`` and ``&`` only occur
    within strings, escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_plain)
    if not text.isprintable():  # within strings: shown as it would be on a terminal
        text = "".join(c if c.isprintable() else "\\" + one_line(c) for c in text)
    return text.translate(_ESCAPES)


def _plain(value: object) -> object:
    """Numbers of numpy as Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON")


def source(name: str) -> str:
    """A file of this package, as text: ``assets/page.css``."""
    return files(__package__).joinpath(*name.split("/")).read_text(encoding="utf-8")


def fingerprint(script: str) -> str:
    """What a Content-Security-Policy allows a script by: ``sha256-...``."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
