# GNU Make 3.81 (macOS has no newer one) and a POSIX shell. `make help` lists what there is.

SHELL = /bin/sh
VENV = .venv
BIN = $(VENV)/bin
ARGS =
PYTEST_ARGS =
# three at a time for two cores: half of the tests wait, for a poll or a scrape, and the other half compute
PARALLEL = -n 3 --dist loadfile --no-loadscope-reorder
UV_VERSION = 0.13.9
PIP_AUDIT_VERSION = 2.10.1

# what the type checker reads; folders that a checkout does not have are left out
TYPED = $(wildcard exporter dashboards alerting tools)
export VENV
# what a shell has set for another Python would be found before what the lock file says; and hundreds of processes of a
# test would each compile all anew
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

.PHONY: help run up down backup restore e2e e2e-compose history test test-all test-slow bench lint audit format lock tools-debian tools-axe tools-grafana tools-3x venv venv-run clean
.DEFAULT_GOAL = help
.NOTPARALLEL:

help: ## this list
	@echo "make TARGET"
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

run: venv-run ## the exporter on a simulated platform; DATABASE=path: on that database (ARGS: more options)
ifdef DATABASE
	@case "$$DATABASE" in /*) database=$$DATABASE ;; *) database=$$PWD/$$DATABASE ;; esac; \
	state=.run/`basename "$$database"`-`printf %s "$$database" | cksum | cut -d' ' -f1`; \
	mkdir -p "$$state"; \
	exec $(BIN)/orchestration-exporter serve --database "$$database" --storage.path "$$state" $(ARGS)
else
	@exec $(BIN)/orchestration-exporter demo $(ARGS)
endif

up: ## the stack in Docker: exporter, Prometheus, Alertmanager, Grafana; DATABASE=path: on that database
	@tools/stack up

down: ## stop the stack; VOLUMES=1: and forget all it knows
	@tools/stack down

backup: ## every volume of the stack and its secrets into a folder: TO=folder
	@tools/stack backup

restore: ## and back: FROM=folder
	@tools/stack restore

HISTORY = .run/history
history: venv-run tools-debian ## a Prometheus data folder with 30 days of the simulated platform (ARGS: backfill's options; INCIDENTS: docs/demo.md)
	@set -e; rm -rf "$(HISTORY)"; mkdir -p "$(HISTORY)"; \
	promtool=`command -v promtool || echo "$$($(BIN)/python -m tools.bring debian | sed "s/^[a-z]* //")/usr/bin/promtool"`; \
	$(BIN)/python -m exporter.demo "$(HISTORY)/platform.db" --history $(or $(DAYS),30)d --duration 0s \
	    $(foreach incident,$(INCIDENTS),--incident $(incident)); \
	$(BIN)/orchestration-exporter backfill --database "$(HISTORY)/platform.db" --storage.path "$(HISTORY)/none" \
	    --output "$(HISTORY)/data" --promtool "$$promtool" $(ARGS); \
	echo "prometheus --storage.tsdb.path=$(HISTORY)/data --storage.tsdb.retention.time=1y --config.file=FILE"

test: venv tools-debian tools-axe tools-grafana lint ## what every change must pass: style, types, tests with the real Prometheus, coverage
	$(BIN)/python -m coverage erase
	$(BIN)/python -m pytest --cov --cov-report= -m "not slow" $(PARALLEL) $(PYTEST_ARGS)
	$(BIN)/python -m coverage report
	@$(BIN)/python -m tests.realtools

test-all: test test-slow ## make test, then what is too slow for it: months of history, whole stacks, other versions

# pytest calls an empty selection a failure (5); a checkout without slow tests is none
test-slow: venv tools-debian
	@if $(BIN)/python -m pytest -m slow --collect-only --quiet >/dev/null 2>&1 || test $$? -ne 5; then \
	    exec $(BIN)/python -m pytest -m slow -o faulthandler_timeout=1800 $(PARALLEL) $(PYTEST_ARGS); \
	else echo "no slow tests in this checkout"; fi

# no part of the tests: making two months of history takes too long for that (docs/alerting.md)
months: venv tools-debian ## judge the rules by a quiet month and by a bad one with twelve incidents (an hour or less)
	$(BIN)/python -m pytest -s tests/quiet_month.py tests/bad_month.py $(PYTEST_ARGS)

e2e: venv tools-debian ## the provisioned Prometheus and Alertmanager for real, without Docker, on every version here
	$(BIN)/python -m pytest -m "slow or not slow" tests/test_stack_real.py $(PYTEST_ARGS)

e2e-compose: venv ## the stack in Docker for real, of images made here: needs root, docker, docker-compose, debootstrap
	$(BIN)/python -m tests.composed $(ARGS)

bench: venv ## measure what a scrape and a poll cost
	$(BIN)/python -m bench $(ARGS)

lint: venv ## style, types, and what bandit finds
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy $(TYPED)
	$(BIN)/python -m tools.findings $(TYPED)

audit: ## look the locked packages up among known vulnerabilities; asks the network
	@set -e; folder=`mktemp -d`; trap 'rm -rf "$$folder"' EXIT; \
	python=`tools/venv python`; "$$python" -m venv "$$folder"; \
	"$$folder/bin/python" -m pip --quiet --disable-pip-version-check install pip-audit==$(PIP_AUDIT_VERSION); \
	for lock in requirements.lock requirements-dev.lock; do \
	    echo "$$lock"; "$$folder/bin/pip-audit" --strict --require-hashes --disable-pip --progress-spinner off -r "$$lock"; \
	done

format: venv ## lay the code out, and mend what the linter can
	$(BIN)/python -m ruff check --fix-only --exit-zero .
	$(BIN)/python -m ruff format .

lock: ## write the lock files anew from pyproject.toml; UPGRADE=1 takes the newest versions
	@set -e; folder=`mktemp -d`; trap 'rm -rf "$$folder"' EXIT; \
	python=`tools/venv python`; "$$python" -m venv "$$folder"; \
	"$$folder/bin/python" -m pip --quiet --disable-pip-version-check install uv==$(UV_VERSION); \
	compile() { "$$folder/bin/uv" pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	    --generate-hashes --no-strip-extras --no-annotate --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) "$$@"; }; \
	compile --group build --output-file requirements.lock; \
	compile --extra dashboards --group build --group dev --constraint requirements.lock \
	    --output-file requirements-dev.lock

tools-debian: venv
	@$(BIN)/python -m tools.bring debian || echo "going on without: see the end"

tools-axe: venv
	@$(BIN)/python -m tools.bring axe || echo "going on without: see the end"

tools-grafana: venv
	@$(BIN)/python -m tools.bring grafana || echo "going on without: see the end"

tools-3x: venv ## build the current Prometheus and Alertmanager with Go for the tests (about 5 minutes, once)
	$(BIN)/python -m tools.bring prometheus-3 alertmanager

venv: ## the environment for development
	@tools/venv dev

venv-run:
	@tools/venv runtime

clean: ## remove all that make made here, but not what .run/ keeps of your databases
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
