/** The HTTP service: requests to this page's own origin, and nothing else. */

const TOKEN = "edgeskin-token";

/**
 * An answer that is no result.
 */
export class ServiceError extends Error {
  /**
   * @param {string} code The service's error code; `unreachable` where there was no answer.
   * @param {number} [retryAfter] Seconds until another try makes sense.
   * @param {any} [body] The answer's JSON; a refused comparison carries both assessments.
   */
  constructor(code, retryAfter = 0, body = null) {
    super(code);
    this.code = code;
    this.retryAfter = retryAfter;
    this.body = body;
  }
}

/**
 * Take the token from `#token=…` of the address, and out of the address bar and history at once. It is the only
 * thing that is stored, and it ends with the browser's tab.
 */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  history.replaceState(history.state, "", location.pathname + location.search);
  setToken(given);
}

/** @param {string} token */
export function setToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

/**
 * @param {string} path
 * @param {RequestInit} options
 * @returns {Promise<Response>} One of status 200.
 */
async function request(path, options) {
  const headers = new Headers(options.headers);
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ServiceError("unreachable");
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => null);
  const code = body?.error?.code ?? (answer.status === 401 ? "unauthorized" : "internal");
  throw new ServiceError(code, Number(answer.headers.get("Retry-After")) || 0, body);
}

/**
 * A photo and its options as a form. The file's own name may name the patient, so it is not sent.
 * @param {Record<string, Blob>} photos By field.
 * @param {Record<string, string>} [fields] Empty ones are left out.
 */
function form(photos, fields = {}) {
  const made = new FormData();
  for (const [name, photo] of Object.entries(photos)) made.append(name, photo, name);
  for (const [name, value] of Object.entries(fields)) if (value) made.append(name, value);
  return made;
}

/** @param {AbortSignal} signal */
export async function model(signal) {
  return (await request("/v1/model", { signal })).json();
}

/**
 * @param {Blob} frame
 * @param {AbortSignal} signal
 * @returns {Promise<{failed: string[], advised: string[]}>}
 */
export async function quality(frame, signal) {
  return (await request("/v1/quality", { method: "POST", body: frame, signal })).json();
}

/**
 * The assessment of a photo, of any status: a photo that cannot be read is an answer too.
 * @param {Blob} photo
 * @param {Record<string, string>} context
 * @param {AbortSignal} signal
 */
export async function assess(photo, context, signal) {
  try {
    return await (await request("/v1/assess", { method: "POST", body: form({ photo }, context), signal })).json();
  } catch (error) {
    if (error instanceof ServiceError && error.body?.status === "error") return error.body;
    throw error;
  }
}

/**
 * The evidence for a target as a picture with transparency, to lay over the photo's centre square.
 * @param {Blob} photo
 * @param {string} target
 * @param {AbortSignal} signal
 */
export async function evidence(photo, target, signal) {
  const headers = { Accept: "image/png" };
  const options = { method: "POST", headers, body: form({ photo }, { target }), signal };
  return (await request("/v1/explain", options)).blob();
}

/**
 * @param {Blob} photo
 * @param {Record<string, string>} context
 * @param {AbortSignal} signal
 */
export async function report(photo, context, signal) {
  return (await request("/v1/report", { method: "POST", body: form({ photo }, context), signal })).blob();
}

/**
 * @param {Blob} before
 * @param {Blob} after
 * @param {AbortSignal} signal
 */
export async function compare(before, after, signal) {
  return (await request("/v1/compare", { method: "POST", body: form({ before, after }), signal })).json();
}

/**
 * @param {Blob} photo
 * @param {Record<string, string>} context
 * @param {string} language
 * @param {AbortSignal} signal
 * @returns {Promise<{text: string, message: string | null}>}
 */
export async function message(photo, context, language, signal) {
  const body = form({ photo }, { ...context, language });
  return (await request("/v1/message", { method: "POST", body, signal })).json();
}
