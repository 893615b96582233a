"""A stranger's folder cannot reach outside itself, hang, or fill the memory."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from correlator import load
from correlator.dataset.files import open_file, read_file
from correlator.errors import InputError

SHUT = Path(__file__).parents[3] / "captures" / "shut"


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    one = socket.socket(socket.AF_UNIX)
    folder = os.open(path.parent, os.O_RDONLY)
    one.bind(f"/proc/self/fd/{folder}/{path.name}")  # names of sockets are short
    os.close(folder)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _outside(path: Path) -> None:
    secret = path.parent.parent / "secret"
    secret.write_text("root:secret\n")
    path.symlink_to(secret)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 43)


KINDS = [_fifo, _socket, _device, _outside, _loop]
NAMES = ["eth0.pcap", "rules.v4", "counters.log", "addr.json", "sysctl.txt", "docker.json"]


def _room_for(folder: Path, name: str) -> Path:
    """Where the file stood, and none that would be read in its place."""
    for one in (name, "counters.log", "listing.log") if name == "rules.v4" else (name,):
        (folder / one).unlink(missing_ok=True)
    return folder / name


def _others() -> list[tuple[str, Path]]:
    return [(file.stem, file) for file in SHUT.glob("*.pcap") if file.stem != "eth0"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHUT, tmp_path / "folder"))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_file_of_the_folder_is_refused(
    folder: Path, name: str, kind: Callable[[Path], None]
) -> None:
    """A named pipe, a socket, a device, or a link that leads out, whatever it stands for, is one
    line that names it, and nothing of what it leads to is read."""
    kind(_room_for(folder, name))
    with pytest.raises(InputError, match=name) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value).replace(str(folder.parent), "")


@pytest.mark.parametrize("name", ["rules.v4", "counters.log", "addr.json", "eth0.pcap"])
def test_a_file_larger_than_may_be_is_refused(folder: Path, name: str) -> None:
    """A sparse file of 8 TiB is one line, before any of it is read."""
    _huge(_room_for(folder, name))
    with pytest.raises(InputError, match=r"too many|GiB of memory"):
        load(folder)


def test_a_link_that_stays_inside_is_followed(folder: Path) -> None:
    """A folder may link to itself, and may itself be linked to."""
    (folder / "real").mkdir()
    (folder / "eth0.pcap").rename(folder / "real" / "packets")
    (folder / "eth0.pcap").symlink_to("real/packets")
    other = folder.parent / "other"
    other.symlink_to(folder)
    assert len(load(other).connections) == len(load(SHUT).connections)


def test_a_named_file_may_be_anywhere(folder: Path, tmp_path: Path) -> None:
    """What the user names is read through links, wherever it is."""
    (tmp_path / "link.pcap").symlink_to(SHUT / "eth0.pcap")
    pcaps = [("eth0", tmp_path / "link.pcap"), *_others()]
    found = load(folder, pcaps=pcaps)
    assert len(found.connections) == len(load(SHUT).connections)


def test_a_named_pipe_may_be_one(folder: Path) -> None:
    """`--pcap eth0=<(...)` is read to its end."""
    read, write = os.pipe()
    feeder = subprocess.Popen(["cat", str(SHUT / "eth0.pcap")], stdout=write)
    os.close(write)
    pcaps = [("eth0", f"/dev/fd/{read}"), *_others()]
    found = load(folder, pcaps=pcaps)
    os.close(read)
    assert feeder.wait() == 0
    assert len(found.connections) == len(load(SHUT).connections)


def test_what_is_refused_is_not_even_opened(tmp_path: Path) -> None:
    """A device's driver never hears of it: it is looked at by its name alone (O_PATH)."""
    script = (
        "import sys; from pathlib import Path\n"
        "from correlator.dataset.files import open_file\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, args: seen.append(args) if event == 'open' else None)\n"
        "try: open_file(Path('/dev/null'))\n"
        "except Exception as error: print(error, [one for one in seen if not one[2] & 0o10000000])"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "/dev/null: is a device: expected a regular file []"


def test_a_file_that_is_swapped_is_read_as_it_was_looked_at(tmp_path: Path) -> None:
    """Between the look and the reading nothing can be put in a file's place."""
    one = tmp_path / "one"
    one.write_bytes(b"mine")
    with open_file(one, tmp_path) as file:
        one.unlink()
        one.symlink_to("/etc/passwd")
        assert file.read() == b"mine"
    with pytest.raises(InputError, match="leads out of its folder"):
        read_file(one, tmp_path)
