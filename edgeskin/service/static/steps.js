/**
 * The steps of a visit in the browser's history. Back leads from a comparison to its result, and from everything else
 * to an empty start; nothing brings back what was cleared.
 */

/** Make Back lead to an empty start, and not away from the page. */
export function enterVisit() {
  if (!history.state?.visit) history.pushState({ visit: true }, "");
}

/** Make Back lead to the result. */
export function enterComparison() {
  if (!history.state?.comparison) history.pushState({ visit: true, comparison: true }, "");
}

/**
 * @param {() => boolean} isComparing Whether a comparison is shown or under way.
 * @param {() => void} backToResult
 * @param {() => void} startOver
 */
export function onStep(isComparing, backToResult, startOver) {
  addEventListener("popstate", () => {
    if (isComparing() && history.state?.visit) backToResult();
    else startOver();
  });
}
