"""``python -m tests.lab NAME OUT``: record a case."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.lab.cases import CASES, UNSEEN, make_case

if len(sys.argv) != 3 or sys.argv[1] not in {**CASES, **UNSEEN}:
    sys.exit(f"usage: python -m tests.lab NAME OUT; NAME one of {', '.join([*CASES, *UNSEEN])}")
make_case(sys.argv[1], Path(sys.argv[2]))
