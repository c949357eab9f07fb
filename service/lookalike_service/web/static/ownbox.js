/** A box of one's own on the photo: drawn with mouse, pen or finger, or moved and sized with the arrow keys. */

import { announce } from "./status.js";

/** @typedef {{x0: number, y0: number, x1: number, y1: number}} Box */

const FIRST = { x0: 0.3, y0: 0.25, x1: 0.7, y1: 0.75 };
const STEP = 0.02;
const LEAST = 0.04;
/** How far a mouse moves before it draws instead of clicking, in pixels. */
const SLACK = 8;
const HELP = "Arrow keys move the box, with Shift they size it; Enter searches in it, Escape gives up.";

export class OwnBox {
  /**
   * @param {HTMLElement} frame the photo's
   * @param {HTMLElement} element the box's
   * @param {{searched: (box: Box) => void, changed: (drawing: boolean) => void}} hooks
   */
  constructor(frame, element, hooks) {
    this.frame = frame;
    this.element = element;
    this.hooks = hooks;
    this.box = FIRST;
    this.drawing = false;
    frame.addEventListener("pointerdown", (event) => this.#down(event));
    element.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Begin to draw: the box stands in the middle, and drawing anywhere makes a new one. */
  begin() {
    this.#show(FIRST);
    this.drawing = true;
    this.frame.classList.add("drawing");
    this.element.focus();
    this.hooks.changed(true);
    announce(`A box is in the middle of the photo. ${HELP}`);
  }

  /** Give up. */
  end() {
    this.drawing = false;
    this.element.hidden = true;
    this.frame.classList.remove("drawing");
    this.hooks.changed(false);
  }

  /** @param {PointerEvent} event */
  #down(event) {
    const onChip = event.target instanceof Element && event.target.closest(".chip");
    // A finger that is not told to draw scrolls the page.
    if (event.button !== 0 || onChip || !(this.drawing || event.pointerType === "mouse")) return;
    const start = this.#point(event);
    const moved = (/** @type {PointerEvent} */ now) => {
      const far = Math.hypot(now.clientX - event.clientX, now.clientY - event.clientY) > SLACK;
      if (!far && !this.frame.hasPointerCapture(event.pointerId)) return;
      this.frame.setPointerCapture(event.pointerId);
      this.frame.classList.add("drawing");
      this.#show(spanned(start, this.#point(now)));
    };
    const ended = (/** @type {PointerEvent} */ now) => {
      this.frame.removeEventListener("pointermove", moved);
      this.frame.removeEventListener("pointerup", ended);
      this.frame.removeEventListener("pointercancel", ended);
      if (!this.frame.hasPointerCapture(event.pointerId)) return;
      if (now.type === "pointerup") this.#search();
      else this.end();
    };
    this.frame.addEventListener("pointermove", moved);
    this.frame.addEventListener("pointerup", ended);
    this.frame.addEventListener("pointercancel", ended);
    // Otherwise the browser would drag the picture.
    if (event.pointerType === "mouse") event.preventDefault();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const [across, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] || [0, 0];
    if (across || down) this.#show(event.shiftKey ? sized(this.box, across, down) : moved(this.box, across, down));
    else if (event.key === "Enter") this.#search();
    else if (event.key === "Escape") this.end();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #search() {
    const box = this.box;
    this.end();
    if (box.x1 - box.x0 >= LEAST && box.y1 - box.y0 >= LEAST) this.hooks.searched(box);
  }

  /** @param {Box} box */
  #show(box) {
    this.box = box;
    const { style } = this.element;
    style.left = `${box.x0 * 100}%`;
    style.top = `${box.y0 * 100}%`;
    style.width = `${(box.x1 - box.x0) * 100}%`;
    style.height = `${(box.y1 - box.y0) * 100}%`;
    this.element.hidden = false;
    const [left, top, right, bottom] = [box.x0, box.y0, box.x1, box.y1].map((side) => Math.round(side * 100));
    this.element.setAttribute("aria-label", `Box from ${left} to ${right} % across, ${top} to ${bottom} % down. ${HELP}`);
  }

  /**
   * @param {PointerEvent} event
   * @returns {[number, number]} 0..1
   */
  #point(event) {
    const { left, top, width, height } = this.frame.getBoundingClientRect();
    return [clamped((event.clientX - left) / width), clamped((event.clientY - top) / height)];
  }
}

/** @param {number} value */
const clamped = (value) => Math.max(0, Math.min(1, value));

/**
 * @param {[number, number]} one
 * @param {[number, number]} other
 * @returns {Box}
 */
function spanned([x, y], [u, v]) {
  return { x0: Math.min(x, u), y0: Math.min(y, v), x1: Math.max(x, u), y1: Math.max(y, v) };
}

/**
 * @param {Box} box
 * @param {number} across
 * @param {number} down
 * @returns {Box}
 */
function moved(box, across, down) {
  const x = Math.max(-box.x0, Math.min(1 - box.x1, across * STEP));
  const y = Math.max(-box.y0, Math.min(1 - box.y1, down * STEP));
  return { x0: box.x0 + x, y0: box.y0 + y, x1: box.x1 + x, y1: box.y1 + y };
}

/**
 * @param {Box} box
 * @param {number} across
 * @param {number} down
 * @returns {Box}
 */
function sized(box, across, down) {
  const x1 = Math.max(box.x0 + LEAST, Math.min(1, box.x1 + across * STEP));
  const y1 = Math.max(box.y0 + LEAST, Math.min(1, box.y1 + down * STEP));
  return { ...box, x1, y1 };
}
