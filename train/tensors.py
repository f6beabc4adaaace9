"""Names for what TensorFlow does not type. Shapes, dtypes and ranges are in the docstrings."""

from collections.abc import Mapping
from typing import Any

Tensor = Any
"""tf.Tensor, KerasTensor or, where a strategy runs several devices, one value for each of them."""
Batch = Mapping[str, Tensor]
"""Pictures by name, "photo", "anime", ..., each (B, S, S, 3) float32 [-1, 1] RGB."""
Terms = dict[str, Tensor]
"""Loss terms by name, float32 scalars."""
