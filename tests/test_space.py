"""The Space: exactly what it needs, pushed in one commit, and it works where nothing else is installed."""

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from animegan_app.catalog import RECOMMENDED
from hub_export.publish import PublishError, publish
from hub_export.record import CARD, SIZE_LIMITS, CheckpointError, read_record
from hub_export.space import main, push_space, space_files, write_space
from hub_export.store import SOURCES_FILE
from support.checkpoints import save_tiny
from support.hub import HubServer

pytestmark = [pytest.mark.slow, pytest.mark.long]

ROOT = Path(__file__).parents[1]
HF = str(Path(sys.executable).parent / "hf")
SPACE, REPO = "you/animegan-space", "you/animegan-tiny"


def front_matter(readme: bytes) -> dict[str, object]:
    return dict(yaml.safe_load(readme.decode().split("---\n")[1]))


def quiet(_: str) -> None:
    """For a log nobody reads."""


def test_exactly_what_a_space_needs() -> None:
    files = space_files()
    rooms = {path.split("/")[0] for path in files}
    assert rooms == {"app.py", "LICENSE", "README.md", "requirements.txt", "animegan_app", "hub_export"}
    for room in ("animegan_app", "hub_export"):
        ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / room).rglob("*.py")}
        assert ours == {path for path in files if path.startswith(room) and path.endswith(".py")}
    assert not [path for path in files if "__pycache__" in path or "/." in path or path.startswith(".")]
    assert sum(map(len, files.values())) < 30 * 10**6, "what ships is few"


def test_front_matter_and_requirements_match_what_is_installed_here() -> None:
    files = space_files()
    front = front_matter(files["README.md"])
    assert front["sdk"] == "gradio" and front["sdk_version"] == metadata.version("gradio")
    assert front["python_version"] == "3.11" and front["app_file"] == "app.py"
    assert {"title", "emoji", "colorFrom", "colorTo", "suggested_hardware"} <= set(front)
    assert len(str(front["short_description"])) <= 60
    lines = [line for line in files["requirements.txt"].decode().splitlines() if not line.startswith("#")]
    ours = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) == len(ours) - 1 and not any(line.startswith("gradio") for line in lines)
    assert [line for line in lines if line.startswith("tensorflow")] == [
        re.sub("^tensorflow", "tensorflow-cpu", line) for line in ours if line.startswith("tensorflow")
    ]


def test_named_checkpoints_are_pinned_and_the_first_is_preloaded(hub: HubServer, tmp_path: Path) -> None:
    for epoch in (1, 2):
        save_tiny(tmp_path / "tiny" / f"epoch-{epoch:03}", epoch=epoch, step=epoch)
    publish(tmp_path / "tiny", REPO, log=quiet)
    publish(tmp_path / "tiny", "you/second", log=quiet)
    main([SPACE, "--dry-run", str(tmp_path / "space"), "--checkpoints", f"hub:{REPO}@epoch-001", "hub:you/second"])
    front = front_matter((tmp_path / "space" / "README.md").read_bytes())
    assert front["models"] == [REPO, "you/second"]
    assert front["preload_from_hub"] == [f"{REPO} {','.join(SIZE_LIMITS)} {hub.repo(REPO).tags['epoch-001']}"]
    assert (tmp_path / "space" / SOURCES_FILE).read_text() == f"{REPO}@epoch-001\nyou/second@epoch-002\n"
    code = "from hub_export.store import hub_sources; print(hub_sources())"
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "space", capture_output=True, text=True, check=True)
    assert found.stdout.strip() == f"['{REPO}@epoch-001', 'you/second@epoch-002']", "the Space's app knows where to look"
    code = "from animegan_app.catalog import open_catalog; print(open_catalog().default().key)"
    for cached in (False, True):
        if cached:  # as `preload_from_hub` does
            preloaded = [
                REPO,
                *(f"--include={name}" for name in SIZE_LIMITS),
                "--revision",
                hub.repo(REPO).tags["epoch-001"],
            ]
            subprocess.run(
                [HF, "download", *preloaded], env=hub.environment(HF_HUB_CACHE=str(tmp_path / "space's")), check=True
            )
            hub.stop()
        found = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path / "space",
            env=hub.environment(HF_HUB_CACHE=str(tmp_path / "space's")),
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout.startswith(f"hub/{REPO}/epoch-001\n" if cached else f"bundled/{RECOMMENDED}/"), (
            "it shows it first"
        )
    hub.start()
    with pytest.raises(CheckpointError, match=f"{REPO} has no checkpoint epoch-009"):
        space_files([f"hub:{REPO}@epoch-009"])
    with pytest.raises(ValueError, match="names no checkpoint on the Hub"):
        space_files(["epoch-009"])


def test_the_licence_is_what_the_checkpoints_cards_say(hub: HubServer, tmp_path: Path) -> None:
    data = {"photos": 1, "anime": 1, "source": "Mine.", "terms": "For\nmy friends alone."}
    save_tiny(tmp_path / "tiny" / "epoch-001", data=data)
    publish(tmp_path / "tiny", REPO, log=quiet)
    readme = space_files([f"hub:{REPO}"])["README.md"].decode()
    front = front_matter(readme.encode())
    cards = list((ROOT / "animegan_app" / "checkpoints").glob("*/*/README.md"))
    for card in [*(path.read_bytes() for path in cards), hub.repo(REPO).commits[hub.repo(REPO).branches["main"]][CARD]]:
        theirs = front_matter(card)
        assert {key: theirs[key] for key in ("license", "license_name")} == {
            key: front[key] for key in ("license", "license_name")
        }
    assert "- `tiny`: For my friends alone.\n" in readme and "Apache License 2.0" in readme
    for path in cards:
        assert " ".join(read_record(path.parent).data["terms"].split()) in readme


def test_a_dry_run_sends_nothing_and_overwrites_nothing(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "space").mkdir()
    write_space(tmp_path / "space")
    (tmp_path / "space" / "app.py").write_text("mine")
    with pytest.raises(SystemExit, match="space is not empty: name a new folder"):
        main([SPACE, "--dry-run", str(tmp_path / "space")])
    assert (tmp_path / "space" / "app.py").read_text() == "mine" and hub.requests == []


def test_pushed_in_one_commit_and_again_without_any(hub: HubServer) -> None:
    said: list[str] = []
    assert push_space(SPACE, log=said.append) == f"{hub.endpoint}/spaces/{SPACE}"
    space = hub.repo(SPACE, "space")
    assert len(space.titles) == 2
    now = space.commits[space.branches["main"]]
    assert {path: now[path] for path in now if path != ".gitattributes"} == space_files()
    push_space(SPACE, log=said.append)
    assert len(space.titles) == 2 and said[-1].endswith("is as it should be already")


def test_what_is_no_longer_ours_goes_and_what_is_the_owners_stays(hub: HubServer) -> None:
    push_space(SPACE, log=quiet)
    theirs = {"animegan_app/old.py": b"old", "notes.md": b"mine", "app.py": b"old", SOURCES_FILE: b"you/before"}
    hub.commit(SPACE, theirs, kind="space")
    push_space(SPACE, log=quiet)
    space = hub.repo(SPACE, "space")
    now = space.commits[space.branches["main"]]
    assert not {"animegan_app/old.py", SOURCES_FILE} & now.keys() and now["notes.md"] == b"mine"
    assert now["app.py"] == (ROOT / "app.py").read_bytes()


def test_refusals_are_told_in_words(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="names no Space"):
        push_space("space", log=quiet)
    with pytest.raises(PublishError, match="them/space may not be changed"):
        push_space("them/space", log=quiet)
    hub.fail("POST .*/commit/.*", status=412)
    with pytest.raises(PublishError, match="someone else committed meanwhile"):
        push_space(SPACE, log=quiet)
    monkeypatch.setenv("HF_TOKEN", "")
    with pytest.raises(SystemExit, match=f"{SPACE} is missing or private; set HF_TOKEN"):
        main([SPACE])


AS_A_SPACE = """
import sys, threading, time
import app  # not __main__: a Space imports it and launches what it finds
assert type(app.demo).__name__ == "Blocks"
loaded = {"tensorflow", "keras"} & set(sys.modules)
assert not loaded, f"the first page waits for {loaded}"
_, url, _ = app.demo.launch(prevent_thread_lock=True, quiet=True)
from gradio_client import Client, handle_file
from PIL import Image
file, facts = Client(url, verbose=False).predict(
    handle_file("animegan_app/examples/street.jpg"), "bundled/tiny/epoch-001", 512, api_name="/stylize"
)
anime = Image.open(file)
assert anime.size == (facts["width"], facts["height"]) and max(anime.size) == 512, (anime.size, facts)
assert not {"train", "huggingface_hub.hub_mixin"} & set(sys.modules)
print("stylized", anime.size)
"""


def test_installed_in_a_clean_environment_it_stylizes(tmp_path: Path) -> None:
    """Half a minute: the folder's own requirements and the Gradio that `sdk_version` names, from the package registry."""
    space, python = tmp_path / "space", tmp_path / "venv" / "bin" / "python"
    write_space(space)
    save_tiny(space / "animegan_app" / "checkpoints" / "tiny" / "epoch-001")
    version = front_matter((space / "README.md").read_bytes())["sdk_version"]
    install = [str(Path(sys.executable).parent / "uv"), "pip", "install", "--quiet", "--python", str(python)]
    try:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(python.parents[1])], check=True)
        patient = os.environ | {"UV_HTTP_TIMEOUT": "300"}
        subprocess.run([*install, "-r", "requirements.txt", f"gradio=={version}"], cwd=space, check=True, env=patient)
        done = subprocess.run([str(python), "-c", AS_A_SPACE], cwd=space, capture_output=True, text=True, timeout=600)
    finally:
        shutil.rmtree(python.parents[1], ignore_errors=True)  # nearly 2 GB
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("stylized")
