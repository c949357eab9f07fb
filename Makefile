# `make demo` and `make test` are all that a fresh machine needs; `make help` lists the rest.
SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
# What PyPI serves as torch brings gigabytes of CUDA; TORCH_INDEX=https://download.pytorch.org/whl/cpu takes the small build.
TORCH_INDEX ?=
CATALOG ?=
PHOTO ?=
DATA ?= ../shared/data
TARGET ?= onnx

.PHONY: help demo serve test test-long contract check format proto accuracy train export model-speed record bench-import bench-reranking clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## a photo in, lookalikes out: the whole stack on this machine, once (CATALOG=folder|cc0, PHOTO=file)
	@$(BIN)/python -m lookalike_service.demo $(if $(CATALOG),--catalog "$(CATALOG)") $(if $(PHOTO),--photo "$(PHOTO)")

serve: $(VENV)/.run ## keep the stack running until Ctrl-C (gRPC on 127.0.0.1:50051)
	@$(BIN)/python -m lookalike_service.embedded

test: $(VENV)/.dev ## all tests
	@$(BIN)/python -m pytest tests/unit tests/contract tests/integration -m "not long"

test-long: $(VENV)/.dev ## the tests that take longer than their worth on every commit
	@$(BIN)/python -m pytest tests -m long

contract: $(VENV)/.dev ## the contract suites on all engines, or on yours (MILVUS_URI=, MILVUS_TOKEN=, DATABASE_URL=)
	@$(if $(MILVUS_URI),MILVUS_URI='$(MILVUS_URI)') $(if $(MILVUS_TOKEN),MILVUS_TOKEN='$(MILVUS_TOKEN)') $(if $(DATABASE_URL),DATABASE_URL='$(DATABASE_URL)') $(BIN)/python -m pytest tests/contract

check: $(VENV)/.dev ## formatting, lint, types, proto lint, stale stubs
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/buf lint && .ci/stubs-fresh $(BIN)/python

format: $(VENV)/.dev ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

proto: $(VENV)/.dev ## generate the stubs in client/lookalike/v1
	@.ci/generate-stubs $(BIN)/python client

accuracy: $(VENV)/.dev ## figures of the served ensemble on photographs (DATA=folder); writes build/accuracy.json
	@$(BIN)/python -m lookalike_export.accuracy --data $(DATA)

train: $(VENV)/.dev ## train one stage (STAGE=detect|keypoints|segment|embed, DATA=folder)
	@$(BIN)/python -m lookalike_export train $(STAGE) --data $(DATA)

export: $(VENV)/.dev ## write the models that Triton serves (STAGE=one, TARGET=onnx|tensorrt, FORCE=1)
	@$(BIN)/python -m lookalike_export export $(STAGE) --target $(TARGET) $(if $(FORCE),--force)

model-speed: $(VENV)/.dev ## time of each stage against plain EfficientNet-Lite0; writes build/model_speed.json
	@$(BIN)/python -m lookalike_export.model_speed

record: $(VENV)/.dev ## remember what make accuracy measured, in export/figures.json
	@$(BIN)/python -m lookalike_export record

bench-import: $(VENV)/.dev ## how much faster an unchanged import is; models of 60 ms, index in memory
	@PYTHONPATH=tests $(BIN)/python tests/bench/import_again.py

bench-reranking: $(VENV)/.dev ## what weighing colors does to the ten best
	@PYTHONPATH=tests $(BIN)/python tests/bench/reranking.py

clean: ## remove what the targets made
	rm -rf $(VENV) build

$(VENV)/.python:
	@.ci/make-venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.python pyproject.toml constraints.txt
	@echo "installing the pinned packages into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cli,service,embedded]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "installing the tools for tests and training into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt -e '.[dev,export]'
	@touch $@
