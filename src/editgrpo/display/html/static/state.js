// What the page knows and what the reader has chosen; helpers that every other script uses.
"use strict";

const report = (() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const hidden = new Set(); // indices of runs that are switched off
  const view = { component: "", smoothing: 1, sampled: true, edited: true, band: true };
  const probe = document.createElement("i");

  const prefersDark = matchMedia("(prefers-color-scheme: dark)");

  function isDark() {
    const theme = document.documentElement.dataset.theme;
    return theme ? theme === "dark" : prefersDark.matches;
  }

  // Plotly wants plain colours; a probe element lets the browser resolve the variables of the style sheet.
  function themeColour(variable) {
    if (!probe.isConnected) { probe.hidden = true; document.body.append(probe); }
    probe.style.color = `var(${variable})`;
    return getComputedStyle(probe).color;
  }

  const pick = (pair) => pair[isDark() ? 1 : 0];
  const runColour = (index) => pick(data.runs[index].colours);

  function transparent(hex, alpha) {
    const channel = (at) => parseInt(hex.slice(at, at + 2), 16);
    return `rgba(${channel(1)},${channel(3)},${channel(5)},${alpha})`;
  }

  // Builds an element; text always goes in as text, never as markup.
  function h(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name === "colours") {
        element.style.setProperty("--c", `light-dark(${value[0]}, ${value[1]})`);
      } else {
        element.setAttribute(name, value === true ? "" : value);
      }
    }
    element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return element;
  }

  // Plotly reads a little HTML in its labels; names from files must not become any.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  function score(value, digits = 3) {
    return typeof value === "number" ? value.toFixed(digits) : "–";
  }

  function signed(value, digits = 3) {
    if (typeof value !== "number") return "–";
    return (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
  }

  // Centred running mean over the steps that there are: at the ends the window is cut on one side only, for a window that
  // shrank to one step would end every curve in noise. Missing values are passed over.
  function smooth(values, window) {
    if (window <= 1) return values;
    const half = Math.floor(window / 2);
    return values.map((own, index) => {
      if (own === null) return null;
      let sum = 0;
      let count = 0;
      const last = Math.min(index + half, values.length - 1);
      for (let at = Math.max(index - half, 0); at <= last; at += 1) {
        if (values[at] !== null) { sum += values[at]; count += 1; }
      }
      return sum / count;
    });
  }

  return { data, hidden, view, isDark, prefersDark, themeColour, pick, runColour, transparent, h, plain, score, signed, smooth };
})();
