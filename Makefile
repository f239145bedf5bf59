# On a fresh Debian 12 or 13 machine, as root, with git and make: `make demo`. Everything else is installed by setup.

.PHONY: setup demo test unit lint bench install uninstall deb test-package clean test-debian12 test-debian13 test-ubuntu24.04

export PREFIX SYSCONFDIR DESTDIR

setup:
	@setup/setup.sh

demo: setup
	@examples/hello-image/build.sh
	@.venv/bin/vmsandbox run examples/hello-pod.yaml
	@[ "$(VMSANDBOX_SMALL_KERNEL)" = no ] || .venv/bin/vmsandbox image build-guest --small-in-background

# What needs no machines first, files side by side.
test: setup
	@.venv/bin/pytest -q --leftovers -n auto --dist loadfile tests/unit
	@.venv/bin/pytest --leftovers -n 2 --dist loadfile tests/guest tests/e2e

# What needs neither machines nor root: files side by side, and a quarter of the examples of hypothesis.
unit: setup
	@.venv/bin/pytest -q -n auto --dist loadfile -m "not lint" --hypothesis-profile quick tests/unit

lint: setup
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/vulture
	@PYTHONPATH=agent .venv/bin/lint-imports
	@.venv/bin/python -m tests.english

# vmsandbox beside containerd with runc: docs/performance.md says what is measured. BENCH="--only pods --quick" is quicker.
bench: setup
	@mkdir -p build
	@.venv/bin/python -m tests.performance.bench --json build/bench.json --picture build/bench.svg $(BENCH)

# For all users of this host: PREFIX (/usr/local), SYSCONFDIR (/etc), DESTDIR; docs/operating.md says what goes where.
install: setup
	@packaging/install.sh install

uninstall:
	@packaging/install.sh uninstall

# A package for the release of Debian that this is run on, into dist/; CONTRIBUTING.md, "Packages".
deb:
	@EVERY_HELPER=1 setup/setup.sh
	@apt-get satisfy -qq --yes --no-install-recommends \
	    "dpkg-dev, fakeroot, lintian, $$(sed -n 's/^Build-Depends: //p' packaging/debian/control)"
	@.venv/bin/python packaging/deb.py dist
	@lintian --allow-root --fail-on error dist/*.changes

# Setup, the demo, the unit tests and some with machines in a fresh root of the distribution, from its packages.
test-debian12 test-debian13 test-ubuntu24.04: setup
	@.venv/bin/python -m tests.distributions $(@:test-%=%)

# The package's life on a fresh Debian of this release: installed, serving, upgraded beneath a pod, removed, purged.
test-package: deb
	@.venv/bin/pytest tests/package

# What setup put into the checkout. The caches under /var/cache/vmsandbox stay: they are keyed by their inputs.
clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
