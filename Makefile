# Brainstem. `make` alone lists what you can do. Only Python 3.11 or newer is needed.
# Settings that matter here: PORT, HOST and BRAINSTEM_HOME (as for the program), VENV (.venv), PYTHON (python3).

VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
PIP     = $(BIN)/python -m pip --disable-pip-version-check --no-input -qq

# An environment is up to date when the stamp named after the contents of its lock files is there.
LOCKED     := requirements.lock requirements-build.lock pyproject.toml
LOCKED_DEV := requirements-dev.lock $(LOCKED)
RUN_STAMP  := $(VENV)/.run-$(shell cat $(LOCKED) 2>/dev/null | cksum | cut -d' ' -f1)
DEV_STAMP  := $(VENV)/.dev-$(shell cat $(LOCKED_DEV) 2>/dev/null | cksum | cut -d' ' -f1)

WORKERS ?= 2# test processes
ARGS    ?=# more arguments for pytest, such as ARGS="-k lease -x"

.DEFAULT_GOAL := help
.PHONY: help run install dev test check format drill cluster fuzz audit bench first-run shots docs lock clean

help:
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

run: $(RUN_STAMP) ## Serve on http://127.0.0.1:8000 (PORT, BRAINSTEM_HOME); sets up everything first
	@exec $(BIN)/brainstem up

install: $(RUN_STAMP) ## Only set up the environment, for a server that starts `brainstem` itself

dev: $(DEV_STAMP) ## Serve with tracebacks; starts again when a Python file changes, reads templates anew
	@exec $(BIN)/python scripts/dev.py

test: $(DEV_STAMP) ## Run the tests; what needs Postgres, Redis or Chromium is skipped where they are absent
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: $(DEV_STAMP) ## Lint, formatting, types, import rules, documents, locks, deployment files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check .; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python scripts/gen_docs.py --check
	@$(BIN)/python scripts/lint_deploy.py
	@$(BIN)/python scripts/lint_repo.py

format: $(DEV_STAMP) ## Put the code into the agreed shape
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

drill: $(DEV_STAMP) ## Fault drills with their full numbers: kills, outages, slow clients (takes long)
	@DRILL_FULL=1 $(BIN)/python -m pytest tests/drills -s $(ARGS)

cluster: $(DEV_STAMP) ## The deployment of docker-compose.yml as plain processes (ARGS: test, drill; docs/operations.md)
	@exec $(BIN)/python scripts/cluster.py $(ARGS)

fuzz: $(DEV_STAMP) ## Try new requests at every address, new orders of tasks, new URLs for ten minutes (FUZZ_SECONDS)
	@SWEEP=all FUZZ_SECONDS=$${FUZZ_SECONDS:-600} $(BIN)/python -m pytest tests/conformance/test_fuzz.py \
	  tests/conformance/test_inputs.py tests/tasks/test_any_order.py tests/core/test_any_url.py $(ARGS)

audit: $(RUN_STAMP) ## Ask OSV for known holes in what the lock files name; says so when it cannot be reached
	@$(BIN)/python scripts/audit.py $(ARGS)

bench: $(DEV_STAMP) ## Measure: queue, progress, pages, quality of summaries
	@$(BIN)/python -m benchmarks $(if $(ARGS),$(ARGS),all)

first-run: ## Time a newcomer's way: clone, install, start, a question, its cited answer; size and memory
	@$(PYTHON) scripts/first_run.py $(ARGS)

shots: $(DEV_STAMP) ## Photograph the pages with Chromium into build/shots and docs/images
	@$(BIN)/python scripts/shots.py $(ARGS)

docs: $(DEV_STAMP) ## Write the generated documents (settings, licences)
	@$(BIN)/python scripts/gen_docs.py

lock: ## Resolve the lock files anew (needs uv)
	@scripts/lock.sh

clean: ## Delete the environment and everything built; your data stays
	@rm -rf build dist .mypy_cache .ruff_cache .import_linter_cache .pytest_cache
	@if [ -f $(VENV)/pyvenv.cfg ]; then rm -rf $(VENV); fi

# -- environments ------------------------------------------------------------------------------------------------------

$(BIN)/pip:
	@for python in $(PYTHON) python3.14 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo "Brainstem needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1

$(RUN_STAMP): | $(BIN)/pip
	@echo "Installing what requirements.lock names into $(VENV) (once, under a minute)"
	@$(PIP) install --no-deps --require-hashes -r requirements.lock -r requirements-build.lock
	@$(PIP) install --no-deps --no-build-isolation --no-index -e .
	@rm -f $(VENV)/.run-*
	@touch $@

$(DEV_STAMP): $(RUN_STAMP)
	@echo "Installing what requirements-dev.lock names into $(VENV) (once)"
	@$(PIP) install --no-deps --require-hashes -r requirements-dev.lock
	@rm -f $(VENV)/.dev-*
	@touch $@
