# Everything a user or CI does. `make setup` needs Python 3.11 or newer and nothing else.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
LOCK := requirements/cpu.txt
# Installs into a separate folder, which the training stack does not see.
APART = $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --target
SOURCES := deepicd operator charts docs release tests benchmarks

.PHONY: setup quickstart test test-kind test-long cluster-tools images operator-image trainer-image lint format lock docs sbom release bench bench-training check-gpu clean

setup: .venv/complete

# pip installs uv from its own lock; uv then installs the rest several times as fast.
.venv/complete: $(LOCK) requirements/uv.txt requirements/reference.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11: run 'make PYTHON=python3.12 $(MAKECMDGOALS)'" >&2; exit 64; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes $(LOCK)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(APART) .venv/reference -r requirements/reference.txt
	touch $@

quickstart: setup
	$(BIN)/deepicd run manifests/samples/quickstart.yaml

# The operator's tests need a real API server, from `make cluster-tools` or KUBEBUILDER_ASSETS. Without one they are skipped,
# because building it takes 20 minutes. Four processes share these tests, since those on servers mostly wait. The tests that train
# run separately and are distributed by file, since training starts on one core and then uses the other. The many short files that
# import the training stack follow them, so that both processes end together.
LIGHT := tests/unit tests/storage tests/cluster --ignore=tests/unit/training
HEAVY := --no-loadscope-reorder tests/training tests/unit/training

test: setup
	$(PYTEST) --numprocesses 4 --dist worksteal $(LIGHT)
	$(PYTEST) --numprocesses 2 --dist loadfile $(HEAVY)

# Real pods in a new kind cluster, which is deleted at the end; KEEP=1 keeps it, CLUSTER=NAME reuses a kept one.
# Needs docker, kind, kubectl and helm.
test-kind: setup
	$(PYTEST) tests/kind

# Slow tests, of which `make test` runs a sample or none; then runs on two nodes, with KubeRay in a kind cluster.
# Needs Go in addition to the tools of test-kind: it builds KubeRay once into the user's cache. KUBERAY_VERSION names another version.
test-long: setup .venv/mlflow
	$(PYTEST) -m long --numprocesses 4 --dist worksteal $(LIGHT)
	$(PYTEST) -m long --numprocesses 2 --dist loadfile $(HEAVY)
	$(PYTEST) -m long tests/kuberay

# MLflow's own server, which has other versions of what the training stack uses.
.venv/mlflow: requirements/mlflow.txt .venv/complete
	rm -rf $@
	$(APART) $@ -r requirements/mlflow.txt
	touch $@

# Builds the control plane once into the user's cache: about 20 minutes on two cores.
cluster-tools:
	bash tests/cluster/tools/cluster-tools.sh build

# docker build. BASE_IMAGE names another base (by digest for a reproducible build). TRAINER=cpu builds the trainer for trials
# without a GPU, on the operator's base image.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
TRAINER ?= gpu
BUILD := docker build $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) --build-arg VERSION=$(VERSION)
trainer_arguments_gpu :=
trainer_arguments_cpu := --build-arg LOCK=trainer-cpu $(if $(BASE_IMAGE),,--build-arg BASE_IMAGE=$(shell sed -n 's/^ARG BASE_IMAGE=//p' images/operator/Dockerfile))

images: operator-image trainer-image

operator-image:
	$(BUILD) -f images/operator/Dockerfile -t deepicd/operator:$(VERSION) .

trainer-image:
	$(BUILD) $(trainer_arguments_$(TRAINER)) -f images/trainer/Dockerfile -t deepicd/trainer:$(VERSION) .

# For installations without helm; `make test` compares it with the chart.
manifests/install.yaml: $(shell find charts/deepicd -type f)
	printf '# For Kubernetes 1.30 or newer. On 1.29 remove the two objects of admissionregistration.k8s.io, and replace\n# --admission-policy with --no-admission-policy: runs may then name only the Secrets in --allowed-secret=NAME.\n' > $@
	printf 'apiVersion: v1\nkind: Namespace\nmetadata: {name: deepicd-system}\n' >> $@
	helm template deepicd charts/deepicd --namespace deepicd-system --no-hooks \
		--api-versions admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy >> $@

lint: setup
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry deepicd operator
	$(BIN)/hadolint images/*/Dockerfile
	$(BIN)/deepicd-operator crd | diff --unified=1 charts/deepicd/files/crd.yaml -
	$(BIN)/deepicd-operator permissions | diff --unified=1 charts/deepicd/files/permissions.yaml -
	$(BIN)/deepicd-operator admission | diff --unified=1 charts/deepicd/files/admission.yaml -
	$(BIN)/python charts/readme.py | diff --unified=1 charts/deepicd/README.md -

# Also generates the files that `make lint` compares: the CRD from deepicd.spec, the chart's RBAC rules and admission policy
# from the operator, and the chart's README from its values.
format: setup
	$(BIN)/deepicd-operator crd > charts/deepicd/files/crd.yaml
	$(BIN)/deepicd-operator permissions > charts/deepicd/files/permissions.yaml
	$(BIN)/deepicd-operator admission > charts/deepicd/files/admission.yaml
	$(BIN)/python charts/readme.py > charts/deepicd/README.md.new && mv charts/deepicd/README.md.new charts/deepicd/README.md
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

# Needs no network; a broken link is an error. No --quiet: it would hide the warnings that strict mode counts as errors.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

CYCLONEDX := PYTHONPATH=.venv/sbom $(BIN)/python -m cyclonedx_py requirements --output-reproducible

# The packages of each image, from the locks.
sbom: setup
	mkdir -p dist
	$(APART) .venv/sbom -r requirements/sbom.txt
	$(CYCLONEDX) --output-file dist/operator.cdx.json requirements/operator.txt
	$(CYCLONEDX) --output-file dist/trainer.cdx.json requirements/gpu.txt

# Wheel, sdist, chart, bills of materials and SHA256SUMS in dist/, which is emptied first. Needs helm. The same commit gives the
# same bytes. Fails if the tree has changes, or CHANGELOG.md no entry for the version.
release: setup
	$(BIN)/python release/build.py check
	rm -rf dist
	$(MAKE) --no-print-directory sbom
	$(BIN)/python release/build.py build dist
	cat dist/SHA256SUMS

HASHED := --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header
COMPILE := $(BIN)/uv pip compile pyproject.toml $(HASHED) --override requirements/overrides.txt
COMPILE_APART := $(BIN)/uv pip compile $(HASHED) --constraint $(LOCK)
# NVIDIA packages that torch does not load on a machine without a GPU.
UNUSED_ON_CPU := $(foreach name,nvidia-cusolver triton nvidia-nvtx cuda-bindings cuda-pathfinder,--no-emit-package $(name))
# Packages that `deepicd run` needs but the operator does not; a test imports the operator without them.
UNUSED_BY_OPERATOR := $(foreach name,duckdb itables jinja2 markupsafe numpy psutil pyarrow vl-convert-python,--no-emit-package $(name))

# What scikit-learn and fairlearn share with it.
IN_TRAINING_STACK := $(foreach name,numpy pandas python-dateutil six tzdata,--no-emit-package $(name))

lock: setup
	$(COMPILE) --extra train --output-file requirements/gpu.txt
	$(COMPILE) --extra train-cpu --extra operator --extra dev --constraint requirements/gpu.txt $(UNUSED_ON_CPU) --output-file $(LOCK)
	$(COMPILE) --extra train-cpu --constraint $(LOCK) $(UNUSED_ON_CPU) --output-file requirements/trainer-cpu.txt
	$(COMPILE) --extra operator --constraint $(LOCK) $(UNUSED_BY_OPERATOR) --output-file requirements/operator.txt
	$(COMPILE_APART) --group reference $(IN_TRAINING_STACK) --output-file requirements/reference.txt
	$(COMPILE_APART) --group sbom --output-file requirements/sbom.txt
	$(BIN)/uv pip compile $(HASHED) --group mlflow --output-file requirements/mlflow.txt
	$(foreach name,hatchling uv,grep -o '^$(name)==[^ ]*' $(LOCK) | $(BIN)/uv pip compile - --constraint $(LOCK) $(HASHED) --output-file requirements/$(name).txt;)

# `bench` takes minutes. `bench-training` takes about half an hour and needs an otherwise idle machine.
bench: setup
	$(BIN)/python benchmarks/reward_speed.py
	$(BIN)/python benchmarks/data_mimic.py --admissions 100000

bench-training: setup
	$(BIN)/python benchmarks/quickstart.py
	$(BIN)/python benchmarks/learning.py --dir runs/benchmark-learning
	$(BIN)/python benchmarks/training.py runs/benchmark-learning/seed-0

# What only a GPU shows, in under eight minutes on one GPU (benchmarks/check_gpu.py). Takes the python3 of PATH if it has deepicd
# and vLLM, as in the trainer's image; else it installs the lock for GPUs in .venv-gpu. CHECK=--cpu is a trial without a GPU.
CHECK ?=
check-gpu:
	@if python3 -c 'import deepicd, vllm' 2>/dev/null; then python3 benchmarks/check_gpu.py $(CHECK); \
	else $(MAKE) .venv-gpu/complete && .venv-gpu/bin/python benchmarks/check_gpu.py $(CHECK); fi

.venv-gpu/complete: requirements/gpu.txt requirements/uv.txt requirements/hatchling.txt pyproject.toml
	test -x .venv-gpu/bin/python || $(PYTHON) -m venv .venv-gpu
	.venv-gpu/bin/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	.venv-gpu/bin/uv pip install --quiet --python .venv-gpu/bin/python --require-hashes -r requirements/gpu.txt -r requirements/hatchling.txt
	.venv-gpu/bin/uv pip install --quiet --python .venv-gpu/bin/python --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf .venv .venv-gpu .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist site
