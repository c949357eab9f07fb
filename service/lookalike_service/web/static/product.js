/** A product on its own: what it is, what looks like it, and what others also viewed. */

import { ask } from "./api.js";
import { card, skeletons } from "./cards.js";
import { found, make } from "./dom.js";
import { capital, price, titleOf, word } from "./format.js";
import { picture } from "./pictures.js";
import { sentenceOf, trouble } from "./status.js";
import { record } from "./visit.js";

/** @typedef {import("./api.js").Product} Product */
/** @typedef {import("./api.js").Hit} Hit */

const ROW_SIZE = 8;
const MOST_ATTRIBUTES = 8;

export class ProductDialog {
  /** @param {{similar: (product: Product) => void}} hooks */
  constructor(hooks) {
    this.hooks = hooks;
    this.recordsViews = false;
    this.dialog = /** @type {HTMLDialogElement} */ (found("product"));
    /** @type {Product[]} those that were opened from each other, the shown one last */
    this.trail = [];
    this.dialog.addEventListener("click", (event) => {
      // What is outside of the dialog is its backdrop, and counts as the dialog itself.
      if (event.target === this.dialog) this.dialog.close();
    });
    this.dialog.addEventListener("close", () => {
      this.trail = [];
      this.dialog.replaceChildren();
      if (window.history.state?.product) window.history.back();
    });
    // The back button of a phone closes the product and not the page.
    window.addEventListener("popstate", () => this.dialog.open && this.dialog.close());
  }

  /**
   * Show a product.
   * @param {Product} product
   */
  open(product) {
    this.trail.push(product);
    this.#show(product);
    if (!this.dialog.open) {
      window.history.pushState({ product: true }, "");
      this.dialog.showModal();
    }
    /** @type {HTMLElement | null} */ (this.dialog.querySelector("h2"))?.focus();
    if (this.recordsViews) record(product);
  }

  #back() {
    this.trail.pop();
    this.#show(this.trail[this.trail.length - 1]);
  }

  /** @param {Product} product */
  #show(product) {
    const facts = make("dl", { class: "facts" });
    const alike = row("Looks like it", "by its pictures");
    const viewed = row("Others also viewed", "by what visitors looked at");
    const page = make("div", { class: "product-page" },
      make("div", { class: "product-picture" }, picture(product, 480)),
      make("div", { class: "product-text" },
        make("h2", { id: "product-title", tabindex: "-1" }, titleOf(product)),
        make("p", { class: "muted" }, [product.brand, product.category && capital(word(product.category.split("/")[0]))].filter(Boolean).join(" · ") || "\u00a0"),
        make("p", { class: "product-price" }, price(product.price) || "\u00a0",
          product.available ? null : make("span", { class: "sold-out" }, "sold out")),
        make("div", { class: "product-actions" },
          make("button", { type: "button", class: "button primary", onclick: () => { this.dialog.close(); this.hooks.similar(product); } }, "View similar"),
          shopLink(product))),
      facts, alike.element, viewed.element);
    this.dialog.replaceChildren(
      make("div", { class: "product-bar" },
        this.trail.length > 1 ? make("button", { type: "button", class: "quiet", onclick: () => this.#back() }, "\u2190 Back") : null,
        make("span", { class: "spring" }),
        make("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => this.dialog.close() }, "\u2715")),
      page);
    this.dialog.scrollTop = 0;
    this.#details(product, facts);
    this.#row(alike, "similar", product);
    this.#row(viewed, "also-viewed", product);
  }

  /**
   * @param {Product} product
   * @param {HTMLElement} facts
   */
  async #details(product, facts) {
    const whole = await ask("product", { name: product.name }).catch(() => null);
    const attributes = Object.entries(whole?.product?.attributes || {}).slice(0, MOST_ATTRIBUTES);
    facts.replaceChildren(...attributes.flatMap(([name, value]) => [
      make("dt", {}, capital(name)), make("dd", {}, String(value)),
    ]));
  }

  /**
   * @param {{list: HTMLElement, note: HTMLElement}} target
   * @param {"similar" | "also-viewed"} method
   * @param {Product} product
   */
  async #row({ list, note }, method, product) {
    try {
      const message = { name: product.name, page_size: ROW_SIZE, product_view: "PRODUCT_VIEW_BASIC" };
      const answer = await ask(method, message);
      /** @type {Hit[]} */
      const hits = answer.hits || answer.products || [];
      const hooks = { opened: (/** @type {Product} */ next) => this.open(next) };
      list.replaceChildren(...hits.map((hit) => card(hit, hooks, originOf(hit))));
      if (!hits.length) note.textContent = "nothing yet";
      else if (hits.every((hit) => hit.origin === "ORIGIN_SIMILAR")) {
        note.textContent = "too few visits to tell yet, so these are lookalikes";
      }
    } catch (error) {
      list.replaceChildren();
      note.textContent = sentenceOf(error);
      trouble(error);
    }
  }
}

/**
 * Why a product is among those that others also viewed; empty for a lookalike's score.
 * @param {Hit} hit
 */
function originOf(hit) {
  if (!hit.origin) return "";
  return hit.origin === "ORIGIN_VIEWED_TOGETHER" ? "viewed together" : "lookalike";
}

/**
 * @param {string} title
 * @param {string} said
 */
function row(title, said) {
  const note = make("span", { class: "muted" }, said);
  const list = make("ul", { class: "row", "aria-label": title }, ...skeletons(ROW_SIZE, false));
  return { element: make("section", { class: "product-row" }, make("h3", {}, title, " ", note), list), list, note };
}

/**
 * The product's page in the shop, if its address is one that a browser opens safely.
 * @param {Product} product
 */
function shopLink(product) {
  if (!/^https?:\/\//i.test(product.uri || "")) return null;
  return make("a", { class: "button", href: product.uri, target: "_blank", rel: "noopener noreferrer" }, "Open in the shop");
}
