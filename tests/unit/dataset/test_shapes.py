"""JSON of another shape than its file's name says is one line that tells where it differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from correlator.dataset.facts import read_facts
from correlator.dataset.session import Manifest, read_manifest, read_record
from correlator.errors import InputError

DEEP = "[" * 100_000
FACTS = {
    "depth": ("addr.json", '[{"flags": ' + DEEP, "nested too deeply"),
    "depth of a list": ("docker.json", DEEP, r"expected `object`, got `array` - at `\$\[0\]`"),
    "infinity": ("link.json", '[{"ifindex": Infinity}]', "line 1 is not JSON"),
    "not a number": ("link.json", '\n[{"ifindex": NaN}]', "line 2 is not JSON"),
    "an endless number": ("route.json", '[{"metric": ' + "9" * 5000 + "}]", "out of range"),
    "a number beyond": ("link.json", '[{"ifindex": 4294967296}]', "at `\\$\\[0\\].ifindex`"),
    "a fraction": ("link.json", '[{"ifindex": 1.5}]', "expected `int`, got `float`"),
    "a negative number": ("route.json", '[{"metric": -1}]', "at `\\$\\[0\\].metric`"),
    "a list for a word": ("route.json", '[{"dev": ["eth0"]}]', "at `\\$\\[0\\].dev`"),
    "a number for a word": ("route.json", '[{"dev": 7}]', "at `\\$\\[0\\].dev`"),
    "a word for a list": ("addr.json", '[{"addr_info": "x"}]', "at `\\$\\[0\\].addr_info`"),
    "no list": ("addr.json", "{}", "expected `array`, got `object`"),
    "half a pair": ("addr.json", '[{"ifname": "\\ud800"}]', "is not JSON"),
    "no MAC": ("link.json", '[{"ifname": "a", "address": "' + "f" * 40 + '"}]', "no MAC address"),
    "no prefix": ("route.json", '[{"dst": "10.0.0.0/33"}]', "not a valid netmask"),
    "too long a prefix": (
        "addr.json",
        '[{"ifname": "a", "addr_info": [{"local": "1.2.3.4", "prefixlen": 99}]}]',
        "/99 is no prefix of 32 bits",
    ),
    "no address": ("addr.json", '[{"ifname": "a", "addr_info": [{"local": "1.2.3"}]}]', "1.2.3"),
}


@pytest.mark.parametrize("what", FACTS)
def test_facts_of_another_shape_are_one_line(tmp_path: Path, what: str) -> None:
    """Wrong types, depth, numbers out of range and damage are told, by file and place."""
    name, text, told = FACTS[what]
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=told) as caught:
        read_facts(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_is_not_asked_for_may_be_anything(tmp_path: Path) -> None:
    """Keys that nobody reads, and objects without any (as ip -4 prints them), are passed over."""
    (tmp_path / "addr.json").write_text('[{}, {"ifname": "a", "flags": [{"x": [1e300]}]}]')
    assert set(read_facts(tmp_path).interfaces) == {"a"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"warnings": "x"}, r"at `\$.warnings`"),
        ({"warnings": [1]}, r"at `\$.warnings\[0\]`"),
        ({"tool": 1}, r"at `\$.tool`"),
        ({"begin": -1}, r"at `\$.begin`"),
        ({"end": 1 << 63}, r"at `\$.end`"),
        ({"interfaces": [{"name": "eth0"}]}, "missing required field `link_type`"),
        ({"format": "1"}, r"at `\$.format`"),
        ({"format": 99, "warnings": 5}, "is format 99"),
    ],
)
def test_a_manifest_of_another_shape_is_one_line(
    tmp_path: Path, change: dict[str, object], told: str
) -> None:
    """A manifest is refused where it differs; one from the future by its format alone."""
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, **change}))
    with pytest.raises(InputError, match=told):
        read_manifest(tmp_path)


def test_a_manifest_without_more_than_its_format_is_one(tmp_path: Path) -> None:
    """Everything but the format has a default; keys of later versions are passed over."""
    (tmp_path / "manifest.json").write_text('{"format": 1, "later": {"x": []}}')
    assert read_manifest(tmp_path) == Manifest(format=1)


@pytest.mark.parametrize(
    "line",
    [
        '{"backend":"nft","begin":0,"end":0,"counters":[0,-1,5]}',
        '{"backend":"nft","begin":0,"end":0,"counters":[-1,1,5]}',
        '{"backend":"nft","begin":-5,"end":0,"counters":[]}',
        '{"backend":"nft","begin":9223372036854775807,"end":0,"counters":[]}',
        '{"backend":7,"begin":0,"end":0,"counters":[]}',
        '{"backend":"nft","ruleset":1,"file":"/etc/shadow"}',
        '{"backend":"nft","ruleset":1,"file":"../../secret.rules"}',
        '{"backend":"nft","ruleset":1,"file":"rulesets/../../secret"}',
        "[]",
        "",
    ],
)
def test_a_damaged_record_is_one_line(line: str) -> None:
    """Counters and times below zero or beyond int64, and files that are not in the session, are
    refused."""
    with pytest.raises(InputError, match="samples: line 7 is damaged"):
        read_record(line.encode(), "samples: line 7")
