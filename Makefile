# The commands of this project. `make test` is what continuous integration runs.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  = -s -w -X stoa/internal/app.version=$(VERSION)

# Tools are pinned and run through the module proxy; they are no dependencies of the program.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0

export CGO_ENABLED
.DEFAULT_GOAL = build

build: bin/stoa ## the program, static and stamped
bin/stoa: FORCE
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/stoa
FORCE:

test: setup first-build check unit conformance shop stories browser ## everything a change must pass
	@echo "make test: all good"

setup: ## install what tests need: Chromium and, where it is missing, Node.js
	@./test/setup

first-build: ## the figure to watch: a build with an empty cache
	@./test/first-build

check: ## formatting, vet, staticcheck, and that it builds for macOS
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not gofmt'ed:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	GOOS=darwin CGO_ENABLED=0 $(GO) vet ./cmd/... ./internal/... ./client/... ./api/...

unit: ## unit tests with the race detector
	$(GO) test -race -timeout 20m $$($(GO) list ./... | grep -v /test/)

conformance: ## suites of others against the data plane: h2spec, gRPC interop, and what docs/reference/conformance.md lists
	cd test/conformance && $(GO) vet ./... && $(GO) test -timeout 10m -parallel 16 ./...

shop: ## the reference systems' own tests: modules that know nothing of Stoa
	cd examples/shop && $(GO) vet ./... && $(GO) test ./...
	cd examples/hello && $(GO) vet ./...

stories: bin/stoa ## one script per promise, and the systems end to end
	STOA_BIN=$(CURDIR)/bin/stoa $(GO) test -p 1 -timeout 20m ./test/...

browser: bin/stoa ## dashboard and storefront in headless Chromium
	./test/browser/run bin/stoa

test-long: ## thousands of seeds and the long soak
	STOA_LONG=1 $(GO) test -race -timeout 3h ./...
	cd test/conformance && STOA_LONG=1 $(GO) test -race -timeout 1h ./...

generate: ## field docs and reference
	$(GO) generate ./...

vuln: ## known vulnerabilities, where the database can be reached
	$(GO) run $(GOVULNCHECK) ./...

bench: bin/stoa ## every figure of bench/RESULTS.md
	./bench/run

bench-overload: bin/stoa ## the shop at five times the load that it can serve, on an otherwise calm machine
	./bench/run -only overload

bench-proxy: ## the data plane beside its peers, on an otherwise calm machine: the rest of bench/RESULTS.md
	./bench/proxy/run

clean:
	rm -rf bin

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /	/' | expand -t 16

.PHONY: build test setup first-build check unit conformance shop stories browser test-long generate vuln bench bench-overload bench-proxy clean help FORCE
