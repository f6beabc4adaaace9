"""Drawings of the PyTorch package, to be timed in turn with ours: run by `benchmarks.inference --torch`.

    python benchmarks/animegan2.py DIR    DIR: a clone of https://github.com/bryandlee/animegan2-pytorch

For every line read, "HEIGHT WIDTH", a picture of noise is drawn and its seconds are printed. The generator is the package's
own, as it is called by default, its weights random. On a GPU where torch finds one. Needs torch.
"""

import sys
import time

import torch


def main() -> None:
    """Answers lines."""
    sys.path.insert(0, sys.argv[1])
    from model import Generator

    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = Generator().eval().to(device)
    print("ready", flush=True)
    seen = set()
    with torch.inference_mode():
        for line in sys.stdin:
            shape = tuple(map(int, line.split()))
            photo = torch.rand(1, 3, *shape, device=device) * 2 - 1
            if shape not in seen:  # the first of a size prepares
                generator(photo)
                seen.add(shape)
            started = time.perf_counter()
            generator(photo).cpu()
            print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
