/** The page's words: one table, a key and its text in each language. Nothing else is shown to people. */

/** @typedef {"en" | "de"} Language */

/** A probability below this, or as close to 1, is not written out. */
const LEAST = 0.001;

/** @type {Record<string, Record<Language, string>>} */
let table = {};
/** @type {Language} */
let language = "en";

/** Load the table, and begin with the first language of the browser that is in it. */
export async function loadTexts() {
  const answer = await fetch("/static/texts.json");
  table = await answer.json();
  const preferred = navigator.languages.map((one) => one.slice(0, 2).toLowerCase());
  setLanguage(/** @type {Language} */ (preferred.find((one) => one === "de" || one === "en") ?? "en"));
}

/** @returns {Language} */
export function currentLanguage() {
  return language;
}

/**
 * Whether the table has a key.
 * @param {string} key
 */
export function hasText(key) {
  return key in table;
}

/**
 * The text of a key.
 * @param {string} key
 * @param {Record<string, string | number>} [values] Of the text's {placeholders}.
 * @returns {string}
 */
export function text(key, values = {}) {
  return table[key][language].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/**
 * A code of the service in words. A newer service may know codes that this page does not.
 * @param {string} kind Prefix of the key, such as `error`.
 * @param {string} code
 * @param {string} otherwise What to show for an unknown code.
 */
export function codeText(kind, code, otherwise) {
  const key = `${kind}.${code}`;
  return hasText(key) ? text(key) : otherwise;
}

/**
 * Change the language of everything that index.html holds. What modules have built they build anew.
 * @param {Language} chosen
 */
export function setLanguage(chosen) {
  language = chosen;
  document.documentElement.lang = chosen;
  document.title = text("page.title");
  for (const one of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-text]"))) {
    one.textContent = text(one.dataset.text ?? "");
  }
  for (const one of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-label]"))) {
    one.setAttribute("aria-label", text(one.dataset.label ?? ""));
  }
  for (const one of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-language]"))) {
    one.setAttribute("aria-pressed", String(one.dataset.language === chosen));
  }
}

/**
 * A share as whole per cent.
 * @param {number} share 0 to 1.
 */
export function wholePercent(share) {
  return new Intl.NumberFormat(language, { style: "percent" }).format(share);
}

/**
 * A probability as per cent. Values close to 0 and 1 are never rounded to certainty.
 * @param {number} probability 0 to 1.
 */
export function percent(probability) {
  const digits = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
  const format = new Intl.NumberFormat(language, { style: "percent", ...digits });
  if (probability < LEAST) return `<${format.format(LEAST)}`;
  if (probability > 1 - LEAST) return `>${format.format(1 - LEAST)}`;
  return format.format(probability);
}

/**
 * A number with two digits after the decimal sign at most.
 * @param {number} value
 */
export function number(value) {
  return new Intl.NumberFormat(language, { maximumFractionDigits: 2 }).format(value);
}

/**
 * Day and minute in words of the language.
 * @param {Date} date
 */
export function dateTime(date) {
  const regional = navigator.languages.find((one) => one.startsWith(language)) ?? language;
  return new Intl.DateTimeFormat(regional, { dateStyle: "long", timeStyle: "short" }).format(date);
}
