/** Two photos of one lesion side by side, and what has changed beyond its limits. */

import { element } from "./dom.js";
import { icon } from "./icons.js";
import { codeText, number, percent, text } from "./texts.js";
import { errorText, refusal, safetyNet, section, verdict, warning } from "./verdict.js";

/**
 * @param {any} answer Of /v1/compare, or the body of its error: then with `error`.
 * @param {string} beforeUrl
 * @param {string} afterUrl
 * @returns {HTMLElement[]}
 */
export function comparison(answer, beforeUrl, afterUrl) {
  const { before, after, error } = answer;
  const photos = element("div", { class: "pair" }, one(before, beforeUrl, "before"), one(after, afterUrl, "after"));
  if (error) {
    return [
      heading(text("compare.failed_title")),
      element("p", { class: "lead" }, errorText(error.code)),
      element("p", { class: "act" }, text("compare.may_have_changed")),
      element("p", {}, text("compare.each_alone")), photos,
      before.risk && after.risk && element("p", { class: "act" }, text("compare.act")), safetyNet(),
    ].filter((part) => part instanceof HTMLElement);
  }
  const changed = answer.changes.some((/** @type {any} */ change) => change.beyond);
  const isOtherRisk = before.risk !== after.risk;
  const isNews = changed || isOtherRisk;
  return [
    heading(text("compare.title")),
    element("div", { class: `change ${isNews ? "changed" : "unchanged"}` }, icon(isNews ? "MEDIUM" : "hint"),
      element("div", {},
        isOtherRisk && element("p", {}, text("compare.risk_changed")),
        element("p", {}, text(changed ? "compare.changed" : "compare.unchanged")))),
    element("p", { class: "act" }, text("compare.act")),
    photos,
    section(text("compare.judgement"), "changes", table(answer),
      element("p", { class: "soft" }, text("compare.limits_of", { pairs: answer.limits_of.pairs })),
      element("p", {}, text("compare.note"))),
    safetyNet(),
  ];
}

/** @param {string} words */
function heading(words) {
  return element("h1", { tabindex: "-1" }, words);
}

/**
 * @param {any} assessment
 * @param {string} url
 * @param {"before" | "after"} which
 */
function one(assessment, url, which) {
  const photo = element("img", { class: "photo", src: url, alt: text(`compare.${which}`) });
  photo.addEventListener("error", () => photo.replaceWith(element("p", { class: "no-preview" }, text("evidence.no_preview"))));
  return element("figure", {},
    element("figcaption", {}, text(`compare.${which}`)), photo,
    ...(assessment.status === "assessed"
      ? [verdict(assessment, "h2"), warning(assessment, "h3")]
      : [refusal(assessment, "h2")]));
}

/** @param {any} answer */
function table(answer) {
  const head = ["compare.measure", "compare.value_before", "compare.value_after", "compare.judgement"];
  return element("table", {},
    element("thead", {}, element("tr", {}, ...head.map((key) => element("th", { scope: "col" }, text(key))))),
    element("tbody", {}, ...answer.changes.map((/** @type {any} */ change) => row(change, answer))));
}

/**
 * @param {any} change
 * @param {any} answer
 */
function row(change, { before, after }) {
  // Log odds are the right scale to compare on, and say nothing to people.
  const isProbability = change.name === "cancer_log_odds";
  const values = isProbability
    ? [percent(before.cancer_probability), percent(after.cancer_probability)]
    : [number(change.before), number(change.after)];
  const judgement = change.beyond === null ? "no_limit" : change.beyond ? "beyond" : "within";
  const heads = ["compare.value_before", "compare.value_after"];
  return element("tr", { class: judgement },
    element("th", { scope: "row" }, codeText("change", change.name, change.name)),
    ...values.map((value, index) => element("td", { "data-head": text(heads[index]) }, value)),
    element("td", { class: "judgement" }, judgement === "beyond" && icon("MEDIUM"), text(`compare.${judgement}`)));
}
