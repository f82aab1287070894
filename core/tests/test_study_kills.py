"""Studies whose processes are killed at random moments: no trial is lost, none counts twice, the storage is whole."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator

import psycopg
import pytest
from conftest import Site
from lab import (
    PLUGIN,
    Lab,
    alive,
    assert_parses,
    assert_whole,
    children,
    kill_at_random,
    rows,
    trials_of,
    until,
)
from labwright.study.book import RETRY
from servers import postgresql

KILLS, TRIALS = 20, 60

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # a minute each on two idle cores


@pytest.fixture
def lab(site: Site) -> Iterator[Lab]:
    site.install("toys", PLUGIN)
    here = Lab(site.folder.parent, site.folder)
    yield here
    here.close()


def test_twenty_killed_workers_leave_a_reproducible_study_as_it_would_have_been(lab: Lab) -> None:
    lab.epochs = 60  # so that trials last as long as it takes to kill
    whole = lab.tune("whole", TRIALS)
    assert lab.ended(whole)[0] == 0
    driver = lab.tune("killed", TRIALS, "--workers", "2")
    journal = lab.journal("killed")
    kill_at_random(driver, journal, kills=KILLS)
    assert driver.poll() is None
    code, said = lab.ended(driver)
    assert code == 0, said
    assert_parses(journal)
    trials = trials_of(f"journal:{journal}", "killed")
    assert_whole(trials, TRIALS)
    assert len(trials) == TRIALS
    assert rows(trials) == rows(trials_of(f"journal:{lab.journal('whole')}", "whole"))


def test_killed_workers_cost_an_asynchronous_study_nothing(lab: Lab) -> None:
    lab.epochs = 60  # so that trials last as long as it takes to kill
    driver = lab.tune("killed", 24, "--workers", "2", "--asynchronous")
    journal = lab.journal("killed")
    kill_at_random(driver, journal, kills=6, seed=1)
    assert driver.poll() is None
    code, said = lab.ended(driver)
    assert code == 0, said
    assert_parses(journal)
    trials = trials_of(f"journal:{journal}", "killed")
    assert_whole(trials, 24)
    assert len(trials) == 24  # a worker's trial is run again under its number


def test_twenty_killed_processes_of_three_machines_cost_a_study_on_postgresql_nothing(lab: Lab) -> None:
    """Workers, whole machines and the driver are killed; machines and the driver are started again."""
    with postgresql() as url:
        shared = ("--storage", url, "--asynchronous", "--workers", "2", "--lease", "4")
        machines = {"home": lab.tune("shared", TRIALS, *shared, at="home")}

        def join(at: str) -> None:
            machines[at] = lab.start("worker", "shared", "--storage", url, at=at)

        lab.heard(machines["home"], "\ntrial 0", "home")
        for at in ("away", "abroad"):
            join(at)
        chance, kills = random.Random(2), {"worker": 0, "machine": 0, "driver": 0}
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as looking:

            def done() -> int:
                row = looking.execute("SELECT count(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED')").fetchone()
                return row[0] if row else 0

            for number in range(KILLS):
                before = done()
                if number % 4:
                    until(lambda before=before: done() > before)
                time.sleep(chance.uniform(0.0, 0.6))
                if number in (6, 13):
                    machines["home"].kill()
                    machines["home"] = lab.tune("shared", TRIALS, *shared, at="home")
                    kills["driver"] += 1
                elif number % 3 == 0 or not (workers := children(machines["home"])):
                    at = chance.choice(("away", "abroad"))
                    machines[at].kill()
                    join(at)
                    kills["machine"] += 1
                else:
                    os.kill(chance.choice(workers), signal.SIGKILL)
                    kills["worker"] += 1
            assert done() < TRIALS
        for at, process in machines.items():
            code, said = lab.ended(process, at)
            assert code == 0, said
        trials = trials_of(url, "shared")
    assert sum(kills.values()) == KILLS and kills["worker"] > 3 and kills["driver"] == 2
    assert_whole(trials, TRIALS, retried=False)
    assert any(RETRY in trial.user_attrs for trial in trials)


def test_killed_drivers_leave_a_reproducible_study_as_it_would_have_been_and_no_process(lab: Lab) -> None:
    whole = lab.tune("whole", 16)
    assert lab.ended(whole)[0] == 0
    chance, orphans = random.Random(3), set[int]()
    for _ in range(3):
        driver = lab.tune("killed", 16, "--workers", "2")
        until(lambda driver=driver: "\ntrial " in lab.said(driver) or driver.poll() is not None)
        time.sleep(chance.uniform(0.0, 1.0))
        orphans.update(children(driver))
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    until(lambda: not any(map(alive, orphans)), seconds=60)  # those that were only starting end when they have
    code, said = lab.ended(lab.tune("killed", 16, "--workers", "2"))
    assert code == 0, said
    assert_parses(lab.journal("killed"))
    assert rows(trials_of(f"journal:{lab.journal('killed')}", "killed")) == rows(
        trials_of(f"journal:{lab.journal('whole')}", "whole")
    )
