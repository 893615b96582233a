"""``python -m tests.lab.clients PREFIX WEB API``: the client tests of the Docker lab, as
`correlator capture` runs them.

WEB and API are the containers' process ids. Every kind of way through the rules is taken some
times."""

from __future__ import annotations

import subprocess
import sys

from tests.lab.net import HOST, OUTSIDE

A, B = OUTSIDE
TRAFFIC = (sys.executable, "-m", "tests.lab.traffic")


def _run(space: list[str], *words: str) -> int:
    return int(
        subprocess.run(
            [*space, *TRAFFIC, *words], capture_output=True, text=True, check=True
        ).stdout
        or 0
    )


def main(prefix: str, web: str, api: str) -> None:
    """Run them; exits with 3 where one that should be answered is not, to be told from everything
    else's."""
    out = ["ip", "netns", "exec", f"{prefix}out"]
    inside = ["nsenter", f"--net=/proc/{web}/ns/net"]
    other = ["nsenter", f"--net=/proc/{api}/ns/net"]
    page = ("--http", "--gap", "0.02")
    served = [
        _run(out, "tcp", HOST, "80", "--source", A, "--count", "5", *page)
        == 5,  # outside, published
        _run([], "tcp", HOST, "80", "--count", "2", *page) == 2,  # host to its own address
        _run([], "tcp", "127.0.0.1", "8080", "--count", "2", *page) == 2,  # loopback: docker-proxy
        _run([], "tcp", "127.0.0.1", "80", *page) == 1,
        _run(inside, "tcp", A, "8080", "--count", "3") == 3,  # container to outside
        _run(inside, "udp", A, "53", "--count", "3") == 3,
        _run(inside, "tcp", HOST, "80", *page)
        == 1,  # container to the host's published port: docker-proxy
        _run(other, "tcp", HOST, "80", *page) == 1,
    ]
    refused = [
        _run(inside, "tcp", "172.18.0.2", "80")
        == 0,  # container to container of another network: isolated
        _run(out, "tcp", HOST, "80", "--source", B) == 0,  # denied in DOCKER-USER
        _run(out, "tcp", HOST, "8081", "--source", A) == 0,  # closed port
        _run(out, "tcp", HOST, "8080", "--source", A) == 0,  # published on loopback only
    ]
    subprocess.run(
        [*out, "ping", "-c", "2", "-i", "0.2", "-I", A, HOST], capture_output=True, check=True
    )
    subprocess.run([*inside, "ping", "-c", "2", "-i", "0.2", A], capture_output=True, check=True)
    print(
        f"{sum(served)} of {len(served)} services answer, {sum(refused)} of {len(refused)} doors "
        f"are shut"
    )
    sys.exit(0 if all(served) and all(refused) else 3)


if __name__ == "__main__":
    main(*sys.argv[1:4])
