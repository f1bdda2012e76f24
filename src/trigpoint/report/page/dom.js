/** Small helpers for the document. */

/**
 * The element with this id.
 *
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} [kind]
 * @returns {T}
 */
export function get(id, kind) {
  const found = document.getElementById(id);
  if (!found || (kind && !(found instanceof kind))) throw new Error(`the page has no ${id}`);
  return /** @type {T} */ (found);
}

/**
 * A new element; `text` is never read as HTML.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string | boolean | number | undefined | ((event: any) => void)>} [with_]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, with_ = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(with_)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "class") element.className = String(value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/** Choose among options, some in groups. @param {HTMLSelectElement} select @param {Record<string, [string, string][]>} groups */
export function fill(select, groups) {
  const before = select.value;
  select.replaceChildren(
    ...Object.entries(groups).flatMap(([title, options]) => {
      const made = options.map(([value, text]) => make("option", { value }, text));
      if (!title || !made.length) return made;
      const group = make("optgroup", { label: title });
      group.append(...made);
      return [group];
    }),
  );
  const values = [...select.options].map((option) => option.value);
  select.value = values.includes(before) ? before : (values[0] ?? "");
}
