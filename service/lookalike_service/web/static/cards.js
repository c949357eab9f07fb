/** Products as cards. Every card has the same height, whatever its product has or lacks, so that nothing moves. */

import { make } from "./dom.js";
import { price, scoreText, titleOf } from "./format.js";
import { picture } from "./pictures.js";

/** @typedef {import("./api.js").Hit} Hit */
/** @typedef {import("./api.js").Product} Product */

/**
 * @typedef {object} CardHooks
 * @property {(product: Product) => void} opened
 * @property {((product: Product) => void)} [similar] no button without it
 */

/**
 * A card of a product.
 * @param {Hit} hit
 * @param {CardHooks} hooks
 * @param {string} [label] what stands on the picture; the score without one
 * @returns {HTMLElement}
 */
export function card(hit, hooks, label) {
  const { product } = hit;
  const title = titleOf(product);
  const said = label || scoreText(hit.score);
  const facts = [product.brand, price(product.price), product.available ? "" : "sold out", label || `score ${said}`];
  return make(
    "li",
    { class: "card" },
    make(
      "button",
      { type: "button", class: "card-open", onclick: () => hooks.opened(product),
        "aria-label": [title, ...facts].filter(Boolean).join(", ") },
      picture(product, 240, hit.image_id),
      make("span", { class: label ? "badge word" : "badge", "aria-hidden": "true" }, said),
      make("span", { class: "card-title", "aria-hidden": "true" }, title),
      make("span", { class: "card-brand", "aria-hidden": "true" }, product.brand || "\u00a0"),
      make(
        "span",
        { class: "card-price", "aria-hidden": "true" },
        price(product.price) || "\u00a0",
        product.available ? null : make("span", { class: "sold-out" }, "sold out"),
      ),
    ),
    hooks.similar
      ? make("button", { type: "button", class: "card-similar", onclick: () => hooks.similar?.(product),
          "aria-label": `View similar to ${title}` }, "View similar")
      : null,
  );
}

/**
 * Cards of products that are still to come.
 * @param {number} count
 * @param {boolean} similar whether they will have a button
 * @returns {HTMLElement[]}
 */
export function skeletons(count, similar) {
  return Array.from({ length: count }, () =>
    make(
      "li",
      { class: "card skeleton", "aria-hidden": "true" },
      make("span", { class: "card-open" }, make("span", { class: "picture" }),
        ...["card-title", "card-brand", "card-price"].map((name) => make("span", { class: name }, "\u00a0"))),
      similar ? make("span", { class: "card-similar" }, "\u00a0") : null,
    ),
  );
}
