"""Facts as ip -j prints them, and what is made of anything else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from correlator.dataset.facts import read_facts
from correlator.errors import InputError
from tests.conftest import CAPTURES

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from(["eth0", "10.0.0.0/8", "default", "::1", "x", "02:00:00:00:00:01"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["ifname", "address", "addr_info", "local", "dst", "dev", "prefsrc", "linkinfo"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


def test_facts_of_a_docker_host() -> None:
    """Addresses, MACs, bridges and routes of a recorded host."""
    facts = read_facts(CAPTURES / "published")
    assert facts.interfaces["eth0"].addresses == ((0xAC1F25A4, 16),)
    assert facts.is_bridge("docker0")
    assert not facts.is_bridge("eth0")
    assert any(r.device == "docker0" and r.length == 16 for r in facts.routes)
    assert facts.sysctls["net.bridge.bridge-nf-call-iptables"] == "1"


def test_nothing_known_is_no_error(tmp_path: Path) -> None:
    """A folder without facts gives none, and Docker's names of bridges serve."""
    facts = read_facts(tmp_path)
    assert facts.present == frozenset()
    assert facts.is_bridge("docker0")


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.sampled_from(["addr.json", "link.json", "route.json"]), value=JSON)
def test_any_json_is_read_or_refused(name: str, value: object, tmp_path: Path) -> None:
    """JSON of any shape is read as far as it makes sense, or refused in one line."""
    for old in tmp_path.iterdir():
        old.unlink()
    (tmp_path / name).write_text(json.dumps(value))
    try:
        read_facts(tmp_path)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    """A folder of facts that is not there is refused."""
    with pytest.raises(InputError, match="is not a folder"):
        read_facts(tmp_path / "nowhere")
