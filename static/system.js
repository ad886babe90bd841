/* The system page: the poll of #system-now can be paused, rests while the tab is hidden, and says when it fails.
   Without this file htmx polls on; without any script the page is reloaded by hand. */
(() => {
  "use strict";
  const page = document.getElementById("system");
  const now = () => document.getElementById("system-now");
  const state = page.querySelector("[data-system-state]");
  const button = page.querySelector("[data-system-pause]");
  let paused = false, failed = false;

  function show() {
    const [label, dot, title] = paused ? ["Paused", "idle", "Measuring is paused"]
      : failed ? ["Not reachable, trying again", "off", "The server can’t be reached; trying again"]
      : ["Every 5 s", "live", "This page asks for new numbers every 5 seconds"];
    state.textContent = label;
    for (const element of document.querySelectorAll("[data-transport]")) {
      element.dataset.state = dot;
      element.title = title;
      element.querySelector("[data-transport-label]").textContent = label;
    }
  }
  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    show();
    if (!paused) htmx.trigger(now(), "refresh");
  });
  page.addEventListener("htmx:beforeRequest", (event) => { if (paused || document.hidden) event.preventDefault(); });
  /* Polls that fail come every five seconds: a word on the page instead of a message each time. */
  for (const type of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) page.addEventListener(type, (event) => {
    event.stopPropagation();
    failed = true;
    show();
  });
  page.addEventListener("htmx:afterRequest", (event) => { if (event.detail.successful) { failed = false; show(); } });
  document.addEventListener("htmx:afterSettle", show);
  document.addEventListener("visibilitychange", () => { if (!document.hidden && !paused) htmx.trigger(now(), "refresh"); });
  document.addEventListener("DOMContentLoaded", show);
})();
