"""What the interface says, in English and Chinese; the browser's language decides.

There are two ways to say something: `label` for what stays on the page as it is built, which the browser translates, and
`say` for what is told to one person. The page's own words have a key in `WORDS`. What the code below tells is a `Sentence`,
and `CHINESE` has its Chinese by its English; so is what a record says, as `recorded` reads it. Cards stay as published.
"""

import re
from typing import Any

import gradio as gr
from starlette.requests import HTTPConnection

from animegan_app.chinese import SENTENCES
from hub_export.sentences import Sentence

WORDS: dict[str, tuple[str, str]] = {
    # The frame
    "title": (
        "<h1>AnimeGAN laboratory</h1><p>Your photo, drawn as anime: choose a look.</p>",
        "<h1>AnimeGAN 实验室</h1><p>把你的照片画成动漫：选一种画风。</p>",
    ),
    "no_checkpoint": (
        "There is no checkpoint yet. Train one with <code>{command}</code>.",
        "还没有检查点。请用 <code>{command}</code> 训练一个。",
    ),
    "not_on_offer": (
        "{name} is not on offer here now. This is what there is; should it come, the page changes to it.",
        "这里目前没有 {name}。以下是现有的内容；一旦出现，页面会切换到它。",
    ),
    "stylize": ("Stylise", "风格化"),
    "compare": ("Compare", "比较"),
    "video": ("Video", "视频"),
    "experiments": ("Experiments", "实验"),
    "sources": ("Sources", "来源"),
    "bundled": ("bundled", "内置"),
    "local": ("local runs", "本地训练"),
    "hub": ("Hugging Face Hub", "Hugging Face Hub"),
    # A photo and what is chosen
    "photo": ("Photo", "照片"),
    "photo_bar": (
        "<div class='bar'><button type='button' class='choose'><span class='first'>Choose a photo</span>"
        "<span class='other'>Another photo</span></button><button type='button' class='camera'>Camera</button>"
        "<button type='button' class='remove' aria-label='Remove the photo' title='Remove the photo'>✕</button></div>"
        "<p class='hint'><span class='drop'>Or drop or paste one anywhere. </span>"
        "It is sent nowhere else and deleted within two hours.</p>",
        "<div class='bar'><button type='button' class='choose'><span class='first'>选择照片</span>"
        "<span class='other'>换一张</span></button><button type='button' class='camera'>拍照</button>"
        "<button type='button' class='remove' aria-label='移除照片' title='移除照片'>✕</button></div>"
        "<p class='hint'><span class='drop'>也可以拖放或粘贴到页面任意位置。</span>照片不会发往别处，两小时内删除。</p>",
    ),
    "drop": ("Drop or paste a photo\n- or -\nclick to choose one", "拖放或粘贴照片\n- 或 -\n点击选择"),
    "examples": ("Or try one of these", "或试试这些"),
    "example_names": ("Food, Animals, Face, Landscape, Night, Street", "美食, 动物, 人像, 风景, 夜景, 街景"),
    "experiment": ("Experiment", "实验"),
    "checkpoint": ("Checkpoint", "检查点"),
    "longest_side": ("Drawing size: longest side, in pixels", "绘制时的最长边（像素）"),
    "strokes": ("Strokes", "笔触"),
    "strokes_info": (
        "The longest side of what is drawn. The download has your photo's own size",
        "绘制时的最长边；下载的图片与照片同样大小",
    ),
    "side_512": ("Bold · {side} px", "粗放 · {side} 像素"),
    "side_768": ("Balanced · {side} px", "适中 · {side} 像素"),
    "side_1024": ("Fine · {side} px", "细致 · {side} 像素"),
    "side_1536": ("Finest · {side} px", "最细 · {side} 像素"),
    "seconds": ("{words} · {seconds} s", "{words} · {seconds} 秒"),
    "phase_warm-up": ("warm-up", "预热"),
    "phase_adversarial": ("adversarial", "对抗"),
    "phase_imitation": ("imitation", "模仿"),
    # The result
    "first_sight": ("An example. Choose a photo to see yours.", "这是示例。选一张照片，看看你自己的。"),
    "slider": ("Photo ⇄ drawing", "照片 ⇄ 画"),
    "halves": (
        "<span class='half before'>Photo</span><span class='half after'>Drawing</span>",
        "<span class='half before'>照片</span><span class='half after'>画</span>",
    ),
    "looks": ("Looks", "画风"),
    "good_for": ("good for {photos}", "适合{photos}"),
    "laboratory": ("Laboratory: experiments, strokes, colours", "实验室：实验、笔触、色彩"),
    "strength": ("Strength, %", "强度（%）"),
    "strength_info": ("0 is your photo, more than 100 exaggerates", "0 即原照片，超过 100 则更夸张"),
    "photo_colours": ("Keep the photo's colours, %", "保留照片色彩（%）"),
    "photo_colours_info": ("Light and lines stay anime", "明暗与线条仍为动漫"),
    "format": ("File", "文件格式"),
    "download": ("Download", "下载"),
    "cancel": ("Cancel", "取消"),
    "again": ("Draw it", "绘制"),
    "no_photo": ("Choose a photo first.", "请先选择照片。"),
    "nothing_to_draw_with": (
        "There is no checkpoint to draw with: train one with {command}, then reload the page",
        "没有可用于绘制的检查点：请用 {command} 训练一个，然后刷新页面",
    ),
    "drawn_in": (
        "{name}, drawn in {seconds} s. The download has {full} px.",
        "{name}，用时 {seconds} 秒。下载的图片为 {full} 像素。",
    ),
    "size": ("{size} px", "{size} 像素"),
    "drawn_at": ("drawn at {size} px", "以 {size} 像素绘制"),
    "weights": ("weights {sha}", "权重 {sha}"),
    "commit": ("commit {sha}", "提交 {sha}"),
    # What is kept
    "keep": ("Keep…", "保存与分享…"),
    "share": ("Share…", "分享…"),
    "copy": ("Copy the picture", "复制图片"),
    "collage": ("Before and after, one picture", "前后对比拼图"),
    "moving": ("<p>Moving, 3 s</p>", "<p>三秒动图</p>"),
    "copy_link": ("Copy a link to this look", "复制此画风的链接"),
    "copy_comparison": ("Copy a link to this comparison", "复制此比较的链接"),
    "copied": ("The picture is copied.", "图片已复制。"),
    "link_copied": ("The link is copied: what is chosen, not the photo.", "链接已复制：含所选内容，不含照片。"),
    "not_copied": ("The browser did not let it be copied: download it instead.", "浏览器不允许复制：请改为下载。"),
    "not_shared": ("The browser did not let it be shared: download it instead.", "浏览器不允许分享：请改为下载。"),
    "visit": ("Drawn in this visit", "本次绘制"),
    "several": ("Several photos at once", "一次画多张照片"),
    "several_files": ("Up to 50 photos, drawn with the look and settings above", "最多 50 张照片，按上方的画风与设置绘制"),
    "several_draw": ("Draw all into a zip", "全部绘制并打包"),
    "zip_full": (
        "{name} and what follows it did not fit into {most} MB: draw those by themselves.",
        "{name} 及其后的照片超出 {most} MB：请另行绘制。",
    ),
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
    "compare_about": (
        "<p>Your photos, or the examples, drawn by several checkpoints. Tap a picture to enlarge it beside others.</p>",
        "<p>用多个检查点绘制你的照片（不选则用示例）。点按任意图片，即可与其他图片并排放大。</p>",
    ),
    "compare_photos": ("Photos", "照片"),
    "chosen": ("Checkpoints", "检查点"),
    "chosen_info": (
        "Type to search. Those on the Hub are downloaded when they draw.",
        "输入可搜索。Hub 上的检查点在绘制时下载。",
    ),
    "draw_grid": ("Draw them all", "全部绘制"),
    "get_sheet": ("Download the sheet", "下载对照表"),
    "drawn": ("{count} of {all} drawn", "已绘制 {count} / {all}"),
    "grid_name": ("Photos by checkpoints", "照片与检查点对照"),
    "failed": ("Not drawn: ", "未绘制："),
    "enlarge": ("Enlarge", "放大"),
    "enlarged": ("Enlarged pictures", "放大的图片"),
    "side_by_side": ("Shown side by side, up to four", "并排显示，最多四张"),
    "difference": ("Difference", "差异"),
    "mean": ("mean", "平均"),
    "close": ("Close", "关闭"),
    "previous": ("Previous photo", "上一张照片"),
    "next": ("Next photo", "下一张照片"),
    "nearer": ("Zoom in", "放大"),
    "farther": ("Zoom out", "缩小"),
    "fit": ("Fit", "适合窗口"),
    "hint": (
        "Zoom: + − 0, pinch or Ctrl and wheel. Move: drag or arrow keys. Other photo: Page Up, Page Down",
        "缩放：+ − 0、双指或 Ctrl 加滚轮。移动：拖动或方向键。换照片：Page Up、Page Down",
    ),
    "no_choice": ("Choose at least one checkpoint.", "请至少选择一个检查点。"),
    "too_many": ("Choose at most {most} checkpoints.", "最多选择 {most} 个检查点。"),
    "blind_fold": ("Blind test: which is more of a drawing?", "盲测：哪一幅更像画？"),
    "blind_about": (
        "<p>Two checkpoints draw each photo; you choose without knowing which is whose, by tap or with ← and →.</p>",
        "<p>两个检查点各画一遍每张照片；你在不知道是谁画的情况下选择，点按或按 ← →。</p>",
    ),
    "blind_title_plain": ("Which is more of a drawing?", "哪一幅更像画？"),
    "blind_one": ("One checkpoint", "一个检查点"),
    "blind_other": ("Another checkpoint", "另一个检查点"),
    "blind_start": ("Draw and ask me", "绘制并让我选"),
    "blind_question": ("Which is more of a drawing?", "哪一幅更像画？"),
    "blind_left": ("The left one", "左边这幅"),
    "blind_right": ("The right one", "右边这幅"),
    "blind_neither": ("No difference (↓)", "没有差别（↓）"),
    "blind_over": ("You chose", "你的选择"),
    "blind_csv": ("Your answers as a table (CSV)", "你的回答（CSV 表格）"),
    "too_many_photos": ("Choose at most {most} photos.", "最多选择 {most} 张照片。"),
    "same_twice": ("Choose two different checkpoints.", "请选择两个不同的检查点。"),
    "course_fold": ("The course of an experiment", "一个实验的历程"),
    "course_about": (
        "<p>The first photo at every checkpoint, from the warm-up on.</p>",
        "<p>第一张照片在每个检查点的样子，从预热开始。</p>",
    ),
    "draw_course": ("Draw its course", "绘制历程"),
    "get_course": ("Download it as a moving picture", "下载为动图"),
    "scrub": ("Moment of the training", "训练时刻"),
    "differences_fold": ("What differs between two experiments", "两个实验的差别"),
    "differences_about": (
        "<p>The settings in which two experiments differ.</p>",
        "<p>两个实验之间不同的设置。</p>",
    ),
    "one": ("One experiment", "一个实验"),
    "other": ("Another", "另一个实验"),
    "nothing_differs": ("They do not differ in any setting.", "所有设置都相同。"),
    # Video
    "clip": ("Clip", "视频"),
    "clip_limits": (
        "<p>MP4, MOV, MKV, WebM or AVI, up to 30 seconds and 50 MB. Sound, length and frame rate stay.</p>",
        "<p>MP4、MOV、MKV、WebM 或 AVI，最长 30 秒、50 MB。声音、时长和帧率保持不变。</p>",
    ),
    "clip_side_info": (
        "Smaller: bolder and faster. Enlarged to the clip's own size",
        "越小越粗放、越快；随后放大到视频原来的大小",
    ),
    "clip_strength_info": ("0 is your clip, more than 100 exaggerates", "0 即原视频，超过 100 则更夸张"),
    "steady": ("Steady", "稳定"),
    "steady_info": (
        "Less flicker where nothing moves; slow and faint motion lags",
        "静止处闪烁更少；缓慢而微弱的运动会滞后",
    ),
    "draws_with": ("Draws with {name}, as chosen for photos.", "使用为照片选择的 {name} 绘制。"),
    "drawn_clip": ("Anime", "动漫"),
    "no_clip": ("Choose a clip first.", "请先选择视频。"),
    "clip_length": ("{seconds} s, {frames} frames", "{seconds} 秒，{frames} 帧"),
    # Experiments
    "steps": ("Steps", "步数"),
    "phase": ("Phase", "阶段"),
    "style": ("Style distance", "风格距离"),
    "content": ("Content distance", "内容距离"),
    "independent_style": ("Independent style distance", "独立风格距离"),
    "independent_content": ("Independent content distance", "独立内容距离"),
    "best": ("Measured best", "测得最佳"),
    "overview": ("Overview", "总览"),
    "curves": ("Curves", "曲线"),
    "plane": ("Plane", "风格与内容"),
    "samples_tab": ("Samples", "样例"),
    "running": ("is running", "正在训练"),
    "running_step": ("is running, step {step} of {steps}", "正在训练，第 {step} 步，共 {steps} 步"),
    "running_open": ("is running, step {step}", "正在训练，第 {step} 步"),
    "time_left": ("{line}, {time} left", "{line}，还需 {time}"),
    "open_it": ("Open", "查看"),
    "search": ("Search experiments", "搜索实验"),
    "columns": ("Columns", "列"),
    "download_csv": ("CSV", "CSV"),
    "download_json": ("JSON", "JSON"),
    "nothing_found": ("No experiment has these words.", "没有包含这些文字的实验。"),
    "all_experiments": ("All experiments", "所有实验"),
    "what": ("What is", "说明："),
    "verdict_unmeasured": ("Not measured yet.", "尚未测量。"),
    "verdict_unscaled": ("Style distance {figure}; lower is more anime.", "风格距离 {figure}；越低越像动漫。"),
    "verdict_photo": (
        "Cannot be told from a photo by its textures: at most {bound} % of the way to anime.",
        "从质感上看与照片无异：到动漫的路最多走了 {bound} %。",
    ),
    "verdict_way": (
        "{way} % of the way from photo to anime by its textures; eyes may differ.",
        "按质感测量，从照片到动漫走了 {way} % 的路；观感可能不同。",
    ),
    "verdict_farther": (
        "Its textures are farther from anime than a photo's, by {way} % of the way between them; eyes may differ.",
        "从质感上看比照片离动漫更远，差两者间距的 {way} %；观感可能不同。",
    ),
    "about_style": (
        "How far its textures are from anime's, in the network it was trained against. Lower is more anime.",
        "其质感与动漫的距离，用训练时所对照的网络测量。越低越像动漫。",
    ),
    "about_independent_style": (
        "How far its textures are from anime's, in a network that nothing was trained against. Lower is more anime.",
        "其质感与动漫的距离，用与训练无关的网络测量。越低越像动漫。",
    ),
    "about_content": (
        "How far it leaves the photo, in the network it was trained against. 0 is the photo itself; lower keeps more.",
        "偏离照片的程度，用训练时所对照的网络测量。0 即照片本身；越低保留越多。",
    ),
    "about_independent_content": (
        "How far it leaves the photo, in a network that nothing was trained against. 0 is the photo itself; lower keeps "
        "more.",
        "偏离照片的程度，用与训练无关的网络测量。0 即照片本身；越低保留越多。",
    ),
    "about_colour": (
        "How far its colours are from the photo's. 0 is the photo itself; neither way is better.",
        "其颜色与照片的距离。0 即照片本身；高低无所谓好坏。",
    ),
    "about_flat": (
        "How much of the picture is flat. Nearer to anime's value is more anime.",
        "画面中平坦部分所占的比例。越接近动漫的数值越像动漫。",
    ),
    "about_lines": (
        "How much of the picture is thin dark lines. Nearer to anime's value is more anime.",
        "画面中细暗线条所占的比例。越接近动漫的数值越像动漫。",
    ),
    "about_texture": (
        "How much of the picture is fine texture. Nearer to anime's value is more anime.",
        "画面中细碎纹理所占的比例。越接近动漫的数值越像动漫。",
    ),
    "about_drawn": (
        "How many of its thin dark lines run through calm places, as drawn ones do. Nearer to anime's value is more anime.",
        "细暗线条中，有多少像画出来的那样穿过平静之处。越接近动漫的数值越像动漫。",
    ),
    "about_best": (
        "Its measured checkpoint with the lowest style distance, whose figures these are.",
        "测得风格距离最低的检查点，表中即其数值。",
    ),
    "about_steps": ("How many steps its newest checkpoint was trained for.", "最新检查点训练的步数。"),
    "about_compute": ("How long its training took so far.", "目前训练所用的时间。"),
    "device": ("Device", "设备"),
    "term_generator": (
        "What the generator minimises, a weighted sum. Lower is nearer to its aim; between experiments with other weights "
        "it says nothing.",
        "生成器所最小化的加权和。越低越接近目标；权重不同的实验之间不可比较。",
    ),
    "term_content": (
        "How far drawings leave the photo's content, as trained. Lower keeps more of the photo.",
        "训练中绘图偏离照片内容的程度。越低保留越多。",
    ),
    "term_style": (
        "How far drawings' textures are from anime's, as trained. Lower is more anime.",
        "训练中绘图质感与动漫的距离。越低越像动漫。",
    ),
    "term_d_real": (
        "The discriminator's loss on anime. Near 0 it knows anime well; one that wins everywhere teaches nothing.",
        "判别器在动漫画面上的损失。接近 0 表示它很会辨认动漫；若处处获胜则教不了什么。",
    ),
    "term_d_fake": (
        "The discriminator's loss on drawings. Near 0 it tells them from anime at once.",
        "判别器在绘图上的损失。接近 0 表示它一眼就能分辨。",
    ),
    "meanings": ("What these mean", "这些数值的含义"),
    "how_measured": ("How this was measured", "测量方法"),
    "card_fold": ("Model card", "模型卡片"),
    "overlaid": ("Experiments (choose more to lay them over each other)", "实验（可多选叠加）"),
    "terms_fold": ("Terms and smoothing", "各项与平滑"),
    "terms_shown": ("Terms", "各项"),
    "smoothing": ("Smoothing", "平滑"),
    "smoothing_info": ("Neighbours averaged on either side", "两侧取平均的点数"),
    "logarithmic": ("Logarithmic", "对数刻度"),
    "step": ("step", "步"),
    "plane_about": (
        "<p>Every measured checkpoint is a point; click one to draw with it. A ring is from the warm-up, a bar the error. "
        "In the legend, a click hides an experiment, two clicks show it alone.</p>",
        "<p>每个测量过的检查点是一个点；点击即用它绘制。圆环表示预热阶段，竖线表示误差。"
        "在图例中单击可隐藏一个实验，双击则只显示它。</p>",
    ),
    "plane_content": ("content distance: 0 keeps everything", "内容距离：0 表示完全保留"),
    "plane_style": ("style distance: lower is more anime", "风格距离：越低越像动漫"),
    "plane_independent_content": (
        "content distance: 0 keeps everything<br>(independent network)",
        "内容距离：0 表示完全保留<br>（独立网络）",
    ),
    "plane_independent_style": (
        "style distance: lower is more anime<br>(independent network)",
        "风格距离：越低越像动漫<br>（独立网络）",
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
    "Nobody tested it: was the colour loss on [0, 255] what kept the outputs photographic?": (
        "无人验证过：是不是按 [0, 255] 计算的颜色损失，使输出停留在照片的样子？"
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
    "Can a generator draw that has seen photos alone, and no anime frame?": "只见过照片、没见过动画画面的生成器，会画画吗？",
    "Does the whole machine work? Generated pictures, tiny networks, a few steps: seconds on a CPU.": (
        "整套程序能运行吗？生成的图片、极小的网络、几步训练：CPU 上只需数秒。"
    ),
    # What else the records of the checkpoints that ship say
    "Held-out 48 photos and 48 frames, longest side 512; hed-vgg16 conv2_2 and conv3_3; independent: EfficientNet-Lite0.": (
        "未参与训练的 48 张照片和 48 帧画面，最长边 512；hed-vgg16 的 conv2_2 和 conv3_3；独立网络：EfficientNet-Lite0。"
    ),
    "Photos: BSDS500 (for research), SUN and ImageNet samples (research terms). Frames: stills that Studio Ghibli publishes "
    "for common-sense use; not affiliated; research and personal use.": (
        "照片：BSDS500（供研究）、SUN 和 ImageNet 样本（研究条款）。画面：吉卜力工作室公布的、可在常识范围内使用的剧照；"
        "与其无关联；供研究和个人使用。"
    ),
    "Photos: BSDS500 (for research), SUN and ImageNet samples (research terms). No anime frame.": (
        "照片：BSDS500（供研究）、SUN 和 ImageNet 样本（研究条款）。没有动画画面。"
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
    "(same network and layers as trained against, which flatters its style); independent: EfficientNet-Lite0.": (
        "未参与训练的 48 张照片和 48 帧画面，最长边 512；hed-vgg16 的 conv2_2 和 conv3_3"
        "（与训练所用的网络和层相同，因此风格距离偏低）；独立网络：EfficientNet-Lite0。"
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
GRADIO_LACKS = {"common.upload": ("Upload", "上传")}
"""Keys that Gradio's own parts ask for and no language of Gradio has."""
TRANSLATIONS = gr.I18n(
    en={PREFIX + key: english for key, (english, _) in WORDS.items()} | {key: pair[0] for key, pair in GRADIO_LACKS.items()},
    zh={PREFIX + key: chinese for key, (_, chinese) in WORDS.items()} | {key: pair[1] for key, pair in GRADIO_LACKS.items()},
)


def label(key: str) -> Any:
    """Words for a label, placeholder or value, in the browser's language."""
    assert key in WORDS, key
    return TRANSLATIONS(PREFIX + key)


def is_chinese(request: gr.Request | HTTPConnection | None) -> bool:
    """Whether who asks reads Chinese."""
    return request is not None and request.headers.get("accept-language", "").lower().startswith("zh")


def language_of(request: gr.Request | HTTPConnection | None) -> str:
    """What who asks reads, as the page tells it: "en", "zh" or another, which is answered in English."""
    header = request.headers.get("accept-language", "") if request else ""
    return re.split("[,;-]", header.lower() or "en")[0][:8]


def say(what: str | Sentence, request: gr.Request | HTTPConnection | None, **values: object) -> str:
    """Tells something to who asks, in the language that the browser prefers. Without a request, in English.

    Args:
        what: a key of `WORDS`, or a Sentence, which brings its own values.
        values: what is filled in; a Sentence among them is translated too, all else stays as it is.

    Raises:
        KeyError: no such key.
    """
    if isinstance(what, Sentence):
        if not is_chinese(request):
            return str(what)
        chinese, values = CHINESE.get(what.english, what.english), what.values
        if not values:
            return chinese  # its braces are braces
    else:
        english, chinese = WORDS[what]
        if not is_chinese(request):
            return english.format(**values)
    inner = {name: say(value, request) if isinstance(value, Sentence) else value for name, value in values.items()}
    return chinese.format(**inner)


def recorded(text: str) -> Sentence:
    """What a record says: a stranger's words stay as they are, unless they are among `RECORDS`."""
    if layout := re.fullmatch(r"Style (?P<style>\S+) of (?P<folder>.+), in AnimeGAN's layout\.", text):
        return Sentence("Style {style} of {folder}, in AnimeGAN's layout.", **layout.groupdict())
    whole = text.removeprefix("On two CPU cores: ")
    question, changed, settings = whole.partition(", changed: ")
    sentence = Sentence(question) if question in RECORDS else Sentence("{text}", text=question)
    if changed:
        sentence = Sentence("{question}, changed: {settings}", question=sentence, settings=settings)
    return sentence if whole == text else Sentence("On two CPU cores: {question}", question=sentence)


def device(text: str) -> Sentence:
    """What a record was computed on. A training without a GPU says how many cores it had."""
    name, comma, cores = text.rpartition(", ")
    count = cores.removesuffix("s").removesuffix(" core")
    if comma and count.isdecimal():
        return Sentence("{device}, {cores} cores" if count != "1" else "{device}, {cores} core", device=name, cores=count)
    return Sentence("{text}", text=text)
