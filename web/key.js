/** Asking the visitor for an API key. */

import { byId } from "./dom.js";
import { apiKey, keepApiKey } from "./settings.js";

/**
 * Resolves when the dialog was closed, with a key or without.
 * @param {string} message What the server said to the last one.
 */
export async function askForKey(message) {
  const dialog = byId("key-dialog", HTMLDialogElement);
  const field = byId("key", HTMLInputElement);
  byId("key-problem").textContent = apiKey() ? message : "";
  field.value = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  if (field.value.trim()) keepApiKey(field.value.trim());
}
