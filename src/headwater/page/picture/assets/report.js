(() => {
  const { begin, element, one, show } = headwater;
  const picture = JSON.parse(one("#picture").textContent);

  // the policy knows the digest of what this runs
  let plotly = null;
  const loadPlotly = () => plotly ??= (async () => {
    const packed = Uint8Array.from(atob(one("#plotly").textContent), (each) => each.charCodeAt(0));
    const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(unpacked).text();
    document.head.append(script);
  })();

  begin(loadPlotly);
  one("#page").before(
    element("header", { class: "hero" }, element("p", { class: "kicker" }, "headwater · report of a pre-training run"),
      element("h1", {}, picture.name), element("p", { class: "result" }, picture.result), element("p", { class: "status" }, picture.status)),
    element("div", { id: "head" }),
    element("nav", { class: "parts-of", "aria-label": "parts of the report" },
      ...picture.sections.map(({ place, link }) => element("a", { href: `#${place}` }, link))));
  show(one("#head"), [{ kind: "tiles", figures: picture.figures }]);
  one("#page").replaceChildren();
  show(one("#page"), picture.sections);
  if (!one("figure.chart .plot")) document.documentElement.dataset.drawn = document.documentElement.dataset.complete = "yes";
})();
