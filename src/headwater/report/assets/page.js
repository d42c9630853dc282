"use strict";
(() => {
  const root = document.documentElement;
  const COLOUR_KEYS = new Set(["color", "bgcolor", "bordercolor", "gridcolor", "linecolor", "spikecolor"]);
  const charts = [...document.querySelectorAll(".plot")].map((place) => ({
    place,
    spec: JSON.parse(place.nextElementSibling.textContent),
  }));

  // "@name" is a colour of the style sheet; only known keys are looked up, so a label that begins with @ stays a label
  const paint = (value, palette) => {
    if (Array.isArray(value)) return value.map((member) => paint(member, palette));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [
      key,
      COLOUR_KEYS.has(key) && typeof inner === "string" && inner.startsWith("@")
        ? palette.getPropertyValue("--" + inner.slice(1)).trim()
        : paint(inner, palette),
    ]));
  };

  const draw = ({ place, spec }) => {
    const painted = paint(spec, getComputedStyle(root));
    painted.layout.font.family = getComputedStyle(document.body).fontFamily;
    const size = root.classList.contains("printing")
      ? { width: place.clientWidth, height: place.clientHeight, autosize: false }
      : { autosize: true, width: undefined, height: undefined };
    // on a touch screen a drag scrolls the page
    const dragmode = matchMedia("(pointer: fine)").matches ? "zoom" : false;
    const config = { responsive: true, displayModeBar: false, doubleClick: "reset", showTips: false };
    return Plotly.react(place, painted.data, { ...painted.layout, ...size, dragmode }, config);
  };

  const drawAll = () => charts.forEach(draw);

  // the policy knows the digest of what this runs
  const loadPlotly = async () => {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (one) => one.charCodeAt(0));
    const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(unpacked).text();
    document.head.append(script);
  };

  const setScale = (chart, scale, buttons) => {
    chart.spec.layout.xaxis.type = scale;
    chart.spec.layout.xaxis.tickmode = scale === "log" ? "array" : "auto";
    chart.spec.layout.xaxis.range = chart.spec.layout.meta.ranges[scale];
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.scale === scale)));
    draw(chart);
  };

  const addSwitch = (chart) => {
    const switcher = chart.place.closest("figure")?.querySelector(".scales");
    if (!switcher) return;
    const buttons = [...switcher.querySelectorAll("button")];
    buttons.forEach((button) => button.addEventListener("click", () => setScale(chart, button.dataset.scale, buttons)));
    switcher.hidden = false;
  };

  // the end of training is on the right
  document.querySelectorAll(".scroll:has(> .heat)").forEach((scroll) => { scroll.scrollLeft = scroll.scrollWidth; });

  const begin = () => {
    drawAll();
    charts.forEach(addSwitch);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    for (const [event, isPrinting] of [["beforeprint", true], ["afterprint", false]]) {
      addEventListener(event, () => {
        root.classList.toggle("printing", isPrinting);
        drawAll();
      });
    }
    root.dataset.drawn = "yes";
  };

  // a browser that can't unpack shows what each chart says in words
  const describe = () => charts.forEach(({ place }) => { place.textContent = place.getAttribute("aria-label"); });
  loadPlotly().then(begin, describe);
})();
