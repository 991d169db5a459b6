// Shows the OpenAPI document of the broker, and makes calls of it. What is typed as credentials stays in this page: it
// is neither stored nor sent anywhere but with the calls. Texts of the broker are set as text, never as HTML.

const base = new URL("../api/v4", location.href).href;
const longest = 200000;
let api;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

function resolved(part) {
  let found = part ?? {};
  while (found.$ref) {
    const steps = found.$ref.replace(/^#\//, "").split("/");
    found = steps.reduce((inner, step) => inner[step], api);
  }
  return found;
}

function typeOf(schema) {
  const found = resolved(schema);
  if (found.const !== undefined) return JSON.stringify(found.const);
  if (found.enum) return found.enum.map((one) => (one === "" ? '""' : String(one))).join(" | ");
  if (found.anyOf || found.oneOf) return (found.anyOf ?? found.oneOf).map(typeOf).join(" or ");
  if (found.type === "array") return `list of ${typeOf(found.items ?? {})}`;
  if (found.type === "object" && found.additionalProperties && found.additionalProperties !== true) {
    return `object of ${typeOf(found.additionalProperties)}`;
  }
  let text = [found.type ?? "anything"].flat().join(" or ");
  if (found.minimum !== undefined && found.maximum !== undefined) text += ` ${found.minimum} to ${found.maximum}`;
  else if (found.minimum !== undefined) text += ` from ${found.minimum}`;
  return text;
}

function propertiesOf(schema, depth = 0) {
  // The fields of an object, or of the objects in a list, as a tree.
  const found = resolved(schema);
  if (depth > 5) return null;
  if (found.type === "array") return propertiesOf(found.items, depth);
  if (found.anyOf || found.oneOf) {
    const lists = (found.anyOf ?? found.oneOf).map((one) => propertiesOf(one, depth)).filter(Boolean);
    return lists.length ? element("div", {}, ...lists) : null;
  }
  if (!found.properties) return null;
  const required = new Set(found.required ?? []);
  const items = Object.entries(found.properties).map(([name, inner]) => {
    const said = inner.description ?? (inner.$ref ? "" : resolved(inner).description) ?? "";
    return element("li", {},
      element("code", required.has(name) ? { class: "needed" } : {}, name), " ",
      element("span", { class: "type" }, typeOf(inner) + (said ? ` · ${said}` : "")),
      propertiesOf(inner, depth + 1));
  });
  return element("ul", {}, ...items);
}

function sampleOf(schema, depth = 0) {
  // A value to begin with: what is required, and texts that say what they are.
  const found = resolved(schema);
  if (found.default !== undefined) return found.default;
  if (found.const !== undefined) return found.const;
  if (found.enum) return found.enum.find((one) => one !== "") ?? "";
  if (found.anyOf || found.oneOf) return sampleOf((found.anyOf ?? found.oneOf)[0], depth);
  if (found.type === "array") return depth > 2 ? [] : [sampleOf(found.items, depth + 1)];
  if (found.type === "object" || found.properties) {
    const names = Object.keys(found.properties ?? {});
    const wanted = (found.required ?? []).length ? found.required : names.slice(0, 4);
    return Object.fromEntries(wanted.map((name) => [name, sampleOf(found.properties?.[name], depth + 1)]));
  }
  if (found.type === "integer" || found.type === "number") return found.minimum ?? 0;
  if (found.type === "boolean") return false;
  return "";
}

function fieldFor(parameter) {
  const schema = resolved(parameter.schema);
  const choices = schema.type === "boolean" ? ["true", "false"] : schema.enum;
  const names = { "aria-label": parameter.name, name: parameter.name, "data-place": parameter.in };
  if (choices && schema.type !== "array") {
    const values = [...new Set(["", ...choices.map(String)])];
    return element("select", names, ...values.map((value) => element("option", { value }, value)));
  }
  const number = schema.type === "integer" || schema.type === "number";
  return element("input", { ...names, type: "text", inputmode: number ? "numeric" : "text", spellcheck: "false" });
}

function parameterRows(parameters) {
  return parameters.map((one) =>
    element("tr", {},
      element("td", {},
        element("code", one.required ? { class: "needed" } : {}, one.name), " ",
        element("span", { class: "type" }, one.in)),
      element("td", {},
        one.description ?? "", " ",
        element("span", { class: "type" }, typeOf(one.schema))),
      element("td", { class: "value" }, fieldFor(one))));
}

function authorization() {
  const token = document.getElementById("token").value.trim();
  if (token) return `Bearer ${token}`;
  const user = document.getElementById("user").value;
  if (!user) return null;
  const bytes = new TextEncoder().encode(`${user}:${document.getElementById("secret").value}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

function addressOf(path, form) {
  const query = new URLSearchParams();
  let filled = path;
  for (const field of form.querySelectorAll("[data-place]")) {
    if (field.dataset.place === "path") {
      if (!field.value) throw new Error(`${field.name}: this parameter is required`);
      filled = filled.replace(`{${field.name}}`, encodeURIComponent(field.value));
    } else if (field.value !== "" || field.dataset.sent === "yes") {
      query.append(field.name, field.value);
    }
  }
  return base + filled + (query.size ? `?${query}` : "");
}

async function show(response, out, status, began) {
  const told = () => `${Math.round(performance.now() - began)} ms`;
  status.className = response.ok ? "good" : "bad";
  status.textContent = `${response.status} ${response.statusText}`;
  const kind = response.headers.get("content-type") ?? "";
  if (kind.startsWith("text/event-stream")) {
    status.textContent += " · goes on until it is stopped";
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      out.textContent = (out.textContent + piece.value).slice(-longest);
      out.scrollTop = out.scrollHeight;
    }
    return;
  }
  let text = await response.text();
  const size = text.length;
  if (kind.startsWith("application/json") && size <= longest) {
    try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* it is shown as it came */ }
  }
  out.textContent = text.length > longest ? `${text.slice(0, longest)}\n… ${text.length - longest} more` : text;
  status.textContent += ` · ${told()} · ${size} characters`;
}

function tryForm(method, path, call) {
  const parameters = (call.parameters ?? []).map(resolved);
  const media = call.requestBody?.content?.["application/json"];
  const body = media && element("textarea", { "aria-label": "body", spellcheck: "false" });
  if (body) {
    body.value = JSON.stringify(sampleOf(media.schema), null, 2);
    body.rows = Math.min(body.value.split("\n").length + 1, 20);
  }
  const status = element("output", {});
  const out = element("pre", { class: "answer", hidden: true, tabindex: "0" });
  const stop = element("button", { type: "button", hidden: true, onclick: () => stop.controller.abort() }, "Stop");
  const form = element("form", { onsubmit: send },
    parameters.length ? element("h3", {}, "Parameters") : null,
    parameters.length ? element("table", {}, ...parameterRows(parameters)) : null,
    body ? element("h3", {}, "Body") : null,
    body ? element("div", { class: "shape" }, propertiesOf(media.schema)) : null,
    body,
    element("div", { class: "row" }, element("button", { class: "send" }, "Send"), stop, status),
    out);

  async function send(event) {
    event.preventDefault();
    stop.controller?.abort();
    stop.controller = new AbortController();
    const began = performance.now();
    try {
      const headers = new Headers();
      const who = authorization();
      if (who) headers.set("Authorization", who);
      if (body?.value.trim()) headers.set("Content-Type", "application/json");
      const request = {
        method: method.toUpperCase(), headers, credentials: "omit", cache: "no-store", signal: stop.controller.signal,
        body: body?.value.trim() ? body.value : undefined,
      };
      const address = addressOf(path, form);
      out.hidden = false;
      out.textContent = "";
      status.className = "";
      status.textContent = "…";
      stop.hidden = false;
      await show(await fetch(address, request), out, status, began);
    } catch (error) {
      if (error.name === "AbortError") { status.textContent += " · stopped"; return; }
      status.className = "bad";
      status.textContent = error.message;
    } finally {
      stop.hidden = true;
    }
  }
  return form;
}

function answersOf(call) {
  const rows = Object.entries(call.responses).map(([status, answer]) => {
    const found = resolved(answer);
    const shapes = Object.entries(found.content ?? {}).map(([kind, one]) =>
      element("div", { class: "shape" }, element("span", { class: "type" }, kind),
        status.startsWith("2") ? propertiesOf(one.schema) : null));
    const good = status.startsWith("2");
    return element("tr", {},
      element("td", {}, element("span", { class: good ? "good" : "" }, status)),
      element("td", {}, found.description, ...(good ? shapes : [])));
  });
  return element("table", {}, ...rows);
}

function callElement(method, path, call) {
  const inside = element("div", { class: "inside" });
  const made = element("details", { id: call.operationId, ontoggle: fill },
    element("summary", {},
      element("span", { class: `method ${method}` }, method.toUpperCase()),
      element("span", { class: "path" }, path),
      element("span", { class: "summary" }, call.summary)),
    inside);
  made.words = `${method} ${path} ${call.summary} ${call.operationId}`.toLowerCase();

  function fill() {
    if (!made.open || inside.childElementCount) return;
    inside.append(
      element("p", {}, ...marked(call.description ?? "")),
      tryForm(method, path, call),
      element("h3", {}, "Answers"),
      answersOf(call));
  }
  return made;
}

function marked(text) {
  // The one mark of Markdown that descriptions have: code.
  return text.split("`").map((part, number) => (number % 2 ? element("code", {}, part) : part));
}

function search() {
  const words = document.getElementById("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of document.querySelectorAll("section")) {
    let some = false;
    for (const call of section.querySelectorAll("details")) {
      call.hidden = !words.every((word) => call.words.includes(word));
      some ||= !call.hidden;
    }
    section.hidden = !some;
  }
}

function openNamed() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named instanceof HTMLDetailsElement) {
    named.open = true;
    named.scrollIntoView();
  }
}

async function begin() {
  const calls = document.getElementById("calls");
  try {
    const response = await fetch(`${base}/openapi.json`, { credentials: "omit" });
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    api = await response.json();
  } catch (error) {
    calls.replaceChildren(element("p", { class: "bad" }, `The document can't be read: ${error.message}`));
    return;
  }
  document.title = `${api.info.title}: REST API`;
  document.getElementById("title").textContent = document.title;
  document.getElementById("version").textContent = api.info.version;
  const groups = new Map(api.tags.map((tag) => [tag.name, []]));
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, call] of Object.entries(methods)) groups.get(call.tags[0]).push([method, path, call]);
  }
  const about = api.info.description.trim().split("\n\n");
  calls.replaceChildren(
    element("div", { class: "about" }, ...about.map((text) => element("p", {}, ...marked(text)))),
    ...[...groups].map(([tag, found]) =>
      element("section", {},
        element("h2", { id: `tag-${tag}` }, tag),
        ...found.map((one) => callElement(...one)))));
  document.getElementById("tags").replaceChildren(...[...groups].map(([tag, found]) =>
    element("li", {}, element("a", { href: `#tag-${tag}` }, tag, element("span", {}, String(found.length))))));
  document.getElementById("find").addEventListener("input", search);
  document.getElementById("who").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", openNamed);
  openNamed();
  document.body.dataset.ready = "yes";
}

begin();
