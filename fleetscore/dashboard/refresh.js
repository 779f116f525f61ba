(() => {
  const open = () => new Set([...document.querySelectorAll("details[open]")].map((e) => e.id));
  const busy = () => document.activeElement && document.activeElement.matches("main input");
  const selected = () => String(getSelection()).length > 0;
  const tick = async () => {
    const every = Number(document.body.dataset.every);
    if (!every) return;
    if (!document.hidden && !busy() && !selected()) {
      try {
        const answer = await fetch(location.href, { cache: "no-store" });
        if (answer.ok) {
          const next = new DOMParser().parseFromString(await answer.text(), "text/html");
          const shown = open();
          const focus = document.activeElement && document.activeElement.getAttribute("href");
          for (const part of ["main", "#state"]) document.querySelector(part).replaceWith(next.querySelector(part));
          document.querySelectorAll("details").forEach((e) => { if (shown.has(e.id)) e.open = true; });
          if (focus) { const link = [...document.querySelectorAll("main a")].find((e) => e.getAttribute("href") === focus); if (link) link.focus(); }
          document.body.dataset.every = next.body.dataset.every || "";
          document.title = next.title;
        }
      } catch { document.querySelector("#state").textContent = "not reachable, trying again"; }
    }
    setTimeout(tick, every);
  };
  setTimeout(tick, Number(document.body.dataset.every));
})();
