/* The chat page. What is said and written comes from the server as fragments (live.js, htmx); here are only the hands:
   keys, drafts, files, the way to the newest, the source beside the answer. Without it the forms still work. */
(() => {
  "use strict";
  const $ = (selector, scope = document) => scope.querySelector(selector);
  const $$ = (selector, scope = document) => [...scope.querySelectorAll(selector)];
  const page = $(".chat");
  const form = $("[data-ask]");
  const box = $("#ask");
  const token = () => $('meta[name="csrf-token"]').content;
  const post = (url, body) => fetch(url, { method: "POST", credentials: "same-origin", headers: { "HX-Request": "true", "X-CSRFToken": token() }, body });

  /* A source beside its answer: [data-cite] links; the panel closes by Escape or a click elsewhere. */
  let opener = null;
  document.addEventListener("click", async (event) => {
    const link = event.target.closest?.("a[data-cite]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    const panel = $("#source-panel");
    if (!panel?.showPopover) return;
    event.preventDefault();
    opener = link;
    try {
      const answer = await fetch(link.href, { credentials: "same-origin", headers: { "HX-Request": "true" } });
      if (!answer.ok) throw new Error(String(answer.status));
      $("#source-body").innerHTML = await answer.text();
      brainstem.localise(panel);
      if (!panel.matches(":popover-open")) panel.showPopover();
      for (const one of $$("a.cite[aria-expanded]")) one.removeAttribute("aria-expanded");
      link.setAttribute("aria-expanded", "true");
      panel.querySelector("button")?.focus({ preventScroll: true });
    } catch { location.assign(link.href); }
  });
  $("#source-panel")?.addEventListener("toggle", (event) => {
    if (event.newState !== "closed") return;
    for (const one of $$("[aria-expanded][data-cite]")) one.removeAttribute("aria-expanded");
    if (opener?.isConnected) opener.focus({ preventScroll: true });
  });
  if (!page || !form || !box) return;

  const store = {
    get(key) { try { return localStorage.getItem(key); } catch { return null; } },
    set(key, value) { try { value ? localStorage.setItem(key, value) : localStorage.removeItem(key); } catch { /* private window */ } },
  };

  /* Is an answer being written? Then the stop button shows, and what is sent waits for its end. A search for more sources
     may take minutes: nothing waits for it, and it has a button of its own. */
  const writing = () => $('.chat-answer[data-live-topic]:is([data-status="waiting"], [data-status="writing"])[data-final="false"]:not([data-looking])');
  const reading = () => Number($(".chat-files")?.dataset.reading || 0) > 0;
  let queued = false;
  function show() {
    const busy = !!writing();
    $("[data-stop]").hidden = !busy;
    $("[data-queued]").hidden = !queued;
    $("[data-queued]").textContent = reading() ? "Sends when your files are read" : "Sends when this answer is done";
    form.classList.toggle("is-busy", busy);
    if (queued && !busy && !reading()) { queued = false; show(); send(); }
  }
  function send() { if (box.value.trim()) form.requestSubmit($(".chat-send")); }
  document.addEventListener("submit", (event) => {
    if (event.target !== form) return;
    const example = event.submitter?.name === "example";
    if (!example && !box.value.trim()) { event.preventDefault(); event.stopImmediatePropagation(); return box.focus(); }
    if (!example && (writing() || reading())) {
      event.preventDefault();
      event.stopImmediatePropagation();
      queued = true;
      return show();
    }
    follow = true;
    if (!form.hasAttribute("hx-post")) store.set(draftKey, "");
  }, true);
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.elt !== form || !event.detail.successful) return;
    box.value = "";
    store.set(draftKey, "");
    box.focus();
  });
  for (const type of ["live:update", "task:final", "htmx:afterSettle"]) document.addEventListener(type, () => { show(); toEnd(); });

  /* Stop: the button, or Escape. */
  function stop() {
    const answer = writing();
    if (!answer) return;
    post(`${answer.dataset.livePoll}/stop`).then((reply) => { if (!reply.ok && reply.status !== 409) brainstem.toast("It could not be stopped.", "warn"); });
  }
  $("[data-stop]").addEventListener("click", stop);

  /* Keys: Enter sends, Shift-Enter is a new line, Escape stops, Up in the empty box edits the last question. */
  document.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape" && !$("dialog[open]") && !$("[popover]:popover-open:not(#chat-side)")) {
      const edit = event.target.closest?.("[data-edit][open]");
      if (edit) return cancelEdit(edit);
      if (queued) { queued = false; return show(); }
      return stop();
    }
    if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.metaKey && !event.altKey) {
      if (event.target === box) { event.preventDefault(); send(); }
      else if (event.target.matches?.("[data-send-on-enter]")) { event.preventDefault(); event.target.form.requestSubmit(); }
    }
    if (event.key === "ArrowUp" && event.target === box && !box.value) {
      const last = $$("[data-edit]").at(-1);
      if (!last) return;
      event.preventDefault();
      last.open = true;
    }
  });
  document.addEventListener("toggle", (event) => {
    if (!event.target.matches?.("[data-edit][open]")) return;
    const area = $("textarea", event.target);
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }, true);
  function cancelEdit(edit) {
    edit.open = false;
    const area = $("textarea", edit);
    area.value = area.defaultValue;
    box.focus();
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-edit-cancel]");
    if (button) cancelEdit(button.closest("[data-edit]"));
  });

  /* The draft of each conversation stays over a reload. */
  const draftKey = `draft:${page.dataset.chat}`;
  if (!box.value.trim()) box.value = store.get(draftKey) || "";
  let draftTimer = 0;
  box.addEventListener("input", () => {
    box.removeAttribute("aria-invalid");
    $("#ask-error").hidden = true;
    clearTimeout(draftTimer);
    draftTimer = setTimeout(() => store.set(draftKey, box.value.trim() ? box.value : ""), 250);
  });
  addEventListener("pagehide", () => store.set(draftKey, box.value.trim() ? box.value : ""));

  /* The newest in view, as long as the reader did not scroll away from it. */
  let follow = true;
  const far = () => document.documentElement.scrollHeight - innerHeight - scrollY;
  function toEnd(force = false) {
    const down = $("[data-chat-down]");
    if (force || follow) scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
    down.hidden = far() < 160;
  }
  addEventListener("scroll", () => { follow = far() < 80; $("[data-chat-down]").hidden = far() < 160; }, { passive: true });
  $("[data-chat-down]").addEventListener("click", () => { follow = true; toEnd(true); box.focus(); });

  /* Choices beside the box are kept with the conversation. */
  form.addEventListener("change", (event) => {
    if (!event.target.matches("[data-choice]")) return;
    const ticked = $$('input[name="collections"]:checked', form).length;
    const label = $("[data-shelves-label]");
    if (label) label.textContent = ticked ? `${ticked} of ${$$('input[name="collections"]', form).length}` : "All sources";
    if (page.dataset.chat === "new") return;
    const data = new FormData(form);
    data.delete("text");
    post(`${form.getAttribute("action")}/choices`, new URLSearchParams(data));
  });

  /* Files: chosen, or dropped anywhere on the conversation. The first one makes the conversation. */
  async function attach(files) {
    if (!files.length) return;
    let url = form.dataset.files;
    if (!url) {
      const made = await (await post(form.dataset.new)).json();
      url = form.dataset.files = made.files;
      page.dataset.chat = made.id;
      form.action = made.url;
      history.replaceState(null, "", made.url);
    }
    const data = new FormData();
    for (const file of files) data.append("files", file);
    box.placeholder = "Ask about your files";
    const reply = await post(url, data);
    if (!reply.ok) return brainstem.toast(reply.status === 413 ? "That is too large." : "The files could not be sent.", "bad");
    const slot = $("#chat-files");
    slot.innerHTML = await reply.text();
    htmx.process(slot);
    show();
  }
  $("[data-attach]")?.addEventListener("change", (event) => { attach([...event.target.files]); event.target.value = ""; });
  const holds = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  const main = $(".chat-main");
  for (const type of ["dragenter", "dragover"]) main.addEventListener(type, (event) => { if (holds(event)) { event.preventDefault(); form.classList.add("is-dragging"); } });
  main.addEventListener("dragleave", (event) => { if (!main.contains(event.relatedTarget)) form.classList.remove("is-dragging"); });
  main.addEventListener("drop", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    form.classList.remove("is-dragging");
    attach([...event.dataTransfer.files]);
  });

  if (location.hash === "#share") {
    $("#share")?.showModal();
    history.replaceState(null, "", location.pathname);
  }
  show();
  if (!location.hash) toEnd(true);
  if (matchMedia("(hover: hover)").matches) box.focus({ preventScroll: true });
})();
