// Bars of a prepared set: one group for each bar's name, one colour for each split.
"use strict";

(() => {
  const { data } = report;
  const { builders } = report.plots;

  function legend(layout) {
    return data.splits.length > 1
      ? { ...layout, showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal" } }
      : layout;
  }

  function traces(chart, isHorizontal) {
    return data.splits.map((split, at) => ({
      type: "bar", name: split, orientation: isHorizontal ? "h" : "v",
      x: isHorizontal ? chart.series[at] : chart.bars, y: isHorizontal ? chart.bars : chart.series[at],
      marker: { color: report.pick(data.colours[at]) },
      hovertemplate: isHorizontal ? "%{x:.1f} %" : "%{y:.1f} %",
    }));
  }

  // A step reaches to the next one, so the last needs an end of its own.
  function steps(trace) {
    const x = trace.x.map(Number);
    const end = x[x.length - 1] + (x.length > 1 ? x[1] - x[0] : 1);
    return {
      ...trace, type: "scatter", mode: "lines", x: [...x, end], y: [...trace.y, trace.y[trace.y.length - 1]],
      line: { color: trace.marker.color, width: 2, shape: "hv" },
    };
  }

  builders.columns = (element) => {
    const chart = data.charts[element.dataset.chart];
    const isNumeric = element.dataset.numeric === "yes";
    return {
      traces: traces(chart, false).map((trace) => (isNumeric ? steps(trace) : trace)),
      layout: legend({
        margin: { l: 46, r: 14, t: 34, b: 40 }, bargap: 0.25,
        xaxis: isNumeric ? { title: { text: element.dataset.unit } } : { type: "category", title: { text: element.dataset.unit } },
        yaxis: { rangemode: "tozero", ticksuffix: " %" },
      }),
    };
  };

  builders.rows = (element) => {
    const chart = data.charts[element.dataset.chart];
    const height = Math.max(200, chart.bars.length * (12 + 12 * data.splits.length) + 80);
    element.style.minHeight = `${height}px`;
    return {
      traces: traces(chart, true),
      layout: legend({
        height, margin: { l: 10, r: 14, t: 34, b: 30 }, bargap: 0.25, hovermode: "y unified",
        yaxis: { autorange: "reversed", fixedrange: true },
        xaxis: { rangemode: "tozero", ticksuffix: " %" },
      }),
    };
  };

  document.getElementById("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = report.isDark() ? "light" : "dark";
    report.plots.redraw();
  });
  report.prefersDark.addEventListener("change", report.plots.redraw);
  report.plots.start();
})();
