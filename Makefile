# belfry: build, run and check. `make` lists the targets.
SHELL := /bin/bash -o pipefail

GO          ?= go
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME    ?= 60s
ARGS        ?=
CONNECTIONS ?= 1000000
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Where programs are written.
BIN ?= bin

# Packages that are compiled without inlining, because most of their code never runs
# in belfry or runs once (JetStream, MQTT and leaf nodes of the NATS server; reading
# YAML and flags; logs; profiles; our own wiring), but the linker cannot remove it.
# This saves 1.6 MB; docs/adr/0015-server-alone.md has the cost. A build without the
# flags works the same.
COLD := github.com/nats-io/nats-server/v2/... github.com/nats-io/jwt/... \
	github.com/klauspost/compress/s2 github.com/goccy/... github.com/spf13/... \
	github.com/MicahParks/... github.com/coder/websocket/... encoding/gob encoding/asn1 \
	math/big text/tabwriter net/http/pprof internal/profile runtime/pprof \
	vendor/golang.org/x/net/idna vendor/golang.org/x/text/... go.uber.org/zap/... \
	belfry/cmd/belfry belfry/config belfry/metrics belfry/host belfry/certs belfry/presence belfry/events belfry/idempotency belfry/report belfry/handover belfry/broadcast/line belfry/cluster belfry/webhook \
	regexp/... crypto/x509/... log/slog/... mime/... compress/flate

# Static, with the version stamped; `go build` with $(1) into $(BIN).
define build
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -trimpath $(foreach p,$(COLD),-gcflags '$(p)=-l') -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/$(1) ./cmd/$(1)
endef

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: server load-tool ## build bin/belfry and bin/belfry-bench: static, with the version stamped

.PHONY: server
server: ## build only bin/belfry
	$(call build,belfry)

.PHONY: load-tool
load-tool: ## build only bin/belfry-bench
	$(call build,belfry-bench)

.PHONY: run
run: server ## build and start a node in development mode (ARGS="--listen :9000" adds flags)
	bin/belfry serve --dev $(ARGS)

.PHONY: test
test: ## all tests that need nothing but Go
	$(GO) test ./...

.PHONY: race
race: ## the same under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race ./...

.PHONY: fuzz
fuzz: ## every fuzz test for FUZZTIME each (default 60s)
	@scripts/fuzz.sh $(FUZZTIME)

.PHONY: fuzz-smoke
fuzz-smoke: ## every fuzz test for 5 s each
	@scripts/fuzz.sh 5s

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, and shellcheck where it is installed
	@files=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
		if [ -n "$$files" ]; then echo "not gofmt'ed:"; echo "$$files"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags e2e ./...
	$(GO) run $(STATICCHECK) -tags e2e ./...
	@if command -v shellcheck >/dev/null; then \
		shellcheck .ci/run $$(git ls-files -co --exclude-standard '*.sh') && echo "shellcheck: ok"; \
	else echo "shellcheck: not installed, skipped"; fi

.PHONY: e2e
e2e: build ## tests named TestE2E… behind the build tag e2e: whole binary, headless Chromium, curl, npm, nginx, HAProxy
	BELFRY_BIN=$(CURDIR)/bin/belfry $(GO) test -count=1 -tags e2e -run '^TestE2E' ./...

.PHONY: bench
bench: build ## the figures against the floor, in one run on this machine
	bin/belfry-bench figures --server bin/belfry $(ARGS)

.PHONY: bench-variants
bench-variants: build ## SSE and deflate beside plain WebSocket: fan-out, memory, allocations
	bin/belfry-bench figures --server bin/belfry --only variants,allocs $(ARGS)

.PHONY: bench-gateway
bench-gateway: build ## round trips through the gateway to a backend, and pushes to others meanwhile
	bin/belfry-bench gateway --server bin/belfry $(ARGS)

.PHONY: bench-auth
bench-auth: build ## connects with tokens, memory of what they grant, a webhook that hangs
	bin/belfry-bench auth --server bin/belfry $(ARGS)

.PHONY: bench-cluster
bench-cluster: build ## what nodes know of each other's users: presence, messages between nodes, a node that joins, idle nodes
	bin/belfry-bench cluster --server bin/belfry $(ARGS)

.PHONY: bench-restart
bench-restart: build ## hot restarts under load: what clients notice, silence, memory, descriptors
	bin/belfry-bench restart --server bin/belfry $(ARGS)

.PHONY: hostile
hostile: build ## hostile clients against two nodes, and what the others notice (ARGS="--only commands:8,topics")
	bin/belfry-bench hostile --server bin/belfry $(ARGS)

# The peers are a module of their own, so that the product does not depend on
# them. Centrifugo is built from its own module, into bin/peers-cache.
.PHONY: bench-peers
bench-peers: build ## belfry beside the floor and other WebSocket servers, one table (ARGS="--only gws,gorilla")
	cd bench/peers && $(GO) build -o $(CURDIR)/bin/peers .
	bin/belfry-bench peers --belfry bin/belfry --cache bin/peers-cache --report bin/peers-report $(ARGS)

# The tests of peers that are not of this module run with -v, which says why one
# of them is skipped.
OTHER_PEERS := ^Test(SocketIO|Centrifugo)$$
.PHONY: test-peers
test-peers: ## the tests of bench/peers (socket.io's needs node and npm, Centrifugo's the program that bench-peers builds)
	cd bench/peers && $(GO) vet ./... && $(GO) test -skip '$(OTHER_PEERS)' ./... && $(GO) test -v -run '$(OTHER_PEERS)' .

.PHONY: million
million: build ## a million connections on this host, measured beside the floor (CONNECTIONS=200000 for fewer)
	bin/belfry-bench million --server bin/belfry --connections $(CONNECTIONS) --report bin/million-report $(ARGS)

.PHONY: sim-cluster
sim-cluster: ## 100 nodes with 200,000 sessions each in virtual time: a node dies, a node joins (7 GB of memory)
	BELFRY_SIM=$(CURDIR)/docs/cluster $(GO) test -count=1 -v -run '^TestClusterSimulation$$' ./cmd/belfry

.PHONY: sim-drain
sim-drain: ## 100 nodes with 200,000 sessions each in virtual time: all are drained, nodes die, cluster.rebalance evens out
	BELFRY_SIM=$(CURDIR)/docs/drain $(GO) test -count=1 -v -run '^TestDrainSimulation$$' ./cmd/belfry

.PHONY: docs
docs: ## write the generated tables in docs/ anew
	$(GO) test -count=1 -run '^TestReference' ./config ./metrics -update

.PHONY: cover
cover: ## statement coverage by package, and bin/cover.html
	@mkdir -p bin
	$(GO) test -coverprofile=bin/cover.out ./...
	$(GO) tool cover -html=bin/cover.out -o bin/cover.html
	$(GO) tool cover -func=bin/cover.out | tail -n 1

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
