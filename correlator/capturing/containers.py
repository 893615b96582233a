"""Docker's containers, as its API tells them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docker import DockerClient

DOCKER_TIMEOUT = 5
"""Seconds that an answer may take."""


class Containers:
    """Docker's API. It is connected to while we may (its socket is root's), and stays connected:
    where Docker itself is restarted, who may not connect again learns no more."""

    def __init__(self) -> None:
        self.client: DockerClient | None = None

    def connect(self) -> str:
        """Connect, and ask once: only what is asked for in the same words again goes the same way.
        Why that is not possible, or nothing."""
        import docker
        from docker.errors import DockerException

        try:
            self.client = docker.from_env(timeout=DOCKER_TIMEOUT)
            self.client.api.containers()
        except (DockerException, OSError, ValueError) as error:
            self.close()
            return _why(error)
        return ""

    def read(self) -> tuple[str | None, str]:
        """(JSON of the containers or None, why not). Blocks up to some seconds: call it from a
        thread.

        Each has ``id``, ``name``, ``image``, ``networks`` (name -> address) and ``ports`` ("80/tcp"
        -> ["0.0.0.0:8080"])."""
        problem = self.connect() if self.client is None else ""
        if self.client is None:
            return None, problem
        from docker.errors import DockerException

        try:
            found = [_container(item) for item in self.client.api.containers()]
        except (DockerException, OSError, ValueError) as error:
            self.close()
            return None, _why(error)
        return json.dumps(sorted(found, key=lambda c: str(c["name"])), indent=1) + "\n", ""

    def close(self) -> None:
        """Let go of the connection."""
        if self.client is not None:
            self.client.close()
            self.client = None


def _why(error: Exception) -> str:
    return str(error).split("(")[0].strip().rstrip(":") or type(error).__name__


def _container(item: dict[str, Any]) -> dict[str, Any]:
    ports: dict[str, list[str]] = {}
    for port in item.get("Ports") or []:
        if port.get("PublicPort"):
            where = f"{port.get('IP', '0.0.0.0')}:{port['PublicPort']}"
            ports.setdefault(f"{port['PrivatePort']}/{port['Type']}", []).append(where)
    networks = (item.get("NetworkSettings") or {}).get("Networks") or {}
    return {
        "id": item["Id"][:12],
        "name": (item.get("Names") or ["/"])[0].lstrip("/"),
        "image": item.get("Image", ""),
        "networks": {
            name: (network or {}).get("IPAddress", "") for name, network in networks.items()
        },
        "ports": {port: sorted(where) for port, where in sorted(ports.items())},
    }
