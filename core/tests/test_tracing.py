"""LABWRIGHT_TRACE_HOOKS: what is said of each call, and that nothing is changed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import MENU, Site
from labwright.base.errors import StopRun
from labwright.plugin.hookspecs import hookimpl
from labwright.plugin.registry import Plugins
from labwright.plugin.relay import Relay
from labwright.plugin.tracing import VARIABLE, traced

LINE = re.compile(r"hook (\w+)  (.+)  (took|raised) \d+\.\d\d ms")


class Listener:
    @hookimpl
    def labwright_evaluated(self, split: str) -> None:
        raise StopRun(split)


def said(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, ...]]:
    lines = capsys.readouterr().err.splitlines()
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), lines
    return [one.groups() for one in found if one]


def test_each_call_is_a_line_with_its_hook_and_plugin(site: Site, monkeypatch, capsys):
    site.install("stars", MENU.format(kind="model", name="stars/ok", target="a:b"))
    monkeypatch.setenv(VARIABLE, "1")
    plugins = Plugins.discover()
    assert ("labwright_components", "stars (labwright-stars 1.0)", "took") in said(capsys)
    relay = Relay(plugins, [Listener()])
    (evaluated,) = relay.evaluated
    with pytest.raises(StopRun, match="valid"):
        evaluated(run=None, step=1, split="valid", metrics={})
    assert said(capsys) == [("labwright_evaluated", "Listener", "raised")]


@pytest.mark.parametrize("value", [None, "", "0"])
def test_without_it_the_function_is_called_as_it_is(value, monkeypatch, capsys):
    if value is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, value)
    assert traced(len, "any", "one") is len
    Plugins.discover()
    assert not capsys.readouterr().err


def test_a_command_prints_its_result_alone_to_stdout(command, site: Site, tmp_path: Path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "1")
    answer = command("list", "devices", cwd=tmp_path)
    assert answer.code == 0 and "hook" not in answer.out
    assert "hook labwright_components  builtin (labwright" in answer.err
