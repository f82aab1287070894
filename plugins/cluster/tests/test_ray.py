"""Studies whose workers run on the nodes of a real Ray cluster on this machine.

`make test-all` runs them below `uv run`, where Ray by itself would start its workers by `uv run` too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import PARTS, PLUGIN, Lab, assert_parses, assert_whole, rows, trials_of
from waiting import until

pytest.importorskip("ray", reason="needs Ray: pip install 'labwright-cluster[ray]'")
pytestmark = [pytest.mark.long, pytest.mark.timing, pytest.mark.filterwarnings("default")]  # Ray's own warn
SMALL = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture
def lab(site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A study of toys, whose workers may be started by nodes of Ray that this process starts."""
    site.install("toys", PLUGIN)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site.folder), str(PARTS), os.environ.get("PYTHONPATH", "")]))
    for name, value in {"LAB": str(tmp_path / "lab"), "LAB_PERSON": str(os.getpid()), "LAB_DRIVER": "0"}.items():
        monkeypatch.setenv(name, value)
    lab = Lab(tmp_path, site.folder)
    yield lab
    lab.close()


@pytest.fixture
def nodes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    """A cluster of two nodes that this machine is in, and its second node."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**SMALL, "include_dashboard": False})
    try:
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster, cluster.add_node(**SMALL)
    finally:
        cluster.shutdown()


def test_a_study_on_ray_has_the_trials_that_it_has_here(lab: Lab) -> None:
    assert lab.ended(lab.tune("here", 6, "--batch", "3", "--workers", "2"))[0] == 0
    code, said = lab.ended(lab.tune("there", 6, "--batch", "3", "--workers", "2", "--on", "ray"))
    assert code == 0, said
    assert "note: trials run on Ray, on 1 node" in said
    here, there = (trials_of(f"journal:{lab.journal(name)}", name) for name in ("here", "there"))
    assert rows(there) == rows(here)


def test_a_node_that_dies_in_mid_study_costs_no_trial(lab: Lab, nodes: tuple[Any, Any]) -> None:
    cluster, second = nodes
    lab.hold(after=1)
    study = lab.tune("shared", 12, "--asynchronous", "--workers", "2", "--on", "ray")
    held = lab.folder / "lab" / "held"
    until(lambda: len(list(held.iterdir())) == 2 or study.poll() is not None)
    assert study.poll() is None, lab.said(study)
    cluster.remove_node(second, allow_graceful=False)
    lab.let_go()
    code, said = lab.ended(study)
    assert code == 0, said
    assert "is gone" in said and "on 2 nodes" in said
    assert_parses(lab.journal("shared"))
    trials = trials_of(f"journal:{lab.journal('shared')}", "shared")
    assert_whole(trials, 12)
    assert len(trials) == 12  # a worker's trial is run again under its number
