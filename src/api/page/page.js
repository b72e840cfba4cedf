// Fetches the changing part of the page every two seconds and puts it in place when it differs.
"use strict";
(() => {
  const PERIOD_MS = 2000;
  const GIVE_UP_MS = 10000;
  const live = document.getElementById("live");
  const link = document.getElementById("link");
  const announce = document.getElementById("announce");
  let shown = null;
  let lostAt = null;

  const summary = () => document.getElementById("state")?.dataset.summary ?? "";
  let told = summary();

  function tell() {
    const now = summary();
    if (now !== told) {
      told = now;
      announce.textContent = now;
    }
  }

  function lost() {
    lostAt ??= new Date();
    link.textContent = `no connection since ${lostAt.toLocaleTimeString()}; shown is what was known then`;
    link.hidden = false;
  }

  // Text that a person has selected stays: the next round is soon enough.
  function selecting() {
    const selection = window.getSelection();
    return selection && !selection.isCollapsed && live.contains(selection.anchorNode);
  }

  // Puts the new text in place; a link that had the focus keeps it.
  function show(text) {
    const focused = live.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    live.innerHTML = text;
    if (focused) {
      live.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    }
    tell();
  }

  async function refresh() {
    if (document.hidden) return;
    try {
      const answer = await fetch("/page/fragment", { cache: "no-store", signal: AbortSignal.timeout(GIVE_UP_MS) });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const text = await answer.text();
      lostAt = null;
      link.hidden = true;
      if (text !== shown && !selecting()) {
        shown = text;
        show(text);
      }
    } catch {
      lost();
    }
  }

  async function loop() {
    await refresh();
    setTimeout(loop, PERIOD_MS);
  }
  document.addEventListener("visibilitychange", refresh);
  setTimeout(loop, PERIOD_MS);
})();
