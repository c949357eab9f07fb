/** The buttons on the photo, one per garment: what it is and its colors, placed so that they do not cover each other. */

import { make } from "./dom.js";
import { capital, screenColor, word } from "./format.js";
import { whole } from "./outlines.js";

/** @typedef {import("./api.js").Garment} Garment */

const MOST_SWATCHES = 3;
const LEAST_SHARE = 0.1;
const GAP = 4;
/** How many times as large as its chip a garment must be to carry it. */
const HIDING = 2.5;

/**
 * A swatch of a named color.
 * @param {string} name
 */
export function swatch(name) {
  const spot = make("span", { class: "swatch", title: name });
  spot.style.backgroundColor = screenColor(name);
  return spot;
}

/**
 * The button of a garment.
 * @param {Garment} garment
 * @param {string} place "2 of 5"
 * @param {() => void} tapped
 * @returns {HTMLElement}
 */
export function chip(garment, place, tapped) {
  const colors = (garment.colors || []).filter(({ share }) => share >= LEAST_SHARE).slice(0, MOST_SWATCHES);
  const spoken = colors.map(({ name, share }) => `${name} ${Math.round(share * 100)} %`).join(", ");
  const name = capital(word(garment.category));
  return make(
    "button",
    { type: "button", class: "chip", onclick: tapped, "aria-pressed": "false",
      "aria-label": `${name}${spoken ? `, ${spoken}` : ""}; garment ${place}` },
    make("span", { class: "swatches", "aria-hidden": "true" }, ...colors.map((color) => swatch(color.name))),
    make("span", { class: "chip-name", "aria-hidden": "true" }, name),
  );
}

/**
 * Put every chip on its garment: in its middle if there is room, else where it covers no other one.
 * @param {HTMLElement} frame
 * @param {HTMLElement[]} chips
 * @param {Garment[]} garments
 */
export function place(frame, chips, garments) {
  const { clientWidth: width, clientHeight: height } = frame;
  /** @type {{left: number, top: number, right: number, bottom: number}[]} */
  const taken = [];
  chips.forEach((button, index) => {
    const size = { width: button.offsetWidth, height: button.offsetHeight };
    const spots = candidates(whole(garments[index].box), { width, height }, size).map(([x, y]) => {
      const left = Math.max(GAP, Math.min(width - size.width - GAP, x - size.width / 2));
      const top = Math.max(GAP, Math.min(height - size.height - GAP, y - size.height / 2));
      return { left, top, right: left + size.width, bottom: top + size.height };
    });
    const spot = spots.find((each) => taken.every((other) => apart(each, other))) || spots[0];
    taken.push(spot);
    button.style.left = `${spot.left}px`;
    button.style.top = `${spot.top}px`;
  });
}

/**
 * Points for a chip's middle, best first: on the garment, or beside it where the chip would hide it.
 * @param {{x0: number, y0: number, x1: number, y1: number}} box
 * @param {{width: number, height: number}} frame
 * @param {{width: number, height: number}} size of the chip
 * @returns {number[][]}
 */
function candidates(box, frame, size) {
  const [x0, y0, x1, y1] = [box.x0 * frame.width, box.y0 * frame.height, box.x1 * frame.width, box.y1 * frame.height];
  const [x, y, across, down] = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0];
  const inside = [0.5, 0.3, 0.7, 0.1, 0.9].map((share) => [x, y0 + share * down]);
  const corners = [[x0, y0], [x1, y1], [x0, y1], [x1, y0], [x0, y], [x1, y]];
  const [wide, high] = [size.width / 2 + GAP, size.height / 2 + GAP];
  const beside = [[x1 + wide, y], [x0 - wide, y], [x, y1 + high], [x, y0 - high], [x1 + wide, y0], [x0 - wide, y1]];
  const fits = (/** @type {number[]} */ [left, top]) =>
    left >= wide && left <= frame.width - wide && top >= high && top <= frame.height - high;
  const hidden = across * down < HIDING * size.width * size.height;
  return hidden ? [...beside.filter(fits), ...inside, ...corners] : [...inside, ...corners, ...beside];
}

/**
 * @param {{left: number, top: number, right: number, bottom: number}} one
 * @param {{left: number, top: number, right: number, bottom: number}} other
 */
function apart(one, other) {
  return (
    one.right + GAP <= other.left || other.right + GAP <= one.left ||
    one.bottom + GAP <= other.top || other.bottom + GAP <= one.top
  );
}
