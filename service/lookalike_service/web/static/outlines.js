/** Garments as shapes on the photo: outlines from their masks, or from their boxes where there is no mask. */

import { drawn } from "./dom.js";

/** @typedef {import("./api.js").Garment} Garment */
/** @typedef {import("./api.js").Box} Box */

const SIDE = 1000;
/** Rings smaller than this share of the largest one are errors of the mask and no part of a garment. */
const SPECK = 0.01;

/**
 * A box with the zeros that JSON leaves out.
 * @param {Box} box
 */
export const whole = ({ x0 = 0, y0 = 0, x1 = 0, y1 = 0 }) => ({ x0, y0, x1, y1 });

/**
 * How much of the photo a garment's box covers.
 * @param {Garment} garment
 */
export function area(garment) {
  const { x0, y0, x1, y1 } = whole(garment.box);
  return (x1 - x0) * (y1 - y0);
}

/**
 * The outline of a garment as an SVG path over a square of 1000.
 * @param {Garment} garment
 * @returns {string}
 */
export function outline(garment) {
  const rings = garment.mask?.polygon?.rings || [];
  if (garment.source === "GARMENT_SOURCE_WHOLE_IMAGE" || !rings.length) return rectangle(garment.box);
  const polygons = rings.map((ring) => ring.points.map(({ x = 0, y = 0 }) => [x * SIDE, y * SIDE]));
  const sizes = polygons.map(size);
  const least = SPECK * Math.max(...sizes);
  return polygons.filter((_, index) => sizes[index] >= least).map(smooth).join("");
}

/**
 * The area of a polygon (shoelace formula).
 * @param {number[][]} points
 */
function size(points) {
  const twice = points.reduce((sum, [x, y], index) => {
    const [u, v] = points[(index + 1) % points.length];
    return sum + x * v - u * y;
  }, 0);
  return Math.abs(twice) / 2;
}

/**
 * @param {Box} box
 * @returns {string}
 */
export function rectangle(box) {
  const { x0, y0, x1, y1 } = whole(box);
  return `M${x0 * SIDE} ${y0 * SIDE}H${x1 * SIDE}V${y1 * SIDE}H${x0 * SIDE}Z`;
}

/**
 * A closed curve through the middles of a polygon's sides: masks have coarse cells, cloth has none.
 * @param {number[][]} points
 * @returns {string}
 */
function smooth(points) {
  const middle = (/** @type {number} */ index) => {
    const [one, other] = [points[index % points.length], points[(index + 1) % points.length]];
    return `${((one[0] + other[0]) / 2).toFixed(1)} ${((one[1] + other[1]) / 2).toFixed(1)}`;
  };
  const curves = points.map((_, index) => {
    const corner = points[(index + 1) % points.length];
    return `Q${corner[0].toFixed(1)} ${corner[1].toFixed(1)} ${middle(index + 1)}`;
  });
  return `M${middle(0)}${curves.join("")}Z`;
}

/**
 * Draw the garments, small ones above large ones, with everything but the selected one in the shade.
 * @param {SVGElement} svg
 * @param {Garment[]} garments
 * @param {number} selected index, -1 for none
 * @param {(index: number) => void} tapped
 */
export function draw(svg, garments, selected, tapped) {
  const order = garments.map((_, index) => index).sort((one, other) => area(garments[other]) - area(garments[one]));
  const shapes = order.map((index) => {
    const path = drawn("path", { d: outline(garments[index]), class: "shape", "fill-rule": "evenodd" });
    path.classList.toggle("selected", index === selected);
    path.addEventListener("click", () => tapped(index));
    return path;
  });
  const shade = garments[selected] ? [shadeAround(garments[selected])] : [];
  svg.replaceChildren(...shade, ...shapes);
}

/** @param {Garment} garment */
function shadeAround(garment) {
  const everything = `M0 0H${SIDE}V${SIDE}H0Z`;
  return drawn("path", { d: everything + outline(garment), class: "shade", "fill-rule": "evenodd" });
}
