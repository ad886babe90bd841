/* A client of Omeruta's API with the methods of its documented class, written for this page: texts go in as texts, a
   chat that was cut off is taken up again, and what is open is shown once. */
class OmerutaBrainClient {
  static ICONS = { research: "globe", analysis: "chart-line", qa: "circle-question-mark", general: "bot", tinyllama: "cpu" };
  static NAMES = { research: "Research Agent", analysis: "Analysis Agent", qa: "Q&A Agent", general: "General Agent", tinyllama: "TinyLlama" };

  constructor(apiBaseUrl, authToken) {
    Object.assign(this, { apiBaseUrl, authToken, socket: null });
  }

  /* -- the socket ----------------------------------------------------------------------------------------------- */

  connectWebSocket() {
    const scheme = window.location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${window.location.host}/ws/agent/`);
    this.socket.onopen = () => this.showConnectionStatus("Connected", "success");
    this.socket.onclose = () => {
      this.showConnectionStatus("Disconnected", "error");
      setTimeout(() => this.connectWebSocket(), 5000);
    };
    this.socket.onmessage = (event) => this.handleWebSocketMessage(JSON.parse(event.data));
  }

  handleWebSocketMessage(data) {
    const chatId = data.conversation_id || "default";
    if (data.type === "task_started") this.showTypingIndicator(chatId, data.message);
    else if (data.type === "task_update") this.updateChatProgress(chatId, data);
    else if (data.type === "task_completed") this.handleChatCompletion(chatId, data);
    else if (data.type === "task_failed") this.handleChatError(chatId, data);
    else if (data.type === "agent_routed") this.showAgentSelection(chatId, data.selected_agent, data.confidence);
    else if (data.type === "knowledge_expanded") this.showKnowledgeExpansion(chatId, data.expansion_info);
  }

  /* -- starting ------------------------------------------------------------------------------------------------- */

  async startChat(message, options = {}) {
    const chatId = options.conversationId || this.generateChatId();
    this.displayUserMessage(message, chatId);
    this.showTypingIndicator(chatId, "Asking");
    const body = { message, conversation_id: chatId, use_context: options.useContext !== false, agent_type: options.agentType || "auto" };
    if (this.socket && this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ action: "start_chat", ...body }));
    else await this._start("chat_async", body, chatId);
    return chatId;
  }

  startResearch(topic, options = {}) {
    const body = { topic, expand_knowledge: options.expandKnowledge !== false, max_sources: options.maxSources || 5 };
    return this._begin("research_topic", body, `Research: ${topic}`, "Gathering sources");
  }

  analyzeContent(urls, analysisType = "comparison") {
    return this._begin("analyze_content", { urls, analysis_type: analysisType }, `Compare ${urls.length} sources`, "Reading them");
  }

  async _begin(path, body, said, note) {
    const chatId = this.generateChatId();
    this.displayUserMessage(said, chatId);
    this.showTypingIndicator(chatId, note);
    await this._start(path, body, chatId);
    return chatId;
  }

  async _start(path, body, chatId) {
    try {
      const data = await this._fetch(`/agents/async/${path}/`, { method: "POST", body: JSON.stringify(body) });
      this.pollTaskStatus(data.task_id, chatId);
    } catch (error) {
      this.handleChatError(chatId, { error: `This could not be started: ${error.message}` });
      throw error;
    }
  }

  async _fetch(path, options = {}) {
    const headers = { Authorization: `Bearer ${this.authToken}`, "Content-Type": "application/json" };
    const response = await fetch(this.apiBaseUrl + path, { headers, ...options });
    const data = await response.json();
    if (!response.ok) throw new Error(data.error || `the server said ${response.status}`);
    return data;
  }

  /** Until the task is over: after 1 s, then less and less often, every 3 s at last. A lost connection is waited out. */
  async pollTaskStatus(taskId, chatId) {
    let pause = 1000, lost = 0;
    for (;;) {
      try {
        const data = await this._fetch(`/agents/async/status/${taskId}/`);
        lost = 0;
        if (data.status === "completed") return this._polled(chatId, data);
        if (data.status === "failed") return this.handleChatError(chatId, data);
        this.updateChatProgress(chatId, data);
      } catch (error) {
        if (++lost > 20) return this.handleChatError(chatId, { error: `The connection is gone: ${error.message}` });
      }
      await new Promise((resolve) => setTimeout(resolve, pause + Math.random() * 200));
      pause = Math.min(pause * 1.1, 3000);
    }
  }

  _polled(chatId, data) {
    if (data.selected_agent) this.showAgentSelection(chatId, data.selected_agent, data.routing_score);
    this.handleChatCompletion(chatId, data);
  }

  /* -- what is shown ---------------------------------------------------------------------------------------------- */

  updateChatProgress(chatId, data) {
    const bar = document.getElementById(`progress-${chatId}`), text = document.getElementById(`status-${chatId}`);
    if (bar) {
      bar.style.width = `${data.progress || 0}%`;
      bar.setAttribute("aria-valuenow", data.progress || 0);
    }
    if (text) text.textContent = this._plain(data.message || "Working");
  }

  handleChatCompletion(chatId, data) {
    const result = data.result || data;
    this.hideTypingIndicator(chatId);
    this.displayAIMessage(result.response_text ?? result.response ?? "", chatId, result);
    if (result.knowledge_expanded) this.showKnowledgeExpansion(chatId, result.expansion_info);
    if (result.quality_assessment) this.showQualityAssessment(chatId, result.quality_assessment);
  }

  handleChatError(chatId, data) {
    this.hideTypingIndicator(chatId);
    this.showError(data.error || "Something went wrong", chatId);
  }

  displayUserMessage(message, chatId) {
    this._message("user-message", "user", chatId).append(this._make("div", "message-text", message), this._time());
  }

  displayAIMessage(message, chatId, about = {}) {
    const content = this._message("ai-message", OmerutaBrainClient.ICONS[about.selected_agent] || "bot", chatId);
    const text = this._make("div", "message-text");
    for (const part of message.replace(/\\([!-/:-@[-`{-~])/g, "$1").split(/(\*\*[^*]+\*\*)/)) {
      text.append(/^\*\*.+\*\*$/.test(part) ? this._make("strong", "", part.slice(2, -2)) : part);
    }
    content.append(text);
    if (about.confidence_score) content.append(this._confidence(about.confidence_score));
    const facts = [about.model_used, OmerutaBrainClient.NAMES[about.selected_agent], about.context_used && `${about.context_sources} ${about.context_sources === 1 ? "source" : "sources"}`, about.processing_time !== undefined && `${about.processing_time.toFixed(2)} s`];
    const list = this._make("div", "message-metadata");
    list.append(...facts.filter(Boolean).map((fact) => this._make("span", "metadata-item", fact)));
    content.append(list, this._time());
  }

  _confidence(share) {
    const bar = this._make("div", "confidence-bar"), fill = this._make("div", "confidence-fill");
    fill.style.width = `${share * 100}%`;
    bar.append(fill, this._make("span", "confidence-text", `${Math.round(share * 100)}% confident`));
    return bar;
  }

  showTypingIndicator(chatId, message) {
    this.hideTypingIndicator(chatId);
    const content = this._message("typing-indicator", "bot", chatId);
    content.parentElement.id = `typing-${chatId}`;
    const dots = this._make("div", "typing-animation"), status = this._make("div", "typing-status", this._plain(message));
    dots.append(...[0, 1, 2].map(() => this._make("div", "typing-dot")));
    status.id = `status-${chatId}`;
    const holder = this._make("div", "progress-container"), bar = this._make("div", "progress-bar"), fill = this._make("div", "progress-fill");
    Object.assign(fill, { id: `progress-${chatId}`, role: "progressbar", ariaLabel: "Progress", ariaValueMin: "0", ariaValueMax: "100", ariaValueNow: "0" });
    fill.style.width = "0%";
    bar.append(fill);
    holder.append(bar);
    content.append(dots, status, holder);
  }

  hideTypingIndicator(chatId) {
    document.getElementById(`typing-${chatId}`)?.remove();
  }

  showAgentSelection(chatId, agent, confidence) {
    const name = OmerutaBrainClient.NAMES[agent] || "AI Agent";
    this._note("agent-selection", `${name} selected (${Math.round(confidence * 100)}% confidence)`, chatId);
  }

  showKnowledgeExpansion(chatId, info) {
    this._note("knowledge-expansion", `New pages read: ${info?.urls_crawled?.length || 0}`, chatId);
  }

  showError(message, chatId) {
    this._message("error-message", "circle-alert", chatId).append(this._make("div", "message-text", message), this._time());
  }

  showConnectionStatus(status, kind) {
    const element = document.getElementById("connection-status");
    if (element) Object.assign(element, { textContent: status, className: `connection-status ${kind}` });
  }

  /* -- small things ----------------------------------------------------------------------------------------------- */

  generateChatId() {
    return `chat_${Date.now()}_${Math.random().toString(36).slice(2, 11)}`;
  }

  getChatContainer(chatId) {
    let container = document.getElementById(`chat-${chatId}`);
    if (!container) {
      container = this._make("div", "chat-container");
      container.id = `chat-${chatId}`;
      document.getElementById("main-chat-area").append(container);
    }
    return container;
  }

  _message(kind, icon, chatId) {
    const message = this._make("div", `message ${kind}`), content = this._make("div", "message-content");
    const face = this._make("div", "message-avatar");
    face.ariaHidden = "true";
    face.append(this._icon(icon));
    message.append(face, content);
    this.getChatContainer(chatId).append(message);
    return content;
  }

  _note(kind, text, chatId) {
    this.getChatContainer(chatId).append(this._make("div", kind, text));
  }

  _make(tag, name, text = "") {
    const element = document.createElement(tag);
    if (name) element.className = name;
    element.textContent = text;
    return element;
  }

  /** One of the page's icons: its sprite is where the icons are that are there already. */
  _icon(name) {
    const [svg, use] = ["svg", "use"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
    const sprite = document.querySelector("svg.icon use")?.getAttribute("href") || "/static/icons.svg#";
    use.setAttribute("href", `${sprite.split("#")[0]}#${name}`);
    svg.setAttribute("class", "icon");
    svg.append(use);
    return svg;
  }

  _time() {
    return this._make("div", "message-time", new Date().toLocaleTimeString());
  }

  /** Messages come with entities, for clients that write them as HTML. */
  _plain(text) {
    return text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
  }
}
