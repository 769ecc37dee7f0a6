/** What the page's address says: the token that the service wants, and whether a kiosk shows the page. */

const TOKEN = "edgeskin-token";
const KIOSK = "edgeskin-kiosk";
/** The characters of a token. A header cannot carry most others. */
const PRINTABLE = /^[\x21-\x7e]+$/;

/**
 * Take `#token=…` and `#kiosk` out of the address bar and history at once. Nothing else is stored, and both end with
 * the browser's tab.
 */
export function takeAddress() {
  const given = new URLSearchParams(location.hash.slice(1).replaceAll("+", "%2B"));
  if (!given.has("token") && !given.has("kiosk")) return;
  history.replaceState(history.state, "", location.pathname + location.search);
  if (given.has("token")) setToken(given.get("token") ?? "");
  if (given.has("kiosk")) sessionStorage.setItem(KIOSK, "yes");
}

/** @param {string} token */
export function setToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

/** The token; one that cannot be sent is forgotten, and the service asks for another. */
export function storedToken() {
  const token = sessionStorage.getItem(TOKEN) ?? "";
  if (PRINTABLE.test(token)) return token;
  sessionStorage.removeItem(TOKEN);
  return null;
}

/** Whether the page is a kiosk's, whose browser neither opens nor saves files. */
export function isKiosk() {
  return sessionStorage.getItem(KIOSK) !== null;
}
