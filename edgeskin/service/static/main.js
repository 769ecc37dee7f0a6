/** The page: what each button does, and which screen follows. */

import * as camera from "./camera.js";
import * as clearing from "./clearing.js";
import { byId, element } from "./dom.js";
import * as evidenceView from "./evidence.js";
import { comparison } from "./follow_up.js";
import * as guidance from "./guidance.js";
import { icon, placeIcons } from "./icons.js";
import { announce, currentScreen, show } from "./screens.js";
import * as service from "./service.js";
import { currentLanguage, dateTime, loadTexts, setLanguage, text } from "./texts.js";
import * as parts from "./verdict.js";
import { addressOf, begin, end, pause, visit } from "./visit.js";

/** Codes after which the service asks to come again by itself. */
const BUSY = ["queue_full", "draining", "rate_limited", "timed_out"];
const LEAST_WAIT = 2; // seconds

/** What GET /v1/model says; null until it has answered. @type {any} */
let model = null;
/** Builds the screen that is shown anew, in another language. @type {() => void} */
let rebuild = () => {};
/** What to do again once the token is known. @type {() => void} */
let afterToken = () => {};
/** Whether a token was entered since the service last accepted one. */
let isTokenTried = false;
/** Ends the guidance when the camera is left. */
let framing = new AbortController();

/** Forget the person and begin again. */
function startOver() {
  framing.abort();
  camera.close();
  end();
  evidenceView.clear();
  rebuild = () => {};
  afterToken = () => {};
  for (const id of ["result", "comparison", "notice"]) byId(id).replaceChildren();
  for (const id of ["age", "site", "file", "native-file", "earlier-file", "token-value"]) byId(id).value = "";
  for (const id of ["token-problem", "camera-reason", "waiting-title", "advice"]) byId(id).textContent = "";
  byId("age").removeAttribute("aria-invalid");
  byId("age-problem").hidden = true;
  byId("capture").disabled = true;
  announce("");
  isTokenTried = false;
  show("start");
}

/** Whether anything on the page belongs to a person. */
function hasContent() {
  const isWaitingForToken = currentScreen() === "token" && visit.photo === null && byId("token-value").value === "";
  if (isWaitingForToken) return false;
  return currentScreen() !== "start" || byId("age").value !== "" || byId("site").value !== "";
}

/**
 * Age and site, if they can be used; null, with the reason beside the field, if the age cannot.
 * @returns {Record<string, string> | null}
 */
function readContext() {
  const age = byId("age");
  const isValid = age.validity.valid;
  age.setAttribute("aria-invalid", String(!isValid));
  byId("age-problem").hidden = isValid;
  if (!isValid) {
    age.focus();
    return null;
  }
  return { age: age.value, site: byId("site").value };
}

async function openCamera() {
  const context = readContext();
  if (!context) return;
  clearing.enterVisit();
  framing.abort();
  framing = new AbortController();
  const { signal } = framing;
  show("camera");
  guidance.say(() => text("camera.starting"), false);
  rebuild = () => guidance.repeat();
  try {
    await camera.open(signal, () => {
      framing.abort();
      explainCamera("none");
    });
  } catch (error) {
    if (!(error instanceof camera.CameraError)) throw error;
    if (!signal.aborted) explainCamera(error.reason);
    return;
  }
  if (signal.aborted) return;
  guidance.say(() => text("camera.place"), false);
  byId("capture").disabled = false;
  await guidance.guide(signal, () => askForToken(openCamera));
}

/** @param {string} reason */
function explainCamera(reason) {
  rebuild = () => {
    byId("camera-reason").textContent = text(`camera.${reason}`);
  };
  rebuild();
  show("camera-problem");
}

async function capture() {
  const context = readContext();
  if (!context || !camera.isReady()) return;
  byId("capture").disabled = true;
  let photo;
  try {
    photo = await camera.photo();
  } catch (error) {
    if (!(error instanceof camera.CameraError)) throw error;
    explainCamera(error.reason);
    return;
  } finally {
    framing.abort();
    camera.close();
  }
  assess(photo, context);
}

/**
 * @param {HTMLInputElement} input
 * @param {(file: File) => void} use
 */
function onFile(input, use) {
  input.addEventListener("change", () => {
    const file = input.files?.[0];
    input.value = ""; // so that the same file can be chosen again
    if (file) use(file);
  });
}

/** @param {Blob} photo */
function useFile(photo) {
  const context = readContext();
  if (!context) return;
  clearing.enterVisit();
  assess(photo, context);
}

/**
 * Assess a photo and show its result.
 * @param {Blob} photo
 * @param {Record<string, string>} context
 */
async function assess(photo, context) {
  begin(photo, context);
  evidenceView.clear();
  await attempt("waiting.title", async (signal) => {
    visit.assessment = await service.assess(photo, context, signal);
    visit.assessed = new Date();
    model ??= await service.model(signal).catch(() => null);
    showRecords();
    if (signal.aborted) return;
    rebuild = buildResult;
    rebuild();
    show("result");
  });
}

/**
 * Do what asks the service, with a screen for each way that it can fail.
 * @param {string} title Of the screen that is shown meanwhile.
 * @param {(signal: AbortSignal) => Promise<void>} work
 */
async function attempt(title, work) {
  const { signal } = visit.abort;
  const again = () => attempt(title, work);
  rebuild = () => {
    byId("waiting-title").textContent = text(title);
  };
  rebuild();
  show("waiting");
  try {
    if (visit.photo && isTooLarge(visit.photo)) throw new service.ServiceError("body_too_large");
    await work(signal);
    isTokenTried = false;
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof service.ServiceError)) throw error;
    if (error.code === "unauthorized") askForToken(again);
    else if (error.code === "unreachable") explain("unplugged", "offline.title", () => text("offline.text"), again);
    else if (BUSY.includes(error.code)) waitAndRetry(error, signal, again);
    else explain("refused", "failed.title", () => parts.errorText(error.code), again);
  }
}

/**
 * A server closes the connection on a body that is too large, which a browser cannot tell from a server that is
 * away. So the page looks first.
 * @param {Blob} photo
 */
function isTooLarge(photo) {
  return model !== null && photo.size > 1e6 * model.limits.max_megabytes;
}

/**
 * A screen with one reason and one way out.
 * @param {string} sign Name of its icon.
 * @param {string} title
 * @param {() => string} reason
 * @param {(() => void) | null} again
 */
function explain(sign, title, reason, again) {
  rebuild = () => {
    byId("notice").replaceChildren(
      element("div", { class: "verdict refused" }, icon(sign),
        element("div", {}, element("h1", { tabindex: "-1" }, text(title)), element("p", { class: "action" }, reason()))),
      element("div", { class: "choices" },
        again && button("do.retry", "again", again, "main large"),
        button("do.start_over", "back", startOver, "large")));
  };
  rebuild();
  show("notice");
}

/**
 * Count down to another try.
 * @param {service.ServiceError} error
 * @param {AbortSignal} signal
 * @param {() => void} again
 */
async function waitAndRetry(error, signal, again) {
  let left = Math.max(LEAST_WAIT, error.retryAfter);
  const countdown = element("p", { class: "countdown" });
  const words = () => text("busy.countdown", { seconds: left });
  rebuild = () => {
    countdown.textContent = words();
    byId("notice").replaceChildren(
      element("div", { class: "verdict refused" }, icon("clock"),
        element("div", {}, element("h1", { tabindex: "-1" }, text("busy.title")),
          element("p", {}, parts.errorText(error.code)), countdown)),
      element("div", { class: "choices" }, button("do.start_over", "back", startOver, "large")));
  };
  rebuild();
  show("notice");
  announce(words());
  try {
    for (; left > 0; left -= 1) {
      countdown.textContent = words();
      await pause(1000, signal);
    }
  } catch {
    return; // the visit has ended
  }
  again();
}

/**
 * Ask for the token that the service wants.
 * @param {() => void} then
 */
function askForToken(then) {
  framing.abort();
  camera.close();
  afterToken = then;
  const isWrong = isTokenTried;
  rebuild = () => {
    byId("token-problem").textContent = isWrong ? text("token.wrong") : "";
  };
  rebuild();
  show("token");
}

/** Learn what the service is, and whether it asks for a token. The page works without: it asks again later. */
async function meet() {
  try {
    model = await service.model(visit.abort.signal);
    if (currentScreen() === "token") startOver();
    showRecords();
  } catch (error) {
    if (error instanceof service.ServiceError && error.code === "unauthorized") askForToken(meet);
    else if (currentScreen() === "token") startOver();
  }
}

/** Say whether the service stores photos, once it is known. */
function showRecords() {
  byId("records").textContent = model === null ? "" : text(model.records ? "privacy.records" : "privacy.not_stored");
}

function buildResult() {
  const { assessment, context } = visit;
  const isAssessed = assessment.status === "assessed";
  const date = dateTime(/** @type {Date} */ (visit.assessed));
  const content = isAssessed
    ? [
        parts.verdict(assessment),
        parts.warning(assessment),
        evidenceView.evidence(),
        element("div", { class: "details" },
          parts.probability(assessment),
          parts.findings(assessment),
          parts.confidence(assessment),
          parts.advice(assessment),
          parts.limits(assessment)),
        model?.wording && plainWords(),
        parts.safetyNet(),
        actions(),
        parts.origin(assessment, date, context),
      ]
    : [
        parts.refusal(assessment),
        assessment.status === "retake" && parts.section(text("refused.advice_title"), "quality", parts.instructions(assessment.quality.failed)),
        element("div", { class: "choices" }, button("do.again", "camera", startOver, "main large")),
        parts.safetyNet(),
      ];
  byId("result").replaceChildren(...content.filter((one) => one));
}

/**
 * The message in plain language: the service's own sentence, and below it a language model's, marked as such.
 */
function plainWords() {
  const { photo, context, abort } = visit;
  const place = parts.section(text("message.title"), "message");
  place.hidden = true;
  service.message(/** @type {Blob} */ (photo), context, currentLanguage(), abort.signal).then((answer) => {
    place.append(element("p", {}, answer.text));
    if (answer.message) {
      place.append(element("blockquote", {}, element("p", {}, answer.message), element("p", { class: "soft" }, text("message.by_machine"))));
    }
    place.hidden = false;
  }).catch(() => {}); // the result says all that the message does
  return place;
}

function actions() {
  const status = element("p", { class: "soft", role: "status" }, text("do.report_language"));
  return element("section", { class: "part actions" },
    element("h2", {}, text("do.title")),
    element("div", { class: "choices" },
      button("do.again", "camera", startOver, "main large"),
      button("do.compare", "compare", () => byId("earlier-file").click(), "large"),
      button("do.save", "save", () => saveReport(status), "large"),
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

/** @param {Blob} earlier */
async function compare(earlier) {
  const { photo, photoUrl } = visit;
  if (!photo) return;
  await attempt("waiting.compare_title", async (signal) => {
    if (isTooLarge(earlier)) throw new service.ServiceError("body_too_large");
    let answer;
    try {
      answer = await service.compare(earlier, photo, signal);
    } catch (error) {
      // Photos that cannot be compared are shown each by itself.
      if (!(error instanceof service.ServiceError) || !error.body?.before) throw error;
      answer = error.body;
    }
    if (signal.aborted) return;
    const earlierUrl = addressOf(earlier);
    rebuild = () => byId("comparison").replaceChildren(
      ...comparison(answer, earlierUrl, /** @type {string} */ (photoUrl)),
      element("div", { class: "choices" },
        button("do.back_to_result", "back", backToResult, "main large"),
        button("do.print", "print", () => print(), "large"),
        button("do.start_over", "again", startOver, "large")));
    rebuild();
    show("comparison");
  });
}

function backToResult() {
  byId("comparison").replaceChildren();
  rebuild = buildResult;
  rebuild();
  show("result");
}

/**
 * @param {string} key Of its text.
 * @param {string} sign Name of its icon.
 * @param {() => void} action
 * @param {string} looks
 */
function button(key, sign, action, looks) {
  return element("button", { type: "button", class: looks, click: () => action() }, icon(sign), element("span", {}, text(key)));
}

function listen() {
  byId("open-camera").addEventListener("click", openCamera);
  byId("open-file").addEventListener("click", () => readContext() && byId("file").click());
  byId("native-camera").addEventListener("click", () => byId("native-file").click());
  byId("capture").addEventListener("click", capture);
  byId("leave-camera").addEventListener("click", startOver);
  onFile(byId("file"), useFile);
  onFile(byId("native-file"), useFile);
  onFile(byId("earlier-file"), compare);
  byId("token-form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    service.setToken(byId("token-value").value.trim());
    byId("token-value").value = "";
    isTokenTried = true;
    afterToken();
  });
  // Following the link would be a step in the history, after which Back would clear the page.
  document.querySelector(".skip")?.addEventListener("click", (event) => {
    event.preventDefault();
    byId("content").focus();
  });
  // A bookmark with a token, opened in the tab that shows the page already.
  addEventListener("hashchange", () => {
    service.takeToken();
    meet();
  });
  for (const one of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-language]"))) {
    one.addEventListener("click", () => {
      setLanguage(/** @type {any} */ (one.dataset.language));
      showRecords();
      announce(""); // it was said in the other language
      rebuild();
    });
  }
}

service.takeToken();
await loadTexts();
placeIcons();
listen();
clearing.clearOnLeaving(startOver);
clearing.clearWhenIdle(hasContent, startOver);
byId("page").hidden = false;
show("start", { focus: false });
await meet();
