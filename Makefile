# Two targets a newcomer needs:
#   make demo   sets up .venv with the core dependencies and captions the example pictures
#   make test   sets up the rest and runs every check
# Python 3.11 or newer with its venv module is all they ask for. Another one: make demo PYTHON=python3.12

SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: help demo test lint format clean

help:
	@sed -n 's/^#  *\(make .*\)/  \1/p' $(MAKEFILE_LIST)

demo: .venv/.core
	@$(BIN)/pali demo

test: lint .venv/.browser
	@$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

lint: .venv/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

format: .venv/.test
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# A test that opens a page is skipped where there is no browser, and says so.
.venv/.browser: .venv/.test tools/get_browser.py
	@echo "Fetching a headless Chromium into .venv/browser for the tests of pages: 70 MB, once."
	@$(BIN)/python tools/get_browser.py && touch $@ || echo "Without a browser of its own; the tests of pages may be skipped."

clean:
	rm -rf .venv build dist

.venv/.made:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"pali needs Python 3.11 or newer, and $(PYTHON) is {v[0]}.{v[1]}. If another one is installed: make PYTHON=python3.12 …")'
	@$(PYTHON) -m venv .venv || { echo "python3 -m venv failed; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@touch $@

.venv/.core: .venv/.made pyproject.toml constraints.txt
	@echo "Setting up .venv with the core dependencies (JAX and Flax, no TensorFlow, no torch): 0.8 GB, some minutes, once."
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

.venv/.test: .venv/.core
	@echo "Setting up .venv with what training and the tests need (SeqIO with TensorFlow, torch): some minutes, once."
	@$(PIP) install --constraint constraints.txt --editable '.[check,train,test]'
	@touch $@
