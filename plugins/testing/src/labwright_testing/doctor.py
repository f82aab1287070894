"""Does what is installed fit together, and can a run work here? Facts and advice; nothing is printed or changed.

Libraries are tried in processes of their own, so that one that crashes or hangs is a diagnosis and not the end. Nothing
here imports torch.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from labwright import LabwrightError, Plugins, listed
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

SECONDS = 120  # what an import may take, on a cold disk
FREE_BYTES = 2**30
WORKS_WITH = {"torchaudio": {"2.11": "2.13"}}  # its metadata pins no torch: distribution, its version -> torch's

# what is compiled against torch is loaded, not torchvision's Python, which imports torch._dynamo (2 s)
_PARTNERS = {
    "torchvision": """
import glob, importlib.util, os
places = importlib.util.find_spec("torchvision").submodule_search_locations or []
if compiled := [file for place in places for file in glob.glob(os.path.join(glob.escape(place), "_C*.so"))]:
    import torch
    torch.ops.load_library(compiled[0])
    torch.ops.torchvision.nms
else:
    import torchvision
""",
    "torchaudio": "import torchaudio",
}
_TORCH = """
import json, torch
cuda = torch.cuda.is_available()
count = range(torch.cuda.device_count() if cuda else 0)
print(json.dumps({
    "version": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip,
    "gpus": [[torch.cuda.get_device_name(i), torch.cuda.get_device_capability(i)] for i in count],
    "architectures": torch.cuda.get_arch_list() if cuda else [],
    "mps": torch.backends.mps.is_available(), "threads": torch.get_num_threads(),
}))
"""


@dataclass(frozen=True)
class Diagnosis:
    """What was found of one thing: `ok` is True (fits), False (to be put right) or None (worth knowing)."""

    name: str
    ok: bool | None
    found: str
    advice: str = ""


@dataclass(frozen=True)
class _Tried:
    """What came of running some Python: the JSON it printed last, or how it ended instead."""

    facts: Any = None
    fault: str = ""


def diagnoses(plugins: Plugins | None = None, folder: Path | None = None) -> list[Diagnosis]:
    """All that can be said of this installation and a working folder, the current one if left out."""
    with ThreadPoolExecutor() as pool:  # torch takes seconds, in which the rest is looked at
        importing, compiler = pool.submit(_imported), pool.submit(_compiler)
        requirements, loaded = _requirements(), [*_plugins(plugins)]
        torch, imports = importing.result()
    return [
        _python(),
        _torch(torch),
        requirements,
        *(_partner(name, imports.get(name)) for name in _PARTNERS),
        _gpu(torch.facts or {}),
        compiler.result(),
        _folder(folder or Path.cwd()),
        _threads(torch.facts or {}),
        _tensorboard(),
        *loaded,
    ]


# -------------------------------------------------------------------------------------------------------- libraries


def _imported() -> tuple[_Tried, dict[str, _Tried]]:
    """What torch says of itself, and what came of importing those that are compiled against it."""
    partners = {name: code for name, code in _PARTNERS.items() if _version(name)}
    together = _try("\n".join([*partners.values(), _TORCH]))
    if not together.fault:
        return together, dict.fromkeys(partners, together)
    with ThreadPoolExecutor() as pool:  # each by itself, to know which it is
        trying = pool.submit(_try, _TORCH)
        importing = {name: pool.submit(_try, f"{code}\nprint('null')") for name, code in partners.items()}
        return trying.result(), {name: tried.result() for name, tried in importing.items()}


def _python() -> Diagnosis:
    wanted = metadata.metadata("labwright")["Requires-Python"] or ""
    fits = SpecifierSet(wanted).contains(platform.python_version(), prereleases=True)
    return Diagnosis("python", fits, platform.python_version(), "" if fits else f"labwright needs Python {wanted}")


def _torch(tried: _Tried) -> Diagnosis:
    if tried.facts is None:
        fault = f"{_version('torch') or 'not installed'}: {tried.fault}"
        return Diagnosis("torch", False, fault, "install torch again: pip install torch")
    facts = tried.facts
    built = f"CUDA {facts['cuda']}" if facts["cuda"] else f"ROCm {facts['hip']}" if facts["hip"] else "no GPU support"
    return Diagnosis("torch", True, f"{facts['version']}, built with {built}")


def _requirements() -> Diagnosis:
    """labwright's own requirements against what is installed."""
    without_extras = {"extra": ""}
    required = [need for need in _required("labwright") if not need.marker or need.marker.evaluate(without_extras)]
    unmet = []
    for requirement in required:
        version = _version(requirement.name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            unmet.append(f"{requirement.name}{requirement.specifier} (found {version or 'none'})")
    if unmet:
        needed = f"labwright needs {', '.join(unmet)}"
        return Diagnosis("requirements", False, needed, "pip install --upgrade labwright")
    return Diagnosis("requirements", True, f"all {len(required)} of labwright's are met")


def _partner(name: str, tried: _Tried | None) -> Diagnosis:
    """A library that is compiled against one version of torch."""
    version, torch = _version(name), _version("torch")
    if version is None or tried is None:
        return Diagnosis(name, None, "not installed")
    if torch is None:
        return Diagnosis(name, False, f"{version}, and no torch", "pip install torch")
    of_torch = (requirement.specifier for requirement in _required(name) if requirement.name == "torch")
    pin = next((str(specifier) for specifier in of_torch if specifier), "")
    known = WORKS_WITH.get(name, {}).get(_minor(version))
    together = f"torch{pin}" if pin else f"torch {known}" if known else "the torch released beside it"
    advice = f"{name} {version} goes with {together}; install both from one index"
    if pin and not SpecifierSet(pin).contains(torch, prereleases=True):
        return Diagnosis(name, False, f"{version} is made for torch{pin}; torch is {torch}", advice)
    if tried.fault:
        return Diagnosis(name, False, f"{version} doesn't import beside torch {torch}: {tried.fault}", advice)
    return Diagnosis(name, True, f"{version} loads beside torch {torch}")


def _tensorboard() -> Diagnosis:
    version = _version("tensorboard")
    advice = "" if version else "for the logger 'tensorboard': pip install 'labwright[tensorboard]'"
    return Diagnosis("tensorboard", True if version else None, version or "not installed", advice)


def _plugins(plugins: Plugins | None) -> Iterator[Diagnosis]:
    try:
        plugins = plugins or Plugins.discover()
    except LabwrightError as error:
        yield Diagnosis("plugins", False, str(error), "put that right first")
        return
    names = [plugin.name for plugin in plugins.loaded]
    yield Diagnosis("plugins", True, f"{len(names)} loaded: {listed(names)}")
    for note in plugins.notes:
        yield Diagnosis("plugins", None, note)
    for plugin in plugins.plugins:
        name = f"plugin {plugin.name}"
        if plugin.state == "quarantined":
            yield Diagnosis(name, False, plugin.reason, f"update or remove {plugin.distribution} {plugin.version}")
        elif plugin.state == "blocked":
            yield Diagnosis(name, None, plugin.reason)
        elif plugin.requires is None and plugin.version:
            yield Diagnosis(name, None, f"{plugin.distribution} states no range of labwright versions")


# ---------------------------------------------------------------------------------------------------------- machine


def _gpu(torch: Mapping[str, Any]) -> Diagnosis:
    driver = _nvidia_driver()
    if torch.get("gpus"):
        names = listed(name for name, _ in torch["gpus"])
        left_out = [name for name, capability in torch["gpus"] if not _is_built_for(capability, torch)]
        installed = names + (f", driver {driver[1]}" if driver else "") + f", CUDA {torch['cuda'] or torch['hip']}"
        if left_out:
            advice = f"this torch has no code for {listed(left_out)}; install a build that has, see pytorch.org"
            return Diagnosis("gpu", False, installed, advice)
        return Diagnosis("gpu", True, installed)
    if torch.get("mps"):
        return Diagnosis("gpu", True, "an Apple GPU (mps)")
    if driver is None:
        return Diagnosis("gpu", None, "none; runs use the processor")
    if not torch:
        advice = "torch itself doesn't import"
    elif torch["cuda"] is None:
        advice = "this torch is built without CUDA; install one with it, see pytorch.org"
    else:
        old = f"torch is built for CUDA {torch['cuda']}: the driver may be too old for it"
        advice = f"{old}; look at CUDA_VISIBLE_DEVICES too"
    return Diagnosis("gpu", False, f"{driver[0]}, driver {driver[1]}, which torch doesn't find", advice)


def _is_built_for(capability: list[int], torch: Mapping[str, Any]) -> bool:
    """Whether torch has code for a GPU: binaries run from their minor version on, intermediate code on later ones."""
    if torch["hip"] or not torch["architectures"]:
        return True
    major, minor = capability
    for architecture in torch["architectures"]:
        kind, _, number = architecture.partition("_")
        digits = int(re.sub(r"\D", "", number))
        if kind == "sm" and digits // 10 == major and digits % 10 <= minor:
            return True
        if kind == "compute" and digits <= 10 * major + minor:
            return True
    return False


def _nvidia_driver() -> tuple[str, str] | None:
    """The first GPU's name and the driver's version, if there is a driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    words = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        output = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    name, _, version = (output.splitlines() or [""])[0].partition(", ")
    return (name, version) if version else None


def _compiler() -> Diagnosis:
    """Compile, without keeping it, what torch.compile's programs include."""
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    program = next((path for name in names if name and (path := shutil.which(name))), None)
    only = "only device.compile=true needs it"
    if program is None:
        return Diagnosis("compiler", None, "no C++ compiler", f"install g++ or clang; {only}")
    words = [program, "-fsyntax-only", "-x", "c++", f"-I{sysconfig.get_paths()['include']}", "-"]
    source = "#include <vector>\n#include <Python.h>\n"
    try:
        done = subprocess.run(words, input=source, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return Diagnosis("compiler", None, f"{program} doesn't run: {error}", f"install g++ or clang; {only}")
    if done.returncode:
        missing = "Python.h" if "Python.h" in done.stderr and "vector" not in done.stderr else "the C++ library"
        advice = f"install Python's and C++'s headers (python3-dev, g++); {only}"
        return Diagnosis("compiler", None, f"{program}, without {missing}", advice)
    return Diagnosis("compiler", True, program)


def _folder(folder: Path) -> Diagnosis:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"labwright")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        fault = f"{folder} can't be written: {error.strerror}"
        return Diagnosis("folder", False, fault, "work elsewhere, or give --folder")
    enough = free >= FREE_BYTES
    advice = "" if enough else "make room for checkpoints"
    return Diagnosis("folder", enough, f"{folder}, {free / 2**30:.1f} GiB free", advice)


def _threads(torch: Mapping[str, Any]) -> Diagnosis:
    cores, threads = _cores(), torch.get("threads")
    if threads is None or threads <= cores:
        return Diagnosis("threads", True, f"{threads or 'unknown'} for {cores} cores")
    advice = f"set device.threads={cores} or OMP_NUM_THREADS={cores}: more threads than cores slow each other down"
    return Diagnosis("threads", None, f"{threads} for {cores} cores that this process may use", advice)


def _cores() -> int:
    """The cores this process may use: those of the machine, its affinity and its control group's share."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or "max"
        return cores


# ---------------------------------------------------------------------------------------------------------- helpers


def _try(code: str) -> _Tried:
    """Run some Python that prints JSON, as a process of its own."""
    words = [sys.executable, "-P", "-c", code]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return _Tried(fault=f"no answer within {SECONDS} s")
    except OSError as error:
        return _Tried(fault=f"{sys.executable} doesn't run: {error}")
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return _Tried(fault=lines[-1][:300] if lines else f"it ended with status {done.returncode}")
    try:
        return _Tried(facts=json.loads(done.stdout.strip().splitlines()[-1]))
    except (IndexError, ValueError):
        return _Tried(fault="it ended before it said anything")


def _required(distribution: str) -> Iterator[Requirement]:
    for line in metadata.requires(distribution) or ():
        with suppress(InvalidRequirement):  # of somebody else's distribution, and none that is asked about
            yield Requirement(line)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _minor(version: str) -> str:
    return ".".join(str(part) for part in Version(version).release[:2])
