# What a developer types; everything that decides is in scripts/. `make` alone lists the targets.
# Needs rustup, Node 20 or later with npm, make and a C compiler; installs the rest into folders that git ignores.
.PHONY: help setup build dev dev-redis serve restore import monitor test soak bench screenshots clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

dev: ## set up, serve http://127.0.0.1:8787 with wrangler dev and a demonstration ward, rebuild after edits
	@exec node scripts/dev.mjs

dev-redis: ## the same with sessions, leases and cached views in a redis-server behind HTTP
	@exec node scripts/dev.mjs redis

serve: ## the release bundle on bare workerd, one process, data in .data/serve (PORT, HOST, DATA, DEMO=1)
	@exec node scripts/serve.mjs

restore: ## put a backup (FROM, a copy of DATA) in the place of the data of `make serve`, which must be stopped
	@exec node scripts/restore.mjs

import: ## load FHIR Bundles: FILES=... into URL (default http://127.0.0.1:8787), as USERNAME with PASSWORD
	@exec node scripts/import.mjs

monitor: ## telemetry of BEDS=24 demonstration patients, once a second, into URL; SECONDS ends it
	@exec node scripts/monitor.mjs

test: ## set up and run every check and test; ends with `N passed, N failed` (ONLY=checks,native,node; TESTS=part of a name)
	@exec node scripts/test.mjs

soak: ## the tests that take longer than a minute
	@exec node scripts/each.mjs tests/soak

bench: ## the measurements
	@exec node scripts/each.mjs benches

screenshots: ## pictures of every view at phone, laptop and wall size, into .data/screenshots
	@exec node scripts/screenshots.mjs

build: ## the release bundle, into build/release
	@node scripts/setup.mjs && node scripts/build.mjs release

setup: ## only install the tools
	@node scripts/setup.mjs

clean: ## remove what was built and the local data, keep the installed tools
	rm -rf build target .wrangler .data
