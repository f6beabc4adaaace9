"""The Hub as a store: finding, pulling, verifying, outages, strangers; the real client and a loopback Hub."""

import copy
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import huggingface_hub.constants
import pytest

from hub_export import hub as connection
from hub_export import store as stores
from hub_export.card import TAG
from hub_export.checkpoint import load_generator
from hub_export.folder import FolderStore
from hub_export.hub import Reference, parse_reference
from hub_export.publish import publish
from hub_export.record import CARD, CONFIG, HISTORY, RECORD, SAMPLES, SIZE_LIMITS, WEIGHTS, CheckpointError, read_record
from hub_export.store import SETTING, HubStore, hub_sources, parse_source, resolve
from support.checkpoints import edit_json, layer, reseal, save_tiny
from support.hub import HubServer, Repo
from support.language import translated

REPO = "you/animegan-tiny"
OTHER_CARD = b"---\ntags:\n- cats\n---\n"
OUR_CARD = f"---\ntags:\n- {TAG}\n---\n".encode()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "tiny"
    for epoch in (1, 2, 10):
        save_tiny(run / f"epoch-{epoch:03}", seed=epoch, epoch=epoch, step=100 * epoch)
    return run


@pytest.fixture(scope="module")
def repos(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Repo]:
    """What a Hub holds after a run was published, `main` being epoch-002."""
    with HubServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", server.endpoint)
        patch.setenv("HF_TOKEN", server.token)
        patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("cache")))
        publish(run, REPO, recommend="epoch-002", log=lambda line: None)
        return server.repos


@pytest.fixture
def published(hub: HubServer, repos: dict[tuple[str, str], Repo]) -> HubServer:
    hub.repos = copy.deepcopy(repos)
    return hub


@pytest.fixture
def store(tmp_path: Path) -> HubStore:
    return HubStore([REPO], tmp_path / "cache", list_seconds=8, fetch_seconds=20)


def put(hub: HubServer, folder: Path, repo: str, tag: str) -> None:
    """A stranger's commit: whatever is in a folder, as it is."""
    hub.commit(repo, {path.name: path.read_bytes() for path in folder.iterdir()}, tag)


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("hub:you/animegan-hayao@epoch-060", Reference("you/animegan-hayao", "epoch-060")),
        ("hub:you/animegan-hayao", Reference("you/animegan-hayao")),
        (" you/x@main ", Reference("you/x", "main")),
    ],
)
def test_references(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    "text", ["", "hub:", "you", "hub:you/x@", "a/b/c", "../x", "you/..", "you/x@../y", "you/a--b", "you/x y"]
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(ValueError, match="names no checkpoint on the Hub: write hub:you/animegan-hayao@epoch-060"):
        parse_reference(text)


def test_sources() -> None:
    assert parse_source("you") == "you"
    assert parse_source(" https://huggingface.co/you/x/ ") == parse_source("hub:you/x") == "you/x"
    for text in ("", "a/b/c", "..", "you/../x", "https://huggingface.co/", "a b", "you/a--b"):
        with pytest.raises(ValueError, match="is no place on the Hub"):
            parse_source(text)
    with pytest.raises(ValueError, match="is no place on the Hub"):
        HubStore(["you/x", "a/b/c"])


def test_sources_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "you, them/animegan-hayao")
    assert hub_sources() == ["you", "them/animegan-hayao"]
    monkeypatch.setenv(SETTING, "")
    assert hub_sources() == []
    monkeypatch.delenv(SETTING)
    assert hub_sources() == []


# --- finding ----------------------------------------------------------------------------------------------------------


def test_nothing_is_asked_until_told_to(published: HubServer, store: HubStore) -> None:
    assert store.experiments() == [] and store.problems() == [] and store.checkpoints(REPO) == []
    assert store.recommended(REPO) is None and published.requests == []
    with pytest.raises(CheckpointError, match=f"{REPO} has no checkpoint epoch-001 that is known here"):
        store.fetch(REPO, "epoch-001")


def test_a_repo_and_its_checkpoints(published: HubServer, store: HubStore, run: Path) -> None:
    published.repo(REPO).tags["v1.0"] = published.repo(REPO).branches["main"]  # not a checkpoint's name
    store.refresh()
    assert store.problems() == [] and store.experiments() == [REPO]
    assert [record.checkpoint for record in store.checkpoints(REPO)] == ["epoch-001", "epoch-002", "epoch-010"]
    assert store.recommended(REPO) == "epoch-002"
    assert store.commit(REPO, "epoch-010") == published.repo(REPO).tags["epoch-010"]
    sizes = [path.stat().st_size for path in (run / "epoch-010").iterdir() if path.name not in (RECORD, CARD)]
    assert sum(sizes) < store.missing_bytes(REPO, "epoch-010") < sum(sizes) + 10_000
    assert not any(name in line for line in published.requests for name in (WEIGHTS, SAMPLES)), "records only"
    published.requests.clear()
    store.refresh()
    assert len(published.requests) == 2, "known commits cost nothing: refs, and what main is"


def test_a_namespace_is_found_by_tag_page_by_page(published: HubServer, tmp_path: Path) -> None:
    for number in range(5):
        published.commit(f"you/cats-{number}", {CARD: OTHER_CARD})
        published.commit(f"you/empty-{number}", {CARD: OUR_CARD})
    published.commit("them/animegan", {CARD: OUR_CARD})
    published.page = 2
    store = HubStore(["you"], tmp_path / "cache")
    store.refresh()
    assert store.experiments() == [REPO] and store.problems() == []
    assert sum("cursor=" in line for line in published.requests) == 2
    assert not any("cats" in line or "them" in line for line in published.requests)


def test_several_sources_and_one_added_later(published: HubServer, run: Path, tmp_path: Path) -> None:
    put(published, run / "epoch-001", "them/more", "epoch-001")
    store = HubStore(["you"], tmp_path / "cache")
    assert store.add("https://huggingface.co/them/more") == "them/more" and store.sources == ["you", "them/more"]
    store.refresh_in_background().join()
    assert store.experiments() == ["them/more", REPO]


def test_private_gated_and_missing(published: HubServer, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(published, run / "epoch-001", "them/gated", "epoch-001")
    published.repo("them/gated").gated = True
    published.repo(REPO).private = True
    monkeypatch.setenv("HF_TOKEN", "")
    store = HubStore([REPO, "them/nothing", "them/gated"], tmp_path / "cache")
    store.refresh()
    assert store.experiments() == [] and len(store.problems()) == 3
    for name in (REPO, "them/nothing"):
        assert any(line.startswith(name) and "is missing or private; set HF_TOKEN" in line for line in store.problems())
    gated = "them/gated@epoch-001 is gated: accept its terms on its page"
    assert f"{gated}, and set HF_TOKEN of the account that did" in store.problems()
    translated(*store.problems())
    with pytest.raises(
        CheckpointError, match=r"them/nothing has no checkpoint .*is missing or private; set HF_TOKEN"
    ) as told:
        resolve("hub:them/nothing@epoch-001", tmp_path / "cache")
    translated(told.value)
    monkeypatch.setenv("HF_TOKEN", published.token)
    published.repo("them/gated").granted = False
    store.refresh()
    assert store.experiments() == [REPO], "private, and ours"
    assert sorted(store.problems()) == [
        f"{gated} with the account of this HF_TOKEN",
        "them/nothing is missing, or private and not for the account of this HF_TOKEN; showing what is cached",
    ]
    published.repo("them/gated").granted = True
    store.refresh()
    assert store.experiments() == ["them/gated", REPO]


# --- pulling ----------------------------------------------------------------------------------------------------------


def test_pulled_by_commit_into_an_empty_cache_once(published: HubServer, store: HubStore, run: Path) -> None:
    store.refresh()
    published.requests.clear()
    folder = store.fetch(REPO, "epoch-002")
    sha = published.repo(REPO).tags["epoch-002"]
    assert folder.name == sha and {path.name for path in folder.iterdir()} == set(SIZE_LIMITS)
    assert all(sha in line for line in published.requests), "asked by commit, never by name"
    ours, theirs = load_generator(run / "epoch-002"), load_generator(folder)
    assert all((a == b).all() for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True))
    published.requests.clear()
    assert store.fetch(REPO, "epoch-002") == folder and store.missing_bytes(REPO, "epoch-002") == 0
    assert published.requests == []
    published.repo(REPO).tags["epoch-002"] = published.repo(REPO).tags["epoch-001"]  # what was listed is what is pulled
    assert store.fetch(REPO, "epoch-002") == folder


def test_resolve(published: HubServer, tmp_path: Path) -> None:
    assert read_record(resolve(f"hub:{REPO}@epoch-010", tmp_path / "cache")).checkpoint == "epoch-010"
    assert read_record(resolve(f"hub:{REPO}", tmp_path / "cache")).checkpoint == "epoch-002", "the recommended one"
    published.stop()
    assert read_record(resolve(f"hub:{REPO}", tmp_path / "cache")).checkpoint == "epoch-002"
    with pytest.raises(CheckpointError, match=rf"{REPO} has no checkpoint epoch-001 .*the Hub cannot be reached"):
        resolve(f"hub:{REPO}@epoch-001", tmp_path / "cache")


def test_an_outage(published: HubServer, store: HubStore, tmp_path: Path) -> None:
    store.refresh()
    folder = store.fetch(REPO, "epoch-010")
    published.stop()
    assert store.fetch(REPO, "epoch-010") == folder
    with pytest.raises(CheckpointError, match=f"{REPO}@epoch-001 cannot be asked now: the Hub cannot be reached"):
        store.fetch(REPO, "epoch-001")
    store.refresh()
    assert len(store.checkpoints(REPO)) == 3, "what was found stays on offer"
    for sources in ([REPO], ["you"]):
        later = HubStore(sources, tmp_path / "cache", list_seconds=3)
        assert [record.checkpoint for record in later.checkpoints(REPO)] == ["epoch-010"], "before asking"
        started = time.monotonic()
        later.refresh()
        assert time.monotonic() - started < 3.5
        assert later.experiments() == [REPO] and later.fetch(REPO, "epoch-010") == folder
        assert len(later.problems()) == 1 and "the Hub" in later.problems()[0]
    assert HubStore([REPO], tmp_path / "empty").experiments() == []
    published.start()
    later.refresh()
    assert later.problems() == [] and len(later.checkpoints(REPO)) == 3


def test_offline_mode(published: HubServer, store: HubStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.refresh()
    folder = store.fetch(REPO, "epoch-010")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    published.requests.clear()
    store.refresh()
    assert store.problems() == [f"{REPO} was not asked: HF_HUB_OFFLINE is set; showing what is cached"]
    assert store.fetch(REPO, "epoch-010") == folder and published.requests == []


@pytest.mark.parametrize("fault", [{"silence": 30}, {"drip": 1.0}])
def test_a_slow_hub_does_not_keep_anyone_waiting(published: HubServer, tmp_path: Path, fault: dict[str, Any]) -> None:
    store = HubStore(["you", REPO], tmp_path / "cache", list_seconds=1.5)
    faults = [published.fail("GET /api/.*", **fault)]
    started = time.monotonic()
    store.refresh()
    assert 1 < time.monotonic() - started < 10
    assert any("the Hub does not answer in time" in problem for problem in store.problems())
    translated(*store.problems())
    started = time.monotonic()
    assert store.refresh_in_background() is store.refresh_in_background()
    assert store.experiments() == [] and time.monotonic() - started < 1
    faults[0].times = 0
    store.refresh_in_background().join()
    store.refresh()
    assert store.problems() == [] and store.experiments() == [REPO]


def test_a_download_that_never_ends_is_given_up(published: HubServer, tmp_path: Path) -> None:
    store = HubStore([REPO], tmp_path / "cache", fetch_seconds=1.5)
    store.refresh()
    published.fail(f"GET .*/{WEIGHTS}", drip=0.3)
    started = time.monotonic()
    with pytest.raises(CheckpointError, match=f"{REPO}@epoch-001 cannot be asked now: the Hub does not answer in time"):
        store.fetch(REPO, "epoch-001")
    assert time.monotonic() - started < 10


def test_a_download_slower_than_any_connection_is_given_up_earlier(
    published: HubServer, store: HubStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "START_SECONDS", 1.0)
    monkeypatch.setattr(stores, "SLOWEST", 10**9)
    store.refresh()
    published.fail(f"GET .*/{WEIGHTS}", drip=0.3)
    started = time.monotonic()
    with pytest.raises(CheckpointError, match=f"{REPO}@epoch-001 cannot be asked now: the Hub does not answer in time"):
        store.fetch(REPO, "epoch-001")
    assert time.monotonic() - started < 4


def test_one_download_for_all_who_wait_and_none_for_what_is_cached(published: HubServer, store: HubStore) -> None:
    store._slots = threading.BoundedSemaphore(1)
    store.refresh()
    store.fetch(REPO, "epoch-010")
    fault = published.fail(f"GET .*/{WEIGHTS}", drip=0.3)
    published.requests.clear()
    waiting = [store.pull(REPO, "epoch-001") for _ in range(3)]
    other = store.pull(REPO, "epoch-002")
    started = time.monotonic()
    store.fetch(REPO, "epoch-010")
    assert time.monotonic() - started < 2 and not any(pull.done() for pull in (*waiting, other))
    fault.drip = 0.0
    assert len({pull.result(20) for pull in waiting}) == 1 and other.result(20)
    assert sum(line.startswith("GET") and line.endswith(WEIGHTS) for line in published.requests) == 2


def unknown(*_: object, **__: object) -> NoReturn:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
def test_out_of_reach_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, never listening
        monkeypatch.setenv("HF_ENDPOINT", f"http://{host}:{closed.getsockname()[1]}")
        if host != "127.0.0.1":  # as a resolver answers at once, which that of this machine need not
            monkeypatch.setattr(socket, "getaddrinfo", unknown)
        store = HubStore(["you", REPO], tmp_path / "cache")
        started = time.monotonic()
        store.refresh()
        assert time.monotonic() - started < 3
    words = "cannot be asked now: the Hub cannot be reached; showing what is cached"
    assert sorted(store.problems()) == [f"you {words}", f"{REPO} {words}"]
    translated(*store.problems())


def test_errors_that_pass_are_sat_out(published: HubServer, store: HubStore) -> None:
    published.fail("GET /api/models", status=503, times=1)
    published.fail(f"GET .*/{RECORD}", status=429, times=1)
    published.fail(f"GET .*/{WEIGHTS}", cut=1000, times=2)
    store.add("you")
    store.refresh()
    assert store.problems() == []
    load_generator(store.fetch(REPO, "epoch-001"))


@pytest.mark.parametrize(("status", "words"), [(500, "answers with error 500"), (403, "may not be changed or read")])
def test_errors_that_stay_are_told(published: HubServer, store: HubStore, status: int, words: str) -> None:
    published.fail("GET .*/refs", status=status)
    store.refresh()
    assert len(store.problems()) == 1 and store.problems()[0].startswith(REPO) and words in store.problems()[0]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"<html>", b'{"branches": 1}', b'{"branches": [], "tags": [{}]}', b"[" * 9000]
)
def test_answers_that_make_no_sense(published: HubServer, store: HubStore, body: bytes) -> None:
    published.fail("GET .*/refs", body=body)
    store.refresh()
    assert len(store.problems()) == 1 and store.problems()[0].startswith(f"{REPO} ")
    translated(*store.problems())


def test_a_damaged_file_in_the_cache_is_fetched_again(published: HubServer, store: HubStore) -> None:
    store.refresh()
    folder = store.fetch(REPO, "epoch-010")
    blob = (folder / WEIGHTS).resolve()
    blob.write_bytes(blob.read_bytes()[:-1000])
    assert store.fetch(REPO, "epoch-010") == folder
    load_generator(folder)
    (folder / RECORD).resolve().write_text("{")
    store.refresh()
    assert store.problems() == [] and read_record(folder).checkpoint == "epoch-010"
    blob = (folder / WEIGHTS).resolve()
    blob.write_bytes(b"x" + blob.read_bytes()[1:])
    published.stop()
    with pytest.raises(CheckpointError, match=f"{REPO}@epoch-010: {WEIGHTS} is damaged .* the Hub cannot be reached"):
        store.fetch(REPO, "epoch-010")


# --- strangers --------------------------------------------------------------------------------------------------------


def check_refused(hub: HubServer, store: HubStore, words: str, tag: str = "epoch-020") -> None:
    """The bad checkpoint is told of, by listing or by fetching; the others are still there."""
    store.refresh()
    if tag in [record.checkpoint for record in store.checkpoints(REPO)]:
        with pytest.raises(CheckpointError) as refusal:
            load_generator(store.fetch(REPO, tag))
        said = str(refusal.value)
        translated(refusal.value)
    else:
        said = " ".join(store.problems())
        translated(*store.problems())
        with pytest.raises(CheckpointError, match="has no checkpoint"):
            store.fetch(REPO, tag)
    assert f"{REPO}@{tag}" in said and words in said, said
    assert str(store.cache) not in said and len(said) < 400
    load_generator(store.fetch(REPO, "epoch-001"))


@pytest.fixture
def bad(run: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(run / "epoch-001", tmp_path / "bad" / "epoch-020"))
    reseal(folder, checkpoint="epoch-020")
    return folder


def test_tampered_weights(published: HubServer, store: HubStore, bad: Path) -> None:
    content = bytearray((bad / WEIGHTS).read_bytes())
    content[-100] ^= 1
    (bad / WEIGHTS).write_bytes(content)
    put(published, bad, REPO, "epoch-020")
    check_refused(published, store, "model.weights.h5 is damaged or was changed")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": 2}, "checkpoint.json: schema version 2, this program reads 1"),
        ({"checkpoint": "epoch-001"}, "its record is of tiny/epoch-001"),
        ({"experiment": "../../evil"}, "is not a valid name"),
        ({"generator": {"architecture": "v1", "channels": 4000}}, "channels"),
    ],
)
def test_odd_records(published: HubServer, store: HubStore, bad: Path, changes: dict[str, Any], words: str) -> None:
    reseal(bad, **changes)
    put(published, bad, REPO, "epoch-020")
    check_refused(published, store, words)


def test_a_record_that_is_no_record(published: HubServer, store: HubStore, bad: Path) -> None:
    for number, content in enumerate([b"", b"{}", b"[" * 10**5, b"\xff" * 100, b"{" + b" " * 2**21 + b"}"]):
        (bad / RECORD).write_bytes(content)
        put(published, bad, REPO, f"epoch-{20 + number:03}")
    store.refresh()
    assert len(store.problems()) == 5 and len(store.checkpoints(REPO)) == 3
    assert sorted(line.split(":")[0] for line in store.problems()) == [f"{REPO}@epoch-{20 + n:03}" for n in range(5)]
    assert any("checkpoint.json has 2097154 bytes, a checkpoint's may have 131072" in line for line in store.problems())


def test_a_tag_without_a_checkpoint(published: HubServer, store: HubStore) -> None:
    published.commit(REPO, {RECORD: None}, tag="epoch-020")
    store.refresh()
    assert store.problems() == [f"{REPO}@epoch-020 lacks a file that every checkpoint has"]
    assert len(store.checkpoints(REPO)) == 3


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG, HISTORY, SAMPLES, CARD])
def test_a_file_is_missing(published: HubServer, store: HubStore, bad: Path, name: str) -> None:
    (bad / name).unlink()
    published.commit(REPO, {name: None})
    put(published, bad, REPO, "epoch-020")
    check_refused(published, store, f"{name} is missing")


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", "..\\evil"])
def test_paths_that_lead_out(published: HubServer, store: HubStore, bad: Path, path: str) -> None:
    put(published, bad, REPO, "epoch-020")
    published.commit(REPO, {path: b"evil"}, tag="epoch-020")
    check_refused(published, store, "holds a file named")


def test_harmless_files_are_neither_minded_nor_downloaded(published: HubServer, store: HubStore, bad: Path) -> None:
    put(published, bad, REPO, "epoch-020")
    published.commit(REPO, {"evil.py": b"evil", "more/README.md": b""}, tag="epoch-020")
    store.refresh()
    folder = store.fetch(REPO, "epoch-020")
    load_generator(folder)
    assert {path.name for path in folder.iterdir()} == set(SIZE_LIMITS)
    assert not any("evil" in line for line in published.requests)


def test_more_files_than_any_checkpoint(published: HubServer, store: HubStore, bad: Path) -> None:
    put(published, bad, REPO, "epoch-020")
    published.commit(REPO, {f"more/{number}": b"" for number in range(1100)}, tag="epoch-020")
    published.page = 100
    check_refused(published, store, "holds more than 1000 files")


def test_a_file_larger_than_allowed_is_not_downloaded(published: HubServer, store: HubStore, bad: Path) -> None:
    (bad / CARD).write_bytes(b"x" * (2**20 + 1))
    put(published, bad, REPO, "epoch-020")
    check_refused(published, store, "README.md has 1048577 bytes, a checkpoint's may have 1048576")
    assert not any(f"{published.repo(REPO).tags['epoch-020']}/{CARD}" in line for line in published.requests)


def test_a_file_that_is_larger_than_it_says(published: HubServer, store: HubStore, bad: Path) -> None:
    put(published, bad, REPO, "epoch-020")
    store.refresh()
    published.fail(f"GET .*/{published.repo(REPO).tags['epoch-020']}/{CARD}", body=b"x" * 2**22)
    started = time.monotonic()
    with pytest.raises(CheckpointError, match=f"{REPO}@epoch-020"):
        store.fetch(REPO, "epoch-020")
    assert time.monotonic() - started < 15
    assert max(path.stat().st_size for path in store.cache.rglob("*") if path.is_file()) < 2**21


def test_a_class_that_is_not_keras_own(published: HubServer, store: HubStore, bad: Path) -> None:
    edit_json(CONFIG, lambda network: layer(network, class_name="Lambda", module="keras.layers"))(bad)
    put(published, bad, REPO, "epoch-020")
    store.refresh()
    with pytest.raises(CheckpointError, match=r"config.json names keras.layers.Lambda"):
        load_generator(store.fetch(REPO, "epoch-020"))


def test_tokens_are_never_told(published: HubServer, store: HubStore, bad: Path, capfd: pytest.CaptureFixture) -> None:
    echo = json.dumps({"error": f"token {published.token} is no good"}).encode()
    for status in (400, 401, 403, 404, 500):
        published.faults.clear()
        published.fail("GET .*/refs", status=status, body=echo)
        store.refresh()
        assert store.problems() and published.token not in "".join(store.problems())
        translated(*store.problems())
    assert published.token in published.tokens and published.token not in "".join(capfd.readouterr())


# --- the whole way, in other processes --------------------------------------------------------------------------------

SECOND_PROCESS = """
import json, sys, time
started = time.monotonic()
from hub_export.store import HubStore, hub_sources
store = HubStore(hub_sources(), list_seconds=3)
before = [record.checkpoint for name in store.experiments() for record in store.checkpoints(name)]
ready = time.monotonic() - started
store.refresh()
asked = time.monotonic() - started - ready
import numpy as np
from hub_export.checkpoint import PROBE_INPUT, load_generator
drawn = {}
for name in store.experiments():
    for record in store.checkpoints(name):
        generator = load_generator(store.fetch(name, record.checkpoint))
        drawn[f"{name}@{record.checkpoint}"] = float(np.asarray(generator(PROBE_INPUT)).sum())
print(json.dumps({"before": before, "ready": ready, "asked": asked, "drawn": drawn, "problems": store.problems()}))
"""


def second_process(hub: HubServer, cache: Path) -> dict[str, Any]:
    environment = hub.environment(HF_HUB_CACHE=str(cache), **{SETTING: "you"})
    done = subprocess.run(
        [sys.executable, "-c", SECOND_PROCESS], env=environment, capture_output=True, text=True, check=True
    )
    assert hub.token not in done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def test_published_epoch_by_epoch_and_used_elsewhere_also_after_the_hub_is_gone(
    hub: HubServer, run: Path, tmp_path: Path
) -> None:
    for epoch in ("1", "2", "10"):
        publish(run, REPO, epochs=epoch, log=lambda line: None)
    expected = {
        f"{REPO}@{record.checkpoint}": pytest.approx(float(load_generator(run / record.checkpoint)(probe()).numpy().sum()))
        for record in FolderStore(run.parent).checkpoints("tiny")
    }
    first = second_process(hub, tmp_path / "cache")
    assert first["before"] == [] and first["drawn"] == expected and first["problems"] == []
    hub.stop()
    after = second_process(hub, tmp_path / "cache")
    assert after["before"] == ["epoch-001", "epoch-002", "epoch-010"] and after["drawn"] == expected
    assert after["ready"] < first["ready"] + 2 and after["asked"] < 3.5
    assert len(after["problems"]) == 1 and "the Hub" in after["problems"][0]


def probe() -> Any:
    from hub_export.checkpoint import PROBE_INPUT

    return PROBE_INPUT


def test_importing_asks_nobody(hub: HubServer, tmp_path: Path) -> None:
    code = "import hub_export.store, hub_export.publish, hub_export.hub; hub_export.store.HubStore(['you'])"
    subprocess.run([sys.executable, "-c", code], env=hub.environment(HF_HUB_CACHE=str(tmp_path)), check=True)
    assert hub.requests == []


def test_time_limits_are_in_the_client() -> None:
    def nothing_left() -> float:
        time.sleep(0.3)
        return connection.time_left()

    with pytest.raises(TimeoutError):
        connection.within(0.1, nothing_left)
    assert connection.within(5, connection.time_left) <= 5
