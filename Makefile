# Thin: every target is one subcommand of the task runner (ci/), which has --help for each.
.DEFAULT_GOAL := help
.PHONY: demo test bench lint fmt soak fuzz wheel jar capi header setup clean help

XTASK := @sh ci/bootstrap.sh

demo: ## Build everything and run the scenario in four languages on real data
	$(XTASK) demo $(ARGS)

test: ## Every check and every test in every language
	$(XTASK) test $(ARGS)

bench: ## Measure beside grpcio and grpc-java, and write docs/benchmarks.md (half an hour or more)
	@python3 benches/run.py $(ARGS)

lint: ## Formatting and lints, without running tests
	$(XTASK) lint $(ARGS)

fmt: ## Format the sources of every language
	$(XTASK) fmt $(ARGS)

soak: ## Run the scenario in four languages for half an hour
	$(XTASK) soak $(ARGS)

fuzz: ## Run the tests with generated input on many more cases
	$(XTASK) fuzz $(ARGS)

wheel: ## Build the Python wheel
	$(XTASK) wheel $(ARGS)

jar: ## Build the Java jar
	$(XTASK) jar $(ARGS)

capi: ## Build the C library with its header and pkg-config file
	$(XTASK) capi $(ARGS)

header: ## Write the generated files: include/millstream.h and the error types
	$(XTASK) header $(ARGS)

setup: ## Install what the tests need beyond the toolchains
	$(XTASK) setup $(ARGS)

clean: ## Remove everything that was built
	rm -rf target bindings-java/target bindings-java/*/target examples/java/target

help: ## This list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /|/' | awk -F'|' '{ printf "make %-8s %s\n", $$1, $$2 }'
	@echo "Options go into ARGS, for instance: make test ARGS='--list'"
