// Charts over training steps.
"use strict";

(() => {
  const { data, view, hidden } = report;
  const { builders, endLabels, extent } = report.plots;

  const shownRuns = () => data.runs.map((run, index) => ({ ...run, index })).filter((run) => !hidden.has(run.index));
  const line = (x, y, name, colour, extra = {}) => ({
    x, y, name: report.plain(name), type: "scatter", mode: x.length > 1 ? "lines" : "markers",
    line: { color: colour, width: 2, ...(extra.line || {}) }, marker: { color: colour },
    hovertemplate: extra.share ? "%{y:.1%}" : "%{y:.4~g}", connectgaps: true,
  });

  function band(x, middle, spread, colour) {
    const upper = middle.map((value, at) => (value === null || spread[at] === null ? null : value + spread[at]));
    const lower = middle.map((value, at) => (value === null || spread[at] === null ? null : value - spread[at]));
    const edge = { type: "scatter", mode: "lines", line: { width: 0 }, hoverinfo: "skip", connectgaps: true };
    return [
      { ...edge, x, y: lower },
      { ...edge, x, y: upper, fill: "tonexty", fillcolor: report.transparent(colour, 0.15) },
    ];
  }

  function withLabels(element, traces, labelled, axisTitle) {
    const { annotations, margin } = endLabels(element, labelled);
    const [low, high] = extent(labelled);
    const whole = axisTitle === "epoch" ? { dtick: 1, range: [low - 0.15, high + 0.05] } : { range: [low, high] };
    const xaxis = { title: { text: axisTitle, standoff: 4, font: { size: 11 } }, ...whole };
    return { traces, layout: { annotations, xaxis, margin: { r: margin, b: 40 } } };
  }

  builders.reward = (element) => {
    const traces = [];
    const labelled = [];
    for (const run of shownRuns()) {
      const colour = report.runColour(run.index);
      const hasEdits = "edits/none" in run.train && "reward/edited/mean" in run.train;
      for (const half of ["sampled", "edited"]) {
        const values = run.train[`reward/${half}/${view.component || "mean"}`];
        if (!view[half] || !values || (half === "edited" && !hasEdits)) continue;
        const y = report.smooth(values, view.smoothing);
        const name = half === "edited" ? `${run.name}, edited` : run.name;
        const spread = half === "sampled" && !view.component ? run.train["reward/sampled/se"] : null;
        if (spread && view.band) traces.push(...band(run.train.step, y, report.smooth(spread, view.smoothing), colour));
        const dash = half === "edited" ? "dot" : "solid";
        traces.push(line(run.train.step, y, name, colour, { line: { dash, width: half === "edited" ? 1.6 : 2.4 } }));
        labelled.push({ x: run.train.step, y, range: y, name, colour });
      }
    }
    if (!labelled.length) return null;
    return withLabels(element, traces, labelled, "step");
  };

  builders.curve = (element) => {
    const traces = [];
    const isShare = element.dataset.share === "1";
    for (const run of shownRuns().filter((one) => one.kind === "RL")) {
      element.dataset.keys.split("|").forEach((key, order) => {
        if (!(key in run.train) || (order && !("edits/none" in run.train))) return;
        const y = report.smooth(run.train[key], view.smoothing);
        const name = order ? `${run.name}, edited` : run.name;
        const style = { share: isShare, line: { dash: order ? "dot" : "solid", width: order ? 1.5 : 2 } };
        traces.push(line(run.train.step, y, name, report.runColour(run.index), style));
      });
    }
    if (!traces.length) return null;
    const yaxis = isShare ? { tickformat: ".1~%", rangemode: "tozero" } : {};
    // A quantity that never left 0 is drawn on a scale on which 0 looks like 0.
    if (traces.every((trace) => trace.y.every((value) => !value))) yaxis.range = [0, isShare ? 0.1 : 1];
    return { traces, layout: { yaxis } };
  };

  const ofRules = (prefix, run) => Object.keys(data.rules).filter((rule) => `${prefix}${rule}` in run.train);

  builders.rules = (element) => {
    const run = data.runs[Number(element.dataset.of)];
    if (hidden.has(Number(element.dataset.of))) return null;
    const traces = ofRules("edits/", run).map((rule) => {
      const colour = report.pick(data.rules[rule]);
      const y = report.smooth(run.train[`edits/${rule}`], view.smoothing);
      return {
        ...line(run.train.step, y, rule, colour, { share: true, line: { width: 0.5 } }),
        mode: "lines", stackgroup: "rules", fillcolor: report.transparent(colour, 0.75),
      };
    });
    return { traces, layout: { yaxis: { range: [0, 1], tickformat: ".0%" } } };
  };

  builders.gains = (element) => {
    const run = data.runs[Number(element.dataset.of)];
    if (hidden.has(Number(element.dataset.of))) return null;
    const rules = ofRules("edit_gain/", run).filter((rule) => rule !== "none");
    if (!rules.length) return null;
    const traces = rules.map((rule) => {
      const y = report.smooth(run.train[`edit_gain/${rule}`], view.smoothing);
      return line(run.train.step, y, rule, report.pick(data.rules[rule]));
    });
    return { traces, layout: { yaxis: { zeroline: true, zerolinecolor: report.themeColour("--muted") } } };
  };

  builders.phases = () => {
    const runs = shownRuns().filter((run) => Object.keys(run.phases).length);
    if (!runs.length) return null;
    const shades = {
      vision: "#6b7280", rollout: "#2166ac", edit: "#d1440c", score: "#b7791f", reference: "#8b4a9e", update: "#0b7f5f",
      optimizer: "#5c3d2e",
    };
    const traces = Object.keys(shades).map((phase) => ({
      type: "bar", orientation: "h", name: phase, marker: { color: shades[phase] },
      y: runs.map((run) => report.plain(run.name)), x: runs.map((run) => run.phases[phase] ?? 0),
      hovertemplate: `${phase} %{x:.3~g} s<extra></extra>`,
    }));
    const layout = {
      barmode: "stack", hovermode: "closest", showlegend: true, bargap: 0.45,
      legend: { orientation: "h", y: -0.2, font: { size: 11 }, traceorder: "normal" }, yaxis: { autorange: "reversed" },
      xaxis: { ticksuffix: " s" },
    };
    return { traces, layout };
  };

  // Validation rows carry an epoch; the training rows tell at which step that epoch ended.
  function stepOfEpoch(run, epoch) {
    let step = null;
    (run.train.epoch || []).forEach((value, at) => {
      if (value !== null && value <= epoch + 1e-6) step = run.train.step[at];
    });
    return step;
  }

  builders["sft-loss"] = (element) => {
    const traces = [];
    const labelled = [];
    for (const run of shownRuns().filter((one) => one.kind === "SFT" && "loss" in one.train)) {
      const colour = report.runColour(run.index);
      const y = report.smooth(run.train.loss, view.smoothing);
      traces.push(line(run.train.step, y, run.name, colour));
      labelled.push({ x: run.train.step, y, range: y, name: run.name, colour });
      const losses = run.validation["validation/loss"];
      if (!losses) continue;
      const x = run.validation.epoch.map((epoch) => stepOfEpoch(run, epoch));
      const dots = line(x, losses, `${run.name}, validation`, colour, { line: { dash: "dot", width: 1.2 } });
      traces.push({ ...dots, mode: "lines+markers", cliponaxis: false, marker: { color: colour, size: 8, symbol: "circle-open", line: { width: 2 } } });
    }
    if (!traces.length) return null;
    return withLabels(element, traces, labelled, "step");
  };

  builders["sft-validation"] = (element) => {
    const traces = [];
    const labelled = [];
    for (const run of shownRuns().filter((one) => one.kind === "SFT")) {
      const y = run.validation["validation/reward/total"];
      if (!y) continue;
      const colour = report.runColour(run.index);
      traces.push({ ...line(run.validation.epoch, y, run.name, colour), mode: "lines+markers", cliponaxis: false });
      labelled.push({ x: run.validation.epoch, y, range: y, name: run.name, colour });
    }
    if (!traces.length) return null;
    return withLabels(element, traces, labelled, "epoch");
  };
})();
