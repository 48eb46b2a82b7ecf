# `make test` is the whole truth; every other target abbreviates it or the demonstration.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-offline check-fmt check-core lint deny build control-plane vet helm kubectl run-tests need-rust need-cluster need-helm clean-cache

SHELL := /bin/sh
.SHELLFLAGS := -eu -c
MAKEFLAGS += --no-print-directory

export GOFLAGS := $(strip $(GOFLAGS) -mod=readonly)

CARGO := cargo
GO_FOLDER := tests/controlplane
# kubectl's reader of files, which ours is held to.
YAML_FOLDER := tests/yaml
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/concordat
DENY_VERSION := 0.20.2
DENY := $(CACHE)/cargo-deny-$(DENY_VERSION)

# Go builds the test control plane. A cluster that is there already makes it unnecessary.
CLUSTER := $(or $(CONCORDAT_TEST_KUBECONFIG),$(KUBECONFIG),$(KUBEBUILDER_ASSETS))
GO := $(shell command -v go 2>/dev/null)
# It also builds Helm, which tests the charts. `HELM`, or a `helm` on the path, makes that unnecessary.
HELM_OR_GO := $(or $(HELM),$(GO),$(shell command -v helm 2>/dev/null))

# What the core must never pull in: a runtime, a client, a server.
NOT_IN_CORE := ^((tokio|hyper|tower|reqwest)(-[a-z0-9-]+)?|kube-client|kube-runtime|concordat-(source|operator|cli)) v

# One line for each step, with the seconds since make began.
BEGUN := $(shell date +%s)
step = @echo "==> [$$(($$(date +%s) - $(BEGUN))) s] $(1)"

help: ## this list
	@echo 'usage: make TARGET'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-16s%s\n", $$1, $$2 }'
	@echo
	@echo 'The demonstration and the tests start a real Kubernetes API server of their own. The first time it is'
	@echo 'built from source with Go, which takes about 8 minutes on two cores. KUBECONFIG, where set, names a'
	@echo 'cluster to use instead, and KUBEBUILDER_ASSETS a folder with etcd, kube-apiserver and kubectl.'

demo: need-rust need-cluster ## from an agreement in Git to what opens and closes in a running cluster
	$(call step,build)
	@$(CARGO) build --locked --bin concordat --example demo
	$(call step,demo)
	@exec $(CARGO) run --quiet --locked --example demo -- $(ARGS)

# What fails fastest comes first. The Go program comes late: it takes longest, and fails least.
test: need-rust need-cluster need-helm check-fmt check-core lint build control-plane helm kubectl vet deny run-tests ## everything: formats, lints, the core on its own, all tests
	$(call step,done)

test-offline: need-rust ## the tests that need no API server
	$(call step,tests without an API server)
	@$(CARGO) test --locked --lib --bins --test offline
	@$(CARGO) test --locked --doc

check-fmt: need-rust ## formats of Rust and Go
	$(call step,formats)
	@$(CARGO) fmt --all --check
ifneq ($(GO),)
	@wrong=$$(gofmt -l $(GO_FOLDER) $(YAML_FOLDER)); test -z "$$wrong" || { echo "gofmt would change: $$wrong"; exit 1; }
endif

check-core: need-rust ## the core compiles on its own, without a runtime or a client
	$(call step,the core on its own)
	@tree=$$($(CARGO) tree --locked --package concordat-core --edges normal --prefix none); \
	wrong=$$(echo "$$tree" | grep -E '$(NOT_IN_CORE)' | sed 's| (\*)||' | sort -u || true); \
	test -z "$$wrong" || { echo "the core must not depend on:"; echo "$$wrong"; exit 1; }
	@$(CARGO) check --locked --package concordat-core --lib

lint: need-rust ## clippy and rustdoc, where a warning is an error
	$(call step,clippy)
	@$(CARGO) clippy --locked --all-targets -- -D warnings
	@RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps --quiet

# Where it is not installed it is built once, which takes three minutes on two cores. Advisories need the network, and are
# for the workflow.
deny: need-rust ## the licences, bans and sources of all dependencies (deny.toml)
	$(call step,dependencies)
	@command -v cargo-deny >/dev/null || test -x $(DENY)/bin/cargo-deny \
		|| $(CARGO) install --quiet --locked --root $(DENY) cargo-deny --version $(DENY_VERSION)
	@PATH="$(DENY)/bin:$$PATH" $(CARGO) deny --log-level error check licenses bans sources

build:
	$(call step,build)
	@$(CARGO) test --locked --no-run

control-plane:
	$(call step,control plane)
	@exec $(CARGO) run --quiet --locked --example testbed -- true

# After the control plane, half of whose packages it shares.
helm:
	$(call step,helm)
	@said=$$($(CARGO) test --quiet --locked --test cluster helm_is_at_hand) || { echo "$$said"; exit 1; }

# For the tour of the platform, which is run on the control plane that was built here and on no other.
kubectl:
ifeq ($(CLUSTER),)
	$(call step,kubectl)
	@said=$$($(CARGO) test --quiet --locked --test cluster kubectl_is_at_hand) || { echo "$$said"; exit 1; }
endif

# After the build, with its flags, so that it finds the packages compiled.
vet:
ifneq ($(GO),)
ifeq ($(CLUSTER),)
	$(call step,go vet)
	@cd $(GO_FOLDER) && go vet -trimpath .
	@cd $(YAML_FOLDER) && go vet -trimpath .
endif
endif

run-tests:
	$(call step,tests)
	@exec $(CARGO) run --quiet --locked --example testbed -- $(CARGO) test --locked --no-fail-fast

need-rust:
	@command -v $(CARGO) >/dev/null || { echo 'Rust is not installed: see https://rustup.rs'; exit 1; }

need-cluster:
ifeq ($(GO)$(CLUSTER),)
	@echo 'Go is not installed, and the test control plane is built with it: see https://go.dev/dl'
	@echo 'or set KUBECONFIG to a cluster that may be changed, or KUBEBUILDER_ASSETS'
	@exit 1
endif

need-helm:
ifeq ($(HELM_OR_GO),)
	@echo 'Neither Helm nor Go is installed, and the charts are tested with Helm: install Helm 3.18 or newer,'
	@echo 'set HELM to one, or install Go, which builds it: see https://go.dev/dl'
	@exit 1
endif

clean-cache: ## remove the control plane, Helm and other programs that were built; the next run builds them again
	rm -rf '$(CACHE)'
