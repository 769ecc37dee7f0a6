/**
 * Building the page's elements. Text only ever becomes a text node, so that no answer of the service and no
 * file name can become markup.
 */

/**
 * The element of an id, which index.html is known to hold.
 * @param {string} id
 * @returns {any} Typed loosely: inputs, videos and buttons alike.
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found;
}

/**
 * A new element.
 * @param {string} tag
 * @param {Record<string, unknown>} [attributes] `class`, `aria-*` and so on; a function is a listener of the
 *   event that it is named after; false and null leave an attribute off.
 * @param {...(Node | string | null | false)} children Empty ones are left out.
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, /** @type {EventListener} */ (value));
    else if (value !== false && value !== null && value !== undefined) {
      made.setAttribute(name, value === true ? "" : String(value));
    }
  }
  made.append(.../** @type {(Node | string)[]} */ (children.filter((child) => child)));
  return made;
}
