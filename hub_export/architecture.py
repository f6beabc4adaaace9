"""Which generators there are, and how one is described, without loading Keras."""

from dataclasses import dataclass
from typing import Literal, get_args

Architecture = Literal["v1", "v2", "lite"]
Colours = Literal["drawn", "kept"]
OWN_CHANNELS = {"v1": 64, "v2": 32, "lite": 32}
MAX_CHANNELS = {"v1": 64, "v2": 128, "lite": 128}
"""At most 128 channels at full size: a stranger's checkpoint needs no more memory than v1 itself."""
STRIDES = {"v1": 4, "v2": 4, "lite": 8}


@dataclass(frozen=True)
class GeneratorConfig:
    """Which generator to build.

    Args:
        architecture: v1 (3,956,096 parameters), v2 (2,143,552) or lite (0.7 M).
        channels: output channels of the first layer, all others follow; 0 means the architecture's own.
        colours: "drawn" by the network like all else (the references), or "kept": the photo's own down to the pixel, which
            the network can only shift over areas, so that no colour bleeds over an edge.
    """

    architecture: Architecture = "v2"
    channels: int = 0
    colours: Colours = "drawn"

    def __post_init__(self) -> None:
        if self.architecture not in get_args(Architecture):
            raise ValueError(f"unknown generator {self.architecture!r}: choose one of {', '.join(get_args(Architecture))}")
        if self.colours not in get_args(Colours):
            raise ValueError(f"colours of a generator are one of {', '.join(get_args(Colours))}, got {self.colours!r}")
        if self.channels == 0:
            object.__setattr__(self, "channels", OWN_CHANNELS[self.architecture])
        most = MAX_CHANNELS[self.architecture]
        if type(self.channels) is not int or not 1 <= self.channels <= most:
            raise ValueError(f"channels of generator {self.architecture} must be from 1 to {most}, got {self.channels!r}")

    @property
    def stride(self) -> int:
        """Height and width of a picture must be multiples of this."""
        return STRIDES[self.architecture]
