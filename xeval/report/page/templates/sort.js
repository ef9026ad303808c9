"use strict";
// A click on a column's header sorts the table by it, a second one the other way round; empty cells come last.
const sorted = document.getElementById("sorted");
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const ascending = header.getAttribute("aria-sort") !== "ascending";
      for (const other of headers) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sort(table.tBodies[0], column, ascending);
      sorted.textContent = `Sorted by ${button.textContent}, ${ascending ? "ascending" : "descending"}.`;
    });
  });
}

function sort(body, column, ascending) {
  const key = (row) => {
    const cell = row.cells[column];
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    return cell.textContent === "–" ? null : cell.textContent;
  };
  const order = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    const difference = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
    return ascending ? difference : -difference;
  };
  body.append(...[...body.rows].sort(order));
}

// On paper everything is unfolded but the records, which are dozens of pages.
const folded = () => document.querySelectorAll("details:not([open], .record)");
let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = [...folded()];
  for (const details of unfolded) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of unfolded) details.open = false;
});
