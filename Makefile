# The commands that people and CI use. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

# Cargo's own variable moves the build; the binaries are looked for where it puts them.
BIN := $(or $(CARGO_TARGET_DIR),target)/release
CACHE = $(shell deploy/bootstrap.sh cache)
# The demo's models, registry and logs. `make demo DATA=DIR` keeps them elsewhere.
# Empty, and refused below, when the cache folder is not known: never a /demo that is not ours.
DATA = $(if $(CACHE),$(CACHE)/demo)
# In CI a Cargo.lock that lags behind Cargo.toml is an error, not something to repair silently.
LOCKED := $(if $(CI),--locked)
# Tells what follows on the same line where bootstrap.sh put things. Two steps, as `eval "$(false)"` succeeds.
WITH_ENV = env="$$(deploy/bootstrap.sh env)" && eval "$$env" &&

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Bring what Decant needs to this machine; instant when it is there (deploy/bootstrap.sh --help)
	@deploy/bootstrap.sh

.PHONY: build
build: ## Build all release binaries
	@deploy/bootstrap.sh build
	cargo build $(LOCKED) --release --workspace --bins

# What the demo runs, and no more: each further binary costs a link-time optimisation of its own.
.PHONY: build-demo
build-demo: setup
	cargo build $(LOCKED) --release --package decant-standalone --package decant-cli --package decant-load

.PHONY: demo
demo: build-demo ## Train, distil, roll out and score a model on this machine, start to end
	@test -n "$(DATA)"
	@$(WITH_ENV) BIN="$(BIN)" DATA="$(DATA)" deploy/demo.sh

.PHONY: up
up: build-demo ## Run all of Decant in the foreground, on the models that the demo left
	@test -n "$(DATA)" && mkdir -p "$(DATA)"
	@$(WITH_ENV) exec "$(BIN)/decant-standalone" --data "$(DATA)" --datasets "$$DECANT_DATASETS"

.PHONY: clean-demo
clean-demo: ## Delete the demo's models and state
	@test -n "$(DATA)"
	rm -rf -- "$(DATA)"

# `make cluster CLUSTER=DIR` keeps it elsewhere.
CLUSTER = $(if $(CACHE),$(CACHE)/cluster)

.PHONY: cluster
cluster: setup ## Run a cluster in the foreground: etcd, two registries, two scorers and a trainer, a process each
	cargo build $(LOCKED) --release --package decant-registry --package decant-scorer --package decant-trainer --package decant-cli
	@test -n "$(CLUSTER)"
	@$(WITH_ENV) BIN="$(BIN)" DATA="$(CLUSTER)" exec deploy/local/up

.PHONY: images
images: ## Build the container images, with docker, podman or buildah (deploy/images.sh --help)
	@deploy/images.sh

.PHONY: test
test: ## Run every test: unit, integration, processes, and the Python peers
	@deploy/bootstrap.sh build runtime data etcd s3 pytest prometheus helm images chaos
	@$(WITH_ENV) if command -v cargo-nextest >/dev/null; then \
		set -x; cargo nextest run $(LOCKED) --workspace; \
	else \
		set -x; cargo test $(LOCKED) --workspace --lib --bins --tests; \
	fi

# For how long each target is tried: `make fuzz MINUTES=30`.
MINUTES = 1

# Not by nextest, which ends what takes longer than a test should.
.PHONY: fuzz
fuzz: ## Try what reads requests, bundles and graphs with inputs that no run has made before
	@deploy/bootstrap.sh build runtime
	@$(WITH_ENV) export DECANT_FUZZ_SECONDS=$$((60 * $(MINUTES))) && set -x && \
		cargo test $(LOCKED) --package decant-fuzz --test targets -- --nocapture && \
		cargo test $(LOCKED) --package decant-scorer --package decant-chassis --lib -- --nocapture fuzz::

# A seed of one's own, and another length: `DECANT_CHAOS_SEED=7 DECANT_CHAOS_SECONDS=60 make chaos`. The services' programs are
# built with the tests. Not by nextest, as for fuzz.
.PHONY: chaos
chaos: ## Run a cluster for ten minutes while its hosts fail at random, and check what it promised
	@deploy/bootstrap.sh build runtime data etcd s3 chaos
	@$(WITH_ENV) export DECANT_CHAOS_SEED=$${DECANT_CHAOS_SEED:-$$RANDOM} && \
		export DECANT_CHAOS_SECONDS=$${DECANT_CHAOS_SECONDS:-600} && set -x && \
		cargo test $(LOCKED) --workspace --tests --no-run && \
		cargo test $(LOCKED) --workspace --test it -- --nocapture chaos::

# But for serving, the development profile optimises all that counts here, and the tests have built most of it already.
.PHONY: bench
bench: bench-quality bench-control-plane bench-serving ## Measure everything that README says was measured

.PHONY: bench-quality
bench-quality: ## Measure what distillation is worth: the example job with five seeds
	@deploy/bootstrap.sh build runtime data
	@$(WITH_ENV) set -x; cargo bench $(LOCKED) --profile dev --workspace --bench quality

# The services' programs are built by the tests; the benchmark starts them.
.PHONY: bench-control-plane
bench-control-plane: ## Measure etcd's watches, activations, lost leaders, long lists and large bundles
	@deploy/bootstrap.sh build runtime etcd s3
	@$(WITH_ENV) set -x; cargo test $(LOCKED) --workspace --tests --no-run && \
		cargo bench $(LOCKED) --profile dev --workspace --bench watch --bench versions --bench stream --bench control_plane

# The programs as they are released: how fast they are is what is asked.
.PHONY: bench-serving
bench-serving: ## Measure what serving costs, and how calm it stays under swaps and overload
	@deploy/bootstrap.sh build runtime data etcd s3 load peers
	@$(WITH_ENV) set -x; cargo build $(LOCKED) --release --workspace --bins && \
		cargo bench $(LOCKED) --workspace --bench serving

# What the programs say of themselves; tests compare.
.PHONY: reference
reference: ## Write the references of the configuration and of the command line anew
	@deploy/bootstrap.sh build
	cargo build $(LOCKED) --workspace --bins
	@target=$$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/') && \
		sed -i '/^## /,$$d' deploy/configuration.md && \
		for program in trainer registry scorer standalone; do \
			"$$target/debug/decant-$$program" --config-reference || exit 1; \
			if [ "$$program" != standalone ]; then echo; fi; \
		done >> deploy/configuration.md && \
		"$$target/debug/decant" generate reference > deploy/decant.md

.PHONY: golden-helm
golden-helm: ## Take over what the chart renders now, and copy rules and dashboards into it; read the difference afterwards
	@deploy/bootstrap.sh helm
	@$(WITH_ENV) DECANT_UPDATE_GOLDEN=1 "$$DECANT_HELM_PYTHON" -B -m pytest --quiet helm/tests

.PHONY: lint
lint: ## Check the formatting and run clippy; a warning is an error
	@deploy/bootstrap.sh build
	cargo fmt --all --check
	cargo clippy $(LOCKED) --workspace --all-targets -- -D warnings
