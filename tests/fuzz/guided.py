"""One reader, guided by the coverage of its code: ``python -m tests.fuzz.guided listing 10``.

Needs atheris, which is no dependency of the project: pip install atheris."""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["correlator"]):
    from tests.fuzz.targets import Target, readers, stand

from tests.fuzz.run import attempt, keep


def main(name: str, minutes: float) -> None:
    """Runs until the time is over or something is found, which is kept."""
    target = next(one for one in readers() if one.name == name)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as where:
        folder, corpus = Path(where) / "folder", Path(where) / "corpus"
        folder.mkdir()
        corpus.mkdir()
        stand(target, folder)
        rng = random.Random(1)
        for number, seed in enumerate((*target.seeds, *(target.input(rng) for _ in range(200)))):
            (corpus / str(number)).write_bytes(seed)
        options = [f"-max_total_time={minutes * 60:.0f}", "-max_len=16384", "-verbosity=0"]
        atheris.Setup(
            ["guided", str(corpus), *options, "-print_final_stats=1"], _judge(target, folder)
        )
        atheris.Fuzz()


def _judge(target: Target, folder: Path):  # type: ignore[no-untyped-def]
    def one(data: bytes) -> None:
        (folder / target.file).write_bytes(data)
        _, problem = attempt(lambda: target.run(folder))
        if problem:
            raise RuntimeError(f"{problem}: {keep(f'{target.name}-{problem}', data)}")

    return one


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 10.0)
