/** The grid: the lookalikes of a garment or of a product, filtered, page by page. */

import { card, skeletons } from "./cards.js";
import { found } from "./dom.js";
import { announce, clear, trouble } from "./status.js";

/** @typedef {import("./api.js").Hit} Hit */
/** @typedef {{hits: Hit[], next: string}} Page */

/**
 * Something that has lookalikes.
 * @typedef {object} View
 * @property {string} title
 * @property {Map<string, Page>} kept what was found already, by filter
 * @property {(filter: string, token: string, signal: AbortSignal) => Promise<Page>} page
 */

const SKELETONS = 12;

export class Results {
  /**
   * @param {import("./filters.js").Filters} filters
   * @param {import("./cards.js").CardHooks} hooks
   */
  constructor(filters, hooks) {
    this.filters = filters;
    this.hooks = hooks;
    this.grid = found("grid");
    this.title = found("results-title");
    this.note = found("results-note");
    this.more = /** @type {HTMLButtonElement} */ (found("more"));
    this.nothing = found("nothing");
    /** @type {View | null} */
    this.view = null;
    this.going = new AbortController();
    this.more.addEventListener("click", () => this.#more());
    found("nothing").querySelector("button")?.addEventListener("click", () => {
      filters.reset();
      this.refresh();
    });
  }

  /** Show that something is on its way. */
  loading() {
    this.#leave();
    this.view = null;
    this.title.textContent = "Lookalikes";
    this.note.textContent = "Looking for garments …";
    this.#empty("");
    this.grid.setAttribute("aria-busy", "true");
    this.grid.replaceChildren(...skeletons(SKELETONS, true));
  }

  /** Show nothing at all, and say why. */
  failed(sentence = "") {
    this.#leave();
    this.view = null;
    this.note.textContent = "";
    this.grid.setAttribute("aria-busy", "false");
    this.grid.replaceChildren();
    this.#empty(sentence);
  }

  /**
   * Show the lookalikes of something, at once where they are known.
   * @param {View} view
   */
  async show(view) {
    this.#leave();
    const other = this.view !== view;
    this.view = view;
    this.title.textContent = view.title;
    const filter = this.filters.text;
    let page = view.kept.get(filter);
    if (!page) {
      this.grid.setAttribute("aria-busy", "true");
      if (other) this.grid.replaceChildren(...skeletons(SKELETONS, true));
      this.#empty("");
      page = await this.#asked(view, filter, "", () => this.refresh());
      if (!page) return;
      view.kept.set(filter, page);
    }
    this.#fill(page, filter);
  }

  /** Ask again, with the filter as it is now. */
  refresh() {
    if (this.view) this.show(this.view);
  }

  /**
   * @param {Page} page
   * @param {string} filter
   */
  #fill(page, filter) {
    this.filters.learn(page.hits);
    this.grid.setAttribute("aria-busy", "false");
    this.grid.replaceChildren(...page.hits.map((hit) => card(hit, this.hooks)));
    this.#said(page);
    if (page.hits.length) this.#empty("");
    else if (filter) this.#empty("No product passes the filter.", "Clear the filter");
    else this.#empty("The catalog has no products yet. Import some with `lookalike import`.");
    announce(`${this.note.textContent} ${this.view?.title || ""}`);
  }

  async #more() {
    const { view } = this;
    const filter = this.filters.text;
    const before = view?.kept.get(filter);
    if (!view || !before) return;
    this.#leave();
    this.more.disabled = true;
    const page = await this.#asked(view, filter, before.next, () => this.#more());
    this.more.disabled = false;
    if (!page) return;
    view.kept.set(filter, { hits: [...before.hits, ...page.hits], next: page.next });
    const cards = page.hits.map((hit) => card(hit, this.hooks));
    this.grid.append(...cards);
    this.#said(/** @type {Page} */ (view.kept.get(filter)));
    /** @type {HTMLElement | null | undefined} */ (cards[0]?.querySelector("button"))?.focus({ preventScroll: true });
    announce(`${page.hits.length} more`);
  }

  /**
   * A page; undefined when something else was asked for meanwhile, or something is in the way, which is said.
   * @param {View} view
   * @param {string} filter
   * @param {string} token
   * @param {() => void} retry
   * @returns {Promise<Page | undefined>}
   */
  async #asked(view, filter, token, retry) {
    const { signal } = this.going;
    try {
      const page = await view.page(filter, token, signal);
      if (signal.aborted) return undefined;
      clear();
      return page;
    } catch (error) {
      if (signal.aborted) return undefined;
      trouble(error, retry);
      this.grid.setAttribute("aria-busy", "false");
      if (!token) {
        this.grid.replaceChildren();
        this.more.hidden = true;
        this.#empty("");
      }
      return undefined;
    }
  }

  /** @param {Page} page */
  #said(page) {
    const count = page.hits.length;
    const products = `${count}${page.next ? "+" : ""} product${count === 1 ? "" : "s"}`;
    this.note.textContent = count ? `${products}; the same kind first, most alike first` : "";
    this.more.hidden = !page.next;
  }

  /**
   * @param {string} sentence
   * @param {string} [remedy]
   */
  #empty(sentence, remedy = "") {
    const [text, button] = /** @type {[HTMLElement, HTMLButtonElement]} */ ([...this.nothing.children]);
    text.textContent = sentence;
    button.textContent = remedy;
    button.hidden = !remedy;
    this.nothing.hidden = !sentence;
    if (sentence) this.more.hidden = true;
  }

  /** Whatever was asked before is no longer wanted. */
  #leave() {
    this.going.abort();
    this.going = new AbortController();
    this.more.hidden = true;
  }
}
