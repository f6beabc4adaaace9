"""Small clips with sound, made here."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

RATE = 48_000


def write_clip(
    path: Path,
    frames: Sequence[np.ndarray],
    moments: Sequence[Fraction] | None = None,
    codec: str = "libx264",
    sound: str | None = "aac",
    quarter_turns: int = 0,
    rate: int = RATE,
    repeats: bool = False,
) -> Path:
    """A clip of these RGB frames at these moments, 25 a second if none are given, with a tone as long.

    Args:
        quarter_turns: to the right, that a player makes, as of a phone's recording; 0 or 1.
        rate: the sound's samples a second.
        repeats: whether a part of the sound has the time of the one before, as in recordings that were joined.
    """
    moments = moments or [Fraction(number, 25) for number in range(len(frames))]
    step = moments[-1] - moments[-2] if len(moments) > 1 else Fraction(1, 25)
    with av.open(str(path), "w") as output:
        video = output.add_stream(codec, rate=1 / step, options={"crf": "10"} if codec == "libx264" else {})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        video.bit_rate = 4_000_000
        video.time_base = video.codec_context.time_base = Fraction(1, 12_800)
        context = video.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = 1, 1, 1, 1  # BT.709
        if codec != "libx264":  # the older codecs know whole frames alone
            video.codec_context.framerate = Fraction(25)
            video.codec_context.time_base = Fraction(1, 25)
        audio: Any = output.add_stream(sound, rate=rate, layout="mono") if sound else None
        for picture, moment in zip(frames, moments, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
            )
            frame.time_base = video.codec_context.time_base
            frame.pts = round(moment / frame.time_base)
            output.mux(video.encode(frame))
        output.mux(video.encode())
        if audio:
            seconds = float(moments[-1] + step)
            tone = (8000 * np.sin(np.arange(int(rate * seconds)) * 0.06)).astype(np.int16)
            packets: list[Any] = []
            for start in range(0, len(tone), 1024):
                heard = av.AudioFrame.from_ndarray(tone[np.newaxis, start : start + 1024], format="s16", layout="mono")
                heard.sample_rate, heard.pts = rate, start
                packets += audio.encode(heard)
            packets += audio.encode()
            if repeats:
                packets[5].pts = packets[5].dts = packets[4].dts
            output.mux(packets)
    if quarter_turns:
        _turn(path)
    return path


def _turn(path: Path) -> None:
    """Sets the matrix of the first track (ISO 14496-12, tkhd) to what a phone that is held upright writes."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    one = 1 << 16
    content[start : start + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def read_clip(path: Path) -> tuple[list[np.ndarray], list[float], float]:
    """Frames as they are stored, their moments in seconds, and how long the sound is, 0 without any."""
    with av.open(str(path)) as container:
        frames, moments, heard = [], [], 0.0
        for frame in container.decode():
            if isinstance(frame, av.VideoFrame):
                frames.append(frame.to_ndarray(format="rgb24"))
                moments.append(float(frame.pts * frame.time_base))
            else:
                heard += frame.samples / frame.sample_rate
    return frames, moments, heard


def seconds_of(path: Path) -> float:
    """How long the pictures of a clip last, the last one too."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        return float(video.duration * video.time_base)
