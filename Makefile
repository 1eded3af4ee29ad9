# Every target makes what it needs and says so; a second run says nothing and starts at once.
# PYTHON=python3.12 chooses the interpreter for .venv.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help demo test test-versions check bench docs sbom sweep simulate workload soak fuzz clean venv-demo venv-dev

export PYTHON
# Hundreds of processes are started: each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE
python := .venv/bin/python

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: venv-demo ## Watch a shop's database and a service stay in step while both are killed
	@.venv/bin/fuagent demo $(ARGS)

test: venv-dev ## Run all tests with coverage (KILLS=20, SEEDS=, ARGS="-k name -n 2"); the gate fails below its floors
	@scripts/system-packages tests
	@scripts/node-packages
	@rm -f .coverage .coverage.*
	@KILLS=$${KILLS:-20} $(python) -m pytest -n 3 --dist worksteal --cov --cov-report= $(ARGS)
	@$(python) -m coverage json --quiet -o .coverage.json
	@$(python) scripts/coverage_gate.py .coverage.json

test-versions: venv-dev ## Run what reads from PostgreSQL with VERSIONS="12 13 14 15 16 17 18", servers fetched into .cache; ARGS as above
	@scripts/system-packages tests
	@scripts/postgres-versions $(VERSIONS)
	@failed=""; for major in $${VERSIONS:-12 13 14 15 16 17 18}; do echo "PostgreSQL $$major:"; \
		POSTGRES_BIN=.cache/postgres/$$major/native/bin $(python) -m pytest -q \
		tests/unit/harness/test_harness_postgres.py tests/unit/sources/postgres \
		tests/unit/sources/test_postgres_suite.py $(ARGS) || failed="$$failed $$major"; done; \
		[ -z "$$failed" ] || { echo "Failed with PostgreSQL$$failed" >&2; exit 1; }

check: venv-dev ## Lint, format, types, structure, whether generated pages are fresh, licences, known vulnerabilities, and what is below deploy/
	@$(python) -m ruff check .
	@$(python) -m ruff format --check --quiet .
	@$(python) -m mypy
	@$(python) -m pytest -q tests/structure tests/docs
	@$(python) scripts/docs.py --check
	@$(python) scripts/audit.py
	@scripts/system-packages deployment
	@$(python) scripts/deployment.py

bench: venv-dev ## Measure rates, memory and delays side by side with the bare minimum
	@$(python) bench/run.py $(ARGS)

docs: venv-dev ## Write the reference pages from the code, and make a site of all pages in dist/site; warnings are errors
	@$(python) scripts/docs.py
	@scripts/site

sbom: venv-dev ## Write the bill of materials (CycloneDX) of what runs, with hashes and licences, into dist/
	@$(python) scripts/packages.py

sweep: venv-dev ## Kill the agent KILLS=200 times at random moments, and as often at every named point, in front of each SOURCE="sqlite mariadb postgres", and the receiver kit on each STORE="sqlite postgres mariadb redis"; reports go to docs/evidence/
	@scripts/system-packages tests
	@mkdir -p docs/evidence
	@KILLS=$${KILLS:-200} EVIDENCE=docs/evidence $(python) -m pytest -q -p no:randomly tests/sweep $(ARGS)

simulate: venv-dev ## Play SEEDS=1000 lives of a simulated sync; the report goes to docs/evidence/
	@mkdir -p docs/evidence
	@$(python) tests/simulation/simulate.py --seeds $${SEEDS:-1000} --report docs/evidence/simulation.txt $(ARGS)

workload: venv-dev ## Let a writer of every type and DDL work on each SOURCE="mysql postgres" for WORKLOAD=180 seconds while things break, with each of SEEDS="1 2 3"; reports as above
	@scripts/system-packages tests
	@mkdir -p docs/evidence
	@for source in $${SOURCE:-mysql postgres}; do rm -f docs/evidence/$$source-workload.txt; for seed in $${SEEDS:-1 2 3}; do \
		SEED=$$seed WORKLOAD=$${WORKLOAD:-180} EVIDENCE=docs/evidence \
		$(python) -m pytest -q -o faulthandler_timeout=$$(( $${WORKLOAD:-180} + 300 )) tests/e2e/test_$${source}_workload.py $(ARGS); done; done

soak: venv-dev ## Write RATE=1000 commits/s to each SOURCE="mariadb postgres sqlite" for MINUTES=3 while something breaks every 5 to 20 s (SEED=1); reports and pictures go to docs/evidence/
	@scripts/system-packages tests
	@mkdir -p docs/evidence
	@failed=""; for source in $${SOURCE:-mariadb postgres sqlite}; do \
		$(python) tests/soak/soak_run.py $$source --minutes $${MINUTES:-3} --rate $${RATE:-1000} --seed $${SEED:-1} \
		--report docs/evidence $(ARGS) || failed="$$failed $$source"; done; \
		[ -z "$$failed" ] || { echo "Soaking failed with$$failed" >&2; exit 1; }

fuzz: venv-dev ## Look for bytes that break a reader, MINUTES=5 for each TARGET (all, as tests/fuzz/fuzz_targets.py names them)
	@$(python) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/fuzz.lock
	@broken=""; for target in $${TARGET:-$$($(python) tests/fuzz/fuzz_targets.py)}; do echo "$$target:"; \
		$(python) tests/fuzz/fuzz.py $$target $${MINUTES:-5} $(ARGS) || broken="$$broken $$target"; done; \
		[ -z "$$broken" ] || { echo "Broken:$$broken. What broke it lies in .cache/fuzz" >&2; exit 1; }

clean: ## Remove .venv and everything that was made
	@rm -rf .venv .cache examples/service-express/node_modules tests/browser/node_modules build dist .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis demo-data bench-data
	@find src tests scripts bench -type d -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

venv-demo:
	@scripts/venv demo

venv-dev:
	@scripts/venv dev
