/** The page: what each button does, and which screen follows. */

import { isKiosk, setToken, takeAddress } from "./address.js";
import { attempt } from "./attempt.js";
import * as camera from "./camera.js";
import * as clearing from "./clearing.js";
import { byId, element } from "./dom.js";
import * as evidenceView from "./evidence.js";
import { comparison } from "./follow_up.js";
import * as guidance from "./guidance.js";
import { placeIcons } from "./icons.js";
import { result } from "./result.js";
import { announce, button, currentScreen, rebuild, show } from "./screens.js";
import * as service from "./service.js";
import * as steps from "./steps.js";
import { loadTexts, setLanguage, text } from "./texts.js";
import { addressOf, begin, end, visit } from "./visit.js";

/** What GET /v1/model says; null until it has answered. @type {any} */
let model = null;
/** What to do again once the token is known. @type {() => void} */
let afterToken = () => {};
/** Whether a token was entered since the service last accepted one. */
let isTokenTried = false;
/** Ends the guidance when the camera is left. */
let framing = new AbortController();
/** Ends a comparison; null where there is none. @type {AbortController | null} */
let comparing = null;

/** Forget the person and begin again. */
function startOver() {
  framing.abort();
  camera.close();
  end();
  comparing = null;
  evidenceView.clear();
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
  steps.enterVisit();
  framing.abort();
  framing = new AbortController();
  const { signal } = framing;
  guidance.say(() => text("camera.starting"), false);
  show("camera", () => guidance.repeat());
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
  show("camera-problem", () => {
    byId("camera-reason").textContent = text(`camera.${reason}`);
  });
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
  steps.enterVisit();
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
  const { signal } = visit.abort;
  await attempt({
    signal,
    bytes: photo.size,
    limit: bodyLimit(),
    waiting: "waiting.title",
    failed: "status.error",
    tooLarge: ["failed.too_large", "error.body_too_large"],
    leave: (looks) => button("do.again", "camera", startOver, looks),
    askForToken,
    work: async () => {
      visit.assessment = await service.assess(photo, context, signal);
      isTokenTried = false;
      visit.assessed = new Date();
      model ??= await service.model(signal).catch(() => null);
      showPrivacy();
      if (!signal.aborted) showResult();
    },
  });
}

/** Bytes of a request that the service takes, as far as it has said so. */
function bodyLimit() {
  return model === null ? Infinity : 1e6 * model.limits.max_megabytes;
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
  show("token", () => {
    byId("token-problem").textContent = isWrong ? text("token.wrong") : "";
  });
}

/** Learn what the service is, and whether it asks for a token. The page works without: it asks again later. */
async function meet() {
  try {
    model = await service.model(visit.abort.signal);
    if (currentScreen() === "token") startOver();
    showPrivacy();
  } catch (error) {
    if (error instanceof service.ServiceError && error.code === "unauthorized") askForToken(meet);
    else if (currentScreen() === "token") startOver();
  }
}

/** Say what is stored, as far as it is known, and that the page clears itself. */
function showPrivacy() {
  const stored = model && text(model.records ? "privacy.records" : "privacy.not_stored");
  byId("privacy").replaceChildren(element("span", {}, stored), " ", element("span", {}, text("privacy.clears")));
}

/** Hide what a kiosk's browser cannot do. */
function hideFiles() {
  for (const one of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-files]"))) one.hidden = isKiosk();
}

function showResult() {
  const ways = { again: startOver, compare: () => byId("earlier-file").click() };
  show("result", () => byId("result").replaceChildren(...result(model?.wording === true, ways)));
}

/** @param {Blob} earlier */
async function compare(earlier) {
  const { photo, photoUrl, context, abort } = visit;
  if (!photo) return;
  comparing = new AbortController();
  const signal = AbortSignal.any([abort.signal, comparing.signal]);
  steps.enterComparison();
  await attempt({
    signal,
    bytes: earlier.size + photo.size,
    limit: bodyLimit(),
    waiting: "waiting.compare_title",
    failed: "compare.failed_title",
    tooLarge: ["compare.failed_title", "compare.too_large"],
    leave: (looks) => button("do.back_to_result", "back", backToResult, looks),
    askForToken,
    work: async () => {
      let answer;
      try {
        answer = await service.compare(earlier, photo, context, signal);
      } catch (error) {
        // Photos that cannot be compared are shown each by itself.
        if (!(error instanceof service.ServiceError) || !error.body?.before) throw error;
        answer = error.body;
      }
      isTokenTried = false;
      if (!signal.aborted) showComparison(answer, addressOf(earlier), /** @type {string} */ (photoUrl));
    },
  });
}

/**
 * @param {any} answer
 * @param {string} earlierUrl
 * @param {string} photoUrl
 */
function showComparison(answer, earlierUrl, photoUrl) {
  show("comparison", () => byId("comparison").replaceChildren(
    ...comparison(answer, earlierUrl, photoUrl),
    element("div", { class: "choices" },
      button("do.back_to_result", "back", backToResult, "main large"),
      button("do.print", "print", () => print(), "large"),
      button("do.start_over", "again", startOver, "large"))));
}

function backToResult() {
  comparing?.abort();
  comparing = null;
  for (const id of ["comparison", "notice"]) byId(id).replaceChildren();
  showResult();
}

function listen() {
  byId("open-camera").addEventListener("click", openCamera);
  byId("open-file").addEventListener("click", () => readContext() && byId("file").click());
  byId("native-camera").addEventListener("click", () => byId("native-file").click());
  byId("capture").addEventListener("click", capture);
  byId("leave-camera").addEventListener("click", startOver);
  byId("leave-camera-problem").addEventListener("click", startOver);
  onFile(byId("file"), useFile);
  onFile(byId("native-file"), useFile);
  onFile(byId("earlier-file"), compare);
  byId("token-form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    setToken(byId("token-value").value.trim());
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
    takeAddress();
    hideFiles();
    meet();
  });
  for (const one of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-language]"))) {
    one.addEventListener("click", () => {
      setLanguage(/** @type {any} */ (one.dataset.language));
      showPrivacy();
      announce(""); // it was said in the other language
      rebuild();
    });
  }
}

takeAddress();
await loadTexts();
placeIcons();
hideFiles();
showPrivacy();
listen();
steps.onStep(() => comparing !== null, backToResult, startOver);
clearing.clearOnLeaving(startOver);
clearing.clearWhenIdle(hasContent, startOver);
byId("page").hidden = false;
show("start", undefined, { focus: false });
await meet();
