/**
 * The page forgets the person after a minute without input. The last 20 seconds are counted down, and any touch or
 * key extends them, as often as one likes (WCAG 2.2.1). The browser's page cache brings nothing back.
 */

import { byId } from "./dom.js";
import { announce } from "./screens.js";
import { text } from "./texts.js";

const IDLE = 60; // seconds
const WARNED = 20;
const LONGEST = 300; // after the last input, whatever the visitor waits for
const INPUTS = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart", "input", "afterprint"];

let touched = 0;
let deadline = 0;

/**
 * @param {() => boolean} hasContent Whether there is anything to clear.
 * @param {() => void} clear
 */
export function clearWhenIdle(hasContent, clear) {
  for (const name of INPUTS) addEventListener(name, extend, { passive: true, capture: true });
  byId("extend").addEventListener("click", extend);
  extend();
  // Clock time, not ticks: a machine that slept through the minute clears itself when it wakes.
  setInterval(tick, 250);
  document.addEventListener("visibilitychange", tick);

  function tick() {
    if (!hasContent()) {
      hideCountdown();
      return;
    }
    const left = Math.ceil((deadline - Date.now()) / 1000);
    if (left <= 0) {
      clear();
      hideCountdown();
      announce(text("clearing.cleared"));
    } else if (left <= WARNED) showCountdown(left);
  }
}

/** Start the minute anew. */
export function extend() {
  touched = Date.now();
  deadline = touched + 1000 * IDLE;
  hideCountdown();
}

/**
 * Hold the clearing while a visitor waits for the service, and leave a minute to read its answer.
 * @param {number} seconds
 */
export function hold(seconds) {
  const held = Date.now() + 1000 * (seconds + IDLE);
  deadline = Math.max(deadline, Math.min(held, touched + 1000 * LONGEST));
}

/** @param {number} left Seconds. */
function showCountdown(left) {
  const bar = byId("clearing");
  // A screen reader hears it twice, not every second.
  if (bar.hidden || left === WARNED / 2) {
    const words = text("clearing.announce", { seconds: left });
    if (bar.dataset.announced !== String(left)) announce(words);
    bar.dataset.announced = String(left);
  }
  bar.hidden = false;
  byId("clearing-text").textContent = text("clearing.countdown", { seconds: left });
}

function hideCountdown() {
  const bar = byId("clearing");
  if (bar.hidden) return;
  bar.hidden = true;
  delete bar.dataset.announced;
  byId("clearing-text").textContent = "";
  announce("");
}

/**
 * Clear on every way out of the page and back into it.
 * @param {() => void} clear
 */
export function clearOnLeaving(clear) {
  addEventListener("pagehide", clear);
  // The page cache restores a page as it was left; pagehide has cleared it, and this makes sure.
  addEventListener("pageshow", (event) => {
    if (event.persisted) clear();
  });
}
