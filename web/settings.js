/** What the visitor chose. Where storage is blocked, choices last as long as the page. */

const PREFIX = "millstream.";

/** @param {() => Storage} storage */
function box(storage) {
  /** @type {Map<string, string>} */
  const here = new Map();
  return {
    /** @param {string} name */
    get(name) {
      try {
        return storage().getItem(PREFIX + name);
      } catch {
        return here.get(name) ?? null;
      }
    },
    /** @param {string} name @param {string} value */
    set(name, value) {
      try {
        storage().setItem(PREFIX + name, value);
      } catch {
        here.set(name, value);
      }
    },
  };
}

const remembered = box(() => localStorage);
const session = box(() => sessionStorage);

/** @returns {string | undefined} */
export const apiKey = () => session.get("key") ?? undefined;

/** Keep a key until the tab closes. @param {string} key */
export const keepApiKey = (key) => session.set("key", key);

/**
 * Tie a select to a remembered choice; one that is no longer offered is forgotten.
 * @param {HTMLSelectElement} select
 */
export function rememberSelect(select) {
  const value = remembered.get(select.id);
  if ([...select.options].some((option) => option.value === value)) select.value = /** @type {string} */ (value);
  select.addEventListener("change", () => remembered.set(select.id, select.value));
}

/**
 * Tie a group of radio buttons to a remembered choice.
 * @param {HTMLFieldSetElement} group
 * @param {string} fallback
 */
export function rememberRadios(group, fallback) {
  const radios = /** @type {HTMLInputElement[]} */ ([...group.querySelectorAll("input")]);
  const value = remembered.get(group.id);
  const chosen = radios.find((radio) => radio.value === value) ?? radios.find((radio) => radio.value === fallback);
  if (chosen) chosen.checked = true;
  group.addEventListener("change", () => remembered.set(group.id, chosenRadio(group)));
}

/** @param {HTMLFieldSetElement} group @returns {string} */
export function chosenRadio(group) {
  return /** @type {HTMLInputElement} */ (group.querySelector("input:checked")).value;
}

/** Let a button flip between light and dark. @param {HTMLElement} button */
export function offerThemes(button) {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const tell = () => {
    const words = `Switch to the ${isDark() ? "light" : "dark"} theme`;
    button.setAttribute("aria-label", words);
    button.title = words;
    document.dispatchEvent(new Event("themechange"));
  };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remembered.set("theme", root.dataset.theme);
    tell();
  });
  dark.addEventListener("change", tell);
  tell();
}
