// Draws the charts, again when the colour scheme or the width changes; sorts tables.
(() => {
  const root = document.documentElement;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const charts = read("charts"), configs = read("chart-configs");
  const darkQuery = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : darkQuery.matches);
  const views = new Map();

  const tip = document.createElement("div");
  tip.className = "tip";
  document.body.append(tip);
  // The values are a person's text: they are set as text, never as markup.
  const showTip = (_handler, event, _item, value) => {
    if (!value) { tip.style.display = "none"; return; }
    const rows = typeof value === "object" ? Object.entries(value) : [["", value]];
    tip.replaceChildren(...rows.map(([name, text]) => {
      const row = document.createElement("div"), label = document.createElement("b");
      const shown = document.createElement("span");
      label.textContent = name.trim();
      shown.textContent = String(text);
      shown.dir = "auto";
      row.append(label, shown);
      return row;
    }));
    tip.style.display = "block";
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${Math.max(8, Math.min(event.clientY + 14, innerHeight - box.height - 8))}px`;
  };

  function draw(element, scheme, width) {
    const chart = charts[element.dataset.chart];
    const room = width || element.parentElement.clientWidth;
    const across = Math.max(chart.max_width ? Math.min(room, chart.max_width) : room, width ? 0 : chart.min_width);
    const spec = {
      ...chart.spec, width: across, height: chart.height,
      autosize: { type: "fit", contains: "padding" }, config: configs[scheme],
    };
    // `ast` interprets expressions, so the page needs no right to evaluate code.
    const drawn = houndsightEmbed(element, spec, {
      mode: "vega-lite", renderer: "svg", ast: true, actions: false, defaultStyle: false,
      tooltip: showTip, logLevel: 1,
    });
    const old = views.get(element);
    views.set(element, drawn);
    old?.then((result) => result.finalize());
    drawn.catch((error) => console.error(element.dataset.chart, error.stack));
    drawn.then(() => element.querySelector("svg")?.setAttribute("aria-hidden", "true"));
    element.dataset.drawn = `${scheme} ${Math.round(room)}`;
  }
  const canvases = [...document.querySelectorAll("[data-chart]")];
  const drawAll = (scheme, width) => canvases.forEach((element) => draw(element, scheme, width));
  const redraw = () => drawAll(isDark() ? "dark" : "light");
  const start = () => {
    redraw();
    let pending = 0, last = innerWidth;
    addEventListener("resize", () => {
      if (innerWidth === last) return;
      last = innerWidth;
      clearTimeout(pending);
      pending = setTimeout(redraw, 120);
    });
    darkQuery.addEventListener("change", redraw);
    let folded = [];
    addEventListener("beforeprint", () => {
      folded = [...document.querySelectorAll("details:not([open])")];
      folded.forEach((element) => { element.open = true; });
      drawAll("light", 640);
    });
    addEventListener("afterprint", () => {
      folded.forEach((element) => { element.open = false; });
      redraw();
    });
  };
  // Text is measured while drawing, so the font has to be there.
  Promise.all(["400 12px Inter", "600 12px Inter"].map((f) => document.fonts.load(f))).then(start, start);

  const button = document.querySelector(".scheme");
  const label = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    label();
    redraw();
  });
  darkQuery.addEventListener("change", label);
  label();

  const collator = new Intl.Collator(undefined, { numeric: true });
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const sorter = document.createElement("button");
      sorter.type = "button";
      sorter.append(...head.childNodes);
      head.append(sorter);
      sorter.addEventListener("click", () => {
        const numeric = head.classList.contains("number");
        const before = head.getAttribute("aria-sort");
        const down = before ? before === "ascending" : numeric;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => row.cells[column].dataset.value;
        const compare = (a, b) => {
          const x = key(a), y = key(b);
          if (numeric && (x === undefined || y === undefined)) return (x === undefined) - (y === undefined);
          const order = numeric ? x - y
            : collator.compare(a.cells[column].textContent, b.cells[column].textContent);
          return down ? -order : order;
        };
        table.tBodies[0].replaceChildren(...[...table.tBodies[0].rows].sort(compare));
      });
    });
  }
})();
