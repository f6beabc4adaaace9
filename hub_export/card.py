"""The model card, written from a checkpoint's own record: nothing in it that was not recorded."""

from typing import Any

from huggingface_hub import ModelCardData

from hub_export.metrics import measurements
from hub_export.record import SAMPLES, Record

LICENCE: dict[str, Any] = {"license": "other", "license_name": "research-and-personal-use"}
"""Of checkpoints, in the Hub's words: what pictures they were trained on allows no more."""
TAG = "animegan-lab"
"""The Hub tag by which experiments are found."""

MAX_SETTING = 200
"""Characters of a setting's value that are shown."""

FIGURES = {
    "style": "style distance (1000 × MMD² of patch features to held-out anime): lower is more anime",
    "independent_style": "independent style distance, in EfficientNet-Lite0, against which nothing was trained",
    "kid": "KID (1000 × MMD² in InceptionV3): lower is more anime",
    "content": "content distance (1 - cosine of features to the photo): 0 keeps everything",
    "independent_content": "independent content distance, in EfficientNet-Lite0",
    "colour": "colour shift (Lab distance of mean colours to the photo): below 2.3 hardly seen",
    "flat": "flat areas, share of pixels",
    "texture": "texture, share of pixels",
    "lines": "thin dark lines, share of pixels",
    "drawn": "drawn: share of those lines that run through calm places, which agrees with eyes that compare blind",
}
"""What `train.evaluate` measures, in words; "style_photos" and "style_anime" are the ends of the scale of "style"."""


def model_card(record: Record, repo: str | None = None, use: str | None = None) -> str:
    """README.md of a checkpoint: what was asked and changed, data and terms, compute, metrics, picture, how to load.

    Args:
        record: with `files` measured.
        repo: "you/animegan-hayao" where it is published, None for a folder on disk.
        use: how an export of it is used, in place of how a checkpoint is loaded.
    """
    front = ModelCardData(
        library_name=None if use else "keras",
        pipeline_tag="image-to-image",
        **LICENCE,
        tags=[TAG, "animegan", f"generator-{record.generator['architecture']}"],
    ).to_yaml()
    compute, data = record.compute, record.data
    return f"""---
{front}
---
# {_title(record)}

{record.question}

![fixed photos and what this checkpoint makes of them]({SAMPLES})

## What differs
{_changes(record)}

## Data
{data["photos"]:,} photos and {f"{data['anime']:,} anime frames" if data["anime"] else "no anime frame"}. {data["source"]}

{data["terms"]}

## Compute
{_duration(compute["seconds"])} on {compute["device"]}, {compute["precision"]}: {record.step:,} steps, \
{compute["images"]:,} photos seen, epoch {record.epoch}, {record.phase} phase, seed {record.seed}. \
{_start(record)}

{_shares(record)}## Measured
{_measured(record)}

## {"Use" if use else "Load"} it
{use or _load_it(record, repo)}

Weights sha256 `{record.sha256}`, {record.weights}, \
{", ".join(f"{name} {version}" for name, version in record.libraries.items())}.
"""


def _title(record: Record) -> str:
    return " · ".join(filter(None, [record.look.get("name"), record.experiment, record.checkpoint]))


def _measured(record: Record) -> str:
    """The figures between the two ends of their scale, then the finer ones that no table names."""
    figures = measurements(record.metrics)
    if not figures:
        return "Nothing yet."
    rows = []
    for name, words in FIGURES.items():
        if name in figures:
            photos, anime = (f"{end.value:.3g}" if end else "" for end in (figures[name].photos, figures[name].anime))
            rows.append([words, photos, f"{figures[name]}", anime])
    others = [f"{name} {one.value:.4g}" for name, one in figures.items() if name not in FIGURES]
    changes = [
        f"{words} {figures[name].change:+}"
        for name, words in {"style": "style distance", "independent_style": "independent style distance"}.items()
        if name in figures and figures[name].change
    ]
    base = record.data.get("compared_with", record.base)
    change = f"Against `{base}`, on the same photos: {', '.join(changes)}." if changes else ""
    parts = [
        str(record.data.get("measured", "")),
        _table(["figure", "photos themselves", "this checkpoint", "anime itself"], rows) if rows else "",
        change,
        f"Also: {', '.join(others)}." if others else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _start(record: Record) -> str:
    sentences = []
    if init := record.config.get("init"):
        sentences.append(f"The generator started from `{_cell(init)}`, whose own pictures and compute are not counted here.")
    has_network = record.data.get("feature_network", "features" in record.config)
    network = " except the feature network named in the configuration" if has_network else ""
    if not sentences:
        sentences.append(f"Nothing was pretrained{network}.")
    sentences += [f"Its targets were painted with {_cell(each)}." for each in record.data.get("target_networks", [])]
    return " ".join(sentences)


def _shares(record: Record) -> str:
    """How much each term was of every weighted sum that was minimised."""
    lines = [
        f"- {total}: " + ", ".join(f"{_cell(name)} {share:.0%}" for name, share in shares.items())
        for total, shares in record.data.get("shares", {}).items()
        if shares
    ]
    return "\n".join(["Shares of the loss, at last:\n", *lines, "\n"]) if lines else ""


def _load_it(record: Record, repo: str | None) -> str:
    get = ""
    if repo is not None:
        get = f"# main is the recommended one; this is snapshot_download({repo!r}, revision={record.checkpoint!r})\n"
    stock = f"""Stock Keras, none of our code:

```python
import keras, numpy as np
{get}generator = keras.saving.load_model("{"path/to/this/folder" if repo is None else f"hf://{repo}"}")
photo = np.zeros((1, 256, 256, 3), "float32")  # RGB in [-1, 1], height and width multiples of 8
anime = generator(photo)
```"""
    if repo is None:
        return stock
    return f"""{stock}

The laboratory's app, beside other checkpoints on your own photo:

```
ANIMEGAN_HUB={repo} python app.py
```

Train on from here:

```
python -m train.run EXPERIMENT --init hub:{repo}@{record.checkpoint}
```"""


def _changes(record: Record) -> str:
    if record.base is None:
        return "This experiment is a base of its own: its whole configuration is in `checkpoint.json`."
    rows = [[f"`{key}`", _cell(before), _cell(after)] for key, (before, after) in record.changes.items()]
    return f"Against `{record.base}`:\n\n" + _table(["setting", record.base, record.experiment], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return "Nothing yet."
    plain = [[" ".join(cell.split()).replace("|", "\\|") for cell in cells] for cells in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *plain])


def _cell(value: object) -> str:
    """A setting's value in a table or sentence."""
    text = str(value)
    return text if len(text) <= MAX_SETTING else f"{text[:MAX_SETTING]}…"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(minutes, 1)} min"
