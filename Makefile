# make demo: replay a shipped capture; make test: everything that CI checks. Both need Python 3.11 or newer only.
# make demo-live (root): record a live session in a throw-away lab with a Docker Engine of its own; KEEP=folder keeps it.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: accuracy fuzz fuzz-guided demo demo-live bench bench-capture test lint unit docs lock versions deps clean root

demo: $(VENV)/.demo
	$(BIN)/correlator replay captures/published
	$(BIN)/correlator plot captures/published -o demo-timeline.png

demo-live: root deps $(VENV)/.demo
	@$(BIN)/python -m tests.lab.demo $(KEEP)

# Replay side by side with tcpdump, tshark and what BENCH_PYTHON has (nfstream, dpkt).
bench: deps $(VENV)/.dev
	$(BIN)/python -m benchmarks.replay

bench-capture: root deps $(VENV)/.dev
	$(BIN)/python -m benchmarks.capture $(PARTS)

# Ten minutes of random cases against the kernel's own trace (root): a table, and status 1 where a row that says exact
# is wrong. SEEDS=1-40, MINUTES=3, VARIATIONS=full,lossy, KEEP=folder
SEEDS ?= 1-1000
MINUTES ?= 10
accuracy: root deps $(VENV)/.dev
	@$(BIN)/python -m tests.lab.accuracy --seeds $(SEEDS) --minutes $(MINUTES) $(if $(VARIATIONS),--variations $(VARIATIONS)) $(if $(KEEP),--keep $(KEEP))

# Inputs that nobody would write, against every reader and whole replays, with bounds checked in compiled code; findings
# are kept in tests/fuzz/found. MINUTES=600, SEED=7
SEED ?= 1
fuzz: $(VENV)/.dev
	@$(BIN)/python -m tests.fuzz --minutes $(MINUTES) --seed $(SEED)

# One reader guided by coverage, where atheris is installed (pip install atheris). TARGET=listing
TARGET ?= listing
fuzz-guided: $(VENV)/.dev
	@$(BIN)/python -m tests.fuzz.guided $(TARGET) $(MINUTES)

root:
	@[ "$$(id -u)" = 0 ] || { echo "make: this needs root, for namespaces of its own: run it with sudo" >&2; exit 1; }

test: deps $(VENV)/.dev lint unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

unit: $(VENV)/.dev
	$(BIN)/python -m pytest

# The pages, into site/: open site/index.html.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# Every version and hash of what `make test` installs, for the Pythons that pyproject.toml names; keeps what is there.
lock: $(VENV)/.dev
	$(BIN)/uv pip compile pyproject.toml --quiet --extra dev --extra parquet --universal --python-version 3.11 \
	    --generate-hashes --custom-compile-command "make lock" -o requirements.lock $(LOCK)

# What pyproject.toml claims: the lowest versions that it allows, and every Python that is installed here.
versions: $(VENV)/.dev
	$(BIN)/python -m tests.versions $(BUILD)

deps:
	sh .ci/deps.sh

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed, and none was found" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { sh .ci/deps.sh && rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check .
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q correlator  # pip compiles what it installs, but not what it links to
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info site demo-timeline.png
