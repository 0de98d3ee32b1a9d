# make demo         the whole path on a small set that the code itself makes
# make test         the quick tests, of every part
# make test-slow    the other tests, which tests/slow.txt lists
# make lint         the linter, the formatter (which only looks) and the type checker
# make docs         the documentation as a site, in site/; open site/index.html
# make bench        the quick benchmarks; rewrites their section of docs/benchmarks.md
# make clean        remove what these made
#
# Each makes its own virtual environment in .venv; only Python 3.11 or newer is needed.
# Another interpreter: make test PYTHON=/path/to/python3; more processes: make test JOBS=4

VENV := .venv
JOBS ?= 2
PYTHON ?= $(shell for python in python3.12 python3.11 python3 python3.13 python; do \
    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
    then command -v "$$python"; break; fi; done)
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --quiet
PACKAGING := setup.py pyproject.toml libhetero/__init__.py $(wildcard programs/e2hype_*.py)
DOCS_VERSIONS := examples/install/constraints-docs.txt

.PHONY: demo test test-slow lint docs bench clean

demo: $(VENV)/.installed
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python programs/e2hype_demo.py

# Modules are compiled to bytecode once, not by every process of every session, whatever the environment says.
PYTEST = PYTHONDONTWRITEBYTECODE= PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python -m pytest \
    --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

test: $(VENV)/.installed-test
	@$(PYTEST) -m "not slow"

test-slow: $(VENV)/.installed-test
	@$(PYTEST) -m slow

lint: $(VENV)/.installed-test
	@$(VENV)/bin/python -m ruff check --quiet
	@$(VENV)/bin/python -m ruff format --check --quiet
	@$(VENV)/bin/python -m mypy

# A dead link, a page that the navigation lacks, or a request to another machine fails. The variable silences an
# announcement of the theme's makers.
docs: $(VENV)/.installed-docs
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict

bench: $(VENV)/.installed
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python benchmarks/bench.py

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found: install one, or name it with make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Making $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment: install its venv module (python3-venv on Debian)" >&2; exit 1; }

$(VENV)/.installed: $(PACKAGING) | $(VENV)/bin/python
	@echo "Installing libhetero and what it needs (1.3 GB, a minute or two)"
	@$(PIP) install --editable '.[dashboard]'
	@touch $@

$(VENV)/.installed-test: $(PACKAGING) | $(VENV)/bin/python
	@echo "Installing libhetero and what its tests need (1.8 GB, a minute or two)"
	@$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(PACKAGING) $(DOCS_VERSIONS) | $(VENV)/bin/python
	@echo "Installing libhetero and what its documentation needs (1.5 GB, a minute or two)"
	@$(PIP) install --editable '.[docs]' --constraint $(DOCS_VERSIONS)
	@touch $@

clean:
	rm -rf $(VENV) build site dist libhetero.egg-info demo .pytest_cache .mypy_cache .ruff_cache
