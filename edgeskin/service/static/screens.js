/** One screen at a time. Its heading takes the focus, so that a screen reader begins there. */

import { byId, element } from "./dom.js";
import { icon } from "./icons.js";
import { text } from "./texts.js";

/** @typedef {"start" | "camera" | "camera-problem" | "waiting" | "result" | "comparison" | "notice" | "token"} Screen */

/** @type {Screen} */
let current = "start";

/** @returns {Screen} */
export function currentScreen() {
  return current;
}

/** Build the shown screen anew, in another language. */
export let rebuild = () => {};

/**
 * @param {Screen} name
 * @param {() => void} [build] Fills it; called again where the language changes.
 * @param {{focus?: boolean}} [options] focus: false when the page opens.
 */
export function show(name, build = () => {}, { focus = true } = {}) {
  current = name;
  rebuild = build;
  build();
  for (const screen of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".screen"))) {
    screen.hidden = screen.id !== name;
  }
  document.body.dataset.screen = name;
  if (!focus) return;
  scrollTo(0, 0);
  byId(name).querySelector("h1")?.focus({ preventScroll: true });
}

/**
 * Say something to a screen reader only.
 * @param {string} words
 */
export function announce(words) {
  byId("announcer").textContent = words;
}

/**
 * @param {string} key Of its text.
 * @param {string} sign Name of its icon.
 * @param {() => void} action
 * @param {string} looks
 */
export function button(key, sign, action, looks) {
  return element("button", { type: "button", class: looks, click: () => action() }, icon(sign), element("span", {}, text(key)));
}
