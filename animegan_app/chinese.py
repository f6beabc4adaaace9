"""The Chinese of what the code below the interface tells, by its English: whole sentences, and the parts that they name.

A key is the template of a `Sentence`; both languages have the same {names}. A sentence that is not here is told in English.
"""

SENTENCES: dict[str, str] = {
    # Photos
    "This file is not a picture that can be read: choose a photo saved as JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF.": (
        "此文件不是可读取的图片：请选择 JPEG、PNG、WebP、AVIF、HEIC、GIF、BMP 或 TIFF 格式的照片。"
    ),
    "This is a raw photo, of which only a small preview could be read: open it in a photo program and save it as JPEG.": (
        "这是 RAW 原始照片，只能读到其中的小预览图：请用照片软件打开并另存为 JPEG。"
    ),
    "The picture file is damaged or cut off: open it in a picture viewer and save it again.": (
        "图片文件已损坏或不完整：请用看图软件打开并重新保存。"
    ),
    "The picture has too many pixels: scale it down to at most {most} megapixels.": (
        "图片像素过多：请缩小到 {most} 百万像素以内。"
    ),
    "The picture has {width} × {height} pixels, which is too many: scale it down to at most {most} megapixels.": (
        "图片有 {width} × {height} 像素，过大：请缩小到 {most} 百万像素以内。"
    ),
    "The picture is a strip of {width} × {height} pixels: crop it to at most {most} : 1.": (
        "图片是 {width} × {height} 像素的长条：请裁剪到 {most} : 1 以内。"
    ),
    "The picture has {count} scans or more, which take too long to decode: open it in a picture viewer and save it again.": (
        "图片有 {count} 次或更多扫描，解码耗时过长：请用看图软件打开并重新保存。"
    ),
    "The picture takes too long to decode: open it in a picture viewer and save it again.": (
        "图片解码耗时过长：请用看图软件打开并重新保存。"
    ),
    "The picture takes too much memory: open it in a picture viewer and save it again.": (
        "图片占用内存过多：请用看图软件打开并重新保存。"
    ),
    "The picture cannot be decoded: open it in a picture viewer and save it again.": (
        "图片无法解码：请用看图软件打开并重新保存。"
    ),
    "The file is larger than {most} MB: save the photo as JPEG.": "文件大于 {most} MB：请另存为 JPEG。",
    "The picture has 32-bit gray values of unknown range: save it with 8 or 16 bits.": (
        "图片是范围不明的 32 位灰度值：请保存为 8 位或 16 位。"
    ),
    "{width} × {height} pixels are too many to draw at once: scale the photo down.": (
        "{width} × {height} 像素过多，无法一次绘制：请缩小照片。"
    ),
    "The photo is no longer here: choose it again.": "照片已不在这里：请重新选择。",
    "Too many drawings are waited for here: try again in a minute.": "等待绘制的过多：请一分钟后再试。",
    "The longest side must be one of {sides} pixels.": "最长边必须是以下像素值之一：{sides}。",
    "strength must be from 0 to {most}.": "strength 必须在 0 到 {most} 之间。",
    "photo_colours must be from 0 to 100.": "photo_colours 必须在 0 到 100 之间。",
    "Downloading {size} from {name} on the Hugging Face Hub": "正在从 Hugging Face Hub 上的 {name} 下载 {size}",
    "Waiting for 1 drawing before this one": "前面还有 1 幅，请稍候",
    "Waiting for {count} drawings before this one": "前面还有 {count} 幅，请稍候",
    "Reading the photo": "正在读取照片",
    "Drawing {width} × {height} px": "正在绘制 {width} × {height} 像素",
    "Raising the drawing to {width} × {height} px": "正在放大到 {width} × {height} 像素",
    # Clips
    "This file is not a clip that can be read: choose an MP4, MOV, MKV, WebM or AVI.": (
        "此文件不是可读取的视频：请选择 MP4、MOV、MKV、WebM 或 AVI。"
    ),
    "The clip is {seconds} s long: cut it to at most {most} s.": "视频长 {seconds} 秒：请剪到最多 {most} 秒。",
    "The clip is longer than it says: open it in a video program and save it again.": (
        "视频比文件所标的更长：请用视频软件打开并重新保存。"
    ),
    "The clip has frames of {width} × {height} pixels: scale it down to at most {most} megapixels.": (
        "视频画面为 {width} × {height} 像素：请缩小到最多 {most} 百万像素。"
    ),
    "The clip is damaged or of a kind that cannot be read: open it in a video program and save it as MP4.": (
        "视频已损坏或无法读取：请用视频软件打开并保存为 MP4。"
    ),
    "The clip takes too much time or memory: cut it, or scale it down.": "视频耗时或占用内存过多：请剪短或缩小。",
    "The clip cannot be written: {why}": "无法写入视频：{why}",
    "Drawing the clip at {side} px": "正在以 {side} 像素绘制视频",
    # What is kept
    "Making the moving picture": "正在生成动图",
    "There is no checkpoint to draw with.": "没有可用于绘制的检查点。",
    "The moving picture cannot be made: try a smaller photo.": "无法生成动图：请换一张小一点的照片。",
    # Requests
    "This app answers to its own names alone: {setting}=NAME, set where it is started, adds one.": (
        "本应用只以自己的名称应答：启动时设置 {setting}=名称，可添加一个。"
    ),
    "There is nothing here.": "这里什么也没有。",
    "This is more than one request may bring.": "超过了一次请求允许的大小。",
    "Too many requests from here are waited for: try again in a minute.": "来自这里的等待请求过多：请一分钟后再试。",
    "Too much was uploaded from here within an hour: try again later.": "来自这里的上传在一小时内过多：请稍后再试。",
    "Files are taken at {path} alone.": "文件只能上传到 {path}。",
    "photo is no file that was uploaded here: hand it over by gradio_client.handle_file, as a data: URL, or by the URL "
    "or path of its upload; other URLs are not fetched.": (
        "photo 不是上传到这里的文件：请用 gradio_client.handle_file、data: URL，或上传后的 URL 或路径传入；"
        "不会抓取其他 URL。"
    ),
    # What is on offer
    "{name} is neither a key that /checkpoints lists nor the name of an experiment or look there.": (
        "{name} 既不是 /checkpoints 列出的键，也不是其中实验或画风的名称。"
    ),
    "There is no checkpoint to draw with: train one with {command}": "没有可用于绘制的检查点：请用 {command} 训练一个",
    "{name} is not on offer: reload the page to see what is": "{name} 已不存在：请刷新页面查看现有内容",
    "{name} has no checkpoint {checkpoint} that is known here": "{name} 没有此处已知的检查点 {checkpoint}",
    "{root} has no checkpoint {name}": "{root} 没有检查点 {name}",
    "its curves and samples come with a checkpoint, and none is downloaded yet: draw with one": (
        "曲线与样例随检查点下载，目前尚未下载：请先用它绘制一次"
    ),
    "{fault}; {problem}": "{fault}；{problem}",
    "{text}": "{text}",
    # Sources that are added
    "Nothing can be added here.": "这里无法添加。",
    "{name} may not be added here, only: {names}": "这里不能添加 {name}，只能添加：{names}",
    "The app already looks at {most} places on the Hub: restart it to choose others.": (
        "应用已在 Hub 上查看 {most} 处：请重启以选择其他来源。"
    ),
    "{name} has no checkpoint for this app": "{name} 没有可用于本应用的检查点",
    "{name} was added, but the Hub is slow: reload the page in a while": "已添加 {name}，但 Hub 响应缓慢：请稍后刷新页面",
    "{text} is no place on the Hub: write a name like you, or a repo like you/animegan-hayao": (
        "{text} 不是 Hub 上的位置：请写用户名（如 you）或仓库（如 you/animegan-hayao）"
    ),
    "{text} names no checkpoint on the Hub: write hub:you/animegan-hayao@epoch-060": (
        "{text} 不是 Hub 上的检查点：请写成 hub:you/animegan-hayao@epoch-060"
    ),
    # The Hub
    "{name} was not asked: HF_HUB_OFFLINE is set": "{name} 未查询：已设置 HF_HUB_OFFLINE",
    "{name} was not asked: HF_TOKEN holds a character that no token has": "{name} 未查询：HF_TOKEN 中有令牌不会有的字符",
    "{name} cannot be asked now: {reason}": "{name} 目前无法查询：{reason}",
    "the Hub does not answer in time": "Hub 未及时响应",
    "the Hub cannot be reached": "无法连接 Hub",
    "the Hub cannot be reached through the proxy of {setting}": "无法通过 {setting} 的代理连接 Hub",
    "the proxy does not connect to the Hub": "代理无法连接到 Hub",
    "the proxy wants a user name and a password: HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT": (
        "代理需要用户名和密码：HTTPS_PROXY=http://用户名:密码@主机:端口"
    ),
    "the Hub's certificate is not trusted here; if a proxy puts its own in place, name that in SSL_CERT_FILE": (
        "此处不信任 Hub 的证书；如果是代理换成了自己的证书，请在 SSL_CERT_FILE 中指定它"
    ),
    "a proxy, a sign-in page or a wrong HF_ENDPOINT answers in place of the Hub (a web page)": (
        "应答的不是 Hub，而是代理、登录页面或错误的 HF_ENDPOINT（一个网页）"
    ),
    "a proxy, a sign-in page or a wrong HF_ENDPOINT answers in place of the Hub (error {status})": (
        "应答的不是 Hub，而是代理、登录页面或错误的 HF_ENDPOINT（错误 {status}）"
    ),
    "this network wants you to sign in first; open any page in a browser": "此网络要求先登录；请在浏览器中打开任意网页",
    "the Hub says there were too many requests": "Hub 表示请求过多",
    "the Hub answers with error {status}": "Hub 返回错误 {status}",
    "the Hub cannot be asked now: the Hub does not answer in time; the list may be incomplete": (
        "目前无法查询 Hub：Hub 未及时响应；列表可能不完整"
    ),
    "{problem}; showing what is cached": "{problem}；显示缓存中的内容",
    "{name} is no longer there": "{name} 已不存在",
    "{name} lacks a file that every checkpoint has": "{name} 缺少检查点必需的文件",
    "{name} is gated: accept its terms on its page with the account of this HF_TOKEN": (
        "{name} 须先同意条款：请用此 HF_TOKEN 的账号在其页面上同意"
    ),
    "{name} is gated: accept its terms on its page, and set HF_TOKEN of the account that did": (
        "{name} 须先同意条款：请在其页面上同意，并设置该账号的 HF_TOKEN"
    ),
    "{name} was disabled by the Hub": "{name} 已被 Hub 停用",
    "{name} is missing or private; set HF_TOKEN": "{name} 不存在或为私有；请设置 HF_TOKEN",
    "{name} is missing, or private and not for the account of this HF_TOKEN": (
        "{name} 不存在，或为私有且此 HF_TOKEN 的账号无权访问"
    ),
    "{name} cannot be asked: the Hub does not accept this HF_TOKEN; make a new one in your settings there": (
        "{name} 无法查询：Hub 不接受此 HF_TOKEN；请在 Hub 的设置中新建一个"
    ),
    "{name} may not be changed or read with this HF_TOKEN: it needs the right to, in your settings on the Hub": (
        "{name} 无法用此 HF_TOKEN 读取或更改：请在 Hub 的设置中授予权限"
    ),
    "{name} may not be changed or read without HF_TOKEN": "{name} 没有 HF_TOKEN 无法读取或更改",
    "{name} cannot be stored: {why}": "{name} 无法保存：{why}",
    "{name} was cut off on its way": "{name} 传输中断",
    "{name} gave an unexpected answer ({kind})": "{name} 给出了意料之外的回应（{kind}）",
    "{damage}, and {problem}": "{damage}，而且{problem}",
    "it": "它",
    "{place}: {fault}": "{place}: {fault}",
    "its record is of {name}": "其记录属于 {name}",
    "holds more than {most} files, which no checkpoint does": "文件超过 {most} 个，检查点不会有这么多",
    "holds a file named {name}": "含有名为 {name} 的文件",
    "{file} is missing": "缺少 {file}",
    "{file} is larger than {most} bytes": "{file} 大于 {most} 字节",
    "{file} has {size} bytes, a checkpoint's may have {most}": "{file} 有 {size} 字节，检查点最多允许 {most} 字节",
    # A disk
    "{cause}: {remedy}": "{cause}：{remedy}",
    "{one}, or {other}": "{one}，或{other}",
    "the disk is full": "磁盘已满",
    "free some space": "请清理空间",
    "the disk quota is used up": "磁盘配额已用完",
    "the file is larger than this system allows": "文件超过此系统允许的大小",
    "raise the limit with ulimit -f unlimited": "用 ulimit -f unlimited 提高上限",
    "choose another folder": "换一个文件夹",
    "access is denied": "没有访问权限",
    "change its permissions": "更改其权限",
    "the file system is read-only": "文件系统为只读",
    "it is missing, or was deleted meanwhile": "不存在，或刚被删除",
    "a file is where a folder should be": "应为文件夹之处是一个文件",
    "a folder is where a file should be": "应为文件之处是一个文件夹",
    "remove it": "请将其移除",
    "something else is there already": "那里已有其他内容",
    "its name is too long": "名称过长",
    "choose a shorter one": "请换一个更短的",
    "too many files are open": "打开的文件过多",
    "raise the limit with ulimit -n 4096": "用 ulimit -n 4096 提高上限",
    "end other programs": "请结束其他程序",
    "the disk fails": "磁盘有故障",
    "copy what is on it to another one": "请将其内容复制到另一块磁盘",
    "the network drive is no longer connected": "网络驱动器已断开",
    "the network drive does not answer": "网络驱动器没有响应",
    # A checkpoint's files
    "{place}: no checkpoint here ({file} is missing)": "{place}: 这里没有检查点（缺少 {file}）",
    "{place}: {file} is missing": "{place}: 缺少 {file}",
    "{place}: {file} cannot be read ({why})": "{place}: {file} 无法读取（{why}）",
    "{path} cannot be read": "{path} 无法读取",
    "{place}: {file} is no file, or larger than the limit of {most} bytes": (
        "{place}: {file} 不是文件，或超过上限 {most} 字节"
    ),
    "{place}: {file} is damaged or was changed (its sha256 differs from the record)": (
        "{place}: {file} 已损坏或被更改（sha256 与记录不符）"
    ),
    "{place}: {file} is not text": "{place}: {file} 不是文本",
    "{place}: {file} is not valid JSON": "{place}: {file} 不是有效的 JSON",
    "{place}: {file} holds no JSON object": "{place}: {file} 不含 JSON 对象",
    "{place}: {file} names {named}, which is no part of a generator": "{place}: {file} 含有 {named}，它不是生成器的一部分",
    "{place}: {file} describes another network than the record": "{place}: {file} 描述的网络与记录不同",
    "{place}: {file} is longer than any training": "{place}: {file} 比任何训练都长",
    "{place}: {file} is not a list of loss terms": "{place}: {file} 不是损失项列表",
    "{place}: {file} holds more than {most} names of terms": "{place}: {file} 含有超过 {most} 个损失项名称",
    "{place}: {file} is {fault}": "{place}: {file} 是{fault}",
    "a JPEG of {count} scans or segments or more, which only slow its reader down": (
        "含有 {count} 次或更多扫描或分段的 JPEG，只会拖慢读取"
    ),
    "{place}: {file} has {width} x {height} pixels": "{place}: {file} 有 {width} x {height} 像素",
    "{place}: {file} is not a JPEG picture": "{place}: {file} 不是 JPEG 图片",
    "{place}: the generator does not draw what its record says (probe differs by {difference:.3f})": (
        "{place}: 生成器绘制的结果与记录不符（探针相差 {difference:.3f}）"
    ),
    "{place}: the probe has {count} values, not {known}": "{place}: 探针有 {count} 个值，应为 {known} 个",
    # Its record
    "{place}: not valid JSON": "{place}: 不是有效的 JSON",
    "{place}: not a checkpoint record": "{place}: 不是检查点记录",
    "{place}: schema version {version}, this program reads {known}; update the older of the two": (
        "{place}: 格式版本 {version}，本程序读取 {known}；请更新较旧的一方"
    ),
    "{place}: the record lacks {names}": "{place}: 记录缺少 {names}",
    "{place}: the record is of {name}": "{place}: 记录属于 {name}",
    "{place}: the record names a file {file}": "{place}: 记录中多出文件 {file}",
    "{place}: the record does not name a file {file}": "{place}: 记录中没有文件 {file}",
    "{place}: {file} is larger than the limit of {most} bytes": "{place}: {file} 超过上限 {most} 字节",
    "{place}: {name} has the wrong type": "{place}: {name} 类型有误",
    "{place}: {name} is not a valid name": "{place}: {name} 不是有效的名称",
    "{place}: weights are neither {one} nor {other}": "{place}: 权重格式既不是 {one} 也不是 {other}",
    "{place}: pixel contract {contract}, this program knows {known}": "{place}: 像素约定 {contract}，本程序支持 {known}",
    "{place}: generator has an unknown setting {name}": "{place}: 生成器有未知的设置 {name}",
    "{place}: {name} holds {fault}": "{place}: {name} 含有{fault}",
    "more than {most} values": "超过 {most} 个值",
    "values nested deeper than {most} levels": "嵌套超过 {most} 层的值",
    "a text of more than {most} characters": "超过 {most} 个字符的文本",
    "a text with characters that cannot be shown": "无法显示的字符",
    "a number that is not finite or too large": "无穷或过大的数",
    "unknown generator {name}: choose one of {known}": "未知的生成器 {name}：请从 {known} 中选择",
    "colours of a generator are one of {known}, got {given}": "生成器的 colours 应为 {known} 之一，而不是 {given}",
    "channels of generator {name} must be from 1 to {most}, got {given}": (
        "生成器 {name} 的通道数须在 1 到 {most} 之间，而不是 {given}"
    ),
    # Its weights
    "the weights file is damaged": "权重文件已损坏",
    "the weights file is not HDF5 as Keras writes it": "权重文件不是 Keras 所写的 HDF5",
    "the weights file does not start at its beginning": "权重文件不从开头开始",
    "the weights file holds too many objects": "权重文件中的对象过多",
    "{first} and {second} share the same bytes, which a checkpoint's arrays may not": (
        "{first} 与 {second} 占用相同的字节，检查点的数组不允许这样"
    ),
    "{path} holds numbers that are not finite": "{path} 含有无穷或无效的数",
    "{path} is too much in the weights file": "权重文件中多出 {path}",
    "{path} is missing in the weights file": "权重文件中缺少 {path}",
    "{path} has shape {shape}, the generator needs {needed}": "{path} 的形状是 {shape}，生成器需要 {needed}",
    "{path} holds {name!r}, which is no name for one thing": "{path} 含有 {name!r}，它不能作为一个对象的名称",
    "{path} holds a link, which a checkpoint may not hold": "{path} 含有链接，检查点中不允许",
    "{path} has an object header that Keras does not write": "{path} 的对象头不是 Keras 所写的",
    "{path} is stored in a way that a checkpoint may not use (message {kind:#x})": (
        "{path} 的存储方式在检查点中不允许（消息 {kind:#x}）"
    ),
    "{path} is neither a group nor an array": "{path} 既不是组也不是数组",
    "{path} does not hold {precision} numbers": "{path} 不是 {precision} 数值",
    "{path} has a shape that no layer has": "{path} 的形状不属于任何层",
    "{path} is compressed, chunked or stored outside the file": "{path} 被压缩、分块或存储在文件之外",
    "{path} is cut off": "{path} 不完整",
    # How a question is worded at a laptop's budget, and with other settings
    "On two CPU cores: {question}": "在两个 CPU 核上：{question}",
    "{question}, changed: {settings}": "{question}，改动：{settings}",
    # What a training saw, and what it ran on
    "Style {style} of {folder}, in AnimeGAN's layout.": "{folder} 文件夹中的 {style} 风格，按 AnimeGAN 的布局。",
    "{device}, {cores} cores": "{device}，{cores} 核",
    "{device}, {cores} core": "{device}，{cores} 核",
}
