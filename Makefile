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
DEVICE ?=
TARGETS ?=
EACH ?= 120
ARGS ?=
MINUTES ?=

.PHONY: help demo serve test test-long contract check format proto accuracy train export model-speed record bench bench-docs bench-growth bench-import bench-reranking bench-rivals bench-instruments bench-generator bench-index bench-vectors bench-gpu bench-duplicates bench-bulk fuzz lock audit chaos soak bench-views docs docs-serve reference pictures page-pictures dashboard clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## a photo in, lookalikes out: the whole stack on this machine, once (CATALOG=folder|cc0, PHOTO=file)
	@$(BIN)/python -m lookalike_service.demo $(if $(CATALOG),--catalog "$(CATALOG)") $(if $(PHOTO),--photo "$(PHOTO)")

serve: $(VENV)/.run ## keep the stack running until Ctrl-C (page on http://127.0.0.1:8080, gRPC on 127.0.0.1:50051)
	@$(BIN)/python -m lookalike_service.embedded

test: $(VENV)/.dev $(VENV)/.browser ## all tests
	@$(BIN)/python -m pytest tests/unit tests/contract tests/integration -m "not long"

test-long: $(VENV)/.dev ## the tests that take longer than their worth on every commit
	@$(BIN)/python -m pytest tests -m long

contract: $(VENV)/.dev ## the contract suites on all engines, or on yours (MILVUS_URI=, MILVUS_TOKEN=, DATABASE_URL=)
	@$(if $(MILVUS_URI),MILVUS_URI='$(MILVUS_URI)') $(if $(MILVUS_TOKEN),MILVUS_TOKEN='$(MILVUS_TOKEN)') $(if $(DATABASE_URL),DATABASE_URL='$(DATABASE_URL)') $(BIN)/python -m pytest tests/contract

check: $(VENV)/.dev ## formatting, lint, types, proto lint, stale stubs and references
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/buf lint && .ci/stubs-fresh $(BIN)/python
	@PYTHONPATH=tests $(BIN)/python -m documentation --check

format: $(VENV)/.dev ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

proto: $(VENV)/.dev ## generate the stubs in client/lookalike/v1
	@.ci/generate-stubs $(BIN)/python client

accuracy: $(VENV)/.dev ## figures of the served ensemble on photographs (DATA=folder); writes build/accuracy.json
	@$(BIN)/python -m lookalike_export.accuracy --data $(DATA)

train: $(VENV)/.dev ## train one stage (STAGE=detect|keypoints|segment|embed, DATA=folder, START=last.pt or model.onnx)
	@$(BIN)/python -m lookalike_export train $(STAGE) --data $(DATA) $(if $(START),--start $(START))

export: $(VENV)/.dev ## write the models that Triton serves (STAGE=one, TARGET=onnx|tensorrt, FORCE=1)
	@$(BIN)/python -m lookalike_export export $(STAGE) --target $(TARGET) $(if $(FORCE),--force)

model-speed: $(VENV)/.dev ## time of each stage against plain EfficientNet-Lite0; writes build/model_speed.json
	@$(BIN)/python -m lookalike_export.model_speed

record: $(VENV)/.dev ## remember what make accuracy measured, in export/figures.json
	@$(BIN)/python -m lookalike_export record

bench: $(VENV)/.dev ## how fast and how frugal the served pipeline is (ONLY=KEY, QUICK=1, DATA=folder); writes build/bench.json
	@PYTHONPATH=tests $(BIN)/python -m bench --data $(DATA) $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick)

bench-docs: $(VENV)/.dev ## put the figures of bench, bench-index and bench-vectors, and what follows from them, into docs/
	@PYTHONPATH=tests $(BIN)/python -m bench.document
	@PYTHONPATH=tests $(BIN)/python -m bench.capacity

bench-growth: $(VENV)/.dev ## throughput against cores, garments, photo size and catalog size; writes build/bench_*.png
	@PYTHONPATH=tests $(BIN)/python -m bench.growth --data $(DATA)

bench-import: $(VENV)/.dev ## how much faster an unchanged import is; models of 60 ms, index in memory
	@PYTHONPATH=tests $(BIN)/python tests/bench/import_again.py

bench-bulk: $(VENV)/.dev ## what lookalike bulk costs beside the models, in its workers and on the way into the servers
	@PYTHONPATH=tests $(BIN)/python tests/bench/bulk.py embed
	@PYTHONPATH=tests $(BIN)/python tests/bench/bulk.py load

bench-reranking: $(VENV)/.dev ## what weighing colors does to the ten best
	@PYTHONPATH=tests $(BIN)/python tests/bench/reranking.py

bench-rivals: $(VENV)/.dev ## the best options of FastAPI and LitServe on this machine; writes build/bench_rivals.json
	@PYTHONPATH=tests $(BIN)/python -m bench.rival_sweep --data $(DATA)

bench-instruments: $(VENV)/.dev ## what metrics, traces and logs cost a search; writes build/bench_instruments.json
	@PYTHONPATH=tests $(BIN)/python -m bench.instruments

bench-duplicates: $(VENV)/.dev ## the same picture under two products: precision, recall, pace; writes build/bench_duplicates.json
	@PYTHONPATH=tests $(BIN)/python -m bench.duplicates --data $(DATA)

bench-generator: $(VENV)/.dev ## what lookalike bench itself costs, against a server that answers at once
	@PYTHONPATH=tests $(BIN)/python tests/bench/generator.py

bench-index: $(VENV)/.dev ## the index at 10k, 100k and 1M vectors on a real Milvus (SIZES=, QUICK=1, MINUTES=25, DATA=folder); writes build/bench_index.json
	@PYTHONPATH=tests $(BIN)/python -m bench.index --data $(DATA) $(if $(SIZES),--sizes $(SIZES)) $(if $(QUICK),--quick) $(if $(MINUTES),--minutes $(MINUTES))

bench-vectors: $(VENV)/.dev ## what kinds of index take, find and cost (ROWS=, QUICK=1, DATA=folder); writes build/bench_vectors.json
	@PYTHONPATH=tests $(BIN)/python -m bench.compact --data $(DATA) $(if $(ROWS),--rows $(ROWS)) $(if $(QUICK),--quick)

bench-views: $(VENV)/.dev ## what 1,000 views of products a second cost the searches (DATA=folder); writes build/bench_views.json
	@PYTHONPATH=tests $(BIN)/python -m bench.views --data $(DATA)

bench-gpu: $(VENV)/.dev ## graphs and ensemble on a GPU (DEVICE=cpu rehearses it); writes build/bench_gpu.json
	@PYTHONPATH=tests $(BIN)/python -m bench.gpu --data $(DATA) $(if $(filter cpu,$(DEVICE)),--device cpu --quick)

fuzz: $(VENV)/.dev ## hostile bytes at decoding, filters, tokens and requests (EACH=120 seconds, TARGETS="decode ..."); build/fuzz.json
	@PYTHONPATH=tests $(BIN)/python -m fuzz $(TARGETS) --seconds $(EACH)

lock: $(VENV)/.lock ## pin the packages of both images with their hashes, from pyproject.toml and constraints.txt
	@.ci/lock $(BIN)/uv

audit: $(VENV)/.lock ## known vulnerabilities of what the images install; asks the database of PyPI
	@for image in gateway triton; do $(BIN)/pip-audit --disable-pip --require-hashes -r deploy/$$image/requirements.txt || exit 1; done

chaos: $(VENV)/.dev ## kill everything under load and count what is wrong or lost (ARGS='--kills 20 ...'); writes build/chaos.json
	@PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

soak: $(VENV)/.dev ## half an hour at 70 % of what the stack can do: does anything grow? (MINUTES=30); writes build/soak.json, .png
	@PYTHONPATH=tests $(BIN)/python -m chaos.soak --minutes $(or $(MINUTES),30) --data $(DATA)

docs: $(VENV)/.docs ## the documentation as a site in build/site; every dead link is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-serve: $(VENV)/.docs ## the same at http://127.0.0.1:8000, made anew as the pages change
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve --strict

reference: $(VENV)/.dev ## write docs/api.md from proto/ and docs/settings.md from Settings
	@PYTHONPATH=tests $(BIN)/python -m documentation

pictures: $(VENV)/.dev ## draw the pictures of docs/way_of_a_photo.md, from the models in place
	@PYTHONPATH=tests $(BIN)/python -m documentation.pictures

page-pictures: $(VENV)/.dev $(VENV)/.browser ## docs/pictures/page_*.png, of the rendered wardrobe on the whole stack
	@PYTHONPATH=tests $(BIN)/python tests/page_pictures.py

dashboard: $(VENV)/.dev ## write Grafana's dashboard from deploy/grafana/dashboard.yml
	@$(BIN)/python deploy/grafana/dashboard.py

clean: ## remove what the targets made
	rm -rf $(VENV) build

$(VENV)/.python:
	@.ci/make-venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.python pyproject.toml constraints.txt
	@echo "installing the pinned packages into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cli,service,embedded]'
	@touch $@

$(VENV)/.lock: $(VENV)/.python pyproject.toml constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[lock]'
	@touch $@

$(VENV)/.docs: $(VENV)/.python pyproject.toml constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "installing the tools for tests and training into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt -e '.[dev,export]'
	@.ci/get-helm $(BIN)/python
	@touch $@

# Tried again as long as there is none.
$(VENV)/.browser: $(VENV)/.python
	@.ci/install-browser $@
