// Loads the page of a run that goes on again, and puts the reader back to where they were.
"use strict";

(() => {
  const key = `editgrpo ${location.pathname}`;
  const root = document.documentElement;
  const zoom = document.getElementById("zoom");

  // A browser may keep nothing for files on the disk.
  function remembered() {
    try { return JSON.parse(sessionStorage.getItem(key)) || {}; } catch { return {}; }
  }

  function remember() {
    const open = [...document.querySelectorAll("details")].map((one) => one.open);
    try {
      sessionStorage.setItem(key, JSON.stringify({ y: scrollY, theme: root.dataset.theme, open }));
    } catch { /* then the page begins at its top */ }
  }

  const before = remembered();
  if (before.theme && before.theme !== root.dataset.theme) document.getElementById("theme").click();
  (before.open || []).forEach((isOpen, at) => {
    const one = document.querySelectorAll("details")[at];
    if (one) one.open = isOpen;
  });
  history.scrollRestoration = "manual";
  if (before.y) scrollTo({ top: before.y, behavior: "instant" });

  setInterval(() => {
    const isReading = zoom.open || document.activeElement.matches("input, select");
    if (document.hidden || isReading) return;
    remember();
    location.reload();
  }, report.data.reloadS * 1000);
})();
