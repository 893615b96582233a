"""``python -m correlator``."""

from correlator.cli import run

if __name__ == "__main__":
    run()
