// The pages work without this. It answers in place: types, drops, draws, flips and cuts at once.
"use strict";
(() => {
  const root = document.documentElement;
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Colours: as the system has them, or as they were chosen here.

  const THEMES = ["auto", "light", "dark"];
  const kept = (store, name, value) => {
    try {
      if (value === undefined) return store().getItem(name);
      store().setItem(name, value);
    } catch { /* kept nowhere: a file, or a browser that keeps nothing */ }
    return null;
  };
  const local = () => window.localStorage;
  const session = () => window.sessionStorage;

  function colour(theme) {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    const button = one("#theme");
    if (!button) return;
    button.hidden = false;
    one("#theme-name").textContent = theme;
    button.setAttribute("aria-label", `Colours: ${theme}`);
  }

  const theme = () => (THEMES.includes(kept(local, "theme")) ? kept(local, "theme") : root.dataset.theme || "auto");
  root.classList.add("scripted");
  colour(theme());

  document.addEventListener("DOMContentLoaded", () => {
    let chosen = theme();
    colour(chosen);
    one("#theme")?.addEventListener("click", () => {
      chosen = THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length];
      kept(local, "theme", chosen);
      colour(chosen);
    });
    if (one("#view")) begin();
  });

  function begin() {
    const view = one("#view");
    const live = "address" in view.dataset; // a page in a file has nobody to ask
    let state = new URLSearchParams();
    let asking = null;
    let timer = 0;
    let replacing = false;
    const addressed = () => location.pathname + location.search;
    let current = addressed();

    const read = () => { state = new URLSearchParams((view.dataset.address || "").split("?")[1] || ""); };
    const address = () => (state.size ? `./?${state}` : "./");
    const say = (text) => { const status = one("#status"); if (status) status.textContent = text; };

    // What is typed, moved or drawn is asked for when it rests; until the answer the view is busy.

    function busy() {
      if (timer || asking) view.setAttribute("aria-busy", "true");
      else view.removeAttribute("aria-busy");
    }

    function soon(work, milliseconds) {
      clearTimeout(timer);
      const mine = timer = setTimeout(async () => {
        await work();
        if (timer === mine) timer = 0;
        busy();
      }, milliseconds);
      busy();
    }

    function never() {
      clearTimeout(timer);
      timer = 0;
      busy();
    }

    // Asking

    async function go(where, { push = true, body = null, picture = null, note = "", top = null } = {}) {
      asking?.abort();
      const before = Object.fromEntries(inputs().map((input) => [input.id, input.value]));
      const mine = asking = new AbortController();
      const slow = setTimeout(() => { one("#busy").hidden = false; view.classList.add("loading"); }, 120);
      busy();
      try {
        const answer = await fetch(where, {
          method: body ? "POST" : "GET", body, signal: mine.signal, headers: { Accept: "text/html" },
        });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        if (mine !== asking) return;
        if (!one("#view", page)) throw new Error(one("h2", page)?.textContent || `The server answered ${answer.status}.`);
        if (picture) await remember(one("#asked-face", page)?.dataset.code, picture);
        if (!body || answer.redirected) {
          if (push) history.replaceState({ top: window.scrollY }, "");
          history[push ? "pushState" : "replaceState"](push ? null : history.state, "", body ? answer.url : where);
          current = addressed();
        }
        show(page, note, before);
        if (top !== null) window.scrollTo({ top });
      } catch (error) {
        if (mine === asking) fail(error, where, { push, body, picture, note, top });
      } finally {
        clearTimeout(slow);
        if (mine === asking) {
          asking = null;
          one("#busy").hidden = true;
          view.classList.remove("loading");
          busy();
        }
      }
    }

    function fail(error, where, options) {
      if (error.name === "AbortError") return;
      const section = document.createElement("section");
      section.className = "problem";
      section.setAttribute("role", "alert");
      const inner = document.createElement("div");
      const title = document.createElement("h2");
      title.textContent = error instanceof TypeError ? "The server cannot be reached." : error.message;
      const again = document.createElement("button");
      again.textContent = "Try again";
      again.addEventListener("click", () => go(where, options));
      inner.append(title, again);
      section.append(inner);
      all(":scope > .problem", view).forEach((old) => old.remove());
      view.prepend(section);
    }

    const inputs = () => ["text", "key", "code"].map((name) => one(`#ask #${name}`)).filter(Boolean);

    function show(page, note, asked) {
      const before = { base: one(".bits")?.dataset.base, distances: distances() };
      const active = document.activeElement;
      const inside = view.contains(active);
      const caret = active?.selectionStart;
      // What somebody is typing is not replaced by what was asked before.
      const typed = active?.matches("#where, #limit") && active.value !== active.defaultValue ? active.value : null;
      const slid = one(".bits")?.scrollLeft || 0;
      const next = one("#view", page);
      replacing = true; // what is taken away loses the focus, and nobody left it
      view.replaceChildren(...next.childNodes);
      replacing = false;
      view.dataset.address = next.dataset.address;
      document.title = page.title;
      const twin = one("#twin");
      if (twin) twin.href = one("#twin", page)?.getAttribute("href") || "";
      for (const form of all("#ask form")) {
        all(".carried", form).forEach((input) => input.remove());
        form.append(...all(".carried", one("#ask form", page)).map((input) => input.cloneNode()));
      }
      for (const input of inputs()) {
        const still = input === active && input.value !== asked[input.id]; // typed since it was asked
        if (!still) input.value = one(`#ask #${input.id}`, page)?.value || "";
      }
      if (one("#ask .other", page)?.open) one("#ask .other").open = true;
      dress();
      if (inside) {
        // What had the focus, or else what it was in: who walks by keys goes on from there.
        const again = (active.id && document.getElementById(active.id)) || one("#view > [tabindex]");
        if (typed !== null && again?.id === active.id) again.value = typed;
        again?.focus({ preventScroll: true });
        if (again?.matches("#where") && caret != null) again.setSelectionRange(caret, caret);
      }
      if (one(".bits")) one(".bits").scrollLeft = slid;
      const base = one(".bits")?.dataset.base;
      if (note && base && base === before.base) {
        const now = all("#results .hit");
        const after = distances();
        const key = (hit) => hit.dataset.key;
        const came = now.filter((hit) => !before.distances.has(key(hit)));
        const nearer = now.filter((hit) => after.get(key(hit)) < before.distances.get(key(hit)));
        came.forEach((hit) => hit.classList.add("fresh"));
        nearer.forEach((hit) => hit.classList.add("nearer"));
        const news = [came.length && `${came.length} new`, nearer.length && `${nearer.length} nearer`].filter(Boolean).join(", ");
        const told = news ? `${news} of ${now.length} hits.` : "The same hits.";
        say(`${note} ${told} ${counted()}`);
        const hint = one("#bits-hint");
        if (hint) {
          const bold = document.createElement("b");
          bold.textContent = `${told} `;
          hint.prepend(bold);
        }
      } else say(one(".problem h2", view)?.textContent || counted());
    }

    const distances = () => new Map(all("#results .hit").map((hit) => [hit.dataset.key, Number(hit.dataset.distance)]));

    function counted() {
      if (!one("#results")) return "";
      const shown = new Map();
      for (const hit of all("#results .hit:not([hidden])")) {
        const distance = Number(hit.dataset.distance);
        shown.set(distance, (shown.get(distance) || 0) + 1);
      }
      const total = [...shown.values()].reduce((sum, n) => sum + n, 0);
      const rings = [...shown].sort(([a], [b]) => a - b).slice(0, 6).map(([distance, n]) => (distance ? `${n} at ${distance} bits` : `${n} exact`));
      return total ? `${total} hits: ${rings.join(", ")}.` : "No hits.";
    }

    // What a new answer needs

    function dress() {
      read();
      const bits = all(".bit");
      bits.forEach((bit, place) => { bit.tabIndex = place ? -1 : 0; });
      const slider = one("#slider");
      if (slider) {
        slider.hidden = false;
        one("#radius").hidden = true;
        told();
      }
      const face = one("#asked-face");
      const mine = face?.classList.contains("pending") && kept(session, `picture:${face.dataset.code}`);
      if (mine && /^data:image\/png;base64,[A-Za-z0-9+/=]+$/.test(mine)) {
        const image = new Image(112, 112);
        image.alt = "";
        image.src = mine;
        one(".nopicture", face)?.replaceWith(image);
      }
    }

    function told() {
      const slider = one("#slider");
      const text = slider.value === slider.max ? slider.dataset.end || "any" : `${slider.value} bit${slider.value === "1" ? "" : "s"}`;
      one("#radius-shown").textContent = text;
      slider.setAttribute("aria-valuetext", text);
    }

    // The cut: what is here is cut here; the rest is asked for.

    function cut() {
      const results = one("#results");
      const slider = one("#slider");
      if (!slider) return;
      told();
      const number = (text) => (text === "" ? null : Number(text));
      const radius = slider.value === slider.max ? null : Number(slider.value);
      one("#radius").value = radius ?? "";
      if (!results) return; // beside an error: the form is sent as a whole
      const limit = Math.round(Math.min(one("#limit").max, Math.max(1, Number(one("#limit").value) || Number(results.dataset.limit))));
      if (radius === null) state.delete("radius"); else state.set("radius", radius);
      if (String(limit) !== results.dataset.limit || state.has("limit")) state.set("limit", limit);
      const has = { count: Number(results.dataset.count), radius: number(results.dataset.radius), limit: number(results.dataset.limit) };
      const full = has.count >= has.limit;
      const known = !results.dataset.reranked && !(limit > has.limit && full)
        && (full || has.radius === null || (radius !== null && radius <= has.radius));
      if (live && !known) {
        soon(() => { go(address(), { push: false }); }, 150);
        return;
      }
      let shown = 0;
      for (const ring of all(".ring", results)) {
        let here = 0;
        for (const hit of all(".hit", ring)) {
          hit.hidden = (radius !== null && Number(hit.dataset.distance) > radius) || Number(hit.dataset.rank) > limit;
          here += !hit.hidden;
        }
        ring.hidden = !here;
        shown += here;
        one("h2 .n", ring).textContent = here.toLocaleString("en");
        const chip = one(`.overview a[data-distance="${ring.dataset.distance}"]`);
        if (!chip) continue;
        chip.hidden = !here;
        one(".n", chip).textContent = here.toLocaleString("en");
      }
      const nothing = one("#nothing");
      nothing.hidden = shown > 0;
      if (!shown && radius !== null) one("b", nothing).textContent = `Nothing within ${radius} bits.`;
      if (live) {
        history.replaceState(null, "", address());
        current = addressed();
        view.dataset.address = address();
        const twin = one("#twin");
        if (twin) twin.search = state;
        for (const form of all("#ask form, #bits, #refine")) carry(form);
      }
      say(counted());
    }

    function carry(form) {
      // Forms that go elsewhere take the cut along.
      for (const name of ["radius", "limit"]) {
        let input = one(`input[type=hidden][name=${name}]`, form);
        if (form.id === "refine") continue;
        if (!state.has(name)) { input?.remove(); continue; }
        if (!input) {
          input = document.createElement("input");
          input.type = "hidden";
          input.name = name;
          input.className = "carried";
          form.append(input);
        }
        input.value = state.get(name);
      }
    }

    // Bits

    function flip(bit) {
      const number = bit.value;
      const flips = new Set((state.get("flip") || "").split(",").filter(Boolean));
      const back = flips.delete(number);
      if (!back) flips.add(number);
      const sorted = [...flips].map(Number).sort((a, b) => a - b);
      if (sorted.length) state.set("flip", sorted.join(",")); else state.delete("flip");
      // These order the hits of a value, and a code with other bits is that of none.
      state.delete("rerank");
      if (state.get("order") === "certainty") state.delete("order");
      bit.classList.toggle("one");
      bit.classList.toggle("flipped");
      bit.setAttribute("aria-pressed", String(!back));
      go(address(), { note: back ? `Bit ${number} flipped back.` : `Bit ${number} flipped.` });
    }

    function walk(event) {
      const bits = all(".bit");
      const here = bits.indexOf(event.target);
      if (here < 0) return;
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      let there = null;
      if (step) there = bits[here + step];
      else if (event.key === "Home") there = bits[0];
      else if (event.key === "End") there = bits[bits.length - 1];
      else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        const from = event.target.getBoundingClientRect();
        const down = event.key === "ArrowDown";
        const rows = bits.map((bit) => [bit, bit.getBoundingClientRect()])
          .filter(([, box]) => (down ? box.top > from.top + 4 : box.top < from.top - 4));
        const nearest = ([, box]) => Math.abs(box.top - from.top) * 1000 + Math.abs(box.left - from.left);
        there = rows.sort((a, b) => nearest(a) - nearest(b))[0]?.[0];
      } else return;
      event.preventDefault();
      if (!there) return;
      bits.forEach((bit) => { bit.tabIndex = bit === there ? 0 : -1; });
      there.focus();
    }

    function point(target) {
      all(".differs").forEach((bit) => bit.classList.remove("differs"));
      all(".lit").forEach((hit) => hit.classList.remove("lit"));
      const hit = target.closest?.(".hit[data-flipped]");
      const bit = target.closest?.(".bit");
      if (hit) {
        for (const number of hit.dataset.flipped.split(" ").filter(Boolean)) {
          document.getElementById(`bit-${number}`)?.classList.add("differs");
        }
      } else if (bit) {
        all(".hit[data-flipped]").filter((other) => other.dataset.flipped.split(" ").includes(bit.value))
          .forEach((other) => other.classList.add("lit"));
      }
    }

    // Pictures

    async function remember(code, blob) {
      if (!code) return;
      try {
        const image = await createImageBitmap(blob);
        const scale = Math.min(1, 112 / Math.max(image.width, image.height));
        const canvas = document.createElement("canvas");
        canvas.width = Math.max(1, Math.round(image.width * scale));
        canvas.height = Math.max(1, Math.round(image.height * scale));
        canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
        kept(session, `picture:${code}`, canvas.toDataURL("image/png"));
      } catch { /* a kind of picture that this browser does not know */ }
    }

    function send(blob, name) {
      const body = new FormData();
      body.append("image", blob, name || "picture");
      for (const cutBy of ["radius", "limit", "where"]) if (state.has(cutBy)) body.append(cutBy, state.get(cutBy));
      go("query", { body, picture: blob });
    }

    function takeFiles(files) {
      const file = [...(files || [])].find((each) => each.type.startsWith("image/")) || files?.[0];
      if (file && one("#drop")) send(file, file.name);
      return Boolean(file);
    }

    function drawing() {
      const canvas = one("#canvas");
      if (!canvas) return;
      one("#draw").hidden = false;
      const pen = canvas.getContext("2d", { willReadFrequently: true });
      let dark = true;
      let last = null;
      const clear = () => {
        pen.fillStyle = dark ? "#000" : "#fff";
        pen.fillRect(0, 0, canvas.width, canvas.height);
      };
      const place = (event) => {
        const box = canvas.getBoundingClientRect();
        return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
      };
      const line = (to) => {
        pen.strokeStyle = dark ? "#fff" : "#000";
        pen.lineWidth = Number(one("#pen").value);
        pen.lineCap = pen.lineJoin = "round";
        pen.beginPath();
        pen.moveTo(...last);
        pen.lineTo(to[0] + 0.01, to[1]);
        pen.stroke();
        last = to;
      };
      const search = () => new Promise((done) => {
        canvas.toBlob((blob) => { send(blob, "drawing.png"); done(); }, "image/png");
      });
      clear();
      canvas.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        never();
        canvas.setPointerCapture(event.pointerId);
        last = place(event);
        line(last);
      });
      canvas.addEventListener("pointermove", (event) => { if (last) line(place(event)); });
      for (const end of ["pointerup", "pointercancel"]) {
        canvas.addEventListener(end, () => { if (last) soon(search, 350); last = null; });
      }
      one("#clear").addEventListener("click", () => {
        never();
        clear();
        if (!one("#results")) return;
        for (const name of ["code", "key", "flip"]) state.delete(name);
        go(address());
      });
      one("#invert").addEventListener("click", (event) => {
        dark = !dark;
        event.currentTarget.setAttribute("aria-pressed", String(!dark));
        pen.globalCompositeOperation = "difference";
        pen.fillStyle = "#fff";
        pen.fillRect(0, 0, canvas.width, canvas.height);
        pen.globalCompositeOperation = "source-over";
      });
    }

    // Events

    const fields = (form) => new URLSearchParams([...new FormData(form)].filter(([, value]) => typeof value === "string" && value !== ""));

    document.addEventListener("input", (event) => {
      const target = event.target;
      if (target.matches("#slider, #limit")) cut();
      if (live && target.matches("#ask #text") && target.value.trim()) {
        soon(() => { go(`./?${fields(target.form)}`, { push: !state.has("text") }); }, 250);
      }
    });
    document.addEventListener("mouseover", (event) => point(event.target));
    document.addEventListener("focusin", (event) => point(event.target));
    document.addEventListener("keydown", walk);
    document.addEventListener("error", (event) => {
      if (!(event.target instanceof HTMLImageElement) || !event.target.closest(".more, .faces")) return;
      const none = document.createElement("span");
      none.className = "nopicture";
      none.textContent = "no picture";
      event.target.replaceWith(none);
    }, true);
    dress();
    say("");
    if (!live) return;

    document.addEventListener("submit", (event) => {
      const form = event.target;
      never();
      if (form.matches("#bits")) flip(event.submitter);
      else if (form.matches("#refine")) go(fields(form).size ? `./?${fields(form)}` : "./");
      else if (form.matches("[data-ask]")) go(`./?${fields(form)}`);
      else if (form.matches("[data-post]")) go("query", { body: new FormData(form) });
      else if (form.matches("#drop")) takeFiles(one("#file").files);
      else return;
      event.preventDefault();
    });
    document.addEventListener("change", (event) => {
      if (event.target.matches("#file")) {
        takeFiles(event.target.files);
        event.target.value = "";
      }
      if (event.target.matches("#refine [type=checkbox]")) event.target.form.requestSubmit();
    });
    document.addEventListener("focusout", (event) => {
      const left = event.target;
      if (!replacing && left.matches("#limit") && one("#results")) {
        const limit = state.get("limit") || left.defaultValue;
        if (Number(left.value) !== Number(limit)) say(`The limit is from 1 to ${left.max}.`);
        left.value = limit;
      }
      if (replacing || !left.matches("#refine #where") || left.value.trim() === left.defaultValue.trim()) return;
      // Not before a click has found what it was for.
      soon(() => left.form.requestSubmit(), 300);
    });
    document.addEventListener("click", (event) => {
      const link = event.target.closest("#view a[href]");
      if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      const to = new URL(link.href);
      if (to.hash || to.origin !== location.origin || to.pathname !== new URL("./", location.href).pathname) return;
      event.preventDefault();
      never();
      go(to.href, { note: link.id === "unflip" ? "Flipped back." : "", top: link.matches(".more") ? 0 : null });
    });
    window.addEventListener("popstate", () => {
      if (addressed() === current) return; // a jump to a ring
      current = addressed();
      go(location.href, { push: false, top: history.state?.top ?? null });
    });
    document.addEventListener("paste", (event) => {
      if (event.clipboardData?.files.length && takeFiles(event.clipboardData.files)) event.preventDefault();
    });
    for (const kind of ["dragenter", "dragover"]) {
      document.addEventListener(kind, (event) => {
        if (!one("#drop") || ![...(event.dataTransfer?.types || [])].includes("Files")) return;
        event.preventDefault();
        root.classList.add("dragging");
      });
    }
    document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) root.classList.remove("dragging"); });
    document.addEventListener("drop", (event) => {
      root.classList.remove("dragging");
      if (one("#drop") && takeFiles(event.dataTransfer?.files)) event.preventDefault();
    });
    drawing();
  }
})();
