"""MovieLens: ratings of films, in the layouts GroupLens has published. The files are never part of this package."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

from labwright.errors import LabwrightError
from pydantic import Field

from labwright_recsys.data.recommendation import Recommendation
from labwright_recsys.data.splits import Manner, Share
from labwright_recsys.data.table import Table, Values, rows_of, split_lines, table_of

_YEAR = re.compile(r"\((\d{4})\)\s*$")
_GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip


class MovieLens(Recommendation):
    """A folder with one of MovieLens' layouts: ratings from 0.5 to 5, times to the second, titles.

    100k: `u.data`, and if they are there `u.item` (titles, years, genres) and `u.user` (age, gender, occupation); each
    may be packed as .gz. 1M and 10M: `ratings.dat`, `movies.dat`, `users.dat`. Newer ones: `ratings.csv`, `movies.csv`.

    `split`, `valid` and `test`: see `labwright show data recsys/interactions`; `seed` chooses what `random` holds out.
    GroupLens' licences allow research, and forbid passing the files on without permission.
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
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__(split, valid, test, seed)
        self.folder = folder

    def table(self) -> Table:
        root = self.folder.expanduser()
        if not root.is_dir():
            raise LabwrightError(f"task.data.folder: there is no folder {str(root)!r}.")
        for name, layout in _LAYOUTS.items():
            path = _there(root, name)
            if path is not None:
                return layout(root, path)
        below = [path.parent for name in _LAYOUTS for path in sorted(root.glob(f"*/{name}*"))]
        hint = f"; did you mean {str(below[0])!r}?" if below else "."
        raise LabwrightError(f"task.data.folder: {root} has no {', '.join(_LAYOUTS)} (nor one packed as .gz){hint}")


def _there(root: Path, name: str) -> Path | None:
    return next((path for path in (root / name, root / f"{name}.gz") if path.is_file()), None)


def _hundred_thousand(root: Path, path: Path) -> Table:
    table = table_of(path, split_lines(path, "\t", 4, "latin-1"), rated=True, timed=True)
    titles: dict[str, str] = {}
    genres: dict[str, tuple[str, ...]] = {}
    films = _there(root, "u.item")
    for _, (film, title, _, _, _, *flags) in split_lines(films, "|", 24, "latin-1") if films else ():
        titles[film] = title
        genres[film] = tuple(genre for genre, flag in zip(_GENRES_100K, flags, strict=True) if flag == "1")
    people = _there(root, "u.user")
    sides: dict[str, dict[str, tuple[str, ...]]] = {"age": {}, "gender": {}, "occupation": {}}
    for number, (user, age, gender, work) in split_lines(people, "|", 4, "latin-1") if people else ():
        sides["age"][user] = (_decade(age, people, number),)
        sides["gender"][user], sides["occupation"][user] = (gender,), (work,)
    return _with(table, titles, genres, sides)


def _million(root: Path, path: Path) -> Table:
    table = table_of(path, split_lines(path, "::", 4, "latin-1"), rated=True, timed=True)
    titles: dict[str, str] = {}
    genres: dict[str, tuple[str, ...]] = {}
    films = _there(root, "movies.dat")
    for _, (film, title, kinds) in split_lines(films, "::", 3, "latin-1") if films else ():
        titles[film], genres[film] = title, tuple(dict.fromkeys(kinds.split("|")))
    people = _there(root, "users.dat")
    sides: dict[str, dict[str, tuple[str, ...]]] = {"age": {}, "gender": {}, "occupation": {}}
    for _, (user, gender, age, work) in split_lines(people, "::", 4, "latin-1") if people else ():
        sides["gender"][user], sides["age"][user], sides["occupation"][user] = (gender,), (age,), (work,)
    return _with(table, titles, genres, sides)


def _newer(root: Path, path: Path) -> Table:
    table = table_of(path, rows_of(path, ("userId", "movieId", "rating", "timestamp"), ","), rated=True, timed=True)
    titles: dict[str, str] = {}
    genres: dict[str, tuple[str, ...]] = {}
    films = _there(root, "movies.csv")
    for _, (film, title, kinds) in rows_of(films, ("movieId", "title", "genres"), ",") if films else ():
        titles[film] = title
        genres[film] = () if kinds.startswith("(") else tuple(dict.fromkeys(kinds.split("|")))
    return _with(table, titles, genres, {})


_LAYOUTS: Mapping[str, Callable[[Path, Path], Table]] = {
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
    years = {film: (found.group(1),) for film, title in titles.items() if (found := _YEAR.search(title))}
    item_sides = {"genres": genres, "year": years}
    return Table(
        table.users,
        table.items,
        table.ratings,
        table.times,
        titles,
        {name: values for name, values in user_sides.items() if values},
        {name: values for name, values in item_sides.items() if values},
    )


def _decade(age: str, path: Path | None, number: int) -> str:
    try:
        return f"{int(age) // 10 * 10}s"
    except ValueError:
        raise LabwrightError(f"{path}:{number}: the age is {age!r}; it should be a whole number.") from None
