"""The rules of an analysis, parsed; the hits of some connections; addresses as the host routes
them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from correlator import addresses
from correlator.firewall.hooks import Base
from correlator.firewall.model import Rule, Ruleset

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from correlator.firewall.view import Host
    from correlator.reconcile.analysis import Analysis

Why = tuple[str, tuple[str, ...]]
"""(what is said of the reason, or nothing; the rules that it names). ``{it}``, ``{ports}`` and
``{server}`` in it are filled in for all connections of which it is said
(:func:`correlator.report.findings.phrases.said`)."""


value = lru_cache(maxsize=65536)(addresses.value)


def behind_bridge(host: Host, address: str) -> str:
    """The bridge whose subnet an address is in (a container's), or empty."""
    device = device_of(host, address)
    return device if device in host.bridges else ""


def device_of(host: Host, address: str) -> str:
    """The interface that an address is reached by; empty where no route tells."""
    route = host.route(value(address))
    return route.device if route is not None else ""


@dataclass(frozen=True)
class Rulebook:
    """One generation's rules as the tables name them."""

    ruleset: Ruleset

    @cached_property
    def written(self) -> dict[tuple[str, str, str], Rule]:
        """(table, chain, text) -> a rule."""
        return {(rule.table, rule.chain, rule.text): rule for rule in self.ruleset.rules}

    @cached_property
    def nat_texts(self) -> frozenset[str]:
        """The texts of all rules in tables of nat."""
        return frozenset(
            rule.text
            for chain in self.ruleset.chains
            if chain.table in self.ruleset.nat_tables
            for rule in chain.rules
        )


def rule_named(books: Iterable[Rulebook], name: str, text: str) -> Rule | None:
    """The rule that some generation calls so and that is written so; None for a policy."""
    table, chain, _ = split(name)
    found = (book.written.get((table, chain, text)) for book in books)
    return next((rule for rule in found if rule is not None), None)


def base_named(books: Iterable[Rulebook], table: str, chain: str) -> Base | None:
    """Where a base chain stands, in any generation; None for a user's chain."""
    found = (book.ruleset.by_name.get((table, chain)) for book in books)
    return next((known.base for known in found if known is not None), None)


def rulebooks(analysis: Analysis) -> list[Rulebook]:
    """The rulesets of all generations in order."""
    return [Rulebook(ruleset) for ruleset in analysis.rulesets]


def same(one: pd.Series, other: pd.Series) -> npt.NDArray[np.bool_]:
    """Whether two columns of words say the same, row by row; a comparison of codes, not of
    words."""
    number = {word: code for code, word in enumerate(one.cat.categories)}
    table = np.array(
        [number.get(word, -2) for word in other.cat.categories] or [-2], dtype=np.int64
    )
    result: npt.NDArray[np.bool_] = one.cat.codes.to_numpy() == table[other.cat.codes.to_numpy()]
    return result


def split(name: str) -> tuple[str, str, int]:
    """``filter/DOCKER-USER:1`` as (table, chain, number); the number of a policy is 0."""
    table, _, rest = name.partition("/")
    chain, _, number = rest.rpartition(":")
    return table, chain, int(number) if number.isdigit() else 0


def named(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of rules or hits that bear a rule's name."""
    table, chain, number = split(name)
    return frame[
        (frame["rule_number"] == number) & (frame["chain"] == chain) & (frame["table"] == table)
    ]


def rule_text(analysis: Analysis, name: str) -> str:
    """The text behind a name, in the first generation that has it; empty where none has."""
    found = named(analysis.rules, name)
    return text_of(found.iloc[0]) if len(found) else ""


def text_of(row: pd.Series) -> str:
    """A rule's text, or ``policy DROP``."""
    return str(row["rule"]) if row["rule_number"] else f"policy {row['target']}"


def texts_of(analysis: Analysis, frame: pd.DataFrame) -> list[str]:
    """For each of these connections the text of the rule that decided it: names shift from
    generation to generation."""
    hits = hits_of(analysis, frame["connection"])
    names = [str(name) for name in frame["rule"].unique()]
    common = {name: rule_text(analysis, name) for name in names}
    own: dict[tuple[int, str], str] = {}
    for name in names:
        mine = named(hits, name)
        if mine["rule"].nunique() == 1 and split(name)[2]:
            common[name] = str(mine.iloc[0]["rule"])
        elif split(name)[2]:
            own |= {
                (int(n), name): str(text)
                for n, text in zip(mine["connection"], mine["rule"], strict=True)
            }
    return [
        own.get((int(n), str(name)), common[str(name)])
        for n, name in zip(frame["connection"], frame["rule"], strict=True)
    ]


def quoted(name: str, text: str) -> str:
    """``filter/DOCKER-USER:1 (-s 10.0.0.9/32 -j DROP)``."""
    return f"{name} ({text})" if text else name


def hits_of(analysis: Analysis, connections: Iterable[int]) -> pd.DataFrame:
    """The hits of these connections."""
    return analysis.hits_of(np.fromiter(connections, dtype=np.int64))


def hit_names(hits: pd.DataFrame, targets: tuple[str, ...], table: str = "nat") -> dict[int, str]:
    """connection -> name of the rule with one of these targets that it hit in that table."""
    mine = hits[hits["target"].isin(targets) & (hits["table"] == table) & (hits["rule_number"] > 0)]
    return {
        int(connection): f"{table}/{chain}:{number}"
        for connection, chain, number in zip(
            mine["connection"], mine["chain"], mine["rule_number"], strict=True
        )
    }
