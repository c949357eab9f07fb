/** What has lookalikes: the garments of a photo, by token or by box, and products. */

import { ask, Refused } from "./api.js";
import { capital, thisOne, titleOf } from "./format.js";
import { whole } from "./outlines.js";

/** @typedef {import("./api.js").Garment} Garment */
/** @typedef {import("./api.js").Product} Product */
/** @typedef {import("./results.js").View} View */
/** @typedef {import("./results.js").Page} Page */
/** @typedef {{garment: Garment, view: View}} Found a garment of the photo with its lookalikes */

export const PAGE_SIZE = 24;
/** Products of the same category come first among those that look alike: who points at a jacket means a jacket. */
const TERMS = { page_size: PAGE_SIZE, category_mode: "CATEGORY_MODE_PREFER", product_view: "PRODUCT_VIEW_BASIC" };

/**
 * Find the garments of a photo, or what is in a box of it, with the first page of the lookalikes of each.
 * @param {Blob} image
 * @param {{catalog: string, filter: string, box?: import("./api.js").Box, signal?: AbortSignal}} options
 * @returns {Promise<Found[]>}
 */
export async function search(image, { catalog, filter, box, signal }) {
  const answer = await ask(
    "search",
    { ...TERMS, catalog: `catalogs/${catalog}`, filter, mask_format: "MASK_FORMAT_POLYGON", ...(box ? { regions: [{ box }] } : {}) },
    { image, signal },
  );
  return (answer.results || []).map((/** @type {any} */ result) => {
    const view = ofGarment(result.garment, catalog, image);
    view.kept.set(filter, pageOf(result));
    return { garment: result.garment, view };
  });
}

/**
 * The lookalikes of a garment. Its token stands for it, so that no model runs.
 * @param {Garment} garment
 * @param {string} catalog
 * @param {Blob} image the photo, in case the token has expired
 * @returns {View}
 */
function ofGarment(garment, catalog, image) {
  return {
    title: garment.source === "GARMENT_SOURCE_WHOLE_IMAGE" ? "Like the whole photo" : `Like ${thisOne(garment.category)}`,
    kept: new Map(),
    async page(filter, token, signal) {
      const message = () => ({
        ...TERMS, catalog: `catalogs/${catalog}`, filter, page_token: token, garments: { tokens: [garment.garment_token] },
      });
      try {
        return pageOf((await ask("search", message(), { signal })).results?.[0]);
      } catch (error) {
        if (!(error instanceof Refused && error.reason === "GARMENT_TOKEN_INVALID")) throw error;
        // Tokens last some hours, an open page may last longer. The box says which garment it was.
        const [again] = await search(image, { catalog, filter: "", box: whole(garment.box), signal });
        garment.garment_token = again.garment.garment_token;
        return pageOf((await ask("search", { ...message(), page_token: "" }, { signal })).results?.[0]);
      }
    },
  };
}

/**
 * The lookalikes of a product, from its stored vectors.
 * @param {Product} product
 * @returns {View}
 */
export function ofProduct(product) {
  return {
    title: `Similar to ${capital(titleOf(product))}`,
    kept: new Map(),
    async page(filter, token, signal) {
      return pageOf(await ask("similar", { ...TERMS, name: product.name, filter, page_token: token }, { signal }));
    },
  };
}

/**
 * @param {any} answer
 * @returns {Page}
 */
function pageOf(answer) {
  return { hits: answer?.hits || [], next: answer?.next_page_token || "" };
}
