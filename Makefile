# make demo    set up .venv, then fetch the default model's backbone (98 MB, once), then extract from four example texts
# make test    set up .venv, then style, types, import contracts, and the tests of some minutes
# make quick   the tests that take no more than a few seconds each
# make rest    the tests that `make test` leaves out: long ones, and those that need a browser or several processes
# make lint    style, types and import contracts; `make format` mends what can be mended
# make docs    set up .venv, then build the documentation site in site/; open site/index.html
# make clean   remove .venv and everything that the checks leave behind

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
# Python compiles what it imports when it imports it; pip would compile all of torch beforehand.
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install -qq --no-compile --constraint constraints.txt
# Workers are processes: threads of their own would only get in each other's way.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

.PHONY: demo test quick rest docs lint style types imports format clean

demo: $(VENV)/.installed
	@$(BIN)/python -m ucuie.cli.demo

test: lint
	@$(PYTEST) -m "not long"

quick: $(VENV)/.installed-dev
	@$(PYTEST) -m "not slow and not long"

rest: $(VENV)/.installed-dev
	@$(PYTEST) -m long

# Warnings are errors: `strict` of mkdocs.yml.
docs: $(VENV)/.installed-docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo 'wrote site/ - open site/index.html in a browser'

lint: style types imports

style: $(VENV)/.installed-dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(VENV)/.installed-dev
	@$(BIN)/mypy

imports: $(VENV)/.installed-dev
	@$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

clean:
	rm -rf $(VENV) demo.html dist site .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache

# $(call timed,WHAT,COMMAND): runs the command, and says what was done and how long it took.
define timed
@printf '  %s ............ ' '$(1)'; start=$$(date +%s); \
$(2) && touch $@ && seconds=$$(($$(date +%s) - start)) && \
printf 'done (%d min %d s)\n' $$((seconds / 60)) $$((seconds % 60))
endef

$(VENV)/bin/python:
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(call timed,setting up $(VENV),$(INSTALL) 'pip>=25.1' && $(INSTALL) --editable '.[serve]')

# pip 25.1 is the first that knows groups.
$(VENV)/.installed-dev: $(VENV)/.installed
	$(call timed,setting up the checks,$(INSTALL) --group dev --editable '.[experiments]')

$(VENV)/.installed-docs: $(VENV)/.installed
	$(call timed,setting up the documentation site,$(INSTALL) --group docs)
