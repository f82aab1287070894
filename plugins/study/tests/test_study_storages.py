"""Where studies are kept, and who may work at them: journals, databases, proxies, leases, interruptions."""

from __future__ import annotations

import json
import multiprocessing
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import labwright as lw
import pytest
from lab import Lab, assert_parses, assert_whole, rows, trials_of
from labwright_study.journal import Journal
from labwright_study.space import Space
from labwright_study.storage import LEASE, RELEASED, Lease, opened, without_password
from labwright_study.trial import Result
from labwright_study.trial_store import LOST, RETRY, TrialStore, lost
from optuna.trial import FrozenTrial
from parts import Blobs, sorting
from servers import free_port, grpc_proxy, listens
from test_studies import Searched
from waiting import until


def study(folder: Path, trials: int = 6, **settings: Any) -> lw.Study:
    experiment = sorting(Blobs(size=60, held_out=60), model=Searched, loss="cross-entropy", optimizer="sgd")
    given = {"search": {"only": ["model.*", "optimizer.lr"]}, "batch": 4, "quiet": True, "asynchronous": True}
    return lw.Study(experiment, trials, name="s", folder=folder, **(given | settings))


def journal(folder: Path) -> str:
    return f"journal:{folder / 'journal.log'}"


# ------------------------------------------------------------------------------------------------------------ a journal


def test_a_torn_line_is_left_out_by_who_reads_and_cut_off_by_who_writes(tmp_path: Path) -> None:
    study(tmp_path, 2).run()
    file = tmp_path / "journal.log"
    whole, before = file.read_bytes(), rows(trials_of(journal(tmp_path), "s"))
    for torn in (b"{", b'{"op_code":4,"worker' + b"x" * 10_000, b"\0" * 5000):
        file.write_bytes(whole + torn)
        assert rows(trials_of(journal(tmp_path), "s")) == before
        assert file.read_bytes() == whole + torn
    assert study(tmp_path, 3).run().trials == 3
    assert file.read_bytes().startswith(whole) and b"\0" not in file.read_bytes()
    assert_parses(file)


@pytest.mark.parametrize("change", [b"", b"}{", b'{"op_code":4}', b"[1]", b"\xff\xfe"])
def test_a_damaged_line_is_named_with_the_way_out(tmp_path: Path, change: bytes) -> None:
    study(tmp_path, 2).run()
    file = tmp_path / "journal.log"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:7], change + b"\n", *lines[8:]]))
    with pytest.raises(lw.LabwrightError, match=r"is damaged in line 8: .* head -n 7 ") as raised:
        study(tmp_path, 2).run()
    subprocess.run(str(raised.value).partition("from there: ")[2], shell=True, check=True)
    assert file.read_bytes() == b"".join(lines[:7])
    assert len(trials_of(journal(tmp_path), "s")) == 1


def test_a_value_that_was_changed_in_a_journal_is_noticed(tmp_path: Path) -> None:
    study(tmp_path, 2).run()
    file = tmp_path / "journal.log"
    content = file.read_bytes()
    place = content.index(b'"intermediate_value":0.') + len(b'"intermediate_value":0.')
    changed = b"1" if content[place : place + 1] != b"1" else b"2"
    file.write_bytes(content[:place] + changed + content[place + 1 :])
    with pytest.raises(lw.LabwrightError, match="is damaged in line"):
        trials_of(journal(tmp_path), "s")


def test_what_is_no_journal_is_neither_read_nor_written(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    for text in (b"hello\nworld\n", b"a line without an end", b'{"a": 1}\n{"b'):
        notes.write_bytes(text)
        with pytest.raises(lw.LabwrightError, match=r"notes.txt is no journal of a study"):
            study(tmp_path / "s", 2, storage=f"journal:{notes}").run()
        assert notes.read_bytes() == text


def test_a_journal_that_is_a_link_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / "s").mkdir()
    for name in ("journal.log", "journal.log.flock"):
        (tmp_path / "s" / name).unlink(missing_ok=True)
        (tmp_path / "s" / name).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(lw.LabwrightError, match="it is a link, and what a link leads to isn't written"):
            Journal(tmp_path / "s" / "journal.log").append_logs([{"op_code": 0, "worker_id": "w"}])
        (tmp_path / "s" / name).unlink()
    assert (tmp_path / "elsewhere").read_bytes() == b""


def test_a_line_that_another_process_tore_is_cut_off_before_the_next_is_written(tmp_path: Path) -> None:
    book = study(tmp_path).opened()
    trial = book.ask()
    with (tmp_path / "journal.log").open("ab") as file:
        file.write(b'{"op_code":9,"worker_id":"killed in the mid')
    assert len(book.trials()) == 1  # what isn't whole isn't read
    assert book.tell(trial, Result(0, "complete", [0.5]))
    assert_parses(tmp_path / "journal.log")
    assert [one.values for one in trials_of(journal(tmp_path), "s")] == [[0.5]]


def test_an_empty_journal_and_one_without_a_whole_line_are_new_ones(tmp_path: Path) -> None:
    for place, torn in enumerate((b"", b"{", b'{"op_code":0,"wor')):
        folder = tmp_path / str(place)
        folder.mkdir()
        (folder / "journal.log").write_bytes(torn)
        assert study(folder, 1).run().trials == 1


# -------------------------------------------------------------------------------------------------- databases, proxies


def test_a_study_in_sqlite_has_the_same_trials_as_one_in_a_journal(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    one = study(tmp_path / "one", asynchronous=False)
    other = study(tmp_path / "other", asynchronous=False, storage=url)
    assert one.run().trials == other.run().trials == 6
    assert rows(trials_of(url, "s")) == rows(trials_of(journal(tmp_path / "one"), "s"))


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[str]:
    """A gRPC proxy of a journal."""
    with grpc_proxy(journal(tmp_path)) as (url, _):
        yield url


@pytest.mark.long
@pytest.mark.timing
def test_a_study_behind_a_grpc_proxy_has_the_same_trials_as_one_in_a_journal(tmp_path: Path, proxy: str) -> None:
    one = study(tmp_path / "one", asynchronous=False)
    assert one.run().trials == study(tmp_path / "other", asynchronous=False, storage=proxy).run().trials == 6
    assert rows(trials_of(proxy, "s")) == rows(trials_of(journal(tmp_path / "one"), "s"))


@pytest.mark.timing
def test_behind_a_proxy_a_lost_trial_is_taken_over_once_too(tmp_path: Path, proxy: str) -> None:
    one, other = (study(tmp_path / name, storage=proxy).opened() for name in ("one", "other"))
    trial = one.ask(lease=RELEASED)
    assert [book.taken_over(Lease()) is not None for book in (one, other)] == [True, False]
    assert not one.tell(trial, Result(0, "complete", [0.5]))
    assert one.answer_now(trial, [[0.5]])


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("somewhere", "given the storage 'somewhere'; it is journal:FILE"),
        ("journal:", "given the storage 'journal:'; it is journal:FILE"),
        ("grpc://here", "it is grpc://HOST:PORT"),
        ("oracle://me:secret@here/db", r"the storage 'oracle://me:\*\*\*@here/db' needs a package"),
        ("postgresql+asyncpg://me@here/db", r"pip install 'labwright-study\[postgresql\]'"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/db", r"'postgresql\+psycopg://me:\*\*\*@127.0.0.1:1/db' can't be"),
        ("mysql+pymysql://me:p@ss@127.0.0.1:1/db", r"'mysql\+pymysql://me:\*\*\*@127.0.0.1:1/db' can't be opened"),
        ("sqlite:////nowhere/at/all.db", "unable to open database file"),
        ("elsewhere://x", "can't be opened"),
    ],
)
def test_a_storage_that_cannot_be_had_is_one_message(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(lw.LabwrightError, match=said) as raised:
        study(tmp_path, storage=url).run()
    assert "\n" not in str(raised.value) and "secret" not in str(raised.value)


@pytest.mark.timing
def test_a_proxy_that_is_not_there_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labwright_study.storage.PATIENCE", 1)
    with pytest.raises(lw.LabwrightError, match=r"the storage 'grpc://127.0.0.1:1' can't be opened"):
        study(tmp_path, storage="grpc://127.0.0.1:1").run()


def test_passwords_are_not_shown() -> None:
    assert without_password("mysql+pymysql://me:a:b@c@host:3306/db") == "mysql+pymysql://me:***@host:3306/db"
    assert without_password("postgresql+psycopg://host:5432/db") == "postgresql+psycopg://host:5432/db"
    assert without_password("grpc://host:13000") == "grpc://host:13000"
    asked = "postgresql+psycopg://host/db?user=me&password=s3cret&sslmode=require&sslpassword=other"
    assert without_password(asked) == (
        "postgresql+psycopg://host/db?user=me&password=***&sslmode=require&sslpassword=***"
    )


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:s3cret@127.0.0.1:1/db",
        "postgresql+psycopg://127.0.0.1:1/db?user=me&password=s3cret",
        "mysql+pymysql://me:s3%63ret@127.0.0.1:1/db?secret=s3cret",
        "nothing+here://me:s3cret@127.0.0.1:x/db",
        "sqlite:////nowhere/at/all.db?password=s3cret",
        "me:s3cret@somewhere",
        "grpc://me:s3cret@there",
    ],
)
def test_a_password_is_in_no_message_and_in_no_file(tmp_path: Path, url: str) -> None:
    with pytest.raises(lw.LabwrightError) as raised:
        study(tmp_path / "s", storage=url).run()
    assert "s3cret" not in str(raised.value) and not (tmp_path / "s").exists()


def test_a_password_of_a_storage_is_in_none_of_a_study_s_files(tmp_path: Path, capsys: Any) -> None:
    url = f"sqlite:///file:{tmp_path / 'studies.db'}?uri=true&password=s3cret"  # SQLite doesn't mind
    found = study(tmp_path / "s", 2, storage=url, asynchronous=False, quiet=False).run()
    written = [file for file in (tmp_path / "s").rglob("*") if file.is_file()]
    assert {"report.html", "study.json"} <= {file.name for file in written}
    assert not [file for file in written if b"s3cret" in file.read_bytes()]
    said = capsys.readouterr()
    assert "s3cret" not in said.out + said.err + json.dumps(found.json())


def _open_at_once(url: str, start: Any, said: Any) -> None:
    start.wait()
    try:
        opened(url)
        said.put("")
    except Exception as error:
        said.put(str(error))


@pytest.mark.timing
@pytest.mark.long
def test_processes_may_make_the_same_database_at_the_same_moment(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for attempt in range(3):
        start, said = context.Event(), context.Queue()
        url = f"sqlite:///{tmp_path / f'{attempt}.db'}"
        processes = [context.Process(target=_open_at_once, args=(url, start, said)) for _ in range(4)]
        for process in processes:
            process.start()
        start.set()
        assert [said.get(timeout=60) for _ in processes] == [""] * 4
        for process in processes:
            process.join()


# -------------------------------------------------------------------------------------------------------------- asking


@pytest.mark.parametrize(
    "sampler", ["tpe", *(pytest.param(name, marks=pytest.mark.long) for name in ("random", "qmc", "nsga-ii"))]
)
def test_a_process_that_dies_while_asking_leaves_no_half_trial(
    tmp_path: Path, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"asynchronous": False, "sampler": sampler, "trials": 12}
    whole = study(tmp_path / "whole", **given)
    whole.run()
    suggest, asked = Space.suggest, []

    def dies(self: Space, trial: Any, *given: Any) -> Any:
        asked.append(trial.number)
        point = suggest(self, trial, *given)
        if len(asked) in (3, 8):
            raise KeyboardInterrupt
        return point

    monkeypatch.setattr(Space, "suggest", dies)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            study(tmp_path / "cut", **given).run()
        assert all(len(trial.params) == 3 for trial in trials_of(journal(tmp_path / "cut"), "s"))
    study(tmp_path / "cut", **given).run()
    assert rows(trials_of(journal(tmp_path / "cut"), "s")) == rows(trials_of(journal(tmp_path / "whole"), "s"))


def test_machines_that_ask_at_the_same_moment_have_different_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is slower to draw draws again, and leaves no trial behind that would have others draw again."""
    one, other = study(tmp_path).opened(), study(tmp_path).opened()
    suggest, between = Space.suggest, []

    def meanwhile(self: Space, trial: Any, *given: Any) -> Any:
        point = suggest(self, trial, *given)
        if not between:
            between.append(True)
            other.ask()
        return point

    one.ask()
    monkeypatch.setattr(Space, "suggest", meanwhile)
    one.ask()
    assert [trial.number for trial in one.trials() if not lost(trial)] == [0, 1, 2]
    assert len({tuple(trial.params.items()) for trial in one.trials()}) == 3


def test_of_two_trials_created_at_the_same_moment_the_later_is_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = study(tmp_path).opened(), study(tmp_path).opened()
    create, between = one.study._storage.create_new_trial, []

    def slow(*given: Any) -> int:
        if not between:
            between.append(other.ask())
        return create(*given)

    one.ask()
    monkeypatch.setattr(one.study._storage, "create_new_trial", slow)
    one.ask()
    counted = [trial for trial in one.trials() if not lost(trial)]
    assert [trial.number for trial in counted] == [0, 1, 3]
    assert len({tuple(trial.params.items()) for trial in counted}) == 3
    assert one.trials()[2].system_attrs[LOST] == "surplus"


def test_points_that_somebody_enqueued_are_asked_first(tmp_path: Path) -> None:
    one = study(tmp_path, 4, asynchronous=False)
    wanted = {"model.width": 12, "model.bias": 0.25, "optimizer.lr": 0.03}
    also = wanted | {"model.width": 13}
    for point in (wanted, also):
        one.opened().study.enqueue_trial(point)
    assert one.run().trials == 4
    counted = [trial for trial in trials_of(journal(tmp_path), "s") if not lost(trial)]
    assert len(counted) == 4 and [trial.params for trial in counted[:2]] == [wanted, also]


# -------------------------------------------------------------------------------------------------------------- leases


class Clock:
    """A clock that is set by hand, of one machine."""

    def __init__(self) -> None:
        self.now = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("labwright_study.storage.time.monotonic", lambda: made.now)
    return made


def elsewhere(**changed: Any) -> dict[str, Any]:
    """The lease of a process on another machine."""
    return {"owner": "far:1:ab", "machine": "far", "seconds": 60.0, "renewal": 1} | changed


@pytest.mark.timing
def test_a_lease_is_over_when_it_has_not_changed_for_as_long_as_it_holds(tmp_path: Path, clock: Clock) -> None:
    book, lease = study(tmp_path).opened(), Lease(60.0)
    trial = book.ask(lease=elsewhere())
    for now, gone in ((0, False), (59, False), (61, True)):
        clock.now = 100.0 + now
        assert lease.over(trial.number, trial.system_attrs[LEASE]) is gone
    for renewal in (2, 3, 4):  # it is renewed
        clock.now += 3600
        assert not lease.over(trial.number, elsewhere(renewal=renewal))


@pytest.mark.timing
def test_a_process_of_this_machine_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    lease = Lease(60.0)
    process = multiprocessing.get_context("forkserver").Process(target=int)
    process.start()
    process.join()
    held = lease.now()
    gone = held | {"owner": held["owner"].replace(f":{held['owner'].split(':')[1]}:", f":{process.pid}:")}
    assert lease.over(0, gone) and not lease.held_by(gone)
    alive = held | {"owner": f"{held['owner']}x"}
    assert not lease.over(0, alive) and "process" in lease.held_by(alive)
    assert not lease.over(0, held) and not lease.held_by(held)
    assert lease.over(0, RELEASED)


def _lost_trial(folder: Path) -> tuple[TrialStore, FrozenTrial]:
    book = study(folder).opened()
    return book, book.ask(lease=RELEASED)


def test_a_lost_trial_is_asked_again_once_and_what_its_owner_says_later_is_dropped(tmp_path: Path) -> None:
    owner, trial = _lost_trial(tmp_path)
    taker = study(tmp_path).opened()
    gone = taker.taken_over(Lease())
    assert gone is not None and gone.number == 0
    again = taker.again(gone, lease=Lease().now())
    assert again.params == trial.params
    assert again.user_attrs == {"baseline": True, RETRY: 0}
    assert owner.taken_over(Lease()) is None
    assert owner.answer_now(trial, [[0.5]])  # it is to end
    assert not owner.tell(trial, Result(0, "complete", [0.5]))
    assert taker.tell(again, Result(1, "complete", [0.25]))
    assert [one.number for one in owner.counted()] == [1]


def test_an_owner_who_is_quicker_than_whoever_takes_over_has_told_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, trial = _lost_trial(tmp_path)
    taker = study(tmp_path).opened()
    write = taker.storage.set_trial_system_attr

    def slow(*given: Any) -> None:
        write(*given)
        assert owner.tell(trial, Result(0, "complete", [0.5], [[0.5]]))

    monkeypatch.setattr(taker.storage, "set_trial_system_attr", slow)
    assert taker.taken_over(Lease()) is None
    assert [one.values for one in taker.counted()] == [[0.5]]


def test_a_study_goes_on_with_the_trials_of_a_machine_that_is_gone(tmp_path: Path) -> None:
    _lost_trial(tmp_path)
    assert study(tmp_path, 6).run().trials == 6
    trials = trials_of(journal(tmp_path), "s")
    assert_whole(trials, 6)
    assert len(trials) == 7 and trials[0].params == trials[1].params


def test_a_study_whose_process_died_before_it_was_described_is_begun_anew(tmp_path: Path) -> None:
    import optuna

    optuna.create_study(storage=opened(journal(tmp_path)), study_name="s", direction="maximize")
    assert study(tmp_path, 2).run().trials == 2


@pytest.mark.timing
def test_a_reproducible_study_is_run_by_one_machine_whatever_its_clock(tmp_path: Path, clock: Clock) -> None:
    url = journal(tmp_path)
    given = {"storage": url, "asynchronous": False, "trials": 2}
    book = study(tmp_path / "one", **given).opened()

    def held(**changed: Any) -> None:
        book.storage.set_study_system_attr(book.study._study_id, LEASE, elsewhere(**changed))

    def sleep(seconds: float) -> None:
        clock.now += seconds
        if clock.now < 130:  # it is alive that long
            held(renewal=int(clock.now))

    held()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("labwright_study.storage.time.sleep", sleep)
        with pytest.raises(lw.LabwrightError, match="is being run by process 1 on far"):
            study(tmp_path / "other", **given).run()
        clock.now = 130.0
        assert study(tmp_path / "other", **given).run().trials == 2
    assert clock.now > 190  # it was watched for as long as it holds
    assert book.storage.get_study_system_attrs(book.study._study_id)[LEASE] is None


@pytest.mark.timing
def test_a_study_that_another_machine_took_over_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = study(tmp_path, 40, asynchronous=False, lease=0.3)
    keep: Callable[..., None] = TrialStore.keep
    held_by: Callable[..., str] = Lease.held_by
    noticed = threading.Event()

    def looked(self: Lease, held: Any) -> str:
        if other := held_by(self, held):
            noticed.set()
        return other

    def taken(self: TrialStore, trial: FrozenTrial, result: Result) -> None:
        while not noticed.is_set():  # a renewal that was under way may have been last
            self.storage.set_study_system_attr(self.study._study_id, LEASE, elsewhere())
            noticed.wait(0.1)
        keep(self, trial, result)

    monkeypatch.setattr(Lease, "held_by", looked)
    monkeypatch.setattr(TrialStore, "keep", taken)
    with pytest.raises(lw.LabwrightError, match="is being run by process 1 on far"):
        one.run()
    assert len(trials_of(journal(tmp_path), "s")) < 40


# ----------------------------------------------------------------------------------------------------- as a person does


@pytest.mark.long
@pytest.mark.timing
def test_a_second_tune_is_refused_and_a_worker_of_a_reproducible_study_too(lab: Lab) -> None:
    lab.hold(after=1)
    first = lab.tune("s", 60)
    lab.held(1)
    second = lab.tune("s", 60)
    worker = lab.start("worker", "s")
    for process, said in (
        (second, f"error: the study in studies/s is being run by process {first.pid}. Wait for it"),
        (worker, "error: study 's' is reproducible, so that one `labwright tune` drives it"),
    ):
        code, told = lab.ended(process)
        assert (code, told.count("\n")) == (2, 1) and told.startswith(said)


@pytest.mark.long
@pytest.mark.timing
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_once_ends_after_the_trials_under_way_and_twice_at_once(lab: Lab, presses: int) -> None:
    lab.hold(after=1)
    driver = lab.tune("cut", 8, "--workers", "2")
    one, _ = lab.held(2)
    driver.send_signal(signal.SIGINT)
    one.unlink()
    until(lambda: lab.said(driver).count("\ntrial ") == 3)  # it has done something since, so that it was told
    if presses == 2:
        driver.send_signal(signal.SIGINT)
    else:
        lab.let_go()
    code, said = lab.ended(driver)
    assert code == 130, said
    assert "Traceback" not in said
    assert said.count("\ntrial ") == 5 - presses
    if presses == 1:
        assert "interrupted; the same command goes on." in said
    else:
        lab.let_go()
    assert not lab.living()
    code, said = lab.ended(lab.tune("cut", 8, "--workers", "2"))
    assert code == 0, said
    assert lab.ended(lab.tune("whole", 8))[0] == 0
    assert rows(trials_of(f"journal:{lab.journal('cut')}", "cut")) == rows(
        trials_of(f"journal:{lab.journal('whole')}", "whole")
    )


@pytest.mark.long
@pytest.mark.timing
def test_a_storage_that_is_gone_in_the_middle_is_one_message(lab: Lab, tmp_path: Path) -> None:
    lab.hold(after=1)
    with grpc_proxy(journal(tmp_path / "served")) as (url, server):
        driver = lab.tune("s", 60, "--storage", url)
        lab.held(1)
        server.kill()
        server.join()
        lab.let_go()
        code, said = lab.ended(driver)
    assert code == 2, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith(f"error: the storage '{url}' doesn't answer: ")


@pytest.mark.long
@pytest.mark.timing
def test_machines_join_a_study_from_the_same_folder_and_from_others(lab: Lab) -> None:
    lab.hold(after=1)
    driver = lab.tune("s", 16, "--asynchronous")
    lab.held(1)
    machines = [
        lab.start("worker", "s", "--json"),
        lab.start("worker", "s", "--storage", f"journal:{lab.journal('s')}", at="away"),
    ]
    lab.held(3)
    lab.let_go()
    for process, at in zip([driver, *machines], [".", ".", "away"], strict=True):
        code, said = lab.ended(process, at)
        assert code == 0, said
    assert_parses(lab.journal("s"))
    assert_whole(trials_of(f"journal:{lab.journal('s')}", "s"), 16)


# -------------------------------------------------------------------------------------------------- seen by others


@pytest.mark.timing
def test_optuna_dashboard_shows_a_study_from_its_journal(tmp_path: Path):
    one = study(tmp_path, asynchronous=False)
    one.run()
    port = free_port()
    command = [Path(sys.executable).parent / "optuna-dashboard", tmp_path / "journal.log", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as dashboard:
        try:
            until(lambda: listens(port))

            def told(path: str) -> Any:
                with urlopen(f"http://127.0.0.1:{port}/api/studies{path}", timeout=300) as answer:
                    return json.load(answer)

            (shown,) = told("")["study_summaries"]
            assert (shown["study_name"], shown["directions"]) == ("s", ["maximize"])
            seen = told(f"/{shown['study_id']}")["trials"]
        finally:
            dashboard.terminate()
    trials = one.opened().trials()
    assert [trial["number"] for trial in seen] == [trial.number for trial in trials]
    for shown, trial in zip(seen, trials, strict=True):
        assert shown["state"].upper() == trial.state.name
        assert {one["name"] for one in shown["params"]} == set(trial.params)
        assert {one["step"]: one["value"] for one in shown["intermediate_values"]} == trial.intermediate_values
