"""Runs of Weights & Biases."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from labwright import LabwrightError, Outcome, Run, hookimpl

from labwright_instruments.tracking import Record, beginning, keep, kept, records, under_way

EXIT_CODES = {"finished": 0, "stopped": 0, "interrupted": 130, "failed": 1}
SECONDS = 120.0  # that the end of a run may wait for what is still to be sent


class WandB:
    """A run of Weights & Biases: the recipe as its config, all figures over `step`, the outcome in its summary.

    Offline, nothing is sent and no account is needed: everything lies in `wandb/` of the run's folder until you say
    `wandb sync`. W&B doesn't resume offline: a resumed run begins a new file under the same id, with all that the log
    holds until there, so that the newest file is whole; the one before is put into `wandb/replaced/`. Online, W&B goes
    on with the run; steps that are done again are sent again.

    Args:
        mode: `offline`, or `online`, which needs an API key: WANDB_API_KEY, or what `wandb login` has written.
        project: by default what WANDB_PROJECT says, or labwright.
        entity: a user or team; your own by default.
        group: what the run belongs to within the project.
        tags: texts.
    """

    def __init__(
        self,
        *,
        mode: Literal["offline", "online"] = "offline",
        project: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        tags: tuple[str, ...] = (),
    ) -> None:
        self.mode, self.project, self.entity, self.group, self.tags = mode, project, entity, group, tags
        self._tracked: Any = None

    @hookimpl
    def labwright_run_started(self, run: Run) -> None:
        with beginning("wandb"):
            file = run.folder / "wandb.json"
            before = kept(file)
            number = before.get("id") or secrets.token_hex(4)  # W&B's own would draw from the run's random numbers
            tracked = self._begin(run, number, resumed=bool(before))
            _remove_links(Path(tracked.dir).parent)
            if not before:
                keep(file, id=number)
            tracked.define_metric("step", hidden=True)
            tracked.define_metric("*", step_metric="step")
            self._tracked, self._per_epoch = tracked, run.steps_per_epoch
            if not tracked.resumed:  # the server has them
                for record in records(run.folder):
                    self._add(record)
        if self.mode == "online":
            run.notes.append(f"Weights & Biases shows it at {tracked.url}.")

    @hookimpl
    def labwright_logged(self, step: int, values: Mapping[str, float]) -> None:
        with under_way("wandb"):
            self._add(Record("train", "train", step, values))

    @hookimpl
    def labwright_evaluated(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        with under_way("wandb"):
            self._add(Record("evaluation", split, step, metrics))

    @hookimpl(trylast=True)  # what others say of the end is said before what is sent is waited for
    def labwright_run_ended(self, outcome: Outcome) -> None:
        if self._tracked is None:  # it never began
            return
        with under_way("wandb"):
            self._tracked.summary.update({"outcome": outcome.status, "outcome_reason": outcome.reason})
            self._tracked.finish(exit_code=EXIT_CODES[outcome.status])

    def _add(self, record: Record) -> None:
        # not by W&B's own steps, which may not go back: a GPU's losses come after the evaluation of a later step
        about = {"step": record.step, "epoch": round(record.step / self._per_epoch, 4)}
        self._tracked.log(about | record.tagged())

    def _begin(self, run: Run, number: str, *, resumed: bool) -> Any:
        offline = self.mode == "offline"
        if offline:
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # it would tell its makers over the network
        import wandb

        if not offline and not _has_key(wandb):
            raise LabwrightError(
                "logger 'wandb': mode='online' needs an API key, and there is none in $WANDB_API_KEY nor from "
                "`wandb login`. Without one, mode='offline' writes all the same for `wandb sync`."
            )
        quiet: dict[str, Any] = {"console": "off", "silent": True, "disable_code": True, "disable_git": True}
        quiet |= {"symlink": False, "finish_timeout": SECONDS, "finish_timeout_raises": True}
        if offline:
            _set_aside(run.folder / "wandb", number)
            quiet["x_disable_machine_info"] = True  # it would ask the network where it is
        return wandb.init(
            id=number,
            name=run.folder.name,
            dir=str(run.folder),
            project=self.project or os.environ.get("WANDB_PROJECT") or "labwright",
            entity=self.entity,
            group=self.group,
            tags=list(self.tags),
            config=dict(run.recipe),
            allow_val_change=True,
            mode=self.mode,
            reinit="create_new",  # a run that the program has begun itself stays as it is
            resume="allow" if resumed and not offline else None,
            settings=wandb.Settings(**quiet),
        )


def _has_key(wandb: Any) -> bool:
    """Whether W&B can log in without asking a person."""
    from requests.utils import get_netrc_auth

    known = wandb.setup().settings
    return bool(known.api_key or known.identity_token_file or get_netrc_auth(known.base_url))


def _remove_links(folder: Path) -> None:
    """Remove links to its own logs elsewhere, which W&B lays whatever is set: they keep a run from being resumed."""
    for path in folder.rglob("*"):
        if path.is_symlink():
            path.unlink()


def _set_aside(folder: Path, number: str) -> None:
    """Put offline files that the run has had so far where `wandb sync` doesn't look for any."""
    for before in sorted(folder.glob(f"offline-run-*-{number}")):
        place = folder / "replaced" / f"{before.name}.{secrets.token_hex(2)}"
        place.parent.mkdir(exist_ok=True)
        before.rename(place)
