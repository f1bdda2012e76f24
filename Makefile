# Two commands do everything on a machine with Python >= 3.11 and make: `make demo` and `make test`.
# Every target makes the environment that it needs first; a second run reuses it.

PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= 2
ROUNDS ?= 3
PAGES  ?=
WATCH  ?=
TRIGPOINT_FUZZ_INPUTS ?= 5000

PY    := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# one thread for each of the $(JOBS) test processes, and nothing fetched from a model hub
QUIET := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 HF_HUB_OFFLINE=1 MPLBACKEND=Agg

# an environment that was made elsewhere (a copied or moved folder) is made anew
ifneq ($(strip $(shell cat $(STAMP) 2>/dev/null)),$(CURDIR))
.PHONY: $(STAMP)
endif

.PHONY: help setup demo test bench soak nightly docs site
.DEFAULT_GOAL := help

help:
	@echo "make setup   make $(VENV) and install everything for development"
	@echo "make demo    draw a dataset, train on it, measure, write a report (minutes, no download but the packages)"
	@echo "make test    style, types, tests: what has to pass before a change is taken"
	@echo "make docs    run the commands of the documentation (PAGES=quickstart for one page)"
	@echo "make site    the documentation as pages: open site/index.html (WATCH=1: serve it, and follow changes)"
	@echo "make soak    runs that are killed and other faults, then the tests drawn at random, ROUNDS=$(ROUNDS) times with other numbers"
	@echo "make nightly the same with 100,000 damaged files per format: hours"
	@echo "make bench   the benchmarks, as ratios of one run"
	@echo "PYTHON=python3.12 names another Python, JOBS=8 the number of test processes"

setup: $(STAMP)

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "make: expected Python >= 3.11 as '$(PYTHON)', got none; install it, or name it: make PYTHON=python3.12" >&2; \
	  exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: expected Python >= 3.11, got $$($(PYTHON) --version 2>&1); name a newer one: make PYTHON=python3.12" >&2; \
	  exit 2; }
	@test -x $(PY) && $(PY) -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --upgrade "pip>=25.1"
	@echo "installing into $(VENV): some minutes and 6 GB the first time, most of it PyTorch"
	$(PY) -m pip install --quiet --editable ".[train,export]" --group dev
	@printf '%s\n' '$(CURDIR)' > $@

demo: setup
	$(PY) -m trigpoint demo

test: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy --strict src
	$(QUIET) $(PY) -m pytest -n $(JOBS) --dist loadfile --max-worker-restart=0 -m "not soak"

bench: setup
	-$(PY) -m pip install --quiet --no-deps landmarker  # what we are compared with; without it only our numbers
	$(PY) -m benchmarks
	$(PY) -m benchmarks scale

docs: setup
	$(QUIET) $(PY) -m pytest -v tests/docs $(if $(PAGES),-k "$(PAGES)")

site: setup
	$(PY) -m mkdocs $(if $(WATCH),serve,build --strict)

soak: setup
	-$(PY) -m pip install --quiet atheris  # fuzzing led by coverage; without it that part is left out
	$(QUIET) TRIGPOINT_FUZZ_INPUTS=$(TRIGPOINT_FUZZ_INPUTS) $(PY) -m pytest -q -n $(JOBS) --dist load --max-worker-restart=0 -m soak --durations=10
	@set -e; for round in $$(seq 1 $(ROUNDS)); do \
	  echo "round $$round of $(ROUNDS)"; \
	  $(QUIET) HYPOTHESIS_PROFILE=soak $(PY) -m pytest -q -n $(JOBS) --dist loadfile \
	    -m "hypothesis or slow" --hypothesis-seed=$$round; \
	done

nightly:
	$(MAKE) soak TRIGPOINT_FUZZ_INPUTS=100000 ROUNDS=20
