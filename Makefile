# make run: the gateway with a simulated meter · make test: all tests · make lint · make bench
# make fuzz SECONDS=600: every fuzz target for ten minutes (TARGETS=decoder: that one)
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH_VENV := .venv-bench
BENCH_BIN := $(BENCH_VENV)/bin
INTEROP_VENV := .venv-interop
INTEROP_BIN := $(INTEROP_VENV)/bin
NODE_MODULES := tests/interop/node/node_modules

# Tests wait more than they work, so one worker more than cores.
WORKERS ?= $(shell expr $$(nproc) + 1)

.PHONY: run test coverage lint bench soak fuzz docs schemas lock clean
.DEFAULT_GOAL := run

run: $(VENV)/.installed
	$(BIN)/obisgate run config.yaml

test: $(VENV)/.installed-dev $(INTEROP_VENV)/.installed $(NODE_MODULES)/.installed
	@command -v mbpoll >/dev/null || echo "mbpoll is missing, its tests will be skipped: sudo apt-get install mbpoll"
	@command -v mosquitto >/dev/null || test -x /usr/sbin/mosquitto || echo "mosquitto is missing, tests with a broker will be skipped: sudo apt-get install mosquitto"
	PYTHONHASHSEED=0 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

# How much of the pure folders the tests run, by branches; the gate is 95 %.
coverage: $(VENV)/.installed-dev $(INTEROP_VENV)/.installed $(NODE_MODULES)/.installed
	PYTHONHASHSEED=0 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --cov --cov-report=term

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev $(BENCH_VENV)/.installed
	@test -e /usr/include/modbus/modbus.h || echo "libmodbus is missing, it will not be measured: sudo apt-get install libmodbus-dev"
	$(BENCH_BIN)/python bench/serving.py
	$(BIN)/python bench/crowd.py
	$(BIN)/python bench/meters.py
	$(BIN)/python bench/render.py
	$(BIN)/python bench/serial_line.py
	$(BIN)/python bench/serial_reading.py
	$(BIN)/python bench/cabinet.py
	$(BENCH_BIN)/python bench/decoding.py
	$(BIN)/python bench/damage.py

# Thirty days of telegrams, with damage, hang-ups and clients that come and go.
soak: $(VENV)/.installed
	$(BIN)/python bench/soak.py

SECONDS ?= 60
fuzz: $(VENV)/.installed-fuzz
	$(BIN)/python -m tests.fuzz.run --seconds $(SECONDS) $(TARGETS)

# Writes the byte tables of docs/telegram*.md and register_maps/README.md anew.
docs: $(VENV)/.installed
	$(BIN)/python docs/generate.py

# Writes the schemas of maps and config anew; needed when words, quantities or shipped maps change.
schemas: $(VENV)/.installed
	$(BIN)/python -m gateway.schema

$(BIN)/python $(BENCH_BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "obisgate needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V): make PYTHON=python3.11 …"; exit 1; }
	@$(PYTHON) -m venv $(@:/bin/python=) || \
		{ rm -rf $(@:/bin/python=); echo "Python's venv is missing: sudo apt-get install python3-venv"; exit 1; }

# The locks come first, with hashes; then the package itself, which brings nothing more.
$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.installed-fuzz: requirements-fuzz.lock $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-fuzz.lock
	@touch $@

# What decoding is compared with is nothing that a developer needs.
$(BENCH_VENV)/.installed: requirements-bench.lock pyproject.toml | $(BENCH_BIN)/python
	$(BENCH_BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	$(BENCH_BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Clients that the tests let read the gateway. One of them needs Python 3.12, so the newest is taken
# that there is here, among those that pyenv installed as well.
$(INTEROP_VENV)/.installed: requirements-interop.lock | $(BIN)/python
	@rm -rf $(INTEROP_VENV)
	@for python in python3.13 python3.12 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.1[23].*/bin/python $(BIN)/python; do \
		"$$python" -c 'import ensurepip, venv' 2>/dev/null && break; \
	done; "$$python" -m venv $(INTEROP_VENV)
	$(INTEROP_BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-interop.lock
	@touch $@

# modbus-serial without its optional serialport, whose binary nobody needs over TCP.
$(NODE_MODULES)/.installed: tests/interop/node/package-lock.json
	@if command -v npm >/dev/null; then \
		npm ci --prefix tests/interop/node --ignore-scripts --omit=optional --no-audit --no-fund --loglevel=error && touch $@; \
	else \
		echo "npm is missing, the tests with modbus-serial will be skipped: sudo apt-get install nodejs npm"; \
	fi

# Writes all locks anew; needs uv (pip install uv). For x86-64 and arm64, Python 3.11 to 3.13.
UV_LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock:
	$(UV_LOCK) pyproject.toml --group build -o requirements.lock
	$(UV_LOCK) pyproject.toml --group build --extra mqtt --extra uvloop -c requirements.lock -o requirements-extras.lock
	$(UV_LOCK) --group build --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	$(UV_LOCK) --group build --group bench -c requirements.lock pyproject.toml -o requirements-bench.lock
	$(UV_LOCK) --group fuzz -o requirements-fuzz.lock
	$(UV_LOCK) --group interop -o requirements-interop.lock

clean:
	rm -rf $(VENV) $(BENCH_VENV) $(INTEROP_VENV) $(NODE_MODULES) dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
