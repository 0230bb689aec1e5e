"use strict";
(async () => {
  const content = JSON.parse(document.getElementById("content").textContent);

  const drawCharts = async () => {
    for (const place of document.querySelectorAll("[data-chart]")) {
      await vegaEmbed(place, content.charts[place.dataset.chart], {
        actions: false, ast: true, renderer: "svg", config: content.config, tooltip: { theme: "report" },
      });
    }
  };

  const drawTables = async () => {
    const places = [...document.querySelectorAll("[data-table]")];
    if (!places.length) return;
    const module = document.getElementById("tables-module").textContent;
    const url = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
    const { jQuery } = await import(url);
    URL.revokeObjectURL(url);
    for (const place of places) {
      const { columns, rows, sort } = content.tables[place.dataset.table];
      // DataTables takes titles and what is rendered as HTML.
      const escaped = (text) => Object.assign(document.createElement("span"), { textContent: text }).innerHTML;
      const shown = (value, kind) => (value === null ? "–" : kind === "percent" ? value.toFixed(1) : escaped(value));
      jQuery(place).DataTable({
        data: rows,
        columns: columns.map(({ title, kind }) => ({
          title: escaped(title),
          className: kind === "text" ? "left" : "number",
          render: (value, type) => (type === "display" ? shown(value, kind) : value),
        })),
        order: [[sort, "desc"]],
        autoWidth: false,
        deferRender: true,
        pageLength: 15,
        lengthMenu: [15, 50, 200],
        layout: { topStart: "search", topEnd: "pageLength", bottomStart: "info", bottomEnd: "paging" },
        language: { search: "", searchPlaceholder: "Search codes and descriptions", lengthMenu: "_MENU_ rows" },
      });
    }
  };

  await drawCharts();
  await drawTables();
  document.documentElement.dataset.drawn = "yes";
})();
