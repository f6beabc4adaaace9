"""The locks name every requirement, in a version that fits its range, by hash; `make lock` writes them."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def requirements(path: Path) -> list[Requirement]:
    """Of a file and those that it includes."""
    found = []
    for line in path.read_text("utf-8").splitlines():
        line = line.partition(" #")[0].strip()
        if line.startswith("-r "):
            found += requirements(path.parent / line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            found.append(Requirement(line))
    return found


def locked(path: Path) -> dict[str, set[str]]:
    """Versions by name, some for one platform only; all with hashes."""
    found: dict[str, set[str]] = {}
    for name, version, rest in re.findall(r"^([\w.-]+)==(\S+)(.*(?:\n    .*)*)", path.read_text("utf-8"), re.MULTILINE):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", rest), f"{name} has no hash"
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


@pytest.mark.parametrize("name", ["requirements", "requirements-train", "requirements-dev"])
def test_a_lock_fits_its_requirements(name: str) -> None:
    versions = locked(ROOT / f"{name}.lock")
    for requirement in requirements(ROOT / f"{name}.txt"):
        found = versions.get(canonicalize_name(requirement.name), set())
        fitting = [version for version in found if requirement.specifier.contains(version)]
        assert fitting, f"{requirement} is not in {name}.lock, which has {found}: run make lock"
    everything = locked(ROOT / "requirements-dev.lock")
    assert all(found <= everything[package] for package, found in versions.items()), "tests run with what people install"
