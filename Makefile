# make help lists the targets.
SHELL := /bin/bash -o pipefail
GO ?= go
TOOL := $(GO) tool -modfile=internal/tools/go.mod
PEERS := internal/e2e/peers.sh

.PHONY: help build test check unit e2e bench

help: ## this list
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9]+):.*## (.*)/  make \1\t\2/' | expand -t 16

build: ## the binary ./weir
	CGO_ENABLED=0 $(GO) build -trimpath -o weir ./cmd/weir

test: ## everything, on a fresh machine too: installs the peers, then check, unit and e2e
	$(PEERS) $(MAKE) --no-print-directory check unit e2e

check: ## gofmt, go vet, staticcheck, govulncheck
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not formatted, run gofmt -w:"; echo "$$unformatted"; exit 1; }
	$(GO) mod verify
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	internal/tools/vulnerabilities.sh

unit: ## tests of the packages, with the race detector
	$(GO) test -race -timeout 30m $$($(GO) list ./... | grep -v '/internal/e2e$$')

e2e: ## tests of the binary from outside: real senders and readers, kill -9, full disk
	$(GO) test -count=1 -timeout 60m ./internal/e2e

bench: ## benchmarks of the packages and of the binary; docs/benchmarks.md says more
	$(GO) test -run '^$$' -bench . -benchtime 1s -timeout 30m ./streams ./forward ./arrays
	$(GO) test -run '^$$' -bench . -benchtime 10000x -timeout 30m ./jobs ./jobs/zookeeper
	$(GO) test -run '^$$' -bench TransformStarts -benchtime 200x ./internal/server
	$(GO) test -run '^$$' -bench . -benchtime 1x -count=1 -timeout 30m ./internal/e2e
