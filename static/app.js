/* The small things every page shares. Nothing here is needed to read or to send a form.
   Pages say what they want with data- attributes; see each section's first line. */
(() => {
  "use strict";
  const root = document.documentElement;
  const $ = (selector, scope = document) => scope.querySelector(selector);
  const $$ = (selector, scope = document) => [...scope.querySelectorAll(selector)];
  const on = (type, handler, options) => document.addEventListener(type, handler, options);
  const store = {
    get(key) { try { return localStorage.getItem(key); } catch { return null; } },
    set(key, value) { try { value === null ? localStorage.removeItem(key) : localStorage.setItem(key, value); } catch { /* private window */ } },
  };

  /* Icons: a copy of the one the server drew, pointed elsewhere. */
  function icon(name) {
    const svg = $("#icon-template").content.firstElementChild.cloneNode(true);
    const use = $("use", svg);
    use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${name}`));
    return svg;
  }
  function swapIcon(scope, name) {
    const use = $("use", scope);
    if (use) use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${name}`));
  }

  /* Theme: [data-theme-toggle] cycles system, light, dark; [data-theme-choice] picks one. */
  const THEMES = { system: "sun-moon", light: "sun", dark: "moon" };
  function showTheme() {
    const theme = root.dataset.theme || "system";
    for (const button of $$("[data-theme-toggle]")) {
      swapIcon(button, THEMES[theme]);
      button.title = `Theme: ${theme}`;
      $(".sr-only", button).textContent = `Theme: ${theme}. Change`;
    }
    for (const radio of $$("[data-theme-choice]")) radio.checked = radio.value === theme;
  }
  function setTheme(theme) {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    store.set("theme", theme === "system" ? null : theme);
    showTheme();
  }

  /* Toasts: the server sends HX-Trigger: {"toast": {"message": "...", "kind": "ok|info|warn|bad"}}. */
  const LEVELS = { ok: ["ok", "circle-check"], success: ["ok", "circle-check"], warn: ["warn", "triangle-alert"], warning: ["warn", "triangle-alert"], bad: ["bad", "circle-alert"], error: ["bad", "circle-alert"], info: ["info", "info"] };
  function toast(message, level = "info") {
    if (!message) return;
    const [tone, name] = LEVELS[level] || LEVELS.info;
    const box = $("#toasts");
    const item = $("#toast-template").content.firstElementChild.cloneNode(true);
    item.classList.add(`tone-${tone}`);
    $(".toast-icon", item).append(icon(name));
    $("p", item).textContent = message;
    while (box.children.length > 3) box.firstElementChild.remove();
    box.append(item);
    let timer;
    const start = () => { if (tone !== "bad") timer = setTimeout(() => item.remove(), 6000); };
    for (const type of ["mouseenter", "focusin"]) item.addEventListener(type, () => clearTimeout(timer));
    for (const type of ["mouseleave", "focusout"]) item.addEventListener(type, start);
    start();
  }
  on("toast", (event) => {
    const detail = event.detail || {};
    if (typeof detail.value === "string") toast(detail.value);
    else toast(detail.message, detail.kind || detail.level);
  });

  /* Times, in the words of the server's filters: time[data-rel] is "3 min ago", [data-elapsed] counts on, time[data-clock] and [data-day] are local. */
  const started = new WeakMap();
  const pad = (n) => String(n).padStart(2, "0");
  function duration(seconds) {
    const s = Math.max(0, seconds);
    if (s < 10) return `${s.toFixed(1)} s`;
    if (s < 60) return `${Math.floor(s)} s`;
    const m = Math.floor(s / 60);
    const whole = (number, unit, rest, part) => `${number} ${unit}` + (rest ? ` ${rest} ${part}` : "");
    return m < 60 ? whole(m, "min", Math.floor(s % 60), "s") : whole(Math.floor(m / 60), "h", m % 60, "min");
  }
  const day = (at) => new Date(at).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
  function relative(at, now) {
    const s = Math.round((now - at) / 1000);
    const amount = Math.abs(s);
    if (amount < 10) return "now";
    const [size, unit] = amount < 60 ? [1, "s"] : amount < 3600 ? [60, "min"] : amount < 86400 ? [3600, "h"] : [86400, "d"];
    const words = `${Math.floor(amount / size)} ${unit}`;
    return s > 0 ? `${words} ago` : `in ${words}`;
  }
  function about(s) {
    if (s < 5) return "a few seconds";
    if (s < 55) return `about ${Math.max(5, 5 * Math.round(s / 5))} s`;
    if (s < 3600) return `about ${Math.max(1, Math.round(s / 60))} min`;
    return `about ${(s / 3600).toFixed(1)} h`;
  }
  const coarse = (s) => s < 60 ? `${Math.floor(s)} s` : s < 3600 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h`;
  /* "<event number>:<seconds>" counts from when it was first seen; a new event starts it anew. */
  function counted(element, base) {
    let from = started.get(element);
    if (!from || from.base !== base) started.set(element, (from = { base, at: performance.now(), asked: 0 }));
    return { from, seconds: Number(base.slice(base.indexOf(":") + 1)), passed: (performance.now() - from.at) / 1000 };
  }
  const STALLED = 30, ASK_AGAIN = 15;
  function silence(element) {
    const { from, seconds, passed } = counted(element, element.dataset.silent);
    const quiet = seconds + passed;
    const stalled = quiet >= STALLED;
    element.hidden = !stalled;
    element.closest("[data-progress]")?.classList.toggle("is-stalled", stalled);
    if (stalled) put($("[data-silent-words]", element), coarse(quiet));
    if (quiet < STALLED - 5 || quiet - from.asked < ASK_AGAIN || passed < 1) return;
    from.asked = quiet;   /* perhaps only the news were lost: live.js asks the server, before anything is said */
    element.dispatchEvent(new CustomEvent("progress:silent", { bubbles: true }));
  }
  function put(element, text) { if (element.textContent !== text) element.textContent = text; }
  function tick(scope = document) {
    const now = Date.now();
    for (const element of $$("time[data-rel]", scope)) {
      const at = Date.parse(element.dateTime);
      if (!Number.isNaN(at)) put(element, element.dataset.rel === "short" ? relative(at, now).replace(" ago", "") : relative(at, now));
    }
    for (const element of $$("[data-elapsed]", scope)) {
      const base = element.dataset.elapsed;
      let from = started.get(element);
      if (!from || from.base !== base) started.set(element, (from = { base, at: performance.now() }));
      put(element, duration(Number(base) + (performance.now() - from.at) / 1000));
    }
    for (const element of $$("[data-left]", scope)) {
      const { seconds, passed } = counted(element, element.dataset.left);
      put(element, `${about(Math.max(0, seconds - passed))} left`);
    }
    for (const element of $$("[data-silent]", scope)) silence(element);
  }
  function localise(scope = document) {
    for (const element of $$("time[datetime]", scope)) {
      const at = new Date(element.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      if (element.hasAttribute("title")) element.title = at.toLocaleString();
      if (element.hasAttribute("data-day")) put(element, day(at));
      if (element.hasAttribute("data-clock")) put(element, `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`);
    }
    tick(scope);
  }

  /* Morphing: one set of rules for pushes, polls and hx-swap="morph": what the reader opened, ticked or typed stays. */
  /* Of two states of one thing, whether `next` is the earlier. Text that is being written moves no event: "claim.bytes" says how far it is. */
  function older(next, now) {
    const seq = (element) => Number(element.dataset.liveSeq) || 0;
    if (seq(next) !== seq(now)) return seq(next) < seq(now);
    const [a, b] = [next, now].map((element) => (element.dataset.liveText || "0.0").split(".").map(Number));
    return a[0] && b[0] ? a[0] < b[0] || (a[0] === b[0] && a[1] < b[1]) : false;
  }
  function morph(old, next) {
    /* Pushed fragments are drawn without a session: their forms take this page's token. */
    for (const input of $$('input[name="csrf_token"]', next)) input.setAttribute("value", $('meta[name="csrf-token"]').content);
    return Idiomorph.morph(old, next, {
      ignoreActiveValue: true,
      callbacks: {
        beforeNodeMorphed(from, to) {
          if (from.nodeType !== 1 || to.nodeType !== 1) return true;
          if (from.localName === "details" && to.localName === "details") to.open = from.open;
          if (from.localName === "input" && from.type === "checkbox" && !from.closest("#task-form")) {
            to.checked = from.checked;
            to.toggleAttribute("checked", from.checked);
          }
          if (from.hasAttribute("data-kept") && from.childElementCount) return false; // fetched by its reader
          if (from.localName === "textarea" && from.value !== from.defaultValue) to.value = from.value;
          if (from !== old && from.dataset.liveTopic && from.dataset.liveTopic === to.dataset.liveTopic && older(to, from)) return false;
          if (from.hasAttribute("data-transport") && to.hasAttribute("data-transport")) return false;
          return true;
        },
      },
    });
  }
  window.brainstem = { toast, morph, older, localise, duration };

  /* A push took the button away, or made another one of it, before its own answer came: htmx then knows no morph and would
     put the answer into the card. Whether this was such an answer; what is news in it is shown. */
  function afterPush({ requestConfig, target, serverResponse }) {
    const asker = requestConfig.elt;   /* the event's own elt is the target */
    if (!target?.dataset?.liveTopic || (asker.isConnected && asker.closest('[hx-swap="morph"]'))) return false;
    const template = document.createElement("template");
    template.innerHTML = serverResponse;
    const next = template.content.querySelector(`#${CSS.escape(target.id)}`);
    const here = document.getElementById(target.id);
    if (next && here && !older(next, here)) {
      morph(here, next);
      const now = document.getElementById(target.id);
      htmx.process(now);
      htmx.trigger(now, "htmx:afterSettle");   /* what is live on the page may be another thing now */
    }
    return Boolean(next);
  }

  if (window.htmx) {
    htmx.defineExtension("morph", {
      isInlineSwap: (style) => style === "morph",
      handleSwap(style, target, fragment) {
        if (style !== "morph") return false;
        const next = fragment.firstElementChild;
        if (!next) return [];
        /* An answer that comes after the push of what happened since is old: the page knows more than it says. */
        const here = (next.id && document.getElementById(next.id)) || target;
        const seq = (element) => Number(element.dataset.liveSeq) || 0;
        if (!here.isConnected || seq(next) < seq(here)) return [];
        return morph(here, next);
      },
    });
    on("htmx:configRequest", (event) => {
      event.detail.headers["X-CSRFToken"] = $('meta[name="csrf-token"]').content;
      if (event.target.closest("[data-clean-query]")) {
        const fields = event.detail.formData || event.detail.parameters;
        for (const [name, value] of [...fields.entries()]) if (value === "") fields.delete(name);
      }
    });
    on("htmx:beforeSwap", (event) => {
      if (event.detail.shouldSwap && afterPush(event.detail)) {
        event.detail.shouldSwap = false;
        return;
      }
      /* An answer without the piece we asked for (signed out, deleted): show the real page instead. */
      const select = event.detail.requestConfig.elt.closest("[hx-select]")?.getAttribute("hx-select");
      if (!event.detail.shouldSwap || !select) return;
      const answer = new DOMParser().parseFromString(`<body><template>${event.detail.serverResponse}</template>`, "text/html");
      if (!$("template", answer).content.querySelector(select)) {
        event.detail.shouldSwap = false;
        location.reload();
      }
    });
    on("htmx:responseError", (event) => {
      const xhr = event.detail.xhr;
      if ((xhr.getResponseHeader("HX-Trigger") || "").includes('"toast"')) return;
      toast(reason(xhr), xhr.status >= 500 || xhr.status === 403 ? "bad" : "warn");
    });
    on("htmx:sendError", () => toast("The server can’t be reached.", "bad"));
    on("htmx:timeout", () => toast("The server took too long.", "warn"));
    on("htmx:load", (event) => localise(event.detail.elt));
  }
  const REASONS = { 400: "That request was not understood.", 401: "Please sign in again.", 403: "You may not do that.", 404: "That is no longer there.", 409: "It changed in the meantime. Reload and look again.", 413: "That is too large.", 429: "Too many requests. Wait a moment.", 503: "Something the server needs is not running." };
  function reason(xhr) {
    try {
      const body = JSON.parse(xhr.responseText);
      const message = body.message || body.error?.message || (typeof body.error === "string" && body.error) || body.detail;
      if (typeof message === "string") return message;
    } catch { /* not JSON */ }
    return REASONS[xhr.status] || `The server answered ${xhr.status}.`;
  }

  /* Confirm: [data-confirm="question"] on a submit button. Without a script the form is simply sent. */
  let agreed = null;
  on("submit", (event) => {
    const button = event.submitter;
    const question = button?.dataset.confirm;
    if (!question || agreed === button) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const dialog = $("#confirm");
    const verb = $("[data-confirm-verb]", dialog);
    const [ask, ...rest] = question.split(/(?<=\?)\s+/);
    $("#confirm-title").textContent = ask;
    $("[data-confirm-text]", dialog).textContent = rest.join(" ");
    verb.textContent = button.dataset.confirmVerb || "Continue";
    verb.className = `btn btn-${button.dataset.confirmTone || "danger"}`;
    dialog.returnValue = "";
    dialog.onclose = () => {
      if (dialog.returnValue !== "yes" || !button.isConnected) return;
      agreed = button;
      try { button.form.requestSubmit(button); } finally { agreed = null; }
    };
    dialog.showModal();
  }, true);

  /* Busy: form[data-busy] can't be sent twice. */
  on("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || !form.matches("[data-busy]")) return;
    if (form.dataset.sent) return event.preventDefault();
    form.dataset.sent = "1";
    event.submitter?.setAttribute("aria-busy", "true");
  });
  addEventListener("pageshow", () => {
    for (const form of $$("form[data-sent]")) delete form.dataset.sent;
    for (const button of $$("[aria-busy]")) button.removeAttribute("aria-busy");
    for (const field of $$("[data-left-out]")) { field.disabled = false; delete field.dataset.leftOut; }
  });

  /* form[data-unchanged]: its button shows once there is something to save. */
  on("change", (event) => {
    const form = event.target.closest("form[data-unchanged]");
    if (form) form.dataset.unchanged = "no";
  });

  /* Field errors made here look like the server's. */
  function fieldError(input, message) {
    const slot = (input.getAttribute("aria-describedby") || "").split(" ").map((id) => document.getElementById(id)).find((e) => e?.classList.contains("field-error"));
    if (!slot) return;
    $("span", slot).textContent = message;
    slot.hidden = !message;
    if (message) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }

  /* Files: [data-drop] takes a dropped file; input[data-max-mb] and accept are checked before sending. */
  function checkFile(input) {
    const files = [...input.files];
    const box = input.closest("[data-drop]");
    const label = box && $("[data-drop-text]", box);
    if (label) {
      label.dataset.empty ??= label.textContent.trim();
      const total = size(files.reduce((sum, file) => sum + file.size, 0));
      label.textContent = files.length ? `${files.length > 1 ? `${files.length} files` : files[0].name} · ${total}` : label.dataset.empty;
    }
    const max = Number(input.dataset.maxMb);
    const kinds = input.accept.split(",").map((kind) => kind.trim().toLowerCase()).filter(Boolean);
    let problem = "";
    for (const file of files) {
      if (max && file.size > max * 1048576) problem = `${file.name} is ${size(file.size)}; the limit is ${max} MB.`;
      else if (kinds.length && !kinds.some((kind) => file.name.toLowerCase().endsWith(kind))) problem = `${file.name} is not one of ${kinds.join(", ")}.`;
    }
    fieldError(input, problem);
    return !problem;
  }
  function size(bytes) {
    return bytes < 1024 ? `${bytes} B` : bytes < 1048576 ? `${Math.round(bytes / 1024)} kB` : `${(bytes / 1048576).toFixed(1)} MB`;
  }
  on("change", (event) => { if (event.target.type === "file") checkFile(event.target); });
  const dropOf = (event) => [...(event.dataTransfer?.types || [])].includes("Files") && event.target.closest?.("[data-drop]");
  for (const type of ["dragenter", "dragover"]) on(type, (event) => {
    const box = dropOf(event);
    if (box) { event.preventDefault(); box.classList.add("is-dragging"); }
  });
  on("dragleave", (event) => { const box = event.target.closest?.("[data-drop]"); if (box && !box.contains(event.relatedTarget)) box.classList.remove("is-dragging"); });
  on("drop", (event) => {
    const box = dropOf(event);
    if (!box) return;
    event.preventDefault();
    box.classList.remove("is-dragging");
    const input = $('input[type="file"]', box);
    const one = new DataTransfer();
    for (const file of [...event.dataTransfer.files].slice(0, input.multiple ? undefined : 1)) one.items.add(file);
    input.files = one.files;
    checkFile(input);
  });

  /* Panes: form[data-panes] asks for what is missing in the pane that is shown, and sends no file of another one. */
  function leaveOut(field) {
    if (field.disabled) return;
    field.disabled = true;
    field.dataset.leftOut = "";
  }
  const hasValue = (field) => field.type === "file" ? field.files.length > 0 : field.value.trim() !== "";
  on("submit", (event) => {
    const form = event.target;
    if (!form.matches("[data-panes]") || event.submitter?.formNoValidate) return;
    const source = $('input[name="source"]:checked', form)?.value;
    const fields = $$(`.pane-${source} :is(textarea, input)`, form);
    const kept = fields.some((field) => field.type === "checkbox" && field.checked);   /* files the form already has */
    const asked = fields.filter((one) => one.type !== "checkbox" && one.type !== "hidden");
    const field = asked.find(hasValue) || asked[0];
    const ask = { text: "Give a text first.", urls: "Give at least one link.", file: "Choose a file first." }[source];
    const good = !field || kept || (hasValue(field) ? field.type !== "file" || checkFile(field) : (fieldError(field, ask), false));
    if (!good) {
      event.preventDefault();
      event.stopImmediatePropagation();
      return field.focus();
    }
    if (source !== "several") for (const other of $$('.pane input[type="file"]', form)) if (other !== field) leaveOut(other);
  }, true);

  /* form[data-checked]: what the browser finds wrong is told like what the server finds; [data-json] must be JSON. */
  on("invalid", (event) => {
    const field = event.target;
    if (!field.form?.matches("[data-checked]")) return;
    event.preventDefault();
    fieldError(field, field.validationMessage);
    const closed = field.closest("details:not([open])");
    if (closed) closed.open = true;
    if ($(":invalid", field.form) === field) field.focus();
  }, true);
  on("input", (event) => {
    const field = event.target;
    if (!field.matches?.("[data-json]")) return;
    let problem = "";
    try { if (field.value.trim()) JSON.parse(field.value); } catch (error) { problem = `This is not JSON: ${error.message}`; }
    field.setCustomValidity(problem);
  });

  /* The composer: lines that are all links are sent as `urls`, anything else as `content`. */
  const LINK = /^https?:\/\/\S+$/i;
  const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
  function readComposer(form) {
    const area = $("textarea", form);
    const all = lines(area.value);
    const links = all.length > 0 && all.every((line) => LINK.test(line));
    area.name = links ? "urls" : "content";
    const words = area.value.trim() ? area.value.trim().split(/\s+/).length : 0;
    $("[data-composer-hint]", form).textContent = links ? `${all.length} link${all.length > 1 ? "s" : ""}` : words ? `${words.toLocaleString("en")} word${words > 1 ? "s" : ""}` : "";
  }
  on("input", (event) => {
    if (event.target.hasAttribute?.("aria-invalid")) fieldError(event.target, "");
    const form = event.target.closest?.("[data-composer]");
    if (form) readComposer(form);
  });
  on("submit", (event) => {
    const form = event.target;
    if (!form.matches("[data-composer]")) return;
    readComposer(form);
    const area = $("textarea", form);
    const file = $('input[type="file"]', form);
    const problem = file.files.length ? !checkFile(file) : !hasValue(area) && (fieldError(area, "Paste some text or a link, or attach a file."), true);
    if (problem) {
      event.preventDefault();
      event.stopImmediatePropagation();
      area.focus();
    }
  }, true);
  on("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("form textarea")) event.target.form.requestSubmit();
  });

  /* Clicks: copy, dialogs, dismiss, show password. */
  async function copy(button) {
    const source = button.dataset.copyFrom;
    const text = source ? $(source).textContent : button.dataset.copy;
    try { await navigator.clipboard.writeText(text); }
    catch {
      const area = Object.assign(document.createElement("textarea"), { value: text, className: "sr-only" });
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      if (!done) return toast("The browser did not allow copying.", "warn");
    }
    swapIcon(button, "check");
    $("#announcer").textContent = "Copied";
    setTimeout(() => swapIcon(button, "copy"), 1500);
  }
  on("click", (event) => {
    const button = event.target.closest?.("button");
    if (!button) return;
    if (button.hasAttribute("data-copy")) copy(button);
    else if (button.hasAttribute("data-theme-toggle")) {
      const names = Object.keys(THEMES);
      setTheme(names[(names.indexOf(root.dataset.theme || "system") + 1) % names.length]);
    }
    else if (button.hasAttribute("data-palette")) openPalette();
    else if (button.dataset.sort) sortBy(button);
    else if (button.dataset.toast) toast(button.dataset.toast, button.dataset.toastKind);
    else if (button.dataset.dialog) document.getElementById(button.dataset.dialog).showModal();
    else if (button.hasAttribute("data-dismiss")) button.closest(".toast").remove();
    else if (button.dataset.reveal) {
      const input = document.getElementById(button.dataset.reveal);
      const shown = input.type === "password";
      input.type = shown ? "text" : "password";
      button.setAttribute("aria-pressed", String(shown));
    }
  });
  on("click", (event) => {
    for (const menu of $$("details[data-menu][open]")) if (!menu.contains(event.target)) menu.open = false;
    if (event.target.localName === "dialog") event.target.close();
  });

  /* A link to a place in a source opens what hides it. */
  function reveal() {
    const id = decodeURIComponent(location.hash.slice(1));
    const target = id ? document.getElementById(id) : null;
    const closed = target?.closest("details:not([open])");
    if (!closed) return;
    closed.open = true;
    target.scrollIntoView({ block: "center" });
  }
  addEventListener("hashchange", reveal);
  on("click", (event) => {
    const link = event.target.closest?.('a.cite[href^="#"]');
    const target = link && document.getElementById(link.hash.slice(1));
    if (!target) return;
    const details = target.closest("details");
    if (details) details.open = true;
  }, true);

  /* Selecting many: rows with checkboxes, the bar is shown by CSS. */
  const BOX = ':is(.row-check, .pick) input[type="checkbox"]';
  const boxes = (near) => $$(BOX, near?.closest("[data-selection]") || document).filter((box) => !box.closest("[hidden]"));
  function countSelected() { for (const bar of $$("[data-bulk]")) countIn(bar); }
  function countIn(bar) {
    const all = boxes(bar);
    const chosen = all.filter((box) => box.checked).length;
    $("[data-bulk-count]", bar).textContent = `${chosen} selected`;
    const every = $("[data-bulk-all]", bar);
    every.checked = chosen > 0 && chosen === all.length;
    every.indeterminate = chosen > 0 && chosen < all.length;
  }
  let lastBox = null;
  on("click", (event) => {
    const box = event.target;
    if (!box.matches?.(BOX)) return;
    if (event.shiftKey && lastBox?.isConnected) {
      const all = boxes(box);
      const [from, to] = [all.indexOf(lastBox), all.indexOf(box)].sort((a, b) => a - b);
      for (const other of all.slice(from, to + 1)) other.checked = box.checked;
    }
    lastBox = box;
  });
  on("change", (event) => {
    const target = event.target;
    if (target.matches("[data-bulk-all]")) for (const box of boxes(target)) box.checked = target.checked;
    if (target.matches(`[data-bulk-all], ${BOX}`)) countSelected();
    if (target.matches("[data-grid-column]")) chooseColumn(target);
    if (target.matches("[data-theme-choice]")) setTheme(target.value);
    if (target.matches("[data-keys-toggle]")) store.set("keys", target.checked ? null : "off");
  });

  /* Menus: arrow keys walk through the items of an open details[data-menu]. */
  function menuStep(event) {
    const menu = event.target.closest?.("details[data-menu][open]");
    if (!menu || event.target.matches("input:not([type=checkbox]), select")) return false;
    const items = $$("a, button, input", menu).filter(visible);
    const at = items.indexOf(document.activeElement);
    items[(at + (event.key === "ArrowDown" ? 1 : items.length - (at < 0 ? 0 : 1))) % items.length]?.focus();
    event.preventDefault();
    return true;
  }

  /* Tabs: nav[data-tabs] of links to sections; one section shows. */
  function tabs(nav) {
    const links = $$("a", nav);
    const panels = links.map((link) => document.getElementById(link.hash.slice(1)));
    const show = (n, focus) => links.forEach((link, i) => {
      link.setAttribute("aria-selected", String(i === n));
      link.tabIndex = i === n ? 0 : -1;
      panels[i].hidden = i !== n;
      if (i === n && focus) link.focus();
    });
    nav.setAttribute("role", "tablist");
    links.forEach((link, i) => {
      link.setAttribute("role", "tab");
      link.setAttribute("aria-controls", panels[i].id);
      link.id ||= `${panels[i].id}-tab`;
      panels[i].setAttribute("role", "tabpanel");
      panels[i].setAttribute("aria-labelledby", link.id);
      panels[i].tabIndex = 0;
      link.addEventListener("click", (event) => { event.preventDefault(); show(i); });
      link.addEventListener("keydown", (event) => {
        const to = { ArrowRight: i + 1, ArrowLeft: i - 1 + links.length, Home: 0, End: links.length - 1 }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        show(to % links.length, true);
      });
    });
    show(Math.max(0, links.findIndex((link) => link.hash === location.hash)));
  }

  /* Grids: [data-grid="name"] sorts, filters and hides columns of the rows that are there. */
  const gridOf = (element) => element.closest("[data-grid]");
  const cellOf = (row, key) => $(`[data-col="${key}"]`, row);
  function sortBy(button) {
    const grid = gridOf(button), th = button.closest("th");
    const up = th.getAttribute("aria-sort") !== "ascending";
    for (const other of $$("th[aria-sort]", grid)) { other.removeAttribute("aria-sort"); swapIcon(other, "chevrons-up-down"); }
    th.setAttribute("aria-sort", up ? "ascending" : "descending");
    swapIcon(button, up ? "arrow-up" : "arrow-down");
    const read = (row) => { const cell = cellOf(row, th.dataset.col); return cell?.dataset.value ?? cell?.textContent.trim() ?? ""; };
    const compare = button.dataset.sort === "number" ? (a, b) => Number(a) - Number(b) : (a, b) => a.localeCompare(b, undefined, { numeric: true });
    const body = $("tbody", grid);
    body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * compare(read(a), read(b))));
  }
  function filterGrid(field) {
    const grid = gridOf(field), words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...$("tbody", grid).rows];
    for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    const left = rows.filter((row) => !row.hidden).length;
    $("[data-grid-count]", grid).textContent = words.length ? `${left} of ${rows.length}` : "";
    $("[data-grid-none]", grid).hidden = left > 0;
    countSelected();
  }
  function showColumns(grid) {
    for (const box of $$("[data-grid-column]", grid)) for (const cell of $$(`[data-col="${box.dataset.gridColumn}"]`, grid)) cell.hidden = !box.checked;
  }
  function chooseColumn(box) {
    const grid = gridOf(box);
    store.set(`columns:${grid.dataset.grid}`, $$("[data-grid-column]", grid).filter((one) => !one.checked).map((one) => one.dataset.gridColumn).join(",") || null);
    showColumns(grid);
  }
  function setGrid(grid) {
    const hidden = store.get(`columns:${grid.dataset.grid}`);
    if (hidden !== null) for (const box of $$("[data-grid-column]", grid)) box.checked = !hidden.split(",").includes(box.dataset.gridColumn);
    showColumns(grid);
  }
  on("input", (event) => { if (event.target.matches?.("[data-grid-filter]")) filterGrid(event.target); });

  /* Folded groups: details[data-remember] stays as this browser left it. */
  on("toggle", (event) => {
    const key = event.target.dataset?.remember;
    if (key && event.target.dataset.set) store.set(key, event.target.open ? null : "closed");
  }, true);
  function unfold(details) {
    if (store.get(details.dataset.remember) === "closed" && !$("[aria-current]", details)) details.open = false;
    details.dataset.set = "1";
  }

  /* The palette: pages from the menu, actions, and tasks by title from the server. */
  const MAC = /Mac|iPhone|iPad/.test(navigator.platform);
  let choices = [], chosen = 0, askedFor = null, askTimer = 0, found = [];
  function actions(query) {
    const dialog = $("#palette");
    const list = [
      { label: "New summary", icon: "plus", words: "start create task add", href: dialog.dataset.new, hint: "n" },
      ...Object.entries(THEMES).map(([name, symbol]) => ({ label: `Theme: ${name}`, icon: symbol, words: "appearance colour dark light mode", act: () => setTheme(name) })),
      { label: "Keyboard shortcuts", icon: "keyboard", words: "help keys", act: () => $("#help").showModal(), hint: "?" },
    ];
    if ($("#logout")) list.push({ label: "Log out", icon: "log-out", words: "sign out leave", act: () => $("#logout").requestSubmit() });
    const account = $(".account-name");
    if (account) list.push({ label: "Account", icon: "user", words: "profile password sessions", href: account.href });
    if (LINK.test(query)) list.unshift({ label: `Summarise ${query}`, icon: "zap", always: true, href: `${dialog.dataset.new}?urls=${encodeURIComponent(query)}` });
    return list;
  }
  const pages = () => $$(".nav a").map((link) => ({ label: $("span", link).textContent, icon: link.dataset.icon, words: link.dataset.words, href: link.href }));
  function score(item, query) {
    if (!query || item.always) return 1;
    const label = item.label.toLowerCase();
    if (label.startsWith(query)) return 4;
    if (label.includes(query)) return 3;
    const all = `${label} ${item.words || ""}`.toLowerCase();
    return query.split(/\s+/).every((word) => all.includes(word)) ? 2 : 0;
  }
  const best = (items, query) => items.map((item) => [score(item, query), item]).filter(([n]) => n).sort((a, b) => b[0] - a[0]).map(([, item]) => item);
  function drawPalette() {
    const dialog = $("#palette"), box = $("#palette-list"), input = $(".palette-input");
    const query = input.value.trim(), low = query.toLowerCase();
    const search = query ? [{ label: `Search tasks for “${query}”`, icon: "search", href: `${dialog.dataset.search}?q=${encodeURIComponent(query)}` }] : [];
    const groups = [["Pages", best(pages(), low)], ["Actions", best(actions(query), low)], [query ? "Tasks" : "Recent tasks", [...found, ...search]]];
    if (query && groups[1][1].some((item) => item.always)) groups.reverse();
    choices = [];
    box.replaceChildren();
    for (const [name, items] of groups) {
      if (!items.length) continue;
      const group = document.createElement("div");
      group.className = "palette-group";
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", name);
      group.append(Object.assign(document.createElement("p"), { textContent: name, ariaHidden: "true" }));
      for (const item of items) {
        const option = Object.assign(document.createElement("div"), { className: `palette-option${item.tone ? ` tone-${item.tone}` : ""}`, id: `palette-${choices.length}`, role: "option" });
        const label = document.createElement("span");
        const at = low ? item.label.toLowerCase().indexOf(low) : -1;
        if (at < 0) label.textContent = item.label;
        else label.append(item.label.slice(0, at), Object.assign(document.createElement("mark"), { textContent: item.label.slice(at, at + low.length) }), item.label.slice(at + low.length));
        option.append(icon(item.icon), label);
        if (item.hint) option.append(Object.assign(document.createElement("small"), { textContent: item.hint }));
        option.dataset.at = choices.length;
        choices.push(item);
        group.append(option);
      }
      box.append(group);
    }
    pick(0);
  }
  function pick(n) {
    chosen = (n + choices.length) % (choices.length || 1);
    const input = $(".palette-input");
    for (const option of $$(".palette-option")) option.setAttribute("aria-selected", String(Number(option.dataset.at) === chosen));
    const option = document.getElementById(`palette-${chosen}`);
    if (!option) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", option.id);
    if (chosen === 0) $("#palette-list").scrollTop = 0;
    else option.scrollIntoView({ block: "nearest" });
  }
  function choose(elsewhere) {
    const item = choices[chosen];
    if (!item) return;
    $("#palette").close();
    if (item.act) item.act();
    else if (elsewhere) open(item.href, "_blank", "noopener");
    else location.assign(item.href);
  }
  async function askPalette() {
    const query = $(".palette-input").value.trim();
    if (query === askedFor) return;
    askedFor = query;
    try {
      const answer = await fetch(`${$("#palette").dataset.recent}?q=${encodeURIComponent(query)}`, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(5000) });
      if (!answer.ok || query !== $(".palette-input").value.trim()) return;
      found = (await answer.json()).items.map((item) => ({ label: item.title, icon: item.icon, tone: item.tone, hint: item.status, href: item.href }));
      const keep = chosen;
      drawPalette();
      pick(keep < choices.length ? keep : 0);
    } catch { /* pages and actions are still there */ }
  }
  function openPalette() {
    const dialog = $("#palette");
    if (!dialog || dialog.open) return dialog?.close();
    const other = $("dialog[open]");
    if (other) return;
    $("#sidebar:popover-open")?.hidePopover();
    $(".palette-input").value = "";
    found = [];
    askedFor = null;
    dialog.showModal();
    $(".palette-input").focus();
    drawPalette();
    askPalette();
  }
  on("input", (event) => {
    if (!event.target.matches?.(".palette-input")) return;
    const low = event.target.value.trim().toLowerCase();
    found = found.filter((item) => item.label.toLowerCase().includes(low));
    drawPalette();
    clearTimeout(askTimer);
    askTimer = setTimeout(askPalette, 160);
  });
  on("keydown", (event) => {
    if (!event.target.matches?.(".palette-input") || event.isComposing) return;
    const to = { ArrowDown: chosen + 1, ArrowUp: chosen - 1, PageDown: Math.min(choices.length - 1, chosen + 8), PageUp: Math.max(0, chosen - 8) }[event.key];
    if (to !== undefined) { event.preventDefault(); pick(to); }
    if (event.key === "Enter") { event.preventDefault(); choose(event.ctrlKey || event.metaKey); }
  });
  on("click", (event) => {
    const option = event.target.closest?.(".palette-option");
    if (option) { chosen = Number(option.dataset.at); choose(event.ctrlKey || event.metaKey); }
  });
  on("pointermove", (event) => {
    const option = event.target.closest?.('.palette-option[aria-selected="false"]');
    if (option && (event.movementX || event.movementY)) { chosen = Number(option.dataset.at); for (const one of $$(".palette-option")) one.setAttribute("aria-selected", String(one === option)); $(".palette-input").setAttribute("aria-activedescendant", option.id); }
  });

  /* Keys: / search, n new, j k rows, x select, ? help. They can be switched off in the help. */
  function step(by) {
    const rows = $$("[data-row]").filter(visible);
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.contains(document.activeElement));
    const row = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))];
    ($("a", row) || $("input, button", row))?.focus();  // Enter opens the row
    row.scrollIntoView({ block: "nearest" });
  }
  const visible = (element) => element.offsetParent !== null;
  const KEYS = {
    "/": () => { const field = $$("[data-search-main]").find(visible); if (field) field.focus(); else openPalette(); },
    n: () => $('[data-key="n"]')?.click(),
    j: () => step(1),
    k: () => step(-1),
    x: () => document.activeElement?.closest("[data-row]")?.querySelector(BOX)?.click(),
    "?": () => $("#help").showModal(),
  };
  on("keydown", (event) => {
    if (event.key === "Escape") {
      for (const menu of $$("details[data-menu][open]")) {
        if (menu.contains(document.activeElement)) $("summary", menu).focus();
        menu.open = false;
      }
      if (!$("dialog[open]") && boxes().some((box) => box.checked)) {
        for (const box of boxes()) box.checked = false;
        countSelected();
      }
      if (event.target.matches?.("[data-search-main]")) { event.preventDefault(); event.target.blur(); }  // the browser would empty it
      return;
    }
    if (event.key === "ArrowDown" && event.target.matches?.("[data-search-main]")) { event.preventDefault(); return step(1); }
    if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k" && $("#palette")) {
      event.preventDefault();
      return openPalette();
    }
    if ((event.key === "ArrowDown" || event.key === "ArrowUp") && menuStep(event)) return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || store.get("keys") === "off") return;
    if (event.target.matches?.('input:not([type="checkbox"], [type="radio"]), textarea, select, [contenteditable]') || $("dialog[open]")) return;
    const act = KEYS[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  /* What is chosen in a row that scrolls stands in view. */
  function showChosen() {
    for (const one of $$('.tabs [aria-current], .segments-scroll input:checked')) {
      const row = one.closest(".tabs, .segments-row");
      const over = one.getBoundingClientRect().right - row.getBoundingClientRect().right;
      if (over > 1) row.scrollLeft += over + 40;
    }
    $$(ROWS).forEach(showCut);
  }

  /* A row that goes on at one of its ends fades there. */
  const ROWS = ".tabs, .segments-scroll .segments-row";
  function showCut(row) {
    const after = row.scrollWidth - row.clientWidth - row.scrollLeft;
    row.dataset.cut = [row.scrollLeft > 1 && "start", after > 1 && "end"].filter(Boolean).join(" ");
  }
  document.addEventListener("scroll", (event) => event.target.matches?.(ROWS) && showCut(event.target), { capture: true, passive: true });
  addEventListener("resize", () => $$(ROWS).forEach(showCut));

  on("DOMContentLoaded", () => {
    showTheme();
    showChosen();
    localise();
    reveal();
    countSelected();
    for (const form of $$("[data-composer]")) readComposer(form);
    for (const grid of $$("[data-grid]")) setGrid(grid);
    for (const nav of $$("[data-tabs]")) tabs(nav);
    for (const details of $$("[data-remember]")) unfold(details);
    if (MAC) for (const key of $$("[data-mod-key]")) key.textContent = "⌘ K";
    for (const box of $$("[data-keys-toggle]")) box.checked = store.get("keys") !== "off";
    setInterval(tick, 1000);
  });
  on("htmx:afterSettle", countSelected);
  on("htmx:afterSettle", () => $$(ROWS).forEach(showCut)); // what was swapped in does not know it
})();
