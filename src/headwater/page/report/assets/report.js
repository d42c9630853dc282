(() => {
  const charts = [...document.querySelectorAll(".plot")].map((place) => ({
    place,
    spec: JSON.parse(place.nextElementSibling.textContent),
  }));
  const drawAll = () => charts.forEach(({ place, spec }) => headwaterCharts.draw(place, spec));

  // the policy knows the digest of what this runs
  const loadPlotly = async () => {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (one) => one.charCodeAt(0));
    const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(unpacked).text();
    document.head.append(script);
  };

  // the end of training is on the right
  document.querySelectorAll(".scroll:has(> .heat)").forEach((scroll) => { scroll.scrollLeft = scroll.scrollWidth; });

  const begin = () => {
    drawAll();
    headwaterCharts.follow(drawAll);
    document.documentElement.dataset.drawn = "yes";
  };

  // a browser that can't unpack shows what each chart says in words
  const describe = () => charts.forEach(({ place }) => { place.textContent = place.getAttribute("aria-label"); });
  loadPlotly().then(begin, describe);
})();
