"""The doctor, over this installation and over broken ones that are really there on the import path."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from labwright.plugin.discovery import Plugin
from labwright.plugin.registry import Plugins
from labwright_testing import doctor
from labwright_testing.doctor import Diagnosis, diagnoses

NO_PLUGINS = Plugins([])


def named(diagnosed: list[Diagnosis]) -> dict[str, Diagnosis]:
    assert len({diagnosis.name for diagnosis in diagnosed}) == len(diagnosed)
    return {diagnosis.name: diagnosis for diagnosis in diagnosed}


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


@pytest.mark.long
@pytest.mark.timing
def test_this_installation_is_sound_and_every_finding_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    by_name = named(diagnoses(folder=tmp_path))
    assert [name for name, diagnosis in by_name.items() if diagnosis.ok is False] == []
    assert by_name["python"].found == ".".join(map(str, sys.version_info[:3]))
    assert by_name["torch"].found.startswith(torch.__version__)
    assert by_name["requirements"].ok
    assert by_name["folder"].found.startswith(str(tmp_path))
    assert by_name["gpu"].ok is (True if torch.cuda.is_available() or torch.backends.mps.is_available() else None)
    assert by_name["threads"].ok
    assert "builtin" in by_name["plugins"].found
    assert all(diagnosis.advice == "" for diagnosis in by_name.values() if diagnosis.ok)


@pytest.mark.timing
def test_asking_the_doctor_imports_no_torch_here():
    code = (
        "import sys\nfrom labwright import Plugins\nfrom labwright_testing import doctor\n"
        "doctor.SECONDS = 0.01\ndoctor.diagnoses(Plugins([]))\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == "False\n"


def test_a_torch_that_does_not_import_is_a_finding_and_the_rest_is_still_looked_at(no_torch):
    by_name = named(diagnoses(NO_PLUGINS))
    assert by_name["torch"].ok is False
    assert by_name["torch"].found == "2.13.0: ImportError: libcudart.so.13: cannot open shared object file"
    assert by_name["torch"].advice
    assert {"python", "requirements", "compiler", "folder", "threads", "plugins"} <= set(by_name)


@pytest.mark.timing
def test_an_import_that_hangs_is_ended(first_on_path, monkeypatch):
    install(first_on_path, "torch", "2.13.0", "import time; time.sleep(600)")
    monkeypatch.setattr(doctor, "SECONDS", 2)
    assert named(diagnoses(NO_PLUGINS))["torch"].found == "2.13.0: no answer within 2 s"


def test_a_library_made_for_another_torch_is_named_with_the_one_it_needs(no_torch):
    install(no_torch, "torchvision", "0.27.0", "", requires="torch==2.12.0")
    diagnosis = named(diagnoses(NO_PLUGINS))["torchvision"]
    assert diagnosis.ok is False
    assert diagnosis.found == "0.27.0 is made for torch==2.12.0; torch is 2.13.0"
    assert diagnosis.advice == "torchvision 0.27.0 goes with torch==2.12.0; install both from one index"


def test_a_library_that_fits_by_its_version_and_does_not_import_is_found_by_trying(no_torch):
    install(
        no_torch,
        "torchvision",
        "0.28.0",
        "raise RuntimeError('operator torchvision::nms does not exist')",
        "torch==2.13.0",
    )
    install(no_torch, "torchaudio", "2.11.0", "import os; os.abort()")
    by_name = named(diagnoses(NO_PLUGINS))
    assert by_name["torchvision"].ok is False
    assert by_name["torchvision"].found == (
        "0.28.0 doesn't import beside torch 2.13.0: RuntimeError: operator torchvision::nms does not exist"
    )
    assert by_name["torchaudio"].ok is False
    assert "2.11.0 doesn't import beside torch 2.13.0" in by_name["torchaudio"].found
    assert by_name["torchaudio"].advice == "torchaudio 2.11.0 goes with torch 2.13; install both from one index"


def test_a_library_that_imports_fits(no_torch):
    install(no_torch, "torchaudio", "2.11.0", "print('hello')")
    assert named(diagnoses(NO_PLUGINS))["torchaudio"].ok is True


def test_a_requirement_of_labwright_that_is_not_met_is_named(no_torch):
    install(no_torch, "pydantic", "1.10.0", "")
    diagnosis = named(diagnoses(NO_PLUGINS))["requirements"]
    assert diagnosis.ok is False
    assert re.fullmatch(r"labwright needs pydantic<3,>=[\d.]+ \(found 1\.10\.0\)", diagnosis.found)


def test_plugins_that_are_set_aside_are_findings(no_torch):
    plugins = Plugins(
        [
            Plugin("good", "labwright-good", "1.0", ">=0.2,<0.3"),
            Plugin("old", "labwright-old", "0.3", ">=0.2", state="quarantined", reason="needs labwright>=0.2"),
            Plugin("off", "labwright-off", "1.0", None, state="blocked", reason="blocked by --no-plugin"),
            Plugin("vague", "labwright-vague", "1.0", None),
        ]
    )
    by_name = named(diagnoses(plugins))
    assert by_name["plugins"] == Diagnosis("plugins", True, "2 loaded: good, vague")
    assert by_name["plugin old"] == Diagnosis(
        "plugin old", False, "needs labwright>=0.2", "update or remove labwright-old 0.3"
    )
    assert by_name["plugin off"].ok is None
    assert by_name["plugin vague"].found == "labwright-vague states no range of labwright versions"
    assert "plugin good" not in by_name


def test_settings_that_keep_plugins_from_being_found_are_a_finding(no_torch, tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text("[tool.labwright]\ndisable = 3\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    diagnosis = named(diagnoses())["plugins"]
    assert diagnosis.ok is False
    assert "disable is a list of plugin names" in diagnosis.found


def test_a_folder_that_cannot_be_written_is_a_finding(no_torch, tmp_path):
    diagnosis = named(diagnoses(NO_PLUGINS, tmp_path / "nowhere"))["folder"]
    assert diagnosis.ok is False
    assert "can't be written: No such file or directory" in diagnosis.found


def test_a_compiler_is_tried_and_its_absence_is_only_a_note(no_torch, tmp_path, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    diagnosis = named(diagnoses(NO_PLUGINS))["compiler"]
    assert (diagnosis.ok, diagnosis.found) == (None, "no C++ compiler")
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\necho 'fatal error: Python.h: No such file or directory' >&2\nexit 1\n", "utf-8")
    broken.chmod(0o755)
    diagnosis = named(diagnoses(NO_PLUGINS))["compiler"]
    assert diagnosis.ok is None
    assert diagnosis.found == f"{broken}, without Python.h"


GPU = "echo 'NVIDIA H100 80GB HBM3, 570.86.15'\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU that torch finds")
def test_a_gpu_that_torch_does_not_find_is_a_finding(first_on_path, tmp_path, monkeypatch):
    install(first_on_path, "torch", "2.13.0", "raise ImportError('no')")
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{GPU}", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    diagnosis = named(diagnoses(NO_PLUGINS))["gpu"]
    assert diagnosis.ok is False
    assert diagnosis.found == "NVIDIA H100 80GB HBM3, driver 570.86.15, which torch doesn't find"


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
    diagnosis = named(diagnoses(NO_PLUGINS))["gpu"]
    assert diagnosis.ok is fits
    assert ("no code for NVIDIA GPU" in diagnosis.advice) is not fits


def test_more_threads_than_cores_are_a_note_with_the_number_to_set(first_on_path):
    install(first_on_path, "torch", "2.13.0", SAYS.format(capability=(9, 0), threads=10**6))
    diagnosis = named(diagnoses(NO_PLUGINS))["threads"]
    assert diagnosis.ok is None
    assert diagnosis.found.startswith("1000000 for ")
    assert "or OMP_NUM_THREADS=" in diagnosis.advice
