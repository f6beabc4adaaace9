"""README tells the truth: every flag is there, and every command in it is a real entry point."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from train.run import configure, parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = [
    line.partition("#")[0].strip()
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
    if not language and line.startswith(("python", "make"))
]


def test_every_flag_is_documented() -> None:
    flags = [
        flag for action in parser()._actions for flag in action.option_strings if flag.startswith("--") and flag != "--help"
    ]
    assert len(flags) > 10
    assert not [flag for flag in flags if flag not in README]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_real(command: str) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        done = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif words[1:3] == ["-m", "train.run"]:
        arguments = parser().parse_args(words[3:])
        assert not arguments.experiment or configure(arguments)
    else:
        program = words[1:3] if words[1] == "-m" else words[1:2]
        done = subprocess.run([sys.executable, *program, "--help"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_commands_were_found() -> None:
    assert {"make demo", "make test", "python -m train.run smoke"} <= set(COMMANDS)


def test_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
