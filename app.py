"""The AnimeGAN laboratory's app: python app.py [--host HOST] [--port PORT] [--runs FOLDER] [--hub NAME]...

A Space imports this file and launches `demo`.
"""

import argparse
import sys
from pathlib import Path

from animegan_app.catalog import open_catalog
from animegan_app.ui import build_demo, launch

parser = argparse.ArgumentParser(description="Hold checkpoints against each other on your own photo.")
parser.add_argument("--host", help="address to listen on (default: this machine only)")
parser.add_argument("--port", type=int, help="port to listen on (default: the first free one from 7860)")
parser.add_argument("--runs", type=Path, help="folder of local training (default: $ANIMEGAN_RUNS, or runs beside this file)")
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
