"""Rules in few words."""

from __future__ import annotations

import pytest

from correlator.firewall.languages.iptables_short import short_rule


@pytest.mark.parametrize(
    ("text", "target", "short"),
    [
        (
            "! -i docker0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.17.0.2:80",
            "DNAT",
            "tcp dport 80, not in docker0 → DNAT 172.17.0.2:80",
        ),
        (
            "-d 172.17.0.2/32 ! -i docker0 -o docker0 -p udp -m udp --dport 53 -j ACCEPT",
            "ACCEPT",
            "udp dport 53, to 172.17.0.2, not in docker0, out docker0 → ACCEPT",
        ),
        ("-m addrtype --dst-type LOCAL -j DOCKER", "DOCKER", "to LOCAL → DOCKER"),
        (
            "-o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "ACCEPT",
            "out docker0, established → ACCEPT",
        ),
        ("-m conntrack ! --ctstate NEW -j DROP", "DROP", "not NEW → DROP"),
        (
            '-p tcp -m multiport --dports 80,443 -m comment --comment "office is blocked" -j DROP',
            "DROP",
            'tcp dports 80,443, "office is blocked" → DROP',
        ),
        (
            "-m statistic --mode random --probability 0.33333333349 -j EP1",
            "EP1",
            "random 33% → EP1",
        ),
        ("-j MARK --set-xmark 0x4000/0x0", "MARK", "→ MARK 0x4000"),
        ("-p tcp -j REJECT --reject-with tcp-reset", "REJECT", "tcp → REJECT tcp-reset"),
        ("-s 10.0.0.0/8", "", "from 10.0.0.0/8 → (counts only)"),
        ("", "", "→ (counts only)"),
    ],
)
def test_rules_are_short(text: str, target: str, short: str) -> None:
    """Conditions without their modules, then the target with what it does."""
    assert short_rule(1, text, target) == short


def test_a_negation_is_never_lost() -> None:
    """Every ! of a rule stands as a not: a short name must not say the opposite."""
    text = "! -s 10.0.0.1/32 ! -i eth0 -p tcp -m tcp ! --dport 22 -m mark ! --mark 0x1 -j DROP"
    assert short_rule(1, text, "DROP").count("not ") == text.count("!")


def test_policies_and_unknown_extensions() -> None:
    """A policy is called one; an extension nobody knows keeps its name and its values."""
    assert short_rule(0, "policy", "DROP") == "policy DROP"
    assert "frob" in short_rule(1, "-m frob --frobnicate 3 4 5 -j DROP", "DROP")
    assert "3" in short_rule(1, "-m frob --frobnicate 3 4 5 -j DROP", "DROP")
