"""Zips as people have them: each is read, or refused with the true cause and what to do."""

import re
import shutil
import struct
import subprocess
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from hub_export import zips
from hub_export.zips import open_zip, read_entry
from support.folders import fill_layout
from train.settings import DataConfig
from train.sources import Located, Source, locate

CONFIG = DataConfig(style="Hayao", resolution=0, size=64, augment="crop")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """5 frames, as many smooth ones and 7 photos by their names in AnimeGAN's layout."""
    root = fill_layout(tmp_path_factory.mktemp("layout") / "animegan")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.jpg"))}


def pack(path: Path, pictures: dict[str, bytes], rename: Callable[[str], str] = str, **options: int) -> Path:
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, content in pictures.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = info.orig_filename = rename(name)  # past what ZipInfo itself cleans
            info.compress_type = file.compression
            file.writestr(info, content)
    return path


def located(path: Path, config: DataConfig = CONFIG) -> Located:
    return locate(config, Source(data=str(path)), path.parent / "cache")


def assert_whole(path: Path, pictures: dict[str, bytes], config: DataConfig = CONFIG) -> None:
    found = located(path, config)
    assert found.photos is not None
    read = {read() for read in (*found.photos.pictures.values(), *found.anime.pictures.values())}
    assert read == {content for name, content in pictures.items() if "/smooth/" not in name}


def assert_refused(path: Path, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        located(path)
    assert str(path) in str(caught.value) and "not in AnimeGAN's layout" not in str(caught.value)


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name.replace("/", "\\"),
        lambda name: "C:\\" + name.replace("/", "\\"),
        lambda name: "/" + name,
        lambda name: "./" + name,
        lambda name: "my data//" + name,
        lambda name: name.replace("style", "Style").replace("train_photo", "Train_Photo"),
        lambda name: name.replace("Hayao", "hayao"),
        lambda name: name.replace("Hayao/style", "Hayao"),
    ],
    ids=["windows", "drive", "absolute", "dot", "deeper", "capitals", "style in lower case", "no style folder"],
)
def test_names(rename: Callable[[str], str], pictures: dict[str, bytes], tmp_path: Path) -> None:
    assert_whole(pack(tmp_path / "data.zip", pictures, rename), pictures)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_methods(method: int, pictures: dict[str, bytes], tmp_path: Path) -> None:
    assert_whole(pack(tmp_path / "data.zip", pictures, compression=method), pictures)


def test_zip64(pictures: dict[str, bytes], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as file:
        for name, content in pictures.items():
            with file.open(name, "w", force_zip64=True) as entry:
                entry.write(content)
    assert_whole(tmp_path / "data.zip", pictures)


@pytest.mark.parametrize(
    ("style", "encoding"),
    [
        ("宮崎", "cp932"),
        ("ソ表十", "cp932"),
        ("宫崎骏", "gbk"),
        ("宮崎", "big5"),
        ("하야오", "cp949"),
        ("Möwe", "cp437"),
        ("宮崎", "utf-8"),
    ],
)
@pytest.mark.parametrize("separator", ["/", "\\"])
def test_names_in_other_encodings(
    style: str, encoding: str, separator: str, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    """As programs write them that set no flag for UTF-8: bytes alone. "ソ" and "表" end with the byte of a backslash."""

    def rename(name: str) -> str:
        return name.replace("Hayao", style).replace("/", separator).encode(encoding).decode("cp437")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile.ZipInfo, "_encodeFilenameFlags", lambda info: (info.filename.encode("cp437"), 0))
        path = pack(tmp_path / "data.zip", pictures, rename)
    assert_whole(path, pictures, DataConfig(style=style))


def test_names_with_the_flag_for_utf_8_and_with_the_extra_field(pictures: dict[str, bytes], tmp_path: Path) -> None:
    assert_whole(
        pack(tmp_path / "flag.zip", pictures, lambda name: name.replace("Hayao", "宮崎")), pictures, DataConfig("宮崎")
    )
    with zipfile.ZipFile(tmp_path / "extra.zip", "w") as file:
        for name, content in pictures.items():
            info, real = zipfile.ZipInfo(name.replace("Hayao", "__")), name.replace("Hayao", "宮崎").encode()
            info.extra = struct.pack("<HHBL", 0x7075, 5 + len(real), 1, zlib.crc32(info.filename.encode())) + real
            file.writestr(info, content)
    assert_whole(tmp_path / "extra.zip", pictures, DataConfig("宮崎"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_entries_of_one_name_the_last_counts(pictures: dict[str, bytes], tmp_path: Path) -> None:
    path = pack(tmp_path / "data.zip", dict.fromkeys(pictures, b"old"))
    with zipfile.ZipFile(path, "a") as file:
        for name, content in pictures.items():
            file.writestr(name, content)
    assert_whole(path, pictures)


def test_links_in_a_zip_are_left_out(pictures: dict[str, bytes], tmp_path: Path) -> None:
    path = pack(tmp_path / "data.zip", pictures)
    link = zipfile.ZipInfo("train_photo/latest.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(link, "100.jpg")
    assert_whole(path, pictures)


def test_a_name_that_leads_out_of_the_zip(pictures: dict[str, bytes], tmp_path: Path) -> None:
    path = pack(tmp_path / "data.zip", pictures, lambda name: name.replace("train_photo/", "..\\..\\"))
    assert_refused(path, r"holds a name that leads out of it, '.*100.jpg': pack it again")


def test_encrypted(pictures: dict[str, bytes], tmp_path: Path) -> None:
    path = pack(tmp_path / "data.zip", pictures)
    content = bytearray(path.read_bytes())
    for found in re.finditer(rb"PK\x01\x02", bytes(content)):
        content[found.start() + 8] |= 1
    path.write_bytes(content)
    assert_refused(path, "is encrypted: unpack it and pass the folder instead")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("zip") is None, reason="Info-ZIP is not installed")
def test_encrypted_by_another_program(pictures: dict[str, bytes], tmp_path: Path) -> None:
    fill_layout(tmp_path / "animegan")
    subprocess.run(["zip", "-q", "-r", "-P", "secret", "../data.zip", "."], cwd=tmp_path / "animegan", check=True)
    assert_refused(tmp_path / "data.zip", "is encrypted")


def test_unknown_method(pictures: dict[str, bytes], tmp_path: Path) -> None:
    path = pack(tmp_path / "data.zip", pictures)
    content = bytearray(path.read_bytes())
    for found in re.finditer(rb"PK\x01\x02", bytes(content)):
        content[found.start() + 10] = 9
    path.write_bytes(content)
    assert_refused(path, "is packed by Deflate64, which is not read here: unpack it")


def test_cut_off_damaged_and_empty(pictures: dict[str, bytes], tmp_path: Path) -> None:
    whole = pack(tmp_path / "whole.zip", pictures).read_bytes()
    path = tmp_path / "data.zip"
    for end in (len(whole) // 2, len(whole) - 30, 100, 30):
        path.write_bytes(whole[:end])
        assert_refused(path, "was cut off, its end with the table of contents is missing: fetch or copy it again")
    path.write_bytes(b"")
    assert_refused(path, "is empty: fetch or copy it again")
    table = whole.index(b"PK\x01\x02")
    path.write_bytes(whole[: table + 4] + b"\xff" * 40 + whole[table + 44 :])
    assert_refused(path, "or is damaged there")
    path.write_bytes(whole[:table] + b"PK\x07\x07" + whole[table + 4 :])
    assert_refused(path, r"is a damaged zip \(Bad magic number for central directory\): fetch or copy it again")


def test_a_file_that_unfolds_to_more_than_it_says_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(300_000_000))
    content = path.read_bytes().replace(struct.pack("<I", 300_000_000), struct.pack("<I", 1000))
    path.write_bytes(content)
    entry = open_zip(path) / "a.jpg"
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"data.zip is damaged at a.jpg \(Bad CRC-32"):
        read_entry(entry)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(("method", "named"), [(zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "LZMA")])
def test_methods_that_know_no_bound(method: int, named: str, tmp_path: Path) -> None:
    path = pack(tmp_path / "data.zip", {"a.jpg": bytes(1000)}, compression=method)
    assert_refused(path, f"is packed by {named}, which is not read here: unpack it and pass the folder instead")


@pytest.mark.parametrize("name", ["a/" * 500 + "b.jpg", "a" * 1100 + ".jpg"])
def test_names_of_no_end(name: str, tmp_path: Path) -> None:
    assert_refused(pack(tmp_path / "data.zip", {name: b"1"}), r"holds a name of 1,\d\d\d characters in \d+ folders")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_at_a_picture(method: int, pictures: dict[str, bytes], tmp_path: Path) -> None:
    path = pack(tmp_path / "data.zip", pictures, compression=method)
    content = bytearray(path.read_bytes())
    middle = content.index(b"train_photo/103.jpg") + 600
    content[middle : middle + 60] = b"\x55" * 60
    path.write_bytes(content)
    found = located(path)
    assert found.photos is not None
    with pytest.raises(ValueError, match=r"data.zip is damaged at train_photo/103.jpg \(.*\): fetch or copy it again"):
        found.photos.pictures["103.jpg"]()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"Rar!\x1a\x07\x01\x00", "a RAR archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"PK\x07\x08PK\x03\x04", "one part of a zip in several"),
        (bytes(257) + b"ustar", "a tar archive"),
    ],
)
def test_other_archives(head: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(head + bytes(600))
    assert_refused(tmp_path / "data.zip", f"is {kind}: unpack it and pass the folder instead")


def test_the_last_part_of_several(pictures: dict[str, bytes], tmp_path: Path) -> None:
    content = bytearray(pack(tmp_path / "data.zip", pictures).read_bytes()[1000:])
    content[content.rindex(b"PK\x05\x06") + 4] = 2
    (tmp_path / "data.zip").write_bytes(content)
    assert_refused(tmp_path / "data.zip", "is the last part of a zip in several: unpack it")


def test_zip_bombs(pictures: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zips, "HARMLESS_BYTES", 2**20)
    bomb = {**pictures, "train_photo/flat.bmp": bytes(50 * 2**20)}
    assert_refused(pack(tmp_path / "data.zip", bomb, compression=zipfile.ZIP_DEFLATED), "would unfold from .* to .*zip bomb")
    many = {**pictures, **{f"train_photo/{index}.bmp": bytes(2**20) for index in range(50)}}
    assert_refused(pack(tmp_path / "data.zip", many, compression=zipfile.ZIP_DEFLATED), "would unfold from .* to .*zip bomb")


def test_entries_that_share_their_bytes(pictures: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("Hayao/style/0.jpg", bytes(100_000))
        for index in range(1, 9):
            shared = zipfile.ZipInfo(f"Hayao/style/{index}.jpg")
            shared.file_size, shared.compress_size, shared.header_offset, shared.CRC = 100_000, 100_000, 0, 0
            file.filelist.append(shared)
            file._didModify = True
    assert_refused(path, r"says that it holds 900,000 packed bytes, but has 10.,...: fetch")


def test_a_size_that_is_not_true_is_not_read_beyond(pictures: dict[str, bytes], tmp_path: Path) -> None:
    path = pack(tmp_path / "data.zip", {"train_photo/a.bmp": bytes(64 * 2**20)}, compression=zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    size = content.index(b"PK\x01\x02") + 24
    content[size : size + 4] = struct.pack("<L", 1000)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged at train_photo/a.bmp"):
        zips.read_entry(open_zip(path, "Hayao") / "train_photo" / "a.bmp")
