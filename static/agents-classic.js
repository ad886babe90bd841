/* The page around Omeruta's client class: makes one, hands it what the forms say, and adds the one method that the
   documented class calls and does not have. The class comes from /agents/classic/client.js and is left as it is. */
(() => {
  "use strict";
  const page = document.getElementById("agents-classic");
  if (!page || typeof OmerutaBrainClient === "undefined") return;

  OmerutaBrainClient.prototype.showQualityAssessment ||= function (chatId, quality) {
    const box = document.createElement("div");
    box.className = "quality-assessment";
    const counts = quality.documents ? [[quality.documents.length, "sources"]] : [[quality.verified, "verified"], [quality.weak, "weak"], [quality.unsupported, "unsupported"]];
    const share = typeof quality.overall_score === "number" ? ` · ${Math.round(quality.overall_score * 100)}%` : "";
    box.textContent = `Quality: ${counts.map(([number, word]) => `${number} ${word}`).join(", ")}${share}`;
    this.getChatContainer(chatId).appendChild(box);
  };

  // The cookie of this page says who asks: an empty bearer value shows nothing.
  const client = new OmerutaBrainClient(`${window.location.origin}${document.body.dataset.root || ""}/api`, "");
  window.brainClient = client;
  client.connectWebSocket();

  const area = document.getElementById("main-chat-area"), empty = page.querySelector("[data-agents-empty]");
  new MutationObserver(() => {
    empty.hidden = area.childElementCount > 0;
    area.scrollTop = area.scrollHeight;
  }).observe(area, { childList: true, subtree: true });

  const asked = {
    chat: (form) => client.startChat(form.message.value.trim(), { agentType: form.agent.value, useContext: form.context.checked }),
    research: (form) => client.startResearch(form.topic.value.trim(), { expandKnowledge: form.expand.checked }),
    analysis: (form) => client.analyzeContent(form.urls.value.split(/\s+/).filter(Boolean)),
  };
  page.addEventListener("submit", (event) => {
    const form = event.target.closest("[data-agents-form]");
    if (!form) return;
    event.preventDefault();
    const text = form.querySelector("textarea, input");
    if (!text.value.trim()) return;
    asked[form.dataset.agentsForm](form).catch(() => {}); // the class has shown it already
    text.value = "";
    text.focus();
  });
  page.querySelector("[data-agents-main]").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      event.target.form.requestSubmit();
    }
  });
})();
