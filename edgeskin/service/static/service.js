/** The HTTP service: requests to this page's own origin, and nothing else. */

import { storedToken } from "./address.js";

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

/** @param {Response} answer */
const asJson = (answer) => answer.json();
/** @param {Response} answer */
const asBlob = (answer) => answer.blob();

/**
 * @template T
 * @param {string} path
 * @param {RequestInit} options
 * @param {(answer: Response) => Promise<T>} read Of an answer of status 200. The connection may break here too.
 * @returns {Promise<T>}
 * @throws {ServiceError}
 */
async function request(path, options, read) {
  const headers = new Headers(options.headers);
  const token = storedToken();
  if (token) headers.set("Authorization", `Bearer ${token}`);
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
    if (answer.ok) return await read(answer);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ServiceError("unreachable");
  }
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
export function model(signal) {
  return request("/v1/model", { signal }, asJson);
}

/**
 * @param {Blob} frame
 * @param {AbortSignal} signal
 * @returns {Promise<{failed: string[], advised: string[]}>}
 */
export function quality(frame, signal) {
  return request("/v1/quality", { method: "POST", body: frame, signal }, asJson);
}

/**
 * The assessment of a photo. That the photo itself cannot be used is an answer too.
 * @param {Blob} photo
 * @param {Record<string, string>} context
 * @param {AbortSignal} signal
 */
export async function assess(photo, context, signal) {
  try {
    return await request("/v1/assess", { method: "POST", body: form({ photo }, context), signal }, asJson);
  } catch (error) {
    const isAnswer = error instanceof ServiceError && error.body?.status === "error";
    if (isAnswer && error.body.error.type === "PhotoError") return error.body;
    throw error;
  }
}

/**
 * The evidence for a target as a picture with transparency, to lay over the photo's centre square.
 * @param {Blob} photo
 * @param {string} target
 * @param {Record<string, string>} context
 * @param {AbortSignal} signal
 */
export function evidence(photo, target, context, signal) {
  const headers = { Accept: "image/png" };
  return request("/v1/explain", { method: "POST", headers, body: form({ photo }, { ...context, target }), signal }, asBlob);
}

/**
 * @param {Blob} photo
 * @param {Record<string, string>} context
 * @param {AbortSignal} signal
 */
export function report(photo, context, signal) {
  return request("/v1/report", { method: "POST", body: form({ photo }, context), signal }, asBlob);
}

/**
 * @param {Blob} before
 * @param {Blob} after
 * @param {Record<string, string>} context
 * @param {AbortSignal} signal
 */
export function compare(before, after, context, signal) {
  return request("/v1/compare", { method: "POST", body: form({ before, after }, context), signal }, asJson);
}

/**
 * @param {Blob} photo
 * @param {Record<string, string>} context
 * @param {string} language
 * @param {AbortSignal} signal
 * @returns {Promise<{text: string, message: string | null}>}
 */
export function message(photo, context, language, signal) {
  const body = form({ photo }, { ...context, language });
  return request("/v1/message", { method: "POST", body, signal }, asJson);
}
