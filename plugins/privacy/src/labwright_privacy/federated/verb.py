"""`labwright federate`: a federation of processes, the server or one of its clients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from labwright import LabwrightError, nearest
from labwright.cli.shared import Json, Overrides, RecipeName, print_json, print_metrics, print_outcome, say

ACTIONS = ("serve", "join")


def verb(
    ctx: typer.Context,
    action: Annotated[str, typer.Argument(metavar="|".join(ACTIONS))],
    recipe: RecipeName,
    overrides: Overrides = None,
    token: Annotated[Path | None, typer.Option(help="A file that server and clients share.")] = None,
    clients: Annotated[int, typer.Option(min=1, help="For `serve`: how many clients there are.")] = 2,
    host: Annotated[str, typer.Option(help="For `serve`: the address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="For `serve`: the port; 0 takes a free one.")] = 0,
    timeout: Annotated[float, typer.Option(help="For `serve`: seconds a round takes at most.")] = 600.0,
    folder: Annotated[Path | None, typer.Option(help="For `serve`: the run folder.")] = None,
    server: Annotated[str, typer.Option(help="For `join`: the address that `serve` says.")] = "",
    client: Annotated[int, typer.Option(min=0, help="For `join`: this client's number, from 0.")] = 0,
    share: Annotated[
        bool, typer.Option("--share", help="For `join`: train on this client's share of the recipe's data, not on all.")
    ] = False,
    patience: Annotated[float, typer.Option(help="For `join`: seconds to try a server that doesn't answer.")] = 60.0,
    as_json: Json = False,
) -> None:
    """Train with clients that keep their samples: `serve` is the server, each `join` a client of it.

    Both take the same recipe, whose method is 'privacy/federated'; a client names its own samples by FIELD=VALUE, and
    how it trains is the method's local_lr, local_epochs, local_steps and proximal.

    Examples: labwright federate serve digits.toml --clients 4 --token token · labwright federate join digits.toml
    --server http://127.0.0.1:8470 --client 0 --token token
    """
    if action not in ACTIONS:
        raise LabwrightError(f"`federate` has no {action!r}{nearest(action, ACTIONS)} It has {' and '.join(ACTIONS)}.")
    if token is None:
        raise LabwrightError(
            "--token FILE is needed, so that nobody else takes part. Make one by `head -c 24 /dev/urandom | base64 > "
            "FILE` and give it to every client."
        )
    experiment = ctx.obj.experiment(recipe, overrides)
    if experiment.method.name != "privacy/federated":
        raise LabwrightError(
            f"{recipe}: its method is {experiment.method.label!r}; a federation is trained by 'privacy/federated'."
        )
    if action == "serve":
        own = {"token": str(token), "clients": clients, "host": host, "port": port, "timeout": timeout}
        serving = experiment.varied({"method": {"name": "privacy/federated-server", **own}})
        print_outcome(serving.run(folder).outcome, as_json)
        return
    from labwright_privacy.federated.joining import joined

    if not server:
        raise LabwrightError("`federate join` needs --server URL, the address that `federate serve` says.")
    result = joined(experiment, server, client, token, share=share, patience=patience)
    say(f"took part in {result.taken} rounds" + (f"; {result.late} answers came too late" if result.late else ""))
    if as_json:
        print_json({"rounds": result.taken, "late": result.late, "metrics": result.metrics, "samples": result.samples})
    else:
        print_metrics(result.metrics, result.samples)
