// The page: takes a photo, scales it, has worker.js draw it, shows and saves both. Nothing leaves the device.
import { LANGUAGE, TABLE, say } from "./words.js";

const $ = (id) => document.getElementById(id);
const RECORD = JSON.parse($("record").textContent);
const MOST = 32; // longest side by shortest
const GPU_PATIENCE = 30_000; // milliseconds

let worker, started, photo, chosen = 0, offline = false;
const state = { ready: false, waiting: false };

document.documentElement.lang = LANGUAGE === "zh" ? "zh-CN" : "en";
document.title = say("title");
for (const part of document.querySelectorAll("[data-word]")) part.textContent = say(part.dataset.word);
$("split").setAttribute("aria-label", say("split"));
$("about").textContent = say("about", { ...RECORD, licence: TABLE.licence[RECORD.licence] ?? RECORD.licence });
$("terms").textContent = RECORD.terms;

function tell(text, part = null) {
  // part: of the work done, from 0 to 1; true while it is not known; null for no work
  $("state").textContent = text;
  $("progress").classList.toggle("idle", part === null);
  if (typeof part === "number") $("bar").value = part;
  else $("bar").removeAttribute("value");
}

function fail(word, values) {
  $("error").textContent = say(word, values);
  $("error").hidden = false;
  tell("");
}

// Keeps the page's files for use without a connection, and asks the browser for threads, which plain file servers do not.
// Both hold for what is loaded after it has begun: so the page is loaded once more before anything was done on it.
async function keep() {
  if (!navigator.serviceWorker) return;
  try {
    const late = new Promise((_, refuse) => setTimeout(refuse, 10_000));
    await Promise.race([navigator.serviceWorker.register("service.js").then(() => navigator.serviceWorker.ready), late]);
    if (!crossOriginIsolated && !sessionStorage.getItem("again")) { // it may hold the page already, loaded without its headers
      sessionStorage.setItem("again", "1");
      location.reload();
      await new Promise(() => {});
    }
    offline = Boolean(navigator.serviceWorker.controller);
  } catch {
    offline = false;
  }
}

function restart() {
  worker.terminate();
  start(false);
}

function start(gpu = true) {
  worker = new Worker("worker.js", { type: "module" });
  worker.onerror = (event) => (event.message ? fail("failed", { text: event.message }) : fail("network"));
  worker.onmessage = ({ data }) => HANDLERS[data.kind](data);
  worker.postMessage({ kind: "start", record: RECORD, gpu });
}

const HANDLERS = {
  loading: ({ done }) => tell(say("loading", { percent: Math.round(100 * done) }), done),
  starting: ({ gpu }) => {
    tell(say("starting"), true);
    if (gpu) state.patience = setTimeout(restart, GPU_PATIENCE); // some drivers never answer
  },
  ready: ({ gpu, threads }) => {
    clearTimeout(state.patience);
    state.ready = true;
    $("engine").textContent = say("engine", { ...RECORD, engine: say(gpu ? "gpu" : "cpu", { threads }) });
    document.body.dataset.engine = gpu ? "gpu" : `cpu ${threads}`;
    tell(say(offline ? "ready" : "readyOnline"));
    if (state.waiting) draw();
  },
  drawn: ({ id, width, height, pixels }) => {
    if (id !== chosen) return;
    clearInterval(started.timer);
    const seconds = ((performance.now() - started.at) / 1000).toFixed(1);
    show($("drawing"), new ImageData(new Uint8ClampedArray(pixels), width, height));
    $("save").disabled = false;
    tell(say("drawn", { width, height, seconds }));
    document.body.dataset.drawn = id;
  },
  failed: ({ word, text, id }) => {
    if (id !== undefined && id !== chosen) return;
    if (started) clearInterval(started.timer);
    fail(word, { text });
  },
};

function show(canvas, image) {
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// Upright, over white, and halved as long as it is twice as large or more, as a single step would leave out pixels.
async function read(file, longest) {
  const picture = await createImageBitmap(file, { imageOrientation: "from-image" });
  let { width, height } = picture;
  let source = picture;
  const scaled = (wide, high) => {
    const canvas = document.createElement("canvas");
    [width, height] = [canvas.width, canvas.height] = [wide, high];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "white";
    context.fillRect(0, 0, wide, high);
    context.imageSmoothingQuality = "high";
    context.drawImage(source, 0, 0, wide, high);
    source = canvas;
    return context;
  };
  if (Math.max(width, height) > MOST * Math.min(width, height)) throw new RangeError("strip");
  const scale = Math.min(1, longest / Math.max(width, height));
  const target = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  while (width >= 2 * target[0] && height >= 2 * target[1]) scaled(Math.ceil(width / 2), Math.ceil(height / 2));
  const image = scaled(...target).getImageData(0, 0, ...target);
  picture.close();
  return image;
}

async function draw() {
  if (!photo) return;
  const id = ++chosen;
  $("error").hidden = true;
  $("save").disabled = true;
  if (started) clearInterval(started.timer);
  let image;
  try {
    image = await read(photo, Number($("size").value));
  } catch (error) {
    if (id === chosen) fail(error.message === "strip" ? "strip" : "unreadable");
    return;
  }
  if (id !== chosen) return;
  $("result").hidden = false;
  document.body.classList.add("shown");
  show($("photo"), image);
  show($("drawing"), image);
  state.waiting = !state.ready;
  if (state.waiting) return; // drawn once the program is there
  const at = performance.now();
  const told = () => tell(say("drawing_now", { seconds: Math.round((performance.now() - at) / 1000) }), true);
  started = { at, timer: setInterval(told, 500) };
  told();
  const { width, height, data } = image;
  worker.postMessage({ kind: "draw", id, width, height, pixels: data.buffer }, [data.buffer]);
}

function take(files) {
  if (!files?.length) return;
  photo = files[0];
  draw();
}

$("file").addEventListener("change", () => {
  take($("file").files);
  $("file").value = "";
});
$("size").addEventListener("change", draw);
$("split").addEventListener("input", () => $("pair").style.setProperty("--split", `${$("split").value}%`));
document.addEventListener("paste", (event) => take(event.clipboardData?.files));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  take(event.dataTransfer.files);
});
$("save").addEventListener("click", async () => {
  const blob = await new Promise((done) => $("drawing").toBlob(done, "image/png"));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${(photo.name || "photo").replace(/\.[^.]*$/, "")}-${RECORD.experiment}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
});

if (location.protocol === "file:") fail("file");
else if (!globalThis.DecompressionStream || !globalThis.createImageBitmap) fail("old");
else {
  tell(say("starting"), true);
  await keep();
  start();
}
