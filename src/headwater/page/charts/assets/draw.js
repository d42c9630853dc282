"use strict";
// what every page that draws charts needs: colours of the style sheet, and sizes
const headwaterCharts = (() => {
  const root = document.documentElement;
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

  // `redraw` draws all charts of the page: in the colours of the moment, and of the width of paper where it is printed
  const follow = (redraw) => {
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    for (const [event, isPrinting] of [["beforeprint", true], ["afterprint", false]]) {
      addEventListener(event, () => {
        root.classList.toggle("printing", isPrinting);
        redraw();
      });
    }
  };

  return { draw, follow };
})();
