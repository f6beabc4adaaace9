"""The pictures of one photo, enlarged over the page: up to four at a time, zoomed and moved together, or their difference.

All of it happens in the page, on pictures that are there already.
"""

DIALOG = """
<dialog class="viewer">
    <header>
        <strong></strong>
        <button class="step" data-step="-1">‹</button><button class="step" data-step="1">›</button>
        <button class="close">×</button>
    </header>
    <div class="chips" role="group"></div>
    <div class="panes"></div>
    <footer>
        <button data-zoom="out">−</button><output></output><button data-zoom="in">+</button>
        <button data-zoom="fit"></button><span class="hint"></span>
    </footer>
</dialog>
"""

VIEWER = """
const make = (tag, properties, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
};
const dialog = element.querySelector("dialog");
const panes = dialog.querySelector(".panes"), chips = dialog.querySelector(".chips");
const DIFFERENCE = "difference", MOST_PANES = 4, MOST_ZOOM = 16, STEP = 1.5, FULL = 96;
const HEAT = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];
let row = 0, picked = [], view = { scale: 1, x: 0, y: 0 };

const named = (column) => props.value.heads[column].called;
const shown = () => picked.filter((pick) => pick !== DIFFERENCE);
const there = () => [...props.value.heads.keys()].filter((column) => props.value.rows[row].cells[column]?.address);
const compared = () => [...new Set([...shown(), ...there()])].slice(0, 2);
const box = () => (panes.querySelector(".window") ?? panes).getBoundingClientRect();
const place = () => {
    const { width, height } = box(), inside = (value, room) => Math.min(0, Math.max(value, room * (1 - view.scale)));
    view.x = inside(view.x, width);
    view.y = inside(view.y, height);
    panes.style.setProperty("--move", `translate(${view.x}px, ${view.y}px) scale(${view.scale})`);
    panes.classList.toggle("moved", view.scale > 1);
    panes.classList.toggle("squares", view.scale >= 4);
    dialog.querySelector("output").textContent = `${Math.round(100 * view.scale)} %`;
};
const zoom = (factor, x = box().width / 2, y = box().height / 2) => {
    const scale = Math.min(MOST_ZOOM, Math.max(1, view.scale * factor)), real = scale / view.scale;
    view = { scale, x: x - (x - view.x) * real, y: y - (y - view.y) * real };
    place();
};
const move = (x, y) => { view.x += x; view.y += y; place(); };
const fit = () => { view = { scale: 1, x: 0, y: 0 }; place(); };

const heat = (value) => {
    const at = Math.min(1, value / FULL) * (HEAT.length - 1), low = Math.min(HEAT.length - 2, Math.floor(at));
    return HEAT[low].map((from, index) => from + (HEAT[low + 1][index] - from) * (at - low));
};
const paint = async (canvas, label, words) => {
    const between = compared().map(named).join(" − ");
    const [first, second] = await Promise.all(compared().map(async (column) => {
        const image = new Image();
        image.src = props.value.rows[row].cells[column].address;
        await image.decode();
        Object.assign(canvas, { width: image.naturalWidth, height: image.naturalHeight });
        const paper = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
        paper.drawImage(image, 0, 0);
        return paper.getImageData(0, 0, canvas.width, canvas.height).data;
    }));
    const map = new ImageData(canvas.width, canvas.height), ramp = [...Array(256).keys()].map(heat);
    let sum = 0;
    for (let at = 0; at < first.length; at += 4) {
        let apart = 0;
        for (let part = at; part < at + 3; part += 1) apart += Math.abs(first[part] - second[part]) / 3;
        sum += apart;
        map.data.set(ramp[Math.round(apart)], at);
        map.data[at + 3] = 255;
    }
    canvas.getContext("2d").putImageData(map, 0, 0);
    const mean = (sum / (first.length / 4)).toFixed(1);
    label.textContent = `|${between}| · ${words.mean} ${mean}`;
    canvas.ariaLabel = `${words.difference}: ${label.textContent} / 255`;
};
const arrange = () => {
    const count = picked.length, { wide, high } = props.value.rows[row];
    const { clientWidth, clientHeight } = panes;
    const size = (columns) => Math.min(clientWidth / columns / wide, clientHeight / Math.ceil(count / columns) / high);
    const columns = [...Array(count).keys()].map((index) => index + 1).sort((one, other) => size(other) - size(one))[0] ?? 1;
    panes.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    place();
};
const draw = () => {
    const { words, rows } = props.value, cells = rows[row].cells, focused = document.activeElement?.dataset.pick;
    const toggle = (pick, text) => {
        const on = picked.includes(pick), chip = make("button", { textContent: text, ariaPressed: on });
        chip.disabled = on ? picked.length === 1 : picked.length === MOST_PANES;
        chip.onclick = () => {
            picked = on ? picked.filter((other) => other !== pick) : picked.concat(pick);
            if (!shown().length) picked = [0, ...picked];
            draw();
        };
        chip.dataset.pick = pick;
        return chip;
    };
    chips.replaceChildren(...there().map((column) => toggle(column, named(column))));
    if (there().length > 1) chips.append(toggle(DIFFERENCE, words.difference));
    if (focused) chips.querySelector(`[data-pick="${focused}"]`)?.focus();
    panes.replaceChildren(...picked.map((pick) => {
        const label = make("span", { textContent: pick === DIFFERENCE ? words.difference : named(pick) });
        const picture = pick === DIFFERENCE
            ? make("canvas", { role: "img" })
            : make("img", { src: cells[pick].address, alt: `${named(pick)}, ${rows[row].name}`, draggable: false });
        const caption = make("figcaption", {}, label);
        if (pick === DIFFERENCE) {
            paint(picture, label, words);
            caption.append(make("span", { className: "scale" }, "0", make("i", {}), `${FULL}+ / 255`));
        }
        return make("figure", {}, make("div", { className: "window" }, picture), caption);
    }));
    dialog.querySelector("strong").textContent = rows[row].name;
    for (const button of dialog.querySelectorAll(".step")) button.disabled = next(Number(button.dataset.step)) === undefined;
    arrange();
};
const next = (step) => {
    const rows = props.value.rows;
    for (let at = row + step; at >= 0 && at < rows.length; at += step) if (rows[at].cells[0]?.address) return at;
    return undefined;
};
const turn = (step) => {
    const at = next(step);
    if (at === undefined) return;
    row = at;
    picked = picked.filter((pick) => pick === DIFFERENCE || props.value.rows[row].cells[pick]?.address);
    if (!shown().length) picked = [0, ...picked];
    draw();
};
const enlarge = (at, column) => {
    const { words } = props.value, find = (name) => dialog.querySelector(name);
    dialog.ariaLabel = words.enlarged;
    chips.ariaLabel = words.side_by_side;
    const names = { ".close": "close", "[data-step='-1']": "previous", "[data-step='1']": "next" };
    Object.assign(names, { "[data-zoom=in]": "nearer", "[data-zoom=out]": "farther", "[data-zoom=fit]": "fit" });
    for (const [name, key] of Object.entries(names)) Object.assign(find(name), { ariaLabel: words[key], title: words[key] });
    find("[data-zoom=fit]").textContent = words.fit;
    find(".hint").textContent = words.hint;
    row = at;
    picked = column ? [0, column] : [0];
    dialog.showModal();
    draw();
    fit();
    find("[data-pick]").focus();  // not a button that closes it
};

dialog.addEventListener("click", ({ target }) => {
    const button = target.closest("button");
    if (target === dialog || button?.className === "close") dialog.close();
    else if (button?.dataset.step) turn(Number(button.dataset.step));
    else if (button?.dataset.zoom) ({ in: () => zoom(STEP), out: () => zoom(1 / STEP), fit })[button.dataset.zoom]();
});
dialog.addEventListener("keydown", (event) => {
    const ways = { "+": () => zoom(STEP), "=": () => zoom(STEP), "-": () => zoom(1 / STEP), 0: fit };
    const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
    const turns = { PageUp: -1, PageDown: 1 }[event.key];
    if (event.ctrlKey || event.metaKey || !(ways[event.key] || moves || turns)) return;
    event.preventDefault();
    if (moves) move(...moves);
    else if (turns) turn(turns);
    else ways[event.key]();
});
panes.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const from = event.target.closest(".window")?.getBoundingClientRect();
    if (from) zoom(Math.exp(-event.deltaY / 200), event.clientX - from.left, event.clientY - from.top);
}, { passive: false });
panes.addEventListener("dblclick", (event) => {
    const from = event.target.closest(".window")?.getBoundingClientRect();
    if (from) view.scale > 1 ? fit() : zoom(3, event.clientX - from.left, event.clientY - from.top);
});
const fingers = new Map();
const middle = () => {
    const points = [...fingers.values()], mean = (axis) => points.reduce((sum, each) => sum + each[axis], 0) / points.length;
    return { x: mean("x"), y: mean("y"), apart: Math.hypot(points[0].x - points.at(-1).x, points[0].y - points.at(-1).y) };
};
panes.addEventListener("pointerdown", (event) => {
    const on = event.target.closest(".window");
    if (!on) return;
    on.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
});
panes.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const before = middle(), from = event.target.closest(".window").getBoundingClientRect();
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const now = middle();
    if (before.apart && now.apart) zoom(now.apart / before.apart, now.x - from.left, now.y - from.top);
    move(now.x - before.x, now.y - before.y);
});
for (const end of ["pointerup", "pointercancel"]) panes.addEventListener(end, ({ pointerId }) => fingers.delete(pointerId));
new ResizeObserver(() => { if (dialog.open) arrange(); }).observe(panes);
"""
"""`enlarge(row, column)` opens it on a cell of `props.value`, see `Grid`."""

CSS = """
.viewer { width: 100vw; height: 100dvh; max-width: none; max-height: none; margin: 0; padding: .5rem .75rem; border: 0;
          background: var(--body-background-fill); color: var(--body-text-color); overscroll-behavior: contain; }
.viewer[open] { display: flex; flex-direction: column; gap: .5rem; }
.viewer::backdrop { background: rgb(0 0 0 / .6); }
html:has(.viewer[open]) { overflow: hidden; }
.viewer :is(header, footer) { display: flex; align-items: center; gap: .4rem; flex: none; }
.viewer header strong { flex: 1; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.viewer button { margin: 0; min-width: 2.5rem; min-height: 2.25rem; padding: 0 .8rem;
                 border: 1px solid var(--border-color-primary); border-radius: 8px;
                 background: var(--background-fill-primary); white-space: nowrap;
                 font-size: .9rem; font-weight: 500; }
.viewer button:disabled { opacity: .4; }
.viewer :is(.step, .close, [data-zoom=in], [data-zoom=out]) { font-size: 1.25rem; line-height: 1; }
.viewer .chips { display: flex; gap: .35rem; overflow-x: auto; flex: none; padding: 3px; }
.viewer .chips button { flex: none; border-radius: 999px; }
.viewer .chips [aria-pressed=true] { background: var(--button-primary-background-fill); border-color: transparent;
                                     color: var(--button-primary-text-color); opacity: 1; }
.viewer .panes { flex: 1; min-height: 0; display: grid; grid-auto-rows: minmax(0, 1fr); gap: .5rem; }
.viewer figure { display: flex; flex-direction: column; min-width: 0; min-height: 0; margin: 0; }
.viewer .window { flex: 1; min-height: 0; overflow: hidden; touch-action: none; border-radius: 8px;
                  background: var(--background-fill-secondary); }
.viewer .moved .window { cursor: grab; }
.viewer .window > * { width: 100%; height: 100%; margin: 0; max-width: none; object-fit: contain; user-select: none;
                      transform: var(--move); transform-origin: 0 0; }
.viewer .squares .window > * { image-rendering: pixelated; }
.viewer figcaption:has(.scale) { white-space: normal; }
.viewer figcaption { flex: none; text-align: center; font-size: .85rem; margin: .15rem 0 0; overflow: hidden;
                     text-overflow: ellipsis; white-space: nowrap; }
.viewer .scale { display: inline-flex; align-items: center; gap: .3rem; margin-left: .6rem; font-size: .75rem; }
.viewer .scale i { flex: none; width: 5rem; height: .6rem; border-radius: 3px;
                   background: linear-gradient(90deg, rgb(0 0 4), rgb(87 16 110), rgb(188 55 84),
                   rgb(249 142 9), rgb(252 255 164)); }
.viewer output { min-width: 4rem; text-align: center; font-variant-numeric: tabular-nums; }
.viewer .hint { color: var(--body-text-color-subdued); font-size: .8rem; margin-left: auto; text-align: right; }
@media (max-width: 640px) { .viewer .hint { display: none; } }
"""
