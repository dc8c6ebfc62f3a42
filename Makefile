# `make quickstart` and `make test` are all that a fresh machine needs.
# Both install what they need into .venv, once.

PYTHON ?= python3
KERAS_BACKEND ?= jax
# Those whose tests take longest first, so that no core waits at the end.
BACKENDS ?= tensorflow jax torch
TESTS ?= tests
JOBS ?= 2
PART ?= all
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
SOURCES := pyproject.toml constraints.txt

ifeq (,$(filter $(KERAS_BACKEND),jax torch tensorflow))
$(error KERAS_BACKEND must be jax, torch or tensorflow, not "$(KERAS_BACKEND)")
endif

export TF_CPP_MIN_LOG_LEVEL ?= 3
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-once test-fast test-newest-keras lint clean

help:
	@echo "make quickstart   simulate, train, measure and draw, in minutes"
	@echo "                  KERAS_BACKEND=jax|torch|tensorflow (default: jax)"
	@echo "make test         all tests on the three backends"
	@echo "                  BACKENDS=\"jax torch\" for some of them,"
	@echo "                  TESTS=tests/groups/test_groups.py for some tests,"
	@echo "                  JOBS=1 to see it run, one after the other"
	@echo "make test-fast    some tests of each part, on KERAS_BACKEND, in minutes"
	@echo "make test-newest-keras"
	@echo "                  the same on JAX with the newest Keras; only warns"
	@echo "make lint         style and types"
	@echo "make clean        removes .venv and what the commands wrote"

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is" \
		  "$$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

# The package with one backend and the data sets.
$(VENV)/with-%: $(VENV)/made $(SOURCES)
	@echo "Installing keras-remul with $* into $(VENV) ..."
	$(PIP) --editable ".[$*,datasets]"
	@touch $@

# The package with all backends and the tools of the tests.
$(VENV)/with-tests: $(VENV)/made $(SOURCES)
	@echo "Installing keras-remul with all backends into $(VENV) ..."
	$(PIP) --editable ".[dev]"
	@touch $@

quickstart: $(VENV)/with-$(KERAS_BACKEND)
	KERAS_BACKEND=$(KERAS_BACKEND) $(BIN)/keras-remul quickstart

# All run even where one fails; one process each, JOBS at a time, one thread
# each, since torch's threads are slow where others want the cores. The tests
# that no backend matters for are a job of their own, which fills the core that
# is free first.
test: $(VENV)/with-tests
	@$(MAKE) --no-print-directory --keep-going --output-sync --jobs=$(JOBS) \
		$(BACKENDS:%=test-on-%) $(if $(filter torch,$(BACKENDS)),test-once) \
		lint PART=each
	@echo "All tests passed on: $(BACKENDS)"

# Those that tests/fast.txt names: of each part what tells most for its time.
test-fast: TESTS := @tests/fast.txt
test-fast: $(VENV)/with-tests lint test-on-$(KERAS_BACKEND)

test-newest-keras: $(VENV)/with-tests
	@.ci/newest-keras $(CURDIR)/$(BIN)/python

# The tests compile thousands of programs and run each once: XLA takes a third
# of the time for them without its optimisations, and a fifth less again where
# it leaves out LLVM's dearest passes and does not cut programs into parts that
# more cores could compile.
test-on-jax: export XLA_FLAGS ?= --xla_backend_optimization_level=0 \
	--xla_cpu_use_fusion_emitters=false \
	--xla_llvm_disable_expensive_passes=true \
	--xla_cpu_parallel_codegen_split_count=1

test-on-%:
	@echo "== tests on $*"
	@OMP_NUM_THREADS=1 KERAS_BACKEND=$* $(BIN)/python -m pytest \
		--part=$(PART) $(TESTS)

test-once:
	@echo "== tests that no backend matters for"
	@OMP_NUM_THREADS=1 KERAS_BACKEND=torch $(BIN)/python -m pytest \
		--part=once $(TESTS)

lint: $(VENV)/with-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python

clean:
	rm -rf $(VENV) quickstart_output dist build site
