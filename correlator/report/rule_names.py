"""Names of rules as people write them: ``nat/DOCKER:2``, ``filter/FORWARD:policy``."""

from __future__ import annotations

import re

from correlator.errors import InputError

_RULE = re.compile(r"^(?P<table>(?:ip6 |inet )?[\w-]+)/(?P<chain>[^:]+):(?P<number>\d+|policy)$")


def parse_rule_name(name: str) -> tuple[str, str, int]:
    """(table, chain, number) of ``table/chain:number``; 0 for a policy.

    Raises :class:`~correlator.errors.InputError` for a text of another form.
    """
    found = _RULE.match(name)
    if found is None:
        raise InputError(
            f"{name}: is no rule's name: expected table/chain:number, as in nat/DOCKER:2, or "
            f"nat/DOCKER:policy"
        )
    return (
        found["table"],
        found["chain"],
        0 if found["number"] == "policy" else int(found["number"]),
    )


def rule_name(table: object, chain: object, number: int) -> str:
    """``table/chain:number``, or ``table/chain:policy``."""
    return f"{table}/{chain}:{number or 'policy'}"
