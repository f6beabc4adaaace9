"""The import rule: who may import whom, and what the first page never loads."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "hub_export": {"train", "animegan_app", "gradio", "app"},
    "train": {"animegan_app", "gradio", "app"},
    "animegan_app": {"train", "app"},
    "app.py": {"train"},
}


def imports(path: Path) -> set[str]:
    """Top-level names that a module imports anywhere, functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("room", FORBIDDEN)
def test_import_direction(room: str) -> None:
    files = [ROOT / room] if room.endswith(".py") else sorted((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        assert not imports(path) & FORBIDDEN[room], path


def test_only_the_page_imports_gradio() -> None:
    app = ROOT / "animegan_app"
    users = {path.relative_to(app).parts[0] for path in app.rglob("*.py") if "gradio" in imports(path)}
    assert users == {"ui"}


def test_no_circle_of_imports_in_the_hubs_room() -> None:
    """Each module can be read after those that it names, wherever in it they are named."""
    named: dict[str, set[str]] = {}
    for path in (ROOT / "hub_export").glob("*.py"):
        found = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
        modules = {(node.module or "").removeprefix("hub_export.") for node in found}
        modules |= {alias.name for node in found if node.module == "hub_export" for alias in node.names}
        named[path.stem] = modules
    graphlib.TopologicalSorter({name: modules & named.keys() for name, modules in named.items()}).prepare()


@pytest.mark.slow
def test_records_are_read_without_keras() -> None:
    """The app's first page lists checkpoints, and `train.run` experiments, before TensorFlow and Keras load."""
    modules = "hub_export.checkpoint, hub_export.store, hub_export.folder, hub_export.card, animegan_app.studio, train.run"
    code = f"import sys, {modules}; sys.exit(bool({{'keras', 'tensorflow'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.slow
def test_the_training_command_checks_its_arguments_without_keras() -> None:
    code = """
import sys
from train.run import check, parser
parser().format_help()
check(parser().parse_args(["smoke", "--publish", "you/animegan-hayao"]))
sys.exit(bool({"keras", "tensorflow", "tensorflow_datasets"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
