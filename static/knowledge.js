/* Adding to a collection: files dropped anywhere on the page go up a few at a time, each with its own progress.
   Nothing here is needed to read, or to send a form without a script.

   form[data-upload]      takes the files; its list [data-uploads] shows what is under way and what was refused.
   [data-add-tab="links"] shows the pane #add-links.
   [data-scroll-to="id"]  a scrolled box that begins at the element of that id. */
(() => {
  "use strict";
  const $ = (selector, scope = document) => scope.querySelector(selector);
  const $$ = (selector, scope = document) => [...scope.querySelectorAll(selector)];
  const MB = 1048576, AT_ONCE = 2, FILES = 10, BYTES = 8 * MB;

  for (const box of $$("[data-scroll-to]")) {
    const target = document.getElementById(box.dataset.scrollTo);
    if (target) box.scrollTop += target.getBoundingClientRect().top - box.getBoundingClientRect().top - box.clientHeight / 3;
  }

  /* Panes */
  for (const button of $$("[data-add-tab]")) button.addEventListener("click", () => {
    for (const other of $$("[data-add-tab]")) {
      const chosen = other === button;
      other.setAttribute("aria-pressed", String(chosen));
      document.getElementById(`add-${other.dataset.addTab}`).toggleAttribute("data-pane-hidden", !chosen);
    }
    $("textarea, input:not([type=hidden])", document.getElementById(`add-${button.dataset.addTab}`))?.focus();
  });

  const form = $("form[data-upload]");
  if (!form) return;
  const list = $("[data-uploads]", form), input = $('input[type="file"]', form);
  const max = Number(form.dataset.maxMb) * MB;
  const endings = form.dataset.accept.split(",");
  const waiting = [];
  let flying = 0;

  const size = (bytes) => bytes < 1024 ? `${bytes} B` : bytes < MB ? `${Math.round(bytes / 1024)} kB` : `${(bytes / MB).toFixed(1)} MB`;

  function row(file, name) {
    const item = $("#k-upload-row").content.firstElementChild.cloneNode(true);
    $(".k-upload-name", item).textContent = name;
    $(".k-upload-name", item).title = name;
    $(".k-upload-size", item).textContent = size(file.size);
    $("progress", item).setAttribute("aria-label", `Upload of ${name}`);
    $(".k-upload-state", item).textContent = "Waiting";
    list.append(item);
    list.hidden = false;
    return item;
  }
  function refuse(one, reason) {
    one.item.classList.add("is-bad");
    $(".k-upload-state", one.item).textContent = `Not taken: ${reason}`;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-ghost btn-sm";
    button.textContent = "Dismiss";
    button.addEventListener("click", () => { one.item.remove(); list.hidden = !list.children.length; });
    $(".k-upload-size", one.item).replaceWith(button);
  }
  function take(files) {
    for (const { file, name } of files) {
      const one = { file, name, item: row(file, name) };
      const ending = (name.match(/\.[^./\\]+$/) || [""])[0].toLowerCase();
      if (!endings.includes(ending)) refuse(one, `files ending in ${ending || "nothing"} are not read`);
      else if (file.size > max) refuse(one, `it is larger than ${size(max)}`);
      else if (!file.size) refuse(one, "it is empty");
      else waiting.push(one);
    }
    pump();
  }
  function pump() {
    while (flying < AT_ONCE && waiting.length) {
      const batch = [];
      let bytes = 0;
      while (waiting.length && batch.length < FILES && (!batch.length || bytes + waiting[0].file.size <= BYTES)) {
        bytes += waiting[0].file.size;
        batch.push(waiting.shift());
      }
      flying += 1;
      send(batch, bytes);
    }
  }
  function send(batch, bytes) {
    const data = new FormData();
    data.append("csrf_token", $('meta[name="csrf-token"]').content);
    for (const one of batch) {
      data.append("files", one.file, one.name);
      $(".k-upload-state", one.item).textContent = "Sending";
    }
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("X-Upload", "1");
    request.setRequestHeader("X-CSRFToken", $('meta[name="csrf-token"]').content);
    request.upload.onprogress = (event) => {
      /* The parts of the body are in order, so what is sent fills one file after the other. */
      let left = event.total ? event.loaded * bytes / event.total : 0;
      for (const one of batch) {
        $("progress", one.item).value = Math.round(100 * Math.min(1, left / one.file.size));
        left = Math.max(0, left - one.file.size);
      }
    };
    request.onloadend = () => {
      flying -= 1;
      settle(batch, request);
      if (window.htmx) htmx.trigger(document.body, "sources:changed");
      pump();
    };
    request.send(data);
  }
  function settle(batch, request) {
    let answer = null;
    try { answer = JSON.parse(request.responseText); } catch { /* not JSON */ }
    if (request.status !== 200 || !answer?.refused) {
      const reason = request.status === 0 ? "the server can’t be reached" : answer?.detail || (request.status === 413 ? "it is too large" : `the server answered ${request.status}`);
      for (const one of batch) refuse(one, reason);
      return;
    }
    const refused = new Map(answer.refused.map((one) => [one.name, one.error]));
    for (const one of batch) {
      const base = one.name.split(/[\\/]/).pop();
      if (refused.has(base) || refused.has(one.name)) { refuse(one, refused.get(base) || refused.get(one.name)); continue; }
      one.item.classList.add("is-done");
      $("progress", one.item).value = 100;
      $(".k-upload-state", one.item).textContent = "Being read";
      setTimeout(() => { one.item.remove(); list.hidden = !list.children.length; }, 1500);
    }
  }

  /* Choosing, dropping files and whole folders, pasting */
  input.addEventListener("change", (event) => {
    event.stopPropagation();
    take([...input.files].map((file) => ({ file, name: file.name })));
    input.value = "";
  });
  form.addEventListener("submit", (event) => event.preventDefault());

  async function walk(entry, found) {
    if (found.length >= 5000) return;
    if (entry.isFile) {
      const file = await new Promise((done) => entry.file(done, () => done(null)));
      if (file && !file.name.startsWith(".")) found.push({ file, name: file.name });
    } else if (entry.isDirectory) {
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((done) => reader.readEntries(done, () => done([])));
        if (!some.length) break;
        for (const one of some) await walk(one, found);
      }
    }
  }
  const holdsFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  let depth = 0;
  const dropping = (yes) => document.body.classList.toggle("is-dropping", yes);
  document.addEventListener("dragenter", (event) => { if (holdsFiles(event)) { depth += 1; dropping(true); } });
  document.addEventListener("dragleave", (event) => { if (holdsFiles(event) && --depth <= 0) { depth = 0; dropping(false); } });
  document.addEventListener("dragover", (event) => { if (holdsFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", async (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    depth = 0;
    dropping(false);
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const plain = [...event.dataTransfer.files].map((file) => ({ file, name: file.name }));
    if (!entries.some((entry) => entry.isDirectory)) return take(plain);
    const found = [];
    for (const entry of entries) await walk(entry, found);
    take(found);
  });

  /* When the last source was read, the list of documents is out of date. */
  const read = () => $$("#k-reading .k-source").filter((one) => one.querySelector(".tone-ok")).map((one) => one.id).join();
  let before = read();
  document.addEventListener("htmx:afterSettle", () => {
    const now = read();
    if (now === before) return;
    before = now;
    htmx.trigger(document.body, "documents:changed");
  });
})();
