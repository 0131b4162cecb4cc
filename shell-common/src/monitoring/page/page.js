"use strict";
// Everything is put into the page as text, never as HTML: names and errors come from the database.

const byId = (id) => document.getElementById(id);
const numbers = new Intl.NumberFormat("en-US");
const STATES = {
  up_to_date: "up to date", working: "working", retrying: "waiting for a retry", paused: "paused",
  broken: "cannot run", disabled: "disabled", no_worker: "no worker",
};

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function count(value, isEstimated = false) {
  return typeof value === "number" ? (isEstimated ? "~" : "") + numbers.format(value) : "?";
}

// 100 % only if no row waits and none has failed.
function percent(vectorizer) {
  if (typeof vectorizer.total !== "number" || typeof vectorizer.done !== "number") return "";
  const isDone = vectorizer.pending === 0 && vectorizer.failed === 0;
  const thousandths = vectorizer.total === 0 ? 1000 : Math.floor(vectorizer.done * 1000 / vectorizer.total);
  return `${vectorizer.done_is_estimated ? "~" : ""}${Math.min(thousandths, isDone ? 1000 : 999) / 10} %`;
}

function duration(seconds) {
  if (typeof seconds !== "number") return "";
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

// Fills a table, and says what its cells mean where it is shown as cards.
function fill(table, rows) {
  const labels = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  table.tBodies[0].replaceChildren(...rows.map((cells) => element("tr", {}, ...cells.map((cell, at) => {
    const made = at === 0 ? element("th", { scope: "row" }) : element("td");
    made.dataset.label = labels[at];
    if (cell !== "" && cell !== null && cell !== undefined) made.append(cell);
    return made;
  }))));
  table.hidden = rows.length === 0;
  const none = table.nextElementSibling;
  if (none?.classList.contains("none")) none.hidden = rows.length > 0;
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  const isJson = answer.headers.get("content-type")?.startsWith("application/json");
  const said = isJson ? await answer.json() : await answer.text();
  if (!answer.ok) throw new Error(said.error ?? String(said).trim());
  return said;
}

function state(vectorizer, here) {
  const word = STATES[vectorizer.state] ?? (vectorizer.disabled ? "disabled" : here?.reason ? "cannot run" : "");
  const isBad = ["broken", "no_worker"].includes(vectorizer.state) || Boolean(here?.reason);
  const reason = vectorizer.reason ?? here?.reason;
  const until = vectorizer.until ? ` until ${vectorizer.until}` : "";
  return element("span", {}, element("span", { className: isBad ? "bad" : "" }, word + until),
    reason ? `: ${reason}` : "");
}

function actions(vectorizer) {
  const button = (text, path, question, wantsReason) => element("button", {
    type: "button", ariaLabel: `${text} ${vectorizer.name}`,
    onclick: () => act(path, vectorizer.name, question, wantsReason),
  }, text);
  const buttons = [];
  if (vectorizer.failed > 0) {
    buttons.push(button("Retry", "api/retry", `Put the ${count(vectorizer.failed)} failed rows of ${vectorizer.name} back into the queue?`));
  }
  buttons.push(vectorizer.state === "paused"
    ? button("Resume", "api/resume", `Let workers go on with ${vectorizer.name}?`)
    : button("Pause", "api/pause", `Let all workers leave ${vectorizer.name} alone until it is resumed?`, true));
  return element("span", {}, ...buttons);
}

function act(path, vectorizer, question, wantsReason) {
  const dialog = byId("confirm");
  byId("question").textContent = question;
  byId("reason-line").hidden = !wantsReason;
  dialog.returnValue = "no";
  dialog.onclose = async () => {
    if (dialog.returnValue !== "yes") return;
    try {
      await ask(path, {
        method: "POST",
        headers: { "content-type": "application/json", "x-pgai-action": "yes" },
        body: JSON.stringify({ vectorizer, reason: dialog.querySelector("input").value }),
      });
    } catch (error) {
      show(error.message);
      return;
    }
    update();
  };
  dialog.showModal();
}

function show(problem) {
  const line = byId("problem");
  if (line.textContent !== problem) line.textContent = problem;
  line.hidden = problem === "";
}

function chart(title, values, format) {
  const known = values.filter((value) => value !== null);
  const top = Math.max(...known, 1e-9);
  const points = values.map((value, at) => value === null ? null
    : `${(at / Math.max(values.length - 1, 1)) * 100},${38 - (value / top) * 36}`);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 40");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const latest = known.length ? format(known[known.length - 1]) : "–";
  const most = known.length ? `highest ${format(top)}` : "nothing yet";
  svg.setAttribute("aria-label", `${title}: latest ${latest}, ${most}`);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("points", points.filter(Boolean).join(" "));
  svg.append(line);
  return element("figure", {}, element("figcaption", {}, title), element("strong", {}, latest),
    ` ${most}`, svg);
}

function charts(history) {
  // Between two samples; a worker's counters never go back.
  const between = (read) => history.slice(1).map((sample, at) => read(sample, history[at]));
  const minutes = (now, then) => Math.max(now.at - then.at, 1) / 60;
  const rate = (name) => between((now, then) => (now[name] - then[name]) / minutes(now, then));
  const perMinute = (value) => count(value < 10 ? Math.round(value * 10) / 10 : Math.round(value));
  byId("charts").replaceChildren(
    chart("Rows per minute", rate("rows"), perMinute),
    chart("Chunks embedded per minute", rate("chunks"), perMinute),
    chart("Mean duration of a request", between((now, then) => now.answered > then.answered
      ? (now.seconds - then.seconds) / (now.answered - then.answered) * 1000 : null), (value) => `${count(Math.round(value))} ms`),
    chart("Failed requests per minute", rate("unanswered"), perMinute),
  );
}

function providers(accounts) {
  fill(byId("providers"), accounts.map((account) => {
    const outcomes = new Map(account.outcomes);
    const answered = outcomes.get("answered") ?? 0;
    const failed = account.outcomes.filter(([name, times]) => name !== "answered" && times > 0);
    const measured = account.latency.counts.reduce((sum, more) => sum + more, 0);
    const opens = account.opens_in > 0 ? `asked again in ${duration(account.opens_in)}: ` : "";
    return [
      account.provider + (account.base_url ? ` at ${account.base_url}` : " in this process"),
      count(answered),
      failed.map(([name, times]) => `${count(times)} ${name.replace("_", " ")}`).join(", ") || "0",
      measured ? `${count(Math.round(account.latency.sum / measured * 1000))} ms` : "",
      `${account.in_flight} of ${account.in_flight_max}`,
      account.reason ? element("span", { className: "bad" }, opens + account.reason) : "ready",
    ];
  }));
}

function draw(said) {
  const { worker, database } = said;
  byId("version").textContent = worker ? `${worker.version}, for ${duration(worker.uptime)}` : "";
  const isReady = worker?.is_ready && said.silent_seconds === 0 && !said.database_failure;
  const readiness = byId("readiness");
  readiness.textContent = isReady ? "working" : "not working";
  readiness.className = isReady ? "good" : "bad";
  show(said.silent_seconds > 0 ? `The worker's loop has not answered for ${said.silent_seconds} s.`
    : worker?.reason ?? (said.database_failure ? `The database cannot be asked: ${said.database_failure}` : ""));
  const here = new Map((worker?.vectorizers ?? []).map((one) => [one.id, one]));
  charts(said.history);
  providers(worker?.accounts ?? []);
  document.querySelectorAll(".actions").forEach((cell) => { cell.hidden = !said.has_actions; });
  if (!database) return;
  fill(byId("vectorizers"), database.vectorizers.map((one) => {
    const own = here.get(one.id);
    const holds = one.last_error_holds === false ? " (does not hold any more)" : "";
    const cells = [
      one.name, state(one, own), percent(one), count(one.pending, one.pending_is_estimated), duration(one.oldest_seconds),
      element("span", { className: one.failed > 0 ? "bad" : "" }, count(one.failed)),
      own ? count(own.rows) : "", one.last_error ? one.last_error + holds : "",
    ];
    return said.has_actions ? [...cells, actions(one)] : cells;
  }));
  const workers = database.workers_alive ?? [];
  byId("workers-count").textContent = database.workers === 1 ? "1 worker is alive." : `${count(database.workers)} workers are alive.`;
  fill(byId("workers"), workers.map((one) => [
    one.host ?? "", one.pid ?? "", one.version ?? "", `${duration(one.last_seen_seconds)} ago`, count(one.rows), count(one.errors),
  ]));
  const choice = document.querySelector("#search select");
  const names = database.vectorizers.map((one) => one.name);
  if (names.join() !== [...choice.options].map((option) => option.value).join()) {
    choice.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
  }
}

async function update() {
  try {
    draw(await ask("api/status"));
  } catch (error) {
    const readiness = byId("readiness");
    readiness.textContent = "not reachable";
    readiness.className = "bad";
    show(`The worker does not answer: ${error.message}`);
  }
}

function grouped(rows, describe) {
  const groups = new Map();
  for (const row of rows) {
    const name = describe(row);
    groups.set(name, [...groups.get(name) ?? [], row]);
  }
  return [...groups].sort((a, b) => b[1].length - a[1].length);
}

async function errors() {
  const place = byId("errors");
  try {
    const said = await ask("api/errors");
    const failed = grouped(said.failed_rows ?? [], (row) => `${row.vectorizer}, ${row.step}: ${row.reason}`);
    const latest = grouped(said.errors ?? [], (row) => `${row.vectorizer}: ${row.message}: ${row.details?.error_reason ?? ""}`);
    const list = (title, groups, line) => element("div", {}, element("h3", {}, title), ...groups.length
      ? groups.map(([name, rows]) => element("details", {}, element("summary", {}, `${count(rows.length)} × ${name}`),
        element("ul", {}, ...rows.map((row) => element("li", {}, line(row))))))
      : [element("p", {}, "none")]);
    place.replaceChildren(
      list("Failed rows", failed, (row) => `${row.key}, failed ${row.failed}`),
      list("Latest errors", latest, (row) => `${row.recorded} ${row.details?.key ? `row ${JSON.stringify(row.details.key)}` : ""}`),
    );
  } catch (error) {
    place.replaceChildren(element("p", { className: "bad" }, error.message));
  }
}

async function search(event) {
  event.preventDefault();
  const found = byId("found");
  found.replaceChildren(element("li", {}, "searching …"));
  try {
    const fields = new URLSearchParams(new FormData(event.target));
    const chunks = await ask(`api/search?${fields}`);
    found.replaceChildren(...chunks.length ? chunks.map((one) => element("li", {},
      element("strong", {}, `${one.key.join(", ")} (distance ${one.distance.toFixed(3)}) `), one.chunk))
      : [element("li", {}, "nothing is embedded yet")]);
  } catch (error) {
    found.replaceChildren(element("li", { className: "bad" }, error.message));
  }
}

byId("show-errors").addEventListener("click", errors);
byId("search").addEventListener("submit", search);
update();
setInterval(() => { if (!document.hidden) update(); }, 5000);
