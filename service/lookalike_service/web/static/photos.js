/** The photos of this visit. They stay in the browser's memory, and go with the page. */

import { found, make } from "./dom.js";

/**
 * A photo with what was found on it.
 * @typedef {object} Shot
 * @property {import("./photo.js").Photo} photo
 * @property {string} catalog
 * @property {import("./views.js").Found[]} found
 * @property {number} selected
 */

const MOST = 12;

export class Photos {
  /** @param {(shot: Shot) => void} chosen */
  constructor(chosen) {
    this.chosen = chosen;
    this.strip = found("history");
    /** @type {Shot[]} latest first */
    this.shots = [];
  }

  /**
   * Put a photo in front of all others.
   * @param {Shot} shot
   */
  add(shot) {
    this.shots.unshift(shot);
    for (const { photo } of this.shots.splice(MOST)) URL.revokeObjectURL(photo.url);
  }

  /**
   * Take a photo out, on which nothing could be found.
   * @param {Shot} shot
   */
  drop(shot) {
    this.shots = this.shots.filter((each) => each !== shot);
    URL.revokeObjectURL(shot.photo.url);
  }

  /**
   * Show them, once there is more than one.
   * @param {Shot | null} current
   */
  show(current) {
    this.strip.hidden = this.shots.length < 2;
    this.strip.replaceChildren(...this.shots.map((shot, index) =>
      make("button",
        { type: "button", class: "shot", "aria-label": `Photo ${this.shots.length - index} of ${this.shots.length}`,
          "aria-current": shot === current ? "true" : null, onclick: () => this.chosen(shot) },
        make("img", { src: shot.photo.url, alt: "" }))));
  }
}
