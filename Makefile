# The verbs of this repository. Each works as the first command after a clone, with only python3 and make.
UV_VERSION := 0.13.9
UV := .uv/bin/uv
RUN := $(UV) run --no-sync
export UV_PYTHON_DOWNLOADS := never

.PHONY: setup demo test test-all test-release test-lowest check bench recipes docs clean

setup: .setup  ## the environment: uv from python3 alone, then every distribution of the workspace

.setup: pyproject.toml core/pyproject.toml tasks/pyproject.toml $(wildcard plugins/*/pyproject.toml) $(UV)
	$(UV) sync --all-packages --all-extras --compile-bytecode --quiet
	@touch .setup

$(UV):
	python3 -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# the recipe's network as it is, a few epochs a trial, with a part held out to choose by
demo: .setup  ## search for better settings of the embedded digits, confirm the best over fresh seeds, write a report
	$(RUN) labwright tune vision/digits task.data.valid=0.2 train.epochs=5 \
		--fix model.width --fix model.stages --fix model.depth \
		--trials 20 --workers 2 --confirm 3 --seeds 3

# one thread a process: two workers with two threads each would slow one another down
test test-all test-release: export OMP_NUM_THREADS := 1
# modules that hundreds of processes import are compiled once, whatever the shell says
test test-all test-release: export PYTHONDONTWRITEBYTECODE :=

test: .setup  ## what proves the product, in 20 minutes of processor time
	$(RUN) pytest -n 2 --dist worksteal -m "not long and not release"

test-all: .setup  ## the same and the long proofs: kills, foreign models, fresh environments
	$(RUN) pytest -n 2 --dist worksteal -m "not release"

test-release: .setup  ## recipes trained to a figure, and a check that takes minutes: before a release
	$(RUN) pytest -n 2 --dist worksteal -m release

# warnings of old libraries are no faults of ours
test-lowest: export OMP_NUM_THREADS := 1
test-lowest: .setup  ## a cut of the tests with the lowest versions that are asked for, in an environment of their own
	$(UV) venv --quiet --allow-existing .lowest
	$(UV) pip install --quiet --no-config --python .lowest --resolution lowest-direct \
		-e core -e "tasks[torchmetrics]" -e "plugins/study[cma-es,grpc,mysql,postgresql]" \
		-e "plugins/instruments[mlflow,tensorboard,wandb]" \
		$(patsubst %,-e %,$(filter-out plugins/instruments plugins/study,$(wildcard plugins/*))) pyarrow==15.0.0
	$(UV) pip install --quiet --no-config --python .lowest hypothesis jsonschema pytest-timeout pytest-xdist
	.lowest/bin/pytest -n 2 --dist worksteal -o filterwarnings=default -m "not slow and not long and not release and not timing" \
		core/tests tasks/tests plugins tests/test_verbs.py

check: .setup  ## lint, format, types
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy

bench: .setup  ## side by side with peers, in an environment of their own; writes benchmarks/RESULTS.md
	$(UV) venv --quiet --allow-existing benchmarks/.venv
	$(UV) pip install --quiet --python benchmarks/.venv -r benchmarks/peers.txt -e core -e tasks -e plugins/vision
	benchmarks/.venv/bin/python benchmarks/overhead.py

recipes: .setup  ## the figures that recipes promise, on real data (about half an hour)
	$(RUN) python benchmarks/recipes.py

docs: .setup  ## the documentation, into site/
	$(RUN) mkdocs build --strict --quiet

clean:  ## what was built; not the runs
	rm -rf .setup .venv .uv .lowest benchmarks/.venv site dist
