# Everything a newcomer needs: Python 3.11 or newer with venv, make and a network.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# Compiled modules are kept, in the environment and not in the tree: a hub is ten processes, and compiling is half of their start.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(abspath $(VENV))/pycache

.PHONY: setup demo test check test-containers bench-work bench bench-quick bench-stock sim

setup: $(READY)

$(READY): deploy/requirements-dev.txt pyproject.toml schemas/_avro.c streams/_quick.c streams/_pages.c
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Crossdock needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Run: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) lacks venv. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r deploy/requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c 'from schemas import native; native.library or print("no C compiler or no Python headers: records are coded in Python, at half the speed")'
	@touch $@

# For example: make demo ARGS="--duration 60 --seed 7"
demo: setup
	@$(BIN)/crossdock demo $(ARGS)

# All lanes, or some: make test LANES="check pure"
test: setup
	@$(BIN)/python -m tests.lanes $(LANES)

check: setup
	@$(BIN)/python -m tests.lanes check

# Processes, broker, network and registry broken in every way we know, for half an hour: CROSSDOCK_FAULT_ROUNDS=50, CROSSDOCK_FAULT_SEED=...
.PHONY: test-faults
test-faults: setup
	@$(BIN)/python -m tests.lanes faults

# The engine and the edges under one seeded scheduler, with whatever can go wrong: make sim SEEDS=20000
SEEDS ?= 2000
sim: setup
	@$(BIN)/python -m tests.sim --seeds $(SEEDS)

# The broker's behaviour on a Kafka in a container: needs Docker or Podman.
test-containers: setup
	@KAFKA_TESTS=container $(BIN)/python -m pytest tests/broker tests/kafka/test_fixtures.py -m kafka

# Side by side with Kafka Streams and others, then the other workloads: tables, JSON and a plot in tests/bench/results, docs/performance.md.
# Alone on the machine, please. Half an hour.
bench: setup
	@$(BIN)/python -m tests.bench
	@$(MAKE) --no-print-directory bench-work
	@$(BIN)/python -m tests.bench --page

# Side by side with fewer events and rounds, in under four minutes.
bench-quick: setup
	@$(BIN)/python -m tests.bench --quick

# Stock when one SKU has 30 % of all events, and when that one lies at 500 places, each beside the even load.
bench-stock: setup
	@$(BIN)/python -m tests.bench.work_stock --shapes
	@$(BIN)/python -m tests.bench.work_stock --growth --warm 200000 --rounds 2
	@$(BIN)/python -m tests.bench --page

# The measured workloads, each checked against a model of its own.
bench-work: setup
	@for name in stock pipe door latency growth; do $(BIN)/python -m tests.bench.work_$$name || exit 1; done
