"""Blind sheets: nothing but the key tells the sides, and the tally undoes it."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks import blind


@pytest.fixture
def folders(tmp_path):
    """Six photos, red drawings and blue ones, of odd sizes."""
    colours = {"photos": (90, 90, 90), "red": (255, 0, 0), "blue": (0, 0, 255)}
    for name, colour in colours.items():
        (tmp_path / name).mkdir()
        for number in range(6):
            Image.new("RGB", (41 + number, 60), colour).save(tmp_path / name / f"{number}.png")
    return tmp_path


@pytest.mark.slow
def test_the_tally_finds_who_always_chose_red(folders):
    pair = ("red", folders / "red"), ("blue", folders / "blue")
    assert blind.sheets(folders / "out", folders / "photos", *pair, seed=3) == 6
    assert blind.sheets(folders / "out", folders / "photos", *pair, seed=4) == 6, "more sheets in the same folder"
    lines = []
    for path in sorted((folders / "out").iterdir()):
        sheet = np.asarray(Image.open(path))
        red_left = sheet[-30, 100, 0] > 200
        lines.append(f"{path.name}\t{'L' if red_left else 'R'}\t{'R' if red_left else 'L'}")
    assert {line.split("\t")[1] for line in lines} == {"L", "R"}, "both sides occur"
    (folders / "answers.tsv").write_text("\n".join(lines))
    command = [sys.executable, "-m", "benchmarks.blind", "tally", folders / "out.key.tsv", folders / "answers.tsv"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told == "blue against red: more of a drawing 0 of 12 (0.00 +- 0.00), kept 12 of 12 (1.00 +- 0.00)\n"


def test_what_cannot_be_counted_is_refused(folders):
    pair = ("red", folders / "red"), ("blue", folders / "blue")
    blind.sheets(folders / "out", folders / "photos", *pair)
    for line in ("099.png\tL\tR", "001.png\tL", "001.png\tleft\tR"):
        (folders / "answers.tsv").write_text(line)
        with pytest.raises(ValueError, match="is no answer"):
            blind.tally(folders / "out.key.tsv", [folders / "answers.tsv"])
    (folders / "empty").mkdir()
    with pytest.raises(ValueError, match="no picture is in"):
        blind.sheets(folders / "other", folders / "empty", *pair)
