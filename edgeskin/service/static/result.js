/** The screen of a result: the parts of an assessment in their order, and what can be done with it. */

import { isKiosk } from "./address.js";
import { element } from "./dom.js";
import { evidence } from "./evidence.js";
import { button } from "./screens.js";
import * as service from "./service.js";
import { currentLanguage, dateTime, text } from "./texts.js";
import * as parts from "./verdict.js";
import { addressOf, visit } from "./visit.js";

/**
 * @typedef {object} Ways What leads to another screen.
 * @property {() => void} again
 * @property {() => void} compare
 */

/**
 * The screen of an assessment of any status.
 * @param {boolean} hasWording Whether the service words messages.
 * @param {Ways} ways
 * @returns {HTMLElement[]}
 */
export function result(hasWording, ways) {
  const { assessment, context } = visit;
  const isAssessed = assessment.status === "assessed";
  const date = dateTime(/** @type {Date} */ (visit.assessed));
  const content = isAssessed
    ? [
        parts.verdict(assessment),
        parts.warning(assessment),
        evidence(),
        element("div", { class: "details" },
          parts.probability(assessment),
          parts.findings(assessment),
          parts.confidence(assessment),
          parts.advice(assessment),
          parts.limits(assessment)),
        hasWording && plainWords(),
        parts.safetyNet(),
        actions(ways),
        parts.origin(assessment, date, context),
      ]
    : [
        parts.refusal(assessment),
        assessment.status === "retake" && parts.section(text("refused.advice_title"), "quality", parts.instructions(assessment.quality.failed)),
        element("div", { class: "choices" }, button("do.again", "camera", ways.again, "main large")),
        parts.safetyNet(),
      ];
  return content.filter((one) => one instanceof HTMLElement);
}

/**
 * The message in plain language: the service's own sentence, and below it a language model's, marked as such.
 */
function plainWords() {
  const { photo, context, abort, messages } = visit;
  const language = currentLanguage();
  const place = parts.section(text("message.title"), "message");
  place.hidden = true;
  const asked = messages.get(language) ?? service.message(/** @type {Blob} */ (photo), context, language, abort.signal);
  messages.set(language, asked);
  asked.then((answer) => {
    place.append(element("p", {}, answer.text));
    if (answer.message) {
      place.append(element("blockquote", {}, element("p", {}, answer.message), element("p", { class: "soft" }, text("message.by_machine"))));
    }
    place.hidden = false;
  }).catch(() => messages.delete(language)); // the result says all that the message does
  return place;
}

/** @param {Ways} ways */
function actions(ways) {
  const status = element("p", { class: "soft", role: "status" }, !isKiosk() && text("do.report_language"));
  return element("section", { class: "part actions" },
    element("h2", {}, text("do.title")),
    element("div", { class: "choices" },
      button("do.again", "camera", ways.again, "main large"),
      !isKiosk() && button("do.compare", "compare", ways.compare, "large"),
      !isKiosk() && button("do.save", "save", () => saveReport(status), "large"),
      button("do.print", "print", () => print(), "large")),
    status);
}

/** @param {HTMLElement} status Says how far it is. */
async function saveReport(status) {
  const { photo, context, abort, assessed } = visit;
  status.textContent = text("do.saving");
  try {
    const html = await service.report(/** @type {Blob} */ (photo), context, abort.signal);
    const minute = /** @type {Date} */ (assessed).toISOString().slice(0, 16).replaceAll(/[-:]/g, "");
    element("a", { href: addressOf(html), download: `edgeskin-${minute}.html` }).click();
    status.textContent = text("do.saved");
  } catch {
    if (!abort.signal.aborted) status.textContent = text("do.save_failed");
  }
}
