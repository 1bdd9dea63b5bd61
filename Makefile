# `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
PORT ?= 8080
DATA_DIR ?= .slipway
# Two processes suit two cores; the end-to-end tests are bound by the programs they deploy.
WORKERS ?= 2
TESTS ?= tests
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup up test clients check fmt bench lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Slipway needs Python 3.11 or newer; name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
	  || { echo "The venv module is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing the locked packages into $(VENV) (a minute or two the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

setup: $(STAMP) ## prepare everything: .venv from the lock file, and the Pulumi toolchain
	@$(BIN)/slipway toolchain install >/dev/null

up: setup ## run Slipway here and deploy the Python example (PORT=8080 DATA_DIR=.slipway)
	@exec $(BIN)/slipway up --demo --port $(PORT) --data-dir $(DATA_DIR)

test: setup ## run the whole test suite (TESTS=path, WORKERS=2)
	@$(BIN)/python tests/support/needs.py
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(TESTS)

clients: setup ## drive every real client, and write what works into README.md
	@$(BIN)/python tests/support/needs.py
	@mkdir -p .pytest_cache
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --junitxml .pytest_cache/clients.xml \
	  tests/e2e/clients
	@$(BIN)/python -m tests.support.what_works .pytest_cache/clients.xml

check: $(STAMP) ## lint, types, import directions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fmt: $(STAMP) ## format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

bench: setup ## measure, each figure beside its yardstick (BENCH="a d k" chooses of a to q)
	@$(BIN)/python -m tests.bench $(BENCH)

lock: ## resolve the dependencies again into requirements.lock (needs uv)
	@uv pip compile pyproject.toml --extra dev --generate-hashes --no-header --no-emit-index-url \
	  --no-strip-extras --universal --python-version 3.11 --quiet -o requirements.lock

clean: ## remove what make setup made in this directory
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
