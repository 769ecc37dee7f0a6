/** An assessment in words: one clear verdict first, then what it rests on. */

import { element } from "./dom.js";
import { icon } from "./icons.js";
import { codeText, number, percent, text, wholePercent } from "./texts.js";

/**
 * The risk in words, shape and colour, and what should happen next.
 * @param {any} assessment Of status `assessed`.
 * @param {string} heading Tag of its title.
 */
export function verdict(assessment, heading = "h1") {
  return element("div", { class: `verdict ${assessment.risk}` },
    icon(assessment.risk),
    element("div", {},
      element(heading, { tabindex: heading === "h1" && "-1" }, text(`risk.${assessment.risk}`)),
      element("p", { class: "action" }, text(`action.${assessment.action_code}`)),
      assessment.certainty?.level === "LOW" && element("p", {}, text("result.low_confidence")),
      assessment.risk === "LOW" && element("p", {}, text("result.dermatoscope_only"))));
}

/**
 * The status of a photo that was not assessed, in place of a verdict.
 * @param {any} assessment
 * @param {string} heading
 */
export function refusal(assessment, heading = "h1") {
  return element("div", { class: "verdict refused" },
    icon("refused"),
    element("div", {},
      element("p", { class: "kicker" }, text("refused.not_assessed")),
      element(heading, { tabindex: heading === "h1" && "-1" }, text(`status.${assessment.status}`)),
      ...reasons(assessment)));
}

/** @param {any} assessment */
function reasons(assessment) {
  const { status, error, action_code: action } = assessment;
  if (error) return [element("p", { class: "action" }, errorText(error.code))];
  return [element("p", {}, text(`refused.why_${status}`)), element("p", { class: "action" }, text(`action.${action}`))];
}

/**
 * An error code in words.
 * @param {string} code
 */
export function errorText(code) {
  return codeText("error", code, text("error.unknown", { code }));
}

/**
 * What a better photo needs, by the codes of the quality gate.
 * @param {string[]} codes
 */
export function instructions(codes) {
  return element("ul", {}, ...codes.map((code) => element("li", {}, codeText("quality", code, text("error.unknown", { code })))));
}

/**
 * The probability among the ranges of risk. Thresholds lie close to 0, so each range is drawn equally wide.
 * @param {any} assessment
 */
export function scale(assessment) {
  const p = assessment.cancer_probability;
  const thresholds = assessment.operating_points.map((/** @type {any} */ point) => point.threshold);
  const [first, last] = [thresholds[0], thresholds.at(-1)];
  const ends = first === last ? [0, last, 1] : [0, first, last, 1];
  const risks = first === last ? ["LOW", "HIGH"] : ["LOW", "MEDIUM", "HIGH"];
  const range = Math.min(ends.filter((end) => p >= end).length, risks.length) - 1;
  const within = (p - ends[range]) / (ends[range + 1] - ends[range]);
  const position = (range + Math.min(Math.max(within, 0.04), 0.96)) / risks.length;

  const marker = element("div", { class: "marker" });
  marker.style.left = `${100 * position}%`;
  const label = text(first === last ? "result.scale_single" : "result.scale", {
    value: percent(p), first: percent(first), last: percent(last),
  });
  const ticks = ends.slice(1, -1).map((end, index) => {
    const tick = element("span", {}, percent(end));
    tick.style.left = `${(100 * (index + 1)) / risks.length}%`;
    return tick;
  });
  return element("div", { class: "scale", role: "img", "aria-label": label },
    element("div", { class: "ranges" },
      ...risks.map((risk) => element("div", { class: `range ${risk}` }, text(`result.zone.${risk}`))), marker),
    element("div", { class: "ticks" }, ...ticks));
}

/** @param {any} assessment */
export function probability(assessment) {
  const bound = assessment.operating_points[0].certificate;
  const { prevalence, cancer_probability: share } = assessment;
  return section(text("result.probability"), "probability",
    element("p", { class: "figure" }, percent(share)),
    scale(assessment),
    assessment.risk === "HIGH" && share < 0.5 && element("p", {},
      text("result.high_below_half", { threshold: percent(assessment.operating_points.at(-1).threshold) })),
    element("p", { class: "soft" }, text("result.not_to_scale")),
    prevalence !== null && element("p", { class: "soft" }, text("result.prevalence", { share: wholePercent(prevalence) })),
    bound !== null && !warnings(assessment).length && element("p", { class: "soft" },
      text("result.certified", {
        // Rounded down: a bound must not promise more than was measured.
        sensitivity: wholePercent(Math.floor(100 * bound.sensitivity) / 100),
        threshold: percent(assessment.operating_points[0].threshold),
        confidence: wholePercent(bound.confidence),
        lesions: bound.lesions,
      })));
}

/**
 * Plausible classes by falling probability; those that count as cancer say so.
 * @param {any} assessment
 */
export function findings(assessment) {
  const { label_set: classes, leading_label: worst, cancer_classes: cancers, probabilities } = assessment;
  if (!classes) return null;
  return section(text("result.plausible"), "findings",
    element("ul", { class: "classes" }, ...classes.map((/** @type {string} */ code) => {
      const notes = [
        cancers.includes(code) && text("result.counts_as_cancer"),
        code === worst && classes.length > 1 && text("result.most_serious"),
      ].filter((note) => note);
      return element("li", { class: cancers.includes(code) && "cancer" },
        element("span", {}, element("span", { class: "name" }, codeText("class", code, code)),
          ...notes.map((note) => element("span", { class: "note" }, note))),
        element("span", { class: "share" }, percent(probabilities[code])));
    })),
    element("p", { class: "soft" }, text("result.no_diagnosis")));
}

/** @param {any} assessment */
export function confidence(assessment) {
  const level = assessment.certainty?.level;
  return level && section(text("result.confidence"), "confidence", element("p", { class: "level" }, text(`confidence.${level}`)));
}

/** @param {any} assessment */
export function limits(assessment) {
  const items = assessment.limitations.map((/** @type {any} */ one) => element("li", {}, codeText("limitation", one.code, one.text)));
  return items.length > 0 && section(text("result.limits"), "limits", element("ul", {}, ...items));
}

/** @param {any} assessment */
export function advice(assessment) {
  const codes = assessment.quality?.advised ?? [];
  return codes.length > 0 && section(text("result.quality"), "quality", instructions(codes));
}

/**
 * For what the gates would have refused the photo, where the operator has switched them off.
 * @param {any} assessment
 * @returns {HTMLElement[]}
 */
function warnings(assessment) {
  const { ood, quality } = assessment;
  const failed = quality?.failed ?? [];
  return [
    ...(ood && ood.score > ood.threshold ? [element("p", {}, text("result.warning_scope"))] : []),
    ...(failed.length ? [instructions(failed)] : []),
  ];
}

/**
 * @param {any} assessment
 * @param {string} heading Tag of its title.
 */
export function warning(assessment, heading = "h2") {
  const found = warnings(assessment);
  return found.length > 0 && element("div", { class: "warning" },
    element(heading, {}, text("result.warning")), ...found);
}

/** What holds whatever the result is. */
export function safetyNet() {
  return section(text("page.safety_title"), "safety", element("p", {}, text("page.safety_net")));
}

/**
 * @param {any} assessment
 * @param {string} formatted The date in words.
 * @param {Record<string, string>} context
 */
export function origin(assessment, formatted, context) {
  const { name, version, precision } = assessment.model;
  const age = context.age ? number(Number(context.age)) : text("result.not_stated");
  const site = context.site ? codeText("site", context.site, context.site) : text("result.not_stated");
  return element("div", { class: "origin soft" },
    element("p", {}, text("result.date", { date: formatted })),
    element("p", {}, text("result.age", { age })),
    element("p", {}, text("result.site", { site })),
    element("p", {}, text("result.model", { name, version, precision: precision.toUpperCase() })));
}

/**
 * @param {string} title
 * @param {string} name
 * @param {...(Node | string | null | false)} children
 */
export function section(title, name, ...children) {
  return element("section", { class: `part ${name}` }, element("h2", {}, title), ...children);
}
