# Everything a user or CI does. `make setup` needs Python 3.11 or newer and nothing else.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
LOCK := requirements/cpu.txt
# Into a folder of its own, which no process of the training stack sees.
APART = $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --target
SOURCES := deepicd operator charts docs tests benchmarks

.PHONY: setup quickstart test test-kind test-long cluster-tools images operator-image trainer-image lint format lock docs sbom bench bench-training clean

setup: .venv/complete

# uv comes from a lock of its own, through pip; it then installs the rest several times as fast.
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

# The operator's tests run on a real API server where `make cluster-tools` or KUBEBUILDER_ASSETS gives one, and are skipped
# elsewhere: building one takes 20 minutes, which nobody should wait for who has not asked for it. Two processes share the
# tests, which wait for servers most of the time; those that train come by themselves and share by the file, since the start
# of training keeps one core busy and then the other.
test: setup
	$(PYTEST) --numprocesses 2 --dist worksteal tests/unit tests/storage tests/cluster
	$(PYTEST) --numprocesses 2 --dist loadfile tests/training

# Real pods in a kind cluster of its own, from nothing, and gone again; KEEP=1 keeps it, CLUSTER=NAME goes on
# in a kept one. Needs docker, kind, kubectl and helm.
test-kind: setup
	$(PYTEST) tests/kind

# What is slow by nature, of which `make test` has a sample or nothing; then runs on two nodes, with KubeRay in a kind cluster.
# Needs what test-kind needs, and Go, which builds KubeRay once into the user's cache; KUBERAY_VERSION names another version.
test-long: setup
	$(PYTEST) -m long --numprocesses 2 --dist worksteal tests/unit tests/storage tests/cluster
	$(PYTEST) -m long --numprocesses 2 --dist worksteal tests/training
	$(PYTEST) -m long tests/kuberay

# Built once, into the user's cache: about 20 minutes on two cores.
cluster-tools:
	bash tests/cluster/tools/cluster-tools.sh build

# docker build; BASE_IMAGE names another base (by digest, for a build that can be repeated), TRAINER=cpu the flavour for trials,
# which stands on the same Python image as the operator.
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

# For those without helm; `make test` compares it with the chart.
manifests/install.yaml: $(shell find charts/deepicd -type f)
	printf '# For Kubernetes 1.30 or newer. On 1.29 leave out the two objects of admissionregistration.k8s.io, and put\n# --no-admission-policy in the place of --admission-policy: runs may then name no Secrets but those of --allowed-secret=NAME.\n' > $@
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

# What is generated, for `make lint` to compare: the CRD from deepicd.spec, the chart's rules and its admission policy from the
# operator's, its README from its values.
format: setup
	$(BIN)/deepicd-operator crd > charts/deepicd/files/crd.yaml
	$(BIN)/deepicd-operator permissions > charts/deepicd/files/permissions.yaml
	$(BIN)/deepicd-operator admission > charts/deepicd/files/admission.yaml
	$(BIN)/python charts/readme.py > charts/deepicd/README.md.new && mv charts/deepicd/README.md.new charts/deepicd/README.md
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

# Needs no network; a broken link is an error. Without --quiet: it would hide the warnings that strictness counts.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

CYCLONEDX := PYTHONPATH=.venv/sbom $(BIN)/python -m cyclonedx_py requirements --output-reproducible

# What each image is made of, from the locks.
sbom: setup
	mkdir -p dist
	$(APART) .venv/sbom -r requirements/sbom.txt
	$(CYCLONEDX) --output-file dist/operator.cdx.json requirements/operator.txt
	$(CYCLONEDX) --output-file dist/trainer.cdx.json requirements/gpu.txt

HASHED := --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header
COMPILE := $(BIN)/uv pip compile pyproject.toml $(HASHED) --override requirements/overrides.txt
COMPILE_APART := $(BIN)/uv pip compile $(HASHED) --constraint $(LOCK)
# NVIDIA packages that torch loads on no machine without a GPU.
UNUSED_ON_CPU := $(foreach name,nvidia-cusolver triton nvidia-nvtx cuda-bindings cuda-pathfinder,--no-emit-package $(name))
# What `deepicd run` needs and the operator's image leaves out; a test imports the operator without.
UNUSED_BY_OPERATOR := $(foreach name,contourpy cycler duckdb fonttools jinja2 kiwisolver markupsafe matplotlib numpy packaging \
	pillow psutil pyarrow pyparsing,--no-emit-package $(name))

lock: setup
	$(COMPILE) --extra train --output-file requirements/gpu.txt
	$(COMPILE) --extra train-cpu --extra operator --extra dev --constraint requirements/gpu.txt $(UNUSED_ON_CPU) --output-file $(LOCK)
	$(COMPILE) --extra train-cpu --constraint $(LOCK) $(UNUSED_ON_CPU) --output-file requirements/trainer-cpu.txt
	$(COMPILE) --extra operator --constraint $(LOCK) $(UNUSED_BY_OPERATOR) --output-file requirements/operator.txt
	$(COMPILE_APART) --group reference --no-emit-package numpy --output-file requirements/reference.txt
	$(COMPILE_APART) --group sbom --output-file requirements/sbom.txt
	$(foreach name,hatchling uv,grep -o '^$(name)==[^ ]*' $(LOCK) | $(BIN)/uv pip compile - --constraint $(LOCK) $(HASHED) --output-file requirements/$(name).txt;)

# Minutes; the second one needs the machine for itself for about half an hour.
bench: setup
	$(BIN)/python benchmarks/reward_speed.py
	$(BIN)/python benchmarks/data_mimic.py --admissions 100000

bench-training: setup
	$(BIN)/python benchmarks/quickstart.py
	$(BIN)/python benchmarks/learning.py --dir runs/benchmark-learning
	$(BIN)/python benchmarks/training.py runs/benchmark-learning/seed-0

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist site
