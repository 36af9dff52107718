# Every target does its own set-up; the only needs are python3 >= 3.11, make and a package index.
PYTHON ?= python3
VENV   ?= .venv
# Where torch comes from besides the package index. On Linux, PyPI's torch brings gigabytes of CUDA
# libraries; where no GPU is seen, torch is for the CPU. PyPI's all the same: make setup TORCH_INDEX=
# Nothing is added where pip has an index of its own: that may be all that can be reached.
TORCH_INDEX ?= $(shell { test "$$(uname -s)" != Linux || command -v nvidia-smi || ls /dev/nvidia0 \
    || $(PYTHON) -m pip config list | grep -E '(^|[.])(extra-)?index-url='; } >/dev/null 2>&1 \
    || echo https://download.pytorch.org/whl/cpu)
# The demo's folder, and what else it is told, such as ARGS=--quick.
OUTPUT ?= demo
ARGS   ?=

BIN := $(VENV)/bin
SAY_TORCH = $(if $(TORCH_INDEX),@echo "torch: from $(TORCH_INDEX); from the package index: make setup TORCH_INDEX=")
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# A test process for each core, with one thread each; who has no test left takes over some of
# another's.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

# The reference packages and what they need (older numpy and, for one, older transformers).
PARITY_VENV ?= .venv-parity
CLINICAL    := tests/parity/clinical
ORACLES     := $(abspath $(PARITY_VENV))/oracles
PARITY_PIP  := $(PARITY_VENV)/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: setup demo test lint types docs unit slow parity parity-environment trainers clean

setup: $(VENV)/.installed

# The stamp is written last: a set-up that was interrupted has none, and starts again from nothing.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("editgrpo needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=/path/to/python3.11")'
	test -e $@ || $(PYTHON) -m venv --clear $(VENV)
	@echo "setting up $(VENV): some 2.6 GB and several minutes, once"
	$(SAY_TORCH)
	$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	$(PIP) --editable ".[dev]"
	@touch $@

demo: setup
	$(BIN)/editgrpo demo --output $(OUTPUT) $(ARGS)

test: lint types docs
	$(PYTEST)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pydoclint --quiet src/editgrpo

types: setup
	$(BIN)/mypy

# The site, in site/; with the report of a demo if `make demo` has written one.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

unit: setup
	$(PYTEST) -m "not slow and not parity and not browser"

# What `make unit` leaves out: runs in processes of their own, parity with transformers and TRL, the pages.
slow: setup
	$(PYTEST) -m "slow or parity or browser"

# Our clinical models against the packages that they replace, each package in a process of its own.
parity: parity-environment
	EDITGRPO_ORACLE_PYTHON=$(abspath $(PARITY_VENV)/bin/python) \
	EDITGRPO_ORACLE_RATESCORE_0_5_0=$(ORACLES)/ratescore-0.5.0 \
	EDITGRPO_ORACLE_RATESCORE_0_6_0=$(ORACLES)/ratescore-0.6.0 \
	EDITGRPO_ORACLE_RADEVAL=$(ORACLES)/radeval \
	EDITGRPO_ORACLE_CRIMSON_SCORE=$(ORACLES)/crimson-score \
	EDITGRPO_ORACLE_F1CHEXBERT=$(ORACLES)/f1chexbert \
	EDITGRPO_ORACLE_RADGRAPH=$(ORACLES)/radgraph \
	$(PARITY_VENV)/bin/python -m pytest $(CLINICAL) $(ARGS)

parity-environment: $(PARITY_VENV)/.installed

$(PARITY_VENV)/.installed: pyproject.toml $(addprefix $(CLINICAL)/,constraints.txt requirements.txt packages.txt)
	test -e $@ || $(PYTHON) -m venv --clear $(PARITY_VENV)
	$(SAY_TORCH)
	$(PARITY_PIP) --constraint $(CLINICAL)/constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	$(PARITY_PIP) --constraint $(CLINICAL)/constraints.txt --requirement $(CLINICAL)/requirements.txt --editable ".[train,clinical,dicom,report,test]"
	rm -rf $(ORACLES)
	grep -v '^#' $(CLINICAL)/packages.txt | while read -r folder packages; do \
	    $(PARITY_PIP) --no-deps --target $(ORACLES)/$$folder $$packages || exit 1; done
	# RadEval's copy of radgraph imports itself by another spelling than its folder has.
	ln -s radeval $(ORACLES)/radeval/RadEval
	@touch $@

# The adapters inside verl and ms-swift, each in an environment of its own, with the core alone.
trainers: trainer-verl trainer-ms_swift

trainer-%: .venv-%/.installed
	.venv-$*/bin/python -m pytest tests/trainers/test_$*.py $(ARGS)

.PRECIOUS: .venv-%/.installed
.venv-%/.installed: pyproject.toml tests/trainers/%.txt
	test -e $@ || $(PYTHON) -m venv --clear $(@D)
	$(SAY_TORCH)
	grep '^torch==' constraints.txt > $(@D)/torch.txt
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/trainers/$*.txt \
	    --constraint $(@D)/torch.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch --editable .
	@touch $@

clean:
	rm -rf demo site build dist .mypy_cache .ruff_cache .hypothesis
