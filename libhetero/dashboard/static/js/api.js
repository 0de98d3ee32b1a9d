/** What the server is asked for; every fault is an `ApiError` of one line. */

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const ARRAYS = { float32: Float32Array, uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array };

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new ApiError("The server does not answer. It may have been stopped, or the ssh tunnel closed.", 0);
  }
  if (!response.ok) throw new ApiError(await faultOf(response), response.status);
  return response;
}

async function faultOf(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error ?? text;
  } catch {
    return `${response.status} ${response.statusText}`;
  }
}

/** GET an answer in JSON. */
export async function get(path, signal) {
  return (await request(path, { signal })).json();
}

/** POST something and read the answer in JSON. */
export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return (await request(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

/** POST bytes as they are. */
export async function postBytes(path, bytes) {
  const headers = { "Content-Type": "application/octet-stream" };
  return (await request(path, { method: "POST", headers, body: bytes })).json();
}

/** DELETE something. */
export async function remove(path) {
  return (await request(path, { method: "DELETE" })).json();
}

/** GET an array: its type stands in X-Dtype, or is `kind`. */
export async function array(path, kind, signal) {
  const response = await request(path, { signal });
  const dtype = response.headers.get("X-Dtype") ?? kind;
  const Type = ARRAYS[dtype];
  if (!Type) throw new ApiError(`The server sent numbers of a kind this page does not know: ${dtype}.`, 0);
  const shape = (response.headers.get("X-Shape") ?? "").split(",").filter(Boolean).map(Number);
  return { values: new Type(await response.arrayBuffer()), shape };
}

/** GET a text. */
export async function text(path) {
  return (await request(path)).text();
}

/**
 * Follow server-sent events. `handlers` has one function for each name of event; `onstate` hears "open" and "lost".
 * Returns a function that stops it.
 */
export function follow(path, handlers, onstate = () => {}) {
  const source = new EventSource(path, { withCredentials: true });
  for (const [name, handler] of Object.entries(handlers)) {
    source.addEventListener(name, (event) => {
      let value = event.data;
      try {
        value = JSON.parse(event.data);
      } catch {
        // a plain text stays one
      }
      handler(value);
    });
  }
  source.onopen = () => onstate("open");
  source.onerror = () => onstate("lost");
  return () => source.close();
}

/** Encode whole numbers as base64 of uint32. */
export function base64(rows) {
  const bytes = new Uint8Array(Uint32Array.from(rows).buffer);
  let binary = "";
  for (let i = 0; i < bytes.length; i += 32768) binary += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return btoa(binary);
}

/** Decode base64 of uint32. */
export function unbase64(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Uint32Array(bytes.buffer);
}
