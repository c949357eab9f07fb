/**
 * The server's JSON endpoints. Messages are those of the contract (proto/lookalike/v1), fields as it spells them.
 *
 * @typedef {{x0?: number, y0?: number, x1?: number, y1?: number}} Box 0..1; what is 0 is left out
 * @typedef {{name: string, share: number}} Color
 * @typedef {{box: Box, category: string, source: string, score: number, colors?: Color[], garment_token: string,
 *   patterns?: {name: string}[], mask?: {polygon?: {rings?: {points: {x?: number, y?: number}[]}[]}}}} Garment
 * @typedef {{amount_minor?: string, currency_code: string}} Money
 * @typedef {{name: string, title?: string, brand?: string, category?: string, price?: Money, available?: boolean,
 *   uri?: string, images?: {id: string, uri: string}[], attributes?: Record<string, unknown>}} Product
 * @typedef {{product: Product, score?: number, image_id?: string, origin?: string}} Hit
 * @typedef {{id: string, categories: string[], colors: string[]}} Catalog
 * @typedef {{catalogs: Catalog[], max_image_bytes: number, records_views: boolean}} PageInfo
 */

import { key } from "./key.js";

/** The server has said no, or that it cannot. */
export class Refused extends Error {
  /**
   * @param {number} status of HTTP
   * @param {{message?: string, reason?: string, retry_after?: number}} said
   */
  constructor(status, said) {
    super(said.message || `The server answered with status ${status}.`);
    this.status = status;
    this.reason = said.reason || "";
    this.retryAfter = said.retry_after;
  }
}

/** Nobody answers: no network, or no server. */
export class Away extends Error {}

const TRIES = 3;
const MOST_SECONDS = 2;

/**
 * Call a method; what is refused for the moment only is asked again a little later.
 * @param {string} method "search"
 * @param {object} message
 * @param {{image?: Blob, signal?: AbortSignal}} [options]
 * @returns {Promise<any>} the answer
 */
export async function ask(method, message, { image, signal } = {}) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await request(`api/${method}`, { method: "POST", signal, ...body(message, image) });
    } catch (error) {
      const seconds = error instanceof Refused ? error.retryAfter : undefined;
      if (seconds === undefined || seconds > MOST_SECONDS || attempt === TRIES) throw error;
      await paused(Math.max(seconds, 0.3) * 2 ** (attempt - 1), signal);
    }
  }
}

/**
 * What the page has to know first.
 * @returns {Promise<PageInfo>}
 */
export function pageInfo() {
  return request("api/page", {});
}

/**
 * @param {object} message
 * @param {Blob | undefined} image
 * @returns {RequestInit}
 */
function body(message, image) {
  const text = JSON.stringify(message);
  if (!image) return { body: text, headers: { "Content-Type": "application/json" } };
  const form = new FormData();
  form.append("request", text);
  form.append("image", image);
  return { body: form };
}

/**
 * @param {string} path
 * @param {RequestInit} options
 * @returns {Promise<any>}
 */
async function request(path, options) {
  const headers = { ...options.headers, ...key.headers() };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, credentials: "omit" });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Away("The server does not answer.", { cause: error });
  }
  const content = await answer.json().catch(() => ({}));
  if (answer.ok) return content;
  throw new Refused(answer.status, content.error || {});
}

/**
 * @param {number} seconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
function paused(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
