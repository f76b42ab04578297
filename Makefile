# `make console` is all a newcomer needs. PYTHON=… chooses the interpreter, TORCH_INDEX=… a package index for torch.
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export VENV PYTHON TORCH_INDEX

.DEFAULT_GOAL := help
.PHONY: help install console test lint bench docs screenshots demo-cloud

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

install: $(STAMP) ## make .venv with everything (again when pyproject.toml changes)

# One whose interpreter has gone (an upgrade), or that came along with a copied checkout, is made anew.
ifneq ($(shell $(BIN)/python -c "print(open('$(STAMP)').read().strip())" 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

$(STAMP): pyproject.toml scripts/install.sh scripts/find_python.sh
	@bash scripts/install.sh

console: install ## open the console; without a terminal, run its main job headless
	@if [ -t 0 ] && [ -t 1 ]; then exec $(BIN)/ups-console; else exec bash scripts/headless.sh; fi

test: lint ## format, lint, types, import contracts, tests
	@$(BIN)/python -m pytest

lint: install ## everything of `make test` but the tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: install ## all benchmarks at small sizes; BENCH_ARGS= for full size
	@bash scripts/bench.sh $(BENCH_ARGS)

BENCH_ARGS ?= --quick

demo-cloud: install ## the whole job in a cloud that is simulated on this machine; DEMO_ARGS=--console opens it
	@$(BIN)/python -m tests.simulators.demo $(DEMO_ARGS)

docs: install ## write docs/configs.md anew from the schema
	@$(BIN)/python -m ups.config_docs docs/configs.md

screenshots: install ## take the README's pictures anew, from a run that is trained for them
	@$(BIN)/python scripts/screenshots.py
