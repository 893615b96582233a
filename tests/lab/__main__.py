"""``python -m tests.lab NAME OUT``: record a case."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.lab.asked import ASKED
from tests.lab.cases import CASES, UNSEEN

KNOWN = {**CASES, **UNSEEN, **ASKED}
if len(sys.argv) != 3 or sys.argv[1] not in KNOWN:
    sys.exit(f"usage: python -m tests.lab NAME OUT; NAME one of {', '.join(KNOWN)}")
KNOWN[sys.argv[1]](Path(sys.argv[2]))
