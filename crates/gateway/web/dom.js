/** Building pages from text: nothing that came over the wire is ever read as HTML. */

/**
 * Makes an element. Children are elements or text; attributes that are undefined or false are left out.
 *
 * @param {string} name
 * @param {Record<string, unknown>} [attributes]
 * @param {...(Node | string)} children
 */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

/** The element with this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Any JSON value as a person reads it: strings as they are, the rest as JSON. */
export function asText(data) {
  return typeof data === "string" ? data : JSON.stringify(data);
}
