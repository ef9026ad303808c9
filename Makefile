# Every target sets up what it needs in .venv and says so.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Seeds enough to tell a drop from chance; arithmetic that does not depend on the processor. The speed is let fall far,
# since a machine that others use too is now and then half as fast.
CHECK_RUN := xnli-mini --model mini-mbert --seed 1,2,3 --language en,es,ru,th,zh --max-train 3000 --dtype float32

.PHONY: help setup demo check bless test test-slow bench torture picture docs notebook lint clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## install xeval and its exact dependencies into .venv

$(STAMP): pyproject.toml constraints.txt xeval/support/version.py
	@echo "Installing xeval and the exact versions of constraints.txt into $(VENV) (once; about 2 minutes)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup ## fine-tune a small encoder and its student on English, evaluate both in 15 languages; no network (2 minutes)
	$(BIN)/xeval run xnli-mini --model mini-mbert --model mini-distilmbert --results .demo/results
	@echo "The same encoder again, with two of its labels swapped, to show what a diagnosis looks like"
	@rm -rf .demo/relabelled
	$(BIN)/xeval export .demo/results/xnli-mini/mini-mbert/mini-seed42-* .demo/relabelled
	sed -i.bak 's/"entailment"/"other"/; s/"contradiction"/"entailment"/; s/"other"/"contradiction"/' .demo/relabelled/config.json
	$(BIN)/xeval run xnli-mini --no-train --model .demo/relabelled --language en,es --results .demo/results
	$(BIN)/xeval report --results .demo/results --output .demo/report.md
	$(BIN)/xeval report --results .demo/results --output .demo/report.html
	@echo "Written: .demo/report.md, and the same as a page, .demo/report.html"

# With bytecode: each of the processes that tests start would compile all of xeval again.
test: setup ## run the tests, two at a time, in under 10 minutes on two cores
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m 'not slow' --numprocesses 2 --dist loadfile

test-slow: setup ## run the tests that take minutes each
	$(BIN)/python -m pytest -m slow

bench: setup ## compare the speed of training and evaluation with the transformers Trainer (16 minutes)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks

torture: setup ## run the tests behind docs/reliability.md: kills, full disks, damage, outages (an hour or more)
	$(BIN)/python -m pytest -q tests/torture

check: setup ## compare the microcosm with its committed baseline, as CI does (a minute and a half)
	rm -rf .check
	$(BIN)/xeval run $(CHECK_RUN) --results .check/results
	$(BIN)/xeval check --results .check/results --baseline results/baselines/xnli-mini.toml --throughput-threshold 0.3

bless: setup ## make that baseline again, for you to review and commit
	rm -rf .check
	$(BIN)/xeval run $(CHECK_RUN) --results .check/results
	$(BIN)/xeval bless --results .check/results --output results/baselines/xnli-mini.toml

picture: ## draw the README's picture of the demo's report (needs chromium)
	chromium --headless --no-sandbox --hide-scrollbars --window-size=1200,960 \
		--screenshot=docs/pictures/report.png file://$(CURDIR)/.demo/report.html

docs: setup ## write docs/reference/ from the code, and build the site in build/site; warnings are errors
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python -m docs.generate
	$(BIN)/python -m sphinx -q -W --keep-going -E -b html -d build/site-cache docs build/site
	@echo "Open build/site/index.html"

notebook: setup ## execute the notebook of docs/, as a page in build/notebook (1 to 2 minutes)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[notebook]'
	rm -rf build/notebook && mkdir -p build/notebook && cp docs/notebook.ipynb build/notebook
	$(BIN)/python -m nbconvert --to html --execute build/notebook/notebook.ipynb
	@echo "Open build/notebook/notebook.html"

lint: setup ## run ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove .venv and what the demo and the gate made
	rm -rf $(VENV) .demo .check
