"""The folder of a web page that draws in the browser: the page, the model's card, and ONNX Runtime as WebAssembly.

The page is in hub_export/page. The runtime is onnxruntime-web of the npm registry, one version, whose sha512 is known here;
it is downloaded once and kept beside the Hub's cache. Two builds go into the folder: a small one, and one that also
computes on the GPU; a browser loads one of them. WebAssembly travels packed, which plain file servers do not do themselves.
"""

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import httpx2
from huggingface_hub import constants
from huggingface_hub.utils import get_session  # type: ignore[attr-defined]  # lazily exported

from hub_export import pixels
from hub_export.card import LICENCE
from hub_export.files import explain_os, write_aside
from hub_export.record import CheckpointError, Record

PAGE = Path(__file__).parent / "page"
VERSION = "1.30.0"
ARCHIVE = f"onnxruntime-web-{VERSION}.tgz"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the archive, as the registry tells it."""
MAX_BYTES = 64 * 2**20
REGISTRY = "https://registry.npmjs.org"
RUNTIME = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
MIT = f"""onnxruntime-web {VERSION}, {REGISTRY}/onnxruntime-web/-/{ARCHIVE}
sha512 {SHA512}

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation \
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, \
modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the \
Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the \
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE \
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR \
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, \
ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def write_page(folder: Path, record: Record) -> None:
    """Puts the page and the runtime beside model.onnx.

    Raises:
        CheckpointError: the runtime is not in the cache, and cannot be downloaded.
        OSError: the folder cannot be written.
    """
    for name, content in runtime_files(runtime_archive()).items():
        path = folder / "runtime" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    about = {
        "experiment": record.experiment,
        "checkpoint": record.checkpoint,
        "architecture": record.generator["architecture"],
        "stride": record.generator_config.stride,
        "minimum": pixels.MINIMUM_SIDE,
        "probe": record.probe,
        "sha256": record.sha256[:12],
        "licence": LICENCE["license_name"],
        "terms": record.data["terms"],
        "runtime": VERSION,
    }
    digest = hashlib.sha256(json.dumps(about).encode())
    for path in sorted(path for path in [*PAGE.iterdir(), *folder.rglob("*")] if path.is_file()):
        digest.update(path.read_bytes())
    own = {"@ABOUT@": json.dumps(about).replace("<", "\\u003c"), "@VERSION@": digest.hexdigest()[:16]}
    for path in PAGE.iterdir():
        text = path.read_text("utf-8")
        for mark, value in own.items():
            text = text.replace(mark, value)
        (folder / path.name).write_text(text, "utf-8")


def runtime_archive(cache: Path | None = None) -> bytes:
    """The npm package of the runtime, verified; from the cache, or else downloaded into it.

    Args:
        cache: a folder; None for the one beside the Hub's.

    Raises:
        CheckpointError: it cannot be downloaded, or is not what the registry published.
    """
    path = (cache or Path(constants.HF_HOME) / "animegan") / ARCHIVE
    if path.is_file() and _intact(content := path.read_bytes()):
        return content
    registry = os.environ.get("NPM_CONFIG_REGISTRY") or REGISTRY
    address = f"{registry.rstrip('/')}/onnxruntime-web/-/{ARCHIVE}"
    otherwise = f"download it elsewhere and put it at {path}"
    downloaded = bytearray()
    try:
        with get_session().stream("GET", address, follow_redirects=True, timeout=60) as response:
            response.raise_for_status()
            for part in response.iter_bytes():
                downloaded += part
                if len(downloaded) > MAX_BYTES:
                    break
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        answer = getattr(error, "response", None)
        why = f"error {answer.status_code}" if answer is not None else f"{error}" or type(error).__name__
        raise CheckpointError(f"{address} cannot be downloaded ({why}): connect to the network, or {otherwise}") from None
    if not _intact(content := bytes(downloaded)):
        raise CheckpointError(f"{address} is not what npm published (its sha512 differs): try again, or {otherwise}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, content)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {explain_os(error)}") from None
    return content


def runtime_files(archive: bytes) -> dict[str, bytes]:
    """The files of RUNTIME and their licence by the names that they have beside the page.

    Scripts end in .js, as not every server knows .mjs, and WebAssembly is packed.
    """
    files = {"LICENSE.txt": MIT.encode()}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as package:
        for name in RUNTIME:
            member = package.extractfile(f"package/dist/{name}")
            assert member, name
            content = member.read()
            if name.endswith(".wasm"):
                files[f"{name}.gz"] = gzip.compress(content, 6, mtime=0)
            else:
                files[name.removesuffix("mjs") + "js"] = content
    return files


def _intact(archive: bytes) -> bool:
    return base64.b64encode(hashlib.sha512(archive).digest()).decode() == SHA512
