# make demo | test | test-fast | nnunet-suite | slurm-suite | lint | docs | clean
# (each makes and fills .venv when it is missing or out of date)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROCESSES ?= 2
# pytest-xdist 3.8 may wait for ever for the tests of a process that crashed: the run ends instead
PYTEST := $(BIN)/python -m pytest -n $(PROCESSES) --max-worker-restart 0

.PHONY: demo test test-fast nnunet-suite slurm-suite lint docs clean
.DELETE_ON_ERROR:

demo: $(VENV)/.filled
	$(BIN)/ser-nnunet demo $(DEMO_ARGS)

test: $(VENV)/.filled
	$(PYTEST) --dist loadfile --no-loadscope-reorder $(TEST_ARGS)

test-fast: $(VENV)/.filled
	$(PYTEST) --dist worksteal -m "not slow" $(TEST_ARGS)

nnunet-suite: $(VENV)/.filled
	$(BIN)/python -m tests.nnunet_suite --processes $(PROCESSES) $(SUITE_ARGS)

slurm-suite: $(VENV)/.filled
	$(BIN)/python -m tests.slurm_suite $(SUITE_ARGS)

lint: $(VENV)/.filled
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m pytest -q tests/test_types.py

docs: $(VENV)/.filled
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

$(VENV)/.filled: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "ser-nnunet needs Python 3.10 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --progress-bar off --disable-pip-version-check -e '.[sam,export,cluster,demo,test,docs]'
	touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info ser_nnunet_demo .pytest_cache .mypy_cache .ruff_cache
