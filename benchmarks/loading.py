"""What it takes to change to another checkpoint: its files verified, its weights loaded and its probe drawn.

python -m benchmarks.loading

Prints the mean over the checkpoints that ship, in a generator that is built already and in a new one, in turn.
"""

import argparse
import time

from hub_export.checkpoint import load_generator
from hub_export.folder import BUNDLED, FolderStore
from hub_export.record import read_record


def main() -> None:
    store = FolderStore(BUNDLED)
    folders = [store.fetch(name, record.checkpoint) for name in store.experiments() for record in store.checkpoints(name)]
    kinds = {folder: str(read_record(folder).generator) for folder in folders}
    built = {kinds[folder]: load_generator(folder) for folder in folders}
    seconds = {"built already": 0.0, "new": 0.0}
    for folder in folders:
        for name, into in (("built already", built[kinds[folder]]), ("new", None)):
            start = time.perf_counter()
            load_generator(folder, into)
            seconds[name] += time.perf_counter() - start
    means = ", ".join(f"{name} {total / len(folders):.3f} s" for name, total in seconds.items())
    print(f"{len(folders)} checkpoints: {means}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    main()
