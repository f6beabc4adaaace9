"""What the interface says, in English and Chinese; the browser's language decides.

There are two ways to say something: `label` for what stays on the page as it is built, which the browser translates, and
`say` for what is told to one person. The page's own words have a key in `WORDS`. What the code below tells is a `Sentence`,
and `CHINESE` has its Chinese by its English; so is what a record says, as `recorded` reads it. Cards stay as published.
"""

from typing import Any

import gradio as gr
from starlette.requests import HTTPConnection

from animegan_app.chinese import SENTENCES
from hub_export.sentences import Sentence

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
    "not_on_offer": (
        "{name} is not on offer here now. This is what there is; should it come, the page changes to it.",
        "这里目前没有 {name}。以下是现有的内容；一旦出现，页面会切换到它。",
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
    "example_names": ("autumn, mountains, pagoda, room, stream", "秋色, 群山, 宝塔, 房间, 溪流"),
    "experiment": ("Experiment", "实验"),
    "checkpoint": ("Checkpoint", "检查点"),
    "longest_side": ("Longest side at most, in pixels", "最长边上限（像素）"),
    "seconds": ("{side} · ≈ {seconds} s", "{side} · ≈ {seconds} 秒"),
    "warm-up": ("warm-up", "预热"),
    "adversarial": ("adversarial", "对抗"),
    "imitation": ("imitation", "模仿"),
    # The result
    "slider": ("Photo ⇄ anime", "照片 ⇄ 动漫"),
    "strength": ("Strength, %", "强度（%）"),
    "strength_info": ("0 is your photo, more than 100 exaggerates", "0 即原照片，超过 100 则更夸张"),
    "photo_colours": ("Keep the photo's colours, %", "保留照片色彩（%）"),
    "photo_colours_info": ("Light and lines stay anime", "明暗与线条仍为动漫"),
    "format": ("File", "文件格式"),
    "download": ("Download", "下载"),
    "cancel": ("Cancel", "取消"),
    "again": ("Draw it", "绘制"),
    "nothing_to_draw_with": (
        "There is no checkpoint to draw with: train one with {command}, then reload the page",
        "没有可用于绘制的检查点：请用 {command} 训练一个，然后刷新页面",
    ),
    "nothing_for_programs": (
        "There is no checkpoint to draw with: train one with {command}",
        "没有可用于绘制的检查点：请用 {command} 训练一个",
    ),
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
    "pair": ("Left ⇄ right", "左 ⇄ 右"),
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
    "independent_style": ("Independent style distance", "独立风格距离"),
    "independent_content": ("Independent content distance", "独立内容距离"),
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
    "plane_independent_content": (
        "content distance in the independent network: 0 keeps everything",
        "独立网络中的内容距离：0 表示完全保留",
    ),
    "plane_independent_style": (
        "style distance in the independent network: lower is more anime",
        "独立网络中的风格距离：越低越像动漫",
    ),
    "plane_point": ("style %{{y:.3g}}, content %{{x:.3g}}", "风格 %{{y:.3g}}，内容 %{{x:.3g}}"),
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

RECORDS: dict[str, str] = {
    # Questions of experiments
    "What does AnimeGAN's own recipe give, trained from scratch?": "AnimeGAN 自己的配方从零训练，结果如何？",
    "What does AnimeGANv2's own recipe give in Hayao's style?": "AnimeGANv2 自己的配方在宫崎骏风格下结果如何？",
    "What does AnimeGANv2's own recipe give in Paprika's style?": "AnimeGANv2 自己的配方在《红辣椒》风格下结果如何？",
    "What does AnimeGANv2's own recipe give in Shinkai's style?": "AnimeGANv2 自己的配方在新海诚风格下结果如何？",
    "What does AnimeGANv3's own recipe give in Hayao's style?": "AnimeGANv3 自己的配方在宫崎骏风格下结果如何？",
    "What does AnimeGANv3's own recipe give in Shinkai's style?": "AnimeGANv3 自己的配方在新海诚风格下结果如何？",
    "The diary's first run. He saw: outputs drift back to photos. Do they?": (
        "日记中的第一次训练。他看到输出逐渐退回照片。果真如此吗？"
    ),
    "Does a heavier fake term (2.5) make outputs less photographic? He saw: still very realistic.": (
        "更重的假样本项（2.5）会使输出不那么像照片吗？他看到的是：仍然非常写实。"
    ),
    "Does style weight x10 help with ImageNet features? He could not tell it from run 3.": (
        "使用 ImageNet 特征时，风格权重 ×10 有帮助吗？他看不出与第 3 次训练的区别。"
    ),
    "Does it matter whether the feature network is pretrained? He saw: a little more anime, same as run 4.": (
        "特征网络是否预训练有影响吗？他看到的是：稍微更像动漫，与第 4 次训练相同。"
    ),
    "Does fake weight 5 help once the style weight is x10? He saw: first picture a bit anime, the rest realistic.": (
        "风格权重 ×10 之后，假样本权重 5 有帮助吗？他看到的是：第一张有点像动漫，其余仍写实。"
    ),
    "Does a colour style target differ from a gray one? He saw: no visible difference.": (
        "彩色的风格目标与灰度的有区别吗？他看到的是：看不出区别。"
    ),
    "The diary's suggestion after run 5: does fake weight 0.5 keep the discriminator from winning?": (
        "日记在第 5 次训练后的建议：假样本权重 0.5 能使判别器不占上风吗？"
    ),
    "The diary's wish: does dropout keep the discriminator from becoming too good?": (
        "日记中的愿望：dropout 能使判别器不至于过强吗？"
    ),
    "From the issue the diary links: do three generator steps for each discriminator step restore the balance?": (
        "出自日记所链接的讨论：每训练一步判别器就训练三步生成器，能恢复平衡吗？"
    ),
    "Nobody tested it: was the colour loss on [0, 255], added twice, what kept the outputs photographic?": (
        "无人验证过：是不是按 [0, 255] 计算、又加了两次的颜色损失，使输出停留在照片的样子？"
    ),
    "The diary suspected a too strong discriminator. Ours was too weak: does one on frozen features draw anime?": (
        "日记怀疑判别器过强。我们的则过弱：建立在冻结特征上的判别器能画出动漫吗？"
    ),
    "Where the colour loss is not half of all: does style weight x10 help?": (
        "当颜色损失不占总损失的一半时，风格权重 ×10 有帮助吗？"
    ),
    "His weights, made for VGG19, were not heard on MobileNetV2: do the shares of AnimeGAN's terms draw anime?": (
        "他的权重是为 VGG19 设的，在 MobileNetV2 上几乎不起作用：各项占比与 AnimeGAN 相同时，能画出动漫吗？"
    ),
    "The diary's conclusion: is CycleGAN the better way?": "日记的结论：CycleGAN 是更好的办法吗？",
    "The diary missed lines at the edges of objects: does CycleGAN draw them when frames without them count as fake?": (
        "日记觉得物体边缘缺少线条：把没有线条的画面当作假样本，CycleGAN 会画出来吗？"
    ),
    "Does a generator that imitates a painted target, and redraws anime frames, draw where AnimeGAN tints a photo?": (
        "让生成器模仿一幅画好的目标、再重画动画画面，能在 AnimeGAN 只给照片染色的地方真正画出来吗？"
    ),
    "Do shades in steps and heavy lines give a comic?": "分级的明暗加上粗重的线条，能成为漫画吗？",
    "Do warm lights, cool darks and few lines give the painted background of a film?": (
        "暖色的亮部、冷色的暗部和少量线条，能得到电影手绘背景的效果吗？"
    ),
    "Do open shadows and light that spills over give a luminous sky?": "提亮的暗部和溢出的光，能得到明亮的天空吗？",
    "Can a photo of a day be drawn as its evening?": "能把白天的照片画成它的傍晚吗？",
    "Does the whole machine work? Generated pictures, tiny networks, a few steps: seconds on a CPU.": (
        "整套程序能运行吗？生成的图片、极小的网络、几步训练：CPU 上只需数秒。"
    ),
    # What else the records of the checkpoints that ship say
    "Own pictures: photos.": "自有图片：照片。",
    "Photos: BSDS500 (for research), SUN and ImageNet samples (research terms). It starts from cel, which learnt from "
    "stills that Studio Ghibli publishes for common-sense use; not affiliated; research and personal use.": (
        "照片：BSDS500（供研究）、SUN 和 ImageNet 样本（研究条款）。起点是 cel，它学过吉卜力工作室公布的、"
        "可在常识范围内使用的剧照；与其无关联；供研究和个人使用。"
    ),
    "Style Hayao of data, in AnimeGAN's layout.": "data 文件夹中的 Hayao 风格，按 AnimeGAN 的布局。",
    "Photos: BSDS500 (for research), SUN and ImageNet samples (research terms). Frames: stills that Studio Ghibli publishes "
    "for common-sense use; not affiliated; research and personal use.": (
        "照片：BSDS500（供研究）、SUN 和 ImageNet 样本（研究条款）。画面：吉卜力工作室公布的、可在常识范围内使用的剧照；"
        "与其无关联；供研究和个人使用。"
    ),
    "Photos from BSDS500 and the SUN scenes; stills that Studio Ghibli publishes for free use "
    '"within the bounds of common sense".': (
        "照片来自 BSDS500 和 SUN 场景；画面为吉卜力工作室公布的剧照，可“在常识范围内”自由使用。"
    ),
    "Trained on stills Studio Ghibli publishes for common-sense use; not affiliated; research and personal use.": (
        "用吉卜力工作室公布的、可在常识范围内使用的剧照训练；与其无关联；供研究和个人使用。"
    ),
    "Held-out 48 photos and 48 frames, longest side 512; hed-vgg16 conv2_2 and conv3_3 "
    "(its discriminator looked through the same network and layers, which flatters its style); "
    "independent: EfficientNet-Lite0.": (
        "未参与训练的 48 张照片和 48 帧画面，最长边 512；hed-vgg16 的 conv2_2 和 conv3_3"
        "（其判别器用的是同一网络的这些层，因此风格距离偏低）；独立网络：EfficientNet-Lite0。"
    ),
    "Held-out 48 photos and 48 frames, longest side 512; hed-vgg16 conv2_2 and conv3_3 "
    "(same network as trained against, other layers); independent: EfficientNet-Lite0.": (
        "未参与训练的 48 张照片和 48 帧画面，最长边 512；hed-vgg16 的 conv2_2 和 conv3_3"
        "（与训练所用的网络相同，层不同）；独立网络：EfficientNet-Lite0。"
    ),
}
"""What records say, by its English; of what strangers train, the questions alone."""

CHINESE = SENTENCES | RECORDS

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


def say(what: str | Sentence, request: gr.Request | HTTPConnection | None, **values: object) -> str:
    """Tells something to who asks, in the language that the browser prefers. Without a request, in English.

    Args:
        what: a key of `WORDS`, or a Sentence, which brings its own values.
        values: what is filled in; a Sentence among them is translated too, all else stays as it is.

    Raises:
        KeyError: no such key.
    """
    if isinstance(what, Sentence):
        english, values = what.english, what.values
        chinese = CHINESE.get(english, english)
    else:
        english, chinese = WORDS[what]
    if request is None or not request.headers.get("accept-language", "").lower().startswith("zh"):
        return english.format(**values)
    inner = {name: say(value, request) if isinstance(value, Sentence) else value for name, value in values.items()}
    return chinese.format(**inner)


def recorded(text: str) -> Sentence:
    """What a record says: a stranger's words stay as they are, unless they are among `RECORDS`."""
    whole = text.removeprefix("On two CPU cores: ")
    question, changed, settings = whole.partition(", changed: ")
    told = Sentence(question) if question in RECORDS else Sentence("{text}", text=question)
    if changed:
        told = Sentence("{question}, changed: {settings}", question=told, settings=settings)
    return told if whole == text else Sentence("On two CPU cores: {question}", question=told)
