# make demo    the main job through a real headless Scipion project; pictures in demo/report/index.html
# make test    lint, types, imports, the tests of minutes; make test-long the others, before a piece of work is closed
# make docs    the documentation site, docs/_build/html/index.html; a warning fails it
# make fuzz    inputs that nobody wrote, for an hour: FUZZ of them, SEED draws them; what breaks is kept with a way to run it
# make screenshots   every form, viewer and wizard of the plugin, photographed on a virtual screen into docs/screenshots
# make train-base   start the standing training of the next base in the background, or go on with it; stop-base stops it,
#                   keep-base writes its compact checkpoint into benchmarks/checkpoints, to be committed
# One .venv for both, made once and again when what it is made from changes.

SHELL := /bin/bash
VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin

# Scipion pins numpy 1.26.1, which runs on Python 3.11 and 3.12. The first of these that starts is taken.
CANDIDATES := python3.11 python3.12 python3 python
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for python in $(CANDIDATES); do \
	$$python -c '$(FITS)' 2>/dev/null && { echo $$python; break; }; done)

WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

FUZZ ?= 5000
SEED ?= 1

.PHONY: demo docs screenshots test test-long fuzz lint format environment clean train-base stop-base keep-base

demo: environment
	$(BIN)/python demo/run_demo.py

docs: environment
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going docs docs/_build/html

screenshots: environment
	$(BIN)/python screenshots/take.py

test: lint
	$(PYTEST) -n $(WORKERS) --dist loadfile --durations 15

test-long: environment
	$(PYTEST) -n $(WORKERS) --dist loadfile --durations 15 -m long

fuzz: environment
	POLARDENOISE_EXAMPLES=$(FUZZ) $(PYTEST) --timeout 0 tests/fuzz/test_properties.py
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --count $(FUZZ) --seed $(SEED)

train-base: environment
	$(BIN)/python -m benchmarks.models.standing start

stop-base: environment
	$(BIN)/python -m benchmarks.models.standing stop

keep-base: environment
	$(BIN)/python -m benchmarks.models.standing keep

lint: environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

format: environment
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

environment: $(STAMP)

$(STAMP): setup.py constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or 3.12 found; install one, or make PYTHON=/path/to/it"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet \
		--constraint constraints.txt --editable '.[engine,dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info demo/work demo/report docs/_build docs/generated .pytest_cache .mypy_cache .ruff_cache
