# Unnoise. `make run` and `make test` work in a clean clone: they install what is missing first.

GO       ?= go
FUZZTIME ?= 20s
N        ?= 1000
SEED     ?= 1

# Tools, pinned. gofumpt is the one inside golangci-lint.
GOLANGCI_VERSION := v2.15.0
GOLANGCI         := .tools/golangci-lint-$(GOLANGCI_VERSION)
VULNCHECK_VERSION := v1.9.0
VULNCHECK         := .tools/govulncheck-$(VULNCHECK_VERSION)

VERSION := $(shell sed -n 's/^ *Version *= *"\(.*\)"/\1/p' FyneApp.toml)
COMMIT  := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
# no_metadata: the window must not look for FyneApp.toml in the source folder.
BUILD   := $(GO) build -buildvcs=false -tags no_metadata -ldflags '-X main.version=$(VERSION) -X main.commit=$(COMMIT)'

.PHONY: run build test lint fmt fuzz soak faults bench dist clean library system-build system-run system-test system-bench

run: build library
	@if [ -n "$$DISPLAY" ] || [ "$$(uname)" = Darwin ]; then bin/unnoise; else bin/unnoise demo; fi

build: system-build
	$(BUILD) -o bin/unnoise ./cmd/unnoise

test: system-test build library
	.ci/test

lint: system-build $(GOLANGCI) $(VULNCHECK)
	$(GOLANGCI) run
	.ci/vulnerabilities $(VULNCHECK)

fmt: $(GOLANGCI)
	$(GOLANGCI) fmt

fuzz:
	.ci/fuzz $(FUZZTIME)

# Kills the program N times at moments that SEED fixes, and looks after each kill whether anything is lost.
soak: build library
	$(GO) run -buildvcs=false -tags no_metadata ./bench/soak -n $(N) -seed $(SEED)

# Lets every system call fail in turn, or be the last of the process, in all that the program does. It takes hours.
faults: system-test library
	$(GO) test -buildvcs=false -tags no_metadata -timeout 24h -v ./bench/soak -run TestEveryCallFails -every

bench: system-bench build library
	bench/run

dist: system-run build
	$(BUILD) -trimpath -o dist/ ./cmd/unnoise
	.ci/dist $(VERSION)

clean:
	rm -rf bin dist .tools

# The ONNX Runtime library, unless one is named.
library: system-run build
	@[ -n "$$UNNOISE_ORT_LIB" ] || bin/unnoise runtime install

system-build:
	@.ci/system-packages build

system-run:
	@.ci/system-packages run

system-test:
	@.ci/system-packages test

system-bench:
	@.ci/system-packages bench

$(GOLANGCI):
	GOBIN=$(CURDIR)/.tools $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv .tools/golangci-lint $@

$(VULNCHECK):
	GOBIN=$(CURDIR)/.tools $(GO) install golang.org/x/vuln/cmd/govulncheck@$(VULNCHECK_VERSION)
	mv .tools/govulncheck $@
