// Keeps the page's files, so that it works without a connection, and answers with the headers that threads need.
const NAME = `${self.registration.scope} @VERSION@`;
const PAGE = ["./", "page.css", "page.js", "words.js", "worker.js", "model.onnx"];

self.addEventListener("install", (event) => {
  const fresh = PAGE.map((name) => new Request(name, { cache: "reload" }));
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(fresh)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const older = async () => {
    const names = (await caches.keys()).filter((name) => name.startsWith(`${self.registration.scope} `) && name !== NAME);
    await Promise.all(names.map((name) => caches.delete(name)));
    await self.clients.claim();
  };
  event.waitUntil(older());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(self.registration.scope)) return;
  event.respondWith(answer(request));
});

async function answer(request) {
  const cache = await caches.open(NAME);
  const name = request.url.split(/[?#]/)[0].replace(/index\.html$/, "");
  let found = await cache.match(name);
  if (!found) {
    found = await fetch(request);
    if (found.status === 200) await cache.put(name, found.clone());
  }
  const headers = new Headers(found.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  return new Response(found.body, { status: found.status, statusText: found.statusText, headers });
}
