// node search.mjs PHOTO [FILTER]: every garment of a photo with the products that look like it.

import { readFile } from "node:fs/promises";

import { run } from "./lookalike.mjs";

const id = (product) => product.name.split("/").at(-1);
const price = ({ price }) => (price ? `${(price.amount_minor / 100).toFixed(2)} ${price.currency_code}` : "");

function print({ garment, hits }) {
  const { x0, y0, x1, y1 } = garment.box;
  const box = [x0, y0, x1, y1].map((share) => share.toFixed(2));
  console.log(`${garment.category} at ${box} (score ${garment.score.toFixed(2)})`);
  for (const { product, score } of hits) {
    console.log(`  ${score.toFixed(3)}  ${id(product)}  ${product.title}  ${price(product)}`.trimEnd());
  }
}

await run("search.mjs PHOTO [FILTER]", 1, async (lookalike, [photo, filter = ""]) => {
  const answer = await lookalike.call(
    "SearchProducts",
    { image: await readFile(photo), page_size: 5 },
    { timeoutMs: 10_000 },
  );
  answer.results.forEach(print);

  if (filter) {
    // A tap on a garment, a filter or a page needs its token alone; no model runs.
    const tokens = answer.results.map(({ garment }) => garment.garment_token);
    console.log(`only ${filter}:`);
    const filtered = await lookalike.call("SearchProducts", { garments: { tokens }, page_size: 5, filter });
    filtered.results.forEach(print);
  }
});
