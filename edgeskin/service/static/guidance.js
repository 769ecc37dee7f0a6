/**
 * Advice while the camera is held: twice a second a small frame goes to the quality gate. One request at a time;
 * a service that is busy is asked less often, since photos matter more than advice.
 */

import * as camera from "./camera.js";
import { byId } from "./dom.js";
import { icon } from "./icons.js";
import * as service from "./service.js";
import { codeText, text } from "./texts.js";
import { pause } from "./visit.js";

const SIDE = 320; // pixels; the gate measures at 256, and refuses less than 112
const INTERVAL = 500; // milliseconds
const LONGEST_INTERVAL = 8000;
const AGREEING = 2; // answers in a row before the words change, so that they don't flicker

/**
 * Advise until the signal ends it.
 * @param {AbortSignal} signal
 * @param {(error: service.ServiceError) => void} onLocked When the service asks for a token.
 */
export async function guide(signal, onLocked) {
  let interval = INTERVAL;
  let shown = "";
  let latest = "";
  let agreeing = 0;
  while (!signal.aborted) {
    try {
      await pause(interval, signal);
      if (document.hidden || !camera.isReady()) continue;
      const { failed, advised } = await service.quality(await camera.smallFrame(SIDE), signal);
      interval = INTERVAL;
      const code = [...failed, ...advised][0] ?? "";
      agreeing = code === latest ? agreeing + 1 : 1;
      latest = code;
      if (agreeing >= AGREEING && shown !== `code ${code}`) {
        shown = `code ${code}`;
        say(() => (code ? codeText("quality", code, text("camera.place")) : text("camera.good")), !code);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof service.ServiceError && error.code === "unauthorized") {
        onLocked(error);
        return;
      }
      // Every frame counts towards the limit, and the photo has to fit in as well.
      const isLimited = error instanceof service.ServiceError && error.code === "rate_limited";
      const wait = error instanceof service.ServiceError ? 1000 * error.retryAfter : 0;
      interval = Math.min(Math.max(2 * interval, wait), LONGEST_INTERVAL);
      if (shown !== "none") {
        shown = "none";
        say(() => text("camera.no_guidance"), false);
      }
      if (isLimited) return;
    }
  }
}

/** Say the same again, in another language. */
export let repeat = () => {};

/**
 * @param {() => string} words
 * @param {boolean} isGood
 */
export function say(words, isGood) {
  repeat = () => say(words, isGood);
  byId("finder").classList.toggle("good", isGood);
  const advice = byId("advice");
  advice.classList.toggle("good", isGood);
  advice.replaceChildren(icon(isGood ? "good" : "hint"), document.createTextNode(words()));
}
