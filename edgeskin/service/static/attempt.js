/** What asks the service while a visitor waits, with a screen for each way that it can fail. */

import * as clearing from "./clearing.js";
import { byId, element } from "./dom.js";
import { icon } from "./icons.js";
import { announce, button, show } from "./screens.js";
import { ServiceError } from "./service.js";
import { text } from "./texts.js";
import { errorText, safetyNet } from "./verdict.js";
import { pause } from "./visit.js";

/** Codes after which the service asks to come again by itself. */
const BUSY = ["queue_full", "draining", "rate_limited", "timed_out"];
const LEAST_WAIT = 2; // seconds
const FORM = 2000; // bytes that a form adds to its photos at most

/**
 * @typedef {object} Task
 * @property {() => Promise<void>} work
 * @property {AbortSignal} signal Whoever aborts it shows another screen.
 * @property {number} bytes Of the photos that it sends.
 * @property {number} limit Bytes of a request that the service takes.
 * @property {string} waiting Key of the title while it runs.
 * @property {string} failed Key of the title where it fails.
 * @property {[string, string]} tooLarge Keys of the title and the reason where it sends too much.
 * @property {(looks: string) => HTMLElement} leave The button that gives it up.
 * @property {(again: () => void) => void} askForToken
 */

/** @param {Task} task */
export async function attempt(task) {
  const { signal } = task;
  const again = () => attempt(task);
  show("waiting", () => {
    byId("waiting-title").textContent = text(task.waiting);
  });
  try {
    // A server closes the connection on a body that is too large, which a browser cannot tell from a server that is
    // away. So the page looks first.
    if (task.bytes + FORM > task.limit) throw new ServiceError("body_too_large");
    await task.work();
  } catch (error) {
    if (signal.aborted) return;
    const code = error instanceof ServiceError ? error.code : "error";
    if (code === "unauthorized") task.askForToken(again);
    else if (code === "unreachable") explain("unplugged", "offline.title", () => text("offline.text"), task, again);
    else if (code === "body_too_large") explain("refused", task.tooLarge[0], () => text(task.tooLarge[1]), task, null);
    else if (error instanceof ServiceError && BUSY.includes(code)) waitAndRetry(error, task, again);
    else explain("refused", task.failed, () => errorText(code), task, again);
    if (!(error instanceof ServiceError)) throw error; // a defect of the page: the browser's console has more
  }
}

/**
 * A screen with one reason, and the ways out.
 * @param {string} sign Name of its icon.
 * @param {string} title
 * @param {() => string} reason
 * @param {Task} task
 * @param {(() => void) | null} again null where another try would fail too.
 */
function explain(sign, title, reason, task, again) {
  show("notice", () => fill(sign, title, [element("p", { class: "action" }, reason())],
    again && button("do.retry", "again", again, "main large"), task.leave(again ? "large" : "main large")));
}

/**
 * Count down to another try.
 * @param {ServiceError} error
 * @param {Task} task
 * @param {() => void} again
 */
async function waitAndRetry(error, task, again) {
  let left = Math.max(LEAST_WAIT, error.retryAfter);
  clearing.hold(left);
  const countdown = element("p", { class: "countdown" });
  const words = () => text("busy.countdown", { seconds: left });
  show("notice", () => {
    countdown.textContent = words();
    fill("clock", "busy.title", [element("p", {}, errorText(error.code)), countdown], task.leave("large"));
  });
  announce(words());
  try {
    for (; left > 0; left -= 1) {
      countdown.textContent = words();
      await pause(1000, task.signal);
    }
  } catch {
    return; // it was given up
  }
  again();
}

/**
 * @param {string} sign
 * @param {string} title
 * @param {HTMLElement[]} reasons
 * @param {...(HTMLElement | null)} ways
 */
function fill(sign, title, reasons, ...ways) {
  byId("notice").replaceChildren(
    element("div", { class: "verdict refused" }, icon(sign),
      element("div", {}, element("h1", { tabindex: "-1" }, text(title)), ...reasons)),
    element("div", { class: "choices" }, ...ways),
    safetyNet());
}
