"""Rules of iptables in few words: what stands beside a row of the timeline, or in a drawing."""

from __future__ import annotations

from correlator.firewall.languages.iptables_words import Match, Option, Target, rule_words

ARROW = "→"
WORDS = {
    "--dport": "dport",
    "--dports": "dports",
    "--sport": "sport",
    "--sports": "sports",
    "--destination-port": "dport",
    "--source-port": "sport",
    "--ctstate": "",
    "--state": "",
    "--dst-type": "to",
    "--src-type": "from",
    "--mark": "mark",
    "--probability": "random",
    "--comment": "",
    "--match-set": "set",
    "--icmp-type": "type",
    "--limit": "limit",
    "--length": "length",
}
BUILTIN = {"-s": "from", "-d": "to", "-i": "in", "-o": "out", "-p": "", "-f": "fragment"}
HIDDEN = frozenset(("--mode", "--limit-burst"))
NAMED = (
    "--to-destination",
    "--to-source",
    "--to-ports",
    "--set-xmark",
    "--set-mark",
    "--reject-with",
)
"""Options that tell what a target does, the most telling first."""
TOLD = frozenset((*NAMED, "--log-prefix", "--to")) - {"--set-mark"}
STATES = {"RELATED,ESTABLISHED": "established", "ESTABLISHED,RELATED": "established"}


def short_rule(number: int, text: str, target: str) -> str:
    """``tcp dport 80, not in docker0 → DNAT 172.17.0.2:80``; ``policy DROP`` for a policy.

    A rule that cannot be read stands as it was written: nothing is left out of what is not
    understood."""
    if not number:
        return f"policy {target}"
    try:
        words = rule_words(text)
    except (ValueError, IndexError):
        return text
    if any(not match.understood for match in words.matches):
        return text
    conditions = ", ".join(part for part in _conditions(words.matches) if part)
    return f"{conditions} {ARROW} {_target(words.target)}".strip()


def short_target(text: str) -> str:
    """What a rule does: ``DNAT 172.17.0.2:80``, ``REJECT tcp-reset``, ``ACCEPT``."""
    target = rule_words(text).target
    for name in NAMED:
        option = target.option(name)
        if option is not None and option.values:
            return f"{target.name} {option.value}"
    return target.name


def _conditions(matches: tuple[Match, ...]) -> list[str]:
    """What the rule asks, the protocol joined to its ports, addresses and interfaces behind
    them."""
    protocols = (match.options[0] for match in matches if match.name == "protocol")
    protocol = next(map(_option, protocols), "")
    first, rest = protocol, list[str]()
    for match in matches:
        if match.name == "protocol":
            continue
        words = _match(match)
        if match.name in ("tcp", "udp", "icmp", "multiport", "sctp") and words:
            first = f"{first} {words}".strip()
        else:
            rest.append(words)
    return [first, *rest]


def _match(match: Match) -> str:
    parts = [_option(option) for option in match.options if option.name not in HIDDEN]
    if not match.options:
        return match.name if match.name not in ("tcp", "udp", "icmp") else ""
    if match.name == "comment":
        return f'"{match.options[0].value}"'
    return " ".join(part for part in parts if part)


def _option(option: Option) -> str:
    word = BUILTIN.get(option.name, WORDS.get(option.name, option.name.lstrip("-")))
    value = _value(option)
    return " ".join(part for part in ("not" if option.negated else "", word, value) if part)


def _value(option: Option) -> str:
    value = " ".join(option.values).removesuffix("/32")
    if option.name in ("--ctstate", "--state"):
        return STATES.get(value, value)
    if option.name == "--probability":
        return f"{float(value):.0%}"
    return value


def _target(target: Target) -> str:
    values = [
        " ".join(option.values).removesuffix("/0x0")
        for option in target.options
        if option.name in TOLD
    ]
    return " ".join([target.name or "(counts only)", *(value.strip() for value in values)])
