"use strict";
// Small charts as SVG, made of elements and attributes only: the page's policy allows no inline styles or scripts.

const SVG = "http://www.w3.org/2000/svg";

function svgElement(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/**
 * A line over time, filled below.
 * @param {string} title what it shows
 * @param {number[]} values oldest first
 * @param {string} now the newest value, as text
 * @returns {HTMLElement} a figure
 */
function lineChart(title, values, now) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const name = document.createElement("span");
  const value = document.createElement("b");
  name.textContent = title;
  value.textContent = now;
  caption.append(name, value);
  const svg = svgElement("svg", {
    class: "chart", viewBox: "0 0 100 32", preserveAspectRatio: "none", role: "img", "aria-label": `${title}: now ${now}`,
  });
  const most = Math.max(...values, 1e-9);
  const step = values.length > 1 ? 100 / (values.length - 1) : 100;
  const points = values.map((v, i) => `${(i * step).toFixed(2)},${(31 - 29 * v / most).toFixed(2)}`);
  if (points.length > 1) svg.append(svgElement("path", { d: `M0,32 L${points.join(" L")} L100,32 Z` }));
  figure.append(caption, svg);
  return figure;
}

/**
 * Bars of sizes.
 * @param {string} label for those who do not see it
 * @param {number[]} values
 * @returns {SVGElement}
 */
function barChart(label, values) {
  const svg = svgElement("svg", { class: "bars", viewBox: `0 0 ${values.length * 4} 32`, preserveAspectRatio: "none",
    role: "img", "aria-label": label });
  const most = Math.max(...values, 1);
  values.forEach((v, i) => {
    const height = Math.max(0.5, 31 * v / most);
    svg.append(svgElement("rect", { x: i * 4, y: 32 - height, width: 3, height }));
  });
  return svg;
}
