/** The photo with its garments, and what can be done on it. */

import { chip, place } from "./chips.js";
import { found } from "./dom.js";
import { area, draw } from "./outlines.js";
import { OwnBox } from "./ownbox.js";

/** @typedef {import("./api.js").Garment} Garment */
/** @typedef {import("./photo.js").Photo} Photo */

const HINT = "Tap a garment, or draw a box of your own.";
const NOTHING = "No garment was found, so the whole photo is searched with. Draw a box around what you mean.";
const DRAWING = "Draw a box on the photo; or arrow keys, Shift to size, Enter to search, Escape to give up.";

export class Stage {
  /** @param {{tapped: (index: number) => void, boxed: (box: import("./ownbox.js").Box) => void}} hooks */
  constructor(hooks) {
    this.hooks = hooks;
    this.frame = found("frame");
    this.image = /** @type {HTMLImageElement} */ (found("photo"));
    this.svg = /** @type {SVGElement} */ (/** @type {unknown} */ (found("outlines")));
    this.group = found("garments");
    this.help = found("own-box-help");
    this.button = found("draw");
    /** @type {Garment[]} */
    this.garments = [];
    this.selected = -1;
    this.ownBox = new OwnBox(this.frame, found("own-box"), {
      searched: hooks.boxed,
      changed: (drawing) => {
        this.button.setAttribute("aria-pressed", String(drawing));
        this.help.textContent = drawing ? DRAWING : this.#hint();
      },
    });
    this.button.addEventListener("click", () => (this.ownBox.drawing ? this.ownBox.end() : this.ownBox.begin()));
    this.group.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#place()).observe(this.frame);
  }

  /**
   * Show a photo, of which nothing is known yet. Its place has its size before it is there.
   * @param {Photo} photo
   */
  show(photo) {
    found("welcome").hidden = true;
    found("tools").hidden = false;
    this.frame.hidden = false;
    this.frame.style.setProperty("--ratio", String(photo.width / photo.height));
    this.image.src = photo.url;
    this.ownBox.end();
    this.set([], -1);
  }

  /** @param {"empty" | "looking" | "done" | "failed"} state */
  set state(state) {
    found("stage").dataset.state = state;
  }

  /**
   * Show the garments of the photo.
   * @param {Garment[]} garments
   * @param {number} selected index, -1 for none
   */
  set(garments, selected) {
    this.garments = garments;
    const count = garments.length;
    const chips = garments.map((garment, index) => chip(garment, `${index + 1} of ${count}`, () => this.hooks.tapped(index)));
    this.group.replaceChildren(...chips);
    this.help.textContent = this.#hint();
    this.select(selected);
    this.#place();
  }

  /** @param {number} index -1 for none */
  select(index) {
    this.selected = index;
    draw(this.svg, this.garments, index, this.hooks.tapped);
    this.#chips().forEach((button, at) => button.setAttribute("aria-pressed", String(at === index)));
  }

  /**
   * Bring the keyboard to a garment.
   * @param {number} index
   */
  focus(index) {
    this.#chips()[index]?.focus();
  }

  #chips() {
    return /** @type {HTMLElement[]} */ ([...this.group.children]);
  }

  #hint() {
    const [first] = this.garments;
    return this.garments.length === 1 && first.source === "GARMENT_SOURCE_WHOLE_IMAGE" ? NOTHING : HINT;
  }

  #place() {
    // The small ones first: the large ones have more places to go to.
    const order = this.garments.map((_, index) => index).sort((one, other) => area(this.garments[one]) - area(this.garments[other]));
    const chips = this.#chips();
    place(this.frame, order.map((index) => chips[index]), order.map((index) => this.garments[index]));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const chips = this.#chips();
    const at = chips.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    if (!step || at < 0) return;
    event.preventDefault();
    chips[(at + step + chips.length) % chips.length].focus();
  }
}
