"""`labwright audit-privacy`: what an attack finds out about a private run, beside the epsilon it claims."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from labwright.cli.shared import Json, RunFolder, echo, print_json, print_table, say

if TYPE_CHECKING:
    from labwright_privacy.differential.audit import Audit, Measure


def verb(
    ctx: typer.Context,
    run: RunFolder,
    canaries: Annotated[int, typer.Option(min=2, help="Canaries in a run, at most.")] = 1000,
    runs: Annotated[int, typer.Option(min=1, help="How many runs are attacked together.")] = 1,
    as_json: Json = False,
) -> None:
    """Attack a private run's method in the run's settings; exit 1 if what is found contradicts the epsilon it claims.

    The method trains again, on data in which some units are canaries by the toss of a coin, and an attacker who sees
    each of its gradients guesses which. What the guesses show is a lower bound of the true epsilon, at 98 % confidence.
    Beside it stands what the claim rests on, measured: that contradicts one honest run in 10,000.

    Example: labwright audit-privacy runs/privacy-digits-001
    """
    import labwright as lw

    from labwright_privacy.differential.audit import audit

    loaded = lw.load(run, plugins=ctx.obj.plugins)
    say(*(f"note: {note}" for note in loaded.notes))
    found = audit(loaded.experiment.quiet(), canaries=canaries, runs=runs)
    if as_json:
        print_json(found.json())
    else:
        print_table(
            [
                ("claimed", f"epsilon {found.claimed:.4g} at delta {found.delta:g}"),
                ("found", f"epsilon {found.epsilon:.4g} or more, unless the attack was lucky, once in 50 times"),
                ("", f"{found.right:,} of {found.guesses:,} guesses right about {found.canaries:,} canaries"),
                *((one.name, f"{one.measured:.4g}, claimed {one.claimed:.4g}{_mark(one)}") for one in found.measures),
            ]
        )
        echo(_verdict(found))
    if found.contradicted:
        raise typer.Exit(1)


def _mark(measure: Measure) -> str:
    return ": the claim rests on something that isn't so" if measure.contradicts else ""


def _verdict(found: Audit) -> str:
    if found.contradicted:
        return "The claim is contradicted: the weights tell more than epsilon says. Don't hand them on."
    power = f"Guesses of so many canaries can contradict an epsilon below {found.most:.3g} at most"
    more = "; more runs (--runs) see further." if found.most < found.claimed else "."
    return f"Nothing contradicts the claim. {power}{more}"
