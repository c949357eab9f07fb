/** Which products are opened, for "others also viewed": told only where the server counts views, and to nobody else. */

import { ask } from "./api.js";

const NAME = "lookalike-visit";

/** A visit ends with its tab, and is a random number that says nothing of who it is (docs/also_viewed.md). */
function visit() {
  let id = sessionStorage.getItem(NAME);
  if (!id) {
    id = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    sessionStorage.setItem(NAME, id);
  }
  return id;
}

/**
 * Count a product as looked at. Nothing is lost but a count when that fails.
 * @param {import("./api.js").Product} product
 */
export function record(product) {
  const view = { product: product.name, session: visit(), view_time: new Date().toISOString() };
  ask("views", { views: [view] }).catch(() => undefined);
}
