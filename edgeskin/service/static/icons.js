/**
 * Icons as inline SVG in the colour of the text. They are drawn here and not loaded, so that they follow both
 * colour schemes, forced colours and print.
 */

const NAMESPACE = "http://www.w3.org/2000/svg";

/** Paths in a box of 24 x 24, drawn as lines. @type {Record<string, string>} */
const PATHS = {
  camera: "M4 8h3.2l1.6-2.5h6.4L16.8 8H20v11H4z M12 16.5a3.3 3.3 0 1 0 0-6.6 3.3 3.3 0 0 0 0 6.6z",
  picture: "M4 5h16v14H4z M4 16l4.5-4.5 4 4 2.5-2.5L20 18 M15.2 9.3h.1",
  shield: "M12 3l7 2.6v5.2c0 4.6-2.9 8-7 10.2-4.1-2.2-7-5.6-7-10.2V5.6z M9 12l2.2 2.2L15.2 10",
  light: "M12 4V2 M18 6l1.4-1.4 M20 12h2 M6 6 4.6 4.6 M4 12H2 M9 17h6 M10 20.5h4 M9 17c0-2-2-2.7-2-5.3a5 5 0 0 1 10 0c0 2.6-2 3.3-2 5.3",
  print: "M7 9V3h10v6 M7 17H4V9h16v8h-3 M7 14h10v7H7z",
  save: "M12 3v11 M7.5 10 12 14.5 16.5 10 M4 17v3.5h16V17",
  compare: "M3.5 6H10v12H3.5z M14 6h6.5v12H14z M17.2 9.5v5",
  again: "M19.5 12a7.5 7.5 0 1 1-2.2-5.3L20 9.3 M20 4v5.3h-5.3",
  back: "M10 5l-7 7 7 7 M3 12h18",
  // One shape for each risk, so that it can be recognised without colour.
  HIGH: "M8.2 2.5h7.6l5.7 5.7v7.6l-5.7 5.7H8.2l-5.7-5.7V8.2z M12 7v6.2 M12 16.6v.2",
  MEDIUM: "M12 3 22 20.5H2z M12 9.5v5 M12 17.4v.2",
  LOW: "M12 21.5a9.5 9.5 0 1 0 0-19 9.5 9.5 0 0 0 0 19z M7.5 12h9",
  refused: "M12 21.5a9.5 9.5 0 1 0 0-19 9.5 9.5 0 0 0 0 19z M9.2 9.4a2.9 2.9 0 1 1 4.3 2.5c-1 .6-1.5 1.1-1.5 2.2 M12 17.2v.2",
  clock: "M12 21.5a9.5 9.5 0 1 0 0-19 9.5 9.5 0 0 0 0 19z M12 6.5V12l3.6 2.2",
  unplugged: "M3 3l18 18 M5 12.5a10 10 0 0 1 4-2.6 M8.3 16a5.4 5.4 0 0 1 7 .2 M2.5 9a14 14 0 0 1 3.6-2.5 M10.8 5.1A14 14 0 0 1 21.500 9 M12 19.800v.1",
  good: "M4.5 12.5l5 5 10-11",
  hint: "M12 21.5a9.5 9.5 0 1 0 0-19 9.5 9.5 0 0 0 0 19z M12 7v6 M12 16.6v.2",
};

/**
 * An icon, which says nothing to a screen reader: words stand beside it.
 * @param {string} name
 * @returns {SVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS(NAMESPACE, "svg");
  const attributes = { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true", focusable: "false" };
  for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, value);
  const path = document.createElementNS(NAMESPACE, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** Put its icon before the text of each element that names one. */
export function placeIcons() {
  for (const one of document.querySelectorAll("[data-icon]")) {
    one.prepend(icon(/** @type {HTMLElement} */ (one).dataset.icon ?? ""));
  }
}
