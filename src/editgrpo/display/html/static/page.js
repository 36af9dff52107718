// Wires the controls of the page to what they change.
"use strict";

(() => {
  const { view, hidden, data, plots } = report;

  function press(button, isOn) {
    button.setAttribute("aria-pressed", String(isOn));
  }

  for (const chip of document.querySelectorAll(".chip")) {
    chip.addEventListener("click", () => {
      const run = Number(chip.dataset.run);
      if (hidden.has(run)) hidden.delete(run); else hidden.add(run);
      press(chip, !hidden.has(run));
      plots.redraw();
    });
  }

  for (const button of document.querySelectorAll("[data-show]")) {
    button.addEventListener("click", () => {
      view[button.dataset.show] = !view[button.dataset.show];
      press(button, view[button.dataset.show]);
      plots.redraw();
    });
  }

  const smoothing = document.getElementById("smoothing");
  const steps = Math.max(0, ...data.runs.map((run) => (run.train.step || []).length));
  if (smoothing) {
    // Begin with a window of about a twentieth of the run: the trend is seen and the noise is not.
    const fitting = [...smoothing.options].map((option) => Number(option.value)).filter((window) => window <= Math.max(1, steps / 20));
    view.smoothing = Math.max(1, ...fitting);
    smoothing.value = String(view.smoothing);
    smoothing.addEventListener("change", () => { view.smoothing = Number(smoothing.value); plots.redraw(); });
    const component = document.getElementById("component");
    component.addEventListener("change", () => { view.component = component.value; plots.redraw(); });
  }

  document.getElementById("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = report.isDark() ? "light" : "dark";
    plots.redraw();
  });
  report.prefersDark.addEventListener("change", plots.redraw);

  const links = new Map([...document.querySelectorAll(".links a")].map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const link = links.get(entry.target.id);
      if (!entry.isIntersecting) continue;
      for (const other of links.values()) other.removeAttribute("aria-current");
      if (!link) continue;
      link.setAttribute("aria-current", "true");
      link.parentElement.scrollLeft = link.offsetLeft - link.parentElement.offsetLeft - 60; // on a phone
    }
  }, { rootMargin: "-30% 0px -65% 0px" });
  for (const section of document.querySelectorAll("main > section")) watcher.observe(section);

  report.studies.start();
  plots.start();
})();
