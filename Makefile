# Every target sets up what it needs in .venv and says so.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup demo test test-slow lint clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## install xeval and its exact dependencies into .venv

$(STAMP): pyproject.toml constraints.txt
	@echo "Installing xeval and the exact versions of constraints.txt into $(VENV) (once; about 2 minutes)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup ## a small encoder, fine-tuned on English, evaluated in 15 languages, without a network (2 minutes)
	$(BIN)/xeval run xnli-mini --model mini-mbert --results .demo/results
	$(BIN)/xeval report --results .demo/results --output .demo/report.md
	@echo "The same as Markdown is in .demo/report.md"

test: setup ## the tests, under 10 minutes on two cores
	$(BIN)/python -m pytest -m 'not slow'

test-slow: setup ## the tests that take minutes each
	$(BIN)/python -m pytest -m slow

lint: setup ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean: ## remove .venv and what the demo made
	rm -rf $(VENV) .demo
