# make run      set up .venv, install the package (compiled where a compiler is at hand), start the broker
# make test     set up everything the tests need, then lint, types, tests interpreted, tests compiled
# make help     the other targets

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name))))
CONFIG ?= etc/mqttbroker.toml

# The product, installed as a user would; and the tools, which work on the tree and never see an installed copy.
RUN := .venv
TOOLS := .venv-test
IN_TOOLS := $(TOOLS)/bin/python
COMPILED := build/compiled

SOURCES := $(shell find twisted_mqtt gateways twisted -type f -not -name '*.pyc' -not -name dropin.cache 2>/dev/null)
PACKAGING := setup.cfg setup.py pyproject.toml

# "-n 2" suits the two cores that the tests promise to run on; a file stays together, for what its tests share.
PYTEST := -m pytest -n $(or $(WORKERS),2) --dist loadfile --hypothesis-profile=$(or $(PROFILE),ci)

.PHONY: help run certs test lint types test-interpreted test-compiled test-lowest compiled services fuzz websocket-suite \
	crash bench bench-kept bench-gateways bench-watched stress-management extensions docs clean

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

run: $(RUN)/.installed ## start the broker with etc/mqttbroker.toml (CONFIG=FILE for another)
	exec $(RUN)/bin/twistd --nodaemon --pidfile= mqttbroker --config $(CONFIG)

$(RUN)/.installed: $(SOURCES) $(PACKAGING) | $(RUN)/bin/python
	@echo "Installing the broker into $(RUN), compiled where there is a C compiler: two minutes, once."
	@echo "(make run BUILD_EXTENSION=no takes seconds and is several times slower afterwards.)"
	@BUILD_PROGRESS=/proc/$$$$/fd/2 $(RUN)/bin/python -m pip install --disable-pip-version-check ".[management]"
	@touch $@

certs: $(RUN)/.installed ## sample certificates in etc/certs, for the TLS listeners
	$(RUN)/bin/python etc/make_certs.py etc/certs

$(RUN)/bin/python $(TOOLS)/bin/python: %/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed (or name it: make PYTHON=...)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11"; exit 1; }
	$(PYTHON) -m venv $* || { rm -rf $*; echo "venv is missing (Debian: python3-venv)"; exit 1; }

# Dependencies only, read from setup.cfg: the tests import the packages from the tree.
$(TOOLS)/.installed: setup.cfg .ci/requirements | $(TOOLS)/bin/python
	.ci/requirements test > $(TOOLS)/requirements.txt
	$(IN_TOOLS) -m pip install --quiet --disable-pip-version-check -r $(TOOLS)/requirements.txt
	touch $@

$(TOOLS)/.bench: setup.cfg $(TOOLS)/.installed
	PYTHON="$(PYTHON)" tests/services bench
	.ci/requirements bench > $(TOOLS)/requirements-bench.txt
	$(IN_TOOLS) -m pip install --quiet --disable-pip-version-check -r $(TOOLS)/requirements-bench.txt
	touch $@

services: ## install the brokers, clients and compilers that the tests use
	@PYTHON="$(PYTHON)" tests/services

tests/node_modules/.installed: tests/package.json | services
	cd tests && npm install --no-package-lock --no-audit --no-fund --loglevel=error
	touch $@

# Each step on its own, in this order, so that the cheapest says first what is wrong.
test: ## all set-up, then every check: lint, types, tests interpreted and compiled
	$(MAKE) --no-print-directory services
	$(MAKE) --no-print-directory $(TOOLS)/.installed tests/node_modules/.installed
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory types
	$(MAKE) --no-print-directory test-compiled
	$(MAKE) --no-print-directory test-interpreted

lint: $(TOOLS)/.installed ## ruff, the linter and the formatter
	$(IN_TOOLS) -m ruff check .
	$(IN_TOOLS) -m ruff format --check --quiet .

types: $(TOOLS)/.installed ## mypy, strict
	$(IN_TOOLS) -m mypy

test-interpreted: $(TOOLS)/.installed ## every test, from the tree
	$(IN_TOOLS) $(PYTEST) $(TESTS)

test-compiled: compiled ## all but the slow tests, on the compiled core
	@if [ -e $(COMPILED)/.compiled ]; then \
		cd $(COMPILED) && ../../$(IN_TOOLS) $(PYTEST) --compiled -m "not slow" $(TESTS); \
	fi

test-lowest: ## the tests in memory, with the lowest version of each requirement
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.ci/requirements --lowest test > .venv-lowest/requirements.txt
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -r .venv-lowest/requirements.txt
	.venv-lowest/bin/python $(PYTEST) -m "not slow and not system" tests --ignore=tests/system --ignore=tests/fuzz

compiled: $(TOOLS)/.installed ## a copy of the tree with the core compiled, in build/compiled
	$(IN_TOOLS) .ci/compiled $(COMPILED)

websocket-suite: $(TOOLS)/.installed ## every case of the WebSocket test suite: up to nine minutes, where "make test" takes twenty seconds of it
	WEBSOCKET_SUITE=all $(IN_TOOLS) -m pytest -q tests/system/test_websocket_suite.py

crash: $(TOOLS)/.installed ## kill the broker under load ROUNDS times and look for what it had acknowledged (CLIENTS=gateways for those of the gateways too)
	$(IN_TOOLS) -m tests.crash $(or $(ROUNDS),300) $(or $(SEED),1) $(CLIENTS)

fuzz: $(TOOLS)/.installed ## random input, for FUZZ_SECONDS (600) in each test
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),600) $(IN_TOOLS) $(PYTEST) --dist load --timeout=0 tests/fuzz

extensions: $(TOOLS)/.installed ## load, unload and reload every extension ROUNDS (200) times while clients exchange messages
	EXTENSION_ROUNDS=$(or $(ROUNDS),200) $(IN_TOOLS) -m pytest tests/node/test_extensions_under_load.py

bench-gateways: compiled $(TOOLS)/.bench ## the gateways beside other servers of their protocols; prints tables
	$(IN_TOOLS) -m bench.gateways

bench: compiled $(TOOLS)/.bench ## compare with other brokers; writes docs/performance.md (see also bench-kept)
	$(IN_TOOLS) -m bench

stress-management: compiled ## page through SESSIONS (100000) sessions and ten times as many subscriptions while clients exchange messages
	cd $(COMPILED) && MANAGEMENT_SESSIONS=$(or $(SESSIONS),100000) ../../$(IN_TOOLS) -m pytest -q --compiled --timeout=0 tests/system/test_management.py

bench-watched: compiled $(TOOLS)/.bench ## what Prometheus, $$SYS and a trace cost, all together; two minutes; fails above 3 %
	$(IN_TOOLS) -m bench.watched

bench-kept: compiled $(TOOLS)/.bench ## the cost of keeping messages; five minutes; writes docs/durability.md
	$(IN_TOOLS) -m bench.kept

docs: $(TOOLS)/.installed ## write the generated documents again
	$(IN_TOOLS) -m twisted_mqtt.config.document
	$(IN_TOOLS) -m tests.vectors_doc
	$(IN_TOOLS) -m tests.interworking
	$(IN_TOOLS) -m twisted_mqtt.management.document

clean: ## remove environments, builds and caches
	rm -rf $(RUN) $(TOOLS) .venv-lowest build dist tests/node_modules *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find twisted_mqtt gateways twisted tests bench -name __pycache__ -prune -exec rm -rf {} +
	find twisted -name dropin.cache -delete
