/** The API key, where the server asks for one: typed in, kept for this tab, sent as a header and nowhere else. */

import { found } from "./dom.js";

const NAME = "lookalike-key";

export const key = {
  /** @returns {string} empty without one */
  get value() {
    return sessionStorage.getItem(NAME) || "";
  },

  /** @returns {Record<string, string>} what a request carries */
  headers() {
    return this.value ? { "X-Api-Key": this.value } : {};
  },

  /** Forget it. */
  forget() {
    sessionStorage.removeItem(NAME);
  },

  /**
   * Ask for one until something is typed in.
   * @param {string} why what the server said of the last one
   * @returns {Promise<void>}
   */
  ask(why) {
    const dialog = /** @type {HTMLDialogElement} */ (found("key"));
    const input = /** @type {HTMLInputElement} */ (found("key-input"));
    found("key-wrong").textContent = this.value ? why : "";
    input.value = "";
    if (!dialog.open) dialog.showModal();
    input.focus();
    return new Promise((resolve) => {
      // Without a key nothing works, so Esc leads nowhere.
      const stay = (/** @type {Event} */ event) => event.preventDefault();
      dialog.addEventListener("cancel", stay);
      dialog.addEventListener(
        "close",
        () => {
          dialog.removeEventListener("cancel", stay);
          sessionStorage.setItem(NAME, input.value.trim());
          input.value = "";
          resolve();
        },
        { once: true },
      );
    });
  },
};
