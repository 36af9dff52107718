# Every target does all of its own set-up; the only needs are python3 >= 3.11, make and a package index.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: setup demo test lint types unit clean

setup: $(VENV)/.installed

# torch is installed first and by version: left to a range, pip fetches gigabytes of CUDA libraries.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("editgrpo needs Python 3.11 or newer; set PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

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
