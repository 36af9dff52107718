# Every target does its own set-up; the only needs are python3 >= 3.11, make and a package index.
PYTHON ?= python3
VENV   ?= .venv
# Where torch comes from besides the package index. On Linux, PyPI's torch brings gigabytes of CUDA
# libraries; without a GPU: make setup TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# Passed on to the demo, such as ARGS=--quick.
ARGS   ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: setup demo test lint types unit clean

setup: $(VENV)/.installed

# The stamp is written last: a set-up that was interrupted has none, and starts again from nothing.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("editgrpo needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=/path/to/python3.11")'
	test -e $@ || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	$(PIP) --editable ".[dev]"
	@touch $@

demo: setup
	$(BIN)/editgrpo demo --output demo $(ARGS)

test: lint types
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pydoclint --quiet src/editgrpo

types: setup
	$(BIN)/mypy

unit: setup
	$(BIN)/python -m pytest -m "not slow and not browser"

clean:
	rm -rf demo build dist .mypy_cache .ruff_cache .hypothesis
