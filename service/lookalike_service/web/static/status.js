/** What is said beside the results: to screen readers, and in the banner when something is in the way. */

import { Away, Refused } from "./api.js";
import { found } from "./dom.js";

const banner = found("banner");
const action = /** @type {HTMLButtonElement} */ (found("banner-action"));
/** @type {(() => void) | null} */
let again = null;
/** @type {number | undefined} */
let timer;

/** The pauses before the server is asked by itself again, in seconds; the last one repeats. */
const PAUSES = [1, 2, 4, 8];
let failures = 0;

/**
 * Say something to whoever does not see it.
 * @param {string} sentence
 */
export function announce(sentence) {
  found("live").textContent = sentence;
}

/** Everything works again. */
export function clear() {
  window.clearTimeout(timer);
  failures = 0;
  banner.hidden = true;
  again = null;
}

/**
 * Say what is in the way, and offer to do it again.
 * @param {unknown} error
 * @param {() => void} [retry] what to do again; by itself when nobody answers
 */
export function trouble(error, retry) {
  window.clearTimeout(timer);
  again = retry || null;
  const away = error instanceof Away;
  banner.dataset.kind = away ? "away" : "error";
  found("banner-text").textContent = sentenceOf(error);
  action.hidden = !retry || !(away || worthAnother(error));
  banner.hidden = false;
  if (away && retry) {
    const seconds = PAUSES[Math.min(failures, PAUSES.length - 1)];
    failures += 1;
    timer = window.setTimeout(retry, seconds * 1000);
  }
}

/** @param {unknown} error */
function worthAnother(error) {
  return !(error instanceof Refused) || error.status >= 429;
}

/**
 * An error in a sentence that says what to do.
 * @param {unknown} error
 * @returns {string}
 */
export function sentenceOf(error) {
  if (error instanceof Away) {
    return navigator.onLine
      ? "The server does not answer. Your photo is kept; the page goes on by itself as soon as it is back."
      : "You are offline. Your photo is kept; the page goes on by itself when the connection is back.";
  }
  if (!(error instanceof Refused)) return error instanceof Error ? error.message : String(error);
  switch (error.reason) {
    case "IMAGE_UNREADABLE":
      return "This file is no photo that can be read. Choose a JPEG, PNG or WebP file.";
    case "IMAGE_TOO_LARGE":
      return "This photo is too large. Choose one of up to 20 MB and 50 megapixels.";
    case "OVERLOADED":
      return "The server is busy at the moment. Try again in a few seconds.";
    case "QUOTA_EXCEEDED":
      return "You have asked more than your quota allows. Wait a moment, then try again.";
    case "MODEL_UNAVAILABLE":
      return "The models are away for the moment, so that photos cannot be looked at. Try again in a few seconds.";
    case "INDEX_UNAVAILABLE":
    case "STORE_UNAVAILABLE":
      return "The catalog is away for the moment. Try again in a few seconds.";
    case "DEADLINE_EXCEEDED":
      return "That took too long. Try again, or take a smaller photo.";
    default:
      return capitalized(error.message);
  }
}

/** @param {string} text */
function capitalized(text) {
  const sentence = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
}

action.addEventListener("click", () => again?.());
found("banner-close").addEventListener("click", clear);
window.addEventListener("online", () => again?.());
