"use strict";
// The page is complete without this script; it adds sorting, filters, figures, themes and the save button.
(() => {
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const parse = (id) => JSON.parse(byId(id).textContent);
  root.classList.add("js");

  // ---- theme: follows the system until the button says otherwise; nothing is stored
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const themeButton = byId("theme");
  const showTheme = () => {
    themeButton.setAttribute("aria-pressed", String(isDark()));
    redraw();
  };
  themeButton.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    showTheme();
  });
  system.addEventListener("change", showTheme);

  // ---- figures: drawn when they come into view, with one template per theme
  let figures = null;
  const drawn = new Set();
  const waiting = new Set();
  const config = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
  const plots = [...document.querySelectorAll(".plot")];
  plots.forEach((plot) => (plot.style.minHeight = `${plot.dataset.height}px`)); // nothing moves when it is drawn
  // On a phone a legend has one or two columns; beyond four rows it makes the figure higher, not the plot lower.
  const narrowLegend = (figure, layout) => {
    const names = figure.data.filter((trace) => trace.showlegend !== false).map((trace) => trace.name ?? "");
    const columns = names.some((name) => name.length > 10) ? 1 : 2;
    layout.legend = { entrywidth: 0.98 / columns, entrywidthmode: "fraction", font: { size: 11 } };
    if (layout.showlegend !== false) layout.height += 19 * Math.max(0, Math.ceil(names.length / columns) - 4);
  };
  const PAPER = 660; // pixels: A4 and Letter with usual margins
  const draw = (plot, dark = isDark(), paper = false) => {
    if (typeof Plotly === "undefined") {
      waiting.add(plot);
      return;
    }
    figures ??= parse("figure-data");
    const figure = figures.figures[Number(plot.dataset.figure)];
    const layout = { ...figure.layout, template: dark ? figures.templates.dark : figures.templates.light, autosize: !paper };
    if (paper) layout.width = PAPER;
    const narrow = plot.clientWidth < 480;
    if (narrow) narrowLegend(figure, layout);
    Plotly.react(plot, figure.data, layout, { ...config, displayModeBar: narrow || paper ? false : "hover" });
    if (!drawn.has(plot)) {
      drawn.add(plot);
      plot.on("plotly_click", (event) => goToLayer(event.points[0].customdata));
    }
  };
  const redraw = (dark = isDark()) => drawn.forEach((plot) => draw(plot, dark));
  addEventListener("load", () => waiting.forEach((plot) => draw(plot)));
  if ("IntersectionObserver" in window) {
    const observer = new IntersectionObserver(
      (entries) =>
        entries.forEach((entry) => {
          if (entry.isIntersecting) {
            observer.unobserve(entry.target);
            draw(entry.target);
          }
        }),
      { rootMargin: "300px" },
    );
    plots.forEach((plot) => observer.observe(plot));
  } else {
    plots.forEach((plot) => draw(plot));
  }

  // ---- permalinks open the layer they point at
  const openTarget = () => {
    const target = location.hash && byId(decodeURIComponent(location.hash.slice(1)));
    if (target instanceof HTMLDetailsElement) {
      target.open = true;
      target.scrollIntoView();
      target.querySelector("summary").focus({ preventScroll: true });
    }
  };
  addEventListener("hashchange", openTarget);
  addEventListener("load", openTarget); // once more: on loading, the browser moves the focus to the fragment itself
  openTarget();
  const table = byId("layer-table");
  const rows = table ? [...table.tBodies[0].rows] : [];
  const goToLayer = (place) => {
    const row = rows.find((candidate) => candidate.dataset.place === String(place));
    const target = row?.querySelector("a")?.hash;
    if (target) location.hash = target;
    else row?.scrollIntoView({ block: "center" });
  };

  // ---- the layer table: sorting and filtering
  const key = (row, column, numeric) => {
    const cell = row.cells[column];
    if (!numeric) return cell.textContent;
    return "key" in cell.dataset ? Number(cell.dataset.key) : null;
  };
  const sortBy = (header, column) => {
    const numeric = header.dataset.sort === "number";
    const descending = header.getAttribute("aria-sort") === "ascending";
    const sign = descending ? -1 : 1;
    const compareText = new Intl.Collator("en", { numeric: true }).compare;
    const keyed = rows.map((row) => [key(row, column, numeric), row]);
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null); // what has no number stays last
      return sign * (numeric ? a - b : compareText(a, b));
    });
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    table.tBodies[0].append(...keyed.map(([, row]) => row));
    filterLayers();
  };
  const filterLayers = () => {
    const text = byId("layer-filter").value.trim().toLowerCase();
    const kind = byId("layer-kind").value;
    const only = byId("layer-findings").checked;
    const most = Number(table.dataset.most ?? Infinity); // drawing more rows than a screen holds many times takes long
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const fits =
        (!text || row.cells[0].textContent.toLowerCase().includes(text)) &&
        (!kind || row.dataset.kind === kind) &&
        (!only || "findings" in row.dataset);
      shown += fits;
      row.hidden = !fits || shown > most;
    }
    const count = byId("layer-count");
    const rest = shown > most ? `, the first ${most} are shown: filter or sort` : "";
    count.textContent = `${shown} of ${rows.length} ${count.dataset.noun ?? "layers"}${rest}`;
  };
  if (table) {
    [...table.tHead.rows[0].cells].forEach((header, column) => {
      if (!header.dataset.sort) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.setAttribute("aria-label", `Sort by ${header.textContent.trim()}`);
      header.append("\u00a0", button);
      header.addEventListener("click", () => sortBy(header, column));
    });
    byId("layer-filter").addEventListener("input", filterLayers);
    byId("layer-kind").addEventListener("change", filterLayers);
    byId("layer-findings").addEventListener("change", filterLayers);
    filterLayers();
  }

  // ---- the ledger: filters over all tensors, also those that the page did not list
  const MOST = 400;
  const ledgerFilter = byId("ledger-filter");
  let tensors = null;
  const filterLedger = () => {
    tensors ??= parse("report-data").coverage.tensors.map((tensor) => ({
      ...tensor,
      text: `${tensor.name} ${tensor.status} ${tensor.reason ?? ""}`.toLowerCase(),
    }));
    const wanted = ledgerFilter.value.trim().toLowerCase();
    const found = tensors.filter((tensor) => tensor.text.includes(wanted));
    byId("ledger-rows").replaceChildren(...found.slice(0, MOST).map(ledgerRow));
    byId("ledger-count").textContent =
      found.length > MOST ? `The first ${MOST} of ${found.length} tensors; filter on.` : `${found.length} of ${tensors.length} tensors.`;
  };
  const ledgerRow = (tensor) => {
    const row = document.createElement("tr");
    const name = document.createElement("th");
    name.scope = "row";
    name.append(document.createElement("code"));
    name.firstChild.textContent = tensor.name;
    row.append(name);
    for (const text of [tensor.shape.join(" × ") || "scalar", tensor.dtype, tensor.status, tensor.reason ?? ""]) {
      row.insertCell().textContent = text;
    }
    row.cells[3].className = `state ${tensor.status}`;
    return row;
  };
  ledgerFilter?.addEventListener("input", filterLedger);

  // ---- the JSON, as a file
  const saveButton = byId("save");
  saveButton.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([byId("report-data").textContent, "\n"], { type: "application/json" }));
    link.download = saveButton.dataset.name;
    link.click();
    URL.revokeObjectURL(link.href);
  });

  // ---- code to copy; where the clipboard is closed to us, it is selected instead
  document.querySelectorAll("button.copy").forEach((button) => {
    const code = byId(button.getAttribute("aria-describedby"));
    const say = (text) => {
      button.textContent = text;
      setTimeout(() => (button.textContent = "Copy"), 2000);
    };
    const select = () => {
      getSelection().selectAllChildren(code);
      say("Selected");
    };
    button.addEventListener("click", () => {
      if (!navigator.clipboard) return select();
      navigator.clipboard.writeText(code.textContent).then(() => say("Copied"), select);
    });
  });

  // ---- paper: everything opened and drawn, in the light theme
  let opened = [];
  addEventListener("beforeprint", () => {
    const many = document.querySelector("#details.many");
    opened = [...document.querySelectorAll("details:not([open])")].filter((details) => !many?.contains(details));
    opened.forEach((details) => (details.open = true));
    plots.forEach((plot) => draw(plot, false, true));
  });
  addEventListener("afterprint", () => {
    opened.forEach((details) => (details.open = false));
    redraw();
  });
  showTheme();
})();
