"""Publishing to a loopback Hub with the real client: whole, again, interrupted, in conflict, while training."""

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from hub_export import hub as connection
from hub_export.architecture import GeneratorConfig
from hub_export.card import TAG, model_card
from hub_export.files import write_aside
from hub_export.generator import build_generator
from hub_export.publish import Publisher, PublishError, main, publish, published_files
from hub_export.record import CARD, RECORD, SIZE_LIMITS, WEIGHTS, CheckpointError, parse_record, read_record
from support.checkpoints import save_tiny
from support.hub import HubServer
from support.processes import until
from train.schedule import Plan

REPO = "you/animegan-tiny"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits minutes here."""
    monkeypatch.setattr(connection, "WAITS", (0.01, 0.02, 0.04))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "tiny"
    for epoch in (1, 2, 10):
        save_tiny(run / f"epoch-{epoch:03}", seed=epoch, epoch=epoch, step=100 * epoch)
    return run


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "runs" / "tiny"))


def quiet(_: str) -> None:
    """For a log nobody reads."""


def writes(hub: HubServer) -> list[str]:
    return [line for line in hub.requests if line.startswith("POST") and ("/commit/" in line or "/tag/" in line)]


def check_published(hub: HubServer, run: Path, recommended: str) -> None:
    """Every checkpoint is a tag with complete, consistent files; main holds the recommended one."""
    repo = hub.repo(REPO)
    assert sorted(repo.tags) == sorted(path.name for path in run.iterdir())
    for name, sha in [*repo.tags.items(), (recommended, repo.branches["main"])]:
        files = repo.commits[sha]
        assert set(files) == {*SIZE_LIMITS, ".gitattributes"}
        record = parse_record(files[RECORD].decode(), name)
        assert record.checkpoint == name and record.sha256 == read_record(run / name).sha256
        for path, entry in record.files.items():
            assert entry == {"sha256": hashlib.sha256(files[path]).hexdigest(), "size": len(files[path])}


def test_one_commit_and_tag_for_each_checkpoint(hub: HubServer, run: Path) -> None:
    done = publish(run, REPO, log=quiet)
    assert done.new == ["epoch-001", "epoch-002", "epoch-010"] and done.recommended == "epoch-010"
    assert done.commits == hub.repo(REPO).tags and done.url == f"{hub.endpoint}/{REPO}"
    assert [title.split(":")[0] for title in hub.repo(REPO).titles[1:]] == done.new
    assert hub.lfs, "weights travel as LFS"
    check_published(hub, run, "epoch-010")


@pytest.mark.parametrize("warmup", [2, 3], ids=["off the epochs' grid", "on it"])
def test_every_checkpoint_of_a_schedule_is_published(hub: HubServer, tmp_path: Path, warmup: int) -> None:
    plan, run = Plan(epoch_steps=3, warmup_steps=warmup, total_steps=8), tmp_path / "runs" / "tiny"
    names = {plan.checkpoint_name(step): step for step in range(1, 9) if plan.checkpoint_due(step, 1)}
    for name, step in names.items():  # one at a time, as a run does
        save_tiny(run / name, seed=step, epoch=plan.epoch(step), step=step)
        publish(run, REPO, log=quiet)
    assert list(hub.repo(REPO).tags) == list(names) and len(names) == (4 if warmup == 2 else 3)


def test_a_copy_of_a_checkpoint_is_not_published_in_its_place(hub: HubServer, run: Path) -> None:
    shutil.copytree(run / "epoch-002", run / "epoch-002-before")
    with pytest.raises(CheckpointError, match="epoch-002-before: the record is of epoch-002"):
        publish(run, REPO, log=quiet)
    assert not hub.requests


def test_the_card_is_valid_and_tells_the_repo(hub: HubServer, run: Path) -> None:
    publish(run, REPO, log=quiet)
    card = hub.repo(REPO).commits[hub.repo(REPO).tags["epoch-002"]][CARD].decode()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == "keras" and front["pipeline_tag"] == "image-to-image" and TAG in front["tags"]
    assert f'load_model("hf://{REPO}")' in card and f"--init hub:{REPO}@epoch-002" in card
    assert f"ANIMEGAN_HUB={REPO}" in card and "| `generator.channels` | 64 | 4 |" in card
    neutral = model_card(read_record(run / "epoch-002"))
    assert REPO not in neutral and "path/to/this/folder" in neutral
    assert ModelCard(card).data.to_dict() == front and "POST /api/validate-yaml" in hub.requests


def test_stock_keras_loads_it_from_the_hub(hub: HubServer, run: Path) -> None:
    """As the card says, with none of our code."""
    publish(run, REPO, log=quiet)
    code = f"import keras; print(keras.saving.load_model('hf://{REPO}').count_params())"
    environment = hub.environment(HF_HUB_CACHE=str(run.parent / "cache"))
    done = subprocess.run([sys.executable, "-c", code], cwd=run, env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) == build_generator(GeneratorConfig("lite", channels=4)).count_params()


def test_again_changes_nothing(hub: HubServer, run: Path) -> None:
    first = publish(run, REPO, log=quiet)
    before = writes(hub)
    again = publish(run, REPO, log=quiet)
    assert again.commits == first.commits and again.new == [] and writes(hub) == before


def test_recommended(hub: HubServer, run: Path) -> None:
    assert publish(run, REPO, recommend="epoch-002", log=quiet).recommended == "epoch-002"
    check_published(hub, run, "epoch-002")
    before = writes(hub)
    assert publish(run, REPO, recommend="epoch-002", log=quiet).recommended == "epoch-002"
    assert publish(run, REPO, log=quiet).recommended == "epoch-002", "a choice stays until there is something new"
    assert writes(hub) == before
    publish(run, REPO, recommend="epoch-010", log=quiet)
    check_published(hub, run, "epoch-010")


def test_older_epochs_later_leave_the_newest_on_main(hub: HubServer, run: Path) -> None:
    publish(run, REPO, epochs="10", log=quiet)
    assert list(hub.repo(REPO).tags) == ["epoch-010"]
    publish(run, REPO, log=quiet)
    check_published(hub, run, "epoch-010")


def test_a_single_checkpoint_private(hub: HubServer, run: Path) -> None:
    publish(run / "epoch-002", REPO, private=True, log=quiet)
    assert hub.repo(REPO).private and list(hub.repo(REPO).tags) == ["epoch-002"]


@pytest.mark.parametrize(
    "fault",
    [
        {"pattern": "POST .*/tag/.*", "die": True},
        {"pattern": "POST .*/tag/.*", "status": 400},
        {"pattern": "POST .*/commit/.*", "die": True},
        {"pattern": "POST .*/commit/.*", "status": 400},
        {"pattern": "PUT /lfs/.*", "status": 400},
        {"pattern": "POST .*/preupload/.*", "status": 400},
    ],
    ids=lambda fault: " ".join(map(str, fault.values())),
)
def test_interrupted_it_goes_on_where_it_stopped(hub: HubServer, run: Path, fault: dict) -> None:
    publish(run, REPO, epochs="1", log=quiet)
    hub.fail(**fault, times=1)
    with pytest.raises(PublishError, match=REPO):
        publish(run, REPO, log=quiet)
    publish(run, REPO, log=quiet)
    check_published(hub, run, "epoch-010")
    assert len(hub.repo(REPO).titles) == 1 + 3, "nothing was committed twice"


def test_killed_in_the_middle_it_goes_on_where_it_stopped(hub: HubServer, run: Path) -> None:
    command = [sys.executable, "-m", "hub_export.publish", str(run), REPO]
    pause = hub.fail("POST .*/tag/epoch-002|POST .*/tag/.*", silence=30)
    process = subprocess.Popen(command, env=hub.environment(HF_HUB_CACHE=str(run.parent / "cache")))
    until(lambda: any("/tag/" in line for line in hub.requests), process)
    process.kill()
    process.wait()
    pause.times = 0
    assert hub.repo(REPO).tags == {}
    publish(run, REPO, log=quiet)
    check_published(hub, run, "epoch-010")
    assert len(hub.repo(REPO).titles) == 1 + 3


def test_an_edit_by_someone_else_is_not_overwritten(hub: HubServer, run: Path) -> None:
    publish(run, REPO, epochs="1", log=quiet)
    edited = hub.commit(REPO, {CARD: b"I wrote this."})
    for arguments in ({}, {"recommend": "epoch-001"}):
        with pytest.raises(PublishError, match=f"{REPO}: someone else changed README.md on main"):
            publish(run, REPO, log=quiet, **arguments)
    assert hub.repo(REPO).branches["main"] == edited


def test_other_files_by_someone_else_are_left_alone(hub: HubServer, run: Path) -> None:
    publish(run, REPO, epochs="1", log=quiet)
    hub.commit(REPO, {"notes.md": b"Mine."})
    publish(run, REPO, log=quiet)
    repo = hub.repo(REPO)
    assert repo.commits[repo.branches["main"]]["notes.md"] == b"Mine." and len(repo.tags) == 3


def test_a_commit_in_between_is_not_overwritten(hub: HubServer, run: Path) -> None:
    publish(run, REPO, epochs="1", log=quiet)
    fault = hub.fail("POST .*/commit/.*", silence=60, times=1)
    outcome: list[str] = []

    def work() -> None:
        try:
            publish(run, REPO, log=quiet)
        except PublishError as error:
            outcome.append(str(error))

    commits = len([line for line in hub.requests if "/commit/" in line])
    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: len([line for line in hub.requests if "/commit/" in line]) > commits)
    theirs = hub.commit(REPO, {"notes.md": b"Mine."})
    fault.over.set()
    thread.join()
    assert outcome == [f"{REPO}: someone else committed meanwhile; nothing was overwritten, publish again"]
    assert hub.repo(REPO).branches["main"] == theirs


def test_what_is_not_ours_is_refused(hub: HubServer, run: Path, tmp_path: Path) -> None:
    hub.commit("you/other", {CARD: b"A page of mine."})
    with pytest.raises(PublishError, match=r"you/other holds a README.md that is not ours"):
        publish(run, "you/other", log=quiet)
    publish(run, REPO, epochs="1", log=quiet)
    hub.commit(REPO, {"notes.md": b""})
    save_tiny(tmp_path / "fresh" / "epoch-001", seed=7)
    with pytest.raises(PublishError, match="another epoch-001 already"):
        publish(tmp_path / "fresh", REPO, log=quiet)
    save_tiny(tmp_path / "fresh" / "epoch-005", seed=7)
    with pytest.raises(PublishError, match="holds experiment tiny"):
        publish(tmp_path / "fresh", REPO, epochs="epoch-005", log=quiet)
    assert list(hub.repo(REPO).tags) == ["epoch-001"]


def test_a_run_resumed_from_before_a_published_checkpoint_goes_on_publishing(hub: HubServer, run: Path) -> None:
    publish(run, REPO, epochs="1-2", log=quiet)
    save_tiny(run / "epoch-002", seed=9, epoch=2, step=200)
    theirs = dict(hub.repo(REPO).tags)
    with pytest.raises(PublishError, match="another epoch-002 already, which is not overwritten; all others are there: "):
        publish(run, REPO, log=quiet)
    assert list(hub.repo(REPO).tags) == ["epoch-001", "epoch-002", "epoch-010"]
    assert theirs.items() <= hub.repo(REPO).tags.items()
    main = hub.repo(REPO).commits[hub.repo(REPO).branches["main"]]
    assert parse_record(main[RECORD].decode(), "main").checkpoint == "epoch-010"


def test_damaged_checkpoints_stay_at_home(hub: HubServer, run: Path) -> None:
    write_aside(run / "epoch-002" / WEIGHTS, b"nonsense")
    with pytest.raises(CheckpointError, match=r"model.weights.h5 is damaged"):
        publish(run, REPO, log=quiet)
    assert list(hub.repo(REPO).tags) == ["epoch-001"]


def test_what_is_measured_meanwhile_is_not_published_under_the_old_record(run: Path) -> None:
    history = run / "epoch-002" / "history.jsonl"
    history.write_text(history.read_text() + '{"step": 3}\n')
    with pytest.raises(PublishError, match=r"history\.jsonl changed meanwhile; publish again"):
        published_files(run / "epoch-002", REPO)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"epochs": "3"}, "no checkpoint is '3': choose from epoch-001, epoch-002, epoch-010"),
        ({"epochs": "x"}, "no checkpoint is 'x'"),
        ({"recommend": "epoch-099"}, "cannot recommend epoch-099: choose from"),
        ({"epochs": "1-2", "recommend": "epoch-010"}, "cannot recommend epoch-010"),
    ],
)
def test_what_is_not_there_cannot_be_published(run: Path, arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        publish(run, REPO, log=quiet, **arguments)
    with pytest.raises(CheckpointError, match="neither a run"):
        publish(run.parent, REPO, log=quiet)
    with pytest.raises(ValueError, match="names no repo"):
        publish(run, "animegan", log=quiet)


def test_ranges_of_epochs(hub: HubServer, run: Path) -> None:
    publish(run, REPO, epochs="1-2, epoch-010", log=quiet)
    assert len(hub.repo(REPO).tags) == 3


def refuse(hub: HubServer, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    if how == "no token":
        monkeypatch.setenv("HF_TOKEN", "")
    elif how == "wrong token":
        monkeypatch.setenv("HF_TOKEN", "hf_wrong_secret_9876543210")
    elif how == "odd token":
        monkeypatch.setenv("HF_TOKEN", "hf_wrong_pässword")
    elif how == "proxy":
        hub.fail("POST /api/repos/create", status=403, body=b"<!DOCTYPE html><title>ERROR: Access Denied</title>")
    elif how == "away":
        hub.stop()
    elif how == "echo":
        hub.fail("GET .*/refs", status=500, body=json.dumps({"error": f"bad token {hub.token}"}).encode())
    else:
        hub.fail("POST /api/repos/create", status=int(how))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("no token", "is missing or private; set HF_TOKEN"),
        ("wrong token", "cannot be asked: the Hub does not accept this HF_TOKEN; make a new one"),
        ("odd token", "was not asked: HF_TOKEN holds a character that no token has"),
        ("403", "may not be changed or read with this HF_TOKEN: it needs the right to"),
        (
            "proxy",
            "cannot be asked now: a proxy, a sign-in page or a wrong HF_ENDPOINT answers in place of the Hub (error 403)",
        ),
        ("500", "the Hub answers with error 500"),
        ("429", "too many requests"),
        ("away", "the Hub cannot be reached"),
        ("echo", "the Hub answers with error 500"),
    ],
)
def test_refusals_are_told_in_words_without_tokens(
    hub: HubServer, run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, how: str, words: str
) -> None:
    refuse(hub, monkeypatch, how)
    with pytest.raises(SystemExit) as exit:
        main([str(run), REPO])
    assert str(exit.value).startswith(f"hub_export.publish: {REPO} ") and words in str(exit.value)
    said = "".join(capfd.readouterr()) + str(exit.value)
    assert hub.token not in said and "hf_wrong" not in said


def test_someone_elses_namespace(hub: HubServer, run: Path) -> None:
    with pytest.raises(PublishError, match="them/animegan may not be changed"):
        publish(run, "them/animegan", log=quiet)


def test_the_command_publishes_and_says_so_without_the_token(hub: HubServer, run: Path) -> None:
    command = [sys.executable, "-m", "hub_export.publish", str(run), REPO, "--recommend", "epoch-002", "--private"]
    cache = str(run.parent / "cache")
    done = subprocess.run(command, env=hub.environment(HF_HUB_CACHE=cache), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].endswith(f"{REPO}: 3 checkpoints, 3 of them new; main is epoch-002")
    assert hub.token not in done.stdout + done.stderr and hub.repo(REPO).private
    content = b"".join(content for files in hub.repo(REPO).commits.values() for content in files.values())
    assert hub.token.encode() not in content
    check_published(hub, run, "epoch-002")


# --- a Hub that is busy or not well -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers", [{"Retry-After": "1"}, {"RateLimit": '"api";r=0;t=1', "RateLimit-Policy": '"fixed window";"api";q=9;w=300'}]
)
@pytest.mark.parametrize("pattern", ["POST .*/commit/.*", "POST .*/tag/.*", "GET .*/refs", "POST .*/preupload/.*"])
def test_too_many_requests_are_waited_for_as_long_as_the_hub_asks(
    hub: HubServer, run: Path, caplog: pytest.LogCaptureFixture, pattern: str, headers: dict[str, str]
) -> None:
    said: list[str] = []
    hub.fail(pattern, status=429, headers=headers, times=1)
    started = time.monotonic()
    publish(run, REPO, log=said.append)
    assert time.monotonic() - started > 1
    told = f"{REPO} cannot be asked now: the Hub says there were too many requests; trying again in 1 s" in said
    assert told or "Rate limited. Waiting 2.0s" in caplog.text, "the client itself waits for some"
    check_published(hub, run, "epoch-010")
    assert len(hub.repo(REPO).titles) == 1 + 3, "nothing was committed twice"


@pytest.mark.parametrize(("every", "status", "done"), [(2, 500, True), (3, 502, True), (3, 503, False), (4, 504, False)])
def test_scattered_errors_do_not_stop_the_publishing_of_many(
    hub: HubServer, run: Path, every: int, status: int, done: bool
) -> None:
    said: list[str] = []
    hub.fail("POST .*/(commit|tag)/.*|GET .*/refs", status=status, every=every, done=done)
    published = publish(run, REPO, log=said.append)
    assert published.new == ["epoch-001", "epoch-002", "epoch-010"] and published.recommended == "epoch-010"
    check_published(hub, run, "epoch-010")
    assert len(hub.repo(REPO).titles) == 1 + 3, "nothing was committed twice"
    assert sum("the Hub answers with error 50" in line and "trying again in" in line for line in said) >= 2, said


@pytest.mark.parametrize(
    ("pattern", "headers"),
    [
        ("POST .*/commit/.*", {}),
        ("POST .*/commit/.*", {"Retry-After": "86400"}),
        ("POST .*/info/lfs/objects/batch", {"Retry-After": "86400"}),
    ],
)
def test_waiting_has_an_end(hub: HubServer, run: Path, headers: dict[str, str], pattern: str) -> None:
    said: list[str] = []
    hub.fail(pattern, status=429, headers=headers)
    started = time.monotonic()
    with pytest.raises(PublishError, match=f"{REPO} cannot be asked now: the Hub says there were too many requests"):
        publish(run, REPO, log=said.append)
    assert time.monotonic() - started < 10 and len(said) == (0 if headers else 3)


# --- while training ---------------------------------------------------------------------------------------------------


def test_every_checkpoint_goes_out_as_it_appears(hub: HubServer, original: Path, tmp_path: Path) -> None:
    said: list[str] = []
    publisher = Publisher(REPO, log=said.append)
    for name in ("epoch-001", "epoch-002", "epoch-010"):
        shutil.copytree(original / name, tmp_path / "tiny" / name)
        publisher(tmp_path / "tiny" / name)
        until(lambda name=name: ("model", REPO) in hub.repos and name in hub.repo(REPO).tags)
    publisher.close()
    check_published(hub, tmp_path / "tiny", "epoch-010")
    assert [line for line in said if "not" in line] == []


def test_an_outage_does_not_stop_training_and_is_made_up_for(hub: HubServer, original: Path, tmp_path: Path) -> None:
    said: list[str] = []
    publisher = Publisher(REPO, log=said.append)
    hub.stop()
    shutil.copytree(original / "epoch-001", tmp_path / "tiny" / "epoch-001")
    started = time.monotonic()
    publisher(tmp_path / "tiny" / "epoch-001")
    assert time.monotonic() - started < 5, "training does not wait for the Hub"
    until(lambda: bool(said))
    assert said[0].startswith(f"not published: {REPO} cannot be asked now: the Hub cannot be reached. Training goes on")
    hub.start()
    shutil.copytree(original / "epoch-002", tmp_path / "tiny" / "epoch-002")
    publisher(tmp_path / "tiny" / "epoch-002")
    publisher.close()
    check_published(hub, tmp_path / "tiny", "epoch-002")


def test_the_last_failure_is_made_up_for_at_the_end(hub: HubServer, run: Path) -> None:
    said: list[str] = []
    hub.fail("POST .*/commit/.*", status=400, times=1)
    publisher = Publisher(REPO, log=said.append)
    publisher(run / "epoch-010")
    until(lambda: any("not published" in line for line in said))
    publisher.close()
    check_published(hub, run, "epoch-010")


def test_what_could_not_be_published_is_told_with_the_command(hub: HubServer, run: Path) -> None:
    said: list[str] = []
    hub.stop()
    publisher = Publisher(REPO, log=said.append)
    publisher(run / "epoch-010")
    publisher.close()
    assert said[-1] == f"not all is on {REPO} yet: python -m hub_export.publish {run} {REPO}"
    hub.fail("POST .*", silence=20)
    hub.start()
    publisher = Publisher(REPO, log=said.append)
    publisher(run / "epoch-010")
    started = time.monotonic()
    publisher.close(seconds=0.5)
    assert time.monotonic() - started < 15, "a Hub that is silent does not keep a finished run waiting"


def test_the_card_tells_what_a_run_started_from(run: Path) -> None:
    record = read_record(run / "epoch-001")
    assert "Nothing was pretrained" in model_card(record)
    started = dataclasses.replace(record, config={**record.config, "init": "hub:you/animegan-hayao@epoch-060"})
    assert "started from `hub:you/animegan-hayao@epoch-060`" in model_card(started)
    assert "Nothing was pretrained" not in model_card(started)
