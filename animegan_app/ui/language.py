"""The language of the page, which is the browser's until somebody chooses another in Gradio's settings: all follows that.

Gradio translates what it shows and what `label` gives. What is asked of the server is asked in the page's language, so that
`say` answers in it; what Gradio says in English alone is replaced where it stands.
"""

import json

from animegan_app.ui.components import ERROR_SECONDS
from animegan_app.ui.i18n import WORDS

OWN = ("stylize", "compare", "video", "experiments", "sources", "slider")
"""Keys of what Gradio translates once alone: the names of tabs, and those that a script took over."""
GRADIO: dict[str, str] = {
    "Error": "错误",
    "Info": "提示",
    "Warning": "警告",
    "Close": "关闭",
    "Clear": "清除",
    "Remove Image": "移除图片",
    "Remove this file": "移除此文件",
    "Clear all files": "清除所有文件",
    "Download": "下载",
    "Fullscreen": "全屏",
    "Exit fullscreen mode": "退出全屏",
    "Reset to default value": "恢复默认值",
    "Upload file": "上传文件",
    "Paste from clipboard": "从剪贴板粘贴",
    "Capture from camera": "拍照",
    "Remove": "移除",
    "Empty value": "空",
    "Click to upload or drop files": "点击上传，或拖放文件",
    "Image Slider": "图片滑块",
    "Next image": "下一张图片",
    "Previous image": "上一张图片",
    "Zoom in": "放大",
    "Zoom out": "缩小",
    "Reset zoom": "恢复大小",
    "Toggle fullscreen": "切换全屏",
    "open camera": "打开相机",
    "capture photo": "拍照",
    "select input source": "选择摄像头",
    "Undo": "恢复大小",
    "undo": "恢复大小",
    "Drop an image file here to upload": "拖放图片到此处上传",
    "File upload": "上传文件",
    "Gradio footer navigation": "页脚",
    "play-pause-replay-button": "播放或暂停",
    "full-screen": "全屏",
    "Download plot as a PNG": "下载为 PNG",
    "Zoom": "缩放",
    "Pan": "平移",
    "Reset axes": "恢复坐标轴",
}
"""What Gradio's parts on this page are called for screen readers, and the titles of messages; its Chinese lacks them."""

PATTERNS: list[tuple[str, str, str]] = [
    (
        r"^File\(s\) exceed the maximum allowed size of (.+?): (.+)$",
        "$2 is larger than $1: save it smaller.",
        "$2 超过 $1：请另存为小一点的文件。",
    ),
    (
        r"^Invalid file types?: (.+)\. Only .*image/.* allowed\.$",
        "$1 is no photo: choose one saved as JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF.",
        "$1 不是照片：请选择 JPEG、PNG、WebP、AVIF、HEIC、GIF、BMP 或 TIFF 格式的照片。",
    ),
    (
        r"^Invalid file types?: (.+)\. Only (.+) allowed\.$",
        "$1 cannot be taken here. What can: $2",
        "这里不能使用 $1，可以使用：$2",
    ),
    (r"^number input for (.+)$", "$1", "$1"),
    (r"^range slider for (.+)$", "$1", "$1"),
    (r"^Thumbnail (\d+) of (\d+)$", "$&", "第 $1 张，共 $2 张"),
    (r'^\{"detail":"(.+)"\}$', "$1", "$1"),
]
"""What Gradio's page makes up by itself, and each in English and Chinese; the last is our refusal."""


def _words() -> dict[str, str]:
    """English to Chinese."""
    return GRADIO | dict(WORDS[key] for key in OWN)


FOLLOW = (
    """
const root = document.documentElement, chinese = () => root.lang.toLowerCase().startsWith("zh");
const words = WORDS, english = Object.fromEntries(Object.entries(words).map(([key, value]) => [value, key]));
const patterns = PATTERNS.map(([pattern, ...forms]) => [new RegExp(pattern, "s"), forms]);
const word = (text) => patterns.reduce(
    (said, [pattern, forms]) => said.replace(pattern, forms[chinese() ? 1 : 0]),
    (chinese() ? words : english)[text] ?? text,
);
const translate = (part) => {
    if (part.nodeType === Node.TEXT_NODE) part = part.parentElement;
    if (!part?.querySelectorAll) return;
    for (const each of [part, ...part.querySelectorAll("[aria-label], [title]")]) {
        const token = each.matches(".token-remove") && each.parentElement.querySelector("span")?.textContent;
        for (const name of ["aria-label", "title"]) {
            const text = each.getAttribute(name), said = token ? text?.replace(/ \\d+$/, () => ` ${token}`) : text;
            const own = said && word(said);
            if (own && own !== text) each.setAttribute(name, own);
        }
    }
    for (const each of document.querySelectorAll("[data-testid='toast-body'], #tabs > .tab-wrapper [role='tab']")) {
        const texts = document.createTreeWalker(each, NodeFilter.SHOW_TEXT);
        for (let node = texts.nextNode(); node; node = texts.nextNode()) {
            const text = node.data.trim(), own = word(text);
            if (own !== text) node.data = own;
        }
    }
};
const close = () => document.querySelectorAll("[data-testid='toast-close']").forEach((button) => button.click());
const vanish = (part) => {
    const button = part.querySelector?.("[data-testid='toast-close']");
    if (button) setTimeout(() => button.isConnected && button.click(), MOST);
};
for (const act of ["change", "drop"]) document.addEventListener(act, close, true);
const named = () => { document.title = element.querySelector("h1").textContent; };
const ask = window.fetch;
window.fetch = (resource, options) => {
    const request = new Request(resource, options);
    if (root.lang && new URL(request.url).origin === location.origin) request.headers.set("Accept-Language", root.lang);
    return ask(request);
};
let spoken = root.lang;
new MutationObserver(() => {
    if (root.lang === spoken) return;
    spoken = root.lang;
    translate(document.body);
    trigger("submit");
}).observe(root, { attributeFilter: ["lang"] });
new MutationObserver((changes) => {
    for (const { addedNodes, target, type } of changes) {
        if (type === "attributes") translate(target);
        addedNodes.forEach((part) => { translate(part); vanish(part); });
    }
}).observe(document.body, { childList: true, subtree: true, attributeFilter: ["aria-label", "title"] });
new MutationObserver(named).observe(element, { childList: true, subtree: true, characterData: true });
translate(document.body);
named();
""".replace("MOST", str(1000 * ERROR_SECONDS))
    .replace("WORDS", json.dumps(_words()))
    .replace("PATTERNS", json.dumps(PATTERNS))
)
"""For the part that holds the page's title: names the browser's tab, and tells of another language by `submit`.

A message goes after seconds, whoever gave it, and as soon as the person does something about it: chooses or changes.
"""
