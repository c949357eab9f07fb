/** The page: a photo comes in, its garments are shown, and the lookalikes of the one that is meant fill the grid. */

import { pageInfo, Refused } from "./api.js";
import { found, make } from "./dom.js";
import { Filters } from "./filters.js";
import { key } from "./key.js";
import { listen, prepared } from "./photo.js";
import { Photos } from "./photos.js";
import { ProductDialog } from "./product.js";
import { Results } from "./results.js";
import { Stage } from "./stage.js";
import { announce, clear, sentenceOf, trouble } from "./status.js";
import { ofProduct, search } from "./views.js";
import "./theme.js";

/** @typedef {import("./photos.js").Shot} Shot */
/** @typedef {import("./api.js").Product} Product */
/** @typedef {import("./api.js").Catalog} Catalog */

const COUNTING = "Which products you open here is counted for “others also viewed”, under a random number that ends with this tab.";

const catalogs = /** @type {HTMLSelectElement} */ (found("catalog"));
const back = /** @type {HTMLButtonElement} */ (found("back"));
/** @type {Catalog[]} */
let known = [];
/** @type {Shot | null} */
let current = null;
let looking = new AbortController();

const filters = new Filters(found("filters"), () => results.refresh());
const results = new Results(filters, { opened: (product) => products.open(product), similar });
const stage = new Stage({ tapped: (index) => select(index), boxed });
const photos = new Photos(restore);
const products = new ProductDialog({ similar });

/** Learn what the server has; it may ask for a key first. */
async function begin() {
  try {
    const info = await pageInfo();
    clear();
    known = info.catalogs;
    products.recordsViews = info.records_views;
    found("footer").textContent = info.records_views ? COUNTING : "";
    found("forget-key").hidden = !key.value;
    const before = catalogs.value;
    catalogs.replaceChildren(...known.map(({ id }) => make("option", { value: id, selected: id === before }, id)));
    found("catalog-label").hidden = known.length < 2;
    offer();
  } catch (error) {
    if (!(await asksForKey(error))) trouble(error, begin);
  }
}

/**
 * Whether the server wants a key, or another one; the page begins anew when it has been typed in.
 * @param {unknown} error
 */
async function asksForKey(error) {
  if (!(error instanceof Refused && error.status === 401)) return false;
  await key.ask(error.message);
  await begin();
  return true;
}

function offer() {
  const catalog = known.find(({ id }) => id === catalogs.value);
  if (catalog) filters.offer(catalog);
}

/**
 * Look at a photo.
 * @param {Blob} file
 */
async function take(file) {
  clear();
  let photo;
  try {
    photo = await prepared(file);
  } catch (error) {
    trouble(error);
    announce(sentenceOf(error));
    return;
  }
  filters.resetCategory();
  const shot = { photo, catalog: catalogs.value || "default", found: [], selected: -1 };
  photos.add(shot);
  await look(shot);
}

/**
 * Find the garments of a photo and select the first one.
 * @param {Shot} shot
 */
async function look(shot) {
  looking.abort();
  looking = new AbortController();
  const { signal } = looking;
  current = shot;
  back.hidden = true;
  found("columns").classList.add("started");
  stage.show(shot.photo);
  stage.state = "looking";
  results.loading();
  photos.show(shot);
  announce("Looking for garments");
  try {
    const filter = filters.text;
    shot.found = await search(shot.photo.blob, { catalog: shot.catalog, filter, signal });
    clear();
    stage.state = "done";
    stage.set(shot.found.map(({ garment }) => garment), -1);
    announce(`${shot.found.length} garment${shot.found.length === 1 ? "" : "s"} found`);
    if (shot.found.length) select(0);
    else results.failed("No garment was found.");
  } catch (error) {
    if (signal.aborted) return;
    stage.state = "failed";
    results.failed(sentenceOf(error));
    if (error instanceof Refused && error.status < 429 && error.status !== 401) photos.drop(shot);
    if (await asksForKey(error)) look(shot);
    else trouble(error, () => look(shot));
  }
}

/**
 * Show the lookalikes of a garment.
 * @param {number} index
 */
function select(index) {
  if (!current?.found[index]) return;
  if (index !== current.selected) filters.resetCategory();
  current.selected = index;
  back.hidden = true;
  stage.select(index);
  results.show(current.found[index].view);
}

/**
 * Search with a box that somebody drew; it becomes one more garment.
 * @param {import("./ownbox.js").Box} box
 */
async function boxed(box) {
  const shot = current;
  if (!shot) return;
  looking.abort();
  looking = new AbortController();
  const { signal } = looking;
  stage.state = "looking";
  results.loading();
  filters.resetCategory();
  try {
    const [own] = await search(shot.photo.blob, { catalog: shot.catalog, filter: filters.text, box, signal });
    clear();
    stage.state = "done";
    shot.found = [...shot.found, own];
    stage.set(shot.found.map(({ garment }) => garment), -1);
    select(shot.found.length - 1);
    stage.focus(shot.found.length - 1);
  } catch (error) {
    if (signal.aborted) return;
    stage.state = "done";
    results.failed(sentenceOf(error));
    trouble(error, () => boxed(box));
  }
}

/**
 * Show the lookalikes of a product in the grid.
 * @param {Product} product
 */
function similar(product) {
  filters.resetCategory();
  back.hidden = !current;
  results.show(ofProduct(product));
  found("results").scrollIntoView({ block: "start" });
  found("results").focus({ preventScroll: true });
}

/**
 * Show a photo of before.
 * @param {Shot} shot
 */
function restore(shot) {
  if (!shot.found.length) {
    look(shot);
    return;
  }
  looking.abort();
  current = shot;
  stage.show(shot.photo);
  stage.state = "done";
  stage.set(shot.found.map(({ garment }) => garment), shot.selected);
  photos.show(shot);
  select(Math.max(0, shot.selected));
}

back.addEventListener("click", () => current && select(Math.max(0, current.selected)));
catalogs.addEventListener("change", () => {
  offer();
  filters.reset();
  if (current) look(Object.assign(current, { catalog: catalogs.value, found: [], selected: -1 }));
});
found("forget-key").addEventListener("click", () => {
  key.forget();
  window.location.reload();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !back.hidden && !document.querySelector("dialog[open]")) back.click();
});
listen(
  ["choose", "take", "choose-next"].map((id) => /** @type {HTMLInputElement} */ (found(id))),
  found("stage"),
  take,
);
begin();
