"""What labwright-cluster brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator

import labwright as lw


@lw.hookimpl
def labwright_verbs() -> Iterator[lw.Verb]:
    yield lw.Verb(
        "submit", "labwright_cluster.verb:verb", "give a run, or workers of a study, to Slurm", "Train", trains=True
    )


@lw.hookimpl
def labwright_kinds() -> Iterator[lw.Kind]:
    # no base, as what a cluster derives from would be labwright-study's, and no plugin imports another
    yield lw.Kind("cluster", "", "clusters", "`tune --on`")


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    yield lw.Component("cluster", "ray", "labwright_cluster.ray_cluster:Ray", "the nodes of a Ray cluster")
