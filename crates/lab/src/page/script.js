// Selecting a route: on the list, on the picture, or by the page's address (#route-3).
(() => {
  "use strict";
  const $ = (selector, of = document) => of.querySelector(selector);
  const $$ = (selector, of = document) => [...of.querySelectorAll(selector)];
  const said = $("#said");
  const radios = $$("input[name=route]");
  const routes = $$(".route");
  const details = $$("[data-detail]");

  const select = (index, announce) => {
    for (const radio of radios) radio.checked = radio.value === index;
    for (const route of routes) {
      const chosen = route.dataset.route === index;
      route.classList.toggle("chosen", chosen);
      // What is drawn last lies above the rest.
      if (chosen) route.parentNode.append(route);
    }
    for (const detail of details) {
      detail.hidden = detail.dataset.detail !== index;
      if (announce && !detail.hidden) said.textContent = "Showing " + $("h3", detail).textContent;
    }
  };

  for (const radio of radios) radio.addEventListener("change", () => select(radio.value, true));
  for (const route of routes) {
    route.addEventListener("click", () => {
      select(route.dataset.route, true);
      const radio = radios.find((one) => one.checked);
      if (radio) radio.closest("label").scrollIntoView({ block: "nearest" });
    });
  }

  const only = $("#only-failed");
  if (only) {
    only.addEventListener("change", () => {
      for (const way of $$("label.way")) way.hidden = only.checked && !way.classList.contains("failed");
      for (const route of routes) route.classList.toggle("gone", only.checked && !route.classList.contains("failed"));
    });
  }

  const copy = $("#copy");
  copy.addEventListener("click", async () => {
    const text = $("#replay").textContent;
    try {
      await navigator.clipboard.writeText(text);
      said.textContent = "Copied";
    } catch {
      // A page from a file may not write to the clipboard; then the command is marked, to be copied by hand.
      getSelection().selectAllChildren($("#replay"));
      said.textContent = "Selected, copy it with your keyboard";
    }
  });

  const asked = /^#route-(\d+)$/.exec(location.hash);
  const first = asked && radios.some((radio) => radio.value === String(asked[1] - 1)) ? String(asked[1] - 1) : null;
  const initial = first ?? radios.find((radio) => radio.checked)?.value;
  if (initial !== undefined) select(initial, false);
})();
