// Dot plots of results: systems beside each other on one row for each metric or finding.
"use strict";

(() => {
  const { data, hidden } = report;
  const { builders } = report.plots;

  // Long names break where they are made of parts, so that a phone has room for the dots.
  function label(name, isNarrow) {
    const safe = report.plain(name);
    return isNarrow ? safe.replace(/([/@])/g, "<br>$1").replace(/ /g, "<br>") : safe;
  }

  const shown = (evaluation) => Object.keys(evaluation.values).map(Number).filter((index) => !hidden.has(index));

  function rowsLayout(element, names, rowHeight, range) {
    const isNarrow = element.clientWidth < 460;
    const height = Math.max(170, names.length * rowHeight + 60);
    element.style.minHeight = `${height}px`;
    return {
      height, hovermode: "closest", margin: { l: 10, t: 4, b: 34, r: 18 },
      yaxis: {
        tickvals: names.map((_, at) => at), ticktext: names.map((name) => label(name, isNarrow)),
        range: [names.length - 0.4, -0.6], showgrid: false, fixedrange: true, tickfont: { size: 12 },
      },
      xaxis: { range, side: "bottom" },
      shapes: names.slice(1).map((_, at) => ({
        type: "line", xref: "paper", x0: 0, x1: 1, y0: at + 0.5, y1: at + 0.5,
        line: { color: report.themeColour("--grid"), width: 1 },
      })),
    };
  }

  builders.forest = (element) => {
    const evaluation = data.evaluations[element.dataset.evaluation];
    const runs = shown(evaluation);
    const isShare = (name) => Object.values(evaluation.values).every(({ metrics }) => {
      const value = metrics[name]?.[0];
      return value === null || value === undefined || (value >= 0 && value <= 1);
    });
    const names = evaluation.metrics.filter(isShare);
    if (!runs.length || !names.length) return null;
    const seeds = [];
    const traces = runs.map((run, order) => {
      const values = names.map((name) => evaluation.values[run].metrics[name] || [null, null, null]);
      const offset = (order - (runs.length - 1) / 2) * Math.min(0.2, 0.7 / runs.length);
      const colour = report.runColour(run);
      seeds.push({
        type: "scatter", mode: "markers", hovertemplate: "one seed: %{x:.3f}<extra></extra>",
        x: values.flatMap((value) => value[3] || []), y: values.flatMap((value, at) => (value[3] || []).map(() => at + offset)),
        marker: { color: colour, size: 9, symbol: "line-ns-open", opacity: 0.6 },
      });
      return {
        type: "scatter", mode: "markers", name: report.plain(data.runs[run].name),
        x: values.map((value) => value[0]), y: names.map((_, at) => at + offset),
        error_x: {
          type: "data", symmetric: false, thickness: 1.6, width: 0, color: colour,
          array: values.map(([value, , high]) => (high === null ? 0 : high - value)),
          arrayminus: values.map(([value, low]) => (low === null ? 0 : value - low)),
        },
        marker: { color: colour, size: 8 }, customdata: values,
        hovertemplate: "%{x:.3f} [%{customdata[1]:.3f}, %{customdata[2]:.3f}]<extra>%{fullData.name}</extra>",
      };
    });
    return { traces: [...seeds, ...traces], layout: rowsLayout(element, names, 22 + 11 * runs.length, undefined) };
  };

  builders.findings = (element) => {
    const evaluation = data.evaluations[element.dataset.evaluation];
    const runs = shown(evaluation);
    const names = evaluation.findings.map(([name]) => name);
    if (!runs.length || !names.length) return null;
    const value = (run, name) => evaluation.values[run].findings[name]?.[0] ?? null;
    const rails = { type: "scatter", mode: "lines", hoverinfo: "skip", x: [], y: [], line: { color: report.themeColour("--line"), width: 3 } };
    names.forEach((name, at) => {
      const all = runs.map((run) => value(run, name)).filter((one) => one !== null);
      if (!all.length) return;
      rails.x.push(Math.min(...all), Math.max(...all), null);
      rails.y.push(at, at, null);
    });
    const dots = runs.map((run) => ({
      type: "scatter", mode: "markers", name: report.plain(data.runs[run].name),
      x: names.map((name) => value(run, name)), y: names.map((_, at) => at),
      customdata: names.map((name) => evaluation.values[run].findings[name] || [null, null, null]),
      marker: { color: report.runColour(run), size: 11, opacity: 0.9, line: { color: report.themeColour("--surface"), width: 1.5 } },
      hovertemplate: "F1 %{x:.3f}, precision %{customdata[1]:.3f}, recall %{customdata[2]:.3f}<extra>%{fullData.name}</extra>",
    }));
    const titles = evaluation.findings.map(([name, support, isRare]) => `${name} (${support})${isRare ? " ◆" : ""}`);
    return { traces: [rails, ...dots], layout: rowsLayout(element, titles, 32, [-0.04, 1.04]) };
  };
})();
