/** The photo's centre square under a heat map, whose opacity a slider sets. */

import { element } from "./dom.js";
import { button } from "./screens.js";
import * as service from "./service.js";
import { codeText, text, wholePercent } from "./texts.js";
import { addressOf, visit } from "./visit.js";

/** The target that is shown first. */
const FIRST = "cancer";

/** What the person has chosen, kept when the screen is built anew in another language. */
const chosen = { target: FIRST, opacity: 100 };

/** Maps of this visit, by target. @type {Map<string, {url: string, isLow: boolean}>} */
const maps = new Map();

/** Forget the maps of this visit. */
export function clear() {
  maps.clear();
  Object.assign(chosen, { target: FIRST, opacity: 100 });
}

/**
 * The photo, the map, the slider and the choice of what signs to show.
 * @returns {HTMLElement}
 */
export function evidence() {
  const { assessment, photoUrl } = visit;
  const photo = element("img", { class: "photo", src: photoUrl, alt: text("evidence.photo") });
  const map = element("img", { class: "map", alt: "", hidden: true });
  const stack = element("div", { class: "stack" }, photo, map);
  photo.addEventListener("error", () => {
    stack.classList.add("no-preview");
    photo.replaceWith(element("p", {}, text("evidence.no_preview")));
  });
  const caption = element("p", { class: "caption", role: "status" });
  const retry = button("do.retry", "again", () => draw(), "");
  const slider = /** @type {HTMLInputElement} */ (element("input", {
    type: "range", id: "opacity", min: 0, max: 100, step: 5, value: chosen.opacity,
    input: () => fade(),
  }));
  const targets = [FIRST, ...assessment.model.classes];
  const select = /** @type {HTMLSelectElement} */ (element("select", {
    id: "target",
    autocomplete: "off",
    change: () => {
      chosen.target = select.value;
      draw();
    },
  }, ...targets.map((target) => element("option", { value: target, selected: target === chosen.target }, named(target)))));
  const control = element("label", { class: "opacity" }, element("span", {}, text("evidence.opacity")), slider);
  const legend = element("div", { class: "legend", "aria-hidden": "true" },
    element("span", {}, text("evidence.less")), element("span", { class: "colors" }), element("span", {}, text("evidence.more")));

  function fade() {
    chosen.opacity = Number(slider.value);
    map.style.opacity = String(chosen.opacity / 100);
    slider.setAttribute("aria-valuetext", text("evidence.opacity_value", { value: wholePercent(chosen.opacity / 100) }));
  }

  /** @param {{url: string, isLow: boolean} | null} found */
  function showMap(found) {
    const hasMap = found !== null && !found.isLow;
    map.hidden = !hasMap;
    control.hidden = legend.hidden = !hasMap;
    retry.hidden = true;
    if (hasMap) map.setAttribute("src", found.url);
    else map.removeAttribute("src");
    photo.setAttribute("alt", hasMap ? text("evidence.photo_with_map", { target: named(chosen.target) }) : text("evidence.photo"));
  }

  async function draw() {
    const { target } = chosen;
    const { photo: blob, context, abort } = visit;
    const name = named(target);
    if (!maps.has(target)) {
      showMap(null); // a map never stands under the name of another target
      caption.textContent = text("evidence.loading", { target: name });
      try {
        const png = await service.evidence(/** @type {Blob} */ (blob), target, context, abort.signal);
        const isLow = await isEmpty(png);
        if (abort.signal.aborted) return;
        maps.set(target, { url: addressOf(png), isLow });
      } catch {
        if (abort.signal.aborted || target !== chosen.target) return;
        caption.textContent = text("evidence.failed");
        retry.hidden = false;
        return;
      }
    }
    if (target !== chosen.target) return; // another one was chosen meanwhile
    const found = /** @type {{url: string, isLow: boolean}} */ (maps.get(target));
    showMap(found);
    caption.textContent = text(found.isLow ? "evidence.low" : "evidence.caption", { target: name });
  }

  showMap(null);
  fade();
  draw();
  // On paper nobody can move a slider: the photo stands there once without the map.
  const plain = element("img", { class: "photo paper-only", src: photoUrl, alt: "", error: () => plain.remove() });
  return element("section", { class: "part evidence" },
    element("h2", {}, text("evidence.title")),
    element("div", { class: "pictures" }, plain, stack),
    caption, retry, legend, control,
    element("label", { class: "target-choice" }, element("span", {}, text("evidence.target")), select));
}

/** @param {string} target */
function named(target) {
  return target === FIRST ? text("evidence.any_cancer") : codeText("class", target, target);
}

/**
 * Whether a map is transparent everywhere: the service draws none where there is hardly any evidence.
 * @param {Blob} png
 */
async function isEmpty(png) {
  const bitmap = await createImageBitmap(png);
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return !data.some((level, index) => index % 4 === 3 && level > 0);
}
