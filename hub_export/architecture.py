"""Which generators there are, and how one is described, without loading Keras."""

from dataclasses import dataclass
from typing import Literal, get_args

from hub_export.sentences import ExplainedError

Colours = Literal["drawn", "kept"]


@dataclass(frozen=True)
class Kind:
    """A kind of generator.

    Args:
        channels: output channels of the first layer, where a config does not say.
        most_channels: of a config. At most 128 at full size, so that a stranger's checkpoint needs no more memory than v1.
        stride: height and width of a picture must be multiples of it.
        reach: how far around it, in pixels, what is drawn in a place depends on; a multiple of the stride. 0: it depends on
            the whole picture, as a norm over it does.
    """

    channels: int
    most_channels: int
    stride: int
    reach: int = 0


KINDS = {
    "v1": Kind(64, 64, 4),
    "diary": Kind(64, 64, 4),
    "v2": Kind(32, 128, 4),
    "v3": Kind(32, 64, 8),
    "lite": Kind(32, 128, 8, 96),
    "lite2": Kind(32, 128, 8, 96),  # 137 to the last pixel; beyond 96 none of the looks moves one by more than a level
    "resnet6": Kind(64, 64, 4),
    "resnet9": Kind(64, 64, 4),
}
"""Every generator by its name. `generator.BODIES` builds them; there is no third table."""


@dataclass(frozen=True)
class GeneratorConfig:
    """Which generator to build.

    Args:
        architecture: one of KINDS: v1 (3,956,096 parameters), v2 (2,143,552), v3 (1,027,520), ours, lite (0.7 M) and lite2
            (0.9 M), or CycleGAN's with six residual blocks, resnet6 (7.8 M), or nine, resnet9 (11.4 M); diary is v1 as the
            founding diary has it.
        channels: output channels of the first layer, all others follow; 0 means the architecture's own.
        colours: "drawn" by the network, or "kept": the network's luma with the photo's chroma, which it can only shift over
            areas of 4 pixels. No recipe trains the latter; an archived checkpoint has it.
    """

    architecture: str = "v2"
    channels: int = 0
    colours: Colours = "drawn"

    def __post_init__(self) -> None:
        if self.architecture not in tuple(KINDS):
            raise ExplainedError(
                "unknown generator {name}: choose one of {known}", name=repr(self.architecture)[:80], known=", ".join(KINDS)
            )
        if self.colours not in get_args(Colours):
            raise ExplainedError(
                "colours of a generator are one of {known}, got {given}",
                known=", ".join(get_args(Colours)),
                given=repr(self.colours)[:80],
            )
        kind = KINDS[self.architecture]
        if self.channels == 0:
            object.__setattr__(self, "channels", kind.channels)
        if type(self.channels) is not int or not 1 <= self.channels <= kind.most_channels:
            raise ExplainedError(
                "channels of generator {name} must be from 1 to {most}, got {given}",
                name=self.architecture,
                most=kind.most_channels,
                given=repr(self.channels)[:80],
            )

    @property
    def stride(self) -> int:
        """Height and width of a picture must be multiples of this."""
        return KINDS[self.architecture].stride

    @property
    def reach(self) -> int:
        """See `Kind.reach`."""
        return KINDS[self.architecture].reach
