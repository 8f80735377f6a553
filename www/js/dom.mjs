// Elements. Text is always text: nothing here reads HTML.
const svgNames = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** An element with attributes, listeners (`onclick: f`) and children. */
export const el = (name, properties = {}, ...children) => fill(document.createElement(name), properties, children);

/** The same for SVG. */
export const svg = (name, properties = {}, ...children) =>
  fill(document.createElementNS(svgNames, name), properties, children);

/** Text that changes: sets it only if it is another, so that screen readers hear only what is new. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
