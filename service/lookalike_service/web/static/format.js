/** Words and figures as people read them. */

/** @typedef {import("./api.js").Money} Money */
/** @typedef {import("./api.js").Product} Product */

/** The named colors of the models, as they are shown. */
const COLORS = /** @type {Record<string, string>} */ ({
  black: "#1c1c1c", white: "#ffffff", gray: "#8b8b8b", grey: "#8b8b8b", beige: "#d9c7a3", brown: "#76492c",
  red: "#c8272d", pink: "#f2a0bd", orange: "#ec7f24", yellow: "#f3cf3d", olive: "#74762f", green: "#2e8b4a",
  teal: "#1b8a8f", blue: "#2a62c9", navy: "#1d2b57", purple: "#75409a", cream: "#f3ead2", turquoise: "#35bdb2",
  cyan: "#35bdd0", khaki: "#b0a06a", gold: "#c99a2e", silver: "#bfc3c7", burgundy: "#6e1b2f", lavender: "#b9a4dc",
});

/**
 * A color of the screen for a named one.
 * @param {string} name
 */
export const screenColor = (name) => COLORS[name] || "#9a9a9a";

/**
 * How many decimals a currency has: 2 for EUR, 0 for JPY.
 * @param {string} currency
 */
export function decimals(currency) {
  try {
    return new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits ?? 2;
  } catch {
    return 2;
  }
}

/**
 * A price with its currency; empty without one.
 * @param {Money} [money]
 */
export function price(money) {
  if (!money) return "";
  const amount = Number(money.amount_minor || 0) / 10 ** decimals(money.currency_code);
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency: money.currency_code }).format(amount);
  } catch {
    return `${amount.toFixed(2)} ${money.currency_code}`;
  }
}

/**
 * What a product is called.
 * @param {Product} product
 */
export const titleOf = (product) => product.title || product.name.split("/").pop() || product.name;

/**
 * A cosine as the page shows it.
 * @param {number} [score]
 */
export const scoreText = (score = 0) => score.toFixed(2);

/** Categories of the models whose name is no word of the shop. */
const WORDS = /** @type {Record<string, string>} */ ({ outer: "outerwear", scarf_tie: "scarf or tie" });
const PLURAL = new Set(["shoes", "pants", "shorts"]);

/**
 * A category as people call it.
 * @param {string} category
 */
export const word = (category) => WORDS[category] || category.replaceAll("_", " ") || "garment";

/**
 * "this skirt", "these shoes".
 * @param {string} category
 */
export const thisOne = (category) => `${PLURAL.has(category) ? "these" : "this"} ${word(category)}`;

/**
 * A word as the beginning of a line.
 * @param {string} word
 */
export const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1).replaceAll("_", " ");
