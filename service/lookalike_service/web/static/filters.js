/** The filter form, and what it says in the filter language of the API (an AIP-160 subset). */

import { swatch } from "./chips.js";
import { make } from "./dom.js";
import { capital, decimals, word } from "./format.js";

/** @typedef {import("./api.js").Catalog} Catalog */
/** @typedef {import("./api.js").Hit} Hit */

const TYPING_MILLISECONDS = 350;

export class Filters {
  /**
   * @param {HTMLElement} form
   * @param {() => void} changed
   */
  constructor(form, changed) {
    this.currency = "";
    this.category = /** @type {HTMLSelectElement} */ (make("select", { id: "filter-category" }));
    this.colors = make("div", { class: "colors", role: "group", "aria-label": "Colors" });
    this.least = bound("from");
    this.most = bound("to");
    this.unit = make("span", { class: "unit", "aria-hidden": "true" });
    this.clearing = /** @type {HTMLButtonElement} */ (
      make("button", { type: "button", class: "quiet clear", disabled: true, onclick: () => { this.reset(); changed(); } }, "Clear")
    );
    this.count = make("span", { class: "count" });
    const details = make("details", { class: "filter-box" },
      make("summary", {}, "Filter", this.count),
      make("div", { class: "filter-fields" },
        make("label", { class: "field" }, make("span", {}, "Category"), this.category),
        make("div", { class: "field" }, make("span", {}, "Price", this.unit), make("span", { class: "range" }, this.least, "–", this.most)),
        make("div", { class: "field wide" }, make("span", {}, "Color"), this.colors),
        this.clearing));
    const wide = window.matchMedia("(min-width: 900px)");
    const open = () => details.toggleAttribute("open", wide.matches);
    wide.addEventListener("change", open);
    open();
    form.replaceChildren(details);
    form.addEventListener("submit", (event) => event.preventDefault());
    let timer = 0;
    form.addEventListener("input", (event) => {
      window.clearTimeout(timer);
      this.#counted();
      const typing = event.target === this.least || event.target === this.most;
      timer = window.setTimeout(changed, typing ? TYPING_MILLISECONDS : 0);
    });
    this.offer({ id: "", categories: [], colors: [] });
  }

  /**
   * Offer what the models of a catalog know.
   * @param {Catalog} catalog
   */
  offer(catalog) {
    const options = catalog.categories.map((name) => make("option", { value: name }, capital(word(name))));
    this.category.replaceChildren(make("option", { value: "" }, "Any"), ...options);
    this.colors.replaceChildren(...catalog.colors.map((name) =>
      make("label", { class: "color", title: name },
        make("input", { type: "checkbox", value: name, "aria-label": name }), swatch(name))));
    this.#counted();
  }

  /**
   * Learn from products that were found: the currency, and categories that the models do not know.
   * @param {Hit[]} hits
   */
  learn(hits) {
    for (const { product } of hits) {
      const category = (product.category || "").split("/")[0];
      if (category && ![...this.category.options].some((option) => option.value === category)) {
        this.category.append(make("option", { value: category }, capital(word(category))));
      }
      if (!this.currency && product.price) {
        this.currency = product.price.currency_code;
        this.unit.textContent = ` ${this.currency}`;
      }
    }
  }

  /** Ask for nothing. */
  reset() {
    this.category.value = "";
    this.least.value = this.most.value = "";
    for (const box of this.#boxes()) box.checked = false;
    this.#counted();
  }

  /** Forget the category: another garment is another one. */
  resetCategory() {
    this.category.value = "";
    this.#counted();
  }

  /** @returns {string} empty when everything is asked for */
  get text() {
    const colors = this.#boxes().filter((box) => box.checked).map((box) => `colors : ${JSON.stringify(box.value)}`);
    const parts = [
      this.category.value && `category = ${JSON.stringify(this.category.value)}`,
      colors.length > 1 ? `(${colors.join(" OR ")})` : colors[0],
      this.#bound(this.least, ">="),
      this.#bound(this.most, "<="),
    ];
    return parts.filter(Boolean).join(" AND ");
  }

  #boxes() {
    return /** @type {HTMLInputElement[]} */ ([...this.colors.querySelectorAll("input")]);
  }

  /**
   * @param {HTMLInputElement} input
   * @param {string} sign
   */
  #bound(input, sign) {
    const amount = input.valueAsNumber;
    if (!Number.isFinite(amount) || amount < 0) return "";
    return `price ${sign} ${Math.round(amount * 10 ** (this.currency ? decimals(this.currency) : 2))}`;
  }

  #counted() {
    const set = [this.category.value, this.least.value, this.most.value].filter(Boolean).length
      + this.#boxes().filter((box) => box.checked).length;
    this.count.textContent = set ? ` (${set})` : "";
    this.clearing.disabled = !set;
  }
}

/**
 * @param {string} end
 * @returns {HTMLInputElement}
 */
function bound(end) {
  const properties = { type: "number", min: "0", step: "any", inputmode: "decimal", placeholder: end, "aria-label": `Price ${end}` };
  return /** @type {HTMLInputElement} */ (make("input", properties));
}
