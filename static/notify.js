/* The bell: how many notifications are unread, asked for every 10 seconds while the tab is looked at, and at once when a
   task on the page ends. Without a script it is a link. */
(() => {
  "use strict";
  const bells = [...document.querySelectorAll("[data-bell]")];
  if (!bells.length) return;
  const EVERY = 10000, KEY = "unread";
  const root = document.body.dataset.root || "";
  let shown = -1, timer = 0, under = false;

  /* The list shows what was unread when it was drawn. */
  function follow(count) {
    const notes = document.getElementById("notes");
    if (notes && window.htmx && Number(notes.dataset.unread) !== count) htmx.trigger(document.body, "notifications:more");
  }
  function show(count) {
    if (count === shown) return;
    const more = shown >= 0 && count > shown;
    shown = count;
    const text = count > 99 ? "99+" : String(count);
    for (const bell of bells) {
      const mark = bell.querySelector("[data-bell-count]");
      mark.textContent = count ? text : "";
      mark.hidden = !count;
      bell.querySelector("[data-bell-label]").textContent = count ? `Notifications, ${text} unread` : "Notifications";
      bell.title = count ? `${text} unread notifications` : "Notifications";
    }
    try { sessionStorage.setItem(KEY, String(count)); } catch { /* private mode */ }
    if (more) document.getElementById("announcer").textContent = `${text} unread notifications`;
  }
  async function ask() {
    clearTimeout(timer);
    if (document.hidden || under) return;
    under = true;
    try {
      const answer = await fetch(`${root}/api/v1/notifications/unread`, { headers: { Accept: "application/json" } });
      if (answer.ok) {
        const { unread } = await answer.json();
        show(unread);
        follow(unread);
      }
    } catch { /* the page says elsewhere that the server can't be reached */ }
    under = false;
    timer = setTimeout(ask, EVERY);
  }
  const soon = () => { clearTimeout(timer); timer = setTimeout(ask, 1500); };

  try { const kept = Number(sessionStorage.getItem(KEY) || 0); if (kept) show(kept); } catch { /* private mode */ }
  document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  document.addEventListener("task:final", soon);
  document.addEventListener("notifications:changed", ask);
  /* Who follows the link has read it. */
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-note]");
    if (!link) return;
    const token = document.querySelector('meta[name="csrf-token"]').content;
    fetch(`${root}/api/v1/notifications/${link.dataset.note}/read`, {
      method: "POST", keepalive: true, body: "{}", headers: { "Content-Type": "application/json", "X-CSRFToken": token },
    }).catch(() => {});
  });
  ask();
})();
