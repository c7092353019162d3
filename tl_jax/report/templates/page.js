"use strict";
// Tables sort by what `data-order` says: numbers as numbers, words as words, what is unknown last.
for (const button of document.querySelectorAll("thead th[aria-sort] button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), table = head.closest("table"), body = table.tBodies[0];
    const falling = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.querySelectorAll("th")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const keyed = [...body.rows].map((row) => [row.cells[head.cellIndex].dataset.order, row]);
    const numeric = keyed.every(([key]) => key === "" || Number.isFinite(Number(key)));
    const compare = numeric ? (a, b) => a - b : (a, b) => a.localeCompare(b, "en", { numeric: true });
    keyed.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      return falling ? compare(b, a) : compare(a, b);
    });
    body.append(...keyed.map(([, row]) => row));
  });
}
