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
    with pytest.raises(ValueError, match="both drawings are called red"):
        blind.sheets(folders / "out", folders / "photos", pair[0], ("red", folders / "blue"))
    (folders / "blue" / "3.jpg").touch()
    with pytest.raises(ValueError, match=r"blue has 3.jpg and 3.png: keep one of them"):
        blind.sheets(folders / "out", folders / "photos", *pair)
    (folders / "blue" / "3.jpg").unlink()
    (folders / "empty").mkdir()
    with pytest.raises(ValueError, match="no picture is in"):
        blind.sheets(folders / "other", folders / "empty", *pair)


def test_a_sheet_that_was_deleted_gives_its_number_to_no_other(folders):
    pair = ("red", folders / "red"), ("blue", folders / "blue")
    blind.sheets(folders / "out", folders / "photos", *pair)
    for name in ("003.png", "006.png"):
        (folders / "out" / name).unlink()
    (folders / "photos" / ".DS_Store").write_bytes(b"no picture")
    blind.sheets(folders / "out", folders / "photos", *pair)
    rows = [line.split("\t")[0] for line in (folders / "out.key.tsv").read_text().splitlines()]
    assert rows == [f"{number:03d}.png" for number in range(1, 13)]


def test_photos_stand_upright_on_their_sheets(folders):
    lying = Image.new("RGB", (60, 41), (90, 90, 90))
    lying.paste((0, 200, 0), (0, 0, 10, 41))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right: what is at the left comes to the top
    (folders / "photos" / "0.png").unlink()
    lying.save(folders / "photos" / "0.jpg", exif=exif, quality=95)
    (folders / "one").mkdir()
    (folders / "photos" / "0.jpg").rename(folders / "one" / "0.jpg")
    blind.sheets(folders / "out", folders / "one", ("red", folders / "red"), ("blue", folders / "blue"))
    sheet = np.asarray(Image.open(folders / "out" / "001.png").convert("RGB")).astype(int)
    middle = sheet[:, sheet.shape[1] // 2]
    assert middle[20, 1] > 150 > middle[20, 0] and abs(middle[300, 1] - 90) < 9
