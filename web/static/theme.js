// Runs before the page is drawn, so that a chosen theme does not flash.
"use strict";

(() => {
  const root = document.documentElement;
  const stored = () => {
    try {
      return localStorage.getItem("belfry-theme");
    } catch {
      return null; // storage may be forbidden
    }
  };
  const chosen = stored();
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;

  window.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      const dark = root.dataset.theme
        ? root.dataset.theme === "dark"
        : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      try {
        localStorage.setItem("belfry-theme", root.dataset.theme);
      } catch {
        // then it lasts as long as the page
      }
    });
  });
})();
