/** Light or dark: as the system is, until somebody chooses. */

import { found } from "./dom.js";

const NAME = "lookalike-theme";
const system = window.matchMedia("(prefers-color-scheme: dark)");
const button = found("theme");

function show() {
  const chosen = localStorage.getItem(NAME);
  document.documentElement.dataset.theme = chosen || (system.matches ? "dark" : "light");
  button.setAttribute("aria-pressed", String(document.documentElement.dataset.theme === "dark"));
}

button.addEventListener("click", () => {
  localStorage.setItem(NAME, document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  show();
});
system.addEventListener("change", show);
show();
