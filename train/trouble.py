"""What to do about what the system refuses: one sentence, with the path, the cause and the remedy."""

import errno
import os
import re
from pathlib import Path

REMEDIES = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some of your quota there",
    errno.EFBIG: "allow larger files, with ulimit -f unlimited",
    errno.EMFILE: "allow more open files, with ulimit -n 4096",
    errno.ENFILE: "close other programs, which hold all files that the system can open",
    errno.EACCES: "give yourself the permission",
    errno.EPERM: "give yourself the permission",
    errno.ENOENT: "see that it is there and stays there",
    errno.EIO: "the disk or its connection fails: look after it first",
    errno.ESTALE: "the network's folder was lost: connect it again",
}


def sentence(error: Exception, path: Path | str, otherwise: str) -> str:
    """For an OSError, or an error of TensorFlow's that has the system's words in its own.

    Args:
        error: what was raised.
        path: the file or folder of the user that it is about.
        otherwise: the remedy where the cause has none of its own, and the second choice where it has.
    """
    words = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", str(error), flags=re.DOTALL)  # without TensorFlow's own references
    for number, remedy in REMEDIES.items():
        if getattr(error, "errno", None) == number or os.strerror(number).lower() in words.lower():
            return f"{path}: {os.strerror(number)}: {remedy}, or {otherwise}"
    cause = getattr(error, "strerror", None) or " ".join(words.split()) or type(error).__name__
    return f"{path}: {cause}: {otherwise}"
