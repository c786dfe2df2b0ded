# Everything runs in a virtual environment of its own; a fresh clone needs Python (3.11 or later) and make.
#   make demo PYTHON=python3.13 VENV=/tmp/ferbench-venv     another interpreter, another place
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ACTIVE := PATH="$(CURDIR)/$(BIN):$$PATH"
ifneq ($(filter /%,$(VENV)),)
ACTIVE := PATH="$(BIN):$$PATH"
endif

PLUGIN_PROJECTS := $(wildcard plugins/*/pyproject.toml)
# What runs cells on a cluster brings much with it that one machine does not need.
ON_CLUSTERS := plugins/ferbench-ray/pyproject.toml plugins/ferbench-slurm/pyproject.toml
# What runs are watched with, of which a demo needs nothing.
LOGGERS := plugins/ferbench-tensorboard/pyproject.toml
PLUGIN_FLAGS := $(patsubst %/pyproject.toml,-e %,$(filter-out $(ON_CLUSTERS) $(LOGGERS),$(PLUGIN_PROJECTS)))
PLUGIN_TEST_FLAGS := $(patsubst %/pyproject.toml,-e '%[test]',$(PLUGIN_PROJECTS))
PROJECTS := pyproject.toml $(PLUGIN_PROJECTS)
SOURCES := ferbench plugins tests docs conftest.py
VERSIONED := ferbench/version.py $(wildcard plugins/*/ferbench_*/__init__.py)
PYTEST_FLAGS ?=
BENCH_GPU_FLAGS ?=
TESTS = $(ACTIVE) OMP_NUM_THREADS=1 python -m pytest --numprocesses auto

DEMO_RUNS ?= runs/demo
DEMO_STEPS ?= 800

# What CI installs: `make test LOCK=requirements.lock` is the same at each place and time, without LOCK it is what is newest.
LOCK ?=
INSTALL_LOCKED = $(if $(LOCK),$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r $(LOCK))

BOARD ?= leaderboard
SITE ?= site/board

.PHONY: help demo check test test-all lint format bench bench-gpu docs board dist release man lock clean FORCE
.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## install, train two methods on the built-in faces, show the leaderboard
	@echo "Two methods on the built-in faces, 5 % of the labels, one seed, $(DEMO_STEPS) of the standard 1800 steps."
	$(ACTIVE) ferbench run --method fixmatch,supervised@weak,supervised@strong --ratio 0.05 --seed 0 --device cpu \
	    --set steps=$(DEMO_STEPS) --jobs 2 --runs $(DEMO_RUNS)
	$(ACTIVE) ferbench report $$(ls -td $(DEMO_RUNS)/*/*/*/fixmatch*/*/seed0 | head -n 1)
	$(ACTIVE) ferbench leaderboard build --runs $(DEMO_RUNS) --out $(DEMO_RUNS)/leaderboard --include-nonstandard
	@echo "Fewer steps than the standard are marked 'not standard' and never stand in a standard table."
	@echo "The records of the standard runs, and their table: leaderboard/"

check: $(VENV)/.installed-test ## the quick tests: some 80 s on two cores, no processes (PYTEST_FLAGS="-k name")
	$(TESTS) -m "not process and not slow and not storm and not fuzz and not gpu" $(PYTEST_FLAGS)

test: $(VENV)/.installed-test ## install what tests need, run what CI runs
	$(TESTS) -m "not storm and not fuzz and not gpu" $(PYTEST_FLAGS)

test-all: $(VENV)/.installed-test ## all tests: processes that train together or are killed, fuzzing, GPUs
	$(TESTS) $(PYTEST_FLAGS)

lint: $(VENV)/.installed-lint ## ruff, mypy and the layering of imports
	$(ACTIVE) ruff check $(SOURCES)
	$(ACTIVE) ruff format --check $(SOURCES)
	$(ACTIVE) mypy ferbench $(wildcard plugins/*/ferbench_*)
	$(ACTIVE) lint-imports

format: $(VENV)/.installed-lint ## let ruff format and fix what it can
	$(ACTIVE) ruff check --fix $(SOURCES)
	$(ACTIVE) ruff format $(SOURCES)

bench: $(VENV)/.installed-test ## measure speed
	$(ACTIVE) python -m pytest tests/benchmarks --benchmark-only --benchmark-autosave $(PYTEST_FLAGS)

bench-gpu: $(VENV)/.installed-test ## on a GPU: its tests, then every method's step as a table and bench-gpu.json
	$(ACTIVE) python -m pytest -m gpu --numprocesses 0 $(PYTEST_FLAGS)
	$(ACTIVE) python -m tests.benchmarks.on_gpu $(BENCH_GPU_FLAGS)

docs: $(VENV)/.installed-docs ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(ACTIVE) python -m mkdocs build --strict --quiet

board: $(VENV)/.installed ## verify records, build the tables, write the board's pages (BOARD=leaderboard SITE=site/board)
	$(ACTIVE) ferbench verify $(BOARD)/records --board $(BOARD)
	$(ACTIVE) ferbench leaderboard build --records $(BOARD)/records --out $(BOARD)
	$(ACTIVE) ferbench leaderboard site --records $(BOARD)/records --board $(BOARD) --out $(SITE)

dist: $(VENV)/.installed-release ## build sdist and wheel of core and plugins into dist/, check them, list them in build/contents.txt
	rm -rf dist && mkdir -p build
	for project in $(dir $(PROJECTS)); do $(BIN)/python -m build --installer uv --outdir dist $$project || exit 1; done
	$(BIN)/python -m twine check --strict dist/*
	for file in dist/*.whl dist/*.tar.gz; do echo "$$file"; tar -tzf $$file 2>/dev/null || $(BIN)/python -m zipfile -l $$file; done > build/contents.txt
	DIST=$(CURDIR)/dist $(ACTIVE) python -m pytest -n0 tests/e2e/test_release.py

release: ## give everything one version and build it: make release VERSION=0.2.0
	@echo '$(VERSION)' | grep -Eqx '[0-9]+\.[0-9]+\.[0-9]+((a|b|rc)[0-9]+)?' || { echo "name the version: make release VERSION=0.2.0" >&2; exit 1; }
	sed -i 's/^__version__ = .*/__version__ = "$(VERSION)"/' $(VERSIONED)
	sed -i 's/^version: .*/version: $(VERSION)/' CITATION.cff
	$(MAKE) dist man
	@echo "Now write the version and the day into CHANGELOG.md, commit, and push the tag v$(VERSION): release.yml publishes."

man: $(VENV)/.installed-test ## write man pages into build/man (man -l build/man/ferbench-run.1)
	$(ACTIVE) python .ci/man build/man

lock: $(VENV)/.installed-release ## resolve what tests and checks need anew: requirements.lock, for CI
	for project in $(dir $(PROJECTS)); do echo "-e ./$$project[test]"; done | sed 's#^-e ././\[test\]#-e .[test,lint,browser]#' | \
	    $(BIN)/uv pip compile - --output-file requirements.lock --universal --python-version 3.11 --generate-hashes \
	    --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	    $(patsubst %,--no-emit-package %,ferbench $(notdir $(patsubst %/pyproject.toml,%,$(PLUGIN_PROJECTS))))

clean: ## remove the environment and caches; runs and records stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .benchmarks build dist
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# The core and all plugins go into one pip command: a plugin's requirement `ferbench` is then this folder, not a
# download. A stamp file is as old as the installation; a change of any pyproject.toml makes it stale, and so does a
# plugin that comes or goes.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "ferbench needs Python 3.11 or later; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.projects: $(VENV)/.created FORCE
	@echo '$(PROJECTS)' | cmp -s - $@ || echo '$(PROJECTS)' > $@

FORCE:

$(VENV)/.installed: $(VENV)/.projects $(PROJECTS)
	$(BIN)/python -m pip install --disable-pip-version-check -e . $(PLUGIN_FLAGS)
	touch $@

$(VENV)/.installed-test: $(VENV)/.projects $(PROJECTS) $(LOCK)
	$(INSTALL_LOCKED)
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[test]' $(PLUGIN_TEST_FLAGS)
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(VENV)/.projects $(PROJECTS) $(LOCK)
	$(INSTALL_LOCKED)
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[docs]' $(PLUGIN_FLAGS)
	touch $@ $(VENV)/.installed

$(VENV)/.installed-lint: $(VENV)/.projects $(PROJECTS) $(LOCK)
	$(INSTALL_LOCKED)
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[test,lint]' $(PLUGIN_TEST_FLAGS)
	touch $@ $(VENV)/.installed $(VENV)/.installed-test

$(VENV)/.installed-release: $(VENV)/.projects $(PROJECTS)
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[test,release]' $(PLUGIN_TEST_FLAGS)
	touch $@ $(VENV)/.installed $(VENV)/.installed-test
