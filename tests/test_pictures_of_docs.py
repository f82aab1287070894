"""The pictures of the documentation: each that a page shows is there, small, and made by docs/pictures.py."""

from __future__ import annotations

import importlib.util
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

from labwright.plugin.registry import Plugins
from PIL import Image

DOCS = Path(__file__).parents[1] / "docs"
PICTURES = DOCS / "pictures"


@cache
def maker() -> Any:
    """docs/pictures.py as a module."""
    spec = importlib.util.spec_from_file_location("labwright_docs_pictures", DOCS / "pictures.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def shown() -> dict[Path, list[Path]]:
    """The pages that show a picture, by the picture."""
    found: dict[Path, list[Path]] = {}
    for page in sorted(DOCS.rglob("*.md")):
        for place in re.findall(r"(?:\]\(|src(?:set)?=\")([\w./-]*pictures/[\w.-]+)", page.read_text(encoding="utf-8")):
            found.setdefault((page.parent / place).resolve(), []).append(page)
    return found


def test_each_picture_that_a_page_shows_is_there_and_none_is_left_over() -> None:
    assert sorted(shown()) == sorted(PICTURES.resolve().iterdir())


def test_each_picture_is_one_that_the_script_makes() -> None:
    assert {file.stem for file in PICTURES.iterdir()} == {name.replace("/", "-") for name in maker().makers()}


def test_pictures_are_small() -> None:
    sizes = {file.name: file.stat().st_size for file in PICTURES.iterdir()}
    assert {name: size for name, size in sizes.items() if size > maker().LARGEST} == {}
    assert sum(sizes.values()) <= 600_000
    for file in PICTURES.iterdir():
        with Image.open(file) as image:
            assert image.width <= 960 and image.height <= 1200, file.name


def test_the_gallery_shows_of_each_recipe_a_picture_and_its_command() -> None:
    gallery = (DOCS / "gallery.md").read_text(encoding="utf-8")
    items = re.findall(
        r"^- !\[[^\]]+\]\(pictures/([\w-]+)\.webp\)\n\n    .+\n\n    `labwright run ([\w/-]+)`$", gallery, re.M
    )
    assert sorted(items) == sorted((name.replace("/", "-"), name) for name in maker().RECIPES)
    plugins = Plugins.discover()
    for _, name in items:
        assert plugins.recipe_file(name).is_file()
