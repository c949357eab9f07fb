/** Pictures of products. With an API key they are fetched with it, since an <img> sends no header. */

import { make } from "./dom.js";
import { key } from "./key.js";

const MOST_KEPT = 300;
/** @type {Map<string, Promise<string>>} addresses of blobs, oldest first */
const kept = new Map();

const seen = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      fetched(/** @type {HTMLImageElement} */ (target));
    }
  },
  { rootMargin: "300px" },
);

/**
 * A picture of a product; its place is reserved by the box around it.
 * @param {import("./api.js").Product} product
 * @param {number} width in CSS pixels, about
 * @param {string} [id] of the image; the first one without
 * @returns {HTMLElement}
 */
export function picture(product, width, id) {
  const images = product.images || [];
  const uri = id ? `/images/${id}` : images[0]?.uri;
  const box = make("span", { class: "picture" });
  if (!uri) return missing(box);
  const image = /** @type {HTMLImageElement} */ (make("img", { alt: "", decoding: "async", loading: "lazy" }));
  image.addEventListener("load", () => box.classList.add("there"));
  image.addEventListener("error", () => missing(box));
  const source = `${uri}?w=${Math.round(width * Math.min(window.devicePixelRatio || 1, 2))}`;
  box.append(image);
  if (key.value) {
    image.dataset.source = source;
    seen.observe(image);
  } else {
    image.src = source;
  }
  return box;
}

/** @param {HTMLElement} box */
function missing(box) {
  box.classList.add("missing");
  return box;
}

/** @param {HTMLImageElement} image */
async function fetched(image) {
  const source = image.dataset.source || "";
  if (!kept.has(source)) {
    kept.set(source, loaded(source));
    for (const [oldest, url] of [...kept].slice(0, Math.max(0, kept.size - MOST_KEPT))) {
      kept.delete(oldest);
      url.then(URL.revokeObjectURL, () => undefined);
    }
  }
  try {
    image.src = await kept.get(source) || "";
  } catch {
    kept.delete(source);
    image.dispatchEvent(new Event("error"));
  }
}

/**
 * @param {string} source
 * @returns {Promise<string>}
 */
async function loaded(source) {
  const answer = await fetch(source, { headers: key.headers(), credentials: "omit" });
  if (!answer.ok) throw new Error(`${answer.status}`);
  return URL.createObjectURL(await answer.blob());
}
