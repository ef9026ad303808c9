// Search, and filters by task, script and family. Columns of other languages are hidden, and the mean is over the rest.
const filters = document.getElementById("filters");
if (filters) {
  const inputs = ["words", "task", "script", "family"].map((name) => document.getElementById(name));
  const boards = [...document.querySelectorAll("section.board")].map((section) => {
    const table = section.querySelector("table");
    const rows = [...table.tBodies[0].rows];
    return {
      section,
      heads: [...table.tHead.rows[0].cells],
      rows: rows.map((row) => ({
        row,
        text: row.cells[0].textContent.toLowerCase(),
        mean: [row.cells[1].textContent, row.cells[1].dataset.value],
      })),
      shown: null, // which columns are, once any was hidden
    };
  });

  const meanOf = (row, columns) => {
    const values = columns.map((column) => Number(row.cells[column].dataset.value ?? NaN));
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return Number.isNaN(mean) ? ["–", undefined] : [(Math.round(mean * 10 + 1e-8) / 10).toFixed(1), String(mean)];
  };

  const hideColumns = (board, script, family) => {
    const isLanguage = (head) => head.dataset.script !== undefined;
    const isShown = (head) =>
      (!script || head.dataset.script === script) && (!family || head.dataset.family === family);
    const languages = board.heads.flatMap((head, column) => (isLanguage(head) ? [column] : []));
    const shown = languages.filter((column) => isShown(board.heads[column]));
    const key = shown.join();
    if (key === (board.shown ?? languages.join())) return shown.length;
    board.shown = key;
    for (const column of languages) board.heads[column].hidden = !shown.includes(column);
    for (const { row, mean } of board.rows) {
      for (const column of languages) row.cells[column].hidden = !shown.includes(column);
      const [text, value] = shown.length === languages.length ? mean : meanOf(row, shown);
      row.cells[1].textContent = text;
      if (value === undefined) delete row.cells[1].dataset.value;
      else row.cells[1].dataset.value = value;
    }
    return shown.length;
  };

  const apply = () => {
    const [words, task, script, family] = inputs.map((input) => input.value);
    const wanted = words.toLowerCase().split(/\s+/);
    let lines = 0;
    for (const board of boards) {
      const languages = hideColumns(board, script, family);
      let own = 0;
      for (const { row, text } of board.rows) {
        row.hidden = !wanted.every((word) => text.includes(word));
        own += !row.hidden;
      }
      board.section.hidden = (task && board.section.id !== task) || own === 0 || languages === 0;
      lines += board.section.hidden ? 0 : own;
    }
    document.getElementById("shown").textContent = `${lines} ${lines === 1 ? "row" : "rows"} shown`;
  };

  for (const input of inputs) input.addEventListener("input", apply);
  filters.hidden = false;
  apply();
}
