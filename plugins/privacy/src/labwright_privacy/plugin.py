"""What labwright-privacy brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import labwright as lw

_RECIPES = Path(__file__).parent / "recipes"


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    yield lw.Component(
        "method",
        "privacy/dp-sgd",
        "labwright_privacy.differential.method:DifferentiallyPrivate",
        "differential privacy: gradients of single samples, bounded, with noise",
    )
    yield lw.Component(
        "method",
        "privacy/federated",
        "labwright_privacy.federated.method:FederatedAveraging",
        "clients that keep their samples: FedAvg, FedProx, FedOpt, simulated",
    )
    yield lw.Component(
        "method",
        "privacy/federated-dp",
        "labwright_privacy.federated.private:PrivateFederatedAveraging",
        "clients that keep their samples, private as whole clients",
    )
    yield lw.Component(
        "method",
        "privacy/federated-server",
        "labwright_privacy.federated.network:FederatedServer",
        "rounds of clients that are other processes: `labwright federate serve`",
    )
    yield lw.Component(
        "data", "privacy/masked", "labwright_privacy.masking.data:Masked", "texts with their personal data masked"
    )


@lw.hookimpl
def labwright_recipes() -> Iterator[lw.Recipe]:
    yield lw.Recipe(
        "privacy/digits-federated", _RECIPES / "digits-federated.toml", "digits at 20 clients, 5 of them in a round"
    )
    yield lw.Recipe("privacy/digits", _RECIPES / "digits.toml", "digits by one hidden layer, epsilon 3 at delta 1e-4")
    yield lw.Recipe("privacy/mnist", _RECIPES / "mnist.toml", "MNIST by a small CNN, epsilon 3 at delta 1e-5")


@lw.hookimpl
def labwright_verbs() -> Iterator[lw.Verb]:
    yield lw.Verb(
        "audit-privacy",
        "labwright_privacy.differential.audit_verb:verb",
        "what an attack finds out about a private run, beside the epsilon it claims",
        group="Privacy",
        trains=True,
    )
    yield lw.Verb(
        "federate",
        "labwright_privacy.federated.verb:verb",
        "a federation of processes: its server, or a client",
        group="Privacy",
        trains=True,
    )
