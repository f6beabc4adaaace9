"""What a JPEG costs to decode, told before it is decoded.

A progressive JPEG comes in scans, each of which goes over the whole picture: half a megabyte of 1,200 empty scans keeps a
decoder busy for a minute. Segments without pixels cost too: Pillow sorts those of colour profiles each time it meets one.
"""

import re

MAX_SCANS, MAX_SEGMENTS = 64, 2000
"""Encoders write 1 to some 20 scans; profiles, previews and descriptions fill some hundred segments at most."""
_SCAN, _END = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""A segment begins here; the rest of what follows an FF is data, a restart, the beginning or filling."""


def check_jpeg(content: bytes) -> None:
    """Raises ValueError, as the end of a sentence, if a JPEG is made to be slow; it may be damaged in other ways."""
    scans = segments = place = 0
    while (found := _MARKER.search(content, place)) and content[found.start() + 1] != _END:
        marker, place = content[found.start() + 1], found.end()
        place += int.from_bytes(content[place : place + 2], "big")
        segments, scans = segments + 1, scans + (marker == _SCAN)
        if scans > MAX_SCANS:
            raise ValueError(f"has more than {MAX_SCANS} scans, which only slow its reader down")
        if segments > MAX_SEGMENTS:
            raise ValueError(f"has more than {MAX_SEGMENTS} segments, which only slow its reader down")
