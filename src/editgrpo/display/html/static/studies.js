// Pages of studies: choose, filter, turn over.
"use strict";

report.studies = (() => {
  const { data, h, score, signed } = report;
  const byId = (id) => document.getElementById(id);
  const state = { mode: data.groups.length ? "groups" : "predictions", list: [], at: 0 };

  // Lies over an image that is shown whole, whatever its size on the page.
  function boxes(image) {
    if (!image.boxes) return null;
    const [width, height] = image.size;
    const make = (name, attributes) => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
      return node;
    };
    const drawing = make("svg", { viewBox: `0 0 ${width} ${height}`, class: "boxes", "aria-hidden": "true" });
    image.boxes.forEach(({ sides: [left, top, right, bottom], extra, text }, at) => {
      const kind = extra ? "extra" : "box";
      const rectangle = make("rect", { class: kind, x: left * width, y: top * height, width: (right - left) * width, height: (bottom - top) * height });
      const title = make("title", {});
      title.textContent = text;
      rectangle.append(title);
      const number = make("text", { class: kind, x: left * width + 6, y: top * height + 24 });
      number.textContent = at + 1;
      drawing.append(rectangle, number);
    });
    return drawing;
  }

  function film(image) {
    const caption = `${image.timepoint} · ${image.view}`;
    const button = h("button", { type: "button", class: `film ${image.timepoint}`, "aria-label": `Enlarge: ${caption}` },
      h("img", { src: image.src, alt: `Radiograph, ${caption}`, loading: "lazy" }), boxes(image), h("span", {}, caption));
    button.addEventListener("click", () => {
      const dialog = byId("zoom");
      dialog.querySelector("img").src = image.src;
      dialog.querySelector("img").alt = `Radiograph, ${caption}`;
      dialog.querySelector("p").textContent = caption;
      dialog.querySelector(".boxes")?.remove();
      const drawing = boxes(image);
      if (drawing) dialog.querySelector(".zoomed").append(drawing);
      dialog.showModal();
    });
    return button;
  }

  function films(study) {
    if (!study) return h("div", {}, h("p", { class: "muted" }, "No images: this study was not found in the folder of studies."));
    const prior = study.images.filter((image) => image.timepoint === "prior");
    const current = study.images.filter((image) => image.timepoint !== "prior");
    const box = h("div", { class: "films" }, ...current.map(film),
      prior.length ? h("h4", {}, "Prior study") : null, ...prior.map(film));
    const context = h("dl", { class: "context" });
    for (const section of ["indication", "comparison", "technique"]) {
      if (study[section]) context.append(h("dt", {}, section), h("dd", {}, study[section]));
    }
    const drawn = current.flatMap((image) => image.boxes || []);
    const legend = drawn.length ? h("ol", { class: "context" }, ...drawn.map((box) => h("li", {}, box.text))) : null;
    const lost = study.unreadable ? h("p", { class: "muted" }, `${study.unreadable} images could not be read.`) : null;
    return h("div", {}, box, legend, lost, context);
  }

  function sentences(segments) {
    const tags = { kept: "span", removed: "del", inserted: "ins" };
    const parts = segments.map(([change, text, isVerbatim]) => h(tags[change], isVerbatim ? { class: "verbatim" } : {}, text));
    return h("p", { class: "report" }, ...parts.flatMap((part, at) => (at ? [" ", part] : [part])));
  }

  function reference(page) {
    return h("div", { class: "card text reference" }, h("div", { class: "head" }, h("b", {}, "Reference report")),
      sentences(page.reference.map((text) => ["kept", text, false])));
  }

  function rewards(values, before) {
    const list = h("dl", { class: "rewards" });
    for (const [name, value] of Object.entries(values)) {
      const from = before && typeof before[name] === "number" ? before[name] : null;
      const change = from === null ? null : value - from;
      const direction = change > 1e-9 ? "up" : change < -1e-9 ? "down" : "";
      list.append(h("div", {}, h("dt", {}, name), h("dd", {}, score(value),
        change === null ? null : h("small", { class: direction }, ` ${direction ? signed(change) : "unchanged"}`))));
    }
    return list;
  }

  const rowTitle = { sampled: "Sampled", edited: "Edited", reference: "Reference report as response" };

  function rolloutCard(row, at, rows) {
    // The run logs one row where all rewards of a group are equal.
    const rankTitle = rows.length === 1 ? ", all rewards of the group are equal" : `, ${row.rank} of its group`;
    const head = h("div", { class: "head" }, h("b", {}, rowTitle[row.kind] || row.kind, rankTitle));
    if (row.rule) head.append(h("span", { class: "badge", colours: data.rules[row.rule] || data.rules.none }, row.rule));
    head.append(h("span", { class: "badge" }, `reward ${score(row.reward.total)}`),
      h("span", { class: "badge" }, "advantage ", h("b", { class: row.advantage > 0 ? "up" : "down" }, signed(row.advantage))));
    const why = h("p", { class: "why" });
    if (row.entities.length) {
      why.append(row.rule === "augmentation" ? "Missing from the rollout: " : "Not borne out by the reference: ");
      row.entities.forEach(([text, type], at) => why.append(at ? ", " : "", h("span", { class: "entity" }, `${text} `, h("small", {}, type))));
    } else if (row.rule === "shortened") {
      why.append("No rule applied: a rollout that the length limit cut ends with its last whole sentence.");
    } else if (row.kind === "edited" && row.rule === "none") {
      why.append("Nothing to edit: the rollout appears twice in its group.");
    }
    return h("div", { class: "card text" }, head, sentences(row.segments), why.childNodes.length ? why : null, rewards(row.reward, row.sourceReward));
  }

  function predictionCard(prediction) {
    const run = data.runs[prediction.run];
    return h("div", { class: "card text" },
      h("div", { class: "head" }, h("b", {}, h("span", { class: "dot", colours: run.colours }), run.name)),
      sentences(prediction.segments), rewards(prediction.scores, null));
  }

  function show() {
    const page = state.list[state.at];
    const article = byId("study");
    byId("previous").disabled = state.at <= 0;
    byId("next").disabled = state.at >= state.list.length - 1;
    byId("position").textContent = state.list.length ? `${state.at + 1} of ${state.list.length}` : "no study fits";
    if (!page) {
      article.replaceChildren(h("p", { class: "muted" }, "No study fits these filters. Choose “all” in one of them."));
      return;
    }
    const where = page.evaluation ? `test set ${page.evaluation}` : `${data.runs[page.run].name} · step ${page.step}`;
    article.replaceChildren(
      h("header", {}, h("h3", {}, `Study ${page.study}`), h("span", { class: "muted" }, where)),
      films(data.studies[page.key]),
      h("div", { class: "texts" }, reference(page), ...(page.rows || []).map(rolloutCard), ...(page.predictions || []).map(predictionCard)));
  }

  function fits(page) {
    const wanted = byId("by-study").value.trim().toLowerCase();
    if (wanted && !page.study.toLowerCase().includes(wanted)) return false;
    const is = (id, value) => byId(id).value === "" || byId(id).value === String(value);
    if (state.mode === "predictions") return is("by-evaluation", page.evaluation);
    const rule = byId("by-rule").value;
    return is("by-run", page.run) && is("by-step", page.step) && (rule === "" || page.rules.includes(rule));
  }

  // Without a rule chosen, begin with a page on which an edit changed something.
  function filter() {
    state.list = data[state.mode].filter(fits);
    const isEdited = (page) => (page.rows || []).some((row) => row.rule && row.rule !== "none");
    state.at = Math.max(0, state.list.findIndex(isEdited));
    show();
  }

  // The address names the page, so that a reader can send it to another.
  function remember() {
    const page = state.list[state.at];
    if (page) location.replace(`#study-${state.mode}-${data[state.mode].indexOf(page)}`);
  }

  function recall() {
    const [, mode, index] = location.hash.match(/^#study-(groups|predictions)-(\d+)$/) || [];
    const page = mode && data[mode][Number(index)];
    if (!page) return;
    setMode(mode);
    state.at = state.list.indexOf(page);
    show();
    byId("studies").scrollIntoView();
  }

  function turn(by) {
    const next = state.at + by;
    if (next < 0 || next >= state.list.length) return;
    state.at = next;
    show();
    remember();
  }

  function fill(id, values, name = String) {
    byId(id).replaceChildren(h("option", { value: "" }, "all"), ...values.map((value) => h("option", { value }, name(value))));
    byId(id).closest("label").dataset.choices = values.length;
  }

  function setMode(mode) {
    state.mode = mode;
    for (const button of document.querySelectorAll("[data-mode]")) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    for (const kind of ["groups", "predictions"]) {
      for (const label of document.querySelectorAll(`.of-${kind}`)) label.hidden = kind !== mode || label.dataset.choices < 2;
    }
    filter();
  }

  function start() {
    if (!byId("study")) return;
    const distinct = (values) => [...new Set(values)];
    fill("by-run", distinct(data.groups.map((page) => page.run)), (run) => data.runs[run].name);
    fill("by-rule", Object.keys(data.rules).filter((rule) => data.groups.some((page) => page.rules.includes(rule))));
    fill("by-step", distinct(data.groups.map((page) => page.step)).sort((a, b) => a - b));
    fill("by-evaluation", distinct(data.predictions.map((page) => page.evaluation)));
    for (const id of ["by-run", "by-rule", "by-step", "by-evaluation"]) byId(id).addEventListener("change", filter);
    byId("by-study").addEventListener("input", filter);
    byId("previous").addEventListener("click", () => turn(-1));
    byId("next").addEventListener("click", () => turn(1));
    byId("study").addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") turn(-1);
      if (event.key === "ArrowRight") turn(1);
    });
    for (const button of document.querySelectorAll("[data-mode]")) button.addEventListener("click", () => setMode(button.dataset.mode));
    byId("zoom").addEventListener("click", (event) => { if (event.target.tagName !== "IMG") byId("zoom").close(); });
    setMode(state.mode);
    recall();
  }

  return { start };
})();
