"use strict";
// A run as its picture says it, the same in the report and on the live page. Text of runs, models and people is hostile:
// it becomes text nodes and attributes, never markup; labels of charts, in which plotly reads markup, come escaped.
const headwater = (() => {
  const root = document.documentElement;
  const one = (selector, within = document) => within.querySelector(selector);
  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value === true ? "" : String(value));
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  };

  // ---- charts: colours of the style sheet, and sizes

  const COLOUR_KEYS = new Set(["color", "bgcolor", "bordercolor", "gridcolor", "linecolor", "spikecolor"]);
  // "@name" is a colour of the style sheet; only known keys are looked up, so a label that begins with @ stays a label
  const paint = (value, palette) => {
    if (Array.isArray(value)) return typeof value[0] === "object" ? value.map((member) => paint(member, palette)) : value;
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [
      key,
      COLOUR_KEYS.has(key) && typeof inner === "string" && inner.startsWith("@")
        ? palette.getPropertyValue("--" + inner.slice(1)).trim()
        : paint(inner, palette),
    ]));
  };

  // the format ~s says 1G; without it, plotly leaves a 2 and a 5 bare between the powers of ten of a logarithmic scale
  const sayBillions = (place) => {
    for (const label of place.querySelectorAll(".xtick text")) label.textContent = label.textContent.replace(/G$/, "B");
  };

  // a card may become narrower while its chart stays as it is: when another card comes beside it
  const sizes = new ResizeObserver((changes) => changes.forEach(({ target }) => {
    const isFitting = root.classList.contains("printing") || Math.abs(target.clientWidth - target._fullLayout.width) < 1;
    if (target.clientWidth && !isFitting) Plotly.Plots.resize(target);
  }));

  const draw = (place, spec) => {
    const isNew = !place.data;
    const painted = paint(spec, getComputedStyle(root));
    painted.layout.font.family = getComputedStyle(document.body).fontFamily;
    const size = root.classList.contains("printing")
      ? { width: place.clientWidth, height: place.clientHeight, autosize: false }
      : { autosize: true, width: undefined, height: undefined };
    // on a touch screen a drag scrolls the page
    const dragmode = matchMedia("(pointer: fine)").matches ? "zoom" : false;
    const config = { displayModeBar: false, doubleClick: "reset", showTips: false };
    Plotly.react(place, painted.data, { ...painted.layout, ...size, dragmode }, config);
    if (isNew) sizes.observe(place);
    place.removeAllListeners("plotly_afterplot");
    place.on("plotly_afterplot", () => sayBillions(place));
    sayBillions(place);
  };

  // ---- figures: one for each chart, kept while its data changes. One is drawn a frame, with the newest data, so that
  // points that come faster than a slow machine draws don't pile up; one out of sight waits until it is near

  const waiting = new Set();
  let frame = null, loadPlotly = null;
  const drawSoon = (figure) => {
    waiting.add(figure);
    frame ??= requestAnimationFrame(drawNext);
  };
  const drawNext = async () => {
    try { await loadPlotly(); } catch {
      waiting.forEach((each) => { each.place.textContent = each.place.getAttribute("aria-label"); }); // its words alone
      waiting.clear();
    }
    waiting.forEach((each) => { if (!each.node.isConnected) waiting.delete(each); });
    const next = [...waiting].find((each) => each.isNear) ?? [...waiting].find((each) => !each.isDrawn);
    if (next) { waiting.delete(next); next.drawNow(); }
    const isMore = [...waiting].some((each) => each.isNear || !each.isDrawn);
    frame = isMore ? requestAnimationFrame(drawNext) : null;
    if (!isMore) root.dataset.complete = "yes";
  };
  const nearness = new IntersectionObserver((changes) => changes.forEach(({ target, isIntersecting }) => {
    target.figure.isNear = isIntersecting;
    if (isIntersecting && waiting.has(target.figure)) drawSoon(target.figure);
  }), { rootMargin: "200px" });

  class Figure {
    constructor(chart, zoomed) {
      this.heading = element("h3");
      this.note = element("p");
      this.place = element("div", { class: `plot ${chart.height}`, role: "img" });
      this.node = element("figure", { class: "card chart", "data-chart": chart.key },
        element("figcaption", {}, this.heading, this.note), this.place);
      this.zoomed = zoomed;
      this.isDrawn = this.isNear = false;
      this.node.figure = this;
      nearness.observe(this.node);
    }

    set({ title, note, summary, data, layout }) {
      this.spec = { data, layout };
      this.heading.replaceChildren(...words(title));
      this.note.replaceChildren(...words(note));
      this.place.setAttribute("aria-label", summary);
      drawSoon(this);
    }

    drawNow() {
      // a zoomed chart keeps its range while its points change
      if (this.range) this.spec.layout.xaxis = { ...this.spec.layout.xaxis, range: this.range };
      draw(this.place, this.spec);
      root.dataset.drawn = "yes";
      if (this.isDrawn) return;
      this.isDrawn = true;
      if (!this.zoomed) return;
      this.place.on("plotly_relayout", (changed) => {
        const [low, high] = [changed["xaxis.range[0]"], changed["xaxis.range[1]"]];
        if (low === undefined || high === undefined) return;
        this.range = [low, high];
        this.zoomed(this.spec.layout.xaxis.type === "log" ? [10 ** low, 10 ** high] : [low, high]);
      });
      this.place.on("plotly_doubleclick", () => { this.range = null; this.zoomed(null); });
    }
  }

  // all charts again: in the colours of the moment, and of the width of paper if the page is printed
  const redraw = () => document.querySelectorAll("figure.chart").forEach(({ figure }) => { if (figure?.isDrawn) figure.drawNow(); });
  const begin = (load) => {
    loadPlotly = load;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    for (const [event, isPrinting] of [["beforeprint", true], ["afterprint", false]]) {
      addEventListener(event, () => {
        root.classList.toggle("printing", isPrinting);
        redraw();
      });
    }
  };

  // ---- words and blocks

  const words = (value) => {
    if (Array.isArray(value)) return value.flatMap(words);
    if (value === null || value === undefined) return [];
    if (typeof value !== "object") return [String(value)];
    const tag = ["code", "b", "q", "strong"].find((each) => each === value.mark);
    return [tag ? element(tag, {}, ...words(value.text)) : element("span", { class: value.mark || null }, ...words(value.text))];
  };
  const heading = (tag, value) => words(value).length ? [element(tag, {}, ...words(value))] : [];

  const scrolled = (table, label) => { // sideways by itself, by the keyboard too
    const place = element("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": label }, table);
    if (table.className === "heat") requestAnimationFrame(() => { place.scrollLeft = place.scrollWidth; }); // its end
    return place;
  };
  const table = ({ class: kind, heads, rows, words: texts }) => {
    const kindOf = (head, cell) => cell?.class ?? (texts.includes(head) ? "words" : null);
    const cellOf = (cell, at) => at === 0 ? element("th", { scope: "row" }, ...words(cell))
      : element("td", { "data-head": heads[at], class: kindOf(heads[at], cell), title: cell?.title }, ...words(cell?.class ? cell.text : cell));
    return scrolled(element("table", { class: kind },
      element("thead", {}, element("tr", {}, ...heads.map((head) => element(head ? "th" : "td", { scope: head ? "col" : null, class: kindOf(head) }, head)))),
      element("tbody", {}, ...rows.map((row) => element("tr", { class: row.class }, ...row.cells.map(cellOf))))), heads.filter(Boolean).join(", "));
  };

  const piece = ({ class: kind, share, text }) => {
    const made = element("span", { class: share < 0.13 ? `${kind} narrow` : kind, title: text }, share < 0.05 ? null : `${(100 * share).toFixed(0)} %`);
    made.style.flexGrow = share;
    return made;
  };
  const bar = ({ title, note, summary, parts }) => element("div", { class: "bar-row" },
    title ? element("div", { class: "bar-head" }, element("span", {}, title), element("strong", {}, note)) : null,
    element("div", { class: "parts", role: "img", "aria-label": summary }, ...parts.map(piece)));
  const tile = ({ name, value, is_known: isKnown, note }) => element("div", { class: "tile" },
    element("dt", {}, name), element("dd", { class: isKnown ? null : "missing" }, value), element("dd", { class: "note" }, ...words(note)));

  const MAKERS = {
    section: ({ place, title }) => element("section", { id: place }, element("h2", {}, title)),
    card: ({ class: kind, title, note }) => {
      const caption = [...heading("h3", title), ...heading("p", note)];
      return element("figure", { class: kind }, ...caption.length ? [element("figcaption", {}, ...caption)] : []);
    },
    fold: ({ class: kind, title, note }) => element("details", { class: kind || null }, element("summary", {},
      element(kind ? "b" : "span", {}, ...words(title)), ...note ? [element("span", { class: "when" }, note)] : [])),
    grid: ({ class: kind }) => element("div", { class: kind }),
    text: ({ class: kind, text }) => element("p", { class: kind }, ...words(text)),
    items: ({ class: kind, items }) => element("ul", { class: kind }, ...items.map((item) => element("li", {}, ...words(item)))),
    tiles: ({ figures }) => element("dl", { class: "tiles" }, ...figures.map(tile)),
    table,
    bar,
    chart: (chart, zoomed) => new Figure(chart, zoomed).node,
  };

  // put blocks into a place after what was made with it: what is as it was stays, a chart gets its new points
  const show = (place, blocks, zoomed = null) => {
    const before = new Map((place.shown ?? []).map((each) => [each.key, each]));
    place.shown = blocks.map((block, at) => {
      const { body, ...head } = block, key = block.key ?? `${block.kind} ${block.place ?? at}`, text = JSON.stringify(head);
      const old = before.get(key), isSame = old?.text === text, isChart = block.kind === "chart";
      const node = old && (isSame || (isChart && old.node.figure)) ? old.node : MAKERS[block.kind](head, zoomed);
      if (isChart && !isSame) node.figure.set(block);
      if (body) show(node, body, zoomed);
      return { key, text, node };
    });
    place.numOwn ??= place.childNodes.length;
    const nodes = place.shown.map((each) => each.node);
    const isSame = place.childNodes.length === place.numOwn + nodes.length && nodes.every((node, at) => place.childNodes[place.numOwn + at] === node);
    if (!isSame) place.replaceChildren(...[...place.childNodes].slice(0, place.numOwn), ...nodes);
  };

  return { begin, element, one, show };
})();
