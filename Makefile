# campaign-streams: `make` lists what there is to do.
#
# Needs Python 3.11 or newer, make and a package index. PYTHON=python3.12 chooses one,
# VENV=<directory> keeps a second environment beside the first.

PYTHON ?= $(firstword $(foreach python,python3 python3.14 python3.13 python3.12 python3.11,\
	$(shell $(python) -c 'import sys; sys.version_info >= (3, 11) and print("$(python)")' \
	2>/dev/null)) python3)
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SCHEMATHESIS := $(VENV)-schemathesis
REDOCLY := $(VENV)-redocly
PYTEST := $(BIN)/python -m pytest
KAFKA := $(BIN)/python -m tests.support.kafka_service
# Importing every test file takes 14 s of CPU, so what needs few of them names those.
LONG_TESTS = $(shell grep -rlE --include='test_*.py' 'mark\.long' tests)
KAFKA_TESTS = $(shell grep -rlE --include='test_*.py' 'kafka|broker' tests)
# Pinned versions with hashes; which index they come from is the business of the one who installs.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header $(UPGRADE)

.DEFAULT_GOAL := help
.PHONY: help demo test coverage mutate test-long test-kafka test-browser chaos fuzz fuzz-worker schemathesis \
	lint-openapi test-all check format documents kafka kafka-stop lock clean \
	bench bench-flat bench-latency bench-queries bench-query-load bench-memory bench-workers \
	bench-hostile bench-receivers bench-stages bench-spike bench-firing bench-backtest bench-stream \
	bench-versions bench-instructions evaluate plots

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## the whole system on this machine; ARGS="--events FILE" for your own events
	@exec $(BIN)/campaign-streams dev $(ARGS)

test: $(INSTALLED) ## all tests that need neither Java nor Docker
	$(PYTEST) -m "not kafka and not long and not browser" $(ARGS)

coverage: $(INSTALLED) ## the same tests, with the share of the code that they run in their own process
	$(PYTEST) -m "not kafka and not long and not browser" --cov --cov-report=term:skip-covered $(ARGS)

mutate: $(INSTALLED) ## changes a module of streams/domain here and there: do tests notice? MODULE=windows
	$(BIN)/python -m tests.mutation $(MODULE) $(ARGS)

test-long: $(INSTALLED) ## the tests that take minutes, such as a whole incident of the demo
	$(PYTEST) -m "long and not kafka" $(LONG_TESTS) $(ARGS)

test-kafka: $(INSTALLED) ## the tests on a real Apache Kafka (needs Java 17 and Maven)
	REQUIRE_KAFKA=1 $(PYTEST) -m "kafka and not long" $(KAFKA_TESTS) $(ARGS)

test-browser: $(INSTALLED) ## the pages in a real browser (needs Chromium)
	REQUIRE_BROWSER=1 $(PYTEST) -m browser tests/browser $(ARGS)

test-all: $(INSTALLED) ## every test, also those that take minutes on a real Apache Kafka
	REQUIRE_KAFKA=1 $(PYTEST) $(ARGS)

test-versions: $(INSTALLED) ## the domain's tests on the other Pythons, 3.11 to 3.14, that are here
	$(BIN)/python -m tests.versions $(ARGS)

wheel-test: $(INSTALLED) ## builds the wheel, installs it into a clean environment, runs it there
	$(BIN)/python -m tests.wheel

bench: $(INSTALLED) ## what an event costs, side by side with its peers (needs Java 17 and Maven)
	$(BIN)/python -m benchmarks $(ARGS)

evaluate: $(INSTALLED) ## how well incidents are spotted, on labelled traffic, against the usual detectors
	$(BIN)/python -m benchmarks.detection $(ARGS)

plots: $(INSTALLED) ## single incidents drawn, with what each detector said when; CAMPAIGNS="37 8" ARGS="--split train"
	$(BIN)/python -m benchmarks.detection.plots $(or $(CAMPAIGNS),8 18 37) $(ARGS)

bench-flat: $(INSTALLED) ## an event's cost against campaigns, partitions and retained windows
	$(BIN)/python -m benchmarks.flat $(ARGS)

bench-latency: $(INSTALLED) ## from a producer's send to the webhook's arrival
	$(BIN)/python -m benchmarks.latency $(ARGS)

bench-queries: $(INSTALLED) ## how long queries take while the worker catches up
	$(BIN)/python -m benchmarks.queries $(ARGS)

bench-query-load: $(INSTALLED) ## answers with 20,000 campaigns live, and what they cost
	$(BIN)/python -m benchmarks.query_load $(ARGS)

bench-memory: $(INSTALLED) ## bytes per live cell, and a restart with many of them
	$(BIN)/python -m benchmarks.memory $(ARGS)

bench-workers: $(INSTALLED) ## an event's cost with two workers against one
	$(BIN)/python -m benchmarks.workers $(ARGS)

bench-hostile: $(INSTALLED) ## honest events beside hostile records: what these cost the others
	$(BIN)/python -m benchmarks.hostile $(ARGS)

bench-receivers: $(INSTALLED) ## hostile receivers beside a good one: what these cost it and the worker
	$(BIN)/python -m benchmarks.receivers $(ARGS)

bench-stream: $(INSTALLED) ## 500 readers of the live stream under load, some of whom stop, and a worker killed
	$(BIN)/python -m benchmarks.stream $(ARGS)

bench-stages: $(INSTALLED) ## where an event's cost goes in the domain, without a broker
	$(BIN)/python -m benchmarks.stages $(ARGS)

bench-versions: $(INSTALLED) ## an event's cost here and in other working trees, TREES, in turns
	$(BIN)/python -m benchmarks.versions $(TREES) $(ARGS)

bench-instructions: $(INSTALLED) ## an event's machine instructions in the domain, here and in TREES (needs Valgrind)
	$(BIN)/python -m benchmarks.instructions $(TREES) $(ARGS)

bench-spike: $(INSTALLED) ## what a look of the detector spike costs, and its state, without a broker
	$(BIN)/python -m benchmarks.spike $(ARGS)

bench-firing: $(INSTALLED) ## what a commit costs while many campaigns fire, without a broker
	$(BIN)/python -m benchmarks.firing $(ARGS)

bench-backtest: $(INSTALLED) ## lines of counts a second that a backtest decides, without a broker
	$(BIN)/python -m benchmarks.backtest $(ARGS)

fuzz: $(INSTALLED) ## mutated records through the counting, without a broker; RECORDS=1000000 SEED=1
	$(BIN)/python -m tests.fuzz --records $(or $(RECORDS),1000000) --seed $(or $(SEED),1) $(ARGS)

fuzz-worker: $(INSTALLED) ## the same through a worker on a real Apache Kafka; RECORDS=1000000 SEED=1
	$(BIN)/python -m tests.fuzz_worker --records $(or $(RECORDS),1000000) --seed $(or $(SEED),1) $(ARGS)

schemathesis: $(INSTALLED) $(SCHEMATHESIS)/.installed ## the API against its own description; EXAMPLES=50, 300 for 10,000 cases
	$(BIN)/python -m tests.openapi --schemathesis $(SCHEMATHESIS)/bin/schemathesis \
		--max-examples $(or $(EXAMPLES),50) $(ARGS)

lint-openapi: $(INSTALLED) $(REDOCLY)/.installed ## the API's description by Redocly CLI (needs Node 20.19 or newer)
	$(BIN)/python -m tests.openapi.lint $(REDOCLY)/node_modules/.bin/redocly

chaos: $(INSTALLED) ## faults on a real Apache Kafka, counted independently; ROUNDS=8 SEED=1
	$(BIN)/python -m tests.chaos --rounds $(or $(ROUNDS),8) --seed $(or $(SEED),1) $(ARGS)

chaos-faust: $(INSTALLED) ## the same faults and events, with stock Faust; ROUNDS=10 SEED=1
	$(BIN)/python -m tests.chaos --program faust --rate 1000 --rounds $(or $(ROUNDS),10) \
		--seed $(or $(SEED),1) $(ARGS)

check: $(INSTALLED) ## linters, formatting, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

documents: $(INSTALLED) ## writes what the example configuration and the docs say of topics, receivers and detectors
	$(BIN)/python -m tests.support.documents

format: $(INSTALLED) ## put the code into its format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

kafka: $(INSTALLED) ## start a real Apache Kafka, PORT=9092 if free (needs Java 17 and Maven)
	@$(KAFKA) start $(if $(PORT),--port $(PORT))

kafka-stop: $(INSTALLED) ## stop that Kafka and remove its data
	@$(KAFKA) stop

lock: $(INSTALLED) ## resolve the dependencies anew; UPGRADE=--upgrade for newer versions
	$(PIP) install uv
	$(LOCK) --extra demo pyproject.toml -o requirements.lock >/dev/null
	printf 'hatchling\neditables\n' | $(LOCK) -c requirements.lock \
		--extra demo --group dev pyproject.toml - -o requirements-dev.lock >/dev/null
	$(LOCK) -c requirements-dev.lock --group schemathesis \
		-o requirements-schemathesis.lock >/dev/null
	printf 'hatchling\n' | $(LOCK) -c requirements-dev.lock - -o requirements-build.lock >/dev/null

clean: ## remove what was built and installed
	rm -rf $(VENV) $(SCHEMATHESIS) $(REDOCLY) $(VENV)-3.* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'campaign-streams needs Python 3.11 or newer, $(PYTHON) is not:' \
			'make PYTHON=python3.12 …' >&2; exit 1; }
	@echo "installing into $(VENV) (once, about half a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --require-hashes --no-deps --requirement requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(SCHEMATHESIS)/.installed: requirements-schemathesis.lock
	@echo "installing into $(SCHEMATHESIS)"
	@$(PYTHON) -m venv $(SCHEMATHESIS)
	@$(SCHEMATHESIS)/bin/python -m pip --disable-pip-version-check --quiet \
		install --require-hashes --no-deps --requirement requirements-schemathesis.lock
	@touch $@

$(REDOCLY)/.installed: tests/openapi/lint/package.json tests/openapi/lint/package-lock.json
	@echo "installing into $(REDOCLY)"
	@mkdir -p $(REDOCLY)
	@cp $^ $(REDOCLY)/
	@npm ci --prefix $(REDOCLY) --ignore-scripts --no-audit --no-fund --no-update-notifier --silent
	@touch $@
