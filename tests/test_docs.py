"""README and docs/ tell the truth: commands and code run, flags are those of training's program, links lead somewhere."""

import contextlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from PIL import Image

from train.experiments import EXPERIMENTS
from train.run import configure, main, parser

ROOT = Path(__file__).parents[1]
README, TRAIN = ROOT / "README.md", ROOT / "docs" / "train.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in a language, "" for commands."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [block for name, block in found if name == language]


def commands(pages: Iterable[Path]) -> list[list[str]]:
    """The words of every command of the pages, without comments."""
    lines = [line for page in pages for block in blocks(page, "") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith(("python ", "make "))]


COMMANDS = commands(PAGES)


def test_the_two_commands_and_the_way_to_a_first_training_come_in_an_order_that_works() -> None:
    found = [" ".join(words) for words in commands([README])]
    assert found[:2] == ["make demo", "make test"]
    training = next(number for number, command in enumerate(found) if command.startswith("python -m train"))
    assert found[training - 1 : training + 1] == ["make .venv/train", "python -m train.run smoke"]


def test_the_readme_is_read_in_minutes() -> None:
    for page, most in {README: 1200, ROOT / "docs" / "flagship.md": 1200}.items():
        assert len(page.read_text("utf-8").split()) <= most, page


@pytest.mark.parametrize("command", [words for words in COMMANDS if words[1:3] == ["-m", "train.run"]], ids=shlex.join)
def test_training_commands_are_of_real_experiments(command: list[str]) -> None:
    arguments = parser().parse_args(command[3:])
    assert not arguments.experiment or configure(arguments)


@pytest.mark.slow
@pytest.mark.parametrize("command", [words for words in COMMANDS if words[0] == "make"], ids=shlex.join)
def test_make_knows_its_targets(command: list[str]) -> None:
    done = subprocess.run(["make", "--dry-run", *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


PROGRAMS = sorted({tuple(words[1:3] if words[1] == "-m" else words[1:2]) for words in COMMANDS if words[0] == "python"})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
@pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)
def test_programs_take_the_flags_that_they_are_given(
    program: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [words[len(program) + 1 :] for words in COMMANDS if tuple(words[1 : len(program) + 1]) == program]
    flags = {word for words in given for word in words if word.startswith("--")}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [program[-1], "--help"])
    start = runpy.run_module if program[0] == "-m" else runpy.run_path
    with pytest.raises(SystemExit) as end:
        start(program[-1], run_name="__main__")
    told = capsys.readouterr().out
    assert not end.value.code and not [flag for flag in flags if not re.search(rf"{flag}\b", told)]


def test_the_table_of_flags_is_that_of_the_program() -> None:
    rows = re.findall(r"^\| (`--.*?) \|", TRAIN.read_text("utf-8"), re.MULTILINE)
    flags = {flag for action in parser()._actions for flag in action.option_strings if flag.startswith("--")}
    assert set(re.findall(r"--[a-z-]+", "".join(rows))) == flags - {"--help"}


def test_the_command_that_lists_experiments_lists_them_all() -> None:
    assert ["python", "-m", "train.run"] in COMMANDS
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main(parser().parse_args([]))
    listed = dict(line.split(maxsplit=1) for line in printed.getvalue().splitlines())
    assert listed.keys() == EXPERIMENTS.keys()
    assert all(listed[name].startswith(experiment.question) for name, experiment in EXPERIMENTS.items())


@pytest.mark.slow
def test_the_code_in_readme_runs(tmp_path: Path) -> None:
    (tmp_path / "animegan_app").symlink_to(ROOT / "animegan_app")
    program = "\n".join(blocks(README, "python"))
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "drawing.png") as drawing, Image.open(ROOT / "animegan_app/examples/street.jpg") as photo:
        assert drawing.size == photo.size


@pytest.mark.slow
def test_commits_that_the_docs_name_are_in_the_history() -> None:
    """What was committed and then lost is in no archive."""
    if subprocess.run(["git", "rev-parse", "--is-shallow-repository"], cwd=ROOT, capture_output=True).stdout != b"false\n":
        pytest.skip("a copy without the history")
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    named = re.findall(r"(?:commit|git show|git worktree add \S+) `?([0-9a-f]{7,40})\b", text)
    assert len(named) > 3
    for commit in {*named}:
        assert subprocess.run(["git", "merge-base", "--is-ancestor", commit, "HEAD"], cwd=ROOT).returncode == 0, commit


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        if anchor:
            assert anchor in map(slug, re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)), target
