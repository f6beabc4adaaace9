"""The AnimeGAN laboratory's app: python app.py [--host HOST] [--port PORT] [--runs PATH] [--hub NAME]...

By itself it listens on this machine alone, and answers to no other name than this machine's own.

- For others on the network: --host 0.0.0.0
- Behind a reverse proxy: ANIMEGAN_HOSTS=pictures.example.org, the name that it is asked by (several: with commas) and, if
  it is not at the top there, GRADIO_ROOT_PATH=/anime. The proxy passes on Host or X-Forwarded-Host, X-Forwarded-Proto and
  X-Forwarded-For, and does not buffer answers.
- On a Space, ANIMEGAN_ADD=you,them/animegan-paprika names what of the Hub visitors may add, * for all of it; by itself
  nothing there, and all of it elsewhere.

A Space imports this file and launches `demo`.
"""

import hub_export.environment  # noqa: F401  first, as it settles what other programs' settings would break

# isort: split
import argparse
import sys
from pathlib import Path

from animegan_app.catalog import open_catalog
from animegan_app.ui import build_demo, launch


def port(text: str) -> int:
    """A port's number. Raises ArgumentTypeError."""
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: they are numbered from 1 to {2**16 - 1}")
    return int(text)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--host", help="address to listen on (default: this machine only)")
parser.add_argument("--port", type=port, help="port to listen on (default: the first free one from 7860)")
parser.add_argument(
    "--runs",
    type=Path,
    metavar="PATH",
    help="folder of local training, or an archive that hub_export.release wrote (default: $ANIMEGAN_RUNS, or runs beside "
    "this file)",
)
parser.add_argument(
    "--hub",
    action="append",
    metavar="NAME",
    help="on the Hugging Face Hub, beside those in $ANIMEGAN_HUB: you, you/animegan-hayao or you/animegan-hayao@epoch-060",
)
arguments = parser.parse_args(sys.argv[1:] if __name__ == "__main__" else [])

try:
    catalog = open_catalog(arguments.runs, arguments.hub)
except ValueError as error:
    sys.exit(str(error))
demo = build_demo(catalog)

if __name__ == "__main__":
    launch(demo, arguments.host, arguments.port)
