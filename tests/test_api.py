"""The app as programs meet it: Gradio's client, the Model Context Protocol, many at once."""

import ast
import base64
import io
import re
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client
from PIL import Image

from animegan_app.enlarge import enlarge
from benchmarks.load import measure
from hub_export.record import read_record
from support.app import PAGODA, ROOT, Server, drawn, finish
from support.checkpoints import tiny_checkpoint
from support.processes import memory, until

pytestmark = pytest.mark.slow


def test_what_programs_may_call(server: Server, runs: Path) -> None:
    client = Client(server.url, verbose=False)
    described = client.view_api(print_info=False, return_format="dict")
    assert set(described["named_endpoints"]) == {"/stylize", "/checkpoints"} and not described["unnamed_endpoints"]
    offered = {offer["key"]: offer for offer in client.predict(api_name="/checkpoints")}
    assert offered["local/tiny/epoch-002"]["phase"] == "adversarial" and "local/broken/epoch-001" not in offered
    file, found = client.predict(handle_file(PAGODA), "local/tiny/epoch-001", 512, api_name="/stylize")
    expected = drawn(PAGODA, runs / "tiny" / "epoch-001", 512)
    np.testing.assert_array_equal(np.asarray(Image.open(file)), expected)
    assert Path(file).name == "pagoda-tiny-epoch-001.png"
    assert found == {
        "width": 512,
        "height": 342,
        "seconds": found["seconds"],
        "checkpoint": "local/tiny/epoch-001",
        "weights": read_record(runs / "tiny" / "epoch-001").sha256,
        "commit": "",
    }
    file, found = client.predict(handle_file(PAGODA), "local/tiny/epoch-001", 512, full_size=True, api_name="/stylize")
    np.testing.assert_array_equal(np.asarray(Image.open(file)), enlarge(expected, (640, 427)))
    assert (found["width"], found["height"]) == (640, 427)
    _, found = client.predict(handle_file(PAGODA), "Tiny", 512, api_name="/stylize")
    assert found["checkpoint"] == "local/tiny/epoch-002", "an experiment's name takes its newest"
    for values, sentence in [
        ({"checkpoint": "local/../tiny/epoch-001"}, "is neither a key that /checkpoints lists nor"),
        ({"checkpoint": "it's"}, "it's is neither"),
        ({"longest_side": 100_000}, "longest side must be one of"),
        ({"strength": 151}, "strength must be from 0 to 150"),
        ({"photo_colours": 101}, "photo_colours must be from 0 to 100"),
    ]:
        with pytest.raises(AppError, match=sentence):
            client.predict(handle_file(PAGODA), **values, api_name="/stylize")
    chinese = Client(server.url, verbose=False, headers={"Accept-Language": "zh-CN,zh;q=0.9"})
    with pytest.raises(AppError, match="最长边必须是以下像素值之一：512"):
        chinese.predict(handle_file(PAGODA), longest_side=100_000, api_name="/stylize")
    own = {"path": str(PAGODA), "meta": {"_type": "gradio.FileData"}}  # a file of the server that nobody uploaded
    uploaded = httpx.post(f"{server.url}gradio_api/upload", files={"files": PAGODA.read_bytes()}, timeout=60).json()[0]
    for path, end in [(own["path"], "error"), (uploaded, "complete")]:
        call = f"{server.url}gradio_api/call/stylize"
        data = [own | {"path": path}, "local/tiny/epoch-001", 512, 100, 0]  # before there was full_size, that was all
        event = httpx.post(call, json={"data": data}, timeout=60).json()["event_id"]
        assert httpx.get(f"{call}/{event}", timeout=60).text.startswith(f"event: {end}")


def test_the_program_in_the_docs_works(server: Server, tmp_path: Path) -> None:
    (code,) = re.findall(
        r"```python\n(from gradio_client.*?)```", (ROOT / "docs" / "deploy.md").read_text("utf-8"), re.DOTALL
    )
    code = code.replace("http://127.0.0.1:7860", server.url).replace("photo.jpg", str(PAGODA))
    found: dict[str, Any] = {}
    exec(code, found)
    name = f"pagoda-{found['facts']['checkpoint'].replace('/', '-').partition('-')[2]}-strength-80.png"
    assert Path(found["file"]).name == name


def test_many_users_at_once(tmp_path: Path) -> None:
    """A few seconds of `python -m benchmarks.load`."""
    tiny_checkpoint(tmp_path / "tiny" / "epoch-001")
    report = measure(users=4, seconds=2, runs=tmp_path)
    assert not report.errors and not report.lost, report
    assert len(report.new) + len(report.again) >= 4
    assert 0 < report.memory < 3 * 2**30


async def upload_tool(url: str, photo: Path) -> str:
    """What `gradio upload-mcp`, which an assistant's program runs beside itself, answers for a local file."""
    command = StdioServerParameters(
        command=str(Path(sys.executable).with_name("gradio")), args=["upload-mcp", url, str(photo.parent)]
    )
    async with stdio_client(command) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        answer = await session.call_tool("upload_file_to_gradio", {"file": str(photo)})
        return answer.content[0].text  # type: ignore[union-attr]


def test_a_tool_of_the_model_context_protocol(server: Server, runs: Path) -> None:
    async def ask() -> tuple[Any, ...]:
        async with (
            streamablehttp_client(f"{server.url}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = {tool.name for tool in (await session.list_tools()).tools}
            photo = f"data:image/jpeg;base64,{base64.b64encode(PAGODA.read_bytes()).decode()}"
            arguments = {"photo": photo, "checkpoint": "local/tiny/epoch-001", "longest_side": 512}
            answer = await session.call_tool("stylize", arguments)
            refused = await session.call_tool("stylize", arguments | {"longest_side": 100})
            elsewhere = await session.call_tool("stylize", arguments | {"photo": "http://127.0.0.1:9/pagoda.jpg"})
            told = next(tool for tool in (await session.list_tools()).tools if tool.name == "stylize")
            uploaded = await upload_tool(server.url, PAGODA)
            again = await session.call_tool("stylize", arguments | {"photo": uploaded})
            return tools, answer, refused, elsewhere, told, again

    tools, answer, refused, elsewhere, told, again = finish(ask())
    assert tools == {"stylize", "checkpoints"} and not answer.isError, answer
    assert not again.isError and again.content[0].data == answer.content[0].data, "what the upload tool answers is taken"
    assert elsewhere.isError and "photo is no file that was uploaded here" in elsewhere.content[0].text
    assert all(way in told.description for way in ("handle_file", "data:image/jpeg;base64,", "upload_file_to_gradio")), told
    picture, line, found = answer.content
    expected = drawn(PAGODA, runs / "tiny" / "epoch-001", 512)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.data)))), expected)
    address = line.text.removeprefix("Image URL: ")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(httpx.get(address, timeout=60).content))), expected)
    facts = ast.literal_eval(found.text)
    assert (facts["width"], facts["checkpoint"]) == (512, "local/tiny/epoch-001")
    assert refused.isError and "longest side must be one of" in refused.content[0].text


def test_memory_returns_after_the_largest_pictures(server: Server, tmp_path: Path) -> None:
    """Of the app and its decoder, when it has nothing to do: what the bundled checkpoint drew at its largest size,
    and 12 and 80 megapixels of the photos' own, does not stay."""
    client = Client(server.url, verbose=False, download_files=False)
    for number, (size, side) in enumerate([((4000, 3000), 1536), ((10_000, 8000), 512)]):
        small = np.random.default_rng(number).integers(0, 256, (size[1] // 50, size[0] // 50, 3), np.uint8)
        path = tmp_path / f"{number}.jpg"
        Image.fromarray(small).resize(size, Image.Resampling.BILINEAR).save(path)
        client.predict(handle_file(path), "bundled/cel/epoch-025", side, full_size=True, api_name="/stylize")
    peak = memory(server.process.pid)
    until(lambda: memory(server.process.pid) < 1.5 * 2**30, server.process)
    print(f"{peak / 2**30:.2f} GiB right after the last, {memory(server.process.pid) / 2**30:.2f} GiB at rest")
