"""The model card, written from a checkpoint's own record: nothing in it that was not recorded."""

from huggingface_hub import ModelCardData

from hub_export.checkpoint import SAMPLES, Record

TAG = "animegan-lab"
"""The Hub tag by which experiments are found."""


def model_card(record: Record) -> str:
    """README.md of a checkpoint: what was asked and changed, data and terms, compute, metrics, picture, how to load."""
    front = ModelCardData(
        library_name="keras",
        pipeline_tag="image-to-image",
        license="other",
        license_name="research-and-personal-use",
        tags=[TAG, "animegan", f"generator-{record.generator['architecture']}"],
    ).to_yaml()
    compute, data = record.compute, record.data
    return f"""---
{front}
---
# {record.experiment} · {record.checkpoint}

{record.question}

![fixed photos and what this checkpoint makes of them]({SAMPLES})

## What differs
{_changes(record)}

## Data
{data["photos"]:,} photos and {data["anime"]:,} anime frames. {data["source"]}

{data["terms"]}

## Compute
{_duration(compute["seconds"])} on {compute["device"]}, {compute["precision"]}: {record.step:,} steps, {compute["images"]:,} photos
seen, epoch {record.epoch}, {record.phase} phase, seed {record.seed}. Nothing was pretrained except the feature network named in
the configuration.

## Measured
{_table(["figure", "value"], [[name, f"{value:.4g}"] for name, value in record.metrics.items()])}

## Load it
Stock Keras, none of our code:

```python
import keras, numpy as np
generator = keras.saving.load_model("path/to/this/folder")  # or "hf://namespace/name"
photo = np.zeros((1, 256, 256, 3), "float32")  # RGB in [-1, 1], height and width multiples of 8
anime = generator(photo)
```

Weights sha256 `{record.sha256}`, {", ".join(f"{name} {version}" for name, version in record.libraries.items())}.
"""


def _changes(record: Record) -> str:
    if record.base is None:
        return "This experiment is a base of its own: its whole configuration is in `checkpoint.json`."
    rows = [[f"`{key}`", f"{before}", f"{after}"] for key, (before, after) in record.changes.items()]
    return f"Against `{record.base}`:\n\n" + _table(["setting", record.base, record.experiment], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return "Nothing yet."
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(minutes, 1)} min"
