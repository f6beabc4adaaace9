"""Checkpoints on the Hugging Face Hub, and what a reference to any checkpoint stands for."""

import contextvars
import os
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, try_to_load_from_cache
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, get_session, tqdm  # type: ignore[attr-defined]  # lazily exported

from hub_export.card import TAG
from hub_export.checkpoint import verify_files
from hub_export.folder import SCHEME, open_bundled
from hub_export.hub import (
    HUB_ERRORS,
    NAMESPACE,
    REFERENCE,
    REPO,
    connect,
    explain,
    parse_reference,
    time_left,
    within,
)
from hub_export.record import RECORD, SIZE_LIMITS, CheckpointError, Record, read_record
from hub_export.sentences import ExplainedError, Sentence

CHECKPOINT = re.compile(r"(epoch|step)-[0-9]{1,9}")
"""Git tags that are checkpoints."""
SETTING, SOURCES_FILE = "ANIMEGAN_HUB", "hub.txt"
LIST_SECONDS, FETCH_SECONDS = 15.0, 600.0
START_SECONDS, SLOWEST = 30.0, 100_000
"""A fetch that takes longer than START_SECONDS + its bytes / SLOWEST is given up before FETCH_SECONDS."""
MAX_REPOS, MAX_CHECKPOINTS, MAX_FILES = 100, 500, 1000
"""How many a namespace, a repo and a commit may have at most; more are not asked for."""
CACHED = "{problem}; showing what is cached"
CONNECTIONS, PULLS = 8, 4
"""How many questions are asked, and how many checkpoints are downloaded, at a time."""
constants.DOWNLOAD_CHUNK_SIZE = 2**12  # with the client's own 10 MB a slow download would end long after its time limit


def hub_sources() -> list[str]:
    """What $ANIMEGAN_HUB, or without it hub.txt beside app.py, names: "you,them/animegan-hayao,you/x@epoch-060"."""
    text = os.environ.get(SETTING)
    if text is None:
        try:
            text = (Path(__file__).parents[1] / SOURCES_FILE).read_text("utf-8")
        except OSError:
            text = ""
    return [part for line in text.splitlines() for part in re.split(r"[,\s]+", line.partition("#")[0]) if part]


def parse_source(text: str) -> str:
    """A namespace or repo from "you", "you/animegan-hayao", "hub:you/..." or its address. Raises ValueError."""
    name = re.sub(r"^(hub:|https?://[^/]+/)", "", text.strip()).rstrip("/")
    if not (NAMESPACE.fullmatch(name) or REPO.fullmatch(name)) or ".." in name or "--" in name:
        raise ExplainedError(
            "{text} is no place on the Hub: write a name like you, or a repo like you/animegan-hayao", text=repr(text)
        )
    return name


@dataclass(frozen=True)
class _Repo:
    """What is known of a repo: name to (commit sha, record), and the name of the recommended one."""

    checkpoints: dict[str, tuple[str, Record]] = field(default_factory=dict)
    recommended: str | None = None


class HubStore:
    """Checkpoints on the Hub: an experiment is a repo, "you/animegan-hayao", a checkpoint one of its tags, "epoch-060".

    Only `refresh` and `fetch` use the network; everything else answers at once, from what the last refresh found or,
    before it and where the Hub cannot be asked, from the standard cache. May be called from many threads.

    Args:
        sources: namespaces, whose repos are found by `TAG`, and single repos; see `parse_source`. A repo may name the
            checkpoint to show first, "you/animegan-hayao@epoch-060".
        cache: the cache folder; None for the standard one.
        list_seconds, fetch_seconds: how long a refresh and a fetch may take.

    Raises:
        ValueError: a source is neither a namespace nor a repo, with or without a checkpoint.
    """

    def __init__(
        self,
        sources: Iterable[str] = (),
        cache: Path | None = None,
        list_seconds: float = LIST_SECONDS,
        fetch_seconds: float = FETCH_SECONDS,
    ):
        self.cache = Path(cache or constants.HF_HUB_CACHE)
        self.list_seconds, self.fetch_seconds = list_seconds, fetch_seconds
        self._lock = threading.Lock()
        self._repos: dict[str, _Repo] = {}
        self._problems: list[Sentence] = []
        self._sources: list[str] = []
        self._background: threading.Thread | None = None
        self._pulls: dict[tuple[str, str], Future[Path]] = {}
        self._slots = threading.BoundedSemaphore(PULLS)
        self._named: dict[str, str] = {}
        self._verified: dict[str, bool] = {}
        for source in sources:
            if "@" in source:
                named = parse_reference(source)
                self._named.setdefault(named.repo, named.checkpoint or "")
                source = named.repo
            self.add(source)

    @property
    def sources(self) -> list[str]:
        """Namespaces and repos, in the order in which they were added."""
        return list(self._sources)

    def add(self, source: str) -> str:
        """Adds a namespace or repo; what is cached of it shows at once. Returns its name. Raises ValueError."""
        name = parse_source(source)
        cached = _cached_repos(self.cache, name)
        with self._lock:
            if name not in self._sources:
                self._sources.append(name)
            self._repos = cached | self._repos
        return name

    def refresh(self) -> None:
        """Asks the Hub what there is, for `list_seconds` at most. Never raises: see `problems` for what went wrong."""
        problems: list[Sentence] = []
        try:
            within(self.list_seconds, self._refresh, problems)
        except TimeoutError:
            slow = "the Hub cannot be asked now: the Hub does not answer in time; the list may be incomplete"
            problems.append(Sentence(slow))
        with self._lock:
            self._problems = list(dict.fromkeys(problems))

    def refresh_in_background(self) -> threading.Thread:
        """Starts a refresh, unless one is running, and returns its thread."""
        with self._lock:
            if self._background is None or not self._background.is_alive():
                self._background = threading.Thread(target=self.refresh, daemon=True)
                self._background.start()
            return self._background

    def experiments(self) -> list[str]:
        """Repos that hold at least one checkpoint, sorted."""
        with self._lock:
            return sorted(name for name, repo in self._repos.items() if repo.checkpoints)

    def checkpoints(self, experiment: str) -> list[Record]:
        """Readable checkpoints of a repo in training order; others are left out, see `problems`."""
        records = [record for _, record in self._repo(experiment).checkpoints.values()]
        return sorted(records, key=lambda record: record.step)

    def recommended(self, experiment: str) -> str | None:
        """The checkpoint that a source names or, without one, that a repo's main branch holds, as far as is known."""
        repo, named = self._repo(experiment), self._named.get(experiment)
        return named if named in repo.checkpoints else repo.recommended

    def preferred(self) -> tuple[str, str] | None:
        """Repo and checkpoint that the first source with a checkpoint names, if it is cached and undamaged."""
        for experiment, checkpoint in islice(self._named.items(), 1):
            if checkpoint in self._repo(experiment).checkpoints and not self.missing_bytes(experiment, checkpoint):
                sha, record = self._repo(experiment).checkpoints[checkpoint]
                if sha not in self._verified:
                    self._verified[sha] = _undamaged(_snapshots(self.cache, experiment) / sha, record)
                return (experiment, checkpoint) if self._verified[sha] else None
        return None

    def problems(self) -> list[Sentence]:
        """One sentence for each source, repo or checkpoint that the last refresh could not offer or ask about."""
        with self._lock:
            return list(self._problems)

    def commit(self, experiment: str, checkpoint: str) -> str:
        """The commit sha of a checkpoint. Raises CheckpointError if it is not on offer."""
        known = self._repo(experiment).checkpoints
        if checkpoint not in known:
            unknown = "{name} has no checkpoint {checkpoint} that is known here"
            fault = Sentence(unknown, name=experiment, checkpoint=checkpoint)
            for problem in self.problems():
                if problem.startswith(experiment):
                    fault = Sentence("{fault}; {problem}", fault=fault, problem=problem)
            raise CheckpointError(fault)
        return known[checkpoint][0]

    def missing_bytes(self, experiment: str, checkpoint: str) -> int:
        """What `fetch` would download, in bytes; 0 if all is cached. Raises CheckpointError if it is not on offer."""
        sha = self.commit(experiment, checkpoint)
        files = self._repo(experiment).checkpoints[checkpoint][1].files
        return sum(entry["size"] for name, entry in files.items() if not _cached(self.cache, experiment, sha, name))

    def fetch(self, experiment: str, checkpoint: str) -> Path:
        """The folder of a checkpoint, downloaded into the cache by commit sha if it is not there yet, and verified.

        Raises:
            CheckpointError: unknown, not to be had now, or its files are not what its record says; names the repo.
        """
        return self.pull(experiment, checkpoint).result()

    def pull(self, experiment: str, checkpoint: str) -> Future[Path]:
        """Starts a `fetch`, at most `PULLS` downloads at a time, or joins the one that is under way.

        Raises:
            CheckpointError: it is not on offer; whatever else goes wrong comes from the future.
        """
        sha = self.commit(experiment, checkpoint)
        missing = self.missing_bytes(experiment, checkpoint)
        with self._lock:
            key, future = (experiment, sha), self._pulls.get((experiment, sha))
            if future is None:
                future = self._pulls[key] = Future()
                future.set_running_or_notify_cancel()  # cannot be cancelled: other callers share it
                threading.Thread(target=self._pull, args=(key, checkpoint, missing), daemon=True).start()
        return future

    def _pull(self, key: tuple[str, str], checkpoint: str, missing: int) -> None:
        (repo, sha), future, problem = key, self._pulls[key], None
        try:
            with self._slots if missing else nullcontext():
                seconds = min(self.fetch_seconds, START_SECONDS + missing / SLOWEST)
                folder = within(seconds, _pull, repo, checkpoint, sha, self.cache)
        except CheckpointError as error:
            problem = _on_hub(f"{repo}@{checkpoint}", error.sentence)
        except Exception as error:
            problem = explain(error, f"{repo}@{checkpoint}")
        with self._lock:
            del self._pulls[key]
        if problem:
            future.set_exception(CheckpointError(problem))
        else:
            self._verified[sha] = True
            future.set_result(folder)

    def _repo(self, experiment: str) -> _Repo:
        with self._lock:
            return self._repos.get(experiment, _Repo())

    def _refresh(self, problems: list[Sentence]) -> None:
        api = connect()

        def find(source: str) -> list[str]:
            if "/" in source:
                return [source]
            _reach(api, source)
            models = islice(api.list_models(author=source, filter=TAG, limit=MAX_REPOS), MAX_REPOS)
            return [model.id for model in models if REPO.fullmatch(model.id)]

        def ask(repo: str) -> None:
            contents = _ask(api, repo, self.cache, problems)
            with self._lock:
                self._repos = self._repos | {repo: contents}

        names = _in_parallel(find, self.sources, lambda source: source, problems)
        _in_parallel(ask, list(dict.fromkeys(repo for repos in names for repo in repos)), lambda repo: repo, problems)


def resolve(reference: str, cache: Path | None = None) -> Path:
    """The folder of a checkpoint, by what names it.

    Args:
        reference: "hub:you/animegan-hayao@epoch-060" or "bundled:cel@epoch-025", or without "@..." the recommended or
            newest one; or a folder.
        cache: of the Hub's checkpoints; None for the standard one.

    Raises:
        ValueError: not a reference.
        CheckpointError: missing, private, damaged, or neither to be reached nor cached.
    """
    if reference.startswith(SCHEME):
        return open_bundled(reference)
    if not reference.startswith(REFERENCE):
        return Path(reference)
    wanted = parse_reference(reference)
    store = HubStore([wanted.repo], cache)
    store.refresh()
    newest = [record.checkpoint for record in store.checkpoints(wanted.repo)][-1:]
    checkpoint = wanted.checkpoint or store.recommended(wanted.repo) or "".join(newest) or "at all"
    return store.fetch(wanted.repo, checkpoint)


def _reach(api: HfApi, author: str) -> None:
    """Raises one of HUB_ERRORS at once where the Hub is out of reach and `list_models` would retry for 23 seconds."""
    address = f"{api.endpoint}/api/models"
    get_session().get(address, params={"author": author, "limit": 1}, headers=build_hf_headers(), timeout=time_left())


def _ask(api: HfApi, repo: str, cache: Path, problems: list[Sentence]) -> _Repo:
    """What a repo holds now. Raises one of HUB_ERRORS if it cannot be asked; lone damaged checkpoints are problems."""
    refs = api.list_repo_refs(repo)
    tags = [(tag.name, tag.target_commit) for tag in refs.tags if CHECKPOINT.fullmatch(tag.name)][:MAX_CHECKPOINTS]
    checkpoints: dict[str, tuple[str, Record]] = {}

    def read(tag: tuple[str, str]) -> None:
        name, sha = tag
        checkpoints[name] = sha, _read_record(api, repo, name, sha, cache)

    _in_parallel(read, tags, lambda tag: f"{repo}@{tag[0]}", problems)
    recommended = None
    if checkpoints and any(branch.name == "main" for branch in refs.branches):
        try:  # by name, so that the cache remembers what main was
            recommended = read_record(download(api, repo, "main", RECORD, cache).parent).checkpoint
        except HUB_ERRORS:
            recommended = None
    return _Repo(checkpoints, recommended if recommended in checkpoints else None)


def _read_record(api: HfApi, repo: str, name: str, sha: str, cache: Path, force: bool = False) -> Record:
    """The record of checkpoint `name`, fetched once more (`force`) if what is cached cannot be read."""
    folder = download(api, repo, sha, RECORD, cache, force).parent
    try:
        record = read_record(folder)
    except CheckpointError:
        if force:
            raise
        return _read_record(api, repo, name, sha, cache, force=True)
    if record.checkpoint != name:
        raise CheckpointError("its record is of {name}", name=f"{record.experiment}/{record.checkpoint}")
    return record


def _on_hub(name: str, fault: Sentence) -> Sentence:
    """What is wrong with a checkpoint, by its name on the Hub instead of its place in the cache."""
    place = fault.values.get("place")
    if isinstance(place, Path):
        return Sentence(fault.english, **fault.values | {"place": f"{name}: {RECORD}" if place.name == RECORD else name})
    return fault if fault.startswith(name) else Sentence("{place}: {fault}", place=name, fault=fault)


def download(api: HfApi, repo: str, revision: str, name: str, cache: Path, force: bool = False) -> Path:
    """One file of a repo in the cache; nothing is asked if `revision` is a commit sha and the file is there."""

    class Meter(tqdm):
        """Stops a download that grows beyond the file's limit, or takes beyond the task's."""

        def __init__(self, *arguments: Any, total: int | None = None, **options: Any):
            super().__init__(*arguments, total=total, **options | {"disable": True})
            self.received = 0
            self.update(0)
            if (total or 0) > SIZE_LIMITS[name]:
                raise _too_large(name, total or 0)

        def update(self, n: float | None = 1) -> None:
            time_left()
            self.received += int(n or 0)
            if self.received > SIZE_LIMITS[name]:
                raise CheckpointError("{file} is larger than {most} bytes", file=name, most=SIZE_LIMITS[name])

    options: Any = {"revision": revision, "cache_dir": cache, "force_download": force, "tqdm_class": Meter}
    return Path(api.hf_hub_download(repo, name, **options))


def _pull(repo: str, checkpoint: str, sha: str, cache: Path) -> Path:
    """Fills the snapshot of a commit with a checkpoint's files and verifies them; a damaged one is fetched once more."""
    missing = [name for name in SIZE_LIMITS if not _cached(cache, repo, sha, name)]
    api = connect()
    if missing:
        api.model_info(repo, revision=sha, timeout=time_left())  # fails at once where what follows retries for 23 seconds
        _check_tree(api, repo, sha)
        for name in missing:
            download(api, repo, sha, name, cache)
    folder = _snapshots(cache, repo) / sha
    record = _read_record(api, repo, checkpoint, sha, cache)
    for name in record.files:
        try:
            verify_files(folder, record, [name])
        except CheckpointError as damage:
            try:
                download(api, repo, sha, name, cache, force=True)
                verify_files(folder, record, [name])
            except CheckpointError:
                raise
            except HUB_ERRORS as error:
                first, then = _on_hub(f"{repo}@{checkpoint}", damage.sentence), explain(error, Sentence("it"))
                raise CheckpointError("{damage}, and {problem}", damage=first, problem=then) from None
    return folder


def _check_tree(api: HfApi, repo: str, sha: str) -> None:
    """Refuses a commit before anything is downloaded: unsafe names, files missing or too large. Others are left alone."""
    entries = list(islice(api.list_repo_tree(repo, recursive=True, revision=sha), MAX_FILES + 1))
    if len(entries) > MAX_FILES:
        raise CheckpointError("holds more than {most} files, which no checkpoint does", most=MAX_FILES)
    sizes = {entry.path: entry.size for entry in entries if isinstance(entry, RepoFile)}
    for path in sizes:
        if path.startswith("/") or "\\" in path or ".." in path.split("/"):
            raise CheckpointError("holds a file named {name}", name=repr(path[:80]))
    for name, limit in SIZE_LIMITS.items():
        if name not in sizes:
            raise CheckpointError("{file} is missing", file=name)
        if sizes[name] > limit:
            raise _too_large(name, sizes[name])


def _too_large(name: str, size: int) -> CheckpointError:
    most = SIZE_LIMITS[name]
    return CheckpointError("{file} has {size} bytes, a checkpoint's may have {most}", file=name, size=size, most=most)


def _in_parallel(
    task: Callable[[Any], Any], items: Sequence[Any], name: Callable[[Any], str], problems: list[Sentence]
) -> list[Any]:
    """Results of a task for each item, on daemon threads under this thread's time limit; failures become problems."""
    pending, results = list(reversed(items)), []

    def work() -> None:
        while pending:
            try:
                item = pending.pop()
            except IndexError:
                return
            try:
                results.append(task(item))
            except CheckpointError as error:
                problems.append(_on_hub(name(item), error.sentence))
            except HUB_ERRORS as error:
                fault = explain(error, name(item))
                problems.append(fault if "@" in name(item) else Sentence(CACHED, problem=fault))

    threads = []
    for _ in range(min(CONNECTIONS, len(items))):
        threads.append(threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True))
        threads[-1].start()
    for thread in threads:
        thread.join()
    return results


def _snapshots(cache: Path, repo: str) -> Path:
    return cache / f"models--{repo.replace('/', '--')}" / "snapshots"


def _cached(cache: Path, repo: str, revision: str, name: str) -> Path | None:
    path = try_to_load_from_cache(repo, name, cache_dir=cache, revision=revision)
    return Path(path) if isinstance(path, str) else None


def _undamaged(folder: Path, record: Record) -> bool:
    try:
        verify_files(folder, record)
    except (CheckpointError, OSError):
        return False
    return True


def _by_time(folder: Path) -> list[Path]:
    """What a folder of the cache holds, the newest last; another process may delete it meanwhile."""
    try:
        return sorted(folder.iterdir(), key=lambda inner: inner.stat().st_mtime)
    except OSError:
        return []


def _cached_repos(cache: Path, source: str) -> dict[str, _Repo]:
    """Checkpoints of a namespace or repo that are complete in the cache; of one name, the one that came last."""
    repos: dict[str, _Repo] = {}
    pattern = f"models--{source.replace('/', '--')}" + ("" if "/" in source else "--*")
    for snapshots in sorted(cache.glob(f"{pattern}/snapshots")):
        repo = "/".join(snapshots.parent.name.split("--")[1:])
        checkpoints: dict[str, tuple[str, Record]] = {}
        for folder in _by_time(snapshots):
            if all((folder / name).is_file() for name in SIZE_LIMITS):
                try:
                    record = read_record(folder)
                except CheckpointError:
                    continue
                checkpoints[record.checkpoint] = folder.name, record
        main = _cached(cache, repo, "main", RECORD)
        try:
            recommended = read_record(main.parent).checkpoint if main else None
        except CheckpointError:
            recommended = None
        repos[repo] = _Repo(checkpoints, recommended if recommended in checkpoints else None)
    return repos
