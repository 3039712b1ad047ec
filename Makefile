# Everything one types while working on Kirby; `make help` lists it.
# Needs Python 3.11 or newer and make. All else is fetched, pinned in requirements.lock, into .venv.

PYTHON ?= python3
# How many processes share the tests: each has its own stores, and most of a test is waiting.
JOBS ?= $(shell n=$$(nproc); echo $$((n > 4 ? 4 : n)))
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
MEMBERS := $(wildcard libs/*/pyproject.toml services/*/pyproject.toml)
STATIC := services/api/src/kirby_api/static
SOURCES := libs services tests bench examples tools
UI_SOURCES := $(shell find web -type f -not -path '*/node_modules/*' -not -path 'web/src/client/*' 2>/dev/null)
# Where the machine keeps the certificates it trusts, uv and Node are to trust them too.
CERTIFICATES := $(wildcard /etc/ssl/certs/ca-certificates.crt)
ifneq ($(CERTIFICATES),)
export UV_SYSTEM_CERTS ?= true
export NODE_EXTRA_CA_CERTS ?= $(CERTIFICATES)
endif
export npm_config_update_notifier := false
say = @printf '\033[1m%s\033[0m\n' $(1)

.DEFAULT_GOAL := help
.PHONY: help setup dev test sim chaos chaos-selftest soak check lint types contracts declared lockcheck web-check format bench dist lock clean

help: ## Lists the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMPS)/members $(STAMPS)/ui ## Makes .venv with everything pinned, and the web UI.

dev: setup ## Starts the whole suite on this machine: make dev ARGS="--home DIR --detach".
	@$(BIN)/kirby dev $(ARGS)

test: setup ## Runs all tests: make test ARGS="-k name"; as root installs what they need.
	@tools/debian-packages
	$(call say,"Running the tests")
	@PATH="$$(tools/node-path):$$PATH" && cd web && npm test --silent
	@$(BIN)/pytest -n $(JOBS) $(ARGS)

sim: setup ## Simulates: make sim SEEDS=10000, or SEED=17 to replay one.
	@$(BIN)/python -m tests.sim $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000))

chaos: setup ## Real processes under random faults: make chaos MINUTES=4 SEED=17.
	@tools/debian-packages
	@$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),4) $(if $(SEED),--seed $(SEED))

chaos-selftest: setup ## Plants bugs, each of which the simulation or the checker must find.
	@$(BIN)/python -m tests.sim.planted

soak: setup ## Processors killed with -9 under load: make soak KILLS=100 SEED=17.
	@$(BIN)/python -m tests.soak --kills $(or $(KILLS),100) $(if $(SEED),--seed $(SEED))

check: lint types contracts declared lockcheck web-check ## Lints, types, import contracts, declared dependencies, pins.

lint: setup
	$(call say,"Style")
	@$(BIN)/ruff check $(wildcard $(SOURCES))
	@$(BIN)/ruff format --check $(wildcard $(SOURCES))

types: setup
	$(call say,"Types")
	@$(BIN)/mypy $(wildcard libs services tests bench tools)

contracts: setup
	$(call say,"Import contracts")
	@$(BIN)/lint-imports

declared: setup
	$(call say,"Every package declares what it imports")
	@tools/declared

lockcheck: setup
	@$(BIN)/python tools/lock_check.py

web-check: setup
	$(call say,"Web UI")
	@PATH="$$(tools/node-path):$$PATH" && cd web && npm run --silent check

format: setup ## Fixes style.
	@$(BIN)/ruff check --fix $(wildcard $(SOURCES))
	@$(BIN)/ruff format $(wildcard $(SOURCES))

bench: setup ## Measures and writes bench/results.md.
	@[ "$$(id -u)" -ne 0 ] || tools/debian-packages cron
	@$(BIN)/python bench/run.py $(ARGS)

dist: setup ## Builds the wheels of all packages into dist/.
	@tools/build-wheels dist

lock: $(STAMPS)/uv ## Pins anew what the packages ask for; UPGRADE=1 takes the newest versions.
	@tools/lock $(if $(UPGRADE),--upgrade)

clean: ## Removes .venv and everything built.
	rm -rf $(VENV) dist $(STATIC) web/node_modules

$(STAMPS)/venv:
	$(call say,"Making $(VENV)")
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Kirby needs Python 3.11 or newer: make PYTHON=/path/to/python3")'
	@$(PYTHON) -m venv --clear $(VENV) || { echo "python3 -m venv does not work; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/uv: $(STAMPS)/venv
	@awk '/^uv==/ { on = 1 } on { print } on && !/\\$$/ { exit }' requirements.lock > $(VENV)/uv.lock.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock.txt
	@touch $@

$(STAMPS)/locked: requirements.lock | $(STAMPS)/uv
	$(call say,"Installing the pinned packages")
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements.lock
	@touch $@

$(STAMPS)/members: $(MEMBERS) $(STAMPS)/locked
	$(call say,"Installing Kirby from this folder")
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(foreach m,$(MEMBERS),-e $(patsubst %/pyproject.toml,%,$(m)))
	@touch $@

$(STAMPS)/node: web/package-lock.json $(STAMPS)/locked
	$(call say,"Installing what builds the web UI")
	@PATH="$$(tools/node-path):$$PATH" && cd web && npm ci --no-progress --loglevel=error
	@touch $@

$(STAMPS)/ui: $(UI_SOURCES) $(STAMPS)/node
	$(call say,"Building the web UI")
	@PATH="$$(tools/node-path):$$PATH" && cd web && npm run --silent build
	@touch $@
