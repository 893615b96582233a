"""What all tests share: which of them can run here, and that none is skipped in CI."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
CAPTURES = ROOT / "captures"
TOOLS = ("ip", "nft", "iptables-nft-save", "iptables-nft-restore", "tcpdump", "ping", "sysctl")
IN_CI = os.environ.get("CORRELATOR_CI") == "1"

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def why_not_live() -> str:
    """Why live tests cannot run here; empty where they can."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"needs {', '.join(missing)}" if missing else ""


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.addinivalue_line("markers", "live: makes namespaces and traffic; needs root")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip live tests with their reason, where they cannot run."""
    reason = why_not_live()
    if reason:
        for item in items:
            if item.get_closest_marker("live"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI, a skipped test fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if IN_CI and skipped and exitstatus == 0:
        session.exitstatus = 1
        reporter.write_line(
            f"{len(skipped)} tests were skipped: nothing may be skipped in CI", red=True
        )


@pytest.fixture(params=sorted(path.parent.name for path in CAPTURES.glob("*/truth")))
def recorded(request: pytest.FixtureRequest) -> Path:
    """Each shipped recording of which every interface was captured, in turn."""
    return CAPTURES / str(request.param)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder of its own in which everybody may write (pytest's own are root's alone)."""
    path = Path(tempfile.mkdtemp(prefix="correlator-test-"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path, ignore_errors=True)
