"""The interface's words, in English and Chinese; the browser's language decides. Errors and records are English.

What stays as it is built goes through `label`, which the browser translates; what is made for one person through `say`.
"""

from typing import Any

import gradio as gr

WORDS: dict[str, tuple[str, str]] = {
    # The frame
    "title": (
        "<h1>AnimeGAN laboratory</h1><p>Your photo, redrawn by generators from different experiments and moments of their "
        "training. It is sent nowhere else and deleted within two hours.</p>",
        "<h1>AnimeGAN 实验室</h1><p>用不同实验、不同训练阶段的生成器重绘你的照片。照片不会发往别处，两小时内删除。</p>",
    ),
    "no_checkpoint": (
        "There is no checkpoint yet. Train one with <code>{command}</code>.",
        "还没有检查点。请用 <code>{command}</code> 训练一个。",
    ),
    "stylise": ("Stylise", "风格化"),
    "compare": ("Compare", "比较"),
    "experiments": ("Experiments", "实验"),
    "sources": ("Sources", "来源"),
    "bundled": ("bundled", "内置"),
    "local": ("local runs", "本地训练"),
    "hub": ("Hugging Face Hub", "Hugging Face Hub"),
    # A photo and what is chosen
    "photo": ("Photo", "照片"),
    "drop": ("Drop or paste a photo\n- or -\nclick to choose one", "拖放或粘贴照片\n- 或 -\n点击选择"),
    "examples": ("Or try one of these", "或试试这些"),
    "experiment": ("Experiment", "实验"),
    "checkpoint": ("Checkpoint", "检查点"),
    "longest_side": ("Longest side at most, in pixels", "最长边上限（像素）"),
    "seconds": ("{side} · about {seconds} s", "{side} · 约 {seconds} 秒"),
    "warm-up": ("warm-up", "预热"),
    "adversarial": ("adversarial", "对抗"),
    # The result
    "slider": ("Photo ⇄ anime", "照片 ⇄ 动漫"),
    "strength": ("Strength, %", "强度（%）"),
    "strength_info": ("0 is your photo", "0 即原照片"),
    "photo_colours": ("Keep the photo's colours, %", "保留照片色彩（%）"),
    "photo_colours_info": ("Light and lines stay anime", "明暗与线条仍为动漫"),
    "format": ("File", "文件格式"),
    "download": ("Download", "下载"),
    "cancel": ("Cancel", "取消"),
    "reduced": ("{size} px, reduced from {original}", "{size} 像素，由 {original} 缩小"),
    "size": ("{size} px", "{size} 像素"),
    "time": ("{seconds} s", "{seconds} 秒"),
    "weights": ("weights {sha}", "权重 {sha}"),
    "commit": ("commit {sha}", "提交 {sha}"),
    # About a checkpoint
    "question": ("Question", "问题"),
    "taken_at": ("Taken at", "训练进度"),
    "taken": ("epoch {epoch}, {phase} phase, step {step}", "第 {epoch} 轮，{phase}阶段，第 {step} 步"),
    "data": ("Data", "数据"),
    "pictures": ("{photos} photos, {anime} anime frames. {source}", "{photos} 张照片，{anime} 张动漫画面。{source}"),
    "unknown": ("an unknown number of", "数量不明的"),
    "terms": ("Terms", "使用条款"),
    "compute": ("Compute", "算力"),
    "spent": ("{time} on {device}", "{time}，{device}"),
    "hours": ("{hours} h {minutes} min", "{hours} 小时 {minutes} 分"),
    "minutes": ("{minutes} min", "{minutes} 分钟"),
    "unknown_time": ("An unknown time", "时间不明"),
    "unknown_device": ("an unnamed device", "设备不明"),
    "generator": ("Generator", "生成器"),
    "megabytes_of_weights": ("{architecture}, {size} of weights", "{architecture}，权重 {size}"),
    "from": ("From", "来源"),
    "from_hub": ("{name} on the Hugging Face Hub, commit {sha}", "Hugging Face Hub 上的 {name}，提交 {sha}"),
    "to_download": ("Download", "下载"),
    "first": ("{size} to download first", "需先下载 {size}"),
    "differs": ("Differs from {base}", "与 {base} 的差别"),
    "nothing": ("In nothing.", "没有差别。"),
    "setting": ("Setting", "设置"),
    "here": ("here", "此处"),
    # Sources
    "place": ("Place", "位置"),
    "offers": ("Experiment", "实验"),
    "checkpoints": ("Checkpoints", "检查点"),
    "here_already": ("Here", "已在本机"),
    "would_download": ("To download", "待下载"),
    "not_offered": ("Not everything can be offered now:", "目前有些内容无法提供："),
    "more": ("and {count} more", "另有 {count} 项"),
    "looks_at": ("On the Hub the app looks at: {names}", "应用在 Hub 上查看：{names}"),
    "add": ("Add", "添加"),
    "name_or_repo": ("Add a name or repo of the Hugging Face Hub", "添加 Hugging Face Hub 上的用户名或仓库"),
    "name_example": ("you, or you/animegan-hayao", "you，或 you/animegan-hayao"),
}
"""English and Chinese by key; {names} are filled in by `say`."""

TRANSLATIONS = gr.I18n(
    en={key: english for key, (english, _) in WORDS.items()}, zh={key: chinese for key, (_, chinese) in WORDS.items()}
)


def label(key: str) -> Any:
    """Words for a label, placeholder or value, in the browser's language. Raises KeyError."""
    assert key in WORDS, key
    return TRANSLATIONS(key)


def say(key: str, request: gr.Request | None, **values: object) -> str:
    """Words for who asks, in the language that the browser prefers, with `values` filled in. Raises KeyError."""
    language = request.headers.get("accept-language", "") if request else ""
    return WORDS[key][language.lower().startswith("zh")].format(**values)
