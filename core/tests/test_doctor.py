"""The doctor, over this installation and over broken ones that are really there on the import path."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from labwright.plugin import doctor
from labwright.plugin.doctor import Check, checks
from labwright.plugin.registry import Plugin, Plugins

NO_PLUGINS = Plugins([])


def named(found: list[Check]) -> dict[str, Check]:
    assert len({check.name for check in found}) == len(found)
    return {check.name: check for check in found}


def install(folder: Path, name: str, version: str, code: str, requires: str = "") -> None:
    """A distribution with one module, as pip would leave it."""
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    facts = folder / f"{name}-{version}.dist-info"
    facts.mkdir()
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    facts.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}", "utf-8")


@pytest.fixture
def first_on_path(tmp_path, monkeypatch):
    """A folder whose distributions come before the installed ones, here and in processes started from here."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture
def no_torch(first_on_path):
    """A torch that says at once that it doesn't work, so that a test of something else is quick."""
    install(first_on_path, "torch", "2.13.0", "raise ImportError('libcudart.so.13: cannot open shared object file')")
    return first_on_path


@pytest.mark.timing
def test_this_installation_is_sound_and_every_finding_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = named(checks(folder=tmp_path))
    assert [name for name, check in found.items() if check.ok is False] == []
    assert found["python"].found == ".".join(map(str, sys.version_info[:3]))
    assert found["torch"].found.startswith(torch.__version__)
    assert found["requirements"].ok
    assert found["folder"].found.startswith(str(tmp_path))
    assert found["gpu"].ok is (True if torch.cuda.is_available() or torch.backends.mps.is_available() else None)
    assert found["threads"].ok
    assert "builtin" in found["plugins"].found
    assert all(check.advice == "" for check in found.values() if check.ok)


@pytest.mark.timing
def test_asking_the_doctor_imports_no_torch_here():
    code = (
        "import sys\nfrom labwright.plugin import doctor\nfrom labwright.plugin.registry import Plugins\n"
        "doctor.SECONDS = 0.01\ndoctor.checks(Plugins([]))\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == "False\n"


def test_a_torch_that_does_not_import_is_a_finding_and_the_rest_is_still_looked_at(no_torch):
    found = named(checks(NO_PLUGINS))
    assert found["torch"].ok is False
    assert found["torch"].found == "2.13.0: ImportError: libcudart.so.13: cannot open shared object file"
    assert found["torch"].advice
    assert {"python", "requirements", "compiler", "folder", "threads", "plugins"} <= set(found)


@pytest.mark.timing
def test_an_import_that_hangs_is_ended(first_on_path, monkeypatch):
    install(first_on_path, "torch", "2.13.0", "import time; time.sleep(600)")
    monkeypatch.setattr(doctor, "SECONDS", 2)
    assert named(checks(NO_PLUGINS))["torch"].found == "2.13.0: no answer within 2 s"


def test_a_library_made_for_another_torch_is_named_with_the_one_it_needs(no_torch):
    install(no_torch, "torchvision", "0.27.0", "", requires="torch==2.12.0")
    found = named(checks(NO_PLUGINS))["torchvision"]
    assert found.ok is False
    assert found.found == "0.27.0 is made for torch==2.12.0; torch is 2.13.0"
    assert found.advice == "torchvision 0.27.0 goes with torch==2.12.0; install both from one index"


def test_a_library_that_fits_by_its_version_and_does_not_import_is_found_by_trying(no_torch):
    install(
        no_torch,
        "torchvision",
        "0.28.0",
        "raise RuntimeError('operator torchvision::nms does not exist')",
        "torch==2.13.0",
    )
    install(no_torch, "torchaudio", "2.11.0", "import os; os.abort()")
    found = named(checks(NO_PLUGINS))
    assert found["torchvision"].ok is False
    assert found["torchvision"].found == (
        "0.28.0 doesn't import beside torch 2.13.0: RuntimeError: operator torchvision::nms does not exist"
    )
    assert found["torchaudio"].ok is False
    assert "2.11.0 doesn't import beside torch 2.13.0" in found["torchaudio"].found
    assert found["torchaudio"].advice == "torchaudio 2.11.0 goes with torch 2.13; install both from one index"


def test_a_library_that_imports_fits(no_torch):
    install(no_torch, "torchaudio", "2.11.0", "print('hello')")
    assert named(checks(NO_PLUGINS))["torchaudio"].ok is True


def test_a_requirement_of_labwright_that_is_not_met_is_named(no_torch):
    install(no_torch, "pydantic", "1.10.0", "")
    found = named(checks(NO_PLUGINS))["requirements"]
    assert found.ok is False
    assert re.fullmatch(r"labwright needs pydantic<3,>=[\d.]+ \(found 1\.10\.0\)", found.found)


def test_plugins_that_are_set_aside_are_findings(no_torch):
    plugins = Plugins(
        [
            Plugin("good", "labwright-good", "1.0", ">=0.2,<0.3"),
            Plugin("old", "labwright-old", "0.3", ">=0.2", state="quarantined", reason="needs labwright>=0.2"),
            Plugin("off", "labwright-off", "1.0", None, state="blocked", reason="blocked by --no-plugin"),
            Plugin("vague", "labwright-vague", "1.0", None),
        ]
    )
    found = named(checks(plugins))
    assert found["plugins"] == Check("plugins", True, "2 loaded: good, vague", "")
    assert found["plugin old"] == Check(
        "plugin old", False, "needs labwright>=0.2", "update or remove labwright-old 0.3"
    )
    assert found["plugin off"].ok is None
    assert found["plugin vague"].found == "labwright-vague states no range of labwright versions"
    assert "plugin good" not in found


def test_settings_that_keep_plugins_from_being_found_are_a_finding(no_torch, tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text("[tool.labwright]\ndisable = 3\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    found = named(checks())["plugins"]
    assert found.ok is False
    assert "disable is a list of plugin names" in found.found


def test_a_folder_that_cannot_be_written_is_a_finding(no_torch, tmp_path):
    found = named(checks(NO_PLUGINS, tmp_path / "nowhere"))["folder"]
    assert found.ok is False
    assert "can't be written: No such file or directory" in found.found


def test_a_compiler_is_tried_and_its_absence_is_only_a_note(no_torch, tmp_path, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = named(checks(NO_PLUGINS))["compiler"]
    assert (found.ok, found.found) == (None, "no C++ compiler")
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\necho 'fatal error: Python.h: No such file or directory' >&2\nexit 1\n", "utf-8")
    broken.chmod(0o755)
    found = named(checks(NO_PLUGINS))["compiler"]
    assert found.ok is None
    assert found.found == f"{broken}, without Python.h"


GPU = "echo 'NVIDIA H100 80GB HBM3, 570.86.15'\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU that torch finds")
def test_a_gpu_that_torch_does_not_find_is_a_finding(first_on_path, tmp_path, monkeypatch):
    install(first_on_path, "torch", "2.13.0", "raise ImportError('no')")
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{GPU}", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    found = named(checks(NO_PLUGINS))["gpu"]
    assert found.ok is False
    assert found.found == "NVIDIA H100 80GB HBM3, driver 570.86.15, which torch doesn't find"


SAYS = """
import types
__version__ = "2.13.0"
version = types.SimpleNamespace(cuda="13.0", hip=None)
cuda = types.SimpleNamespace(
    is_available=lambda: True,
    device_count=lambda: 1,
    get_device_name=lambda number: "NVIDIA GPU",
    get_device_capability=lambda number: {capability},
    get_arch_list=lambda: ["sm_75", "sm_80", "sm_90a", "sm_120", "compute_120"],
)
backends = types.SimpleNamespace(mps=types.SimpleNamespace(is_available=lambda: False))
get_num_threads = lambda: {threads}
"""


@pytest.mark.parametrize(
    ("capability", "fits"),
    [
        ((7, 5), True),
        ((8, 6), True),
        ((9, 0), True),
        ((12, 1), True),
        ((13, 0), True),
        ((7, 0), False),
        ((6, 1), False),
    ],
)
def test_a_gpu_that_this_torch_has_no_code_for_is_a_finding(first_on_path, capability, fits):
    # binaries run on later minor versions of their major one; intermediate code on everything later
    # (NVIDIA, CUDA C++ Programming Guide, "Binary Compatibility" and "PTX Compatibility")
    install(first_on_path, "torch", "2.13.0", SAYS.format(capability=capability, threads=1))
    found = named(checks(NO_PLUGINS))["gpu"]
    assert found.ok is fits
    assert ("no code for NVIDIA GPU" in found.advice) is not fits


def test_more_threads_than_cores_are_a_note_with_the_number_to_set(first_on_path):
    install(first_on_path, "torch", "2.13.0", SAYS.format(capability=(9, 0), threads=10**6))
    found = named(checks(NO_PLUGINS))["threads"]
    assert found.ok is None
    assert found.found.startswith("1000000 for ")
    assert "or OMP_NUM_THREADS=" in found.advice
