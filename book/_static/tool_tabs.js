// Tabs for cells that do the same with several tools (book/_ext/tool_tabs.py). The pattern is
// that of the ARIA Authoring Practices: one tab stop a group, arrow keys choose.
(() => {
  const STORED = "course-tool";
  const groups = [];

  function remembered() {
    try { return localStorage.getItem(STORED); } catch { return null; } // storage is off
  }

  function remember(tool) {
    try { localStorage.setItem(STORED, tool); } catch { /* it lasts for this page only */ }
  }

  function show({ tabs, panels }, tool) {
    const chosen = tabs.find((tab) => tab.dataset.tool === tool) ?? tabs[0];
    tabs.forEach((tab, position) => {
      const is = tab === chosen;
      tab.setAttribute("aria-selected", String(is));
      tab.tabIndex = is ? 0 : -1;
      panels[position].hidden = !is;
    });
  }

  // All groups follow, and the one that the reader looks at stays where it is on the screen.
  function choose(tab) {
    const before = tab.getBoundingClientRect().top;
    remember(tab.dataset.tool);
    for (const group of groups) {
      const has = group.tabs.some((other) => other.dataset.tool === tab.dataset.tool);
      if (has) show(group, tab.dataset.tool);
    }
    tab.focus({ preventScroll: true });
    window.scrollBy({ top: tab.getBoundingClientRect().top - before, behavior: "instant" });
  }

  function onKey(event, tabs) {
    const here = tabs.indexOf(event.currentTarget);
    const to = {
      ArrowRight: (here + 1) % tabs.length,
      ArrowLeft: (here - 1 + tabs.length) % tabs.length,
      Home: 0,
      End: tabs.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(tabs[to]);
  }

  document.querySelectorAll(".tool-tabs").forEach((element, number) => {
    const list = document.createElement("div");
    list.className = "tool-list";
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", "Tool");
    const panels = [...element.querySelectorAll(":scope > .tool-panel")];
    const tabs = panels.map((panel) => {
      const tool = [...panel.classList].find((name) => name.startsWith("tool-") && name !== "tool-panel").slice(5);
      const tab = document.createElement("button");
      tab.type = "button";
      tab.setAttribute("role", "tab");
      tab.dataset.tool = tool;
      tab.id = `tool-${number}-${tool}`;
      tab.textContent = panel.querySelector(":scope > .tool-name").textContent;
      panel.id = `${tab.id}-panel`;
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", tab.id);
      tab.setAttribute("aria-controls", panel.id);
      list.append(tab);
      return tab;
    });
    for (const tab of tabs) {
      tab.addEventListener("click", () => choose(tab));
      tab.addEventListener("keydown", (event) => onKey(event, tabs));
    }
    element.prepend(list);
    element.classList.add("tool-tabs-ready");
    const group = { tabs, panels };
    groups.push(group);
    show(group, remembered());
  });
})();
