/**
 * What belongs to the person in front of the page. It lives here and in the elements on the screen, nowhere else,
 * and `end` forgets all of it: requests under way are dropped and pictures in memory are released.
 */

/**
 * @typedef {object} Visit
 * @property {AbortController} abort Ends every request and timer of this visit.
 * @property {Blob | null} photo
 * @property {string | null} photoUrl
 * @property {Record<string, string>} context Age and site, as the service takes them.
 * @property {any} assessment
 * @property {Date | null} assessed
 * @property {Map<string, Promise<{text: string, message: string | null}>>} messages In plain words, by language.
 */

/** @type {Set<string>} */
const urls = new Set();

/** @returns {Visit} */
function empty() {
  return {
    abort: new AbortController(),
    photo: null,
    photoUrl: null,
    context: {},
    assessment: null,
    assessed: null,
    messages: new Map(),
  };
}

export let visit = empty();

/** Forget the person. */
export function end() {
  visit.abort.abort();
  for (const url of urls) URL.revokeObjectURL(url);
  urls.clear();
  visit = empty();
}

/**
 * An address of a picture in memory, released at the end of the visit.
 * @param {Blob} blob
 */
export function addressOf(blob) {
  const url = URL.createObjectURL(blob);
  urls.add(url);
  return url;
}

/**
 * Begin with a photo; what was known of another one is dropped.
 * @param {Blob} photo
 * @param {Record<string, string>} context
 */
export function begin(photo, context) {
  end();
  visit.photo = photo;
  visit.photoUrl = addressOf(photo);
  visit.context = context;
}

/**
 * Wait, unless the visit ends first.
 * @param {number} milliseconds
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) return stop();
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      stop();
    }, { once: true });
  });
}
