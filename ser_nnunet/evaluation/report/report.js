"use strict";
(function () {
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;

  // Example cases: colours, fill, and which outlines are shown.
  const palette = byId("palette");
  if (palette) {
    palette.addEventListener("change", () => root.setAttribute("data-palette", palette.value));
    const toggles = { "fill": ["filled", true], "show-reference": ["without-reference", false], "show-prediction": ["without-prediction", false] };
    for (const [id, [name, when]] of Object.entries(toggles)) {
      byId(id).addEventListener("change", (event) => root.classList.toggle(name, event.target.checked === when));
    }
  }

  // Charts: a point shows its case's name and links to its row. Points are no tab stops, since there may be hundreds.
  const names = new Map([...document.querySelectorAll("#case-table tr[id]")].map((row) => [row.id, row.dataset.case]));
  for (const link of document.querySelectorAll(".chart a")) {
    const target = decodeURIComponent((link.getAttribute("href") || link.getAttribute("xlink:href") || "").slice(1));
    link.setAttribute("tabindex", "-1");
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = names.get(target) || target;
    link.append(title);
  }

  // Cases: sorting and filtering.
  const table = byId("case-table");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];

  function sortBy(column) {
    const head = heads[column];
    const descending = head.getAttribute("aria-sort") === "ascending";
    for (const other of heads) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const sign = descending ? -1 : 1;
    const key = (row) => row.cells[column].dataset.value;
    rows.sort((a, b) => {
      if (key(a) === undefined) {
        return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent, undefined, { numeric: true });
      }
      const [x, y] = [Number(key(a)), Number(key(b))];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y); // undefined ones last, both ways
      return sign * (x - y);
    });
    body.append(...rows);
  }
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sortBy(column)));

  const filters = ["case", "class", "method"].map((key) => [key, byId("filter-" + key)]).filter(([, input]) => input);
  function filter() {
    let shown = 0;
    for (const row of rows) {
      const fits = filters.every(([key, input]) => key === "case"
        ? row.dataset.case.toLowerCase().includes(input.value.trim().toLowerCase())
        : !input.value || row.dataset[key] === input.value);
      row.hidden = !fits;
      shown += fits;
    }
    byId("shown").textContent = shown === rows.length ? shown + " rows" : shown + " of " + rows.length + " rows";
  }
  for (const [, input] of filters) input.addEventListener("input", filter);
  // A link to a hidden row clears the filters.
  window.addEventListener("hashchange", () => {
    const row = byId(decodeURIComponent(location.hash.slice(1)));
    if (!row || !row.hidden) return;
    for (const [, input] of filters) input.value = "";
    filter();
    row.scrollIntoView();
  });
})();
