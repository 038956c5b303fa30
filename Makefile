# Everything starts from here: `make demo` and `make test` each set the machine up first.
# They need Python 3.11 or newer with pip and venv, and make; nothing else.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
# The lock is resolved for Linux x86-64; elsewhere pip takes the ranges of pyproject.toml.
PLATFORM := $(shell uname -s)-$(shell uname -m)
MINUTES ?= 10
# A process a core, each with one thread; a file's tests stay in one process.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --dist=loadfile \
	--max-worker-restart=0

.PHONY: help install demo test test-all check format lock benchmarks clean

help:
	@echo 'make demo      set up, then train on real photos of solar cells and write the report'
	@echo 'make test      set up, then check style and types and run the tests (under 15 minutes)'
	@echo 'make test-all  the same with the slow tests, on every Python found from 3.11 to 3.13'
	@echo 'make check     ruff, mypy, import order'
	@echo 'make lock      resolve requirements.lock again'

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo 'Houndsight needs Python 3.11 or newer: install it, or name it with PYTHON=...'; exit 1; }
	$(PYTHON) -m venv $(VENV)
ifeq ($(PLATFORM),Linux-x86_64)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps -e .
else
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e '.[demo,doctor,onnx,platform,sagemaker,dev]'
endif
	@touch $@

demo: install
	$(BIN)/houndsight run --dataset solar-cells --minutes $(MINUTES)
	@# A second demo trains beside the first: the newest folder is the one just made.
	$(BIN)/houndsight predict $$(ls -td runs/solar-cells*/ | head -n 1) $$($(BIN)/python scripts/sample.py)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(PYTEST) -m 'not slow'

test-all: check
	$(BIN)/python scripts/test_all.py

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:
	$(BIN)/python scripts/lock.py

clean:
	rm -rf $(VENV) .venv-python3.* build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
