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
    "not_on_offer": ("{name} is not on offer here. This is what there is.", "这里没有 {name}。以下是现有的内容。"),
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
    "seconds": ("{side} · ≈ {seconds} s", "{side} · ≈ {seconds} 秒"),
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
    "differs": ("Settings that differ from {base}: {count}", "与 {base} 不同的设置：{count}"),
    "setting": ("Setting", "设置"),
    "here": ("here", "此处"),
    # Compare
    "chosen": ("Checkpoints to compare", "要比较的检查点"),
    "chosen_info": (
        "Type to search. Those on the Hub are downloaded when they draw.",
        "输入可搜索。Hub 上的检查点在绘制时下载。",
    ),
    "draw_grid": ("Draw them all", "全部绘制"),
    "get_sheet": ("Download the sheet", "下载对照表"),
    "left": ("Left", "左"),
    "right": ("Right", "右"),
    "drawn": ("{count} of {all} drawn", "已绘制 {count} / {all}"),
    "no_photo": ("Choose a photo first.", "请先选择照片。"),
    "no_choice": ("Choose at least one checkpoint.", "请至少选择一个检查点。"),
    "too_many": ("Choose at most {most} checkpoints.", "最多选择 {most} 个检查点。"),
    "course_title": (
        "<h2>The course of an experiment</h2><p>The same photo at every checkpoint, from the warm-up on.</p>",
        "<h2>一个实验的历程</h2><p>同一张照片在每个检查点的样子，从预热开始。</p>",
    ),
    "draw_course": ("Draw its course", "绘制历程"),
    "get_course": ("Download it as a moving picture", "下载为动图"),
    "scrub": ("Moment of the training", "训练时刻"),
    "differences_title": (
        "<h2>What differs</h2><p>The settings in which two experiments differ.</p>",
        "<h2>差别</h2><p>两个实验之间不同的设置。</p>",
    ),
    "one": ("One experiment", "一个实验"),
    "other": ("Another", "另一个实验"),
    "nothing_differs": ("They do not differ in any setting.", "所有设置都相同。"),
    # Experiments
    "steps": ("Steps", "步数"),
    "phase": ("Phase", "阶段"),
    "style": ("Style distance", "风格距离"),
    "content": ("Content distance", "内容距离"),
    "best": ("Measured best", "测得最佳"),
    "curves_title": ("<h2>Curves</h2>", "<h2>曲线</h2>"),
    "overlaid": ("Experiments shown", "显示的实验"),
    "terms_shown": ("Terms", "各项"),
    "smoothing": ("Smoothing", "平滑"),
    "smoothing_info": ("Neighbours averaged on either side", "两侧取平均的点数"),
    "logarithmic": ("Logarithmic", "对数刻度"),
    "step": ("step", "步"),
    "plane_title": (
        "<h2>Style and content</h2><p>Every measured checkpoint is a point; click one to draw with it. "
        "A ring is from the warm-up.</p>",
        "<h2>风格与内容</h2><p>每个测量过的检查点是一个点；点击即用它绘制。圆环表示预热阶段。</p>",
    ),
    "plane_content": ("content distance: 0 keeps everything", "内容距离：0 表示完全保留"),
    "plane_style": ("style distance: lower is more anime", "风格距离：越低越像动漫"),
    "plane_photos": ("photos", "照片"),
    "plane_anime": ("anime", "动漫"),
    "other_scales": (
        "These were not all measured in the same way, so compare only points of one experiment.",
        "测量方式不尽相同，请只比较同一实验的点。",
    ),
    "not_measured": (
        "None of these was measured yet: python -m train.evaluate runs/NAME --data DIR does it.",
        "尚无测量结果：python -m train.evaluate runs/NAME --data DIR 可进行测量。",
    ),
    "not_here": (
        "its curves and samples come with a checkpoint, and none is downloaded yet: draw with one",
        "曲线与样例随检查点下载，目前尚未下载：请先用它绘制一次",
    ),
    "one_title": ("<h2>One experiment</h2>", "<h2>单个实验</h2>"),
    "samples": (
        "<p>The same photos at every checkpoint, and below them what it made of them.</p>",
        "<p>每个检查点都用同样的照片，下方为其结果。</p>",
    ),
    "card_of_record": (
        "This card is made from the record; the checkpoint itself is {size} to download, when it draws.",
        "此卡片由记录生成；检查点本身在绘制时下载（{size}）。",
    ),
    "draw_with": ("Draw with it", "用它绘制"),
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

PREFIX = "animegan."
"""Gradio has words of its own, and keys for them."""
TRANSLATIONS = gr.I18n(
    en={PREFIX + key: english for key, (english, _) in WORDS.items()},
    zh={PREFIX + key: chinese for key, (_, chinese) in WORDS.items()},
)


def label(key: str) -> Any:
    """Words for a label, placeholder or value, in the browser's language."""
    assert key in WORDS, key
    return TRANSLATIONS(PREFIX + key)


def say(key: str, request: gr.Request | None, **values: object) -> str:
    """Words for who asks, in the language that the browser prefers, with `values` filled in. Raises KeyError."""
    language = request.headers.get("accept-language", "") if request else ""
    return WORDS[key][language.lower().startswith("zh")].format(**values)
