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

  // A person who selects text or has focus inside keeps it: the next round is soon enough.
  function busy() {
    const selection = window.getSelection();
    const selects = selection && !selection.isCollapsed && live.contains(selection.anchorNode);
    const focus = document.activeElement;
    return selects || (focus && focus !== document.body && live.contains(focus));
  }

  async function refresh() {
    if (document.hidden) return;
    try {
      const answer = await fetch("/page/fragment", { cache: "no-store", signal: AbortSignal.timeout(GIVE_UP_MS) });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const text = await answer.text();
      lostAt = null;
      link.hidden = true;
      if (text !== shown && !busy()) {
        shown = text;
        live.innerHTML = text;
        tell();
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
