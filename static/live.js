/* Live pages: one channel per tab carries the fragments of everything on it.

   An element that wants to be live has: id, data-live-topic ("task:<id>"; "chat:<id>:<mark>" with the view "thread", which is told
   to look when the conversation's mark is another), data-live-view ("row", "status", "answer", "thread"),
   data-live-seq (what it shows), data-live-text ("claim.bytes" of a text that is being written), data-live-poll (its own address), data-final ("true" ends it).

   The ladder, best first; each rung says the same things:
     WebSocket  /ws/live?topics=<topic@view@seq,...>       down when it can't open in 4 s or is silent for 40 s
     SSE        /live/stream?topics=<...>                  down after two errors without a frame between
     polling    GET data-live-poll, every 2 s              stops at 286 or data-final="true"
   From a lower rung the better ones are tried again each 60 s, while the lower one goes on working.

   Frames from the server: hello, pong, fragment {topic, view, seq, id, html}, reset {topic?}, gone {topic}.
   Frames to the server: ping, topics {topics: [...]}. */
(() => {
  "use strict";
  if (!window.Idiomorph || !window.brainstem) return;

  const OPEN_MS = 4000, SILENT_MS = 40000, PING_MS = 20000, POLL_MS = 2000, CLIMB_MS = 60000, HIDDEN_MS = 300000, BATCH = 8;
  const NAMES = {
    websocket: ["Live", "live", "Changes arrive over a WebSocket as they happen"],
    sse: ["Live (SSE)", "live", "Changes arrive over server-sent events as they happen"],
    poll: ["Polling", "slow", "This page asks for changes every 2 seconds"],
    connecting: ["Connecting", "idle", "Opening the live channel"],
    offline: ["Offline", "off", "The server can’t be reached; trying again"],
    paused: ["Paused", "idle", "This tab was in the background; updates go on when you return"],
    idle: ["Idle", "idle", "Nothing on this page is changing"],
  };

  let mode = "idle";      // the rung that carries the page now
  let socket = null, source = null;
  let lastHeard = 0, sseErrors = 0, pollFailures = 0, pollAt = 0, quickRetry = true;
  let climbTimer = 0, pollTimer = 0, hiddenTimer = 0, syncTimer = 0, retryTimer = 0;
  let sent = "";          // the topics the server was told last
  let epoch = 0;          // grows when everything is closed: what was opening before then is not wanted

  const path = (name) => (document.body.dataset.root || "") + name;
  const all = () => [...document.querySelectorAll("[data-live-topic]")];
  const live = () => all().filter((element) => element.dataset.final !== "true");
  const seqOf = (element) => Number(element.dataset.liveSeq) || 0;

  function topics() {
    const lowest = new Map();
    for (const element of live()) {
      const key = `${element.dataset.liveTopic}@${element.dataset.liveView || "status"}`;
      lowest.set(key, Math.min(lowest.get(key) ?? Infinity, seqOf(element)));
    }
    return [...lowest].map(([key, seq]) => `${key}@${seq}`);
  }
  const names = (list) => list.map((topic) => topic.slice(0, topic.lastIndexOf("@"))).sort().join(",");
  const query = (list) => `?topics=${encodeURIComponent(list.join(","))}`;

  /* What the reader sees of it */

  function show(next) {
    mode = next;
    const [label, state, title] = NAMES[next];
    for (const element of document.querySelectorAll("[data-transport]")) {
      element.dataset.state = state;
      element.title = title;
      const slot = element.querySelector("[data-transport-label]");
      if (slot && slot.textContent !== label) slot.textContent = label;
    }
  }
  let words = [], wordsTimer = 0;
  function announce(text) {
    words.push(text);
    clearTimeout(wordsTimer);
    wordsTimer = setTimeout(() => {
      const more = words.length > 3 ? `, and ${words.length - 3} more` : "";
      document.getElementById("announcer").textContent = words.slice(0, 3).join(". ") + more;
      words = [];
    }, 700);
  }
  const plainTitle = document.title;
  function retitle() {
    const card = document.querySelector('[data-show] [data-live-view="status"]');
    if (!card) return;
    const marks = { completed: "✓ ", failed: "✗ ", timed_out: "✗ ", cancelled: "" };
    const lead = card.dataset.final === "true" ? marks[card.dataset.status] ?? "" : card.dataset.status === "running" ? `${card.dataset.percent}% · ` : "";
    document.title = lead + plainTitle;
  }

  /* Putting a fragment in its place */

  function apply(html, id, seq) {
    const old = document.getElementById(id);
    if (!old) return false;
    if (seq !== undefined && Number(seq) < seqOf(old)) return true;
    const template = document.createElement("template");
    template.innerHTML = html;
    const next = template.content.firstElementChild;
    if (!next || next.id !== id) return false;
    if (brainstem.older(next, old)) return true;
    const before = old.dataset.status;
    const wasFinal = old.dataset.final === "true";
    brainstem.morph(old, next);
    const now = document.getElementById(id);
    if (window.htmx) htmx.process(now);
    brainstem.localise(now);
    show(mode);
    const { status, statusLabel, liveTitle, liveTopic, liveView, final } = now.dataset;
    if (status !== before) announce(`${liveTitle || "Task"}: ${statusLabel || status}`);
    now.dispatchEvent(new CustomEvent("live:update", { bubbles: true, detail: { topic: liveTopic, seq: seqOf(now) } }));
    if (liveView === "thread") resync(); // with answers that are new to this page
    if (final === "true" && !wasFinal) {
      now.dispatchEvent(new CustomEvent("task:final", { bubbles: true, detail: { topic: liveTopic, status } }));
      resync();
    }
    retitle();
    return true;
  }

  function gone(topic) {
    for (const element of all().filter((e) => e.dataset.liveTopic === topic)) {
      if (element.dataset.liveView === "row") element.remove();
      else if (element.dataset.liveView === "thread") {
        element.dataset.final = "true";
        brainstem.toast("This conversation was deleted.", "warn");
      }
      else if (element.dataset.liveView === "answer") lost(element);
      else {
        element.dataset.final = "true";
        brainstem.toast("This task was deleted.", "warn");
      }
    }
    resync();
  }

  /* The task that wrote it was deleted; the message is still there, and says so. */
  function lost(element) {
    if (element.dataset.final === "true") return;
    element.dataset.final = "true";
    refresh(element);
  }

  function handle(frame) {
    lastHeard = Date.now();
    sseErrors = 0;
    if (frame.type === "fragment") apply(frame.html, frame.id, frame.seq);
    else if (frame.type === "gone") gone(frame.topic);
    else if (frame.type === "reset") for (const element of live()) if (!frame.topic || element.dataset.liveTopic === frame.topic) refresh(element);
  }
  function read(text) {
    let frame;
    try { frame = JSON.parse(text); } catch { return; }
    if (frame && typeof frame === "object") handle(frame);
  }

  /* Rung 1: WebSocket */

  function openSocket(onFail) {
    const list = topics();
    if (!list.length || !window.WebSocket) return onFail();
    const born = epoch;
    let opened = false, settled = false;
    const ws = new WebSocket(location.origin.replace(/^http/, "ws") + path("/ws/live") + query(list));
    const fail = () => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      if (socket === ws) socket = null;
      ws.onopen = ws.onmessage = ws.onclose = ws.onerror = null;
      try { ws.close(); } catch { /* never opened */ }
      if (born === epoch) onFail(opened);
    };
    const timer = setTimeout(fail, OPEN_MS);
    ws.onopen = () => {
      if (born !== epoch) return fail();
      clearTimeout(timer);
      opened = true;
      closeSource();
      stopPolling();
      socket = ws;
      lastHeard = Date.now();
      sent = names(list);
      show("websocket");
      resync();
    };
    ws.onmessage = (event) => { quickRetry = true; read(event.data); };
    ws.onclose = ws.onerror = fail;
    ws.drop = fail;
    return ws;
  }
  function say(frame) {
    if (socket?.readyState === 1) socket.send(JSON.stringify(frame));
  }
  setInterval(() => say({ type: "ping" }), PING_MS);
  setInterval(() => {
    if (!socket || Date.now() - lastHeard <= SILENT_MS) return;
    quickRetry = false;
    socket.drop();
  }, 5000);
  function socketLost(wasOpen) {
    if (mode === "paused" || mode === "idle") return;
    if (navigator.onLine === false) return goOffline();
    if (wasOpen && quickRetry) {
      quickRetry = false;               // a restart of the server deserves one more try
      show("connecting");
      clearTimeout(retryTimer);
      retryTimer = setTimeout(() => openSocket(() => openSource(startPolling)), 400 + Math.random() * 800);
    }
    else openSource(startPolling);
  }

  /* Rung 2: server-sent events */

  function openSource(onFail) {
    const list = topics();
    if (!list.length) return settle();
    if (!window.EventSource) return onFail();
    closeSource();
    sseErrors = 0;
    const stream = source = new EventSource(path("/live/stream") + query(list));
    sent = names(list);
    const timer = setTimeout(() => { if (source === stream && stream.readyState !== 1) { closeSource(); onFail(); } }, OPEN_MS * 2);
    stream.onopen = () => {
      clearTimeout(timer);
      if (source !== stream) return;
      stopPolling();
      lastHeard = Date.now();
      show("sse");
      climbLater();
    };
    stream.onmessage = (event) => read(event.data);
    stream.onerror = () => {
      if (source !== stream) return;
      sseErrors += 1;
      if (sseErrors < 2 && stream.readyState !== 2) return show("connecting");
      clearTimeout(timer);
      closeSource();
      onFail();
    };
  }
  function closeSource() {
    if (source) source.close();
    source = null;
  }

  /* Rung 3: polling */

  function startPolling() {
    if (pollTimer) return;
    if (mode !== "offline") show("poll");
    poll();
    pollTimer = setInterval(poll, POLL_MS);
    climbLater();
  }
  function stopPolling() {
    clearInterval(pollTimer);
    pollTimer = 0;
    pollFailures = 0;
  }
  async function poll() {
    const list = live();
    if (!list.length) return settle();
    const turn = Array.from({ length: Math.min(BATCH, list.length) }, (_, i) => list[(pollAt + i) % list.length]);
    pollAt = (pollAt + turn.length) % list.length;
    const results = await Promise.all(turn.map(refresh));
    if (!pollTimer) return;
    pollFailures = results.some(Boolean) ? 0 : pollFailures + 1;
    show(pollFailures > 2 || navigator.onLine === false ? "offline" : "poll");
  }
  const asking = new Set();
  async function refresh(element) {
    const { id, dataset: { livePoll, liveTopic } } = element;
    if (!livePoll || asking.has(id)) return true;
    asking.add(id);
    try {
      const answer = await fetch(livePoll, { credentials: "same-origin", headers: { "HX-Request": "true", "X-Live-Poll": "1" }, cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (answer.status === 404 || answer.status === 410) return gone(liveTopic), true;
      if (answer.status === 401 || answer.status === 403 || answer.redirected) return signedOut(), true;
      if (!answer.ok) return answer.status < 500;
      const html = await answer.text();
      if (html.trim()) apply(html, id);
      if (answer.status === 286) {
        const now = document.getElementById(id);
        if (now) now.dataset.final = "true";
      }
      return true;
    }
    catch { return false; }
    finally { asking.delete(id); }
  }
  /* Half a minute of silence: the news may have been lost on the way. */
  document.addEventListener("progress:silent", (event) => {
    const element = event.target.closest("[data-live-topic]");
    if (element && element.dataset.final !== "true" && mode !== "paused") refresh(element);
  });
  let told = false;
  function signedOut() {
    for (const element of live()) element.dataset.final = "true";
    if (!told) brainstem.toast("You are signed out. Reload to sign in again.", "warn");
    told = true;
  }

  /* Up and down the ladder */

  function start() {
    if (!topics().length) return settle();
    if (mode !== "idle" && mode !== "paused" && mode !== "offline") return;
    show("connecting");
    quickRetry = true;
    const hint = document.getElementById("transport")?.dataset.hint;
    if (hint === "poll" || hint === "polling") startPolling();
    else if (hint === "sse") openSource(startPolling);
    else openSocket(socketLost);
  }
  function climbLater() {
    clearTimeout(climbTimer);
    climbTimer = setTimeout(climb, CLIMB_MS);
  }
  function climb() {
    if (mode !== "sse" && mode !== "poll" && mode !== "offline") return;
    openSocket((wasOpen) => {
      if (wasOpen) return socketLost(true);
      if (pollTimer) openSource(climbLater);
      else climbLater();
    });
  }
  function closeAll() {
    epoch += 1;
    for (const timer of [climbTimer, retryTimer]) clearTimeout(timer);
    stopPolling();
    closeSource();
    const ws = socket;
    socket = null;
    if (ws) {
      ws.onclose = ws.onerror = ws.onmessage = null;
      ws.close(1000);
    }
  }
  function settle() {
    closeAll();
    show("idle");
  }
  function goOffline() {
    closeAll();
    show("offline");
    startPolling();
  }

  /* The page changed: tell the channel what is on it now */

  function resync() {
    clearTimeout(syncTimer);
    syncTimer = setTimeout(() => {
      if (mode === "paused") return;
      const list = topics();
      if (!list.length) return mode === "idle" ? undefined : settle();
      if (mode === "idle") return start();
      if (names(list) === sent) return;
      if (socket) {
        sent = names(list);
        say({ type: "topics", topics: list });
      }
      else if (source) openSource(startPolling);
    }, 60);
  }
  document.addEventListener("htmx:afterSettle", () => { show(mode); retitle(); resync(); });

  /* Hidden tabs give their channel back after a while */

  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiddenTimer);
    if (document.hidden) hiddenTimer = setTimeout(() => { if (mode !== "idle") { closeAll(); show("paused"); } }, HIDDEN_MS);
    else if (mode === "paused") start();
  });
  addEventListener("online", () => { if (mode === "offline") { closeAll(); start(); } });
  addEventListener("offline", () => { if (mode !== "idle" && mode !== "paused") goOffline(); });
  addEventListener("pagehide", () => { if (mode !== "idle") { closeAll(); show("paused"); } });
  addEventListener("pageshow", (event) => { if (event.persisted && mode === "paused") start(); });
  document.addEventListener("DOMContentLoaded", () => { retitle(); start(); });
})();
