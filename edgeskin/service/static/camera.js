/** The camera: open it, its light and zoom, and a photo as JPEG. */

import { byId } from "./dom.js";

/** The rear camera with as many pixels as it has, where there is a choice (Media Capture and Streams, 4.3). */
const CONSTRAINTS = {
  video: { facingMode: { ideal: "environment" }, width: { ideal: 4096 }, height: { ideal: 2160 } },
};
const JPEG_QUALITY = 0.95;

/** @type {MediaStream | null} */
let stream = null;

/** Why the camera cannot be used: `reason` is a key of the table below `camera.`. */
export class CameraError extends Error {
  /** @param {"denied" | "none" | "in_use" | "insecure" | "unsupported"} reason */
  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

/** @type {Record<string, "denied" | "none" | "in_use">} */
const REASONS = {
  NotAllowedError: "denied",
  SecurityError: "denied",
  NotFoundError: "none",
  OverconstrainedError: "none",
  NotReadableError: "in_use",
  AbortError: "in_use",
};

/**
 * Show the camera's live picture.
 * @param {AbortSignal} signal Whoever leaves before the permission is given gets no camera.
 * @param {() => void} onLost When it is unplugged.
 * @throws {CameraError}
 */
export async function open(signal, onLost) {
  close();
  // Browsers hide mediaDevices altogether on plain http of another machine.
  if (!window.isSecureContext) throw new CameraError("insecure");
  if (!navigator.mediaDevices?.getUserMedia) throw new CameraError("unsupported");
  let opened;
  try {
    opened = await navigator.mediaDevices.getUserMedia(CONSTRAINTS);
  } catch (error) {
    throw new CameraError(REASONS[/** @type {Error} */ (error).name] ?? "in_use");
  }
  if (signal.aborted) {
    stop(opened);
    return;
  }
  stream = opened;
  const video = byId("video");
  video.srcObject = stream;
  await video.play().catch(() => {}); // a video that is hidden again before it plays is no error
  const [track] = stream.getVideoTracks();
  track.addEventListener("ended", onLost); // not by our own stop
  await focusContinuously(track);
  offerTorch(track);
  offerZoom(track);
}

/** Stop the camera; its lamp goes out. */
export function close() {
  if (stream) stop(stream);
  stream = null;
  byId("video").srcObject = null;
  byId("torch").hidden = true;
  byId("zoom-control").hidden = true;
}

/** @param {MediaStream} opened */
function stop(opened) {
  for (const track of opened.getTracks()) track.stop();
}

/** Whether there is a picture to take. */
export function isReady() {
  return stream !== null && byId("video").videoWidth > 0;
}

/**
 * The whole frame. A canvas knows nothing of place, time or device, so the JPEG has no EXIF.
 * @returns {Promise<Blob>}
 */
export function photo() {
  const video = byId("video");
  const { videoWidth: width, videoHeight: height } = video;
  return encoded(video, [0, 0, width, height], width, height, JPEG_QUALITY);
}

/**
 * The centre square, which is what the network sees, made small.
 * @param {number} side Pixels.
 * @returns {Promise<Blob>}
 */
export function smallFrame(side) {
  const video = byId("video");
  const { videoWidth: width, videoHeight: height } = video;
  const short = Math.min(width, height);
  return encoded(video, [(width - short) / 2, (height - short) / 2, short, short], side, side, 0.9);
}

/**
 * @param {HTMLVideoElement} video
 * @param {[number, number, number, number]} part Left, top, width and height.
 * @param {number} width
 * @param {number} height
 * @param {number} jpegQuality
 * @returns {Promise<Blob>}
 */
async function encoded(video, part, width, height, jpegQuality) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.imageSmoothingQuality = "high";
  context.drawImage(video, ...part, 0, 0, width, height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", jpegQuality));
  if (!blob) throw new CameraError("in_use");
  return blob;
}

/** @param {MediaStreamTrack} track */
async function focusContinuously(track) {
  const abilities = /** @type {any} */ (track.getCapabilities?.() ?? {});
  if (!abilities.focusMode?.includes("continuous")) return;
  // A camera that refuses still gives a picture.
  await track.applyConstraints(/** @type {any} */ ({ advanced: [{ focusMode: "continuous" }] })).catch(() => {});
}

/** @param {MediaStreamTrack} track */
function offerTorch(track) {
  const button = byId("torch");
  const abilities = /** @type {any} */ (track.getCapabilities?.() ?? {});
  button.hidden = !abilities.torch;
  button.setAttribute("aria-pressed", "false");
  button.onclick = async () => {
    const torch = button.getAttribute("aria-pressed") !== "true";
    await track.applyConstraints(/** @type {any} */ ({ advanced: [{ torch }] })).catch(() => {});
    const settings = /** @type {any} */ (track.getSettings());
    button.setAttribute("aria-pressed", String(settings.torch === true));
  };
}

/** @param {MediaStreamTrack} track */
function offerZoom(track) {
  const range = byId("zoom");
  const { zoom } = /** @type {any} */ (track.getCapabilities?.() ?? {});
  byId("zoom-control").hidden = !zoom || zoom.max <= zoom.min;
  if (!zoom) return;
  const settings = /** @type {any} */ (track.getSettings());
  Object.assign(range, { min: zoom.min, max: zoom.max, step: zoom.step || 0.1, value: settings.zoom ?? zoom.min });
  range.oninput = () => {
    track.applyConstraints(/** @type {any} */ ({ advanced: [{ zoom: Number(range.value) }] })).catch(() => {});
  };
}
