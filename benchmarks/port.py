"""Steps of the most used PyTorch port, to be timed in turn with ours: run by `benchmarks.training --port`.

    python benchmarks/port.py DIR SIZE BATCH    DIR: a clone of https://github.com/ptran1203/pytorch-animeGAN

For every line read, "float32" or "bfloat16", one adversarial step is taken and its seconds are printed. Generator,
discriminator, losses and VGG19 are the port's own, the weights random; the order of work is that of its trainer, which
draws the fakes twice, judges four pictures and differentiates two of them. On a GPU where torch finds one. Needs torch,
opencv and tqdm.
"""

import argparse
import sys
import time
import types

import torch

SETTINGS = {"wadvg": 300, "wadvd": 300, "wcon": 1.5, "wgra": 2.5, "wcol": 15, "wtvar": 1, "gan_loss": "lsgan"}


def module(**contents: object) -> types.ModuleType:
    """A stand-in for a module that the port imports."""
    made = types.ModuleType("stand_in")
    made.__dict__.update(contents)
    return made


def vgg19(weights: object) -> types.SimpleNamespace:
    """The `features` of torchvision's VGG19, the only part of torchvision that the port uses, with random weights."""
    layers: list[torch.nn.Module] = []
    channels = 3
    for block, count in enumerate((2, 2, 4, 4, 4)):
        for _ in range(count):
            filters = min(64 * 2**block, 512)
            layers += [torch.nn.Conv2d(channels, filters, 3, padding=1), torch.nn.ReLU(inplace=True)]
            channels = filters
        layers.append(torch.nn.MaxPool2d(2))
    return types.SimpleNamespace(features=torch.nn.Sequential(*layers))


def main() -> None:
    """Builds the port's models, then answers lines."""
    folder, size, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    sys.path.insert(0, folder)
    sys.modules.setdefault("numpy.lib.arraysetops", module(isin=None))  # asked for, not used; gone in NumPy 2
    models = module(vgg19=vgg19, VGG19_Weights=types.SimpleNamespace(IMAGENET1K_V1=None))
    sys.modules["torchvision"] = module(models=models)
    sys.modules["torchvision.models"] = models
    from losses import AnimeGanLoss
    from models.anime_gan import Discriminator
    from models.anime_gan_v2 import GeneratorV2

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_default_device(device)
    generator, discriminator = GeneratorV2(), Discriminator(num_layers=2, use_sn=True, norm_type="layer")
    losses = AnimeGanLoss(argparse.Namespace(**SETTINGS), device)
    optimizers = [torch.optim.Adam(model.parameters(), 1e-5, (0.5, 0.999)) for model in (generator, discriminator)]
    photo, anime, gray, smooth = (2 * torch.rand(batch, 3, size, size) - 1 for _ in range(4))

    def update(loss: torch.Tensor, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
        optimizer.step()

    def step(precision: str) -> None:
        automatic = torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")
        optimizers[1].zero_grad()
        with automatic:
            fake = generator(photo)
            logits = [discriminator(picture) for picture in (fake, anime, gray, smooth)]
            loss = losses.compute_loss_D(*logits)
        update(loss, discriminator, optimizers[1])
        optimizers[0].zero_grad()
        with automatic:
            fake = generator(photo)
            loss = sum(losses.compute_loss_G(fake, photo, discriminator(fake), gray))
        update(loss, generator, optimizers[0])

    print("ready", flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        step(line.strip())
        if device == "cuda":
            torch.cuda.synchronize()
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
