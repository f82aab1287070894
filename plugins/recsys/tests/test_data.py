"""MovieLens' layouts, one's own files, and the made-up users: what is read, kept, and known."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from labwright import LabwrightError
from labwright_recsys.data.interactions import OwnInteractions
from labwright_recsys.data.movielens import MovieLens
from labwright_recsys.data.recommendation import Recommendation
from labwright_recsys.data.splits import TEST, TRAIN, VALID
from labwright_recsys.data.synthetic import Synthetic
from labwright_recsys.data.table import Table
from labwright_recsys.ranking import best
from labwright_tasks.published import Parts

Write = Callable[..., Path]


def rows_of(data: Recommendation) -> dict[tuple[str, str], float]:
    triples = zip(data.users_N.tolist(), data.items_N.tolist(), data.ratings_N.tolist(), strict=True)
    return {(data.users[user], data.items[item]): rating for user, item, rating in triples}


def values(data: Recommendation, kind: str, name: str) -> list[set[str]]:
    (side,) = [one for one in (data.user_sides if kind == "user" else data.item_sides) if one.name == name]
    return [{side.values[code - 1] for code in row if code} for row in side.codes_NV.tolist()]


def test_the_layout_of_100k_is_read_with_titles_and_sides(tmp_path: Path, write: Write) -> None:
    write("u.data", ["2\t10\t5\t90\textra\tfields", "10\t9\t1\t91", "2\t9\t3\t92"])
    flags = ["0"] * 19
    flags[1] = flags[16] = "1"
    film = f"10|Amélie (2001)|01-Jan-2001||http://x|{'|'.join(flags)}"
    write("u.item", [film, f"9|Nine||||{'|'.join(['0'] * 19)}"], encoding="latin-1")
    write("u.user", ["2|24|M|technician|85711", "10|53|F|other|94043"])
    data = MovieLens(folder=tmp_path, valid=0.0, test=0.0)
    data.prepare()
    assert (data.users, data.items, data.titles) == (("2", "10"), ("9", "10"), ("Nine", "Amélie (2001)"))
    assert rows_of(data) == {("2", "10"): 5.0, ("2", "9"): 3.0, ("10", "9"): 1.0}
    assert values(data, "item", "genres") == [set(), {"Action", "Thriller"}]
    assert values(data, "item", "year") == [set(), {"2001"}]
    assert values(data, "user", "age") == [{"20s"}, {"50s"}]
    assert values(data, "user", "occupation") == [{"technician"}, {"other"}]


def test_the_layout_of_1m_is_read(tmp_path: Path, write: Write) -> None:
    write("ratings.dat", ["1::7::4::978300760", "2::7::2::978300761"])
    write("movies.dat", ["7::Léon: The Professional (1994)::Crime|Drama"], encoding="latin-1")
    write("users.dat", ["1::F::1::10::48067", "2::M::56::16::70072"])
    data = MovieLens(folder=tmp_path)
    data.prepare()
    assert data.titles == ("Léon: The Professional (1994)",)
    assert values(data, "item", "genres") == [{"Crime", "Drama"}]
    assert values(data, "user", "gender") == [{"F"}, {"M"}]


def test_the_newer_layout_is_read_packed_too(tmp_path: Path, write: Write) -> None:
    text = "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n1,1029,3.0,1260759179\n"
    (tmp_path / "ratings.csv.gz").write_bytes(gzip.compress(text.encode()))
    write("movies.csv", ["movieId,title,genres", '31,"Dangerous, Minds (1995)",Drama', "1029,Dumbo,(no genres listed)"])
    data = MovieLens(folder=tmp_path)
    data.prepare()
    assert data.titles == ("Dangerous, Minds (1995)", "Dumbo")
    assert rows_of(data) == {("1", "31"): 2.5, ("1", "1029"): 3.0}
    assert values(data, "item", "genres") == [{"Drama"}, set()]


def test_movielens_100k_is_read_whole(movielens: Path) -> None:
    data = MovieLens(folder=movielens)
    data.prepare()
    assert (len(data.users), len(data.items), len(data.users_N), data.repeats) == (943, 1682, 100_000, 0)
    assert data.ratings_N.long().bincount().tolist() == [0, 6110, 11370, 27145, 34174, 21201]
    assert data.titles[data.items.index("50")] == "Star Wars (1977)"


def test_of_repeated_pairs_the_latest_counts(made: Callable[..., Recommendation]) -> None:
    table = Table(["a", "a", "b", "a"], ["x", "x", "x", "x"], np.array([1.0, 5.0, 3.0, 2.0]), np.array([9.0, 12, 1, 4]))
    data = made(table)
    data.prepare()
    assert rows_of(data) == {("a", "x"): 5.0, ("b", "x"): 3.0}
    assert data.repeats == 2
    timeless = made(Table(table.users, table.items, table.ratings))
    timeless.prepare()
    assert rows_of(timeless) == {("a", "x"): 2.0, ("b", "x"): 3.0}


CSV = [
    "who,what,stars,when,called",
    "ann,b2,4,2024-05-31,Two",
    "bob,b10,3.5,2024-05-31T10:00:00+02:00,Ten",
    "ann,b10,1,1970-01-01,Ten",
]


def test_ones_own_csv_is_read_by_the_columns_named(write: Write) -> None:
    named = {"user": "who", "item": "what", "rating": "stars", "time": "when", "title": "called"}
    data = OwnInteractions(file=write("mine.csv", CSV), **named)
    assert data.table().times.argsort().tolist() == [2, 0, 1]
    data.prepare()
    assert (data.items, data.titles) == (("b10", "b2"), ("Ten", "Two"))
    assert rows_of(data) == {("ann", "b2"): 4.0, ("bob", "b10"): 3.5, ("ann", "b10"): 1.0}


def order(*times: object, write: Write) -> list[int]:
    """Rows in the order of their times, as they are read from a file."""
    lines = ["user,item,time", *(f"u,i{row},{time}" for row, time in enumerate(times))]
    found = OwnInteractions(file=write("times.csv", lines), time="time").table().times
    assert found.dtype == np.int64
    return found.argsort(kind="stable").tolist()


def test_times_that_differ_stay_apart(write: Write) -> None:
    nanoseconds = 1_500_000_000_000_000_000
    assert order(*(nanoseconds - 20 * row for row in range(5)), write=write) == [4, 3, 2, 1, 0]
    assert order("1717113600.000000003", "1717113600.000000001", "1717113600", write=write) == [2, 1, 0]
    assert order(10**25, 7, 10**25 - 1, write=write) == [1, 2, 0]
    assert order("2024-06-02", "20240531", "2024-05-31T23:00:00-03:00", write=write) == [1, 2, 0]
    assert order("2024-06-02", "2024-06-02T02:00:00+02:00", "1969-01-01", write=write) == [2, 0, 1]


def test_moments_of_parquet_keep_their_nanoseconds(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    moments = pyarrow.array([1_700_000_000_000_000_001, 1_700_000_000_000_000_003, 1_700_000_000_000_000_002])
    columns = {"user": ["a", "a", "a"], "item": [1, 2, 3], "time": moments.cast(pyarrow.timestamp("ns"))}
    parquet.write_table(pyarrow.table(columns), tmp_path / "mine.parquet")
    data = OwnInteractions(file=tmp_path / "mine.parquet", time="time", split="leave-one-out")
    data.prepare()
    assert data.parts_N.tolist() == [TRAIN, TEST, VALID]


def test_one_thing_has_one_name(tmp_path: Path, write: Write) -> None:
    accents = ["Jose\u0301", "Jos\u00e9", "\ufeffJos\u00e9 "]
    data = OwnInteractions(file=write("mine.csv", ["user,item", *(f"{name},i{n}" for n, name in enumerate(accents))]))
    data.prepare()
    assert data.users == ("Jos\u00e9",) and data.number("Jose\u0301", data.users, "user") == 0
    data = OwnInteractions(file=write("mine.csv", ["user,item", "01,007", "1,7", "1.0,7.0", "01,7"]))
    data.prepare()
    assert (data.users, data.items, data.repeats) == (("01", "1"), ("007", "7"), 1)


def test_identifiers_of_parquet_are_called_as_in_a_csv(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    for users, names in (
        ([b"ann", b"bob"], ("ann", "bob")),
        ([1.0, 16_777_217.0], ("1", "16777217")),
        (pyarrow.array(["x", "y"]).dictionary_encode(), ("x", "y")),
        ([bytes.fromhex("ff00"), bytes.fromhex("00ff")], ("00ff", "ff00")),
        ([True, False], ("false", "true")),
    ):
        parquet.write_table(pyarrow.table({"user": users, "item": [1, 2]}), tmp_path / "mine.parquet")
        data = OwnInteractions(file=tmp_path / "mine.parquet")
        data.prepare()
        assert data.users == names


def test_a_quote_in_a_title_between_tabs_swallows_nothing(write: Write) -> None:
    rows = [("u1", "x0"), ("u1", '"Heroes'), ("u2", "x0"), ("u2", 'called "Low"')]
    data = OwnInteractions(file=write("mine.tsv", ["user\titem", *("\t".join(row) for row in rows)]))
    data.prepare()
    assert set(rows_of(data)) == set(rows)


def test_another_encoding_is_read_where_it_is_said(write: Write) -> None:
    path = write("mine.csv", ['"User";"ISBN"', '"1";"Le\u00f3n"'], encoding="cp1252")
    named = {"user": "User", "item": "ISBN", "delimiter": ";", "encoding": "cp1252"}
    data = OwnInteractions(file=path, **named)
    data.prepare()
    assert data.items == ("Le\u00f3n",)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_titles_of_movielens_are_read_in_either_encoding_they_came_in(
    encoding: str, tmp_path: Path, write: Write
) -> None:
    write("ratings.dat", ["1::73::5::838985046", "1::2::4.5::838985047", "2::73::3::838985048"])
    write("movies.dat", ["73::Mis\u00e9rables, Les (1995)::Drama", "2::Jumanji (1995)::"], encoding=encoding)
    data = MovieLens(folder=tmp_path)
    data.prepare()
    assert data.titles == ("Jumanji (1995)", "Mis\u00e9rables, Les (1995)")
    assert values(data, "item", "genres") == [set(), {"Drama"}]


def test_what_is_left_out_is_counted_with_the_reason(write: Write) -> None:
    path = write("mine.csv", ["user,item,rating", "u,a,5", "u,a,4", "u,a,3", ",a,3", "u,b,", "v,b,2", " ,,1"])
    data = OwnInteractions(file=path, rating="rating")
    data.prepare()
    assert rows_of(data) == {("u", "a"): 3.0, ("v", "b"): 2.0}
    assert [(one.count, one.what) for one in data.left_out()] == [(2, "rows"), (1, "row"), (2, "interactions")]
    assert [one.why for one in data.left_out()] == [
        f"no user, as in {path}, line 5",
        f"no rating, as in {path}, line 6",
        "of one user and item the latest counts",
    ]


def test_users_that_no_list_is_measured_for_are_counted(made: Callable[..., Recommendation]) -> None:
    users = ["a"] * 10 + ["b"] * 9 + ["c"]
    items = [*map(str, range(10)), *map(str, range(9)), "1"]
    data = made(Table(users, items))
    data.prepare()
    assert data.left_out() == []
    (said,) = data.remarks()
    assert said.startswith("2 of 3 users are never measured: they have too few interactions for task.data.valid and ")
    later = made(Table(users, items, times=np.arange(20.0)), split="temporal")
    later.prepare()
    assert [(one.count, one.what) for one in later.left_out()] == [(1, "interaction")]  # of c, who comes last
    assert "nothing before the first moment of task.data.split=temporal" in later.left_out()[0].why


def test_other_interactions_have_another_identity(made: Callable[..., Recommendation]) -> None:
    def identity(*items: str, rating: float = 1.0) -> list[str]:
        data = made(Table(["a", "a", "b"], list(items), np.array([1.0, 2.0, rating])), valid=0.0, test=0.0)
        data.prepare()
        return list(data.identity("train"))

    first = identity("x", "y", "x")
    assert first == identity("x", "y", "x")
    assert first not in (identity("x", "z", "x"), identity("x", "y", "y"), identity("x", "y", "x", rating=3.0))


def test_without_ratings_every_interaction_counts_alike(write: Write) -> None:
    data = OwnInteractions(
        file=write("mine.tsv", ["user\titem", "1\t2", "1\t3"]),
    )
    data.prepare()
    assert not data.rated
    assert set(rows_of(data).values()) == {1.0}


def test_ones_own_parquet_equals_the_csv(tmp_path: Path, write: Write) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    header, *lines = (line.split(",") for line in CSV)
    columns = dict(zip(header, map(list, zip(*lines, strict=True)), strict=True))
    columns["stars"] = [float(one) for one in columns["stars"]]
    parquet.write_table(pyarrow.table(columns), tmp_path / "mine.parquet")
    named = {"user": "who", "item": "what", "rating": "stars", "time": "when", "title": "called"}
    left, right = (OwnInteractions(file=tmp_path / name, **named) for name in ("mine.parquet", "mine.csv"))
    write("mine.csv", CSV)
    for one in (left, right):
        one.prepare()
    assert rows_of(left) == rows_of(right)
    assert left.titles == right.titles


def test_what_was_read_is_kept_and_taken_up_again(tmp_path: Path) -> None:
    data, again = Synthetic(users=20, items=30, activity=12), Synthetic()
    data.prepare()
    data.save(tmp_path)
    again.load(tmp_path)
    for name in ("users_N", "items_N", "ratings_N", "parts_N"):
        assert torch.equal(getattr(data, name), getattr(again, name)), name
    assert (data.users, data.items, data.titles, data.rated) == (again.users, again.items, again.titles, again.rated)
    for mine, theirs in zip(data.user_sides + data.item_sides, again.user_sides + again.item_sides, strict=True):
        assert (mine.name, mine.values) == (theirs.name, theirs.values)
        assert torch.equal(mine.codes_NV, theirs.codes_NV)


def test_what_users_want_beats_popularity_by_a_known_margin() -> None:
    """Hits among ten of what was held out, by ranking with the model the data was made by."""
    data = Synthetic()
    data.prepare()
    want_UI, popular_I = (torch.from_numpy(one).float() for one in data.wants())
    train, test = data.split("train"), data.split("test")
    names = {kind: torch.tensor([int(name) - 1 for name in getattr(data, kind)]) for kind in ("users", "items")}
    want_UI = want_UI[names["users"]][:, names["items"]]
    popular_UI = popular_I[names["items"]].expand(want_UI.shape).clone()
    recall = []
    for scores in (want_UI, popular_UI):
        scores[train.users_N, train.items_N] = -torch.inf
        top = best(scores, 10)
        hits = (top[test.users_N] == test.items_N[:, None]).any(1)
        recall.append(float(hits.float().mean()))
    assert recall[0] > 1.5 * recall[1]


def test_made_up_ratings_use_the_whole_scale_and_times_go_on() -> None:
    data = Synthetic(users=100, items=80)
    table = data.table()
    assert set(table.ratings) == {1.0, 2.0, 3.0, 4.0, 5.0}
    user = np.array(table.users, dtype=int)
    same = user[1:] == user[:-1]
    assert (np.diff(table.times)[same] == 3600).all()


def published(folder: Path, **settings: object) -> OwnInteractions:
    columns = ("user", "item", "rating", "time")
    data = OwnInteractions(file=folder / "u.data", columns=columns, **settings)  # type: ignore[arg-type]
    data.prepare()
    return data


def pairs(data: OwnInteractions, part: str) -> set[tuple[str, str]]:
    split = data.split(part)
    if split is None:
        return set()
    named = zip(split.users_N.tolist(), split.items_N.tolist(), strict=True)
    return {(data.users[user], data.items[item]) for user, item in named}


def test_a_published_split_is_held_out_of_the_whole(tmp_path: Path) -> None:
    rows = [(str(n % 5), str(n), "3", str(n)) for n in range(50)]
    lines = ["\t".join(row) + "\n" for row in rows]
    (tmp_path / "u.data").write_text("".join(lines))
    (tmp_path / "u.base").write_text("".join(lines[:40]))
    (tmp_path / "u.test").write_text("".join(lines[40:]))
    held_out = {(user, item) for user, item, _, _ in rows[40:]}
    whole = published(tmp_path, parts=Parts(test=tmp_path / "u.test"), valid=0.0)
    assert pairs(whole, "test") == held_out and len(pairs(whole, "train")) == 40
    assert [(kind.count, kind.why) for kind in whole.left_out()] == [
        (10, "to learn from, as task.data.parts holds them out")
    ]
    (tmp_path / "u.data").write_text("".join(lines[:40]))
    apart = published(tmp_path, parts=Parts(test=tmp_path / "u.test"), valid=0.0)
    assert pairs(apart, "test") == held_out and not apart.left_out()
    for part in ("train", "test"):
        assert apart.identity(part) == whole.identity(part)
    some = published(tmp_path, parts=Parts(test=tmp_path / "u.test"), valid=0.25)  # of what there is to learn from
    assert len(pairs(some, "valid")) == 10 and pairs(some, "test") == held_out
    assert not pairs(some, "valid") & pairs(some, "test")


def test_dates_of_several_files_are_put_in_one_order(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("user,item,day\n" + "".join(f"u,i{n},2026-01-{n + 10}\n" for n in range(5)))
    (tmp_path / "valid.csv").write_text("user,item,day\nu,i9,2026-01-05\n")
    data = OwnInteractions(file=tmp_path, time="day", split="leave-one-out", test=0.1)
    data.prepare()
    assert pairs(data, "valid") == {("u", "i9")} and pairs(data, "test") == {("u", "i4")}


def test_the_order_of_rows_may_be_time(tmp_path: Path) -> None:
    items = ["b", "a", "d", "c"]
    (tmp_path / "log.csv").write_text("user,item\n" + "".join(f"u,{item}\n" for item in items))
    data = OwnInteractions(file=tmp_path / "log.csv", file_order=True, split="leave-one-out")
    data.prepare()
    assert pairs(data, "test") == {("u", "c")} and pairs(data, "valid") == {("u", "d")}
    with pytest.raises(LabwrightError, match=r"task\.data\.file_order: task\.data\.time names a column of times"):
        OwnInteractions(file=tmp_path / "log.csv", file_order=True, time="when").prepare()
