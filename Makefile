# What can be done with authsvc from a checkout; `make` alone prints it. Needs GNU make 4 and bash.

SHELL := /bin/bash
.SHELLFLAGS := -euc
.ONESHELL:
.NOTPARALLEL:
.DEFAULT_GOAL := help

PY := .venv/bin/python
FLASK := $(PY) -m flask --app wsgi

# Settings come from AUTHSVC_* alone: no .env file is read.
export FLASK_SKIP_DOTENV := 1

# These count on the command line only; a variable of the environment that happens to have the name does not.
given = $(filter command,$(origin $1))
ifneq ($(call given,PORTS),)
  comma := ,
  space := $() $()
  export AUTHSVC_BIND := $(subst $(space),$(comma),$(PORTS:%=127.0.0.1:%))
else
  unexport PORTS
endif
ifneq ($(call given,DATA),)
  export AUTHSVC_DATA := $(DATA)
else
  unexport DATA
endif

.PHONY: help run admin migrate smoke test examples faults cluster bench bench-scale test-servers captcha-report lint types imports deployment format lock clean venv venv-dev venv-bench venv-report tracing tesseract schema named

help: ## Print this
	@echo 'make …'
	awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: venv schema ## Serve until Ctrl-C: PORTS="8080 3000" DATA=var
	@$(PY) -m gunicorn -c config/gunicorn.conf.py wsgi:app &
	# gunicorn by itself would take the SIGHUP of a closed terminal for the wish to reload, and stay.
	trap 'kill "$$!"; wait "$$!"; exit' HUP INT TERM
	wait "$$!"

admin: named venv schema ## Make an administrator: NAME=… EMAIL=… DATA=var; asks, or takes AUTHSVC_ADMIN_PASSWORD
	@export AUTHSVC_LOG_LEVEL="$${AUTHSVC_LOG_LEVEL-warning}"
	exec $(FLASK) create-admin $(if $(call given,EMAIL),--email="$$EMAIL") -- "$$NAME"

named:
	@if [ -z '$(call given,NAME)' ]; then
	    echo 'authsvc: say who is to be an administrator: make admin NAME=… [EMAIL=…]' >&2
	    exit 1
	fi

migrate: venv ## Bring the database to the newest schema (run and admin do so by themselves)
	@exec $(FLASK) migrate

smoke: ## Ask every example of the documents; BASE_8080=… BASE_3000=… for a service that runs already
	@exec tests/smoke.sh

test: venv-dev ## Run the tests: ARGS="-k captcha"
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then tests/install-servers.sh; fi
	exec $(PY) -m pytest $(ARGS)

examples: venv-dev ## Make the examples of the OpenAPI documents from the golden answers
	@exec $(PY) -m tests.dialects.make_examples

faults: venv-dev ## Kill, freeze and starve what the service stands on, under traffic, and print what came of it
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then tests/install-servers.sh; fi
	exec $(PY) -m pytest tests/faults $(ARGS)

cluster: venv-dev ## Run two nodes on a Redis Cluster and a Galera cluster, and kill one of each under traffic
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then tests/install-servers.sh; fi
	exec $(PY) -m pytest tests/cluster $(ARGS)

bench: venv-bench ## Measure what the service holds, in minutes; table and plot in var/bench
	@exec $(PY) -m tests.bench $(ARGS)

bench-scale: venv-bench ## Measure 1 thousand to 10 million users, and a million requests; takes an hour or so
	@exec $(PY) -m tests.bench scale $(ARGS)

test-servers: ## Install the servers that the tests use: sudo make test-servers
	@exec tests/install-servers.sh

captcha-report: tesseract venv-report ## Let machines read the captcha, and print how many they read: COUNT=400 FOLDER=var/captcha
	@exec $(PY) -m tests.captcha_report $(if $(call given,FOLDER),"$$FOLDER",var/captcha) $(if $(call given,COUNT),"$$COUNT")

lint: imports deployment ## Check the style, that dependencies point one way, and what deploys
	@$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: venv-dev ## Check the types
	@exec $(PY) -m mypy

imports: venv-dev ## Check that dependencies point one way, a part of lint
	@exec .venv/bin/lint-imports --config setup.cfg

deployment: venv-dev ## Check the Dockerfile, compose.yaml and the systemd unit, a part of lint
	@.venv/bin/hadolint config/Dockerfile
	.venv/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec config/compose.yaml
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then tests/install-servers.sh; fi
	if [ -z "$${CI-}" ] && ! command -v systemd-analyze >/dev/null; then
	    echo 'config/authsvc.service is not checked: there is no systemd-analyze.' >&2
	    exit
	fi
	unit=$$(mktemp -d)/authsvc.service
	trap 'rm -r "$${unit%/*}"' EXIT
	sed "s#/srv/authsvc#$$PWD#g" config/authsvc.service >"$$unit"
	systemd-analyze verify "$$unit"

format: venv-dev ## Format the code
	@$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .

lock: venv-dev ## Choose the newest versions that pyproject.toml allows, for every platform
	@compile() {
	    $(PY) -m uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
	        --generate-hashes --only-binary :all: --no-emit-index-url --no-emit-find-links \
	        --annotation-style line --custom-compile-command 'make lock' "$$@" >/dev/null
	}
	compile --output-file config/requirements.lock
	compile --output-file config/requirements-tracing.lock --extra tracing --constraint config/requirements.lock
	compile --output-file config/requirements-dev.lock --extra tracing --group dev --constraint config/requirements-tracing.lock
	compile --output-file config/requirements-bench.lock --extra tracing --group dev --group bench --constraint config/requirements-dev.lock
	compile --output-file config/requirements-report.lock --group report --constraint config/requirements-dev.lock

clean: ## Remove the environment and the caches; the data stay
	@rm -rf .venv .*_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# The schema of the data folder's SQLite can be seen in 0.03 s, while `flask migrate` takes a second or more.
define SCHEMA_IS_NEWEST
import os, sqlite3, sys
newest = max(os.listdir("authsvc/migrations/versions")).partition("_")[0]
try:
    found = sqlite3.connect(sys.argv[1]).execute("SELECT version_num FROM alembic_version").fetchall()
except sqlite3.Error:
    sys.exit(1)
sys.exit(found != [(newest,)])
endef
export SCHEMA_IS_NEWEST

schema: venv
	@file="$${AUTHSVC_DATA:-var}/authsvc.sqlite3"
	if [ -z "$${AUTHSVC_DATABASE_URL-}" ] && [ -f "$$file" ] && $(PY) -ISc "$$SCHEMA_IS_NEWEST" "$$file"; then
	    exit
	fi
	export AUTHSVC_LOG_LEVEL="$${AUTHSVC_LOG_LEVEL-warning}"
	exec $(FLASK) migrate

# The environment is kept beside a copy of the lock file that it was made from, which is written last: whatever was
# interrupted, or made from another lock file, is made anew. flock lets one make at a time do that.
define ENVIRONMENT
is_made_from() { # LOCK: and its Python is still there, and the one that was asked for, if any
    cmp -s "config/$$1" ".venv/$$1" && [ -x $(PY) ] &&
        { [ -z "$${PYTHON-}" ] || [ "$$PYTHON" = "$$(cat .venv/made-with)" ]; }
}
alone() {
    exec 9<config/requirements.lock
    if command -v flock >/dev/null; then flock 9; fi
}
run() { # COMMAND …: a signal to make ends it, with all that it has started
    set -m
    "$$@" &
    set +m
    trap 'kill -- "-$$!"; wait "$$!" || :; exit 1' HUP INT TERM
    wait "$$!"
    trap - HUP INT TERM
}
install_from() { # LOCK
    run $(PY) -m pip --disable-pip-version-check --quiet install --require-hashes --only-binary :all: -r "config/$$1"
    cp "config/$$1" ".venv/$$1"
}
fits() { "$$1" -c 'import sys; sys.exit(sys.implementation.name != "cpython" or not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; }
has_venv() { "$$1" -c 'import ensurepip, venv' 2>/dev/null; }
choose_python() { # prints the first that fits, one that can make environments before one that cannot
    for python in $${PYTHON:-python3.12 python3.11 python3}; do
        if fits "$$python" && has_venv "$$python"; then echo "$$python"; return; fi
    done
    for python in $${PYTHON:-python3.12 python3.11 python3}; do
        if fits "$$python"; then echo "$$python"; return; fi
    done
    found=$${PYTHON:+$$PYTHON is neither}
    echo "authsvc: CPython 3.11 or 3.12 is needed; $${found:-python3.12, python3.11 and python3 are neither}: name one with PYTHON=…" >&2
    exit 1
}
install_venv_of() { # PYTHON: Debian and Ubuntu keep it in a package of its own
    package=$$("$$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    apt_install "$$package" "$$1 cannot make an environment yet"
}
apt_install() { # PACKAGE WHY
    if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "authsvc: $$2: sudo apt install $$1" >&2
        exit 1
    fi
    echo "Installing $$1 …" >&2
    export DEBIAN_FRONTEND=noninteractive
    run apt-get -qq -o DPkg::Lock::Timeout=300 update
    run apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$$1" >/dev/null
}
endef

venv: ## Make the environment .venv: PYTHON=python3.12 (every other target does so by itself)
	@$(ENVIRONMENT)
	if is_made_from requirements.lock; then exit; fi
	alone
	if is_made_from requirements.lock; then exit; fi
	python=$$(choose_python)
	has_venv "$$python" || install_venv_of "$$python"
	echo "Making the environment .venv with $$("$$python" --version), once; this takes a minute …" >&2
	rm -f .venv/*.lock
	run "$$python" -m venv --clear .venv
	echo "$${PYTHON-}" >.venv/made-with
	install_from requirements.lock

venv-dev: venv
	@$(ENVIRONMENT)
	if is_made_from requirements-dev.lock; then exit; fi
	alone
	if is_made_from requirements-dev.lock; then exit; fi
	echo 'Adding the tools of the tests to .venv, once …' >&2
	install_from requirements-dev.lock

venv-bench: venv-dev
	@$(ENVIRONMENT)
	if is_made_from requirements-bench.lock; then exit; fi
	alone
	if is_made_from requirements-bench.lock; then exit; fi
	echo 'Adding what the benchmark compares with to .venv, once …' >&2
	install_from requirements-bench.lock

tracing: venv ## Add to .venv what sends traces (OTEL_EXPORTER_OTLP_ENDPOINT)
	@$(ENVIRONMENT)
	if is_made_from requirements-tracing.lock; then exit; fi
	alone
	install_from requirements-tracing.lock

venv-report: venv
	@$(ENVIRONMENT)
	if is_made_from requirements-report.lock; then exit; fi
	alone
	if is_made_from requirements-report.lock; then exit; fi
	echo 'Adding the readers of captchas to .venv, once …' >&2
	install_from requirements-report.lock

tesseract:
	@$(ENVIRONMENT)
	if command -v tesseract >/dev/null; then exit; fi
	apt_install tesseract-ocr 'the report needs tesseract'
