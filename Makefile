# `make run` and `make test` need Python 3.11 or newer and this file; they do the rest.
.DEFAULT_GOAL := help
.PHONY: help install run test simulate burst mutants lint fmt types arch migrations check lock clean crash soak bench

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv || echo $(BIN)/uv)
# The tools that check and build the project; each does the same here and in CI.
IN_DEVELOPMENT := DEBUG=1
# With it, every process would compile all it imports: seconds in which no stop is watched.
unexport PYTHONDONTWRITEBYTECODE

help: ## Show what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /\1|/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## Make .venv with everything the project needs

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python found: install Python 3.11 or newer."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: run make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(BIN)/uv: | $(BIN)/python
	$(BIN)/python -m pip install --quiet uv

# The lock is complete, so nothing is resolved here: --no-deps also keeps pip's resolver away
# from kiteconnect's pin of an autobahn that Daphne 4 cannot use (see uv.toml).
$(VENV)/.installed: requirements-dev.txt | $(BIN)/python $(UV)
	$(UV) pip install --quiet --no-deps --compile-bytecode --python $(BIN)/python -r requirements-dev.txt
	@touch $@

run: install ## Start everything: simulator, demo user, listeners and the page
	@$(BIN)/python -m project.demo

# Most tests wait for processes of theirs: a few at a time. The tests that use the database run
# once more, on a PostgreSQL of their own.
PYTEST := $(BIN)/python -m pytest -n $(or $(JOBS),auto) --dist worksteal
test: install ## Run every test whose parts exist here, naming what is skipped
	$(PYTEST) $(PYTEST_ARGS)
	TEST_DATABASE=postgres $(PYTEST) $(PYTEST_ARGS)

crash: install ## Kill real processes at every point of an order's way and judge what became of it
	$(BIN)/python -m tests.crash $(CRASH_ARGS)

# One seed, one run: `make simulate SEEDS=10000`, `make simulate SEEDS=500 FROM=20001 MODE=safety`;
# `python -m tests.simulation --replay SEED --mode MODE` prints what happens in one of them.
SEEDS ?= 200
FROM ?= 1
MODE ?= both
simulate: install ## Whole days of faults on a made-up clock: SEEDS=200 FROM=1 MODE=safety|liveness|both
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) --from $(FROM) --mode $(MODE)

burst: install ## A thousand stops of one account in one tick, at each broker's limits: about eight minutes
	$(BIN)/python -m pytest tests/e2e/exits/test_burst.py --burst $(or $(STOPS),1000) -s --timeout=900 -p no:randomly

soak: install ## A market day at speed, faults on schedule: every stop, memory, descriptors. SOAK_ARGS="--minutes 15"
	$(BIN)/python -m tests.soak $(SOAK_ARGS)

bench: install ## Speed, side by side with the specification's own design: a quarter of an hour. BENCH_ARGS="--rows NAME"
	$(IN_DEVELOPMENT) $(BIN)/python manage.py benchmark $(BENCH_ARGS)

mutants: install ## Evil edits of the order path, each of which the tests must notice
	$(BIN)/python -m tests.mutants.run $(MUTANTS)

fmt: install ## Format and mend what can be mended by machine
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .

lint: install ## Style, format and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell $$(git ls-files 2>/dev/null | grep -v -e '^tests/data/' -e '/vendor/')

types: install ## mypy, strict
	$(IN_DEVELOPMENT) $(BIN)/mypy .

arch: install ## Who may import whom
	$(BIN)/lint-imports --no-logo

migrations: install ## Models and migrations agree; Django's own checks pass
	$(IN_DEVELOPMENT) $(BIN)/python manage.py check --fail-level WARNING
	$(IN_DEVELOPMENT) $(BIN)/python manage.py makemigrations --check --dry-run

check: lint types arch migrations test ## All that CI runs

lock: $(UV) ## Resolve pyproject.toml again into both lock files
	$(UV) pip compile --quiet --no-header --no-annotate --python-version 3.11 pyproject.toml -o requirements.txt
	$(UV) pip compile --quiet --no-header --no-annotate --python-version 3.11 --group dev pyproject.toml -o requirements-dev.txt

clean: ## Remove .venv and caches; data and .env stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache staticfiles
