"""Studies whose processes are killed at counted moments: no trial is lost, none counts twice, the storage is whole."""

from __future__ import annotations

import signal
from collections import Counter

import pytest
from lab import Lab, assert_parses, assert_whole, rows, trials_of
from labwright_study.trial_store import RETRY
from servers import postgresql
from waiting import until

KILLS, TRIALS = 20, 60

pytestmark = [pytest.mark.timing, pytest.mark.long]


@pytest.mark.parametrize(("kills", "count"), [(6, 24), pytest.param(KILLS, TRIALS, marks=pytest.mark.release)])
def test_killed_workers_leave_a_reproducible_study_as_it_would_have_been(lab: Lab, kills: int, count: int) -> None:
    whole = lab.tune("whole", count)
    assert lab.ended(whole)[0] == 0
    lab.doom(("worker", 2 + number % 2) for number in range(kills))
    code, said = lab.ended(lab.tune("killed", count, "--workers", "2"))
    assert code == 0, said
    assert lab.met() == {"worker": kills}
    assert_parses(lab.journal("killed"))
    trials = trials_of(f"journal:{lab.journal('killed')}", "killed")
    assert_whole(trials, count)
    assert len(trials) == count
    assert rows(trials) == rows(trials_of(f"journal:{lab.journal('whole')}", "whole"))


def test_killed_workers_cost_an_asynchronous_study_nothing(lab: Lab) -> None:
    lab.doom([("worker", 2 + number % 2) for number in range(6)], seed=1)
    code, said = lab.ended(lab.tune("killed", 24, "--workers", "2", "--asynchronous"))
    assert code == 0, said
    assert lab.met() == {"worker": 6}
    assert_parses(lab.journal("killed"))
    trials = trials_of(f"journal:{lab.journal('killed')}", "killed")
    assert_whole(trials, 24)
    assert len(trials) == 24  # a worker's trial is run again under its number


@pytest.mark.release
def test_twenty_killed_processes_of_three_machines_cost_a_study_on_postgresql_nothing(lab: Lab) -> None:
    """Workers, whole machines and the driver are killed; machines and the driver are started again."""
    kinds = {"worker": 12, "driver": 2, "self": 6}
    order = [*(["worker", "self"] * 3), "driver", *(["worker", "worker", "self"] * 3), "driver", *(["worker"] * 3)]
    assert Counter(order) == kinds and len(order) == KILLS
    with postgresql() as url:
        shared = ("--storage", url, "--asynchronous", "--workers", "2", "--lease", "30")
        start = {
            "home": lambda: lab.tune("shared", TRIALS, *shared, at="home"),
            "away": lambda: lab.start("worker", "shared", "--storage", url, at="away"),
            "abroad": lambda: lab.start("worker", "shared", "--storage", url, at="abroad"),
        }
        lab.hold(after=1)
        machines = {"home": start["home"]()}
        lab.held(2)
        lab.doom([(who, 1 if who == "self" else 2) for who in order], seed=2)
        machines |= {at: start[at]() for at in ("away", "abroad")}
        lab.let_go()

        def over() -> bool:
            for at, machine in machines.items():
                if machine.poll() == -signal.SIGKILL:
                    machines[at] = start[at]()
            return all(machine.poll() is not None for machine in machines.values())

        until(over, seconds=3000)
        for at, machine in machines.items():
            code, said = lab.ended(machine, at)
            assert code == 0, said
        trials = trials_of(url, "shared")
    assert lab.met() == kinds
    assert_whole(trials, TRIALS, retried=False)
    assert any(RETRY in trial.user_attrs for trial in trials)


def test_killed_drivers_leave_a_reproducible_study_as_it_would_have_been_and_no_process(lab: Lab) -> None:
    whole = lab.tune("whole", 16)
    assert lab.ended(whole)[0] == 0
    for number in range(3):
        lab.doom([("driver", 2 + number % 2)], seed=3 + number)
        assert lab.ended(lab.tune("killed", 16, "--workers", "2"))[0] == -signal.SIGKILL
    until(lambda: not lab.living())
    code, said = lab.ended(lab.tune("killed", 16, "--workers", "2"))
    assert code == 0, said
    assert lab.met() == {"driver": 3}
    assert_parses(lab.journal("killed"))
    assert rows(trials_of(f"journal:{lab.journal('killed')}", "killed")) == rows(
        trials_of(f"journal:{lab.journal('whole')}", "whole")
    )
