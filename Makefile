# A fresh clone needs Python 3.11 or newer, nothing else: every target sets up what it uses.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
MODEL ?= runs/quickstart
# Versions that are installed: constraints.txt, or those of `make lower-bounds`.
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c $(CONSTRAINTS)

# One thread a process: tiny models gain nothing from more, and processes would fight for the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help install backbone quickstart demo notebook test test-slow test-gpu fuzz test-lower-bounds check format docs docker clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

install: $(VENV)/.installed-dev ## Set up .venv with all that tests and checks need

backbone: $(VENV)/.installed ## Fetch the quickstart's encoder, unless it's there
	$(BIN)/multitask-encoder get-backbone minilm

quickstart: $(VENV)/.installed-report backbone ## Train the small three-task model and show what it answers
	$(BIN)/multitask-encoder train configs/quickstart.yaml

notebook: $(VENV)/.installed-notebook backbone ## Open the walkthrough in Jupyter
	$(BIN)/jupyter lab notebooks/multitask_walkthrough.ipynb

demo: $(VENV)/.installed-demo ## Show a model's answers in a browser: MODEL=runs/mine, else the quickstart's
	$(BIN)/multitask-encoder demo --model $(MODEL)

test: install ## Run the tests
	$(PYTEST) -n auto

test-slow: install ## Run the long tests
	$(PYTEST) -m slow

test-gpu: install ## Run the tests of a GPU, where there is one
	GPU_TESTS=1 $(PYTEST) -m gpu

fuzz: install ## Change what users hand in at random, 5,000 times, and look for answers that are none
	$(BIN)/python tests/fuzz.py

test-lower-bounds: $(VENV)/.created ## Run the tests with the oldest versions that pyproject.toml allows
	$(BIN)/python scripts/lower_bounds.py > $(VENV)/lower_bounds.txt
	$(MAKE) test VENV=$(VENV)-lower-bounds CONSTRAINTS=$(VENV)/lower_bounds.txt

check: install ## Check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install ## Format the code, fixing what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install ## Build the guide into site/; a broken link ends it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docker: ## Build the image and train the quickstart in it
	docker build -t ml-apprentice .
	docker run --rm ml-apprentice

clean: ## Remove .venv, site/ and caches; runs/ and backbones/ stay
	rm -rf .venv .venv-lower-bounds site build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp a step: pip runs again only when the dependencies have changed.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	@# The first pip that reads dependency groups.
	$(BIN)/python -m pip install --disable-pip-version-check --quiet 'pip>=25.1'
	@touch $@

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS) $(VENV)/.created
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.installed-%: $(VENV)/.installed
	$(PIP_INSTALL) -e '.[$*]'
	@touch $@

# After the runtime dependencies, so that torch is there before anything that asks for some torch.
$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP_INSTALL) -e '.[all]' --group dev
	@touch $@
