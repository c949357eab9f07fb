// node import.mjs ID TITLE CENTS CURRENCY PHOTO...: put a product into the catalog, or replace it.

import { readFile } from "node:fs/promises";

import { LookalikeError, run } from "./lookalike.mjs";

const USAGE = "import.mjs ID TITLE CENTS CURRENCY PHOTO...";

await run(USAGE, 5, async (lookalike, [id, title, cents, currency, ...photos]) => {
  const product = {
    name: `catalogs/default/products/${id}`,
    title,
    price: { amount_minor: Number(cents), currency_code: currency },
    images: await Promise.all(photos.map(async (photo) => ({ content: await readFile(photo) }))),
  };
  // Takes any iterable, also one that reads a million products as it goes.
  for await (const answer of lookalike.importProducts([product])) {
    if (answer.outcome === "IMPORT_OUTCOME_FAILED") throw LookalikeError.fromStatus(answer.error);
    const outcome = answer.outcome.replace("IMPORT_OUTCOME_", "").toLowerCase();
    console.log(`${outcome} ${answer.name} (${answer.garment_views} garment views)`);
  }
});
