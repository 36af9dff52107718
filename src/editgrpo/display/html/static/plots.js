// Draws charts when they come into view, and again when the theme, the width or a choice changes.
"use strict";

report.plots = (() => {
  const builders = {}; // kind of plot -> function (element) -> {traces, layout} or null
  const drawn = new Set();
  const isTouch = matchMedia("(pointer: coarse)");
  const settings = { displayModeBar: false, responsive: true, doubleClick: "reset" };

  function axis(extra = {}) {
    return {
      gridcolor: report.themeColour("--grid"), linecolor: report.themeColour("--line"),
      zeroline: false, automargin: true, ticks: "", tickfont: { size: 11 }, ...extra,
    };
  }

  function baseLayout(element) {
    const surface = report.themeColour("--surface");
    const ink = report.themeColour("--ink");
    return {
      height: element.clientHeight, margin: { l: 46, r: 14, t: 8, b: 30 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: report.themeColour("--muted") },
      hovermode: "x unified", dragmode: isTouch.matches ? false : "zoom",
      hoverlabel: { bgcolor: surface, bordercolor: report.themeColour("--line"), font: { color: ink, size: 12 } },
      xaxis: axis(), yaxis: axis(),
    };
  }

  function draw(element) {
    const built = builders[element.dataset.plot](element);
    drawn.add(element);
    if (!built) {
      Plotly.purge(element);
      element.replaceChildren(report.h("p", { class: "muted" }, "Nothing to draw for the systems that are switched on."));
      return;
    }
    if (!element.classList.contains("js-plotly-plot")) element.replaceChildren();
    const layout = baseLayout(element);
    for (const [key, value] of Object.entries(built.layout || {})) {
      const isNested = value && typeof value === "object" && !Array.isArray(value) && key in layout;
      layout[key] = isNested ? { ...layout[key], ...value } : value;
    }
    Plotly.react(element, built.traces, layout, settings);
  }

  // Names at the ends of lines, moved apart where they would overlap.
  function endLabels(element, lines) {
    if (element.clientWidth < 480) return { annotations: [], margin: 14 };
    const values = lines.flatMap((line) => line.range.filter((value) => value !== null));
    const low = Math.min(...values);
    const span = (Math.max(...values) - low) || 1;
    const height = (element.clientHeight - 44) / 1.1;
    const ends = lines.map((line) => {
      let last = line.y.length - 1;
      while (last > 0 && line.y[last] === null) last -= 1;
      return { ...line, x: line.x[last], value: line.y[last], pixel: (height * (line.y[last] - low)) / span };
    }).filter((end) => typeof end.value === "number").sort((a, b) => a.pixel - b.pixel);
    let floor = -Infinity;
    for (const end of ends) {
      end.shown = Math.max(end.pixel, floor);
      floor = end.shown + 15;
    }
    const annotations = ends.map((end) => ({
      x: end.x, y: end.value, xanchor: "left", yanchor: "middle", xshift: 7, yshift: end.shown - end.pixel,
      text: report.plain(end.name), showarrow: false, font: { color: end.colour, size: 12 },
    }));
    const longest = Math.max(0, ...lines.map((line) => line.name.length));
    return { annotations, margin: 16 + Math.min(200, 6.4 * longest) };
  }

  // From the first to the last value: labels beyond the end must not stretch the axis.
  function extent(lines) {
    const values = lines.flatMap((line) => line.x).filter((value) => typeof value === "number");
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return low < high ? [low, high] : [low - 0.5, high + 0.5];
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) { watcher.unobserve(entry.target); draw(entry.target); }
    }
  }, { rootMargin: "500px" });

  function redraw() { for (const element of drawn) draw(element); }

  function start() {
    for (const element of document.querySelectorAll(".plot")) watcher.observe(element);
    // Paper has no scrolling: what was not seen yet is drawn before it is printed.
    addEventListener("beforeprint", () => {
      for (const element of document.querySelectorAll(".plot")) if (!drawn.has(element)) draw(element);
    });
    let width = innerWidth;
    let timer = 0;
    addEventListener("resize", () => {
      if (innerWidth === width) return; // phones resize when their address bar hides
      width = innerWidth;
      clearTimeout(timer);
      timer = setTimeout(redraw, 150);
    });
  }

  return { builders, axis, endLabels, extent, redraw, start };
})();
