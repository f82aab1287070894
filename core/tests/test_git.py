"""The commit of the working folder, from real repositories, some of which were made by somebody who means harm."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from labwright.runs.git import commit

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git isn't installed")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one committed file, in which the test works; nobody's own configuration is read."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    (tmp_path / "notes.txt").write_text("a\n")
    git("add", "notes.txt")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "one")
    return tmp_path


def git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_is_told_with_whether_its_files_were_changed(repository: Path):
    head = git("rev-parse", "HEAD")
    assert commit() == {"commit": head, "changed": False}
    (repository / "untracked.txt").write_text("")
    assert commit() == {"commit": head, "changed": False}
    (repository / "notes.txt").write_text("b\n")
    assert commit() == {"commit": head, "changed": True}


def test_outside_a_repository_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert commit() is None
    monkeypatch.setenv("PATH", str(tmp_path))  # nor without git
    assert commit() is None


@pytest.mark.parametrize(
    ("key", "attributes", "changed"),
    [
        ("core.fsmonitor", "", True),
        ("filter.mine.clean", "*.txt filter=mine", None),
        ("filter.mine.process", "*.txt filter=mine", None),
        ("diff.mine.textconv", "*.txt diff=mine", True),
        ("diff.external", "", True),
        ("core.pager", "", True),
        ("core.sshCommand", "", True),
    ],
)
def test_programs_that_a_repository_names_are_not_run(
    repository: Path, key: str, attributes: str, changed: bool | None
):
    git("config", key, f"touch {repository / 'ran'}; cat")
    (repository / ".gitattributes").write_text(attributes)
    (repository / "notes.txt").write_text("b\n")  # of the same size, at the same second: git looks into it
    said = commit()
    assert said is not None and said["changed"] is changed
    assert not (repository / "ran").exists()


def test_hooks_of_a_repository_are_not_run(repository: Path):
    for name in ("post-index-change", "post-checkout", "fsmonitor-watchman"):
        hook = repository / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {repository / 'ran'}\n")
        hook.chmod(0o755)
    (repository / "notes.txt").touch()
    assert commit() == {"commit": git("rev-parse", "HEAD"), "changed": False}
    assert not (repository / "ran").exists()


def test_a_filter_in_what_the_configuration_includes_is_seen(repository: Path):
    (repository / ".git" / "more").write_text('[filter "mine"]\nclean = cat\n')
    git("config", "include.path", "more")
    said = commit()
    assert said is not None and said["changed"] is None


def test_objects_that_are_missing_are_not_fetched(repository: Path):
    """A repository may name a program that fetches; git calls it for a tree that isn't there."""
    git("config", "remote.far.url", f"ext::touch {repository / 'ran'}")
    git("config", "remote.far.promisor", "true")
    git("config", "protocol.ext.allow", "always")
    git("config", "extensions.partialClone", "far")
    git("config", "core.repositoryFormatVersion", "1")
    tree = git("rev-parse", "HEAD^{tree}")
    (repository / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    said = commit()
    assert said is not None and said["changed"] is None
    assert not (repository / "ran").exists()
