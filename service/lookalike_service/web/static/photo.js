/** A photo on its way in: from a file, the camera, a drop or the clipboard, and never larger than the models can use. */

import { Refused } from "./api.js";

/**
 * The longest side that is sent. The decode stage brings every photo to 1024 pixels or fewer, so nothing that the models
 * could see is lost above that; 1600 leaves their own, better scaling something to do, and makes the upload of a phone's
 * photo of several megabytes quick.
 */
const LONGEST_SIDE = 1600;
/** Smaller files are sent as they are. */
const LIGHT = 1_000_000;
const QUALITY = 0.92;
const SENT_AS_IS = new Set(["image/jpeg", "image/png", "image/webp"]);

/** @typedef {{blob: Blob, url: string, width: number, height: number}} Photo what is sent, what is shown, upright size */

/**
 * The photo of a file. Raises Refused for what the browser cannot show.
 * @param {Blob} file
 * @returns {Promise<Photo>}
 */
export async function prepared(file) {
  const url = URL.createObjectURL(file);
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch (error) {
    URL.revokeObjectURL(url);
    throw new Refused(400, { reason: "IMAGE_UNREADABLE", message: String(error) });
  }
  // Both are those of the upright photo, to which the server's coordinates refer, too.
  const { naturalWidth: width, naturalHeight: height } = image;
  const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height));
  const asIs = SENT_AS_IS.has(file.type) && (file.size <= LIGHT || scale === 1);
  const blob = asIs ? file : await scaled(image, Math.round(width * scale), Math.round(height * scale));
  return { blob, url, width, height };
}

/**
 * @param {HTMLImageElement} image
 * @param {number} width
 * @param {number} height
 * @returns {Promise<Blob>}
 */
function scaled(image, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  return new Promise((resolve, reject) => {
    canvas.toBlob(
      (blob) => (blob ? resolve(blob) : reject(new Refused(400, { reason: "IMAGE_UNREADABLE" }))),
      "image/jpeg",
      QUALITY,
    );
  });
}

/**
 * Hand on every photo that is chosen, dropped or pasted.
 * @param {HTMLInputElement[]} inputs
 * @param {HTMLElement} stage shows that a photo may be dropped
 * @param {(file: Blob) => void} taken
 */
export function listen(inputs, stage, taken) {
  for (const input of inputs) {
    input.addEventListener("change", () => {
      if (input.files?.[0]) taken(input.files[0]);
      // The same file may be chosen again.
      input.value = "";
    });
  }
  const brings = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  window.addEventListener("dragover", (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    stage.classList.add("dropping");
  });
  window.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) stage.classList.remove("dropping");
  });
  window.addEventListener("drop", (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    stage.classList.remove("dropping");
    const file = event.dataTransfer?.files[0];
    if (file) taken(file);
  });
  window.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files || [])].find((each) => each.type.startsWith("image/"));
    if (file) taken(file);
  });
}
