"""A real Docker Engine (Debian's docker.io) in the lab host's namespace, with containers from an
imported image."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from types import TracebackType

from tests.lab.net import Lab, sh

BUSYBOX = "/bin/busybox"
IMAGE = "web:1"
PROGRAMS = ("dockerd", "docker", "docker-proxy", "containerd", "runc", BUSYBOX)
LEGACY = "/usr/sbin/xtables-legacy-multi"


class Engine:
    """dockerd inside ``lab``'s host; ``backend`` nft or legacy is what it calls iptables. Its state
    is gone at the end."""

    def __init__(self, lab: Lab, backend: str = "nft") -> None:
        self.lab, self.backend = lab, backend
        self.folder = Path(
            tempfile.mkdtemp(prefix="ce", dir="/tmp")
        )  # short: unix(7) leaves 107 bytes for a path
        self.name = f"{lab.prefix}engine"
        self.socket = f"unix://{self.folder}/s"
        self.environment = {**os.environ, "DOCKER_HOST": self.socket}
        self.log = (self.folder / "log").open("wb")

    def __enter__(self) -> Engine:
        try:
            self._start()
            self._import_image()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def docker(self, *words: str, stdin: bytes | None = None) -> str:
        """Run the docker client; its output."""
        done = subprocess.run(
            ["docker", *words], env=self.environment, input=stdin, capture_output=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(words)}: {done.stderr.decode()}")
        return done.stdout.decode().strip()

    def run(self, name: str, *options: str) -> str:
        """Start a container with a web server on its port 80; its process id (whose network
        namespace is its own)."""
        self.docker(
            "run",
            "-d",
            "--name",
            name,
            *options,
            IMAGE,
            "/bin/busybox",
            "httpd",
            "-f",
            "-p",
            "80",
            "-h",
            "/www",
        )
        return self.docker("inspect", "-f", "{{.State.Pid}}", name)

    def address(self, name: str) -> str:
        """A container's address in its only network."""
        return self.docker(
            "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name
        )

    def close(self) -> None:
        """End containers and engine, delete their files."""
        if hasattr(self, "process") and self.process.poll() is None:
            for line in self.docker("ps", "-q").split():
                self.docker("kill", line)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if line.split()[1].startswith(str(self.folder)):
                sh("umount", "-l", line.split()[1], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        programs = self.folder / "bin"
        programs.mkdir()
        if self.backend == "legacy":
            for name in ("iptables", "iptables-save", "iptables-restore"):
                (programs / name).symlink_to(LEGACY)
        path = f"{programs}:{os.environ['PATH']}"
        command = [
            "nsenter",
            f"--net=/var/run/netns/{self.lab.space('host')}",
            "dockerd",
            "--data-root",
            str(self.folder / "d"),
            "--exec-root",
            str(self.folder / "e"),
            "-H",
            self.socket,
            "-p",
            str(self.folder / "pid"),
            "--storage-driver",
            "vfs",
            "--ip6tables=false",
            # where the host's own containerd is found it is used, and its containers are none of
            # ours
            "--containerd-namespace",
            self.name,
            "--containerd-plugins-namespace",
            f"{self.name}-plugins",
        ]
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "PATH": path},
            stdout=self.log,
            stderr=self.log,
            stdin=subprocess.DEVNULL,
        )
        until = time.monotonic() + 60
        while True:
            try:
                self.docker("version")
                return
            except RuntimeError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(
                        f"dockerd does not start:\n{(self.folder / 'log').read_text()[-3000:]}"
                    ) from None
                time.sleep(0.2)

    def _import_image(self) -> None:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(BUSYBOX, "bin/busybox")
            page = tarfile.TarInfo("www/index.html")
            page.size = 600
            tar.addfile(page, io.BytesIO(b"hello " * 100))
        self.docker("import", "-", IMAGE, stdin=archive.getvalue())
