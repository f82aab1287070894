"""MovieLens: ratings of films, in the layouts GroupLens has published. The files are never part of this package."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from labwright import LabwrightError, located
from labwright_tasks import tables

from labwright_recsys.data.recommendation import Recommendation
from labwright_recsys.data.splits import Manner, Seed, Share
from labwright_recsys.data.table import Table, Values, headed, parted, table_of

_RATED = ("user", "item", "rating", "time")
_NEWER = {"user": "userId", "item": "movieId", "rating": "rating", "time": "timestamp"}
_YEAR = re.compile(r"\((\d{4})\)\s*$")
_GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip


class MovieLens(Recommendation):
    """A folder with one of MovieLens' layouts: ratings from 0.5 to 5, times to the second, titles.

    100k: `u.data`, and if they are there `u.item` (titles, years, genres) and `u.user` (age, gender, occupation); each
    may be packed as .gz. 1M and 10M: `ratings.dat`, `movies.dat`, `users.dat`. Newer ones: `ratings.csv`, `movies.csv`.

    What is held out: see `labwright show data recsys/interactions`. GroupLens' licences allow research, and forbid
    passing the files on without permission.

    Args:
        folder: the folder with the files of one of them.
    """

    source = "GroupLens, University of Minnesota (Harper & Konstan 2015)"
    licence = "GroupLens' own: research use, no redistribution"

    def __init__(
        self,
        *,
        folder: Path,
        split: Manner = "random",
        valid: Share = 0.1,
        test: Share = 0.1,
        seed: Seed = 0,
    ) -> None:
        super().__init__(split, valid, test, seed)
        self.folder = folder

    def table(self) -> Table:
        root = self.folder.expanduser()
        if not root.is_dir():
            raise LabwrightError(f"task.data.folder: there is no folder {located(root)}.")
        return _laid_out(root)

    def table_at(self, path: Path, *, bare: bool) -> Table:  # noqa: ARG002 - its ratings are always there
        """A folder in one of the layouts, or a file of ratings, such as u1.test."""
        if path.is_dir():
            return _laid_out(path)
        name = path.name.removesuffix(".gz")
        if name.endswith(".csv"):
            return table_of(headed(path, _NEWER))
        return table_of(parted(path, "::" if name.endswith(".dat") else "\t", _RATED))


def _laid_out(root: Path) -> Table:
    """The ratings of a folder, and what is there beside them. Raises LabwrightError if it has none of the layouts."""
    for name, layout in LAYOUTS.items():
        path = _there(root, name)
        if path is not None:
            return layout(root, path)
    below = [path.parent for name in LAYOUTS for path in sorted(root.glob(f"*/{name}*"))]
    hint = f"; did you mean {str(below[0])!r}?" if below else "."
    raise LabwrightError(f"task.data.folder: {root} has no {', '.join(LAYOUTS)} (nor one packed as .gz){hint}")


def _there(root: Path, name: str) -> Path | None:
    return next((path for path in (root / name, root / f"{name}.gz") if path.is_file()), None)


def _hundred_thousand(root: Path, path: Path) -> Table:
    table = table_of(parted(path, "\t", _RATED))
    titles: dict[str, str] = {}
    genres: dict[str, tuple[str, ...]] = {}
    films = _there(root, "u.item")
    if films:
        rows = parted(films, "|", ("item", "title", "date", "video", "url", *_GENRES_100K))
        names = rows.names("item")
        titles = dict(zip(names, rows["title"], strict=True))
        flags = zip(*(rows[genre] for genre in _GENRES_100K), strict=True)
        genres = {
            film: tuple(genre for genre, flag in zip(_GENRES_100K, row, strict=True) if flag == "1")
            for film, row in zip(names, flags, strict=True)
        }
    people = _there(root, "u.user")
    sides: dict[str, Values] = {}
    if people:
        rows = parted(people, "|", ("user", "age", "gender", "occupation"))
        sides = {kind: _of_users(rows, kind) for kind in ("gender", "occupation")}
        sides = {"age": _of_users(_in_decades(rows), "age")} | sides
    return _with(table, titles, genres, sides)


def _million(root: Path, path: Path) -> Table:
    table = table_of(parted(path, "::", _RATED))
    films, people = _there(root, "movies.dat"), _there(root, "users.dat")
    titles, genres = _films(parted(films, "::", ("item", "title", "genres"))) if films else ({}, {})
    sides: dict[str, Values] = {}
    if people:
        rows = parted(people, "::", ("user", "gender", "age", "occupation"))
        sides = {kind: _of_users(rows, kind) for kind in ("age", "gender", "occupation")}
    return _with(table, titles, genres, sides)


def _newer(root: Path, path: Path) -> Table:
    table = table_of(headed(path, _NEWER))
    films = _there(root, "movies.csv")
    columns = {"item": "movieId", "title": "title", "genres": "genres"}
    titles, genres = _films(headed(films, columns)) if films else ({}, {})
    return _with(table, titles, genres, {})


def _films(rows: tables.Table) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Titles and genres by film; "(no genres listed)" is none."""
    names = rows.names("item")
    kinds = (
        () if cell.startswith("(") else tuple(dict.fromkeys(filter(None, cell.split("|")))) for cell in rows["genres"]
    )
    return dict(zip(names, rows["title"], strict=True)), dict(zip(names, kinds, strict=True))


def _of_users(rows: tables.Table, kind: str) -> Values:
    return {user: (value,) for user, value in zip(rows.names("user"), rows[kind], strict=True)}


LAYOUTS: Mapping[str, Callable[[Path, Path], Table]] = {
    "u.data": _hundred_thousand,
    "ratings.dat": _million,
    "ratings.csv": _newer,
}


def _with(
    table: Table,
    titles: Mapping[str, str],
    genres: Mapping[str, tuple[str, ...]],
    user_sides: Mapping[str, Values],
) -> Table:
    years = {film: (match.group(1),) for film, title in titles.items() if (match := _YEAR.search(title))}
    item_sides = {"genres": genres, "year": years}
    return replace(
        table,
        titles={film: title for film, title in titles.items() if title},
        user_sides={name: values for name, values in user_sides.items() if values},
        item_sides={name: values for name, values in item_sides.items() if values},
    )


def _in_decades(rows: tables.Table) -> tables.Table:
    """Ages by decade, such as "20s". Raises LabwrightError for one that is no whole number."""
    ages = rows["age"]
    wrong = next((row for row, age in enumerate(ages) if not age.isdecimal()), None)
    if wrong is not None:
        raise LabwrightError(f"{rows.where(wrong)}: the age is {ages[wrong]!r}; it should be a whole number.")
    return replace(rows, columns={**rows.columns, "age": [f"{int(age) // 10 * 10}s" for age in ages]})
