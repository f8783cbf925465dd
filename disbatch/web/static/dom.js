// The few things that every part of the page does with the document. Text only ever becomes text, never markup: what
// tasks print comes here unchanged, and is shown with its control characters escaped.

import { printable } from "./format.js";

export const byId = (id) => document.getElementById(id);

// An element with properties, and children that are elements or text.
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "scope") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.map((child) => (child instanceof Node ? child : printable(child))));
  return element;
}

// Writes only what has changed: a page that is left open for hours should not lay itself out every second.
export function setText(element, text) {
  const shown = printable(text);
  if (element.textContent !== shown) element.textContent = shown;
}

export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

// A colour of the style sheet, by its name there.
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
