"""What a page is judged by, in `make shots` and in the tests: scripts that run in the page and what they say of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

AXE = next((Path(__file__).resolve().parent.parent / "tests" / "vendor").glob("axe-core-*/axe.min.js"))
MAX_SHIFT = 0.1

# Runs before the page does.
WATCH = """
window.__shots = {csp: [], shift: 0, moved: []};
document.addEventListener("securitypolicyviolation", (e) => __shots.csp.push(`${e.violatedDirective}: ${e.blockedURI} ${e.sourceFile || ""}:${e.lineNumber || ""}`));
new PerformanceObserver((list) => { for (const e of list.getEntries()) if (!e.hadRecentInput) {
  __shots.shift += e.value;
  for (const one of e.sources) if (one.node && one.node.localName) __shots.moved.push(`${one.node.localName}.${one.node.className}`);
} }).observe({type: "layout-shift", buffered: true});
"""

LOOK = """() => {
  const page = document.scrollingElement;
  const wide = [];
  if (page.scrollWidth > page.clientWidth) for (const e of document.querySelectorAll("body *")) {
    const box = e.getBoundingClientRect();
    if (box.right > page.clientWidth + 1 && wide.length < 4) wide.push(`${e.localName}.${e.className} to ${Math.round(box.right)}`);
  }
  const moving = document.getAnimations().filter((one) => one.playState === "running").map((one) => {
    const e = one.effect && one.effect.target;
    return e ? `${e.localName}.${e.getAttribute("class") || ""} ${one.animationName || one.transitionProperty || ""}` : "something";
  });
  return {csp: __shots.csp, shift: __shots.shift, moved: [...new Set(__shots.moved)].slice(0, 4), over: page.scrollWidth - page.clientWidth, wide, moving: moving.slice(0, 4)};
}"""

AXE_RUN = """async (rules) => {
  const given = rules ? {runOnly: {type: "rule", values: rules}} : {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]};
  const found = await axe.run(document, {resultTypes: ["violations"], ...given});
  return found.violations.map((v) => ({id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.slice(0, 3).map((n) => `${n.target.join(" ")} (${(n.any[0] || n.all[0] || n.none[0] || {}).message || ""})`)}));
}"""

# Each control takes the focus as if the tabulator had brought it there. Seen is an outline or a shadow that was not there
# before: on the control, on what stands for it (the label of a hidden box), or on the box around it. Of an outline two
# sides at least must not be cut off by what scrolls, and nothing may lie over the control: it could not be clicked either.
FOCUS = """() => {
  const CONTROLS = 'a[href], button, input:not([type="hidden"]), select, textarea, summary, [tabindex]:not([tabindex="-1"]), [contenteditable="true"]';
  const front = document.querySelector("dialog:modal, [popover]:popover-open");
  const name = (e) => `${e.localName}${e.id ? "#" + e.id : ""}${typeof e.className === "string" && e.className ? "." + e.className.trim().split(/\\s+/).join(".") : ""}`;
  const around = (e) => {
    const all = [[e, null], [e, "::after"], [e, "::before"]];
    if (e.nextElementSibling) all.push([e.nextElementSibling, null]);
    for (let up = e.parentElement, n = 0; up && n < 4 && up !== document.body; up = up.parentElement, n++) all.push([up, null]);
    return all;
  };
  const clear = (colour) => colour === "transparent" || /[,/] *0\\)$/.test(colour);
  const ring = ([e, part]) => {
    const s = getComputedStyle(e, part);
    const outline = s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 1.5 && !clear(s.outlineColor);
    return {outline: outline ? parseFloat(s.outlineWidth) + parseFloat(s.outlineOffset) : null, shadow: s.boxShadow};
  };
  const sides = (e, reach) => {
    const b = e.getBoundingClientRect();
    const box = {left: b.left - reach + 1, right: b.right + reach - 1, top: b.top - reach + 1, bottom: b.bottom + reach - 1};
    const cut = {left: box.left < 0, right: box.right > innerWidth, top: box.top < 0, bottom: box.bottom > innerHeight};
    for (let up = e.parentElement; up; up = up.parentElement) {
      const s = getComputedStyle(up);
      if (s.overflowX === "visible" && s.overflowY === "visible" || up === document.body || up === document.documentElement) continue;
      const c = up.getBoundingClientRect();
      if (box.left < c.left) cut.left = true;
      if (box.right > c.right) cut.right = true;
      if (box.top < c.top) cut.top = true;
      if (box.bottom > c.bottom) cut.bottom = true;
    }
    return 4 - Object.values(cut).filter(Boolean).length;
  };
  const covered = (e) => {
    if (getComputedStyle(e).pointerEvents === "none") return null;
    const b = e.getClientRects()[0] || e.getBoundingClientRect();
    if (b.width < 1 || b.height < 1) return null;  // an empty log
    const top = document.elementFromPoint(Math.max(1, Math.min(innerWidth - 1, b.left + b.width / 2)), Math.max(1, Math.min(innerHeight - 1, b.top + b.height / 2)));
    if (!top || top.contains(e) || e.contains(top) || e.closest("label")?.contains(top) || top.closest("details[data-menu][open]")) return null;
    return name(top);
  };
  const problems = [], seen = new Set(), like = new Map();
  let looked = 0;
  for (const e of (front || document).querySelectorAll(CONTROLS)) {
    if (e.disabled || e.tabIndex < 0 || !e.checkVisibility({visibilityProperty: true, contentVisibilityAuto: true})) continue;
    const kind = `${e.localName} ${e.className} ${e.parentElement.className}`;
    like.set(kind, (like.get(kind) || 0) + 1);
    if (like.get(kind) > 4) continue;  // the rows of a long list are alike
    if (document.activeElement) document.activeElement.blur();
    const parts = around(e), before = parts.map(ring);
    e.focus();
    if (document.activeElement !== e) continue;
    looked++;
    const say = (what) => { const text = `${name(e)}: ${what}`; if (!seen.has(text) && seen.add(text)) problems.push(text); };
    if (!e.matches(":focus-visible")) { say("takes the focus without :focus-visible"); continue; }
    const after = parts.map(ring);
    const glow = after.some((one, n) => one.shadow !== before[n].shadow && one.shadow !== "none");
    const rings = after.map((one, n) => one.outline !== null && before[n].outline === null ? n : -1).filter((n) => n >= 0);
    if (!glow && !rings.length) say("the focus can't be seen");
    else if (!glow && !rings.some((n) => parts[n][1] || sides(parts[n][0], after[n].outline) >= 2)) say("the ring of the focus is cut off");
    const over = covered(e);
    if (over) say(`lies under ${over}`);
  }
  if (document.activeElement) document.activeElement.blur();
  return {looked, problems};
}"""


def of_the_page(seen: dict[str, Any], *, still: bool = True) -> list[str]:
    """What LOOK saw, in words. still: the reader asked for no motion."""
    said = [f"content security policy: {text}" for text in seen["csp"]]
    if seen["over"] > 0:
        said.append(f"scrolls sideways by {seen['over']} px: {'; '.join(seen['wide'])}")
    if seen["shift"] > MAX_SHIFT:
        said.append(f"layout shift {seen['shift']:.3f}: {'; '.join(seen['moved'])}")
    if still and seen["moving"]:
        said.append(f"moves though motion is refused: {'; '.join(seen['moving'])}")
    return said


def by_axe(page: Any, rules: list[str] | None = None) -> tuple[list[str], list[str]]:
    """Serious and critical findings of axe-core, and the lesser ones. The page has to have been given AXE before."""
    bad: list[str] = []
    notes: list[str] = []
    for found in page.evaluate(AXE_RUN, rules):
        text = f"axe {found['impact']} {found['id']}: {found['help']}: {' | '.join(found['nodes'])}"
        (bad if found["impact"] in ("serious", "critical") else notes).append(text[:600])
    return bad, notes


def by_keyboard(page: Any) -> tuple[list[str], int]:
    """Where the focus can't be seen, and how many controls were asked."""
    page.keyboard.press("Tab")  # from now on the page takes a focus for one that the keyboard brought
    seen = page.evaluate(FOCUS)
    return [f"focus: {text}" for text in seen["problems"]], int(seen["looked"])
