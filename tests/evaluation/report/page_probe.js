// Appended to a report's copy: uses the page as a reader does, and writes what it shows as JSON in #probe.
"use strict";
const found = {};
const all = (selector) => [...document.querySelectorAll(selector)];
const rows = () => all("#case-table tbody tr");
const cells = (column) => rows().map((row) => row.cells[column].textContent);
const button = (text) => all("#case-table button").find((each) => each.textContent.startsWith(text));
const column = (text) => button(text).parentElement.cellIndex;

button("Dice").click();
found.rising = cells(column("Dice"));
found.sort = button("Dice").parentElement.ariaSort;
button("Dice").click();
found.falling = cells(column("Dice"));
button("Precision").click();
found.precision = cells(column("Precision"));
button("Case").click();
found.cases = cells(0);

const type = (id, value) => {
  const input = document.getElementById(id);
  input.value = value;
  input.dispatchEvent(new Event("input"));
};
type("filter-case", "CASE_3");
type("filter-method", "theirs");
found.shown = rows().filter((row) => !row.hidden).map((row) => row.dataset.case + row.dataset.method);
found.count = document.getElementById("shown").textContent;

const reference = () => getComputedStyle(document.querySelector(".panels path.reference"));
const palette = document.getElementById("palette");
found.classes = [...new Set(all(".panels path.reference").map((path) => getComputedStyle(path).stroke))];
palette.value = "red-blue";
palette.dispatchEvent(new Event("change"));
found.red = reference().stroke;
palette.value = "colour-blind";
palette.dispatchEvent(new Event("change"));
found.orange = reference().stroke;
document.getElementById("show-reference").click();
found.hidden = reference().display;

found.tips = all(".chart a title").map((title) => title.textContent);
found.focusable = all("a[href], button, input, select, summary, [tabindex='0']").filter((each) => each.tabIndex >= 0).length;
found.cut = all(".summary tbody td").filter((cell) => cell.getBoundingClientRect().right > window.innerWidth).length;
found.wide = document.documentElement.scrollWidth - window.innerWidth;

const widthOf = async (image) => {
  const copy = new Image();
  copy.src = image.href.baseVal;
  await copy.decode();
  return copy.naturalWidth;
};
Promise.all(all("image").map(widthOf)).then((widths) => {
  found.widths = widths;
  const out = document.createElement("pre");
  out.id = "probe";
  out.textContent = JSON.stringify(found);
  document.body.append(out);
});
