// Draws, beside the page, so that the page keeps answering: ONNX Runtime on the graphics processor or, without one that
// draws the checkpoint's probe right, on the processor.
const TOLERANCE = 0.02; // of the probe, in [-1, 1], as hub_export/checkpoint.py has it
const BUILDS = {
  gpu: { script: "ort.webgpu.min.js", binary: "ort-wasm-simd-threaded.asyncify", provider: "webgpu" },
  cpu: { script: "ort.wasm.min.js", binary: "ort-wasm-simd-threaded", provider: "wasm" },
};
let ort, session, model, record;

async function load(names) {
  // The contents of files, unpacked; tells how much of them has come.
  const answers = await Promise.all(names.map((name) => fetch(name)));
  const missing = answers.find((answer) => !answer.ok);
  if (missing) throw new TypeError(`${missing.url}: ${missing.status}`);
  const total = answers.reduce((sum, answer) => sum + Number(answer.headers.get("content-length") || 0), 0);
  let come = 0;
  return Promise.all(answers.map(async (answer) => {
    const parts = [];
    for (const reader = answer.body.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      come += value.length;
      postMessage({ kind: "loading", done: total ? Math.min(1, come / total) : 0 });
    }
    const blob = new Blob(parts);
    const head = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
    const packed = head[0] === 0x1f && head[1] === 0x8b; // some servers unpack it themselves
    const content = packed ? new Response(blob.stream().pipeThrough(new DecompressionStream("gzip"))) : blob;
    return new Uint8Array(await content.arrayBuffer());
  }));
}

// Whether there is a graphics processor, and not a program in its place, which is slower than WebAssembly.
async function adapter() {
  try {
    const { info } = await navigator.gpu.requestAdapter();
    return !info?.isFallbackAdapter && info?.architecture !== "swiftshader";
  } catch {
    return false;
  }
}

async function open(build, provider) {
  if (!ort) {
    const [network, binary] = await load(["model.onnx", `runtime/${build.binary}.wasm.gz`]);
    postMessage({ kind: "starting", gpu: provider === "webgpu" });
    model = network;
    ort = await import(`./runtime/${build.script}`);
    ort.env.wasm.wasmBinary = binary;
    ort.env.wasm.wasmPaths = { mjs: new URL(`runtime/${build.binary}.js`, location.href).href };
    ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(8, navigator.hardwareConcurrency || 1) : 1;
    ort.env.logLevel = "error";
  }
  session = await ort.InferenceSession.create(model, { executionProviders: [provider] });
}

async function run(values, height, width) {
  const { anime } = await session.run({ photo: new ort.Tensor("float32", values, [1, height, width, 3]) });
  const drawn = await anime.getData();
  anime.dispose();
  return drawn;
}

// The probe of hub_export/checkpoint.py: what the record says of 16 points of some waves.
async function check() {
  const side = 64, values = new Float32Array(side * side * 3);
  for (let row = 0, at = 0; row < side; row++)
    for (let column = 0; column < side; column++) {
      values[at++] = Math.sin(row / 5);
      values[at++] = Math.cos(column / 7);
      values[at++] = Math.sin((row + 2 * column) / 11);
    }
  const drawn = await run(values, side, side);
  let worst = 0, at = 0;
  for (const row of [3, 20, 37, 58])
    for (const column of [5, 26, 43, 61])
      for (let channel = 0; channel < 3; channel++)
        worst = Math.max(worst, Math.abs(drawn[(row * side + column) * 3 + channel] - record.probe[at++]) || 0);
  return worst <= TOLERANCE && drawn.every(Number.isFinite);
}

async function start(allowed) {
  const gpu = allowed && (await adapter());
  if (gpu) {
    try {
      await open(BUILDS.gpu, "webgpu");
      if (await check()) return true;
    } catch (error) {
      if (error instanceof TypeError) throw error; // the network's
    }
  }
  await open(gpu ? BUILDS.gpu : BUILDS.cpu, "wasm");
  if (!(await check())) throw new RangeError("wrong");
  return false;
}

// As hub_export/pixels.py: reflected at the right and lower border up to a multiple of the stride, and to [-1, 1].
async function draw({ width, height, pixels }) {
  const { stride, minimum } = record;
  const up = (side) => Math.max(Math.ceil(side / stride) * stride, minimum);
  const reflect = (at, side) => {
    if (side === 1) return 0;
    const period = 2 * (side - 1), place = at % period;
    return place < side ? place : period - place;
  };
  const wide = up(width), high = up(height), bytes = new Uint8Array(pixels), values = new Float32Array(wide * high * 3);
  for (let row = 0, at = 0; row < high; row++) {
    const from = reflect(row, height) * width;
    for (let column = 0; column < wide; column++) {
      const place = 4 * (from + reflect(column, width));
      for (let channel = 0; channel < 3; channel++) values[at++] = bytes[place + channel] / 127.5 - 1;
    }
  }
  const drawn = await run(values, high, wide), result = new Uint8ClampedArray(4 * width * height);
  for (let row = 0, at = 0; row < height; row++)
    for (let column = 0; column < width; column++) {
      for (let channel = 0; channel < 3; channel++) result[at++] = (drawn[3 * (row * wide + column) + channel] + 1) * 127.5;
      result[at++] = 255;
    }
  return result.buffer;
}

const isMemory = (error) => /memory|alloc|out of bounds|bad_alloc|device.*lost|ERROR_CODE: 6/i.test(String(error?.message ?? error));

let turn = Promise.resolve(); // one after the other; of several that wait, only the last is worth its time
let newest = 0;

self.onmessage = ({ data }) => {
  if (data.kind === "start") {
    record = data.record;
    turn = turn.then(() => start(data.gpu)).then(
      (gpu) => postMessage({ kind: "ready", gpu, threads: ort.env.wasm.numThreads }),
      (error) => {
        const word = error.message === "wrong" ? "wrong" : error instanceof TypeError ? "network" : isMemory(error) ? "memory" : "failed";
        postMessage({ kind: "failed", word, text: String(error?.message ?? error) });
      },
    );
    return;
  }
  newest = data.id;
  turn = turn.then(async () => {
    if (data.id !== newest) return;
    const { id, width, height } = data;
    try {
      const pixels = await draw(data);
      postMessage({ kind: "drawn", id, width, height, pixels }, [pixels]);
    } catch (error) {
      postMessage({ kind: "failed", id, word: isMemory(error) ? "memory" : "failed", text: String(error?.message ?? error) });
    }
  });
};
