/* The log page: first paint by the server, then /ws/logs; while that is away, the history is asked every 5 s.
   A line is drawn by filling a copy of the server's own <template>. At most data-most lines stay in the page. */
(() => {
  "use strict";
  const page = document.getElementById("logs");
  const $ = (selector, scope = page) => scope.querySelector(selector);
  const form = $("[data-log-filters]"), list = $("[data-log-lines]"), scroll = $("[data-log-scroll]"), newer = $("[data-log-newer]");
  const LEVELS = ["debug", "info", "warning", "error"], TONES = { error: "bad", warning: "warn", debug: "faint" };
  const MOST = Number(page.dataset.most), FIRST = Number(page.dataset.first);
  const PING_MS = 30000, POLL_MS = 5000, SILENT_MS = 75000, WAITS = [1000, 2000, 5000, 15000, 30000];
  const NAMES = {
    connecting: ["Connecting", "idle", "Opening the live channel"],
    live: ["Live", "live", "New lines arrive as they happen"],
    paused: ["Paused", "idle", "New lines are counted, not shown"],
    poll: ["Every 5 s", "slow", "The live channel is away; new lines are asked for every 5 seconds"],
    offline: ["Offline", "off", "The server can’t be reached; trying again"],
    refused: ["Not live", "off", "The server refuses live lines here"],
  };

  /* -- lines ------------------------------------------------------------------------------------------------------ */

  const pad = (number) => String(number).padStart(2, "0");
  const keyOf = (entry) => [entry.task_id, entry.timestamp, entry.level, entry.message].join("|");

  function draw(entry) {
    const line = $("[data-log-template]").content.firstElementChild.cloneNode(true);
    const time = $("time", line), link = $(".log-source", line);
    line.className = `log-line tone-${TONES[entry.level] || "quiet"}`;
    Object.assign(line.dataset, { level: entry.level, task: entry.task_id || "", agent: entry.agent_id || "", source: entry.source || "" });
    time.dateTime = entry.timestamp;
    $(".log-level", line).textContent = entry.level;
    link.firstChild.data = `${entry.source || "task"} `;
    $(".log-id", link).textContent = (entry.task_id || "").slice(-4);
    link.href = link.getAttribute("href").replace("TASK", encodeURIComponent(entry.task_id || ""));
    link.title = `Task ${entry.task_id}`;
    $(".log-text", line).textContent = entry.message || "–";
    return adopt(line, entry);
  }
  function adopt(line, entry) {
    const time = $("time", line), at = new Date(time.dateTime);
    line.entry = entry || {
      timestamp: time.dateTime, level: line.dataset.level, message: $(".log-text", line).textContent,
      agent_id: line.dataset.agent || null, task_id: line.dataset.task || null, source: line.dataset.source,
    };
    if (!Number.isNaN(at.getTime())) {
      time.textContent = `${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
      time.title = at.toLocaleString();
    }
    $("a", line).tabIndex = -1;   // a thousand stops are no help: j and k move from line to line
    return line;
  }
  const asText = ({ timestamp, level, source, task_id: task, message }) => `${timestamp} ${level.toUpperCase().padEnd(7)} ${source} ${task}: ${message}`;

  const atEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 24;
  const toEnd = () => { scroll.scrollTop = scroll.scrollHeight; };

  function append(entries) {
    const stay = atEnd();
    list.append(...entries.slice(-MOST).map((entry) => draw(entry)));
    trim();
    if (stay) toEnd();
    else unseen += entries.length;
    tell();
  }
  /* What leaves at the top must not move what is being read. */
  function trim() {
    const spare = list.children.length - MOST;
    if (spare <= 0) return;
    const end = () => list.lastElementChild.getBoundingClientRect().bottom;   // in fractions of a pixel, unlike scrollHeight
    const before = end();
    for (const line of [...list.children].slice(0, spare)) line.remove();
    scroll.scrollTop += end() - before;
  }
  function replace(entries) {
    list.replaceChildren(...entries.slice(-MOST).map((entry) => draw(entry)));
    unseen = 0;
    toEnd();
    tell();
  }

  /* -- what comes in ---------------------------------------------------------------------------------------------- */

  let paused = false, missed = [], missedCount = 0, unseen = 0, waiting = [], frame = 0;

  function take(entry) {
    if (!passes(entry)) return;
    if (paused) {
      missedCount += 1;
      missed.push(entry);
      if (missed.length > MOST) missed.shift();
      return tell();
    }
    waiting.push(entry);
    /* A burst is one change of the page. A hidden tab draws no frames, so it does not wait for one. */
    if (document.hidden) flush();
    else frame ||= requestAnimationFrame(flush);
  }
  function flush() {
    cancelAnimationFrame(frame);
    frame = 0;
    const entries = waiting;
    waiting = [];
    if (entries.length) append(entries);
  }
  function pause(on) {
    flush();
    paused = on;
    $("#flow-live").checked = !on;
    $("#flow-paused").checked = on;
    if (!on) {
      const entries = missed;
      missed = [];
      missedCount = 0;
      if (entries.length) append(entries);
    }
    show();
    tell();
    announce(on ? "Paused" : "Live");
  }

  /* -- filters ---------------------------------------------------------------------------------------------------- */

  const filters = () => Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value).trim()]).filter(([name, value]) => value && name !== "flow"));
  let wanted = filters();

  function passes(entry) {
    return (!wanted.level || LEVELS.indexOf(entry.level) >= LEVELS.indexOf(wanted.level))
      && (!wanted.task_id || entry.task_id === wanted.task_id)
      && (!wanted.agent_id || entry.agent_id === wanted.agent_id)
      && (!wanted.search || entry.message.toLowerCase().includes(wanted.search.toLowerCase()));
  }
  function refilter() {
    const before = wanted;
    wanted = filters();
    const query = new URLSearchParams(wanted).toString();
    if (query === new URLSearchParams(before).toString()) return;
    history.replaceState(history.state, "", location.pathname + (query ? `?${query}` : ""));
    for (const link of page.querySelectorAll("[data-log-download]")) link.search = query;
    $("[data-log-clear]").hidden = !query;
    $("[data-log-narrowed]").textContent = [wanted.task_id, wanted.agent_id].filter(Boolean).length || "";
    $(".empty-text", page).textContent = query ? "No line fits these filters." : "What tasks say while they work is listed here as it happens.";
    waiting = [];
    missed = [];
    missedCount = 0;
    /* The socket takes a new level while it is open; task and agent belong to its address. */
    if (before.task_id !== wanted.task_id || before.agent_id !== wanted.agent_id) connect();
    else if (before.level !== wanted.level) say({ type: "update_filters", filters: { level: wanted.level || null } });
    load(true);
  }

  /* -- the history: after a filter changed, and for what was missed while the channel was away ---------------------- */

  const SOME = 40;   /* lines that are usually enough to reach one that is here already */
  let asking = 0;
  async function load(anew, limit = anew ? FIRST : SOME) {
    const turn = ++asking;
    try {
      const answer = await fetch(`${page.dataset.history}?${new URLSearchParams({ ...wanted, limit })}`, { credentials: "same-origin", headers: { Accept: "application/json" }, cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (turn !== asking) return true;
      if (answer.status === 401 || answer.status === 403) return signedOut();
      if (!answer.ok) return false;
      const entries = (await answer.json()).reverse();
      if (turn !== asking) return true;
      if (!anew && limit < MOST && entries.length === limit && !isHere(entries[0])) return await load(false, MOST);
      if (anew) replace(entries);
      else fillIn(entries);
      return true;
    }
    catch { return false; }
  }
  function isHere(entry) {
    const key = keyOf(entry);
    return missed.some((one) => keyOf(one) === key) || [...list.children].some((line) => keyOf(line.entry) === key);
  }
  function fillIn(entries) {
    flush();
    const shown = [...list.children].map((line) => line.entry);
    const have = new Set([...shown, ...missed].map(keyOf));
    const lacking = entries.filter((entry) => !have.has(keyOf(entry)));
    if (!lacking.length) return;
    const last = shown.at(-1)?.timestamp || "";
    if (paused || lacking[0].timestamp >= last) return lacking.forEach(take);
    const stay = atEnd();
    const all = [...shown, ...lacking].sort((a, b) => (a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : 0));
    list.replaceChildren(...all.slice(-MOST).map((entry) => draw(entry)));
    if (stay) toEnd();
    tell();
  }

  /* -- the channel ------------------------------------------------------------------------------------------------ */

  let socket = null, mode = "connecting", failures = 0, heard = 0, retryTimer = 0, pollTimer = 0;

  function connect() {
    clearTimeout(retryTimer);
    if (socket) { socket.onopen = socket.onmessage = socket.onclose = null; socket.close(1000); }
    if (!window.WebSocket) return lost();
    const address = new URL(location.origin.replace(/^http/, "ws") + (document.body.dataset.root || "") + page.dataset.socket);
    for (const name of ["task_id", "agent_id", "level"]) if (wanted[name]) address.searchParams.set(name, wanted[name]);
    const ws = socket = new WebSocket(address);
    ws.onmessage = (event) => { heard = Date.now(); read(event.data); };
    ws.onopen = () => { heard = Date.now(); };
    ws.onclose = (event) => {
      if (socket === ws) socket = null;
      if (event.code === 1008) return refused(event.reason);
      lost();
    };
  }
  function read(text) {
    let message;
    try { message = JSON.parse(text); } catch { return; }
    if (message.type === "log_entry") take(message.data);
    else if (message.type === "connected") opened();
  }
  function opened() {
    failures = 0;
    stopPolling();
    mode = "live";
    show();
    load(false);          // lines of the time between first paint, or the last word, and now
  }
  function lost() {
    failures += 1;
    clearTimeout(retryTimer);
    retryTimer = setTimeout(connect, WAITS[Math.min(failures, WAITS.length) - 1] * (0.75 + Math.random() / 2));
    if (failures > 1) startPolling();
    else { mode = "connecting"; show(); }
  }
  function refused(reason) {
    stopPolling();
    mode = "refused";
    NAMES.refused[2] = reason || "The server refuses live lines here";
    show();
    announce(`Not live: ${NAMES.refused[2]}`);
  }
  function signedOut() {
    refused("You are signed out. Reload to sign in again.");
    clearTimeout(retryTimer);
    return true;
  }
  function startPolling() { if (!pollTimer) { poll(); pollTimer = setInterval(poll, POLL_MS); } }
  function stopPolling() { clearInterval(pollTimer); pollTimer = 0; }
  async function poll() {
    const good = await load(false);
    if (!pollTimer || mode === "refused") return;
    mode = good ? "poll" : "offline";
    show();
  }
  function say(message) { if (socket?.readyState === 1) socket.send(JSON.stringify(message)); }
  setInterval(() => say({ type: "ping" }), PING_MS);
  setInterval(() => { if (socket?.readyState === 1 && Date.now() - heard > SILENT_MS) socket.close(); }, 5000);

  /* -- what the reader is told ------------------------------------------------------------------------------------ */

  function show() {
    const [label, state, title] = NAMES[paused && mode === "live" ? "paused" : mode];
    for (const element of document.querySelectorAll("[data-transport]")) {
      element.dataset.state = state;
      element.title = title;
      $("[data-transport-label]", element).textContent = mode === "refused" && page.contains(element) ? `${label}: ${title}` : label;
    }
  }
  const many = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
  function tell() {
    const count = list.children.length;
    $("[data-log-count]").textContent = count < MOST ? many(count, "line") : `newest ${count.toLocaleString("en")}`;
    $("[data-log-empty]").hidden = count > 0;
    if (atEnd()) unseen = 0;
    newer.hidden = atEnd() && !missedCount;
    $("span", newer).textContent = missedCount ? `Paused, ${many(missedCount, "new line")}` : unseen ? many(unseen, "new line") : "Newest";
  }
  function announce(text) { document.getElementById("announcer").textContent = text; }

  /* -- hands ------------------------------------------------------------------------------------------------------ */

  let typing = 0;
  form.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(refilter, 250); });
  form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(typing); refilter(); });
  $("[data-log-clear]").addEventListener("click", (event) => {
    event.preventDefault();
    for (const field of form.elements) {
      if (field.type === "radio") field.checked = field.value === "";
      else if (field.name) field.value = "";
    }
    refilter();
  });
  page.addEventListener("change", (event) => { if (event.target.name === "flow") pause(event.target.value === "paused"); });
  newer.addEventListener("click", () => {
    if (paused) pause(false);
    toEnd();
    tell();
    scroll.focus();
  });
  scroll.addEventListener("scroll", tell, { passive: true });
  /* The copying itself is app.js's: it only has to find the text on the button. */
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-log-copy], [data-log-copy-all]");
    if (!button) return;
    const lines = button.hasAttribute("data-log-copy") ? [button.closest("li")] : [...list.children];
    button.dataset.copy = lines.map((line) => asText(line.entry)).join("\n");
  }, true);
  function only(line) {
    if (!line?.entry.task_id) return;
    form.elements.task_id.value = line.entry.task_id;
    refilter();
  }
  list.addEventListener("click", (event) => { if (event.target.closest("[data-log-only]")) only(event.target.closest("li")); });

  const KEYS = {
    p: () => pause(!paused),
    c: (line) => line && $("[data-log-copy]", line).click(),
    f: only,
  };
  document.addEventListener("keydown", (event) => {
    let off = null;
    try { off = localStorage.getItem("keys"); } catch { /* private window */ }
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || off === "off" || !KEYS[event.key]) return;
    if (event.target.matches?.("input:not([type=radio]), textarea, select") || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    KEYS[event.key](document.activeElement?.closest?.(".log-line"));
  });

  addEventListener("pagehide", () => { if (socket) { socket.onclose = null; socket.close(1000); socket = null; } clearTimeout(retryTimer); stopPolling(); });
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
  addEventListener("online", () => { if (!socket && mode !== "refused") connect(); });

  for (const line of list.children) adopt(line);
  /* The browser may have kept form fields over a reload that the address does not know. */
  form.reset();
  $("#flow-live").checked = true;
  toEnd();
  document.addEventListener("DOMContentLoaded", () => { show(); tell(); connect(); });
  document.addEventListener("htmx:afterSettle", show);
})();
